"""Publish files so that a crash at any point loses nothing that was committed and shows nothing that was not.

::

    stage    -> write          a file nobody knows
    seal                       flushed to the disk, hashed, given its lasting name
    publish  1. transaction    pending rows: the catalog knows the names before they exist
             2. rename         into place, folders flushed
             3. transaction    rows live, together with the caller's rows: the moment of truth;
                               what the caller's rows do not speak of is withdrawn

A crash before 3 leaves staged files, pending rows or files with pending rows; `micdb.fsck` sweeps
them. Bytes that are live already are kept and the new copy dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, Row

from micdb.catalog.engine import writing
from micdb.catalog.tables import object_
from micdb.errors import CatalogError, StoreError
from micdb.provenance import file_hash, now
from micdb.store.files import MEDIA_TYPES, fsync_file, move
from micdb.store.staging import claim, claimed, discard, stage

__all__ = ["GRACE", "Staged", "discard", "publish", "seal", "stage"]

T = TypeVar("T")

GRACE = timedelta(days=14)  # a pending object of unknown fate is kept this long


@dataclass(frozen=True, slots=True)
class Staged:
    """A finished file, flushed and hashed, that no row names yet.

    Parameters
    ----------
    path
        Where it lies now.
    target
        Where it will lie, relative to the database folder.
    sha256
        Hash of its bytes.
    size
        Length [byte].
    media_type
        By its suffix.
    """

    path: Path
    target: str
    sha256: str
    size: int
    media_type: str


def seal(path: Path, target_for: Callable[[str], str]) -> Staged:
    """Flush a staged file to the disk and hash it; it must not change any more.

    Parameters
    ----------
    path
        The file, from `stage`.
    target_for
        Gives the lasting name from the sha256: `micdb.store.files.object_path`, or a closure over
        `micdb.store.files.part_path`.
    """
    fsync_file(path)
    sha256 = file_hash(path)
    return Staged(path, target_for(sha256), sha256, path.stat().st_size, MEDIA_TYPES[path.suffix])


def publish(
    engine: Engine,
    root: Path,
    staged: Sequence[Staged],
    commit: Callable[[Connection, Mapping[str, int]], T],
) -> T:
    """Make files live together with the rows that speak of them, or leave both invisible.

    Parameters
    ----------
    engine
        The catalog.
    root
        The database folder.
    staged
        Sealed files; two with the same bytes become one object.
    commit
        Called in the last transaction with ``{sha256: object.pk}``; writes the caller's rows. An object
        becomes live when its key is looked up: one that is never looked up is removed again. An
        exception rolls everything back and removes all files.

    Returns
    -------
    T
        What `commit` returned.

    Raises
    ------
    StoreError
        A file that was published a moment ago is gone or of another length.
    """
    files = {one.sha256: one for one in staged}
    if not files:
        with writing(engine) as connection:
            return commit(connection, {})
    claims = claim(root, files)
    live: set[str] = set()
    try:
        targets = _announce(engine, root, files.values())
        for sha256, target in targets.items():
            if files[sha256].path.exists():
                move(files[sha256].path, root / target)
        with writing(engine) as connection:
            keys = _Keys(connection, root, files)
            result = commit(connection, keys)
        live = set(keys.enlivened)
        return result
    finally:
        discard(root, [*claims, *(one.path for one in staged)])
        if unwanted := files.keys() - live:
            _withdraw(engine, root, unwanted)


class _Keys(Mapping[str, int]):
    """Keys of objects by hash; looking one up makes it live."""

    def __init__(self, connection: Connection, root: Path, files: Mapping[str, Staged]) -> None:
        self._connection, self._root, self._files = connection, root, files
        self.enlivened: dict[str, int] = {}

    def __getitem__(self, sha256: str) -> int:
        if sha256 not in self.enlivened:
            self.enlivened[sha256] = _enliven(self._connection, self._root, self._files[sha256])
        return self.enlivened[sha256]

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


def _announce(engine: Engine, root: Path, files: Iterable[Staged]) -> dict[str, str]:
    """Write pending rows; return the target of each file that has to be moved into place."""
    targets = {}
    with writing(engine) as connection:
        for one in files:
            row = connection.execute(sa.select(object_).where(object_.c.sha256 == one.sha256)).one_or_none()
            # A live object that lost its file is healed by the same bytes coming again.
            if row is not None and row.state != "pending" and _is_whole(connection, root, row, one.size):
                _keep(connection, one.sha256)
                continue
            targets[one.sha256] = row.path if row is not None and row.state != "quarantined" else one.target
            _write_pending(connection, one, state=row.state if row else None, path=targets[one.sha256])
    return targets


def _keep(connection: Connection, sha256: str) -> None:
    """Put off the end of an object out of use: it is about to be used again, and others may need it still."""
    connection.execute(
        sa.update(object_)
        .where(object_.c.sha256 == sha256, object_.c.state == "quarantined")
        .values(expires_at=later(now(), GRACE))
    )


def _write_pending(connection: Connection, one: Staged, *, state: str | None, path: str) -> None:
    if state == "live":
        return
    moment = now()
    values = {"state": "pending", "path": path, "created_at": moment, "expires_at": later(moment, GRACE)}
    if state is None:
        row = {"sha256": one.sha256, "size": one.size, "media_type": one.media_type, **values}
        connection.execute(sa.insert(object_).values(row))
    else:
        again = sa.update(object_).where(object_.c.sha256 == one.sha256)
        connection.execute(again.values(pack_pk=None, pack_offset=None, **values))


def _enliven(connection: Connection, root: Path, one: Staged) -> int:
    row = connection.execute(
        sa.update(object_)
        .where(object_.c.sha256 == one.sha256)
        .values(state="live", expires_at=None)
        .returning(object_.c.pk, object_.c.path, object_.c.pack_pk, object_.c.pack_offset)
    ).one_or_none()
    # Looked at inside the transaction: whoever removes pending files does so inside one as well.
    if row is not None and row.pack_pk is not None and not _is_whole(connection, root, row, one.size):
        row = _unpack(connection, row.pk)
    if row is None or not _is_whole(connection, root, row, one.size):
        raise StoreError(
            f"{root / (row.path if row else one.target)} vanished while it was being published; "
            "nothing was committed, run the same command again"
        )
    return int(row.pk)


def _withdraw(engine: Engine, root: Path, hashes: Iterable[str]) -> None:
    """Remove what was announced and did not become live, unless another process is publishing it too."""
    # Where even this fails, a full disk for one, `micdb.fsck` sweeps; the first error is the one to show.
    with suppress(OSError, CatalogError), writing(engine) as connection:
        held = claimed(root)
        for sha256 in set(hashes) - held:
            path = connection.execute(
                sa.delete(object_)
                .where(object_.c.sha256 == sha256, object_.c.state == "pending")
                .returning(object_.c.path)
            ).scalar()
            if path is not None:
                (root / path).unlink(missing_ok=True)


def _unpack(connection: Connection, pk: int) -> Row[Any]:
    """Take an object out of a pack that lost it: from now on it is the file its path names."""
    o = object_.c
    loose = sa.update(object_).where(o.pk == pk).values(pack_pk=None, pack_offset=None)
    return connection.execute(loose.returning(o.pk, o.path, o.pack_pk, o.pack_offset)).one()


def _is_whole(connection: Connection, root: Path, row: Row[Any], size: int) -> bool:
    """Return whether the file of an object has its length, or the pack that holds it the pack's."""
    if row.pack_pk is None:
        return _has_size(root / row.path, size)
    pack = connection.execute(
        sa.select(object_.c.path, object_.c.size).where(object_.c.pk == row.pack_pk)
    ).one()
    return bool(row.pack_offset + size <= pack.size) and _has_size(root / pack.path, pack.size)


def _has_size(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def later(moment: str, span: timedelta) -> str:
    """Return the moment `span` after another, in ISO 8601."""
    moved = datetime.fromisoformat(moment).astimezone(UTC) + span
    return moved.isoformat(timespec="microseconds").replace("+00:00", "Z")
