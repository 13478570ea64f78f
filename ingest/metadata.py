"""Vendor metadata to our vocabulary: tables of vendor key -> our key and unit, dates, plain JSON.

A reader writes down a tuple of `Key` rows and calls `apply`; what a row cannot read becomes a
sentence for ``Scan.problems`` and leaves the setting unknown. Nothing here raises for bad metadata:
pixels survive broken headers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from enum import Enum
from typing import Any, NamedTuple

from micdb import units
from micdb.errors import UnitError
from micdb.records import SETTINGS, Origin, Quantity

# Settings that are names, not numbers; every other one of SETTINGS is a number.
TEXT_SETTINGS = frozenset({"detector", "instrument", "vendor", "operator", "sample", "comment", "signal"})

ARRAY_LIMIT = 4096  # [element or byte] larger values are pixels or thumbnails, not metadata
DEPTH_LIMIT = 60  # nesting of metadata trees; deeper ones are damaged or hostile


@dataclass(frozen=True, slots=True)
class Key:
    """One row of a vendor table.

    Parameters
    ----------
    vendor
        The vendor's key: a path in the flat mapping, for example ``Beam.HV``.
    setting
        Our name, one of `micdb.records.SETTINGS`.
    unit
        Unit of a bare number in the file. A unit written beside the value wins. None where the vendor
        writes the unit with the value, or the setting has none.
    parse
        Turns the vendor's value into a number or text first; may return None for "not given", which
        lets a later row of the same setting try.
    """

    vendor: str
    setting: str
    unit: str | None = None
    parse: Callable[[Any], Any] | None = None


class Settings(NamedTuple):
    """What a table found: the settings, and one sentence for every value it could not read."""

    values: dict[str, Quantity]
    problems: list[str]


def apply(table: Iterable[Key], flat: Mapping[str, Any], *, origin: Origin = "file") -> Settings:
    """Map a flat vendor dictionary through a table; of several rows for one setting the first wins.

    Parameters
    ----------
    table
        Rows in order of preference.
    flat
        Vendor key -> value, as `flatten` gives it.
    origin
        ``file``, or ``sidecar`` for a text file that lies beside the image.
    """
    found = Settings({}, [])
    for row in table:
        if row.setting in found.values or row.vendor not in flat:
            continue
        value = flat[row.vendor]
        raw = f"{row.vendor} = {_shown(value)}"
        try:
            quantity = _quantity(row, value, origin=origin, raw=raw)
        except Exception as error:  # a vendor's value may be anything, and `parse` is any function
            found.problems.append(f"{row.setting} unknown: cannot read {raw} ({error})")
            continue
        if quantity is not None:
            found.values[row.setting] = quantity
    return found


def _quantity(row: Key, value: Any, *, origin: Origin, raw: str) -> Quantity | None:
    if row.parse is not None:
        value = row.parse(value)
    if value is None or (isinstance(value, str | bytes) and not text(value)):
        return None
    if row.setting in TEXT_SETTINGS:
        return Quantity(text(value), None, origin, raw)
    wanted = SETTINGS[row.setting]
    number, unit = measure(value, unit=row.unit)
    if unit is None and wanted is not None:
        raise UnitError(f"no unit given, expected one that converts to {wanted}")
    return Quantity(units.convert(number, unit, wanted), wanted, origin, raw)


def measure(value: Any, *, unit: str | None = None) -> units.Value:
    """Return a finite number and its unit; a unit written with the value wins over `unit`.

    Raises
    ------
    ValueError
        There is no finite number (`UnitError` where the unit is unknown).
    """
    written = isinstance(value, bytes | str)
    parsed = units.parse(text(value)) if written else units.Value(float(value), None)
    if not math.isfinite(parsed.value):
        raise ValueError("not a finite number")
    return units.Value(parsed.value, parsed.unit or units.normalise(unit))


def positive(value: Any) -> Any:
    """Return the value, or None where it is the zero by which vendors say "not recorded"."""
    return value if measure(value).value > 0 else None


def text(value: Any) -> str:
    """Return a vendor's value as clean text: decoded, without NUL and surrounding blanks."""
    if isinstance(value, bytes):
        value = _decoded(value)
    return _clean(str(value)).strip()


@contextmanager
def tolerate(problems: list[str], what: str) -> Iterator[None]:
    """Turn any exception of the block into a sentence in `problems`: for metadata, never for pixels."""
    try:
        yield
    except Exception as error:
        problems.append(f"{what} could not be read ({type(error).__name__}: {_shown(error)})")


def local_time(written: str, formats: Sequence[str]) -> str | None:
    """Return ISO 8601 without a zone, by the first of the vendor's `formats` that fits; None if none does.

    Parameters
    ----------
    written
        Date, or date and time, as in the file.
    formats
        `datetime.strptime` patterns from the vendor's table: day and month are never guessed.
    """
    squeezed = re.sub(r"\s+", " ", written).strip()
    for pattern in formats:
        try:
            moment = datetime.strptime(squeezed, pattern)
        except ValueError:
            continue
        return moment.isoformat() if "%H" in pattern or "%I" in pattern else moment.date().isoformat()
    return None


_NUMERIC_DATE = re.compile(r"(\d{1,2})([/.\-])(\d{1,2})\2(\d{4})(?:[ ,T]+(.*))?$")
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2})(?:\.\d+)?)?\s*([AaPp])?\.?\s*(?:[Mm]\.?)?$")


_YEAR_FIRST = (
    "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y/%m/%d %H:%M:%S", "%Y-%m-%d %I:%M:%S %p", "%Y-%m-%d",
    "%Y/%m/%d",
)  # fmt: skip


def locale_time(written: str) -> str | None:
    """Return ISO 8601 for a date in the writing computer's locale, only where it can be read in one way.

    ``27/08/2016 08:55:59 p.m.`` is certain, ``12/10/2019`` is not and gives None; a dot between the
    numbers (``08.10.2019``) is the day-first notation everywhere it is used.
    """
    found = _NUMERIC_DATE.match(written.strip())
    if found is None:
        return local_time(written, _YEAR_FIRST)
    first, second, year = int(found[1]), int(found[3]), int(found[4])
    if found[2] == "." or first > 12:
        day, month = first, second
    elif second > 12 or first == second:
        day, month = second, first
    else:
        return None
    try:
        day_text = date(year, month, day).isoformat()
        clock = _clock(found[5]) if found[5] else None
    except ValueError:
        return None
    return f"{day_text}T{clock}" if clock else day_text


def _clock(written: str) -> str | None:
    found = _CLOCK.match(written.strip())
    if found is None:
        return None
    hour = int(found[1])
    if found[4]:
        hour = hour % 12 + (12 if found[4] in "Pp" else 0)
    return time(hour, int(found[2]), int(found[3] or 0)).isoformat()


def utc_time(seconds: Any) -> str | None:
    """Return ISO 8601 in UTC for seconds since 1970; None for zero, which vendors write for "unknown"."""
    moment = float(seconds)
    if not moment:
        return None
    return datetime.fromtimestamp(moment, UTC).isoformat().replace("+00:00", "Z")


def flatten(tree: Mapping[str, Any], *, separator: str = ".") -> dict[str, Any]:
    """Return nested mappings as one dictionary of dotted paths; list items by number."""
    flat: dict[str, Any] = {}
    pending: list[tuple[str, Any]] = [("", tree)]
    while pending:
        path, value = pending.pop()
        if isinstance(value, dict | Mapping):  # dict first: asking for the abstract class is dear
            children = [(str(key), child) for key, child in value.items()]
        elif isinstance(value, list):
            children = [(str(number), child) for number, child in enumerate(value)]
        else:
            flat[path] = value
            continue
        prefix = f"{path}{separator}" if path else ""
        pending.extend((prefix + key, child) for key, child in reversed(children))
    return flat


def plain(value: Any, *, depth: int = 0) -> Any:
    """Return vendor metadata ready for JSON: bytes as text, numpy as lists, NaN as text, keys as text.

    Arrays and byte blocks above `ARRAY_LIMIT` are replaced by a note of their size.
    """
    if depth > DEPTH_LIMIT:
        return f"<nested deeper than {DEPTH_LIMIT}>"
    if type(value) is str:  # by far the most frequent
        return _clean(value)
    if isinstance(value, Mapping):
        return {_clean(str(key)): plain(child, depth=depth + 1) for key, child in value.items()}
    if isinstance(value, Enum):
        return value.name
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, str):
        return _clean(value)
    if isinstance(value, bytes | bytearray):
        return _clean(_decoded(bytes(value))) if len(value) <= ARRAY_LIMIT else f"<{len(value)} bytes>"
    return _plain_object(value, depth)


def _plain_object(value: Any, depth: int) -> Any:
    if hasattr(value, "tolist") and hasattr(value, "shape"):  # numpy arrays and scalars
        if value.size > ARRAY_LIMIT:
            return f"<array {value.dtype} {tuple(value.shape)}>"
        return plain(value.tolist(), depth=depth + 1)
    if isinstance(value, Sequence | set | frozenset):
        if len(value) > ARRAY_LIMIT:
            return f"<{len(value)} values>"
        return [plain(child, depth=depth + 1) for child in value]
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, complex):
        return [plain(value.real), plain(value.imag)]
    return _clean(str(value))


def _decoded(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _clean(value: str) -> str:
    if value.isascii() and "\x00" not in value:
        return value
    # HDF5 strings end at NUL, and lone surrogates cannot be written as UTF-8.
    return value.replace("\x00", "").encode("utf-8", "replace").decode("utf-8")


def _shown(value: Any, limit: int = 80) -> str:
    shown = re.sub(r"\s+", " ", text(value))
    return shown if len(shown) <= limit else f"{shown[:limit]}..."
