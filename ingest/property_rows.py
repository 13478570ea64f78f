"""Values of properties as rows of the catalog: definition, unit, and what makes two of them the same."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from micdb import units
from micdb.catalog import tables
from micdb.catalog.rows import find_or_add
from micdb.errors import SheetError, UnitError
from micdb.ingest.sheet import PropertyEntry
from micdb.ingest.statements import Stated
from micdb.provenance import canonical_json

# Names a property may not take: they are columns of db.images already.
TAKEN = {
    *tables.micrograph.c.keys(),
    "lab",
    "sample",
    "material",
    "instrument",
    "vendor",
    "operator",
    "file",
    "format",
    "count",
}


class Definitions:
    """What is known of each property; each is asked for once within one write transaction.

    Parameters
    ----------
    connection
        The write transaction.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._found: dict[str, tuple[int, str, str | None]] = {}

    def of(self, entry: PropertyEntry, where: str) -> tuple[int, str | None]:
        """Return key and unit of an entry's property, which is added when there is none.

        Raises
        ------
        SheetError
            The name is taken, or the property is of another kind; the message begins with `where`.
        """
        kind = "text" if entry.text is not None else "number"
        if entry.name not in self._found:
            self._found[entry.name] = self._defined(entry, kind, where)
        pk, held, unit = self._found[entry.name]
        if held != kind:
            raise SheetError(
                f"{where}: {entry.name} is {kind} here and was {held} before; choose another name"
            )
        return pk, unit

    def _defined(self, entry: PropertyEntry, kind: str, where: str) -> tuple[int, str, str | None]:
        if entry.name in TAKEN:
            raise SheetError(
                f"{where}: {entry.name!r} is a column of db.images already; choose another name in the map"
            )
        d = tables.property_def.c
        more = {"kind": kind, "unit": entry.unit, "description": entry.description}
        pk = find_or_add(self._connection, tables.property_def, {"name": entry.name}, more)
        held = self._connection.execute(sa.select(d.kind, d.unit).where(d.pk == pk)).one()
        return pk, held.kind, held.unit


def value_row(
    definitions: Definitions, entry: PropertyEntry, stated: Stated, *, owner: Mapping[str, Any], source: str,
    where: str,
) -> dict[str, Any]:  # fmt: skip
    """Return one value as a row of ``property_value``, without when it was written.

    Parameters
    ----------
    definitions
        The properties.
    entry, stated
        What the sheet says, and where it says so first.
    owner
        Level, and key of the sample or image it belongs to.
    source
        Sheet.
    where
        Sheet and row, to begin a message with.

    Raises
    ------
    SheetError
        It does not fit what the property is: name, kind, dimension.
    """
    definition, unit = definitions.of(entry, where)
    value: dict[str, Any] = {
        "property_def_pk": definition,
        **owner,
        "text": entry.text,
        **_in_unit(entry, unit, where),
        "method": entry.method,
        "source_name": source,
        **_more(entry),
    }
    key = hashlib.sha256(canonical_json(value).encode()).hexdigest()
    value.pop("repeat", None)
    told = {"raw": stated.raw, "source_row": stated.row, "origin": "user", "natural_key": key}
    return value | told


def _in_unit(entry: PropertyEntry, unit: str | None, where: str) -> dict[str, float | None]:
    """Return value, standard deviation and interval in the unit of the property."""
    found: dict[str, float | None] = {"value": None, "sd": None}
    if entry.value is None:
        return found
    try:
        found["value"] = units.convert(entry.value, entry.unit, unit)
        if entry.sd is not None:
            # a standard deviation is a difference: the offset between degC and K must not enter
            found["sd"] = units.convert(entry.sd, entry.unit, unit) - units.convert(0.0, entry.unit, unit)
        for name, end in (("low", entry.low), ("high", entry.high)):
            if end is not None:
                found[name] = units.convert(end, entry.unit, unit)
    except UnitError as error:
        raise SheetError(f"{where}: {entry.name}: {error}") from error
    return found


def _more(entry: PropertyEntry) -> dict[str, Any]:
    """Return what few entries have; what is not said does not enter their identity."""
    conditions = {one.name: one.as_json() for one in entry.conditions}
    found = {"n": entry.n, "conditions": conditions or None, "repeat": entry.repeat or None}
    return {name: value for name, value in found.items() if value is not None}
