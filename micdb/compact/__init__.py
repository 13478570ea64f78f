"""Compaction: a million images are not a million small files, and a table is not thousands of small parts.

Nothing changes for those who ask the database: the same rows, the same pixels. docs/compact.md is for users.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy import Engine

from micdb.catalog.engine import reading
from micdb.catalog.results import part
from micdb.catalog.tables import object_
from micdb.compact.packs import compact_packs
from micdb.compact.parts import compact_parts
from micdb.compact.report import Budget, Compacted, Watcher
from micdb.compact.unpack import unpack
from micdb.fsck.quarantined import Purged
from micdb.fsck.quarantined import purge as purge_expired
from micdb.store.files import MEDIA_TYPES

__all__ = ["Budget", "Compacted", "Watcher", "compact", "unpack"]


class _Counts(NamedTuple):
    """Live parts and their length [byte], live files that are no packs, and live packs."""

    parts: int
    part_bytes: int
    loose: int
    packs: int


def compact(
    engine: Engine,
    root: Path,
    *,
    budget: Budget | None = None,
    purge: bool = False,
    watch: Watcher | None = None,
) -> Compacted:
    """Merge small parts and pack small micrograph files; others may read and write meanwhile.

    Killed at any moment it loses nothing: ``micdb fsck --repair`` sweeps, and the same call goes on.

    Parameters
    ----------
    engine, root
        Catalog and folder of the database.
    budget
        Sizes; None for the usual ones.
    purge
        Also remove what has been out of use for longer than its grace of 14 days.
    watch
        Called with ``parts`` or ``packs``, how many groups are done, and how many there are.
    """
    sizes = budget or Budget()
    before = _count(engine)
    purged = purge_expired(engine, root) if purge else Purged(0, 0)
    skipped = compact_parts(engine, root, sizes, watch)
    packed = compact_packs(engine, root, sizes, watch)
    after = _count(engine)
    return Compacted(
        parts_before=before.parts,
        parts_after=after.parts,
        part_bytes_before=before.part_bytes,
        part_bytes_after=after.part_bytes,
        loose_before=before.loose,
        loose_after=after.loose,
        packed=packed.objects,
        packs=after.packs,
        repacked=packed.repacked,
        purged=purged.objects,
        purged_bytes=purged.bytes,
        skipped=(*skipped, *packed.skipped),
    )


def _count(engine: Engine) -> _Counts:
    o = object_.c
    live = sa.select(sa.func.count()).select_from(object_).where(o.state == "live")
    parts = (
        sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(o.size), 0))
        .select_from(part.join(object_))
        .where(o.state == "live")
    )
    is_pack = o.media_type == MEDIA_TYPES[".tar"]
    with reading(engine) as connection:
        number, size = connection.execute(parts).one()
        loose = connection.scalar(live.where(o.pack_pk.is_(None), ~is_pack))
        packs = connection.scalar(live.where(is_pack))
    return _Counts(int(number), int(size), int(loose or 0), int(packs or 0))
