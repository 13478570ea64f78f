"""Under what a property was measured, as conditions on its values: a load, a temperature, a method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Connection

from micdb import units
from micdb.catalog.engine import reading
from micdb.catalog.tables import property_value as table
from micdb.errors import UnitError, UsageError, suggestion
from micdb.query import rules
from micdb.query.elements import Element
from micdb.query.vocabulary import Property, Vocabulary

SAME = 1e-9  # relative difference that two conversions of one number may leave
LISTED = 1000  # values whose conditions a message is made of
Asked = tuple[tuple[str | float, ...], ...]  # name and value, or name and both ends, of each condition


@dataclass(frozen=True, slots=True)
class Under:
    """One condition, against what is stored: ranges by the units that values have, or a text."""

    name: str
    ranges: tuple[tuple[str | None, float, float], ...] = ()
    text: str | None = None


def asked(conditions: Mapping[str, object] | None) -> Asked:
    """Return conditions as a query keeps them.

    Parameters
    ----------
    conditions
        By name a quantity ``"5 N"``, a plain number, a text, or a pair of the two ends of a range.

    Raises
    ------
    UsageError
        A value is none of these.
    """
    made: list[tuple[str | float, ...]] = []
    for name, value in sorted((conditions or {}).items()):
        ends = tuple(value) if isinstance(value, tuple | list) else (value,)
        if len(ends) not in (1, 2) or not all(_plain(end) for end in ends):
            raise UsageError(
                f'condition {name} is {value!r}; write "5 N", a number, a text, or both ends of a range: '
                '("20 degC", "30 degC")'
            )
        made.append((name, *(end if isinstance(end, str) else float(end) for end in ends)))
    return tuple(made)


def _plain(value: object) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def resolve(
    vocabulary: Vocabulary, known: Property, *, method: str | None, conditions: Asked
) -> tuple[Under, ...]:
    """Return conditions in the units that the values of a property have.

    Raises
    ------
    UsageError
        No value of the property was measured by that method, or has a condition of that name.
    UnitError
        It has one, of another dimension, or the unit is missing.
    """
    key = (known.pk, method, conditions)
    if key not in vocabulary.measured and (method is not None or conditions):
        with reading(vocabulary.engine) as connection:
            _check_method(connection, known, method)
            found = [_resolved(connection, known, str(name), ends) for name, *ends in conditions]
        vocabulary.measured[key] = tuple(found)
    made: tuple[Under, ...] = vocabulary.measured.get(key, ())
    return made


def _check_method(connection: Connection, known: Property, method: str | None) -> None:
    if method is None:
        return
    found = connection.execute(sa.select(table.c.method).where(*_live(known)).distinct()).scalars()
    methods = [one for one in found if one is not None]
    if method not in methods:
        raise UsageError(f"no {known.name} was measured by {method!r}{suggestion(method, methods)}")


def fulfilled(conditions: Sequence[Under], method: str | None) -> list[Element]:
    """Return the SQL conditions on rows of ``property_value``."""
    found: list[Element] = [] if method is None else [table.c.method == method]
    for one in conditions:
        if one.text is not None:
            found.append(_said(one.name, "text") == one.text)
            continue
        number = table.c.conditions[(one.name, "value")].as_float()
        ways = [
            sa.and_(_in(_said(one.name, "unit"), unit), number.between(low, high))
            for unit, low, high in one.ranges
        ]
        found.append(sa.or_(*ways))
    return found


def _resolved(connection: Connection, known: Property, name: str, ends: Sequence[str | float]) -> Under:
    value = table.c.conditions[(name, "value")].as_float()
    columns = (_said(name, "unit").label("unit"), _said(name, "text").is_not(None).label("texts"))
    there = sa.or_(value.is_not(None), _said(name, "text").is_not(None))
    rows = connection.execute(sa.select(*columns).where(*_live(known), there).distinct()).all()
    if not rows:
        names = _names(connection, known)
        raise UsageError(f"no {known.name} says at what {name} it was measured{suggestion(name, names)}")
    if all(row.texts for row in rows):
        if len(ends) == 2 or not isinstance(ends[0], str):
            raise UsageError(f"{name} of {known.name} is a text and has no range: write one text")
        return Under(name, text=ends[0])
    stored = sorted({row.unit for row in rows if not row.texts}, key=str)
    wanted = [units.parse(end) for end in ends]
    ranges = [_range(wanted, unit, what=f"{name} of {known.name}") for unit in stored]
    fits = tuple(one for one in ranges if one is not None)
    if not fits:
        have = " or ".join(unit or "a plain number" for unit in stored)
        said = " to ".join(f"{one.value:g} {one.unit or ''}".strip() for one in wanted)
        raise UnitError(f"{name} of {known.name} is in {have}, not {said}: give it with such a unit")
    return Under(name, fits)


def _range(
    wanted: Sequence[units.Value], unit: str | None, *, what: str
) -> tuple[str | None, float, float] | None:
    """Return both ends in a stored unit; None where that is of another dimension."""
    if any(not units.compatible(one.unit, unit) or (one.unit is None) != (unit is None) for one in wanted):
        return None
    low, *more = (units.convert(one.value, one.unit, unit) for one in wanted)
    high = more[0] if more else low
    if high < low:
        raise UsageError(f"the range of {what} ends before it begins: write the lower end first")
    # where zero is arbitrary, as in degC, a difference relative to it says nothing
    slack = SAME * max(abs(low), abs(high), 1.0 if rules.offset(unit) else 0.0)
    return unit, low - slack, high + slack


def _names(connection: Connection, known: Property) -> set[str]:
    said = (*_live(known), table.c.conditions.is_not(None))
    some = connection.execute(sa.select(table.c.conditions).where(*said).limit(LISTED)).scalars()
    return {name for one in some for name in one}


def _said(name: str, part: str) -> Element:
    found: Element = table.c.conditions[(name, part)].as_string()
    return found


def _in(stored: Element, unit: str | None) -> Element:
    return stored.is_(None) if unit is None else stored == unit


def _live(known: Property) -> list[Element]:
    return [table.c.property_def_pk == known.pk, table.c.retired_at.is_(None)]
