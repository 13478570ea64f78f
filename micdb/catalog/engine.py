"""Open a catalog so that no update is ever lost.

SQLite's standard driver opens its transaction at the first write, so a read before it happens
*outside* the transaction and concurrent read-modify-write loses updates without an error. Here the
driver is set to manual and every transaction begins explicitly: `reading` with ``BEGIN``, `writing`
with ``BEGIN IMMEDIATE``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, event

from micdb.errors import CatalogError, ForeignDatabaseError, NetworkFilesystemError

CATALOG = "catalog.sqlite"  # name of the catalog within a database folder
BUSY_TIMEOUT = 60_000  # [ms] a writer waits this long for another
NETWORK_FILESYSTEMS = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse.sshfs", "afs", "9p", "lustre", "gpfs"}
_BEGIN = "micdb_begin"


def sqlite_engine(path: Path) -> Engine:
    """Return an engine on a SQLite catalog file; the file need not exist yet.

    Raises
    ------
    NetworkFilesystemError
        The folder is on a network file system, where SQLite's write-ahead log loses data.
    """
    kind = filesystem(path.parent)
    if kind in NETWORK_FILESYSTEMS:
        raise NetworkFilesystemError(
            f"{path} is on a network file system ({kind}), where SQLite can lose data; "
            "move the database folder to a local disk"
        )
    engine = sa.create_engine(f"sqlite:///{path}", connect_args={"timeout": BUSY_TIMEOUT / 1000})
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)
    return engine


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Open a transaction that sees one consistent state and writes nothing."""
    with _told(engine), engine.connect() as connection, connection.begin():
        yield connection


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """Open a write transaction: it holds the write lock from its first statement, and commits at the end.

    Keep it short: nothing is computed inside.
    """
    with (
        _told(engine),
        engine.connect().execution_options(**{_BEGIN: "BEGIN IMMEDIATE"}) as connection,
        connection.begin(),
    ):
        yield connection


@contextmanager
def _told(engine: Engine) -> Iterator[None]:
    """Turn what disk, rights or a lock do to the catalog into errors of ours; bugs pass as they are."""
    name = engine.url.database
    try:
        yield
    except sa.exc.OperationalError as error:
        raise CatalogError(
            f"{name} cannot be used: {error.orig}; nothing was committed: look at the disk's free space "
            "and the folder's rights, then run the same again"
        ) from error
    except sa.exc.DatabaseError as error:
        if type(error) is not sa.exc.DatabaseError:  # its subclasses are broken constraints: ours to mend
            raise
        raise ForeignDatabaseError(
            f"{name} is not a micdb database, or it is damaged: {error.orig}; restore it from a backup"
        ) from error


def filesystem(folder: Path) -> str:
    """Return the type of the file system a folder is on, or ``unknown`` where /proc does not say."""
    mounts = Path("/proc/self/mounts")
    if not mounts.exists():
        return "unknown"
    target = folder.resolve()
    best, kind = -1, "unknown"
    for line in mounts.read_text(encoding="utf-8", errors="replace").splitlines():
        _, point, name, *_ = line.split(" ")
        mount = Path(point.replace("\\040", " "))
        if (target == mount or mount in target.parents) and len(mount.parts) > best:
            best, kind = len(mount.parts), name
    return kind


def _configure(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # sqlite3 must not begin or commit by itself
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=NORMAL",
        "foreign_keys=ON",
        f"busy_timeout={BUSY_TIMEOUT}",
        "case_sensitive_like=ON",  # string comparison as in pandas and PostgreSQL
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get(_BEGIN, "BEGIN"))
