"""Commands that learn classes of whole micrographs, and say what to annotate next."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from micdb.cli import output
from micdb.cli.options import AsJson, Db, Format, Where, app, chosen, split
from micdb.errors import UsageError


def teach(
    db: str, out: Path, *, label: str | None, embedding: str, groups: str, where: str | None, seed: int,
    as_json: bool,
) -> None:  # fmt: skip
    """Learn classes from labels, print how well, and write the weights: ``micdb train classify``."""
    from micdb import opening

    if label is None:
        raise UsageError("micdb train classify learns a property or column: name it with --label")
    with opening.open(db) as base:
        frame = base.images.query(where) if where else base.images
        fit = frame.classify(label, embedding=split(embedding), groups=split(groups), seed=seed)
    fit.save(out)
    if as_json:
        output.print_json(fit.as_json())
        return
    output.console().print(repr(fit), markup=False, highlight=False)
    output.console().print(f"{out / 'classify'}.safetensors, classify.json", highlight=False, markup=False)


@app.command()
def suggest(
    n: Annotated[int, typer.Argument(help="How many images.")] = 10,
    label: Annotated[
        str | None, typer.Option(help="Property that is to be learnt; without it, phases are.")
    ] = None,
    embedding: Annotated[
        str | None, typer.Option(help="Extractors or spaces, joined: texture@px,micro.")
    ] = None,
    places: Annotated[bool, typer.Option("--places", help="Windows of images.")] = False,
    uncertainty: Annotated[
        str | None, typer.Option(help="Column from 0 (sure) to 1, instead of the model's.")
    ] = None,
    where: Where = None,
    seed: Annotated[int, typer.Option(help="Seed of the clusters.")] = 0,
    db: Db = None,
    form: Format = "table",
    as_json: AsJson = False,
) -> None:
    """Say which images to annotate next, and why."""
    from micdb import opening

    with opening.open(chosen(db)) as base:
        frame = base.images.query(where) if where else base.images
        found = frame.suggest(
            n, label=label, embedding=split(embedding) if embedding else None, uncertainty=uncertainty,
            level="patch" if places else "image", seed=seed,
        )  # fmt: skip
    output.print_frame(found, "json" if as_json else form)
