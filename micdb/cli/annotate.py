"""Commands for masks that experts draw in other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from micdb.cli import output
from micdb.cli.options import AsJson, Db, Format, app, chosen
from micdb.errors import UsageError

annotate = typer.Typer(
    help="Bring in masks that experts drew, list them, write them for other tools.",
    no_args_is_help=False,
    rich_markup_mode=None,
)
app.add_typer(annotate, name="annotate")

By = Annotated[str | None, typer.Option(help="Who drew them; the user of this computer when not given.")]


@annotate.command()
def read(
    path: Annotated[Path, typer.Argument(help="Label images, Labelme or COCO files, or a folder of them.")],
    classes: Annotated[
        str,
        typer.Option(help="Names of the classes of label images: ferrite,pearlite or 0=ferrite,9=pearlite"),
    ] = "",
    unknown: Annotated[int | None, typer.Option(help="Value of pixels of which nothing is said.")] = None,
    db: Db = None,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Keep masks with the images they are named after: all, or none."""
    from micdb import opening

    with opening.open(chosen(db)) as base:
        drawn = base.annotations.read(path, classes=_classes(classes), unknown=unknown, by=by)
    if as_json:
        output.print_json([one.as_json() for one in drawn])
    else:
        images = len({one.image for one in drawn})
        output.console().print(f"{len(drawn)} masks of {images} images", highlight=False)


@annotate.command()
def write(
    folder: Annotated[Path, typer.Argument(help="Where to.")],
    form: Annotated[str, typer.Option("--format", help="png, tiff, coco or labelme")] = "png",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that are there.")] = False,
    db: Db = None,
) -> None:
    """Write the masks that stand."""
    from micdb import opening

    with opening.open(chosen(db)) as base:
        files = base.annotations.write(folder, form, overwrite=overwrite)
    output.console().print(f"{len(files)} files in {folder}", highlight=False)


@annotate.command("list")
def list_(db: Db = None, form: Format = "table") -> None:
    """List the masks that stand."""
    from micdb import opening

    with opening.open(chosen(db)) as base:
        table = base.annotations.drawings()
    output.print_frame(table.assign(classes=table["classes"].map(", ".join)), form)


@annotate.command()
def undo(
    uid: Annotated[str, typer.Argument(help="uid of the drawing; list has them.")],
    db: Db = None,
    by: By = None,
) -> None:
    """Take a drawing back."""
    from micdb import opening

    with opening.open(chosen(db)) as base:
        base.annotations.undo(uid, by=by)


def _classes(text: str) -> dict[int, str] | list[str]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not any("=" in part for part in parts):
        return parts
    try:
        pairs = [part.split("=", 1) for part in parts]
        return {int(value): name.strip() for value, name in pairs}
    except ValueError:
        raise UsageError(
            f"--classes is {text!r}; write names in order, ferrite,pearlite, or value=name for each"
        ) from None
