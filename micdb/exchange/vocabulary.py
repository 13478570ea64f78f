"""Names of materials and properties: two laboratories may have several for one thing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from micdb import units
from micdb.errors import UsageError
from micdb.exchange.joining import Merge, Row
from micdb.exchange.report import Mapped
from micdb.exchange.shape import DEFINITION, Shape
from micdb.exchange.stubs import is_stub

Units = tuple[str | None, str | None]  # theirs, ours


def join_vocabulary(
    merge: Merge, write: Connection, shape: Shape, names: Mapping[str, str]
) -> dict[int, Units]:
    """Let materials or properties join, by name, by alias, or as `names` has it.

    Parameters
    ----------
    merge
        The merge.
    write
        A write transaction.
    shape
        `MATERIAL` or `DEFINITION`.
    names
        Our name for a name of theirs; it is remembered as an alias.

    Returns
    -------
    dict
        For properties that are measured in another unit there: both units, by their key.

    Raises
    ------
    UsageError
        A property is a text on one side and a number on the other, or the units measure different things.
    """
    table, rows = shape.table, merge.theirs(shape.table)
    held = [dict(row) for row in write.execute(sa.select(table)).mappings()]
    by_uid = {row["uid"]: row for row in held}
    called = {alias: row for row in held for alias in row["aliases"] or ()}
    called |= {row["name"]: row for row in held}
    fresh: list[Row] = []
    pairs: list[tuple[Row, Row]] = []
    for row in rows:
        asked = names.get(row["name"])
        same = by_uid.get(row["uid"]) if asked is None else None
        same = same or next((called[name] for name in _names(row, asked) if name in called), None)
        if same is None:
            fresh.append(_renamed(row, asked))
        else:
            pairs.append((row, same))
        if not is_stub(row):
            _tell(merge, shape, row, same, asked)
    merge.insert(write, table, [merge.translated(table, row) for row in fresh])
    merge.learn(write, table, fresh)
    converted: dict[int, Units] = {}
    for theirs, ours in pairs:
        merge.keys[table.name][theirs["pk"]] = ours["pk"]
        if shape is DEFINITION:
            converted |= _units(theirs, ours)
        if theirs["uid"] == ours["uid"] or theirs["name"] == ours["name"]:
            merge.compare(write, shape, ours, theirs)
        else:
            merge.report.known[table.name] += 1
        if names.get(theirs["name"]) == ours["name"]:
            _remember(write, shape, ours, theirs["name"])
    return converted


def in_our_unit(row: dict[str, Any], unit: Units) -> dict[str, Any]:
    """Return a property value in our unit; a standard deviation is a difference."""
    theirs, ours = unit
    made = dict(row)
    for name in ("value", "low", "high"):
        if row[name] is not None:
            made[name] = units.convert(row[name], theirs, ours)
    if row["sd"] is not None:
        made["sd"] = units.convert(row["sd"], theirs, ours) - units.convert(0.0, theirs, ours)
    return made


def _names(row: Row, asked: str | None) -> Sequence[str]:
    """Return the names by which a row of theirs may be known here, the first is the best."""
    return [asked] if asked is not None else [row["name"], *(row["aliases"] or ())]


def _renamed(row: Row, asked: str | None) -> Row:
    if asked is None:
        return row
    return {**row, "name": asked, "aliases": sorted({*(row["aliases"] or ()), row["name"]})}


def _tell(merge: Merge, shape: Shape, row: Row, ours: Row | None, asked: str | None) -> None:
    if ours is not None and ours["name"] == row["name"]:
        return
    name = asked or row["name"] if ours is None else ours["name"]
    how = "new" if ours is None and asked is None else "as asked" if asked else "alias"
    merge.report.names.append(Mapped(shape.table.name, row["name"], name, how))


def _units(row: Row, ours: Row) -> dict[int, Units]:
    if is_stub(row):
        return {}
    mend = f"give theirs another name with names={{{row['name']!r}: 'another name'}} (--name)"
    if row["kind"] != ours["kind"]:
        raise UsageError(
            f"the property {row['name']!r} is a {row['kind']} there and a {ours['kind']} here; {mend}"
        )
    if row["unit"] == ours["unit"]:
        return {}
    if not units.compatible(row["unit"], ours["unit"]):
        raise UsageError(
            f"the property {row['name']!r} is in {row['unit'] or 'no unit'} there and in "
            f"{ours['unit'] or 'no unit'} here, which measure different things; {mend}"
        )
    return {row["pk"]: (row["unit"], ours["unit"])}


def _remember(write: Connection, shape: Shape, ours: Row, alias: str) -> None:
    table = shape.table
    known = write.scalar(sa.select(table.c.aliases).where(table.c.pk == ours["pk"])) or []
    if alias not in known and alias != ours["name"]:
        again = table.update().where(table.c.pk == ours["pk"])
        write.execute(again.values(aliases=sorted({*known, alias})))
