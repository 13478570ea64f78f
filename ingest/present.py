"""What the catalog holds already of a few files, asked for at once and kept true while rows are written."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from micdb.catalog import tables
from micdb.catalog.rows import text_list
from micdb.ingest.arrival import Arrival, Image, State

m, s = tables.micrograph.c, tables.source.c


@dataclass(frozen=True, slots=True)
class Held:
    """An image that a file with the same bytes became.

    Parameters
    ----------
    pk
        ``micrograph.pk``.
    pixel_hash
        Identity of its pixels.
    settled
        Whether it needs nothing: its pixels are here, or it was deleted.
    """

    pk: int
    pixel_hash: str | None
    settled: bool


@dataclass(slots=True)
class Deferred:
    """The images of one path whose pixels are still to come.

    Parameters
    ----------
    images
        ``micrograph.pk`` by position in the file.
    acquisition
        The recording they share; None where there are none.
    """

    images: dict[int, int] = field(default_factory=dict)
    acquisition: int | None = None


class Present:
    """Answers for the files of one write transaction, whose lock keeps the answers true.

    Parameters
    ----------
    connection
        The transaction.
    files
        Resolved path and arrival of each.
    """

    def __init__(self, connection: Connection, files: Sequence[tuple[str, Arrival]]) -> None:
        self._connection = connection
        self._by_hash: dict[str, dict[int, Held]] = defaultdict(dict)
        self._by_state: dict[tuple[str, State], list[int]] = defaultdict(list)
        self._deferred: dict[str, Deferred] = defaultdict(Deferred)
        self._by_pixels: dict[str, list[int]] = defaultdict(list)
        self._parts: dict[int, list[str]] = {}
        hashes = [arrival.sha256 for _, arrival in files if arrival.sha256 is not None]
        paths = [path for path, arrival in files if arrival.sha256 is None]
        if hashes:
            for row in self._sources(s.sha256, hashes):
                settled = row.object_pk is not None or row.deleted_at is not None
                self._by_hash[row.sha256][row.position] = Held(row.micrograph_pk, row.pixel_hash, settled)
        for row in self._sources(s.path, paths) if paths else ():
            if row.modified_ns is not None:
                self._by_state[row.path, State(row.size, row.modified_ns)].append(row.micrograph_pk)
        self._find_deferred([path for path, _ in files])
        self._find_pixels(image for _, arrival in files for image in arrival.images)

    def images(self, path: str, arrival: Arrival) -> list[int]:
        """Return the micrographs that a file became before, in its order."""
        if arrival.sha256 is not None:
            return [one.pk for one in self.held(arrival).values()]
        return list(self._by_state.get((path, arrival.state), ()))

    def held(self, arrival: Arrival) -> Mapping[int, Held]:
        """Return the images that a file with the same bytes became, by their position in it."""
        return {} if arrival.sha256 is None else self._by_hash.get(arrival.sha256, {})

    def parts(self, images: Iterable[int]) -> tuple[str, ...]:
        """Return the names of the files that were read with those that became these micrographs."""
        return tuple(sorted({name for pk in images for name in self._parts.get(pk, ())}))

    def deferred(self, path: str) -> Deferred:
        """Return what of a path is still to come."""
        return self._deferred.pop(path, Deferred())

    def twin(self, image: Image, taken: Iterable[int]) -> int | None:
        """Return the oldest micrograph with the same pixels, but none of `taken`; blank images have none."""
        if image.blank or image.pixel_hash is None:
            return None
        others = (pk for pk in self._by_pixels.get(image.pixel_hash, ()) if pk not in set(taken))
        return next(others, None)

    def note(self, path: str, arrival: Arrival, images: Sequence[int]) -> None:
        """Take in what a file has become."""
        if arrival.sha256 is not None:
            became = zip(images, arrival.images, strict=True)
            self._by_hash[arrival.sha256] = {
                position: Held(pk, image.pixel_hash, settled=True)
                for position, (pk, image) in enumerate(became)
            }
        self._by_state[path, arrival.state] = list(images)
        for pk, image in zip(images, arrival.images, strict=True):
            if image.pixel_hash is not None and pk not in self._by_pixels[image.pixel_hash]:
                self._by_pixels[image.pixel_hash].append(pk)

    def _sources(self, column: sa.ColumnElement[str], values: Sequence[str]) -> Sequence[Any]:
        query = (
            sa.select(
                s.sha256, s.position, s.path, s.size, s.modified_ns, s.micrograph_pk, s.parts, m.pixel_hash,
                m.object_pk, m.deleted_at,
            )
            .join(tables.micrograph, m.pk == s.micrograph_pk)
            .where(column.in_(sa.select(text_list(self._connection, values).c.value)))
            .order_by(s.position)
        )  # fmt: skip
        rows = self._connection.execute(query).all()
        self._parts |= {row.micrograph_pk: [part["file_name"] for part in row.parts or ()] for row in rows}
        return rows

    def _find_deferred(self, paths: Sequence[str]) -> None:
        # Only the path is searched by: an index on "is NULL" would find every deferred file there is.
        query = (
            sa.select(
                s.path, s.position, s.micrograph_pk, s.sha256, m.acquisition_pk, m.object_pk, m.deleted_at
            )
            .join(tables.micrograph, m.pk == s.micrograph_pk)
            .where(s.path.in_(sa.select(text_list(self._connection, paths).c.value)))
        )
        for row in self._connection.execute(query):
            if row.sha256 is None and row.object_pk is None and row.deleted_at is None:
                held = self._deferred[row.path]
                held.images[row.position], held.acquisition = row.micrograph_pk, row.acquisition_pk

    def _find_pixels(self, images: Iterable[Image]) -> None:
        hashes = [image.pixel_hash for image in images if image.pixel_hash is not None and not image.blank]
        if not hashes:
            return
        query = (
            sa.select(m.pixel_hash, m.pk)
            .where(m.pixel_hash.in_(sa.select(text_list(self._connection, hashes).c.value)))
            .where(m.deleted_at.is_(None))
            .order_by(m.pk)
        )
        for row in self._connection.execute(query):
            self._by_pixels[row.pixel_hash].append(row.pk)
