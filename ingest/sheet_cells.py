"""Cells of a samples sheet as texts, numbers and spreads; a wrong one is named by row and column."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from micdb import units
from micdb.errors import SheetError, UnitError
from micdb.ingest.sheet_map import Field
from micdb.ingest.sheet_table import Table

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Line:
    """One row of a table as text by column, with what a message about it needs.

    Parameters
    ----------
    table
        The sheet.
    number
        Row as a spreadsheet shows it.
    cells
        Text by column.
    faults
        What was wrong with cells so far: all of them are told together.
    """

    table: Table
    number: int
    cells: Mapping[str, str]
    faults: list[SheetError] = field(default_factory=list)

    def error(self, source: Field, reason: str) -> SheetError:
        """Return the error that names sheet, row and column."""
        place = f"column {source.column!r}" if source.column is not None else f"{source.key} of the map"
        return SheetError(f"{self.table.path}: row {self.number}, {place}: {reason}")

    def read(self, cell: Callable[[Line, Field], T], source: Field | None) -> T | None:
        """Return what a function makes of a cell; None where there is none, or it is a fault."""
        if source is None:
            return None
        try:
            return cell(self, source)
        except SheetError as error:
            self.faults.append(error)
            return None


def text(line: Line, source: Field) -> str | None:
    """Return a cell as text; None where it is empty."""
    if source.column is None:
        return str(source.constant)
    return line.cells[source.column] or None


def number(line: Line, source: Field) -> float | None:
    """Return a cell as a number in the map's unit; None where it is empty."""
    written = text(line, source)
    return None if written is None else read_number(line, source, written)


def deviation(line: Line, source: Field) -> float | None:
    """Return a standard deviation in the map's unit, of temperatures as a difference."""
    written = text(line, source)
    if written is None:
        return None
    sd = read_number(line, source, written, difference=True)
    if sd < 0:
        raise line.error(source, f"{written!r} is below zero, no standard deviation")
    return sd


def count(line: Line, source: Field) -> int | None:
    """Return a number of measurements."""
    found = number(line, source)
    if found is None:
        return None
    if found < 1 or found != int(found):
        raise line.error(
            source, f"{text(line, source)!r} is no number of measurements; expected 1, 2, 3, ..."
        )
    return int(found)


def number_or_text(line: Line, source: Field) -> float | str | None:
    """Return a number where the map gives a unit, else a text; a bare number then lacks its unit."""
    written = text(line, source)
    if written is None or source.numeric:
        return None if written is None else read_number(line, source, written)
    if _is_number(written.replace(",", ".") if line.table.decimal_comma else written):
        reason = f"{written!r} is a number, and {source.key} of the map gives no unit"
        raise line.error(source, f'{reason}; add unit = "...", or unit = "" for plain numbers')
    return written


def read_number(line: Line, source: Field, written: str, *, difference: bool = False) -> float:
    """Return a number in the map's unit; of a `difference` in temperature 1 degC is 1 K."""
    in_sheet = source.column is not None
    try:
        found, own = units.parse(_with_point(written) if in_sheet and line.table.decimal_comma else written)
        own = source.unit if own is None else own
        value = units.convert(found, own, source.unit)
        if difference:
            value -= units.convert(0.0, own, source.unit)
        if not math.isfinite(value):
            raise UnitError("the number is too large")
    except UnitError as error:
        expected = f"a number in {source.unit}" if source.unit else "a plain number"
        raise line.error(source, f"{written!r} is not {expected}: {error}") from error
    return value


def _is_number(written: str) -> bool:
    try:
        return math.isfinite(float(written))
    except ValueError:
        return False


_COMMA = re.compile(r"([+-]?)(\d*),(\d+)(?![\d.,])")


def _with_point(written: str) -> str:
    """Turn a decimal comma into a point; raises `UnitError` where the comma may part thousands."""
    found = _COMMA.match(written)
    if found is None:
        return written
    if len(found[3]) == 3 and found[2] not in ("", "0") and len(found[2]) <= 3:
        plain = written.replace(",", "")
        raise UnitError(f"it may mean {written.replace(',', '.')} or {plain}; write one of them")
    return written.replace(",", ".", 1)
