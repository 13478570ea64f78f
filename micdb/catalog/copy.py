"""Copy a whole catalog from one engine to another: SQLite to PostgreSQL, back, or to a snapshot.

Keys stay what they are, since Parquet parts and indexes name images by them. The source is read in one
transaction, so the copy is the catalog of one moment; the target is written in one, so it is whole or
empty. Pending objects are left out: nothing that is committed refers to them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, Select, Table

from micdb.catalog import results, tables
from micdb.catalog.columns import metadata
from micdb.catalog.engine import place, writing
from micdb.catalog.postgres import advance
from micdb.errors import UsageError

BATCH = 5_000  # rows that travel together: some megabytes where a row has vendor metadata

Teller = Callable[[str, int, int], object]

if not (tables and results):  # importing them fills `metadata`
    raise RuntimeError("the catalog has no tables")


def copy_catalog(read: Connection, target: Engine, *, tell: Teller | None = None) -> dict[str, int]:
    """Copy every row; return the number of rows by table.

    Parameters
    ----------
    read
        A reading transaction of a catalog of this micdb's schema.
    target
        Another catalog, without rows.
    tell
        Called with a table's name, the number of its rows copied so far, and how many there are.

    Raises
    ------
    UsageError
        The target holds rows already; nothing is written.
    """
    counts: dict[str, int] = {}
    with writing(target) as write:
        _require_empty(write, target)
        for table in metadata.sorted_tables:
            counts[table.name] = 0
            total = read.scalar(sa.select(sa.func.count()).select_from(table)) or 0
            for rows in _pages(read, table):
                write.execute(table.insert(), rows)
                counts[table.name] += len(rows)
                if tell is not None:
                    tell(table.name, counts[table.name], total)
        _go_on_counting(write)
    return counts


def _require_empty(connection: Connection, target: Engine) -> None:
    for table in metadata.sorted_tables:
        if table is not tables.setting and connection.execute(sa.select(table).limit(1)).first() is not None:
            raise UsageError(
                f"{place(target)} has rows in {table.name} already; a copy needs an empty database: "
                "name a new one"
            )


def _pages(connection: Connection, table: Table) -> Iterator[list[dict[str, Any]]]:
    if table is tables.setting:  # where files lie is the target's own affair
        return
    with connection.execute(_everything(table).execution_options(yield_per=BATCH)) as result:
        for rows in result.mappings().partitions():
            yield [dict(row) for row in rows]


def _everything(table: Table) -> Select[Any]:
    """Return all rows, those that others of the same table refer to first."""
    statement = sa.select(table)
    own = [column for column in table.c if any(key.references(table) for key in column.foreign_keys)]
    if table is tables.object_:
        statement = statement.where(table.c.state != "pending")
    return statement.order_by(*(column.is_not(None) for column in own), *table.primary_key.columns)


def _go_on_counting(connection: Connection) -> None:
    """Let PostgreSQL's sequences go on behind the keys that were copied; SQLite does so by itself."""
    if connection.dialect.name != "postgresql":
        return
    for table in metadata.sorted_tables:
        if table.autoincrement_column is not None:
            advance(connection, table.autoincrement_column)
