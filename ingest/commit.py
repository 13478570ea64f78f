"""The rows of one file, written in the transaction that makes its objects live."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from micdb.catalog import tables
from micdb.catalog.rows import Finder, add, id_list, record, text_list
from micdb.errors import CatalogError, ReadError
from micdb.ingest import image_rows
from micdb.ingest.arrival import Arrival, Image, Known, State
from micdb.ingest.present import Present
from micdb.provenance import now, uuid7

m, s = tables.micrograph.c, tables.source.c


@dataclass(frozen=True, slots=True)
class Brought:
    """What one file became.

    Parameters
    ----------
    images
        Its micrographs in the file's order.
    n_new, n_filled
        How many of them are new, and how many were catalogued before and got their pixels now.
    known
        Whether the same bytes were here already.
    parts
        Names of the further files that belong to it.
    """

    images: list[int]
    n_new: int = 0
    n_filled: int = 0
    known: bool = False
    parts: tuple[str, ...] = ()


def known(connection: Connection, sha256: str) -> Known:
    """Return what the catalog has of a file with those bytes."""
    query = (
        sa.select(s.position, s.path, m.object_pk, m.deleted_at)
        .join(tables.micrograph, m.pk == s.micrograph_pk)
        .where(s.sha256 == sha256)
    )
    rows = connection.execute(query).all()
    settled = [row for row in rows if row.object_pk is not None or row.deleted_at is not None]
    # A bundle may hold few images of a file, and names it without its folder.
    whole = 0 < len(rows) == len(settled) and all(os.path.isabs(row.path) for row in rows)
    return Known(frozenset(row.position for row in settled), whole)


def recognise(
    connection: Connection, paths: Sequence[str], *, defer: bool
) -> dict[tuple[str, State], str | None]:
    """Return the files among `paths` that are here, each by path and state, with its sha256.

    Parameters
    ----------
    connection
        A transaction.
    paths
        Resolved paths.
    defer
        Whether a file whose pixels are still to come counts; its sha256 is None.
    """
    wanted = sa.select(text_list(connection, paths).c.value)
    query = sa.select(s.path, s.size, s.modified_ns, s.sha256).where(s.path.in_(wanted)).distinct()
    if not defer:
        query = query.where(s.sha256.is_not(None))
    return {
        (row.path, State(row.size, row.modified_ns)): row.sha256
        for row in connection.execute(query)
        if row.modified_ns is not None
    }


def deferred_paths(connection: Connection, images: Sequence[int] | None) -> list[str]:
    """Return the original files of images whose pixels are still to come; of all such images for None."""
    query = (
        sa.select(s.path)
        .join(tables.micrograph, m.pk == s.micrograph_pk)
        .where(m.object_pk.is_(None), m.deleted_at.is_(None), s.sha256.is_(None))
        .distinct()
        .order_by(s.path)
    )
    if images is not None:
        query = query.where(m.pk.in_(sa.select(id_list(connection, images).c.id)))
    return list(connection.execute(query).scalars())


class Batch:
    """The rows of a few files, written in one transaction.

    Parameters
    ----------
    connection
        The write transaction that makes the objects live.
    files
        Resolved path and arrival of each.
    objects
        Key of each staged object by its hash; looking one up makes it live.
    """

    def __init__(
        self,
        connection: Connection,
        files: Sequence[tuple[str, Arrival]],
        objects: Mapping[str, int],
    ) -> None:
        self.connection, self.objects = connection, objects
        self.find = Finder(connection)
        self.present = Present(connection, files)

    def bring_in(self, path: str, arrival: Arrival, lab: int | None) -> Brought:
        """Write every row of one file, unless it is here already.

        Parameters
        ----------
        path
            Its resolved path; of a file from an archive, below the archive's.
        arrival
            The file.
        lab
            Laboratory the file came from.

        Raises
        ------
        ReadError
            Its pixels are others than those of its images that came from elsewhere without them; nothing
            was written.
        """
        images = self.present.images(path, arrival)
        if images and arrival.sha256 is None:
            return Brought(images, known=True, parts=self.present.parts(images))
        file = _File(self, path, arrival, lab)
        if arrival.images:
            file.require_same()
            images = [file.add(index) for index in range(len(arrival.images))]
            self.present.note(path, arrival, images)
        elif not images:
            raise CatalogError(
                f"{path} was in the database a moment ago and is not any more; ingest it again"
            )
        file.retire()
        if not file.changed:
            return Brought(images, known=True, parts=self.present.parts(images))
        detail = {"file": file.name, "sha256": arrival.sha256, "images": len(images)}
        record(self.connection, "ingest", "micrograph", detail=detail)
        parts = tuple(str(part["file_name"]) for part in arrival.parts)
        return Brought(images, file.n_new, file.n_filled, parts=parts)


class _File:
    """The rows of one file while they are written."""

    def __init__(self, batch: Batch, path: str, arrival: Arrival, lab: int | None) -> None:
        self.batch, self.connection, self.arrival, self.lab = batch, batch.connection, arrival, lab
        self.path, self.name = path, Path(path).name
        self.n_new = self.n_filled = 0
        self.changed = False  # whether any of its images was not here, or without pixels
        self._acquisition: int | None = None
        self._held = batch.present.held(arrival)
        # two channels of one file are two images even when they are equal
        self._taken = [one.pk for one in self._held.values()]
        self._deferred = batch.present.deferred(path)

    def require_same(self) -> None:
        """Refuse pixels that are others than those of an image that came from elsewhere without pixels."""
        for position, held in self._held.items():
            read = self.arrival.images[position] if position < len(self.arrival.images) else None
            if held.settled or (read is not None and held.pixel_hash in (None, read.pixel_hash)):
                continue
            query = sa.select(m.uid, m.source, s.reader, s.reader_version).join_from(
                tables.micrograph, tables.source
            )
            mine = s.sha256 == self.arrival.sha256, s.position == position
            raise _others(Path(self.path), position, self.connection.execute(query.where(*mine)).one(), read)

    def add(self, index: int) -> int:
        """Write the rows of one image and return its key."""
        image, held = self.arrival.images[index], self._held.get(index)
        twin = held.pk if held else self.batch.present.twin(image, self._taken)
        if twin is None:
            pk, filled = self._write(index, image), True
        else:
            pk, filled = twin, self._fill(twin, image)
        self.changed |= filled or held is None
        self._taken.append(pk)
        if held is None:
            self._add_source(index, pk, keep_original=not filled)
        else:
            self._place_source(index)
        return pk

    def _fill(self, pk: int, image: Image) -> bool:
        """Complete an image that is here; return whether it had no pixels and has them now."""
        if image.staged is None:
            return False
        image_rows.complete(self.connection, pk, image.scan)
        without = m.pk == pk, m.object_pk.is_(None), m.deleted_at.is_(None)
        if self.connection.scalar(sa.select(m.pk).where(*without)) is None:
            return False
        pixels = {
            "object_pk": self.batch.objects[image.staged.sha256],
            "pixel_hash": image.pixel_hash,
            "changed_at": m.changed_at,  # what is said of it stays
        }
        self.connection.execute(tables.micrograph.update().where(m.pk == pk).values(pixels))
        small = tables.thumbnail  # the file has one of its own
        self.connection.execute(small.delete().where(small.c.micrograph_pk == pk))
        self.n_filled += 1
        return True

    def _write(self, index: int, image: Image) -> int:
        facts = image_rows.columns(self.batch.find, image, self.lab)
        if image.staged is not None:
            facts["object_pk"] = self.batch.objects[image.staged.sha256]
        facts["acquisition_pk"] = self._acquired(image)
        pk = self._deferred.images.pop(index, None)
        if pk is None:
            self.n_new += 1
            return image_rows.add_micrograph(self.connection, image.scan, {**facts, "lab_pk": self.lab})
        self._forget_source(pk)
        image_rows.refresh(self.connection, pk, image.scan, facts)
        self.n_filled += image.staged is not None
        return pk

    def retire(self) -> None:
        """Bury deferred images that the file no longer holds, or that turned out to be twins."""
        for pk in self._deferred.images.values():
            self._forget_source(pk)
            self.connection.execute(tables.micrograph.update().where(m.pk == pk).values(deleted_at=now()))

    def _forget_source(self, pk: int) -> None:
        self.connection.execute(
            tables.source.delete().where(s.micrograph_pk == pk, s.path == self.path, s.sha256.is_(None))
        )

    def _acquired(self, image: Image) -> int:
        """Return the recording all images of the file share: that of deferred ones, where there are any."""
        if self._acquisition is None and self._held:  # others of its images came from elsewhere
            a = tables.acquisition.c
            same = a.source_sha256 == self.arrival.sha256
            self._acquisition = self.connection.scalar(sa.select(a.pk).where(same))
        if self._acquisition is None:
            facts = {"source_sha256": self.arrival.sha256, "started": image.scan.acquired}
            held = self._deferred.acquisition
            if held is not None:
                recording = tables.acquisition.c.pk == held
                self.connection.execute(tables.acquisition.update().where(recording).values(facts))
            self._acquisition = held or add(self.connection, tables.acquisition, facts)
        return self._acquisition

    def _place_source(self, index: int) -> None:
        """Note where a file lies that was only known by its name, so that it is not read a second time."""
        arrival = self.arrival
        where = {"path": self.path, "modified_ns": None if arrival.unpacked else arrival.state.modified_ns}
        elsewhere = s.sha256 == arrival.sha256, s.position == index, s.path == s.file_name
        self.connection.execute(tables.source.update().where(*elsewhere).values(where))

    def _add_source(self, index: int, pk: int, *, keep_original: bool) -> None:
        scan, arrival = self.arrival.images[index].scan, self.arrival
        row = {
            "uid": uuid7(),
            "micrograph_pk": pk,
            "sha256": arrival.sha256,
            "position": index,
            "file_name": self.name,
            "path": self.path,
            "size": arrival.state.size,
            "modified_ns": None if arrival.unpacked else arrival.state.modified_ns,
            "parts": list(arrival.parts) or None,
            "format": scan.source.format,
            "reader": scan.source.reader,
            "reader_version": scan.source.reader_version,
            # an object holds the metadata of the image it was made from
            "original": dict(scan.original) if keep_original or arrival.sha256 is None else None,
            "ingested_at": now(),
        }
        self.connection.execute(tables.source.insert(), row)


def _others(path: Path, position: int, here: Any, read: Image | None) -> ReadError:
    """Return the error of a file whose pixels are not those that an image here was made from."""
    found = "there is no such image in the file"
    if read is not None:
        by = read.scan.source
        found = f"its pixels are others, as {by.reader} {by.reader_version} reads them"
    return ReadError(
        path,
        f"image {position} of it is here without pixels ({here.uid}, from {here.source or 'elsewhere'}, read "
        f"by {here.reader} {here.reader_version}), and {found}: results of one do not hold for the other. "
        "Nothing was changed; import the pixels as a bundle of level full",
    )
