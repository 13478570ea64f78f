"""Move a database: a laptop's folder to a server, a server's catalog back to a folder, or a second copy.

Files come first and the catalog last, in one transaction: a copy that was cut short is an empty database
with some files, and the same command goes on from there. Source rows and files are those of one moment.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from micdb import opening
from micdb.catalog.copy import Teller, copy_catalog
from micdb.catalog.engine import CATALOG, reading
from micdb.catalog.postgres import is_url
from micdb.catalog.tables import object_
from micdb.database import Database
from micdb.errors import ForeignDatabaseError, StoreError
from micdb.provenance import file_hash, uuid7
from micdb.snapshots import SNAPSHOTS, SUFFIX
from micdb.store.files import fsync_file, move


@dataclass(frozen=True, slots=True)
class Copied:
    """What was copied.

    Parameters
    ----------
    rows
        Number of rows by table.
    files
        Files that were copied now; those that lay there already are not counted.
    bytes
        Their length [byte].
    """

    rows: dict[str, int]
    files: int
    bytes: int

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _File:
    path: str  # below the database folder
    size: int
    sha256: str | None  # None where nothing says it


def copy(source: Database, target: Database, *, tell: Teller | None = None) -> Copied:
    """Copy everything in a database to an empty one.

    Local keys stay, so that parts and images fit together; so do snapshots, which are files.

    Parameters
    ----------
    source
        What is copied; others may go on using it.
    target
        A new database, or one that an interrupted copy left; see `micdb.opening.init`.
    tell
        Called with ``files`` or a table's name, how many have been copied, and how many there are.

    Raises
    ------
    UsageError
        The target holds rows already; nothing is written to its catalog.
    StoreError
        A file of the source is missing, or its bytes are not what was committed.
    """
    files = copied_bytes = 0
    with reading(source.engine) as connection:
        wanted = _files(connection, source.root)
        for number, file in enumerate(wanted, 1):
            if _bring(file, source.root, target.root):
                files, copied_bytes = files + 1, copied_bytes + file.size
            if tell is not None:
                tell("files", number, len(wanted))
        rows = copy_catalog(connection, target.engine, tell=tell)
    return Copied(rows, files, copied_bytes)


def copy_between(
    source: str | Path, target: str | Path, *, folder: Path | None = None, tell: Teller | None = None
) -> Copied:
    """Copy a database by its name, a folder or ``postgresql://...``; the target is made.

    Parameters
    ----------
    source, target
        Where the catalogs are.
    folder
        Where the files go when the target is a server.
    tell
        As for `copy`.
    """
    with opening.open(source) as here, _target(target, folder) as there:
        return copy(here, there, tell=tell)


def _target(name: str | Path, folder: Path | None) -> Database:
    """Make the database, or open what an interrupted copy left."""
    if is_url(name):
        try:
            return opening.connect(str(name), folder=folder)
        except ForeignDatabaseError:  # empty, or somebody else's: `init` tells them apart
            return opening.init(name, folder=folder)
    if (Path(name) / CATALOG).is_file():
        return opening.open(name)
    return opening.init(name, folder=folder)


def _files(connection: Connection, root: Path) -> list[_File]:
    """Return what a copy needs: live files, those that snapshots may need, and the snapshots."""
    o = object_.c
    statement = sa.select(o.path, o.size, o.sha256, o.state).where(o.state != "pending", o.pack_pk.is_(None))
    files = [
        _File(path, size, sha256)
        for path, size, sha256, state in connection.execute(statement.order_by(o.pk))
        if state == "live" or (root / path).is_file()
    ]
    snapshots = sorted((root / SNAPSHOTS).glob(f"*{SUFFIX}"))
    return files + [_File(f"{SNAPSHOTS}/{path.name}", path.stat().st_size, None) for path in snapshots]


def _bring(file: _File, source: Path, target: Path) -> bool:
    """Copy a file that is not there yet; return whether it was copied."""
    here, there = source / file.path, target / file.path
    if there.is_file() and there.stat().st_size == file.size:
        return False
    if not here.is_file():
        raise StoreError(f"{here} is missing although the catalog names it; see: micdb fsck --deep")
    there.parent.mkdir(parents=True, exist_ok=True)
    half = there.with_name(f".{there.name}.{uuid7()}")
    try:
        shutil.copyfile(here, half)
        if file.sha256 is not None and file_hash(half) != file.sha256:
            raise StoreError(f"{here} has other bytes than were committed; see: micdb fsck --deep")
        fsync_file(half)
        move(half, there)
    finally:
        half.unlink(missing_ok=True)
    return True
