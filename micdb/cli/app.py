"""The commands. Each is a few lines: everything that is not parsing or printing is in `Database`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from micdb import config
from micdb.cli import output
from micdb.errors import UsageError

# typer carries its own click or uses the installed one, by version; its public name for this class
# is the base of BadParameter.
WrongCommand: Any = typer.BadParameter.__bases__[0]

app = typer.Typer(
    name="micdb",
    help="A database and query engine for micrographs.",
    no_args_is_help=False,  # its help would come as an error; "Missing command" says where to look
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Db = Annotated[Path | None, typer.Option("--db", help="Database folder; MICDB_DB when not given.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Where = Annotated[str | None, typer.Option("--where", help="Only images of this query.")]
Columns = Annotated[str | None, typer.Option("--columns", help="Columns to print, separated by commas.")]
Format = Annotated[str, typer.Option("--format", help="table, csv or json.")]


@app.command()
def init(path: Annotated[Path, typer.Argument(help="Folder to make, for example lab.micdb.")]) -> None:
    """Make an empty database."""
    from micdb import database

    database.init(path).close()
    output.console().print(f"made {path}; now: micdb ingest SCANS --db {path}", highlight=False)


@app.command()
def ingest(
    paths: Annotated[list[Path], typer.Argument(help="Files, and folders to search.")],
    db: Db = None,
    lab: Annotated[str | None, typer.Option(help="Laboratory they come from.")] = None,
    sheet: Annotated[Path | None, typer.Option(help="CSV or XLSX with one row per file.")] = None,
    map_: Annotated[Path | None, typer.Option("--map", help="TOML that says what its columns mean.")] = None,
    as_json: AsJson = False,
) -> None:
    """Bring microscope files in; what is here already is recognised."""
    from micdb import database

    with database.open(_chosen(db)) as base, output.progress("reading") as advance:

        def watch(number: int, total: int, path: Path) -> None:
            if advance:
                advance(output.short(path), number, total)

        result = base.ingest(paths, lab=lab, sheet=sheet, map=map_, watch=watch)
    if as_json:
        output.print_json(result.as_json())
        return
    counts = result.counts
    output.print_pairs(f"{counts['new_images']} new images", {name: n for name, n in counts.items() if n})
    for file in result.files:
        if file.outcome in ("refused", "skipped"):
            output.console().print(
                f"{file.outcome}: {file.path}: {file.reason}", style="yellow", markup=False
            )
        for note in file.notes:
            output.console().print(f"note: {file.path.name}: {note}", style="yellow", markup=False)
    if result.unmatched_rows:
        rows = ", ".join(str(number) for number in result.unmatched_rows[:10])
        more = ", ..." if len(result.unmatched_rows) > 10 else ""
        output.console().print(
            f"note: {len(result.unmatched_rows)} rows of the sheet match no file: {rows}{more}",
            style="yellow",
        )


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
    from micdb import database
    from micdb.populate.extractor import extractors
    from micdb.populate.jobs import Progress

    for name in names:
        extractors().get(name)  # a misspelt second name is told before the first one has run for an hour
    count = config.load().workers if workers is None else workers
    results = []
    with database.open(_chosen(db)) as base, output.progress("populate") as advance:

        def watch(name: str, state: Progress) -> None:
            if advance:
                advance(name, state.finished, state.total)

        for name in names:
            parameters = _parameters(parameter or [])
            results.append(
                base.populate(name, where=where, parameters=parameters, workers=count, watch=watch)
            )
    if as_json:
        output.print_json([result.as_json() for result in results])
        return
    for result in results:
        state = result.progress
        output.console().print(
            f"{result.extractor}: {state.done} done, {state.refused} refused, {result.added} of them new now",
            highlight=False,
        )
        for reason, number in list(result.refusals.items())[:5]:
            output.console().print(f"  refused {number}: {reason}", style="yellow", markup=False)


@app.command()
def query(
    text: Annotated[str, typer.Argument(help="""For example: material == "UHCS" and pixel_size < 0.5 um""")],
    db: Db = None,
    columns: Columns = None,
    sort: Annotated[str | None, typer.Option(help="Column to sort by; a leading - sorts downwards.")] = None,
    limit: Annotated[int | None, typer.Option(help="Largest number of rows.")] = None,
    form: Format = "table",
    as_json: AsJson = False,
    explain: Annotated[bool, typer.Option("--explain", help="Print how it would run instead.")] = False,
) -> None:
    """Find images."""
    from micdb import database

    with database.open(_chosen(db)) as base:
        frame = base.images.query(text)
        if sort:
            frame = frame.sort_values(sort.removeprefix("-"), ascending=not sort.startswith("-"))
        if limit is not None:
            frame = frame.head(limit)
        if columns:
            frame = frame[_split(columns)]
        if explain:
            output.console().print(frame.explain(), markup=False, highlight=False)
            return
        output.print_frame(frame.to_pandas(), "json" if as_json else form)


@app.command()
def similar(
    example: Annotated[str, typer.Argument(help="Image file, or the uid of an image in the database.")],
    db: Db = None,
    k: Annotated[int, typer.Option("-k", help="Number of results.")] = 10,
    box: Annotated[str | None, typer.Option(help="Region of the example: x,y,width,height [pixel].")] = None,
    by: Annotated[str | None, typer.Option(help="Extractor or space, for example texture@256nm.")] = None,
    pixel_size: Annotated[str | None, typer.Option(help="Of an example without scale: '0.2 um'.")] = None,
    where: Where = None,
    columns: Columns = None,
    form: Format = "table",
    as_json: AsJson = False,
) -> None:
    """Find the images most like an example."""
    from micdb import database

    with database.open(_chosen(db)) as base:
        frame = base.images.query(where) if where else base.images
        found = frame.similar_to(example, k=k, box=_box(box), by=by, pixel_size=pixel_size)
        wanted = _split(columns) if columns else ["name", "lab", "sample", "pixel_size"]
        shown = ["similarity", *(name for name in wanted if name != "similarity"), "match_box", "uid"]
        output.print_frame(found[list(dict.fromkeys(shown))].to_pandas(), "json" if as_json else form)


@app.command()
def link(
    formula: Annotated[str, typer.Argument(help="""For example: hardness ~ embedding("texture")""")],
    db: Db = None,
    groups: Annotated[str, typer.Option(help="Columns that a fold must not split.")] = "sample",
    where: Where = None,
    seed: Annotated[int, typer.Option(help="Seed of folds and models.")] = 0,
    figure: Annotated[Path | None, typer.Option(help="Write the figure here (.png, .pdf, .svg).")] = None,
    as_json: AsJson = False,
) -> None:
    """Link a property to structure, with grouped cross-validation and a baseline beside it."""
    from micdb import database

    with database.open(_chosen(db)) as base:
        frame = base.images.query(where) if where else base.images
        fit = frame.link(formula, groups=tuple(_split(groups)), seed=seed)
    if figure:
        fit.figure(figure)
    if as_json:
        output.print_json(fit.as_json())
    else:
        output.console().print(repr(fit), markup=False, highlight=False)


@app.command()
def fsck(
    db: Db = None,
    deep: Annotated[bool, typer.Option("--deep", help="Also hash every file and open it.")] = False,
    repair: Annotated[bool, typer.Option("--repair", help="Mend what can be mended without loss.")] = False,
    as_json: AsJson = False,
) -> None:
    """Prove that catalog and files agree; exit code 1 when something is left to mend."""
    from micdb import database

    with database.open(_chosen(db)) as base:
        report = base.fsck(deep=deep, repair=repair)
    if as_json:
        output.print_json(report.as_json())
    else:
        output.console().print(str(report), markup=False, highlight=False)
    raise typer.Exit(report.exit_code)


@app.command()
def upgrade(db: Db = None) -> None:
    """Bring an older database to this version's schema; a backup is kept."""
    from micdb import database

    path = _chosen(db)
    backup = database.upgrade(path)
    told = f"upgraded {path}; the catalog as it was is {backup}" if backup else f"{path} is up to date"
    output.console().print(told, highlight=False)


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


def _chosen(db: Path | None) -> Path:
    if db is not None:
        return db
    named = config.load().database
    if named is None:
        raise UsageError("which database? add --db lab.micdb, or set MICDB_DB")
    return Path(named)


def _split(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _box(text: str | None) -> tuple[int, int, int, int] | None:
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 4 or not all(part.lstrip("-").isdecimal() for part in parts):
        raise UsageError(f"--box is {text!r}; write x,y,width,height in pixels, for example 10,10,128,128")
    x, y, width, height = (int(part) for part in parts)
    return x, y, width, height


def _parameters(texts: list[str]) -> dict[str, object]:
    import json

    values: dict[str, object] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"--set is {text!r}; write name=value, for example --set nm_per_pixel=256")
        try:
            values[name] = json.loads(value)
        except json.JSONDecodeError:
            values[name] = value
    return values
