"""Checks of packs: that each is whole, and that every object lies where the catalog says."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Row

from micdb.catalog.engine import reading, writing
from micdb.catalog.tables import object_
from micdb.errors import StoreError
from micdb.fsck.report import Finding, Scope
from micdb.provenance import file_hash
from micdb.store.files import MEDIA_TYPES
from micdb.store.nexus import read_axes, read_frame
from micdb.store.packs import Member, member_name, read_member
from micdb.store.places import Place, opened
from micdb.store.staging import claimed

MANY = 5_000  # loose files, from which on packing them is worth a word
BACKUP = "restore it from a backup"

PACK = object_.alias("pack")


def check_packs(scope: Scope) -> Iterator[Finding]:
    """Find packs that are missing or damaged, and objects that are not where they should be in one.

    Deep: every object in a pack is hashed and opened, and so is the pack.
    """
    yield from _check_loose(scope)
    o = object_.c
    packs: sa.Select[Any] = sa.select(PACK).where(PACK.c.media_type == MEDIA_TYPES[".tar"])
    in_use = sa.exists().where(o.pack_pk == PACK.c.pk, o.state == "live")
    with reading(scope.engine) as connection:
        wanted = packs.where(sa.or_(PACK.c.state == "live", in_use)).order_by(PACK.c.pk)
        rows = connection.execute(wanted).all()
    for pack in rows:
        with reading(scope.engine) as connection:
            members: sa.Select[Any] = sa.select(object_).where(o.pack_pk == pack.pk, o.state == "live")
            held = connection.execute(members.order_by(o.pack_offset)).all()
        yield from _check_pack(scope, pack, held)


def check_leftovers(scope: Scope) -> Iterator[Finding]:
    """Find files whose bytes lie in a pack as well; repair removes them once the pack proves to be whole."""
    o = object_.c
    with reading(scope.engine) as connection:
        packed = connection.scalars(sa.select(o.path).where(o.pack_pk.is_not(None)).order_by(o.pk)).all()
    folders: dict[str, set[str]] = {}  # one look at a folder for all files in it
    for path in packed:
        folder, _, name = path.rpartition("/")
        if folder not in folders:
            there = scope.root / folder
            folders[folder] = set(os.listdir(there)) if there.is_dir() else set()
        if name in folders[folder] and (scope.root / path).is_file():
            found = Finding(
                "warning",
                "packed-leftover",
                path,
                "its bytes lie in a pack, and the file is still there; remove it with: micdb fsck --repair",
            )
            yield found.mended() if scope.repair and _remove(scope, path) else found


def _check_loose(scope: Scope) -> Iterator[Finding]:
    """Note that there are very many small files."""
    o = object_.c
    loose = sa.select(sa.func.count()).select_from(object_)
    with reading(scope.engine) as connection:
        count = connection.scalar(loose.where(o.state == "live", o.pack_pk.is_(None)))
    if (count or 0) >= MANY:
        yield Finding("info", "many-files", "objects", f"{count} files; pack them with: micdb compact")


def _check_pack(scope: Scope, pack: Row[Any], members: Sequence[Row[Any]]) -> Iterator[Finding]:
    path = scope.root / pack.path
    holds = f"{len(members)} live objects lie in it"
    if pack.state != "live":
        yield Finding("error", "pack-not-live", pack.path, f"it is {pack.state}, and {holds}; {BACKUP}")
    if not path.is_file():
        yield Finding("error", "pack-missing", pack.path, f"the file is not there, and {holds}; {BACKUP}")
        return
    size = path.stat().st_size
    if size != pack.size:
        whole = sum(row.pack_offset + row.size <= size for row in members)
        message = f"the file has {size} bytes, {pack.size} were committed; {whole} of {holds} whole; {BACKUP}"
        yield Finding("error", "pack-size", pack.path, message)
        return
    sound = True
    with path.open("rb", buffering=0) as file:
        for row in members:
            trouble = _header_trouble(file.fileno(), row) or (_trouble(path, row) if scope.deep else None)
            if trouble is not None:
                sound = False
                yield Finding("error", trouble[0], row.path, f"in {pack.path}: {trouble[1]}; {BACKUP}")
    if scope.deep and sound and (digest := file_hash(path)) != pack.sha256:
        message = f"its sha256 is {digest}, {pack.sha256} was committed; what lies in it is whole; {BACKUP}"
        yield Finding("error", "pack-hash", pack.path, message)


def _header_trouble(handle: int, row: Row[Any]) -> tuple[str, str] | None:
    wanted = Member(member_name(row.path), row.size)
    found = read_member(handle, row.pack_offset)
    if found == wanted:
        return None
    said = f"{found.name}, {found.size} byte" if found else "nothing that begins there"
    message = f"at {row.pack_offset} there is {said}; the catalog says {wanted.name}, {row.size} byte"
    return "pack-offset", message


def _trouble(path: Path, row: Row[Any]) -> tuple[str, str] | None:
    place = Place(path, row.size, row.pack_offset, member_name(row.path))
    try:
        digest = _digest(place)
        if digest != row.sha256:
            return "object-hash", f"its sha256 is {digest}, {row.sha256} was committed"
        read_axes(place)
        read_frame(place, 0)
    except StoreError as error:
        return "object-unreadable", str(error)
    return None


def _digest(place: Place) -> str:
    with opened(place) as stream:
        return hashlib.sha256(stream.read()).hexdigest()


def _remove(scope: Scope, path: str) -> bool:
    """Remove the file of a packed object, unless it is the only copy of the bytes."""
    with writing(scope.engine) as connection:
        row = _packed(connection, path)
        if row is None or row.sha256 in claimed(scope.root):
            return False
        try:
            whole: bool = (
                _digest(Place(scope.root / row.pack_path, row.size, row.pack_offset, path)) == row.sha256
            )
        except (OSError, StoreError):
            return False
        if whole:
            (scope.root / path).unlink(missing_ok=True)
        return whole


def _packed(connection: Connection, path: str) -> Row[Any] | None:
    o = object_.c
    query: sa.Select[Any] = sa.select(o.sha256, o.size, o.pack_offset, PACK.c.path.label("pack_path"))
    return connection.execute(query.join(PACK, PACK.c.pk == o.pack_pk).where(o.path == path)).one_or_none()
