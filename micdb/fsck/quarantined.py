"""Objects out of use: kept for a time of grace, then purged, unless something needs them after all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection, Engine, Row

from micdb import snapshots
from micdb.catalog.engine import reading, writing
from micdb.catalog.results import part
from micdb.catalog.rows import id_list, record
from micdb.catalog.tables import micrograph, object_
from micdb.errors import CatalogError
from micdb.fsck.report import Finding, Scope
from micdb.provenance import now

AT_ONCE = 1000  # objects purged in one transaction


@dataclass(frozen=True, slots=True)
class Purged:
    """What was purged: objects, and their length [byte]."""

    objects: int
    bytes: int


def check_quarantined(scope: Scope) -> Iterator[Finding]:
    """Find objects whose grace is over and that nothing needs; repair purges them."""
    with reading(scope.engine) as connection:
        over = _over(connection, set())
    if not over:
        return
    try:
        held = snapshots.held(scope.root)
    except CatalogError as error:
        message = f"nothing is purged while nobody can read what a snapshot needs: {error}"
        yield Finding("error", "snapshot-unreadable", snapshots.SNAPSHOTS, message)
        return
    over = [row for row in over if row.sha256 not in held]
    if not over:
        return
    size = sum(row.size for row in over)
    message = f"{len(over)} objects ({size} byte) are out of use and their grace is over"
    found = Finding("warning", "expired-objects", "quarantined", f"{message}; purge: micdb fsck --repair")
    if scope.repair:
        purge(scope.engine, scope.root)
        found = found.mended()
    yield found


def purge(engine: Engine, root: Path) -> Purged:
    """Remove quarantined objects whose grace is over, with their files, unless something needs them.

    The bytes of one that lies in a pack go when the pack is written anew.

    Parameters
    ----------
    engine, root
        Catalog and folder of the database.

    Raises
    ------
    CatalogError
        A snapshot cannot be read: nothing is purged while nobody knows what it needs.
    """
    held = snapshots.held(root)
    objects = size = 0
    while True:
        with writing(engine) as connection:  # looked at again inside: an object may have come back into use
            over = _over(connection, held)[:AT_ONCE]
            if not over:
                return Purged(objects, size)
            keys = sa.select(id_list(connection, [row.pk for row in over]).c.id)
            connection.execute(sa.delete(object_).where(object_.c.pk.in_(keys)))
            for row in over:
                if row.pack_pk is None:
                    (root / row.path).unlink(missing_ok=True)
            record(connection, "purge", "object", detail={"sha256": [row.sha256 for row in over]})
        objects, size = objects + len(over), size + sum(row.size for row in over)


def referred(key: ColumnElement[int]) -> ColumnElement[bool]:
    """Return the condition that some row refers to the object with a key."""
    inside = object_.alias("inside")
    columns = (micrograph.c.object_pk, part.c.object_pk, inside.c.pack_pk)
    return sa.or_(*(sa.exists().where(column == key) for column in columns))


def _over(connection: Connection, held: set[str]) -> list[Row[Any]]:
    """Return the objects that may go now."""
    o = object_.c
    statement: sa.Select[Any] = sa.select(o.pk, o.sha256, o.path, o.size, o.pack_pk).where(
        o.state == "quarantined", o.expires_at <= now(), ~referred(o.pk)
    )
    return [row for row in connection.execute(statement.order_by(o.pk)) if row.sha256 not in held]
