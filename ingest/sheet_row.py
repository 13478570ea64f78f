"""One row of a samples sheet: cells become names, processing steps, properties and a pixel size."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import NamedTuple

from micdb import units
from micdb.errors import SheetError, UnitError
from micdb.ingest.sheet_map import Field, Level, PropertyMap, SheetMap, StepMap
from micdb.ingest.sheet_table import Table
from micdb.records import Quantity


@dataclass(frozen=True, slots=True)
class PropertyEntry:
    """One property, processing parameter or label, with a number or a text.

    Parameters
    ----------
    name
        As in the map; for a processing parameter ``<kind>_<parameter>``.
    level
        Whether it belongs to the sample or to the image.
    value
        Number in `unit`; None for text.
    text
        Text; None for numbers.
    sd
        Standard deviation in `unit`; None when unknown.
    unit
        Unit in micdb's spelling; None for plain numbers and text.
    method
        How it was measured, as in the map.
    raw
        The cell as written.
    """

    name: str
    level: Level
    value: float | None = None
    text: str | None = None
    sd: float | None = None
    unit: str | None = None
    method: str | None = None
    raw: str | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One processing step of a sample.

    Parameters
    ----------
    position
        Place among the steps of the map, from 1.
    kind
        ``anneal``, ``polish``.
    parameters
        What is known of it, at the level of the sample.
    """

    position: int
    kind: str
    parameters: tuple[PropertyEntry, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """What the sheet says of one file. Unknown is None, or absent.

    Parameters
    ----------
    sheet
        Name of the sheet's file.
    number
        Row as a spreadsheet shows it, from 1.
    file
        File name as written, with forward slashes.
    sample, material, lab, instrument
        Names.
    steps
        Processing steps in order; a step none of whose cells is filled did not take place.
    properties
        Measured properties, then labels: texts about the image.
    pixel_size
        Length per pixel, origin ``user``.
    """

    sheet: str
    number: int
    file: str
    sample: str | None = None
    material: str | None = None
    lab: str | None = None
    instrument: str | None = None
    steps: tuple[Step, ...] = ()
    properties: tuple[PropertyEntry, ...] = ()
    pixel_size: Quantity | None = None

    @property
    def where(self) -> str:
        """Sheet and row, to begin a message with."""
        return f"{self.sheet}: row {self.number}"


class Line(NamedTuple):
    """One row of a table as text by column, with what a message about it needs."""

    table: Table
    number: int
    cells: Mapping[str, str]

    def error(self, source: Field, reason: str) -> SheetError:
        """Return the error that names sheet, row and column."""
        place = f"column {source.column!r}" if source.column is not None else f"{source.key} of the map"
        return SheetError(f"{self.table.path}: row {self.number}, {place}: {reason}")


def read_row(line: Line, sheet_map: SheetMap) -> Row:
    """Return what a line says under a map; raises `SheetError` for a cell that cannot be read."""
    file = _text(line, sheet_map.file)
    if file is None:
        raise line.error(sheet_map.file, "is empty; expected a file name, or delete the row")
    properties = [_property(line, entry) for entry in sheet_map.properties]
    labels = [_label(line, name, source) for name, source in sheet_map.labels.items()]
    steps = [_step(line, entry, position) for position, entry in enumerate(sheet_map.steps, start=1)]
    names = {name: _text(line, source) for name, source in sheet_map.names.items()}
    return Row(
        sheet=line.table.path.name,
        number=line.number,
        file=PurePosixPath(file.replace("\\", "/")).as_posix(),
        sample=names.get("sample"),
        material=names.get("material"),
        lab=names.get("lab"),
        instrument=names.get("instrument"),
        steps=tuple(step for step in steps if step is not None),
        properties=tuple(entry for entry in (*properties, *labels) if entry is not None),
        pixel_size=_pixel_size(line, sheet_map.pixel_size) if sheet_map.pixel_size else None,
    )


def _pixel_size(line: Line, source: Field) -> Quantity | None:
    written = _text(line, source)
    if written is None:
        return None
    number = _number(line, source, written)
    if number <= 0:
        raise line.error(
            source, f"{written!r} is no pixel size; expected a number above zero, or an empty cell"
        )
    return Quantity(number, source.unit, "user", f"{source.column or source.key} = {written}")


def _step(line: Line, entry: StepMap, position: int) -> Step | None:
    found = {
        source: _entry(line, f"{entry.kind}_{name}", source) for name, source in entry.parameters.items()
    }
    from_columns = [value for source, value in found.items() if source.column is not None]
    if from_columns and not any(from_columns):
        return None
    return Step(position, entry.kind, tuple(value for value in found.values() if value is not None))


def _property(line: Line, entry: PropertyMap) -> PropertyEntry | None:
    found = _entry(line, entry.name, entry.value)
    if found is None:
        return None
    sd = _deviation(line, entry.sd) if entry.sd else None
    return replace(found, level=entry.level, sd=sd, method=entry.method)


def _deviation(line: Line, source: Field) -> float | None:
    written = _text(line, source)
    if written is None:
        return None
    sd = _number(line, source, written, difference=True)
    if sd < 0:
        raise line.error(source, f"{written!r} is below zero, no standard deviation")
    return sd


def _label(line: Line, name: str, source: Field) -> PropertyEntry | None:
    written = _text(line, source)
    return PropertyEntry(name, "image", text=written, raw=written) if written is not None else None


def _entry(line: Line, name: str, source: Field) -> PropertyEntry | None:
    """Read a number where the map gives a unit, else a text; a bare number then lacks its unit."""
    written = _text(line, source)
    if written is None:
        return None
    if source.numeric:
        number = _number(line, source, written)
        return PropertyEntry(name, "sample", number, unit=source.unit, raw=written)
    if _is_number(written.replace(",", ".") if line.table.decimal_comma else written):
        reason = f"{written!r} is a number, and {source.key} of the map gives no unit"
        raise line.error(source, f'{reason}; add unit = "...", or unit = "" for plain numbers')
    return PropertyEntry(name, "sample", text=written, raw=written)


def _text(line: Line, source: Field) -> str | None:
    if source.column is None:
        return str(source.constant)
    return line.cells[source.column] or None


def _number(line: Line, source: Field, written: str, *, difference: bool = False) -> float:
    """Return a number in the map's unit; of a `difference` in temperature 1 degC is 1 K."""
    in_sheet = source.column is not None
    try:
        number, own = units.parse(_with_point(written) if in_sheet and line.table.decimal_comma else written)
        own = source.unit if own is None else own
        value = units.convert(number, own, source.unit)
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
