"""Many small files become few packs; a pack that has lost much of what it held is written anew."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, Row

from micdb.catalog.engine import reading, writing
from micdb.catalog.rows import id_list, record
from micdb.catalog.tables import object_
from micdb.compact.report import Budget, Watcher
from micdb.compact.retire import Overtaken, retire
from micdb.errors import StoreError
from micdb.publish import discard, publish, seal, stage
from micdb.store.files import MEDIA_TYPES, pack_path
from micdb.store.packs import BLOCK, PackWriter, member_name
from micdb.store.places import Place, opened

LEAST = 100  # objects a pack holds at least, unless they are half as long as a pack should be
MOST = 10_000  # objects: their rows change in one short transaction
WASTE = 0.25  # share of a pack that nothing needs, from which on it is written anew


@dataclass(frozen=True, slots=True)
class Packed:
    """Objects that went into packs, packs written anew, and what was left as it is and why."""

    objects: int
    repacked: int
    skipped: tuple[str, ...]


def compact_packs(engine: Engine, root: Path, budget: Budget, watch: Watcher | None = None) -> Packed:
    """Put small loose micrograph files into packs, and write wasteful packs anew.

    Parameters
    ----------
    engine, root
        Catalog and folder of the database.
    budget
        Sizes.
    watch
        Called with ``packs``, how many are done, and how many there are.
    """
    skipped: list[str] = []
    moves = [(rows, None) for rows in _groups(_loose(engine, budget), budget)]
    again = [(rows, pack) for pack, rows in _wasteful(engine)]
    packed = repacked = 0
    for number, (rows, old) in enumerate([*moves, *again], 1):
        try:
            moved = _pack(engine, root, rows, old)
            packed += len(moved) if old is None else 0
            repacked += old is not None
            if len(moved) < len(rows):
                skipped.append(f"{len(rows) - len(moved)} files are damaged; see: micdb fsck --deep")
        except Overtaken:
            skipped.append(f"{len(rows)} files were packed by somebody else meanwhile")
        except StoreError as error:
            skipped.append(f"{len(rows)} files were not packed: {error}")
        if watch:
            watch("packs", number, len(moves) + len(again))
    return Packed(packed, repacked, tuple(skipped))


def _loose(engine: Engine, budget: Budget) -> Sequence[Row[Any]]:
    o = object_.c
    statement: sa.Select[Any] = sa.select(o.pk, o.path, o.size, o.sha256).where(
        o.state == "live", o.pack_pk.is_(None), o.media_type == MEDIA_TYPES[".nxs"], o.size <= budget.small
    )
    with reading(engine) as connection:
        return connection.execute(statement.order_by(o.pk)).all()


def _groups(loose: Sequence[Row[Any]], budget: Budget) -> Iterator[Sequence[Row[Any]]]:
    """Yield neighbours that fill a pack; of the last ones only if they are worth a pack."""
    start = size = 0
    for end, row in enumerate(loose, 1):
        size += row.size + BLOCK
        full = size >= budget.pack or end - start == MOST
        if full or (end == len(loose) and (end - start >= LEAST or size >= budget.pack // 2)):
            yield loose[start:end]
            start, size = end, 0


def _wasteful(engine: Engine) -> list[tuple[Row[Any], Sequence[Row[Any]]]]:
    """Return live packs of which much is not needed any more, with the objects that still lie in them."""
    o, pack = object_.c, object_.alias("pack")
    needed = sa.func.coalesce(sa.func.sum(o.size + 2 * BLOCK), 0)
    statement: sa.Select[Any] = (
        sa.select(pack.c.pk, pack.c.path, pack.c.size)
        .select_from(pack.outerjoin(object_, o.pack_pk == pack.c.pk))
        .where(pack.c.media_type == MEDIA_TYPES[".tar"], pack.c.state == "live")
        .group_by(pack.c.pk, pack.c.path, pack.c.size)
        .having(needed < pack.c.size * (1 - WASTE))
    )
    members: sa.Select[Any] = sa.select(o.pk, o.path, o.size, o.sha256, o.pack_offset)
    members = members.order_by(o.pack_offset)
    with reading(engine) as connection:
        packs = connection.execute(statement).all()
        return [(row, connection.execute(members.where(o.pack_pk == row.pk)).all()) for row in packs]


def _pack(engine: Engine, root: Path, rows: Sequence[Row[Any]], old: Row[Any] | None) -> list[Row[Any]]:
    """Write one pack, and make it live in the transaction that says who lies in it; return who does."""
    if not rows:
        with writing(engine) as connection:
            retire(connection, [old.pk] if old else [])
        return []
    path = stage(root, ".tar")
    try:
        offsets = _write(root, path, rows, old)
        moved = [row for row in rows if row.pk in offsets]
        if old is not None and len(moved) < len(rows):
            raise StoreError(f"{old.path} holds damaged objects; see: micdb fsck --deep")
        if not moved:
            return []
        staged = seal(path, pack_path)

        def commit(connection: Connection, objects: Mapping[str, int]) -> None:
            pack = objects[staged.sha256]
            _assign(connection, moved, offsets, pack, old)
            detail = {"pack": staged.sha256, "objects": len(moved)}
            record(connection, "repack" if old else "pack", "object", detail=detail)

        publish(engine, root, [staged], commit)
    finally:
        discard(root, [path])
    if old is None:
        _remove_loose(engine, root, moved)
    return moved


def _write(root: Path, path: Path, rows: Sequence[Row[Any]], old: Row[Any] | None) -> dict[int, int]:
    """Write the pack; return where each object begins, without those that are not what was committed."""
    offsets = {}
    with PackWriter(path) as pack:
        for row in rows:
            place = Place(root / row.path, row.size)
            if old is not None:
                place = Place(root / old.path, row.size, row.pack_offset, member_name(row.path))
            try:
                with opened(place) as source:
                    offset = pack.add(member_name(row.path), source, size=row.size, sha256=row.sha256)
            except (OSError, StoreError):
                continue
            if offset is not None:
                offsets[row.pk] = offset
    return offsets


def _assign(
    connection: Connection,
    rows: Sequence[Row[Any]],
    offsets: Mapping[int, int],
    pack: int,
    old: Row[Any] | None,
) -> None:
    """Say of each object where it lies now.

    Raises
    ------
    Overtaken
        One of them went somewhere else meanwhile.
    """
    o = object_.c
    mine = o.pack_pk.is_(None) if old is None else o.pack_pk == old.pk
    unchanged = sa.and_(mine, o.state == "live") if old is None else mine
    statement = sa.update(object_).where(o.pk == sa.bindparam("key"), unchanged)
    connection.execute(
        statement.values(pack_pk=pack, pack_offset=sa.bindparam("offset")),
        [{"key": row.pk, "offset": offsets[row.pk]} for row in rows],
    )
    keys = sa.select(id_list(connection, [row.pk for row in rows]).c.id)
    assigned = sa.select(sa.func.count()).select_from(object_).where(o.pack_pk == pack, o.pk.in_(keys))
    if connection.scalar(assigned) != len(rows):
        raise Overtaken
    if old is not None:
        retire(connection, [old.pk])


def _remove_loose(engine: Engine, root: Path, rows: Sequence[Row[Any]]) -> None:
    """Remove files whose bytes lie in a pack now; after a crash before this, ``fsck --repair`` does."""
    o = object_.c
    with writing(engine) as connection:  # nobody takes an object out of its pack meanwhile
        keys = sa.select(id_list(connection, [row.pk for row in rows]).c.id)
        packed = connection.scalars(sa.select(o.path).where(o.pk.in_(keys), o.pack_pk.is_not(None))).all()
        for path in packed:
            (root / path).unlink(missing_ok=True)
