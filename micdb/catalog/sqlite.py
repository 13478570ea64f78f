"""Engines on a SQLite file, the catalog of one database folder."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, event

from micdb.errors import NetworkFilesystemError

CATALOG = "catalog.sqlite"  # name of the catalog within a database folder
BUSY_TIMEOUT = 60_000  # [ms] a writer waits this long for another
NETWORK_FILESYSTEMS = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse.sshfs", "afs", "9p", "lustre", "gpfs"}
FROZEN = "micdb_frozen"  # execution option: the name of a snapshot, which nothing may write to
PRESENT = "micdb_present"  # execution option of a snapshot's engine: that of the catalog it was taken of
MAPPED = 1 << 40  # [byte] of a file that are read as memory; SQLite takes what it can, mostly 2 GB
BEGIN = "micdb_begin"  # execution option: the statement that opens a transaction


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
    engine = sa.create_engine(
        f"sqlite:///{path}",
        connect_args={"timeout": BUSY_TIMEOUT / 1000},
        json_serializer=partial(json.dumps, allow_nan=False),  # as on a server, to which it may be copied
    )
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)
    return engine


def frozen_engine(path: Path, name: str) -> Engine:
    """Return an engine on a catalog file that nobody writes any more; it cannot write either.

    Parameters
    ----------
    path
        The file; the folder need not be writable.
    name
        What messages call it.
    """
    uri = f"file:{quote(str(path))}?mode=ro&immutable=1&uri=true"
    engine = sa.create_engine(f"sqlite:///{uri}", execution_options={FROZEN: name})
    event.listen(engine, "connect", _configure_frozen)
    event.listen(engine, "begin", _begin)
    return engine


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
        f"mmap_size={MAPPED}",  # a scan of a large catalog takes half the time; nothing is written this way
        "case_sensitive_like=ON",  # string comparison as in pandas and PostgreSQL
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _configure_frozen(connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    for pragma in (f"mmap_size={MAPPED}", "case_sensitive_like=ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get(BEGIN, "BEGIN"))
