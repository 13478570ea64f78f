"""What commands share: the options that several have, and how their texts are read."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from micdb import config
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

Db = Annotated[
    str | None,
    typer.Option("--db", help="Database folder, or postgresql://user@host/name; MICDB_DB when not given."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Where = Annotated[str | None, typer.Option("--where", help="Only images of this query.")]
Columns = Annotated[str | None, typer.Option("--columns", help="Columns to print, separated by commas.")]
Workers = Annotated[int, typer.Option(help="Processes that read; 0 for one per processor.")]
Format = Annotated[str, typer.Option("--format", help="table, csv or json.")]


def chosen(db: str | None) -> str:
    """Return the database that was named, here or in the environment."""
    if db is not None:
        return db
    named = config.load().database
    if named is None:
        raise UsageError("which database? add --db lab.micdb, or set MICDB_DB")
    return named


def split(text: str) -> list[str]:
    """Return the names in a list with commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def box_of(text: str | None) -> tuple[int, int, int, int] | None:
    """Return a box written as x,y,width,height."""
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 4 or not all(part.lstrip("-").isdecimal() for part in parts):
        raise UsageError(f"--box is {text!r}; write x,y,width,height in pixels, for example 10,10,128,128")
    x, y, width, height = (int(part) for part in parts)
    return x, y, width, height


def parameters_of(texts: list[str]) -> dict[str, object]:
    """Return parameters written as name=value, values as JSON where they are some."""
    import json

    values: dict[str, object] = {}
    for name, value in pairs(texts, "--set", example="nm_per_pixel=256").items():
        try:
            values[name] = json.loads(value)
        except json.JSONDecodeError:
            values[name] = value
    return values


def pairs(texts: list[str], option: str, *, example: str) -> dict[str, str]:
    """Return texts of the form name=value as a mapping."""
    values: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"{option} is {text!r}; write name=value, for example {option} {example}")
        values[name] = value
    return values
