"""The k nearest of some vectors: how to search is planned, what is found is exact.

========== ==================================================================================================
exact      every matching row is compared: always right; the quickest up to the crossover, and without index
lists      lists around centroids, read until the estimate of the next is worse than what was found
           (`micdb.query.search.lists`); any filter, also one that leaves only what is far from the query
hnsw, ...  an index made by name (`micdb.query.search.kinds`): where most rows match and the matches are
           about as near as all vectors are, since there alone such indexes keep their recall
========== ==================================================================================================

Whatever the path, rows that no index holds (newer ones, odd ones) are compared as well, similarities are
float64 of the stored vectors, equal similarity goes to the smaller image, and there are min(k, matches) rows.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from micdb.query.search import kinds, lists, scan
from micdb.query.search.matrix import Matrix
from micdb.query.search.tuning import Tuning


@dataclass(frozen=True, slots=True)
class Path:
    """The way a search went.

    Parameters
    ----------
    kind
        ``exact``, ``lists`` or the name of an index.
    matches
        Rows that were searched.
    compared
        Rows that were read and compared.
    newer
        Those of them that are newer than the index, all of which are compared.
    read, lists
        Lists that were read, and how many there are.
    coded
        Rows told apart by their codes before they were read.
    widened
        How often the search was widened.
    """

    kind: str
    matches: int
    compared: int
    newer: int = 0
    read: int = 0
    lists: int = 0
    coded: int = 0
    widened: int = 0

    def __str__(self) -> str:
        if self.kind == "exact":
            return "exact"
        done = [f"{self.compared:,} compared"]
        if self.lists:
            done.append(f"{self.read:,} of {self.lists:,} lists")
        if self.coded:
            done.append(f"{self.coded:,} by code")
        if self.widened:
            done.append(f"widened {self.widened} time{'s' * (self.widened != 1)}")
        return f"{self.kind} ({', '.join(done)})"


@dataclass(frozen=True, slots=True)
class Found:
    """The nearest rows, best first.

    Parameters
    ----------
    rows
        ``(m,)`` int64, m = min(k, matches).
    similarity
        Cosine or ``1 / (1 + distance)``, ``(m,)`` float64.
    path
        How they were found.
    """

    rows: np.ndarray
    similarity: np.ndarray
    path: Path


def nearest(matrix: Matrix, query: np.ndarray, rows: np.ndarray, *, k: int, kind: str | None = None) -> Found:
    """Return the rows most similar to a vector.

    Parameters
    ----------
    matrix
        From `micdb.query.search.matrices.open_matrix`.
    query
        ``(dim,)``, finite; not zero where the metric is cosine.
    rows
        From `Matrix.rows`: ascending, distinct, ``(m,)`` int64.
    k
        How many are wanted, at least 1.
    kind
        ``exact``, ``lists`` or the name of an index, if the choice is not to be the planner's; one that is
        not there, or has no estimate for such a query, is ``exact``.

    Raises
    ------
    StoreError
        A vector that had to be compared is not finite.
    """
    query = np.ascontiguousarray(query, np.float32)
    quick = unit(matrix, query)
    with np.errstate(over="ignore"):
        safe = scan.SAFE[0] < float(quick @ quick) < scan.SAFE[1]  # else its quick scores mean nothing
    chosen = (kind or plan(matrix, quick, rows, k)) if safe else "exact"
    held = lists.open_lists(matrix)
    index = kinds.open_index(matrix, chosen) if chosen not in ("exact", "lists") else None
    if index is not None and held is not None and len(rows) < len(matrix) and not index.filters:
        index = None
    if chosen == "lists" and held is not None:
        likely, path = _by_lists(matrix, held, quick, rows, k)
    elif index is not None and held is not None:
        likely, path = _by_index(matrix, held, index, quick, rows, k=k)
    else:
        likely, path = (
            _exact(matrix, quick, rows, k),
            Path("exact", len(rows), len(rows), _newer(matrix, rows)),
        )
    exact = matrix.similarity(query, likely)
    best = _top(matrix, likely, exact, k)
    return Found(likely[best], exact[best], path)


def plan(matrix: Matrix, query: np.ndarray, rows: np.ndarray, k: int) -> str:
    """Return how to search: a `Path.kind`.

    Parameters
    ----------
    matrix, rows, k
        As for `nearest`.
    query
        From `unit`.
    """
    held = lists.open_lists(matrix)
    if held is None or len(rows) <= max(tuning(matrix).crossover, 8 * k):
        return "exact"
    return kinds.preferred(matrix, query, rows) or "lists"


def tuning(matrix: Matrix) -> Tuning:
    """Return what was measured when the index was made; plain values where nothing was."""
    if "tuning" not in matrix.indexes:
        names = [one.name for one in fields(Tuning)]
        matrix.indexes["tuning"] = Tuning(
            **{name: matrix.tuning[name] for name in names if name in matrix.tuning}
        )
    found: Tuning = matrix.indexes["tuning"]
    return found


def unit(matrix: Matrix, query: np.ndarray) -> np.ndarray:
    """Return a query as quick scores take it: of length 1 where the metric is cosine, ``(dim,)`` float32."""
    if matrix.space.metric == "euclidean":
        return query
    length = np.linalg.norm(query.astype(np.float64))
    return (query / length).astype(np.float32) if length else query


def _exact(matrix: Matrix, query: np.ndarray, rows: np.ndarray, k: int) -> np.ndarray:
    """Return the rows that may be among the k best, by a quick score of all of them."""
    if len(rows) <= k:
        return rows
    with np.errstate(all="ignore"):
        whole = rows is matrix.all_rows and matrix.gone is None
        score = matrix.scores(query, None if whole else rows)
        off = matrix.off(query, None if whole else rows)
    if not np.isfinite(off).all():
        return rows
    odd = np.isin(rows, matrix.odd, assume_unique=True) if len(matrix.odd) else None
    if odd is None or not odd.any():
        return np.asarray(rows[scan.likely(score, off, k)])
    off = off if isinstance(off, float) else off[~odd]
    return np.concatenate([rows[odd], rows[~odd][scan.likely(score[~odd], off, k)]])


def _by_lists(
    matrix: Matrix, held: lists.Lists, query: np.ndarray, rows: np.ndarray, k: int
) -> tuple[np.ndarray, Path]:
    inside, outside = _split(rows, held.rows)
    work = lists.search(held, matrix, query, inside, k=k, tuning=tuning(matrix))
    others = _exact(matrix, query, outside, k)
    found = _likely(matrix, query, work.rows, work.scores, k)
    path = Path(
        "lists", len(rows), work.compared + len(outside), _newer(matrix, rows),
        work.lists, len(held.centroids), work.coded, work.widened,
    )  # fmt: skip
    return np.concatenate([found, others]), path


def _by_index(
    matrix: Matrix, held: lists.Lists, index: kinds.Index, query: np.ndarray, rows: np.ndarray, *, k: int
) -> tuple[np.ndarray, Path]:
    inside, outside = _split(rows, held.rows)
    found, widened = kinds.search(index, query, inside, k=k, total=held.rows)
    if len(found) < min(k, len(inside)):
        return _by_lists(matrix, held, query, rows, k)
    others = _exact(matrix, query, outside, k)
    path = Path(index.kind, len(rows), len(found) + len(outside), _newer(matrix, rows), widened=widened)
    return np.concatenate([_likely(matrix, query, found, matrix.filed_scores(query, found), k), others]), path


def _likely(matrix: Matrix, query: np.ndarray, rows: np.ndarray, score: np.ndarray, k: int) -> np.ndarray:
    off = matrix.off(query, rows) if len(rows) else 0.0
    return np.asarray(rows[scan.likely(score, off, k)])


def _split(rows: np.ndarray, listed: int) -> tuple[np.ndarray, np.ndarray]:
    """Part rows into those in lists and the others."""
    if len(rows) and rows[-1] < listed:
        return rows, rows[:0]
    cut = int(np.searchsorted(rows, listed))
    return rows[:cut], rows[cut:]


def _newer(matrix: Matrix, rows: np.ndarray) -> int:
    return len(rows) - int(np.searchsorted(rows, matrix.filed)) if matrix.newer else 0


def _top(matrix: Matrix, rows: np.ndarray, exact: np.ndarray, k: int) -> np.ndarray:
    """Return the order of the k best; of one image with equal ones the extractor's earlier row."""
    earlier = matrix.rank[rows] if matrix.several else rows
    return np.asarray(np.lexsort((earlier, matrix.images[rows], -exact))[:k])
