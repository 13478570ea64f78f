"""Commands of the defect library."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from micdb.cli import output
from micdb.cli.options import AsJson, Db, Format, Where, app, chosen

library = typer.Typer(
    help="The defect library: motifs, their mean look, counts and densities.",
    no_args_is_help=False,
    rich_markup_mode=None,
)
app.add_typer(library, name="library")

Name = Annotated[str, typer.Argument(help="Name of a motif; list prints them.")]
Rare = Annotated[int, typer.Option(min=1, help="Defects that a new motif needs.")]
Title = Annotated[str, typer.Option(help="Heading.")]


@library.command()
def build(db: Db = None, where: Where = None, rare: Rare = 2, as_json: AsJson = False) -> None:
    """Put every defect into its motif, and propose motifs for those that have none."""
    from micdb import opening

    with opening.open(chosen(db)) as base:
        built = base.library.build(where, rare=rare)
    if as_json:
        output.print_json(built.as_json())
    else:
        output.console().print(str(built), highlight=False, markup=False)


@library.command(name="list")
def list_(db: Db = None, where: Where = None, form: Format = "table") -> None:
    """Print the motifs with counts and densities, of all images or of some."""
    from micdb import opening

    with opening.open(chosen(db)) as base:
        shown = base.library if where is None else base.library.within(where)
        table = shown.motifs()
    if form == "table" and not table.empty:
        units = table.attrs
        table = table.drop(columns=["formula", "corrected"]).round(4)
        table.attrs = units
    output.print_frame(table, form)
    if form == "table" and table.empty:
        output.console().print("the library is empty: micdb library build", highlight=False)


@library.command()
def add(
    name: Annotated[str, typer.Argument(help="Name of the new motif.")],
    examples: Annotated[list[str], typer.Argument(help="uids of two defects or more, five or so.")],
    least: Annotated[float, typer.Option(help="Probability from which a defect belongs.")] = 0.5,
    db: Db = None,
) -> None:
    """Add a motif by a few examples; what looks like them belongs to it."""
    from micdb import opening

    with opening.open(chosen(db)) as base:
        _print(base.library.add(name, examples, least=least))


@library.command()
def merge(
    names: Annotated[list[str], typer.Argument(help="Names of motifs.")],
    into: Annotated[str, typer.Option(help="What they become: one of them, or a new name.")],
    db: Db = None,
) -> None:
    """Make one motif of several."""
    from micdb import opening

    with opening.open(chosen(db)) as base:
        _print(base.library.merge(names, into=into))


@library.command()
def split(
    name: Name,
    by: Annotated[str, typer.Option(help="key: by bond graph; look: by clusters.")] = "key",
    rare: Rare = 2,
    db: Db = None,
) -> None:
    """Make several motifs of one."""
    from micdb import opening

    with opening.open(chosen(db)) as base:
        for part in base.library.split(name, by=by, rare=rare):
            _print(part)


@library.command()
def rename(name: Name, new: Annotated[str, typer.Argument(help="Its new name.")], db: Db = None) -> None:
    """Give a motif another name."""
    from micdb import opening

    with opening.open(chosen(db)) as base:
        _print(base.library.rename(name, new))


@library.command()
def accept(name: Name, db: Db = None) -> None:
    """Say that a proposed motif is one."""
    from micdb import opening

    with opening.open(chosen(db)) as base:
        _print(base.library.accept(name))


@library.command()
def retire(name: Name, db: Db = None) -> None:
    """Take a motif out; its defects stay, and it is not proposed again."""
    from micdb import opening

    with opening.open(chosen(db)) as base:
        base.library.retire(name)
    output.console().print(f"{name} is retired", highlight=False, markup=False)


@library.command()
def page(
    path: Annotated[Path, typer.Argument(help="HTML file to write.")] = Path("library.html"),
    title: Title = "Defect library",
    where: Where = None,
    db: Db = None,
) -> None:
    """Write the library as one HTML page."""
    from micdb import opening

    with opening.open(chosen(db)) as base:
        shown = base.library if where is None else base.library.within(where)
        output.console().print(str(shown.page(path, title=title)), highlight=False, markup=False)


@library.command()
def export(
    folder: Annotated[Path, typer.Argument(help="Folder to make.")],
    title: Title = "Defect library",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a folder of that name.")] = False,
    where: Where = None,
    db: Db = None,
) -> None:
    """Write page, figure, tables, structures, model cards and citation to a folder, for a supplement."""
    from micdb import opening

    with opening.open(chosen(db)) as base:
        shown = base.library if where is None else base.library.within(where)
        done = shown.export(folder, title=title, overwrite=overwrite)
    output.console().print(str(done), highlight=False, markup=False)


def _print(entry: object) -> None:
    output.console().print(repr(entry), highlight=False, markup=False)
