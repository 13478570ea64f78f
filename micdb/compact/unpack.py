"""The way back: what lies in packs becomes files again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Engine, Row

from micdb.catalog.engine import reading, writing
from micdb.catalog.rows import id_list, record
from micdb.catalog.tables import object_
from micdb.compact.retire import retire
from micdb.errors import StoreError
from micdb.provenance import file_hash
from micdb.publish import discard, stage
from micdb.store.files import MEDIA_TYPES, fsync_file, move
from micdb.store.packs import member_name
from micdb.store.places import Place, opened


def unpack(engine: Engine, root: Path) -> int:
    """Take every pack apart and return how many objects became files; nothing else changes.

    The packs stay until their grace is over, for those who read from them at this moment.

    Parameters
    ----------
    engine, root
        Catalog and folder of the database.

    Raises
    ------
    StoreError
        A pack is missing or damaged; what was taken out before stays taken out.
    """
    o = object_.c
    packs: sa.Select[Any] = sa.select(o.pk, o.path).where(
        o.media_type == MEDIA_TYPES[".tar"], o.state == "live"
    )
    with reading(engine) as connection:
        found = connection.execute(packs.order_by(o.pk)).all()
    return sum(_take_apart(engine, root, pack) for pack in found)


def _take_apart(engine: Engine, root: Path, pack: Row[Any]) -> int:
    o = object_.c
    inside: sa.Select[Any] = sa.select(o.pk, o.path, o.size, o.sha256, o.pack_offset)
    inside = inside.where(o.pack_pk == pack.pk)
    with reading(engine) as connection:
        rows = connection.execute(inside.order_by(o.pack_offset)).all()
    for row in rows:
        _write(root, Place(root / pack.path, row.size, row.pack_offset, member_name(row.path)), row)
    with writing(engine) as connection:
        # Until now these files were leftovers, which a repair removes: inside a transaction as well.
        for row in rows:
            if not (root / row.path).is_file():
                raise StoreError(f"{root / row.path} vanished meanwhile; run the same command again")
        keys = sa.select(id_list(connection, [row.pk for row in rows]).c.id)
        loose = sa.update(object_).where(o.pk.in_(keys), o.pack_pk == pack.pk)
        count = connection.execute(loose.values(pack_pk=None, pack_offset=None)).rowcount
        retire(connection, [pack.pk])
        record(connection, "unpack", "object", detail={"path": pack.path, "objects": count})
    return count


def _write(root: Path, place: Place, row: Row[Any]) -> None:
    staged = stage(root, ".nxs")
    try:
        with opened(place) as source:
            staged.write_bytes(source.read())
        if file_hash(staged) != row.sha256:
            raise StoreError(f"{place} is not what was stored; see: micdb fsck --deep")
        fsync_file(staged)
        move(staged, root / row.path)
    except FileNotFoundError as error:
        raise StoreError(f"{place.path} is missing; restore it from a backup") from error
    finally:
        discard(root, [staged])
