"""A property as a row of a sheet says it: value, how sure it is, under what conditions; a composition."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from micdb import composition
from micdb.composition import ATOMIC, COMPOSITION, WEIGHT
from micdb.errors import UsageError
from micdb.ingest.sheet_cells import Line, count, deviation, number, number_or_text, text
from micdb.ingest.sheet_map import Field, Level, PropertyMap


class Condition(NamedTuple):
    """Under what something was measured: a number in a unit, or a text."""

    name: str
    value: float | str
    unit: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return it as the catalog keeps it."""
        if isinstance(self.value, str):
            return {"text": self.value}
        return {"value": self.value, "unit": self.unit}


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
        How it was measured.
    raw
        The cell as written.
    low, high
        Ends of an interval in `unit`; None when unknown.
    n
        Number of measurements behind it; None when unknown.
    conditions
        Under what it was measured, by name.
    description
        What the property is, where the sheet's words do not say it.
    repeat
        In a sheet of measurements, how many the same stand before it: two of one value are two. None where
        saying it again says nothing new.
    """

    name: str
    level: Level
    value: float | None = None
    text: str | None = None
    sd: float | None = None
    unit: str | None = None
    method: str | None = None
    raw: str | None = None
    low: float | None = None
    high: float | None = None
    n: int | None = None
    conditions: tuple[Condition, ...] = ()
    description: str | None = None
    repeat: int | None = None


def read_entry(line: Line, name: str, source: Field) -> PropertyEntry | None:
    """Return a number or a text of a sample; None where the cell is empty or wrong."""
    found = line.read(number_or_text, source)
    if found is None:
        return None
    raw = text(line, source)
    if isinstance(found, str):
        return PropertyEntry(name, "sample", text=found, raw=raw)
    return PropertyEntry(name, "sample", found, unit=source.unit, raw=raw)


def read_property(line: Line, entry: PropertyMap, *, measured: bool = False) -> PropertyEntry | None:
    """Return a property with all that is said of it; None where its cell is empty or wrong.

    Parameters
    ----------
    line, entry
        Where it stands.
    measured
        Whether every row is a measurement of its own.
    """
    sd, n = line.read(deviation, entry.sd), line.read(count, entry.n)
    low, high = line.read(number, entry.low), line.read(number, entry.high)
    method = line.read(text, entry.method)
    conditions = tuple(_conditions(line, entry))
    value = line.read(number_or_text, entry.value)
    if value is None:
        if text(line, entry.value) is None:
            _refuse_orphans(line, entry)
        return None
    said: dict[str, Any] = {"raw": text(line, entry.value), "method": method, "conditions": conditions}
    said["repeat"] = 0 if measured else None
    if isinstance(value, str):
        return PropertyEntry(entry.name, entry.level, text=value, **said)
    if low is not None and high is not None and not low <= value <= high:
        reason = f"the interval from {low:g} to {high:g} does not hold the value {value:g}"
        line.faults.append(line.error(entry.low or entry.value, reason))
    for end, other in ((entry.low, entry.high), (entry.high, entry.low)):
        if (
            end is not None
            and other is not None
            and text(line, end) is None
            and text(line, other) is not None
        ):
            line.faults.append(line.error(end, "is empty; an interval needs both ends"))
    return PropertyEntry(
        entry.name, entry.level, value, unit=entry.value.unit, sd=sd, low=low, high=high, n=n, **said
    )


def _refuse_orphans(line: Line, entry: PropertyMap) -> None:
    """A spread without a value is a value that was forgotten, or put into another row."""
    for source in (entry.sd, entry.low, entry.high, entry.n):
        if source is not None and text(line, source) is not None:
            where = f"column {entry.value.column!r}"
            line.faults.append(line.error(source, f"is filled and {where} is empty; fill both, or none"))


def _conditions(line: Line, entry: PropertyMap) -> Iterator[Condition]:
    for name, source in sorted(entry.conditions.items()):
        found = line.read(number_or_text, source)
        if found is not None:
            yield Condition(name, found, None if isinstance(found, str) else source.unit)


def read_composition(line: Line, source: Field) -> Iterator[PropertyEntry]:
    """Yield a composition as its text and the percents of its elements."""
    written = text(line, source)
    found = line.read(_composition, source)
    if found is None:
        return
    yield PropertyEntry(COMPOSITION, "sample", text=found.text, raw=written)
    for prefix, shares, of in ((ATOMIC, found.atomic, "atoms"), (WEIGHT, found.weight, "mass")):
        for symbol, share in shares.items():
            what = f"{composition.name_of(symbol)}, percent of {of}"
            yield PropertyEntry(
                f"{prefix}{symbol}", "sample", share, unit="percent", raw=written, description=what
            )


def _composition(line: Line, source: Field) -> composition.Composition | None:
    written = text(line, source)
    try:
        return None if written is None else composition.parse(written)
    except UsageError as error:
        raise line.error(source, str(error)) from error
