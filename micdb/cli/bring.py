"""Commands that bring things in: files, pixels, measured rows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from micdb import config
from micdb.cli import output
from micdb.cli.options import (
    AsJson,
    Db,
    Where,
    Workers,
    app,
    chosen,
    parameters_of,
)


@app.command()
def init(
    path: Annotated[
        str, typer.Argument(help="Folder to make, for example lab.micdb; or an empty postgresql:// database.")
    ],
    folder: Annotated[Path | None, typer.Option(help="With a server: folder to make for the files.")] = None,
) -> None:
    """Make an empty database."""
    from micdb import opening
    from micdb.catalog.postgres import shown

    opening.init(path, folder=folder).close()
    name = shown(path)
    output.console().print(f"made {name}; now: micdb ingest SCANS --db {name}", highlight=False, markup=False)


@app.command()
def ingest(
    paths: Annotated[list[Path], typer.Argument(help="Files, archives, and folders to search.")],
    db: Db = None,
    lab: Annotated[str | None, typer.Option(help="Laboratory they come from.")] = None,
    sheet: Annotated[Path | None, typer.Option(help="CSV or XLSX with one row per file.")] = None,
    map_: Annotated[Path | None, typer.Option("--map", help="TOML that says what its columns mean.")] = None,
    workers: Workers = 0,
    defer: Annotated[bool, typer.Option("--defer-pixels", help="Catalogue the headers only.")] = False,
    as_json: AsJson = False,
) -> None:
    """Bring microscope files in; what is here already is recognised."""
    from micdb import opening
    from micdb.cli.ingested import print_ingested, watcher

    with opening.open(chosen(db)) as base, output.progress("reading") as advance:
        result = base.ingest(
            paths,
            lab=lab,
            sheet=sheet,
            map=map_,
            workers=workers,
            defer_pixels=defer,
            watch=watcher(advance),
        )
    print_ingested(result, as_json=as_json)


@app.command()
def properties(
    sheet: Annotated[Path, typer.Argument(help="CSV or XLSX with one row per measurement of a sample.")],
    map_: Annotated[Path, typer.Option("--map", help="TOML that says what its columns mean.")],
    db: Db = None,
    lab: Annotated[str | None, typer.Option(help="Laboratory of rows that name none.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write what was measured on samples, images or not."""
    from micdb import opening

    with opening.open(chosen(db)) as base:
        done = base.add_properties(sheet, map_, lab=lab)
    if as_json:
        output.print_json(done.as_json())
        return
    output.console().print(
        f"{done.n_values} values of {done.n_samples} samples, {done.n_new} of them new; "
        f"{done.n_retired} that the sheet does not say any more",
        highlight=False,
    )
    for note in done.notes[:20]:
        output.console().print(f"note: {note}", style="yellow", markup=False)


@app.command()
def fetch(
    text: Annotated[str | None, typer.Argument(help="Only images of this query.")] = None,
    db: Db = None,
    workers: Workers = 0,
    as_json: AsJson = False,
) -> None:
    """Bring in the pixels of images that were catalogued with --defer-pixels."""
    from micdb import opening
    from micdb.cli.ingested import print_ingested, watcher

    with opening.open(chosen(db)) as base, output.progress("reading") as advance:
        result = base.fetch(text, workers=workers, watch=watcher(advance))
    print_ingested(result, as_json=as_json)


@app.command()
def watch(
    folder: Annotated[Path, typer.Argument(help="Folder the instrument writes to, with all below it.")],
    db: Db = None,
    lab: Annotated[str | None, typer.Option(help="Laboratory the files come from.")] = None,
    sheet: Annotated[Path | None, typer.Option(help="CSV or XLSX with one row per file.")] = None,
    map_: Annotated[Path | None, typer.Option("--map", help="TOML that says what its columns mean.")] = None,
    settle: Annotated[float, typer.Option(help="Seconds a file must stay unchanged to be complete.")] = 2.0,
    poll: Annotated[
        bool, typer.Option("--poll", help="Look every second: for network shares, of which no system tells.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")] = False,
) -> None:
    """Bring files in as an instrument finishes them, until Ctrl-C."""
    from micdb import opening
    from micdb.cli.watch import print_watched, teller, until_stopped

    tell = teller(folder, as_json=as_json)
    with until_stopped() as stop, opening.open(chosen(db)) as base:
        watched = base.watch(
            folder, lab=lab, sheet=sheet, map=map_, settle=settle, poll=poll, stop=stop, tell=tell
        )
    print_watched(watched, as_json=as_json)


@app.command()
def populate(
    names: Annotated[list[str], typer.Argument(help="Extractors: texture, peaks, or a plug-in's.")],
    db: Db = None,
    where: Where = None,
    parameter: Annotated[list[str] | None, typer.Option("--set", help="Parameter, as name=value.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes; 0 for one per processor.")] = None,
    as_json: AsJson = False,
) -> None:
    """Compute what is missing: features, atoms, bonds."""
    from micdb import opening
    from micdb.populate.extractor import extractors
    from micdb.populate.jobs import Progress

    for name in names:
        extractors().get(name)  # a misspelt second name is told before the first one has run for an hour
    count = config.load().workers if workers is None else workers
    results = []
    with opening.open(chosen(db)) as base, output.progress("populate") as advance:

        def watch(name: str, state: Progress) -> None:
            if advance:
                advance(name, state.finished, state.total)

        for name in names:
            parameters = parameters_of(parameter or [])
            results.append(
                base.populate(name, where=where, parameters=parameters, workers=count, watch=watch)
            )
    if as_json:
        output.print_json([result.as_json() for result in results])
        return
    for result in results:
        output.console().print(str(result), highlight=False, markup=False)


@app.command()
def formats(as_json: AsJson = False) -> None:
    """List the file formats that can be read, and what the others need."""
    from micdb.cli.formats import show

    show(as_json=as_json)
