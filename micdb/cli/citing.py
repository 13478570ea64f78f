"""The command that makes rows something to cite."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from micdb.cli import output
from micdb.cli.options import AsJson, Columns, Db, app, chosen, split


@app.command()
def cite(
    text: Annotated[
        str, typer.Argument(help="Query; its rows are cited. Or a file that frame.save() wrote.")
    ],
    to: Annotated[Path, typer.Option("--to", help="Folder to make.")],
    title: Annotated[str | None, typer.Option(help="Of the data set.")] = None,
    creator: Annotated[
        list[str] | None,
        typer.Option(help="As 'Doe, Jane (0000-0002-1825-0097)'; the operators where absent."),
    ] = None,
    publisher: Annotated[str | None, typer.Option(help="The lab where absent.")] = None,
    year: Annotated[int | None, typer.Option(help="This year where absent.")] = None,
    columns: Columns = None,
    at: Annotated[str | None, typer.Option(help="Ask a snapshot instead; see micdb snapshot.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a folder of that name.")] = False,
    db: Db = None,
    as_json: AsJson = False,
) -> None:
    """Write rows with their query, models, methods and citation records to a folder."""
    from micdb import opening

    with opening.open(chosen(db)) as now, now.at(at) if at else nullcontext(now) as base:
        saved = text.endswith(".json") and Path(text).is_file()
        frame = base.load_query(text) if saved else base.images.query(text)
        if columns:
            frame = frame[split(columns)]
        done = base.cite(
            frame, to, title=title, creators=creator, publisher=publisher, year=year, overwrite=overwrite
        )
    if as_json:
        output.print_json(done.as_json())
        return
    output.console().print(str(done), highlight=False, markup=False)
