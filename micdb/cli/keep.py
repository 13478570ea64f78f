"""Commands that look after a database."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from micdb.cli import output
from micdb.cli.options import (
    AsJson,
    Db,
    app,
    chosen,
)
from micdb.errors import UsageError


@app.command()
def fsck(
    db: Db = None,
    deep: Annotated[bool, typer.Option("--deep", help="Also hash every file and open it.")] = False,
    repair: Annotated[bool, typer.Option("--repair", help="Mend what can be mended without loss.")] = False,
    as_json: AsJson = False,
) -> None:
    """Prove that catalog and files agree; exit code 1 when something is left to mend."""
    from micdb import opening

    with opening.open(chosen(db)) as base:
        report = base.fsck(deep=deep, repair=repair)
    if as_json:
        output.print_json(report.as_json())
    else:
        output.console().print(str(report), markup=False, highlight=False)
    raise typer.Exit(report.exit_code)


@app.command()
def compact(
    db: Db = None,
    purge: Annotated[bool, typer.Option("--purge", help="Also remove what is 14 days out of use.")] = False,
    part: Annotated[int, typer.Option("--part", help="Length of a merged part [MB].")] = 256,
    memory: Annotated[int, typer.Option("--memory", help="Memory for merging parts [MB].")] = 512,
    pack: Annotated[int, typer.Option("--pack", help="Length of a pack [MB].")] = 256,
    small: Annotated[int, typer.Option("--small", help="Files up to this length are packed [MB].")] = 4,
    unpack: Annotated[bool, typer.Option("--unpack", help="The way back: packs become files again.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make few large files of many small ones; every answer stays the same."""
    from micdb import opening
    from micdb.compact.report import MB, Budget

    if unpack:
        with opening.open(chosen(db)) as base:
            count = base.unpack()
        if as_json:
            output.print_json({"unpacked": count})
        else:
            output.console().print(f"{count:,} objects are files of their own again", highlight=False)
        return
    sizes = Budget(part=part * MB, memory=memory * MB, pack=pack * MB, small=small * MB)
    with opening.open(chosen(db)) as base, output.progress("compacting") as advance:
        done = base.compact(budget=sizes, purge=purge, watch=advance)
    if as_json:
        output.print_json(done.as_json())
    else:
        output.console().print(str(done), markup=False, highlight=False)


@app.command()
def index(
    by: Annotated[str | None, typer.Argument(help="Extractor or space; all of them when not given.")] = None,
    db: Db = None,
    kind: Annotated[str | None, typer.Option(help="lists, exact, hnsw, ...; chosen when not given.")] = None,
    recall: Annotated[float, typer.Option(help="Share of the true best that searches must find.")] = 0.99,
    calibrate: Annotated[bool, typer.Option("--calibrate", help="Only measure this machine anew.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make searches by example quick: decode vectors, group them, measure how careful to be."""
    from micdb import opening

    with opening.open(chosen(db)) as base, output.progress("indexing") as advance:
        made = base.index(by, kind=kind, recall=recall, calibrate=calibrate, watch=advance)
    if as_json:
        output.print_json([one.as_json() for one in made])
        return
    for one in made:
        told = (
            f"{one.space}: {one.kind}, {one.vectors:,} vectors, {one.seconds:.1f} s, {one.size / 1e6:,.0f} MB"
        )
        each = "" if one.milliseconds is None else f", recall {one.recall:.3f} in {one.milliseconds:.2g} ms"
        output.console().print(told + each, highlight=False, markup=False)


@app.command()
def upgrade(db: Db = None) -> None:
    """Bring an older database to this version's schema; of a folder's catalog a backup is kept."""
    from micdb import opening
    from micdb.catalog.postgres import shown

    path = chosen(db)
    done, name = opening.upgrade(path), shown(path)
    told = f"upgraded {name} from schema {done.before} to {done.after}" if done else f"{name} is up to date"
    if done and done.backup:
        told += f"; the catalog as it was is {done.backup}"
    output.console().print(told, highlight=False, markup=False)


@app.command()
def copy(
    source: Annotated[str, typer.Argument(help="Database to copy: a folder, or postgresql://...")],
    target: Annotated[str, typer.Argument(help="New database: a folder, or an empty one on a server.")],
    folder: Annotated[Path | None, typer.Option(help="With a server: folder to make for the files.")] = None,
    as_json: AsJson = False,
) -> None:
    """Copy a database: a folder to a server, back, or anywhere; goes on where it was cut short."""
    from micdb.catalog.postgres import shown
    from micdb.copying import copy_between

    with output.progress("copying") as advance:
        done = copy_between(source, target, folder=folder, tell=advance)
    if as_json:
        output.print_json(done.as_json())
        return
    rows = sum(done.rows.values())
    told = f"copied {rows:,} rows and {done.files:,} files ({done.bytes / 1e6:,.0f} MB) to {shown(target)}"
    output.console().print(told, highlight=False, markup=False)


@app.command()
def snapshot(
    name: Annotated[str | None, typer.Argument(help="Name to keep the database under as it is now.")] = None,
    db: Db = None,
    drop: Annotated[bool, typer.Option("--drop", help="Forget the snapshot of that name.")] = False,
    as_json: AsJson = False,
) -> None:
    """Keep the database as it is now, to be asked with --at NAME; without a name, list what is kept."""
    from micdb import opening

    with opening.open(chosen(db)) as base:
        if name is None and drop:
            raise UsageError("which snapshot? write micdb snapshot NAME --drop")
        if name is not None:
            (base.drop_snapshot if drop else base.snapshot)(name)
        kept = [one._asdict() for one in base.snapshots()]
    if as_json:
        output.print_json(kept)
        return
    lines = [f"{one['name']}  {one['created_at']}  event {one['event']}" for one in kept]
    output.console().print("\n".join(lines) or "no snapshot", highlight=False, markup=False)


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Say what is installed, what the machine has, and what is missing."""
    from micdb.cli.doctor import examine

    facts = examine()
    if as_json:
        output.print_json(facts)
        return
    for title, pairs in facts.items():
        output.print_pairs(title, pairs)


@app.command()
def demo(
    data: Annotated[Path | None, typer.Option(help="Your own files instead of simulated ones.")] = None,
    folder: Annotated[Path, typer.Option(help="Where demo.micdb and report.html go.")] = Path(),
) -> None:
    """Go the whole path once, from files to an answer, and write a report with pictures."""
    from micdb.cli.demo import run

    run(folder, data)
