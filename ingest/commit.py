"""The rows of one file, written in the transaction that makes its objects live."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import Connection

from micdb.catalog import tables
from micdb.catalog.rows import Finder, add, id_list, record, text_list
from micdb.errors import CatalogError
from micdb.ingest import image_rows
from micdb.ingest.arrival import Arrival, Image, State
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


def known_images(connection: Connection, sha256: str) -> list[int]:
    """Return the micrographs that a file with those bytes became, in the file's order."""
    query = sa.select(s.micrograph_pk).where(s.sha256 == sha256).order_by(s.position)
    return list(connection.execute(query).scalars())


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
        """
        known = self.present.images(path, arrival)
        if known:
            return Brought(known, known=True, parts=self.present.parts(known))
        if not arrival.images:
            raise CatalogError(
                f"{path} was in the database a moment ago and is not any more; ingest it again"
            )
        file = _File(self, path, arrival, lab)
        images = [file.add(index) for index in range(len(arrival.images))]
        file.retire()
        self.present.note(path, arrival, images)
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
        self._acquisition: int | None = None
        self._taken: list[int] = []  # two channels of one file are two images even when they are equal
        self._deferred = batch.present.deferred(path)

    def add(self, index: int) -> int:
        """Write the rows of one image and return its key."""
        image = self.arrival.images[index]
        twin = self.batch.present.twin(image, self._taken)
        if twin is not None:
            pk = twin
            image_rows.complete(self.connection, pk, image.scan)
        else:
            pk = self._write(index, image)
        self._taken.append(pk)
        self._add_source(index, pk, keep_original=twin is not None)
        return pk

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
        if self._acquisition is None:
            facts = {"source_sha256": self.arrival.sha256, "started": image.scan.acquired}
            held = self._deferred.acquisition
            if held is not None:
                recording = tables.acquisition.c.pk == held
                self.connection.execute(tables.acquisition.update().where(recording).values(facts))
            self._acquisition = held or add(self.connection, tables.acquisition, facts)
        return self._acquisition

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
