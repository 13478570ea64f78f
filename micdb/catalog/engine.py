"""Open a catalog so that no update is ever lost.

SQLite's standard driver opens its transaction at the first write, so a read before it happens
*outside* the transaction and concurrent read-modify-write loses updates without an error. Here the
driver is set to manual and every transaction begins explicitly: `reading` with ``BEGIN``, `writing`
with ``BEGIN IMMEDIATE``.

PostgreSQL lets many write at once, and code that looks before it writes would then have to expect that
what it saw is gone. Here its writers take turns, as SQLite's do: the first statement of `writing` takes an
advisory lock, and each later one sees what was committed before. Catalog writes are short (everything slow
is computed outside), so the turns cost little; docs/decisions says more. `reading` is one snapshot.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import URL, Connection, Engine

from micdb.catalog import postgres, sqlite
from micdb.catalog.postgres import postgres_engine
from micdb.catalog.server_errors import translate
from micdb.catalog.sqlite import CATALOG, NETWORK_FILESYSTEMS, filesystem, frozen_engine, sqlite_engine
from micdb.errors import CatalogError, ForeignDatabaseError, UsageError

__all__ = [
    "CATALOG",
    "NETWORK_FILESYSTEMS",
    "filesystem",
    "frozen_engine",
    "open_engine",
    "place",
    "postgres_engine",
    "reading",
    "restructuring",
    "sqlite_engine",
    "writing",
]


def open_engine(where: Path | URL) -> Engine:
    """Return an engine on a SQLite file or a server.

    Parameters
    ----------
    where
        Path of the file, or `Engine.url` of another engine: how worker processes open the same catalog.
    """
    if isinstance(where, Path):
        return sqlite_engine(where)
    if where.get_backend_name() == "sqlite":
        return sqlite_engine(Path(str(where.database)))
    return postgres_engine(where)


def place(engine: Engine) -> str:
    """Return where a catalog is, as messages name it: never with a password."""
    if engine.dialect.name == "sqlite":
        return str(engine.url.database)
    return postgres.public_name(engine.url)


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Open a transaction that sees one consistent state and writes nothing.

    Temporary tables may be made in it; they are gone at its end, as is whatever else was written.
    """
    with _told(engine), _connect(engine, "BEGIN", "REPEATABLE READ") as connection:
        transaction = connection.begin()
        try:
            yield connection
        finally:
            transaction.rollback()


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """Open a write transaction: it holds the write lock from its first statement, and commits at the end.

    Keep it short: nothing is computed inside.

    Raises
    ------
    UsageError
        The catalog is a snapshot or a federation.
    """
    if frozen := engine.get_execution_options().get(sqlite.FROZEN):
        raise UsageError(f"the {frozen} does not change: write to the database itself")
    with (
        _told(engine),
        _connect(engine, "BEGIN IMMEDIATE", "READ COMMITTED") as connection,
        connection.begin(),
    ):
        if engine.dialect.name == "postgresql":
            postgres.lock_writers(connection)
        yield connection


def _connect(engine: Engine, begin: str, isolation: str) -> Connection:
    connection = engine.connect()
    if engine.dialect.name == "sqlite":
        return connection.execution_options(**{sqlite.BEGIN: begin})
    return connection.execution_options(isolation_level=isolation)


@contextmanager
def restructuring(engine: Engine) -> Iterator[Connection]:
    """Open a write transaction in which SQLite may make tables anew: references are checked at its end.

    SQLite alters a table by copying it and dropping the old one, which would delete the rows that refer
    to it; the switch that prevents this is ignored inside a transaction.
    """
    if engine.dialect.name != "sqlite":
        with writing(engine) as connection:
            yield connection
        return
    with _told(engine), _connect(engine, "BEGIN IMMEDIATE", "") as connection:
        driver: Any = connection.connection.driver_connection
        driver.execute("PRAGMA foreign_keys=OFF")
        try:
            with connection.begin():
                yield connection
                broken = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
                if broken is not None:
                    raise CatalogError(
                        f"{engine.url.database}: a row of {broken[0]} refers to a row of {broken[2]} that is "
                        "not there; nothing was changed: restore the catalog from a backup"
                    )
        finally:
            driver.execute("PRAGMA foreign_keys=ON")


@contextmanager
def _told(engine: Engine) -> Iterator[None]:
    """Turn what disk, rights, network or a lock do to a catalog into errors of ours; bugs pass."""
    try:
        yield
    except sa.exc.DBAPIError as error:
        told = (_told_by_sqlite if engine.dialect.name == "sqlite" else translate)(engine, error)
        if told is None:
            raise
        raise told from error
    except UnicodeEncodeError as error:
        raise UsageError(
            f"{place(engine)} cannot keep this text: {error.object[:60]!r} holds half of a surrogate pair, "
            "often the sign of a name that is not UTF-8; write it anew"
        ) from error


def _told_by_sqlite(engine: Engine, error: sa.exc.DBAPIError) -> CatalogError | None:
    name = engine.url.database
    if isinstance(error, sa.exc.OperationalError):
        return CatalogError(
            f"{name} cannot be used: {error.orig}; nothing was committed: look at the disk's free space "
            "and the folder's rights, then run the same again"
        )
    if type(error) is sa.exc.DatabaseError:  # its subclasses are broken constraints: ours to mend
        return ForeignDatabaseError(
            f"{name} is not a micdb database, or it is damaged: {error.orig}; restore it from a backup"
        )
    return None
