"""What NXem demands of the sample and of the session, and where it comes from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import sqlalchemy as sa
from sqlalchemy import Engine

from micdb.bundle.image import StoredImage
from micdb.catalog import tables as t
from micdb.catalog.engine import reading
from micdb.catalog.rows import id_list
from micdb.errors import UsageError, suggestion

#: Names of the properties and of the arguments -> what is expected.
FIELDS = {
    "is_simulation": "true or false",
    "atom_types": "symbols parted by commas, for example Fe, C",
    "preparation_date": "date, time and zone, for example 2024-05-31T14:30:00+02:00",
    "start_time": "when the session began; the image's own date where it has one",
    "time_zone": "of dates without one: Europe/Berlin, or +02:00",
}
_TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_SYMBOLS = re.compile(r"[A-Z][a-z]?(\s*,\s*[A-Z][a-z]?)*")
_OFFSET = re.compile(r"[+-]\d{2}:\d{2}|Z|UTC")


def asked(sample: Mapping[str, Any]) -> dict[str, str]:
    """Return what a caller says of the sample as text; raises `UsageError` for a name NXem does not ask."""
    for name in sample:
        if name not in FIELDS:
            raise UsageError(f"NXem asks nothing called {name!r} of a sample{suggestion(name, FIELDS)}")
    return {name: _text(value) for name, value in sample.items()}


@dataclass(frozen=True, slots=True)
class Sample:
    """What is known of one image's sample.

    Parameters
    ----------
    known
        Text by the names of `FIELDS`.
    several
        Names for which the catalog has different values.
    """

    known: Mapping[str, str] = field(default_factory=dict)
    several: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @classmethod
    def read(cls, engine: Engine, images: Iterable[int], given: Mapping[str, str]) -> dict[int, Self]:
        """Return what the properties of samples and images say, each by the image's key; `given` wins."""
        v, m = t.property_value, t.micrograph.c
        of_sample = sa.and_(v.c.level == "sample", v.c.sample_pk == m.sample_pk)
        of_image = sa.and_(v.c.level == "image", v.c.micrograph_pk == m.pk)
        query = (
            sa.select(m.pk, v.c.level, t.property_def.c.name, v.c.text, v.c.value)
            .select_from(t.micrograph)
            .join(v, sa.or_(of_sample, of_image))
            .join(t.property_def, t.property_def.c.pk == v.c.property_def_pk)
            .where(t.property_def.c.name.in_(list(FIELDS)), v.c.retired_at.is_(None))
            .order_by(v.c.pk)
        )
        keys = list(dict.fromkeys(images))
        said: dict[int, dict[str, dict[str, list[str]]]] = {key: {} for key in keys}
        with reading(engine) as connection:
            wanted = query.where(m.pk.in_(sa.select(id_list(connection, keys).c.id)))
            for row in connection.execute(wanted):
                values = said[row.pk].setdefault(row.name, {}).setdefault(row.level, [])
                value = _text(row.text if row.text is not None else row.value)
                if value not in values:
                    values.append(value)
        return {key: cls._of(levels, given) for key, levels in said.items()}

    @classmethod
    def _of(cls, said: Mapping[str, Mapping[str, list[str]]], given: Mapping[str, str]) -> Self:
        # What is said of the image itself is nearer than what is said of its sample.
        values = {name: levels.get("image") or levels["sample"] for name, levels in said.items()}
        values |= {name: [value] for name, value in given.items()}
        return cls(
            {name: found[0] for name, found in values.items() if len(found) == 1},
            {name: found for name, found in values.items() if len(found) > 1},
        )

    def problem(self, image: StoredImage) -> str | None:
        """Return what is missing or cannot be read, and how to give it; None when NXem is content."""
        wrong: list[str] = []
        for name, values in self.several.items():
            wrong.append(f"{name} has several values: {' and '.join(values)}")
        for name, value in self._demanded(image).items():
            if name in self.several:
                continue
            if value is None:
                wrong.append(f"{name} is missing ({FIELDS[name]})")
            elif isinstance(value, ValueError):
                wrong.append(f"{name}: {value}")
        if not wrong:
            return None
        return (
            f"NXem: {'; '.join(wrong)}. Give it as a property of the sample in the samples sheet, "
            "or with --sample name=value"
        )

    def values(self, image: StoredImage) -> dict[str, tuple[Any, str | None]]:
        """Return the demanded fields by their place below the entry."""
        found = self._demanded(image)
        return {
            "start_time": (found["start_time"], None),
            **{f"sample1/{name}": (found[name], None) for name in list(FIELDS)[:3]},
        }

    def _demanded(self, image: StoredImage) -> dict[str, Any]:
        """Return every demanded value; None when missing, a ValueError when it cannot be read."""
        start = self.known.get("start_time") or image.acquired
        read = {
            "is_simulation": (_truth, self.known.get("is_simulation")),
            "atom_types": (_symbols, self.known.get("atom_types")),
            "preparation_date": (self._moment, self.known.get("preparation_date")),
            "start_time": (self._moment, start),
        }
        found: dict[str, Any] = {}
        for name, (parse, text) in read.items():
            try:
                found[name] = None if text is None else parse(text)
            except ValueError as error:
                found[name] = error
        return found

    def _moment(self, text: str) -> str:
        """Return a moment with its zone, which NXem demands."""
        try:
            moment = datetime.fromisoformat(text.strip())
        except ValueError:
            raise ValueError(f"{text!r} is no {FIELDS['preparation_date']}") from None
        if "T" not in text and ":" not in text:
            raise ValueError(f"{text!r} has no time of day; expected {FIELDS['preparation_date']}")
        if moment.tzinfo is None:
            zone = self.known.get("time_zone")
            if zone is None:
                raise ValueError(f"{text!r} has no zone; give time_zone ({FIELDS['time_zone']})")
            moment = _zoned(moment, zone)
        return moment.isoformat()


def _zoned(moment: datetime, zone: str) -> datetime:
    if _OFFSET.fullmatch(zone):
        offset = "+00:00" if zone in ("Z", "UTC") else zone
        return datetime.fromisoformat(moment.isoformat() + offset)
    try:
        return moment.replace(tzinfo=ZoneInfo(zone))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"time_zone is {zone!r}, expected {FIELDS['time_zone']}") from None


def _truth(text: str) -> bool:
    if text.strip().lower() not in _TRUTH:
        raise ValueError(f"{text!r} is neither true nor false")
    return _TRUTH[text.strip().lower()]


def _symbols(text: str) -> str:
    if not _SYMBOLS.fullmatch(text.strip()):
        raise ValueError(f"{text!r}, expected {FIELDS['atom_types']}")
    return text.strip()


def _text(value: Any) -> str:
    """Return a value as text; a sheet's number 0 and 1 without a decimal point."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
