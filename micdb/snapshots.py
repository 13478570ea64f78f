"""Snapshots: the catalog as it was at one moment, kept as a SQLite file beside the live one.

::

    snapshots/<name>.sqlite     every row of the catalog at that moment; never written again

Files that the rows name are immutable, so a copy of the rows is the whole past; what a snapshot names is
never purged (`held`). A snapshot of a catalog on a server is the same kind of file.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from micdb.catalog import schema
from micdb.catalog.copy import copy_catalog
from micdb.catalog.engine import frozen_engine, reading, sqlite_engine, writing
from micdb.catalog.results import dataset
from micdb.catalog.rows import add, record
from micdb.catalog.sqlite import PRESENT
from micdb.catalog.tables import event, object_
from micdb.errors import NotFoundError, UsageError, suggestion
from micdb.provenance import now
from micdb.store.files import fsync_file, make_folder, move
from micdb.store.staging import discard, stage

SNAPSHOTS = "snapshots"
SUFFIX = ".sqlite"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class Snapshot(NamedTuple):
    """One snapshot.

    Parameters
    ----------
    name
        What it is asked for by.
    created_at
        When it was taken.
    event
        Number of the last event it contains.
    """

    name: str
    created_at: str
    event: int


def path_of(root: Path, name: str) -> Path:
    """Return where a snapshot lies."""
    return root / SNAPSHOTS / f"{name}{SUFFIX}"


def take(engine: Engine, root: Path, name: str) -> Snapshot:
    """Keep the catalog as it is at this moment, under a name.

    Raises
    ------
    UsageError
        The name is taken, or cannot name a file.
    """
    if not NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot name a snapshot: take up to 100 letters, digits, dots, _ and -, a letter first"
        )
    with reading(engine) as connection:
        _require_free(connection, name)
    half, target = stage(root, SUFFIX), path_of(root, name)
    try:
        seq = _write(engine, half)
        fsync_file(half)
        make_folder(target.parent)
        with writing(engine) as connection:
            _require_free(connection, name)
            made = Snapshot(name, now(), seq)
            add(connection, dataset, {"name": name, "event_seq": seq, "created_at": made.created_at})
            record(connection, "snapshot", "dataset", detail={"name": name, "event": seq})
            move(half, target)  # a crash before the commit leaves a file that fsck finds
        return made
    finally:
        discard(root, [half, half.with_name(f"{half.name}-journal")])


def listed(engine: Engine) -> list[Snapshot]:
    """Return all snapshots, oldest first."""
    d = dataset.c
    statement = sa.select(d.name, d.created_at, d.event_seq).where(d.event_seq.is_not(None))
    with reading(engine) as connection:
        return [Snapshot(*row) for row in connection.execute(statement.order_by(d.pk))]


def open_snapshot(engine: Engine, root: Path, name: str) -> Engine:
    """Return an engine on a snapshot; it reads, and refuses to write.

    Raises
    ------
    UsageError
        There is no snapshot of that name; the message offers the nearest ones.
    NotFoundError
        Its file is gone.
    OldSchemaError
        It was taken before the catalog was upgraded; the message says which micdb reads it.
    """
    known = [one.name for one in listed(engine)]
    if name not in known:
        have = suggestion(name, known) if known else "; there is none yet: take one with micdb snapshot NAME"
        raise UsageError(f"no snapshot {name!r}{have}")
    path = path_of(root, name)
    if not path.is_file():
        raise NotFoundError(f"the file of snapshot {name!r} is gone: {path}; restore it from a backup")
    frozen = frozen_engine(path, f"snapshot {name!r}")
    schema.check(frozen, name=f"snapshot {name}")
    return frozen.execution_options(**{PRESENT: engine})  # knows where files went since: micdb.places


def drop(engine: Engine, root: Path, name: str) -> None:
    """Forget a snapshot; what only it held may be purged from now on.

    Raises
    ------
    UsageError
        There is none of that name.
    """
    known = [one.name for one in listed(engine)]
    if name not in known:
        raise UsageError(f"no snapshot {name!r}{suggestion(name, known)}")
    with writing(engine) as connection:
        connection.execute(sa.delete(dataset).where(dataset.c.name == name))
        record(connection, "drop snapshot", "dataset", detail={"name": name})
    path_of(root, name).unlink(missing_ok=True)


def held(root: Path) -> set[str]:
    """Return the sha256 of every object that some snapshot needs: these must not be purged."""
    found: set[str] = set()
    for path in sorted((root / SNAPSHOTS).glob(f"*{SUFFIX}")):
        engine = frozen_engine(path, path.stem)
        with reading(engine) as connection:
            found.update(connection.scalars(sa.select(object_.c.sha256).where(object_.c.state == "live")))
        engine.dispose()
    return found


def _require_free(connection: Connection, name: str) -> None:
    if connection.scalar(sa.select(dataset.c.pk).where(dataset.c.name == name)) is not None:
        raise UsageError(f"the name {name!r} is taken: choose another one, or drop that snapshot first")


def _write(engine: Engine, path: Path) -> int:
    """Write the catalog of one moment to a file; return the number of its last event."""
    path.unlink()  # SQLite makes the file itself
    if engine.dialect.name == "sqlite":
        driver = engine.raw_connection()
        try:
            driver.execute("VACUUM INTO ?", (str(path),))
        finally:
            driver.close()
    else:
        made = sqlite_engine(path)
        schema.create(made)
        with reading(engine) as connection:
            copy_catalog(connection, made)
        driver = made.raw_connection()  # a transaction would not let the journal be changed
        try:
            driver.execute("PRAGMA journal_mode=DELETE")  # one file, without a log beside it
        finally:
            driver.close()
        made.dispose()
    frozen = frozen_engine(path, path.stem)
    with reading(frozen) as connection:
        last = connection.scalar(sa.select(sa.func.coalesce(sa.func.max(event.c.seq), 0)))
    frozen.dispose()
    return int(last or 0)


def describe(found: list[Snapshot]) -> list[dict[str, str | int]]:
    """Return snapshots as plain JSON values."""
    return [one._asdict() for one in found]
