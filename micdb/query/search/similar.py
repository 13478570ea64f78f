"""Rank images by likeness to an example: filter first, then search inside the filter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import sqlalchemy as sa

from micdb.catalog.engine import reading
from micdb.catalog.rows import id_list
from micdb.catalog.tables import micrograph
from micdb.errors import StoreError, UsageError
from micdb.query.context import Context
from micdb.query.search import matrices, pgvector, vectors
from micdb.query.search.example import Box, Query
from micdb.query.search.examples import Question, describe
from micdb.query.search.nearest import nearest
from micdb.query.search.scan import similarity, upper_bound
from micdb.query.search.vectors import Pins, Space

SCHEMA = pa.schema(
    [("image", pa.int64()), ("similarity", pa.float64()), ("match_box", pa.string())]
)  # match_box: x,y,width,height [pixel]


@dataclass(frozen=True, slots=True)
class Ranking:
    """The answer of a search by example.

    Parameters
    ----------
    table
        ``image``, ``similarity`` (1 is best) and ``match_box`` (``x,y,width,height`` [pixel]), best first.
    path
        How it was found, for ``explain()``.
    skipped
        Number of candidates that have no vector in a space the example has too.
    """

    table: pa.Table
    path: str
    skipped: int


class Best:
    """The k best images so far; equal similarity goes to the smaller ``pk``."""

    def __init__(self, k: int) -> None:
        self.k = k
        self.images = np.empty(0, np.int64)
        self.similarity = np.empty(0, np.float64)

    @property
    def floor(self) -> float:
        """Similarity below which nothing can enter."""
        return float(self.similarity[-1]) if len(self.similarity) == self.k else -np.inf

    def add(self, images: np.ndarray, similarity: np.ndarray) -> None:
        """Take in further images, ``(n,)``, that are not yet there."""
        images = np.concatenate([self.images, images])
        similarity = np.concatenate([self.similarity, similarity])
        order = np.lexsort((images, -similarity))[: self.k]
        self.images, self.similarity = images[order], similarity[order]


class Way(NamedTuple):
    """How one space was searched."""

    path: str
    vectors: int
    space: str
    newer: int  # vectors that are not in its file


def rank(
    context: Context,
    query: Query | Question,
    candidates: np.ndarray,
    *,
    k: int = 10,
    box: Box | None = None,
    by: str | None = None,
    pins: Pins | None = None,
    pixel_size: str | None = None,
    kind: str | None = None,
    scale: str | None = None,
) -> Ranking:
    """Return the candidates most like an example.

    Every candidate is compared in the finest space that it and the example share: at one number of
    nanometres per pixel when the example has a scale, pixel for pixel only when it has none or `by`
    names an unscaled space. The example itself, where it is a candidate, comes first with similarity 1.

    Parameters
    ----------
    context
        Surroundings of the query.
    query
        A microscope file, the ``uid`` of an image in the database, a picture, or a vector ``(dim,)``
        of the space that `by` names; or a question of several of them.
    candidates
        ``pk`` of the micrographs that passed the filter, ``(n,)`` int64.
    k
        Number of images wanted; there are as many, or as many as have a comparable vector.
    box
        Part of the example to search by: x, y, width, height [pixel].
    by
        Name of an extractor or space; None for the run that was created first.
    pins
        Runs that stand for an analysis instead of its current one.
    pixel_size
        Of an example that does not say, with its unit: ``"0.2 um"``.
    kind
        How to search, if the choice is not to be the planner's: see `micdb.query.search.nearest.nearest`;
        or ``pgvector``.
    scale
        ``same`` or ``free``, see `micdb.query.search.examples.of_scale`.

    Returns
    -------
    Ranking
        Similarity is the cosine, or ``1 / (1 + distance)`` in a euclidean space.

    Raises
    ------
    UsageError
        `k`, `box`, `by` or the vector is wrong, or the extractor refuses the example.
    NotFoundError
        There is no such file.
    StoreError
        A part with vectors is missing or damaged.
    """
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
        raise UsageError(f"k is {k!r}; it must be a whole number of at least 1")
    example = describe(context, query, box=box, by=by, pins=pins, pixel_size=pixel_size, scale=scale)
    candidates = _ascending(np.asarray(candidates, np.int64))
    best, ways, left = Best(int(k)), [], candidates
    for space, vector in sorted(example.items(), key=lambda one: one[0].fineness):
        # what is compared at one scale is not compared again at a coarser one
        way, left = _search(context, space, vector, images=left, best=best, kind=kind)
        ways.append(way)
    return Ranking(_table(context, best), _explain(ways, len(left)), len(left))


def _ascending(images: np.ndarray) -> np.ndarray:
    """Return images sorted and distinct; that costs as much as a search, so what is so already is left."""
    return images if (images[1:] > images[:-1]).all() else np.unique(images)


def _search(
    context: Context, space: Space, query: np.ndarray, *, images: np.ndarray, best: Best, kind: str | None
) -> tuple[Way, np.ndarray]:
    """Offer the images that have a vector in one space; return the way, and the images that have none."""
    if pgvector.chosen(context, kind):
        answer = pgvector.require(context, space, query, images, k=best.k)
        best.add(answer.images, answer.similarity)
        left = np.setdiff1d(images, answer.inside, assume_unique=True)
        return Way(answer.path, len(answer.inside), space.name, 0), left
    matrix = matrices.open_matrix(context, space, wanted=len(images))
    if matrix is None:
        held = vectors.coverage(context, [space], images).images
        _from_parts(context, space, query, images=held, best=best)
        return Way("exact", len(held), space.name, 0), np.setdiff1d(images, held, assume_unique=True)
    rows = matrix.rows(images)
    found = nearest(matrix, query, rows, k=best.k, kind=kind)
    best.add(matrix.images[found.rows], found.similarity)
    left = images[:0] if len(rows) == len(images) else images[~matrix.holds(images)]
    return Way(str(found.path), len(rows), space.name, found.path.newer), left


def _from_parts(context: Context, space: Space, query: np.ndarray, *, images: np.ndarray, best: Best) -> None:
    for positions, matrix in vectors.blocks(context, space, images):
        likely = _likely(space.metric, query, matrix, best=best)
        exact = similarity(space.metric, query, matrix[likely])
        if not np.isfinite(exact).all():
            raise StoreError(
                f"{space.name} holds a vector that is not finite; recompute it with: micdb populate"
            )
        best.add(images[positions[likely]], exact)


def _likely(metric: str, query: np.ndarray, matrix: np.ndarray, *, best: Best) -> np.ndarray:
    """Return the rows that may be among the best; rows left out cannot be."""
    bound = upper_bound(metric, query, matrix)
    if len(bound) <= best.k:
        return np.arange(len(bound))
    top = np.argpartition(bound, -best.k)[-best.k :]
    floor = max(best.floor, float(similarity(metric, query, matrix[top]).min()))
    return np.flatnonzero(~(bound < floor))  # a bound that overflowed to NaN leaves nothing out


def _table(context: Context, best: Best) -> pa.Table:
    columns = (micrograph.c.pk, micrograph.c.width, micrograph.c.height)
    with reading(context.engine) as connection:
        wanted = id_list(connection, best.images.tolist())
        found = connection.execute(sa.select(*columns).where(columns[0].in_(sa.select(wanted.c.id))))
        frames = {pk: f"0,0,{width},{height}" for pk, width, height in found}
    boxes = [frames.get(image) for image in best.images.tolist()]
    return pa.table([best.images, best.similarity, boxes], schema=SCHEMA)


def _explain(ways: Sequence[Way], skipped: int) -> str:
    texts, before = [], ""
    for way in [way for way in ways if way.vectors] or ways[:1]:
        text = f"{way.vectors:,} vector{'s' * (way.vectors != 1)} in {way.space}"
        if way.newer:
            text += f" ({way.newer:,} newer than the index)"
        texts.append(text if way.path == before else f"{way.path} over {text}")
        before = way.path
    told = " and ".join(texts)
    if skipped:
        has = "image has" if skipped == 1 else "images have"
        told += f" ({skipped:,} {has} no vector at a common scale)"
    return told
