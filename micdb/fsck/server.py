"""Checks of what only a catalog on a PostgreSQL server has: constraints, indexes, counters, order of text."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa
from sqlalchemy import Connection

from micdb.catalog.columns import metadata
from micdb.catalog.engine import reading, writing
from micdb.catalog.postgres import advance
from micdb.fsck.report import Finding, Scope

_BROKEN_INDEXES = sa.text(
    "SELECT i.indexrelid::regclass::text FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid"
    " WHERE c.relnamespace = current_schema()::regnamespace AND NOT (i.indisvalid AND i.indisready)"
    " ORDER BY 1"
)
_UNCHECKED = sa.text(
    "SELECT conname, conrelid::regclass::text FROM pg_constraint"
    " WHERE connamespace = current_schema()::regnamespace AND NOT convalidated ORDER BY 1"
)
_SWITCHED_OFF = sa.text(
    "SELECT DISTINCT t.tgrelid::regclass::text FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid"
    " WHERE c.relnamespace = current_schema()::regnamespace AND t.tgisinternal AND t.tgenabled = 'D'"
    " ORDER BY 1"
)
_COLLATION = sa.text(
    "SELECT datcollversion, pg_database_collation_actual_version(oid) FROM pg_database"
    " WHERE datname = current_database()"
)


def check_server(connection: Connection) -> Iterator[Finding]:
    """Find what makes the server give wrong answers or let broken references in."""
    for (index,) in connection.execute(_BROKEN_INDEXES):
        message = f"this index was never finished; build it with: REINDEX INDEX {index}"
        yield Finding("error", "index-invalid", index, message)
    for name, table in connection.execute(_UNCHECKED):
        message = f"never checked against the rows: ALTER TABLE {table} VALIDATE CONSTRAINT {name} does it"
        yield Finding("error", "constraint-unchecked", f"{table} {name}", message)
    for (table,) in connection.execute(_SWITCHED_OFF):
        message = f"references are not checked; do it again with: ALTER TABLE {table} ENABLE TRIGGER ALL"
        yield Finding("error", "foreign-key", table, message)
    then, now = connection.execute(_COLLATION).one()
    if then != now:
        message = (
            f"indexes of text were built with collation {then}, the server's system has {now} and may sort "
            "otherwise; build them anew: REINDEX DATABASE, then ALTER DATABASE ... REFRESH COLLATION VERSION"
        )
        yield Finding("error", "collation-version", "catalog", message)


def check_counters(scope: Scope) -> Iterator[Finding]:
    """Find counters that would give a key again, after rows came with keys; repair sets them forward."""
    if scope.engine.dialect.name == "sqlite":  # takes the largest key of the table, whatever came in
        return
    with (writing if scope.repair else reading)(scope.engine) as connection:
        for table in metadata.sorted_tables:
            key = table.autoincrement_column
            if key is None:
                continue
            counter = connection.scalar(sa.select(sa.func.pg_get_serial_sequence(table.name, key.name)))
            largest = int(connection.scalar(sa.select(sa.func.max(key))) or 0)
            if counter is None or largest < _coming(connection, str(counter)):
                continue
            message = "its counter would give keys again that rows have; set it with: micdb fsck --repair"
            yield Finding("error", "counter-behind", table.name, message, repaired=scope.repair)
            if scope.repair:
                advance(connection, key)


def _coming(connection: Connection, counter: str) -> int:
    """Return the next key a counter gives; `counter` is a name the server quoted."""
    last, called = connection.exec_driver_sql(f"SELECT last_value, is_called FROM {counter}").one()  # noqa: S608
    return int(last) + bool(called)
