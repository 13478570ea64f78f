"""Engines on a PostgreSQL server, the catalog many machines share."""

from __future__ import annotations

import os
import socket
from functools import cache
from math import isnan
from typing import Any

import sqlalchemy as sa
from sqlalchemy import URL, Column, Connection, Engine, event

from micdb.catalog.json_text import dump_json
from micdb.errors import CatalogError, UsageError
from micdb.extras import require

SCHEMES = ("postgresql", "postgres", "postgresql+psycopg")
OLDEST = 16  # major version
WAIT = 60_000  # [ms] a writer waits this long for another, as on SQLite
# [ms] a writer that says nothing for so long has hung: the server lets the others go on
SILENCE = 45_000
CONNECT_WAIT = 15  # [s] for a server to answer
WRITE_LOCK = 0x6D696364  # "micd": the advisory lock of all writers of one database
_SECRETS = {"password", "sslpassword"}


def is_url(where: object) -> bool:
    """Return whether something is the address of a database on a server."""
    return isinstance(where, str) and "://" in where


def parse_url(text: str) -> URL:
    """Return the address of a PostgreSQL database.

    Raises
    ------
    UsageError
        It is not one.
    """
    form = "postgresql://user@host/database"
    scheme = text.partition("://")[0]
    if scheme not in SCHEMES:
        raise UsageError(f"{scheme}:// is no kind of database micdb knows; write {form}")
    try:
        url = sa.make_url(text)
    except (sa.exc.ArgumentError, ValueError):  # whose messages may show the password
        raise UsageError(
            f"this address of a database cannot be read; write {form}, with % for signs in a password"
        ) from None
    if not url.database:
        raise UsageError(f"{public_name(url)} names no database; write {form}")
    password = url.query.get("password")
    if isinstance(password, str):  # where SQLAlchemy would not hide it
        url = url.difference_update_query(["password"]).set(password=password)
    return url.set(drivername="postgresql+psycopg")


def public_name(url: URL) -> str:
    """Return an address without its password, as messages show it."""
    query = {key: value for key, value in url.query.items() if key not in _SECRETS}
    shown = URL.create("postgresql", url.username, None, url.host, url.port, url.database, query)
    return shown.render_as_string(hide_password=True)


def shown(where: str) -> str:
    """Return a folder as it is, and an address without its password."""
    return public_name(parse_url(where)) if is_url(where) else where


def postgres_engine(where: str | URL) -> Engine:
    """Return an engine on a PostgreSQL database, which must exist; nothing is asked of the server yet.

    Parameters
    ----------
    where
        ``postgresql://user:password@host:port/database``, with libpq's further options after a ``?``.
        Without a password libpq looks in ``PGPASSWORD`` and ``~/.pgpass``.

    Raises
    ------
    UsageError
        The address cannot be read.
    MissingExtraError
        psycopg is not installed.
    """
    require("psycopg")
    url = parse_url(where) if isinstance(where, str) else where.set(drivername="postgresql+psycopg")
    engine = sa.create_engine(
        url,
        pool_pre_ping=True,  # a server that was started anew meanwhile is no error
        pool_size=5,
        max_overflow=15,
        json_serializer=dump_json,
        connect_args={
            "connect_timeout": CONNECT_WAIT,
            "keepalives_idle": 30,  # [s] a machine that went away is noticed in about two minutes
            "keepalives_interval": 10,
            "keepalives_count": 6,
            "client_encoding": "utf8",
            "application_name": f"micdb {socket.gethostname()}:{os.getpid()}"[:63],
            **{key: value for key, value in url.query.items() if isinstance(value, str)},
        },
    )
    event.listen(engine, "connect", _configure)
    return engine


def check_encoding(connection: Connection) -> None:
    """Refuse a database that cannot keep every text.

    Raises
    ------
    CatalogError
        Its encoding is not UTF-8.
    """
    encoding = connection.exec_driver_sql("SHOW server_encoding").scalar_one()
    if encoding != "UTF8":
        name = public_name(connection.engine.url)
        raise CatalogError(f"{name} keeps text as {encoding}; make it anew with: createdb --encoding UTF8")


def lock_writers(connection: Connection) -> None:
    """Take the lock of all writers of this database, for the rest of the transaction."""
    connection.exec_driver_sql(
        f"SELECT set_config('idle_in_transaction_session_timeout', '{SILENCE}', true),"
        f" pg_advisory_xact_lock({WRITE_LOCK})"
    )


def _configure(connection: Any, _record: Any) -> None:
    version = connection.info.server_version  # 160004 is 16.4
    if version < OLDEST * 10_000:
        connection.close()
        raise CatalogError(
            f"the server is PostgreSQL {version // 10_000}, micdb needs {OLDEST} or newer; "
            "ask whoever runs the server to upgrade it"
        )
    # A plan made once for all values of a parameter is wrong for most of them: 3 ids or 300,000.
    connection.prepare_threshold = None
    for name, dumper in _number_dumpers():
        connection.adapters.register_dumper(name, dumper)
    with connection.cursor() as cursor:
        cursor.execute(f"SET lock_timeout = {WAIT}")
    connection.commit()


@cache
def _number_dumpers() -> list[tuple[type | str, Any]]:
    """Return what writes NaN as NULL, as SQLite does: unknown is NULL, and nothing else is."""
    from psycopg.types.numeric import FloatBinaryDumper, FloatDumper

    class Text(FloatDumper):
        def dump(self, obj: float) -> Any:
            return None if isnan(obj) else super().dump(obj)

    class Binary(FloatBinaryDumper):
        def dump(self, obj: float) -> Any:
            return None if isnan(obj) else super().dump(obj)

    return [(kind, dumper) for kind in (float, "numpy.float64") for dumper in (Text, Binary)]


def advance(connection: Connection, key: Column[int]) -> None:
    """Set the counter of a table's keys behind the largest there is, where it is not there yet."""
    counter = sa.func.pg_get_serial_sequence(key.table.name, key.name)
    largest = connection.scalar(sa.select(sa.func.max(key)))
    if largest is not None:
        connection.execute(sa.select(sa.func.setval(counter, largest)))
