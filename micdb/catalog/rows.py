"""Small writes and look-ups every service shares. Callers hold the transaction."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from secrets import token_hex
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, ColumnElement, Connection, FromClause, MetaData, Table
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.schema import CreateTable
from sqlalchemy.types import TypeEngine

from micdb import config
from micdb.catalog import bulk, tables
from micdb.provenance import now, uuid7

MEMBERS = "members"  # setting of a federation: the last event of each member when it was merged
MANY_IDS = 20_000  # from here on a temporary table is the quicker way to PostgreSQL; benchmarks/bulk.py


def find_or_add(
    connection: Connection, table: Table, keys: Mapping[str, Any], more: Mapping[str, Any] | None = None
) -> int:
    """Return the key of the row with those values, adding it when there is none.

    Parameters
    ----------
    connection
        A write transaction: it holds the lock, so nobody adds the same row in between.
    table
        Table with ``pk`` and ``uid``.
    keys
        Columns that identify the row; None matches NULL.
    more
        Further columns of a new row; an existing row is left as it is.
    """
    match = [table.c[name].is_not_distinct_from(value) for name, value in keys.items()]
    found = connection.execute(sa.select(table.c.pk).where(*match)).scalar()
    if found is None:
        found = add(connection, table, {**keys, **(more or {})})
    return int(found)


class Finder:
    """`find_or_add` that asks once for each row within one write transaction, whose lock keeps it true.

    Parameters
    ----------
    connection
        The write transaction.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._found: dict[tuple[str, tuple[tuple[str, Any], ...]], int] = {}

    def __call__(self, table: Table, keys: Mapping[str, Any]) -> int:
        """Return the key of the row with those values, adding it when there is none."""
        place = (table.name, tuple(keys.items()))
        if place not in self._found:
            self._found[place] = find_or_add(self._connection, table, keys)
        return self._found[place]


def add(connection: Connection, table: Table, values: Mapping[str, Any]) -> int:
    """Insert one row with a fresh uid and return its key."""
    row = {"uid": uuid7(), **values}
    return int(connection.execute(table.insert().returning(table.c.pk), row).scalar_one())


def record(
    connection: Connection,
    verb: str,
    entity: str,
    *,
    uid: str | None = None,
    detail: Mapping[str, Any] | None = None,
) -> None:
    """Write one line of the audit log in the caller's transaction."""
    connection.execute(
        tables.event.insert(),
        {
            "at": now(),
            "actor": config.load().actor,
            "verb": verb,
            "entity": entity,
            "uid": uid,
            "detail": dict(detail or {}),
        },
    )


def last_event(connection: Connection) -> tuple[int, str | None]:
    """Return the number of the last event, and when it was; 0 and None before any."""
    e = tables.event.c
    last = connection.execute(sa.select(e.seq, e.at).order_by(e.seq.desc()).limit(1)).first()
    return (last.seq, last.at) if last else (0, None)


def id_list(connection: Connection, ids: Iterable[int]) -> FromClause:
    """Return a relation with one column ``id``; the ids travel as one value or a temporary table.

    PostgreSQL knows nothing of what is in an array but its length; a temporary table it can count, and plans
    accordingly: with a million ids that is five times faster, with few it costs more than it saves.
    """
    listed = [int(i) for i in ids]
    if connection.dialect.name == "sqlite":
        each = sa.func.json_each(json.dumps(listed)).table_valued(sa.column("value", sa.BigInteger))
        return sa.select(each.c.value.label("id")).subquery()
    if len(listed) > MANY_IDS:
        return _temporary(connection, "id", sa.BigInteger(), listed)
    array = sa.cast(sa.literal(f"{{{','.join(map(str, listed))}}}", sa.String()), ARRAY(sa.BigInteger))
    return sa.select(sa.func.unnest(array, type_=sa.BigInteger()).label("id")).subquery()


def among(connection: Connection, number: ColumnElement[Any], ids: Collection[int]) -> ColumnElement[bool]:
    """Return whether a number is one of some ids.

    PostgreSQL plans for each id of an array that stands in the statement itself; from `MANY_IDS` on that
    takes longer than it saves.
    """
    if connection.dialect.name == "postgresql" and len(ids) <= MANY_IDS:
        return number == sa.any_(sa.literal(sorted(ids), ARRAY(sa.BigInteger)))
    return number.in_(sa.select(id_list(connection, sorted(ids)).c.id))


def text_list(connection: Connection, texts: Iterable[str]) -> FromClause:
    """Return a relation with one column ``value``; the texts travel as `id_list` has it."""
    listed = list(texts)
    if connection.dialect.name == "sqlite":
        each = sa.func.json_each(json.dumps(listed)).table_valued(sa.column("value", sa.String))
        return sa.select(each.c.value).subquery()
    if len(listed) > MANY_IDS:
        return _temporary(connection, "value", sa.String(), listed)
    return sa.select(
        sa.func.unnest(sa.literal(listed, ARRAY(sa.String)), type_=sa.String()).label("value")
    ).subquery()


def _temporary(connection: Connection, name: str, kind: TypeEngine[Any], values: Sequence[Any]) -> FromClause:
    """Return a temporary table of one column that is gone at the end of the transaction."""
    column: Column[Any] = Column(name, kind)
    table: Table = Table(
        f"micdb_{token_hex(8)}", MetaData(), column, prefixes=["TEMPORARY"], postgresql_on_commit="DROP"
    )
    connection.execute(CreateTable(table))
    if isinstance(kind, sa.BigInteger):
        bulk.insert_numbers(connection, table.name, values)
    else:
        bulk.insert(connection, table, [name], ((value,) for value in values))
    connection.exec_driver_sql(f"ANALYZE {table.name}")
    return table
