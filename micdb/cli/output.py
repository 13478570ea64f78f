"""What commands print: tables for people, JSON and CSV for programs, progress for terminals only."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text  # plain: a unit in brackets must not be taken for markup

from micdb.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

WIDE = 10_000  # [characters] tables take only what they need of it
FORMATS = ("table", "csv", "json")
Advance = Callable[[str, int, int], None]


def console() -> Console:
    """Return the console of standard output; in a pipe nothing is cut to a width nobody has."""
    screen = Console()
    return screen if screen.is_terminal else Console(width=WIDE)


def print_json(value: Any) -> None:
    """Print plain values as JSON; numbers that JSON cannot hold become null."""
    sys.stdout.write(json.dumps(_plain(value), indent=2, ensure_ascii=False) + "\n")


def print_frame(frame: pd.DataFrame, form: str, *, cut: bool = False) -> None:
    """Print a query's answer.

    Parameters
    ----------
    frame
        The rows; ``frame.attrs["units"]`` gives the unit of each column.
    form
        One of `FORMATS`. JSON carries the units beside the rows; in CSV they stand in the header,
        ``pixel_size [nm]``.
    cut
        Whether a table on a terminal shows just the columns that fit, because nobody asked for all of them.

    Raises
    ------
    UsageError
        No such format.
    """
    units = frame.attrs.get("units", {})
    if form == "json":
        print_json({"units": units, "rows": frame.to_dict(orient="records")})
    elif form == "csv":
        headers = [_header(str(name), units) for name in frame.columns]
        frame.to_csv(sys.stdout, index=False, header=headers)
    elif form == "table":
        _print_table(frame, units, cut=cut and console().is_terminal)
    else:
        raise UsageError(f"no format {form!r}; there are {', '.join(FORMATS)}")


def print_pairs(title: str, pairs: dict[str, Any]) -> None:
    """Print names and values under a title."""
    table = Table(title=title, title_justify="left", show_header=False, box=None, padding=(0, 2, 0, 0))
    for name, value in pairs.items():
        table.add_row(Text(name), Text(_cell(value)))
    console().print(table)


@contextmanager
def progress(what: str) -> Iterator[Advance | None]:
    """Yield a function that moves a bar (text, done, total), or None where nobody watches."""
    screen = Console(stderr=True)
    if not screen.is_terminal:
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=screen, transient=True) as bar:
        task = bar.add_task(what, total=None)

        def advance(text: str, done: int, total: int) -> None:
            bar.update(task, description=text, completed=done, total=total)

        yield advance


def short(path: Path, width: int = 32) -> str:
    """Return the end of a file name, for progress bars."""
    return path.name if len(path.name) <= width else "…" + path.name[1 - width :]


def _print_table(frame: pd.DataFrame, units: dict[str, str | None], *, cut: bool) -> None:
    headers = [_header(str(name), units) for name in frame.columns]
    rows = [[_cell(value) for value in row] for row in frame.itertuples(index=False)]
    shown = _fitting(headers, rows, console().width) if cut else len(headers)
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for header, name in zip(headers[:shown], frame.columns, strict=False):
        numeric = frame[name].dtype.kind in "iuf" if hasattr(frame[name].dtype, "kind") else False
        table.add_column(Text(header), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row[:shown]))
    console().print(table)
    said = f"{len(frame):,} {'row' if len(frame) == 1 else 'rows'}"
    left = len(headers) - shown
    if left:
        said += f"; {left} more column{'s' * (left > 1)}: --columns names some, --format csv has all"
    console().print(said, style="dim", highlight=False)


def _fitting(headers: list[str], rows: list[list[str]], width: int) -> int:
    """Return how many columns fit side by side, at least one."""
    used = 0
    for index, header in enumerate(headers):
        used += max([cell_len(header), *(cell_len(row[index]) for row in rows)]) + 2
        if used > width:
            return max(index, 1)
    return len(headers)


def _header(name: str, units: dict[str, str | None]) -> str:
    unit = units.get(name)
    return f"{name} [{unit}]" if unit else name


def _cell(value: Any) -> str:
    plain = _plain(value)
    if plain is None:
        return "-"
    return f"{plain:.6g}" if isinstance(plain, float) else str(plain)


def _plain(value: Any) -> Any:
    """Return a value that JSON can hold."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):  # numpy scalars
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int | bool):
        return value
    text = str(value)
    return None if text in ("<NA>", "NaT") else text
