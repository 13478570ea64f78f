"""Commands between laboratories."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from micdb.cli import output
from micdb.cli.options import AsJson, Db, Format, app, chosen, pairs


@app.command("import")
def import_(
    bundle: Annotated[Path, typer.Argument(help="Bundle of another laboratory: a folder or zip file.")],
    db: Db = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would happen.")] = False,
    policy: Annotated[
        str, typer.Option(help="Which of two versions of a row is current: ours, theirs, newest; or fail.")
    ] = "ours",
    name: Annotated[
        list[str] | None, typer.Option("--name", help="Our name for theirs, as HV=hardness; may be repeated.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Import a bundle; what is here is recognised, and a killed import is finished by the same command."""
    from micdb import opening

    names = pairs(name or [], "--name", example="HV=hardness")
    with opening.open(chosen(db)) as base:
        done = base.import_bundle(bundle, dry_run=dry_run, policy=policy, names=names)
    if as_json:
        output.print_json(done.as_json())
    else:
        output.console().print(str(done), markup=False, highlight=False)


@app.command()
def conflicts(db: Db = None, form: Format = "table", as_json: AsJson = False) -> None:
    """List what other laboratories have differently: which version is current, and the other."""
    from micdb import opening

    with opening.open(chosen(db)) as base:
        output.print_frame(base.conflicts(), "json" if as_json else form)


@app.command()
def terms(
    text: Annotated[str, typer.Argument(help="Query; the terms are those of its images.")],
    db: Db = None,
    licence: Annotated[str | None, typer.Option(help="SPDX identifier, as CC-BY-4.0, or any text.")] = None,
    embargo: Annotated[str | None, typer.Option(help="Date before which they may not be exported.")] = None,
    free: Annotated[bool, typer.Option("--free", help="Take the embargo away.")] = False,
) -> None:
    """Say on which terms images may leave the database; bundles keep to it."""
    from micdb import opening

    given = {"licence": licence, "embargo_until": embargo}
    wanted: dict[str, str | None] = {key: value for key, value in given.items() if value is not None}
    if free:
        wanted["embargo_until"] = None
    with opening.open(chosen(db)) as base:
        count = base.set_terms(text, **wanted)
    output.console().print(f"terms of {count:,} images written", highlight=False)
