"""Checks of files: staged, pending, live and unknown ones."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection, Row

from micdb.catalog.engine import reading, writing
from micdb.catalog.results import part
from micdb.catalog.tables import micrograph, object_
from micdb.errors import StoreError
from micdb.fsck.report import Finding, Scope
from micdb.provenance import file_hash, uuid7
from micdb.store.files import MEDIA_TYPES, OBJECTS, PACKS, PARTS, QUARANTINE, STAGING, move
from micdb.store.nexus import read_axes, read_frame
from micdb.store.parts import read_metadata
from micdb.store.staging import LOCK, claimed, leftovers


def check_staging(scope: Scope) -> Iterator[Finding]:
    """Find files that processes left half-made when they died; repair removes them."""
    for leftover in leftovers(scope.root, remove=scope.repair):
        if leftover.files:
            yield Finding(
                "warning",
                "staging-leftover",
                str(leftover.folder.relative_to(scope.root)),
                f"{len(leftover.files)} half-made files of a process that is gone; "
                "remove them with: micdb fsck --repair",
                repaired=scope.repair,
            )


def check_pending(scope: Scope) -> Iterator[Finding]:
    """Find objects whose publishing was cut short; repair removes file and row."""
    with (writing if scope.repair else reading)(scope.engine) as connection:
        # A publisher claims before its first transaction, so inside this one every claim is visible.
        held = claimed(scope.root)
        for row in connection.execute(sa.select(object_).where(object_.c.state == "pending")).all():
            if row.sha256 in held:
                yield Finding("info", "publishing", row.path, "being published at this moment")
            elif not _may_be_elsewhere(scope, row) and not _is_referred(connection, row.pk):
                found = Finding(
                    "warning",
                    "pending-object",
                    row.path,
                    "its publishing was cut short; remove it with: micdb fsck --repair",
                )
                if scope.repair:
                    (scope.root / row.path).unlink(missing_ok=True)
                    connection.execute(sa.delete(object_).where(object_.c.pk == row.pk))
                    found = found.mended()
                yield found


def check_files(scope: Scope) -> Iterator[Finding]:
    """Find files in the store that no row names; repair moves them to ``quarantine/``."""
    # Files before rows: a file whose row is written meanwhile is then known.
    files = [name for folder in (OBJECTS, PACKS, PARTS) for name in _walk(scope.root, folder)]
    staging = scope.root / STAGING
    strays = [path for path in staging.glob("*") if path.is_file() and path.suffix != LOCK]
    with reading(scope.engine) as connection:
        known = set(connection.scalars(sa.select(object_.c.path)))
    unknown = [name for name in files if name not in known]
    unknown += [str(path.relative_to(scope.root)) for path in strays]
    for name in unknown:
        found = Finding(
            "warning",
            "unknown-file",
            name,
            f"no row names this file; move it to {QUARANTINE}/ with: micdb fsck --repair",
        )
        yield found.mended() if scope.repair and quarantine(scope, name) else found


def check_objects(scope: Scope) -> Iterator[Finding]:
    """Find live objects whose file is missing or has other bytes than were committed.

    Packs and what lies in them are `micdb.fsck.packs.check_packs`' business.
    """
    o = object_.c
    own = sa.and_(o.state == "live", o.pack_pk.is_(None), o.media_type != MEDIA_TYPES[".tar"])
    with reading(scope.engine) as connection:
        rows = connection.execute(sa.select(object_).where(own).order_by(o.pk)).all()
    for row in rows:
        trouble = _trouble(scope.root / row.path, row, deep=scope.deep)
        if trouble is not None:
            code, message = trouble
            advice = "restore it from a backup"
            yield Finding("error", code, row.path, f"{message}; {advice}")


def _trouble(path: Path, row: Row[tuple[object, ...]], *, deep: bool) -> tuple[str, str] | None:
    if not path.is_file():
        return "object-missing", "a live row names this file and it is not there"
    size = path.stat().st_size
    if size != row.size:
        return "object-size", f"the file has {size} bytes, {row.size} were committed"
    if not deep:
        return None
    digest = file_hash(path)
    if digest != row.sha256:
        return "object-hash", f"the file's sha256 is {digest}, {row.sha256} was committed"
    try:
        if row.media_type == MEDIA_TYPES[".nxs"]:
            read_axes(path)
            read_frame(path, 0)
        else:
            read_metadata(path)
    except StoreError as error:
        return "object-unreadable", str(error)
    return None


def _may_be_elsewhere(scope: Scope, row: Row[tuple[object, ...]]) -> bool:
    """Whether a publisher on another machine, whose claim cannot be seen here, may still be at work."""
    if scope.engine.dialect.name == "sqlite":  # its write-ahead log lets nobody in from other machines
        return False
    return datetime.now(UTC) - datetime.fromisoformat(row.created_at) < scope.grace


def _is_referred(connection: Connection, pk: int) -> bool:
    columns: tuple[ColumnElement[int], ...] = (
        micrograph.c.object_pk,
        part.c.object_pk,
        object_.c.pack_pk,
    )
    found = sa.union_all(*(sa.select(sa.literal(1)).where(column == pk) for column in columns))
    return connection.execute(found).first() is not None


def _walk(root: Path, folder: str) -> Iterator[str]:
    for path in sorted((root / folder).rglob("*")):
        if not path.is_dir():
            yield path.relative_to(root).as_posix()


def quarantine(scope: Scope, name: str) -> bool:
    """Move a file that no row names out of the way; return whether it still was one."""
    with writing(scope.engine) as connection:
        row = connection.execute(sa.select(object_.c.pk).where(object_.c.path == name)).first()
        if row is not None or not (scope.root / name).exists():  # it became known, or went, meanwhile
            return False
        target = scope.root / QUARANTINE / name
        if target.exists():
            target = target.with_name(f"{uuid7()}-{target.name}")
        move(scope.root / name, target)
    return True
