"""Small writes and look-ups every service shares. Callers hold the transaction."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, FromClause, Table

from micdb import config
from micdb.catalog import tables
from micdb.provenance import now, uuid7


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


def id_list(connection: Connection, ids: Iterable[int]) -> FromClause:
    """Return a relation with one column ``id``; the ids travel as one JSON value, never as parameters."""
    payload = json.dumps([int(i) for i in ids])
    if connection.dialect.name == "sqlite":
        each = sa.func.json_each(payload).table_valued(sa.column("value", sa.BigInteger))
        return sa.select(each.c.value.label("id")).subquery()
    elements = sa.func.json_array_elements_text(sa.cast(payload, sa.JSON)).table_valued("value")
    return sa.select(sa.cast(elements.c.value, sa.BigInteger).label("id")).subquery()
