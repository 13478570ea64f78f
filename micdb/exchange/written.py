"""A bundle is written: all of it, or nothing of that name."""

from __future__ import annotations

import os
import shutil
import uuid
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from micdb import places
from micdb.catalog import tables as t
from micdb.catalog.engine import reading
from micdb.catalog.rows import id_list
from micdb.catalog.schema import HEAD
from micdb.errors import StoreError, UsageError
from micdb.exchange import crate, outgoing, terms
from micdb.exchange.manifest import Manifest, Member
from micdb.exchange.selection import Selection
from micdb.exchange.shape import check_level, holds
from micdb.provenance import file_hash, now, uuid7
from micdb.store.files import MEDIA_TYPES, fsync_file, fsync_folder, object_path
from micdb.store.nexus import read_thumbnail
from micdb.store.places import Place, opened

ZIP = ".zip"
HALF = ".part"  # suffix of a bundle that is being written; what a killed export leaves is named so
Watcher = Callable[[int, int, Path], None]


@dataclass(slots=True)
class BundleWritten:
    """A bundle that was written.

    Parameters
    ----------
    path
        The folder, or the zip file.
    manifest
        What it says of itself.
    rows
        Number of rows by table.
    withheld
        uid of each image that was left out, with the reason.
    damaged
        uid of each image whose file in the database is missing or damaged: its rows are in the bundle.
    """

    path: Path
    manifest: Manifest
    rows: dict[str, int]
    withheld: dict[str, str] = field(default_factory=dict)
    damaged: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be written.

    Parameters
    ----------
    engine, root
        The database.
    images
        Local keys of the images, in order.
    level
        One of `micdb.exchange.shape.LEVELS`.
    query
        Query tree of the images.
    source
        What the other laboratory will call this database.
    """

    engine: Engine
    root: Path
    images: Sequence[int]
    level: str
    query: dict[str, Any] | None
    source: str


def write_bundle(
    order: Order, path: Path, *, overwrite: bool = False, watch: Watcher | None = None
) -> BundleWritten:
    """Write a bundle.

    Parameters
    ----------
    order
        What is to be written.
    path
        Folder to make, or a file whose name ends in ``.zip``.
    overwrite
        Whether a bundle of that name may be replaced.
    watch
        Called before each image with its number, the number of images, and its name in the bundle.

    Raises
    ------
    UsageError
        The level is unknown, the name is taken, there is no image, or none may leave the database.
    StoreError
        A part of the database is damaged.
    """
    check_level(order.level)
    if path.exists() and not overwrite:
        raise UsageError(f"{path} is there already; give another name, or --overwrite")
    path.parent.mkdir(parents=True, exist_ok=True)
    with _half(path) as half:
        half.mkdir()
        with reading(order.engine) as connection:
            done = _Writer(order, half, watch).write(connection)
        if path.suffix == ZIP:
            packed = half.with_name(f"{half.name}{ZIP}")
            _pack(half, packed)
            _take_place(packed, path)
        else:
            _flush(half)
            _take_place(half, path)
    done.path = path
    return done


class _Writer:
    """Writes the files of one bundle to a folder that has no name yet."""

    def __init__(self, order: Order, folder: Path, watch: Watcher | None) -> None:
        self.order, self.folder, self.watch = order, folder, watch
        self.members: dict[str, Member] = {}
        self.files: list[dict[str, Any]] = []  # rows of the table of objects
        self.damaged: dict[str, str] = {}

    def write(self, connection: Connection) -> BundleWritten:
        order = self.order
        reasons = terms.withheld(connection, order.images)
        kept = [pk for pk in order.images if pk not in reasons]
        _require_some(order.images, kept, reasons)
        selection = Selection(connection, kept, order.level)
        (self.folder / "catalog").mkdir()
        rows = outgoing.write_tables(selection, self.folder / "catalog")
        if holds(order.level, "thumbnails"):
            self._write_images(connection, selection)
        if holds(order.level, "derived"):
            rows |= self._write_parts(connection, selection)
        rows |= self._write_listing("object", outgoing.schema_of(t.object_), self.files)
        manifest = self._finish(connection, selection, reasons)
        withheld = {row.uid: reasons[row.pk] for row in _uids(connection, reasons)}
        return BundleWritten(self.folder, manifest, rows, withheld, self.damaged)

    def _path(self, name: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _write_images(self, connection: Connection, selection: Selection) -> None:
        """Write thumbnails and, at level full, the micrograph files."""
        m = t.micrograph.c
        query = sa.select(m.pk, m.uid, *places.COLUMNS).select_from(
            places.with_packs(t.micrograph.join(t.object_, t.object_.c.pk == m.object_pk))
        )
        total = len(selection.keys["micrograph"])
        rows = (row for keys in outgoing.grouped(sorted(selection.keys["micrograph"]), 500)
                for row in connection.execute(query.where(m.pk.in_(keys)).order_by(m.pk)))  # fmt: skip
        for number, row in enumerate(rows):
            place = places.place(self.order.engine, self.order.root, row)
            name = f"thumbnails/{row.uid}.png"
            if self.watch:
                self.watch(number, total, Path(name))
            try:
                thumbnail = read_thumbnail(place)
                if holds(self.order.level, "full"):
                    self._write_object(row.object_sha256, place)
                self._path(name).write_bytes(thumbnail)
            except (StoreError, OSError) as error:
                self.damaged[row.uid] = str(error)
        small = sa.select(m.uid, t.thumbnail.c.png).join_from(t.thumbnail, t.micrograph)
        mine = sa.select(id_list(connection, selection.keys["micrograph"]).c.id)
        for uid, png in connection.execute(small.where(m.pk.in_(mine), m.object_pk.is_(None))):
            self._path(f"thumbnails/{uid}.png").write_bytes(png)

    def _write_object(self, sha256: str, place: Place) -> None:
        name = object_path(sha256)
        if (self.folder / name).exists():  # two images may be one file
            return
        path = self._path(name)
        with opened(place) as source, path.open("wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
        if file_hash(path) != sha256:
            path.unlink()
            raise StoreError(f"{place} has other bytes than were committed; see: micdb fsck --deep")
        self._list(name)

    def _write_parts(self, connection: Connection, selection: Selection) -> dict[str, int]:
        listed = []
        for name, row in outgoing.write_parts(connection, self.order.root, selection, self._path):
            listed.append({**row, "uid": uuid7(), "object_sha256": self._list(name)})
        return self._write_listing("part", outgoing.PART, listed)

    def _list(self, name: str) -> str:
        """Add a file to the table of objects; return its hash."""
        path = self.folder / name
        sha256, size = file_hash(path), path.stat().st_size
        self.members[name] = Member(sha256, size)
        media_type = MEDIA_TYPES[path.suffix]
        row = {"sha256": sha256, "path": name, "size": size, "media_type": media_type, "created_at": now()}
        self.files.append(row)
        return sha256

    def _write_listing(self, table: str, schema: Any, rows: list[dict[str, Any]]) -> dict[str, int]:
        count = outgoing.write_rows(self.folder / "catalog" / f"{table}.parquet", schema, iter(rows))
        return {table: count} if count else {}

    def _finish(self, connection: Connection, selection: Selection, reasons: dict[int, str]) -> Manifest:
        """Write README, RO-Crate and manifest."""
        labs = tuple(sorted(row["name"] for row in selection.rows(t.lab)))
        counted: dict[str, int] = {}
        for reason in reasons.values():  # without the moment or licence: these may be no one's business
            word = "embargo" if reason.startswith("under embargo") else "licence"
            counted[word] = counted.get(word, 0) + 1
        event = connection.scalar(sa.select(sa.func.coalesce(sa.func.max(t.event.c.seq), 0)))
        manifest = Manifest(
            self.order.source, labs, HEAD, int(event or 0), self.order.level, now(), self.order.query,
            len(selection.keys["micrograph"]), counted, self.members,
        )  # fmt: skip
        licences = {row["licence"] for table in (t.micrograph, t.lab) for row in selection.rows(table)}
        crate.write_readme(self.folder, manifest)
        self._measure()
        rors = {row["name"]: row["ror"] for row in selection.rows(t.lab) if row["ror"] is not None}
        crate.write_crate(self.folder, manifest, sorted(one for one in licences if one), rors)
        self._measure()
        manifest.write(self.folder)
        return manifest

    def _measure(self) -> None:
        """Hash the files that are not members yet."""
        for path in sorted(self.folder.rglob("*")):
            name = path.relative_to(self.folder).as_posix()
            if path.is_file() and name not in self.members:
                self.members[name] = Member(file_hash(path), path.stat().st_size)


def _uids(connection: Connection, keys: dict[int, str]) -> list[Any]:
    m = t.micrograph.c
    listed = sa.select(id_list(connection, keys).c.id)
    return list(connection.execute(sa.select(m.uid, m.pk).where(m.pk.in_(listed))))


def _require_some(images: Sequence[int], kept: Sequence[int], reasons: dict[int, str]) -> None:
    if not images:
        raise UsageError("the query finds no image: there is nothing to export")
    if not kept:
        raise UsageError(
            f"none of {len(images)} images may leave the database; the first: {next(iter(reasons.values()))}"
        )


@contextmanager
def _half(path: Path) -> Iterator[Path]:
    """Yield the name that a bundle has until it is whole; what is left of it is removed."""
    half = path.parent / f".micdb-{uuid.uuid4().hex[:12]}{HALF}"
    try:
        yield half
    finally:
        shutil.rmtree(half, ignore_errors=True)
        half.with_name(f"{half.name}{ZIP}").unlink(missing_ok=True)


def _pack(folder: Path, path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as pack:  # what is in it is compressed already
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                pack.write(file, file.relative_to(folder).as_posix())
    fsync_file(path)


def _flush(folder: Path) -> None:
    for path in folder.rglob("*"):
        (fsync_folder if path.is_dir() else fsync_file)(path)
    fsync_folder(folder)


def _take_place(half: Path, path: Path) -> None:
    """Give a whole bundle its name; one that has it goes away first, in one step."""
    old = half.with_name(f"{half.name}.old")
    if path.exists():
        os.replace(path, old)
    os.replace(half, path)
    fsync_folder(path.parent)
    shutil.rmtree(old, ignore_errors=True) if old.is_dir() else old.unlink(missing_ok=True)
