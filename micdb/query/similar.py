"""Rank images by likeness to an example: filter first, then search inside the filter."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import sqlalchemy as sa

from micdb.catalog.engine import reading
from micdb.catalog.rows import id_list
from micdb.catalog.tables import micrograph
from micdb.errors import StoreError, UsageError
from micdb.query import vectors
from micdb.query.context import Context
from micdb.query.example import Box, Query, describe
from micdb.query.vectors import Pins, Space

SAFE = (1e-25, 1e25)  # squared lengths that float32 holds without underflow or overflow on the way
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


@dataclass(frozen=True, slots=True)
class Plan:
    """Which way a search goes.

    Parameters
    ----------
    path
        A key of `SEARCHES`.
    n_candidates
        Images that passed the filter.
    n_vectors
        Those of them with a vector in a common space.
    """

    path: str
    n_candidates: int
    n_vectors: int

    @property
    def skipped(self) -> int:
        """Number of candidates without a comparable vector."""
        return self.n_candidates - self.n_vectors


def plan(n_candidates: int, n_vectors: int) -> Plan:
    """Choose how to search, from the exact counts after the filter.

    An exact scan inside the filter has recall 1, and up to some 10^5 vectors reading them costs more
    than comparing them; graph indexes lose recall under filters that are correlated with the query.
    """
    return Plan("exact", n_candidates, n_vectors)


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


Groups = Mapping[Space, tuple[np.ndarray, np.ndarray]]  # space -> (example's vector, images to compare)


def rank(
    context: Context,
    query: Query,
    candidates: np.ndarray,
    *,
    k: int = 10,
    box: Box | None = None,
    by: str | None = None,
    pins: Pins | None = None,
    pixel_size: str | None = None,
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
        of the space that `by` names.
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
    example = _physical(describe(context, query, box=box, by=by, pins=pins, pixel_size=pixel_size))
    for space, vector in example.items():
        if space.metric == "cosine" and not np.any(vector):
            raise UsageError(
                f"the example's vector in {space.name} is zero: it points nowhere; choose another example"
            )
    candidates = np.unique(np.asarray(candidates, np.int64))
    groups = _finest(context, example, candidates)
    chosen = plan(len(candidates), sum(len(images) for _, images in groups.values()))
    best = SEARCHES[chosen.path](context, groups, int(k))
    return Ranking(_table(context, best), _explain(chosen, groups), chosen.skipped)


def _physical(example: Mapping[Space, np.ndarray]) -> dict[Space, np.ndarray]:
    """Leave out unscaled spaces of an example that has a scale: similarity is physical.

    Naming such a space with `by` asks for patterns whatever their size; then there is no other.
    """
    scaled = {space: vector for space, vector in example.items() if space.nm_per_pixel is not None}
    return scaled or dict(example)


def _finest(context: Context, example: Mapping[Space, np.ndarray], candidates: np.ndarray) -> Groups:
    spaces = sorted(example, key=lambda space: space.fineness)
    found = vectors.coverage(context, spaces, candidates)
    images, first = np.unique(found.images, return_index=True)  # sorted by image, finest first
    finest = found.spaces[first]
    return {space: (example[space], images[finest == place]) for place, space in enumerate(spaces)}


def _exact(context: Context, groups: Groups, k: int) -> Best:
    best = Best(k)
    for space, (query, images) in groups.items():
        for positions, matrix in vectors.blocks(context, space, images):
            likely = _likely(space.metric, query, matrix, best=best)
            exact = similarity(space.metric, query, matrix[likely])
            if not np.isfinite(exact).all():
                raise StoreError(
                    f"{space.name} holds a vector that is not finite; recompute it with: micdb populate"
                )
            best.add(images[positions[likely]], exact)
    return best


SEARCHES: dict[str, Callable[[Context, Groups, int], Best]] = {"exact": _exact}


def _likely(metric: str, query: np.ndarray, matrix: np.ndarray, *, best: Best) -> np.ndarray:
    """Return the rows that may be among the best; rows left out cannot be."""
    bound = upper_bound(metric, query, matrix)
    if len(bound) <= best.k:
        return np.arange(len(bound))
    top = np.argpartition(bound, -best.k)[-best.k :]
    floor = max(best.floor, float(similarity(metric, query, matrix[top]).min()))
    return np.flatnonzero(~(bound < floor))  # a bound that overflowed to NaN leaves nothing out


def upper_bound(metric: str, query: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Return what the similarity is at most, from one float32 product.

    Rounding of a dot product is at most about ``dim`` units (N. J. Higham, Accuracy and Stability of
    Numerical Algorithms, 2nd ed., SIAM 2002, section 3.1); the bound allows for it.

    Parameters
    ----------
    metric
        ``cosine`` or ``euclidean``.
    query
        ``(dim,)`` float32.
    matrix
        ``(n, dim)`` float32.
    """
    slack = 4 * (matrix.shape[1] + 4) * np.finfo(np.float32).eps
    with np.errstate(all="ignore"):
        squares = np.einsum("ij,ij->i", matrix, matrix)
        if metric == "cosine":
            unit = (query / np.linalg.norm(query.astype(np.float64))).astype(np.float32)
            bound = matrix @ unit / np.sqrt(squares) + slack
            bound[~((squares > SAFE[0]) & (squares < SAFE[1]))] = np.inf
            return np.asarray(bound)
        own = query @ query
        nearest = squares - 2 * (matrix @ query) + own - slack * (squares + own)
        return np.asarray(1 / (1 + np.sqrt(np.maximum(nearest, 0))) + slack)


def similarity(metric: str, query: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Return cosine or ``1 / (1 + distance)`` in float64, each row by itself.

    Unlike a matrix product it gives a row the same last bit wherever the row stands, so that equal
    vectors are exactly equal.

    Parameters
    ----------
    metric, query, matrix
        As for `upper_bound`.
    """
    query, rows = query.astype(np.float64), matrix.astype(np.float64)
    if metric == "euclidean":
        return np.asarray(1 / (1 + np.sqrt(((rows - query) ** 2).sum(axis=1))))
    norms = np.sqrt((rows**2).sum(axis=1) * (query**2).sum())
    dots = (rows * query).sum(axis=1)
    like = np.zeros(len(rows))  # a zero vector is like nothing
    np.divide(dots, norms, out=like, where=norms != 0)
    return like


def _table(context: Context, best: Best) -> pa.Table:
    columns = (micrograph.c.pk, micrograph.c.width, micrograph.c.height)
    with reading(context.engine) as connection:
        wanted = id_list(connection, best.images.tolist())
        found = connection.execute(sa.select(*columns).where(columns[0].in_(sa.select(wanted.c.id))))
        frames = {pk: f"0,0,{width},{height}" for pk, width, height in found}
    boxes = [frames.get(image) for image in best.images.tolist()]
    return pa.table([best.images, best.similarity, boxes], schema=SCHEMA)


def _explain(chosen: Plan, groups: Groups) -> str:
    counts = [(len(images), space.name) for space, (_, images) in groups.items()]
    used = [one for one in counts if one[0]] or counts
    first, *rest = [f"{count:,} vector{'s' * (count != 1)} in {name}" for count, name in used]
    text = f"{chosen.path} over " + " and ".join([first, *rest])
    if chosen.skipped:
        has = "image has" if chosen.skipped == 1 else "images have"
        text += f" ({chosen.skipped:,} {has} no vector at a common scale)"
    return text
