"""The vectors of one space in memory, row by row.

This is the interface for everything that compares vectors::

    matrix = matrices.open_matrix(context, space)   # None: nothing is decoded
    rows = matrix.rows(images)                      # row numbers of the images that have a vector
    found = nearest(matrix, vector, rows, k=10)     # micdb.query.search.nearest: planned, exact similarity
    matrix.images[found.rows], found.similarity     # best first

A row is a vector: one of an image in the table ``embeddings``, any number in ``patches``, whose frame and
box are in `Matrix.places`. Row numbers hold for one `Matrix` object. The first rows are those of a file in
``indexes/``, in an order that suits its index; after them come vectors of newer parts
(`micdb.query.search.matrices`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from micdb.errors import StoreError
from micdb.query.search import scan
from micdb.query.search.vectors import Space
from micdb.store.indexes import IndexFile


@dataclass(frozen=True, slots=True)
class Segment:
    """Consecutive rows in one array.

    Parameters
    ----------
    vectors
        ``(n, dim)`` float32, as the parts have them.
    scale
        See `micdb.query.search.decode.scales`, ``(n,)`` float32.
    """

    vectors: np.ndarray
    scale: np.ndarray


@dataclass(eq=False)
class Matrix:
    """All vectors of one space; see the module for how it is used.

    Parameters
    ----------
    space, table
        Which vectors.
    images
        ``pk`` of the micrograph of each row, ``(n,)`` int64.
    places
        Frame, x, y, width and height [pixel] of each row, ``(n, 5)``; ``(n, 0)`` outside ``patches``.
    segments
        The rows of the file, and those of newer parts.
    odd
        Rows that are always compared in float64: float32 cannot hold their length, or they are not finite.
    order
        Row numbers sorted by image, then as the extractor gave them.
    gone
        Rows that no live part holds any more, ``(n,)`` bool; None for none.
    file
        The mapped file; None where there is none.
    tuning
        What was measured on this machine; see `micdb.query.search.calibration`.
    indexes
        Indexes over the rows of the file that have been opened, by kind.
    """

    space: Space
    table: str
    images: np.ndarray
    places: np.ndarray
    segments: tuple[Segment, Segment]
    odd: np.ndarray
    order: np.ndarray
    gone: np.ndarray | None = None
    file: IndexFile | None = None
    tuning: Mapping[str, Any] = field(default_factory=dict)
    indexes: dict[str, Any] = field(default_factory=dict, repr=False)
    _last: tuple[np.ndarray | None, np.ndarray | None] = field(default=(None, None), init=False, repr=False)

    def __len__(self) -> int:
        return len(self.images)

    @property
    def filed(self) -> int:
        """Number of rows in the file; those after them are of newer parts."""
        return len(self.segments[0].scale)

    @property
    def newer(self) -> int:
        """Number of rows of newer parts."""
        return len(self.segments[1].scale)

    def rows(self, images: np.ndarray) -> np.ndarray:
        """Return the rows of some images, ascending, ``(m,)`` int64.

        Parameters
        ----------
        images
            ``pk`` of micrographs, ascending and distinct, ``(n,)`` int64.
        """
        distinct, begins = self._distinct
        if len(images) == len(distinct) and np.array_equal(images, distinct):
            return self.all_rows
        place = self._places_of(images)
        place = place[place >= 0]
        if len(distinct) == len(self):
            rows = self.order[place]
        else:
            counts = begins[place + 1] - begins[place]
            rows = self.order[ranges(begins[place], counts)]
        return self._settled(rows)

    @cached_property
    def all_rows(self) -> np.ndarray:
        """Every row that counts, ascending, ``(m,)`` int64."""
        return np.arange(len(self)) if self.gone is None else np.flatnonzero(~self.gone)

    def bits(self, rows: np.ndarray) -> np.ndarray:
        """Return rows as one bit each, ``(len / 8,)`` uint8; those asked for last are kept."""
        known, bits = self._last
        if known is not rows or bits is None:
            mask = np.zeros(len(self), bool)
            mask[rows] = True
            bits = np.packbits(mask, bitorder="little")
            self._last = rows, bits
        return bits

    def holds(self, images: np.ndarray) -> np.ndarray:
        """Return which of some images, ascending and distinct, have a vector here, ``(n,)`` bool."""
        place = self._places_of(images)
        found = place >= 0
        if self.gone is not None:
            distinct, begins = self._distinct
            lost = np.logical_and.reduceat(self.gone[self.order], begins[:-1]) if len(distinct) else distinct
            found[found] = ~lost[place[found]]
        return found

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Return vectors by row, ``(m, dim)`` float32."""
        base, tail = self.segments
        if not self.newer:
            return np.asarray(base.vectors[rows])
        made = np.empty((len(rows), self.space.dim), np.float32)
        new = rows >= self.filed
        made[~new] = base.vectors[rows[~new]]
        made[new] = tail.vectors[rows[new] - self.filed]
        return made

    def similarity(self, query: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Return exact similarities in float64, ``(m,)``.

        Raises
        ------
        StoreError
            One of the vectors is not finite.
        """
        exact = scan.similarity(self.space.metric, query, self.take(rows))
        if not np.isfinite(exact).all():
            raise StoreError(
                f"{self.space.name} holds a vector that is not finite; recompute it with: micdb populate"
            )
        return exact

    def scores(self, query: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
        """Return quick scores of rows, ``(m,)`` float32: larger is more similar; see `off`.

        The score is the cosine, or in a euclidean space ``x q - x x / 2``, which is half of
        ``q q`` minus half of the squared distance.

        Parameters
        ----------
        query
            ``(dim,)`` float32; of length 1 where the metric is cosine.
        rows
            Ascending, ``(m,)`` int64; None for all rows, gone ones included.
        """
        if rows is None:
            return np.concatenate([self._score(one, query, None) for one in self.segments if len(one.scale)])
        if not self.newer:
            return self._score(self.segments[0], query, rows)
        cut = int(np.searchsorted(rows, self.filed))
        old = self._score(self.segments[0], query, rows[:cut])
        new = self._score(self.segments[1], query, np.ascontiguousarray(rows[cut:] - self.filed))
        return np.concatenate([old, new])

    def off(self, query: np.ndarray, rows: np.ndarray | None = None) -> float | np.ndarray:
        """Return how far a quick score may be from the true one: one number, or one for each row."""
        slack = scan.slack(self.space.dim)
        if self.space.metric == "cosine":
            return slack
        half = np.concatenate([one.scale for one in self.segments]) if self.newer else self.segments[0].scale
        half = half if rows is None else half[rows]
        return np.asarray(slack * (half + float(query @ query) / 2 + np.finfo(np.float32).tiny))

    def filed_scores(self, query: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Return quick scores of rows of the file, in any order, ``(m,)`` float32; see `scores`."""
        return self._score(self.segments[0], query, rows)

    def filed_spans(self, query: np.ndarray, begins: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Return quick scores of runs of rows of the file, one run after the other, float32; see `scores`."""
        base = self.segments[0]
        made = scan.span_products(base.vectors, query, begins, counts)
        return self._scaled(made, base.scale[ranges(begins, counts)])

    def _scaled(self, product: np.ndarray, scale: np.ndarray) -> np.ndarray:
        act = np.multiply if self.space.metric == "cosine" else np.subtract
        made: np.ndarray = act(product, scale, out=product)
        return made

    def _score(self, one: Segment, query: np.ndarray, rows: np.ndarray | None) -> np.ndarray:
        product = scan.products(one.vectors, query, rows)
        return self._scaled(product, one.scale if rows is None else one.scale[rows])

    @cached_property
    def several(self) -> bool:
        """Whether an image may have several rows."""
        return len(self._distinct[0]) < len(self)

    @cached_property
    def rank(self) -> np.ndarray:
        """Place of each row in `order`, ``(n,)`` int32."""
        made = np.empty(len(self), np.int32)
        made[self.order] = np.arange(len(self), dtype=np.int32)
        return made

    @cached_property
    def _distinct(self) -> tuple[np.ndarray, np.ndarray]:
        """The images, ascending, and where each begins in `order`, with the end behind them."""
        ordered = self.images[self.order]
        begins = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(ordered) else ordered
        return ordered[begins], np.r_[begins, len(ordered)]

    @cached_property
    def _slots(self) -> tuple[int, np.ndarray] | None:
        """The first image, and for every number from it on its place among the images or -1."""
        distinct, _ = self._distinct
        if not len(distinct) or distinct[-1] - distinct[0] > 8 * len(distinct) + 1024:
            return None
        slots = np.full(int(distinct[-1] - distinct[0]) + 1, -1, np.int32)
        slots[distinct - distinct[0]] = np.arange(len(distinct), dtype=np.int32)
        return int(distinct[0]), slots

    def _places_of(self, images: np.ndarray) -> np.ndarray:
        """Return the place of each image among those that have a row, or -1."""
        distinct, _ = self._distinct
        if not len(distinct):
            return np.full(len(images), -1)
        if self._slots is None:
            place = np.minimum(np.searchsorted(distinct, images), len(distinct) - 1)
            return np.where(distinct[place] == images, place, -1)
        first, slots = self._slots
        low, high = np.searchsorted(images, [first, first + len(slots)])
        place = np.full(len(images), -1)
        place[low:high] = slots[images[low:high] - first]
        return place

    def _settled(self, rows: np.ndarray) -> np.ndarray:
        """Return rows ascending, without those that are gone."""
        if len(rows) > len(self) // 16:
            mask = np.zeros(len(self), bool)
            mask[rows] = True
            if self.gone is not None:
                mask &= ~self.gone
            return np.flatnonzero(mask)
        if self.gone is not None:
            rows = rows[~self.gone[rows]]
        return np.sort(rows).astype(np.int64, copy=False)


def ranges(begins: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return ``begin, begin + 1, ...`` for each of several ranges, one after the other, int64."""
    total = int(counts.sum())
    shift = begins - (np.cumsum(counts) - counts)
    return np.repeat(shift, counts) + np.arange(total)
