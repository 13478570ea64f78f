"""Compare one vector with many: quick products in float32, and float64 where it decides.

The quick score is at most `slack` away from the true one, so that what may be among the best is known and
only that is compared in float64, row by row: equal vectors are exactly equal, wherever they stand.

All functions here work on the calling thread or, for many rows, on as many threads as faiss is allowed
(``faiss.omp_set_num_threads``); faiss itself runs on one thread in each, since its own threads spin while
they wait, which costs more than a search on a machine that others use.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np

SAFE = (1e-25, 1e25)  # squared lengths that float32 holds without underflow or overflow on the way
SHARE = 1 << 22  # [byte] of vectors that are worth another thread: some 0.3 ms
BUCKET = 64  # scores whose largest stands for them when the k-th best is looked for


def slack(dim: int) -> float:
    """Return how far a float32 product may be from the true one, relative to the lengths.

    Rounding of a dot product is at most about ``dim`` units (N. J. Higham, Accuracy and Stability of
    Numerical Algorithms, 2nd ed., SIAM 2002, section 3.1); four times that allows for the lengths too.
    """
    return float(4 * (dim + 4) * np.finfo(np.float32).eps)


def similarity(metric: str, query: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Return cosine or ``1 / (1 + distance)`` in float64, each row by itself.

    Unlike a matrix product it gives a row the same last bit wherever the row stands, so that equal
    vectors are exactly equal.

    Parameters
    ----------
    metric
        ``cosine`` or ``euclidean``.
    query
        ``(dim,)`` float32.
    matrix
        ``(n, dim)`` float32.
    """
    query, rows = query.astype(np.float64), matrix.astype(np.float64)
    if metric == "euclidean":
        rows -= query
        return np.asarray(1 / (1 + np.sqrt(np.vecdot(rows, rows))))
    norms = np.sqrt(np.vecdot(rows, rows) * np.vecdot(query, query))
    like = np.zeros(len(rows))  # a zero vector is like nothing
    np.divide(np.vecdot(rows, query), norms, out=like, where=norms != 0)
    return like


def upper_bound(metric: str, query: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Return what the similarity is at most, from one float32 product.

    Parameters
    ----------
    metric, query, matrix
        As for `similarity`.
    """
    off = slack(matrix.shape[1])
    with np.errstate(all="ignore"):
        squares = np.einsum("ij,ij->i", matrix, matrix)
        if metric == "cosine":
            unit = (query / np.linalg.norm(query.astype(np.float64))).astype(np.float32)
            bound = matrix @ unit / np.sqrt(squares) + off
            bound[~((squares > SAFE[0]) & (squares < SAFE[1]))] = np.inf
            return np.asarray(bound)
        own = query @ query
        nearest = squares - 2 * (matrix @ query) + own - off * (squares + own)
        return np.asarray(1 / (1 + np.sqrt(np.maximum(nearest, 0))) + off)


def products(matrix: np.ndarray, query: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
    """Return the dot products of a vector with all rows of a matrix or with some, ``(m,)`` float32.

    Rows are read where they lie: nothing is copied.

    Parameters
    ----------
    matrix
        ``(n, dim)`` float32, contiguous; a mapped file will do.
    query
        ``(dim,)`` float32, contiguous.
    rows
        Numbers of the rows wanted, ``(m,)`` int64, contiguous; None for all.
    """
    count = len(matrix) if rows is None else len(rows)
    made = np.empty(count, np.float32)
    least = max(1, SHARE // (4 * matrix.shape[1]))
    if count < 2 * least:
        _multiply(matrix, query, rows, made)
        return made

    def work(start: int, stop: int) -> None:
        part = slice(start, stop)
        if rows is None:
            _multiply(matrix[part], query, None, made[part])
        else:
            _multiply(matrix, query, rows[part], made[part])

    _shared(work, count, least)
    return made


def span_products(
    matrix: np.ndarray, query: np.ndarray, begins: np.ndarray, counts: np.ndarray
) -> np.ndarray:
    """Return the dot products of a vector with several runs of rows, one run after the other.

    Parameters
    ----------
    matrix, query
        As for `products`.
    begins, counts
        First row and number of rows of each run, ``(r,)``.
    """
    made, done = np.empty(int(counts.sum()), np.float32), 0
    for begin, count in zip(begins.tolist(), counts.tolist(), strict=True):
        _multiply(matrix[begin : begin + count], query, None, made[done : done + count])
        done += count
    return made


def _multiply(matrix: np.ndarray, query: np.ndarray, rows: np.ndarray | None, out: np.ndarray) -> None:
    faiss = library()
    pointer, dim = faiss.swig_ptr, matrix.shape[1]
    if rows is None:
        faiss.fvec_inner_products_ny(pointer(out), pointer(query), pointer(matrix), dim, len(out))
        return
    with one_thread():
        faiss.fvec_inner_products_by_idx(
            pointer(out), pointer(query), pointer(matrix), pointer(rows), dim, 1, len(out)
        )


def likely(score: np.ndarray, off: float | np.ndarray, k: int) -> np.ndarray:
    """Return the indices of scores that may be among the k best, given how far each may be off.

    Parameters
    ----------
    score
        ``(n,)``.
    off
        The true score is within this of `score`; one for all, or ``(n,)``.
    k
        How many are wanted.
    """
    if len(score) <= k:
        return np.arange(len(score))
    if isinstance(off, float):
        return np.flatnonzero(score >= floor(score, k) - 2 * off)
    return np.flatnonzero(score + off >= floor(score - off, k))


def floor(score: np.ndarray, k: int) -> float:
    """Return a value that at least k scores reach and that is at most the k-th best, close below it.

    Parameters
    ----------
    score
        ``(n,)``, at least k.
    k
        How many are wanted.
    """
    whole = len(score) // BUCKET
    if whole < 4 * k:
        return float(np.partition(score, -k)[-k])
    tops = score[: whole * BUCKET].reshape(whole, BUCKET).max(axis=1)  # k buckets hold at least k scores
    return float(np.partition(tops, -k)[-k])


@cache
def library() -> Any:
    """Return faiss; its own types are incomplete."""
    import faiss

    return faiss


class one_thread:  # noqa: N801 - used like a function
    """Let faiss use one thread, in this thread of Python only, and restore what was allowed."""

    def __enter__(self) -> None:
        faiss = library()
        self.before = faiss.omp_get_max_threads()
        if self.before != 1:
            faiss.omp_set_num_threads(1)

    def __exit__(self, *_error: object) -> None:
        if self.before != 1:
            library().omp_set_num_threads(self.before)


def threads() -> int:
    """Return how many threads a search may use: what faiss is allowed, at most the processors there are."""
    faiss = library()
    return int(min(faiss.omp_get_max_threads(), _processors()))


def _shared(work: Callable[[int, int], None], count: int, least: int) -> None:
    """Run `work` on equal ranges of ``count``, each of at least `least`, side by side."""
    parts = max(1, min(threads() if count >= 2 * least else 1, count // least))
    if parts == 1:
        work(0, count)
        return
    edges = np.linspace(0, count, parts + 1).astype(int).tolist()
    others = [_pool().submit(work, a, b) for a, b in pairwise(edges[1:])]
    work(edges[0], edges[1])
    for other in others:
        other.result()


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_processors(), thread_name_prefix="micdb-scan")


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


os.register_at_fork(after_in_child=_pool.cache_clear)  # a child has none of its parent's threads
