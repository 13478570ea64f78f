"""Make lists: centroids learned from a sample, every vector in the list of the nearest one.

How they are searched, and what the numbers are for, is said in `micdb.query.search.lists`.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from micdb.query.search import scan

PROBES = 200  # vectors that teach nothing, so that they can be asked for as others will be
PART = 10  # of which at most each tenth is one
LEAST = 10_000  # vectors below which comparing all of them is as quick
_TRAIN = 64  # rows per list that centroids are learned from; twice as many find hardly better ones
_SHARE = 0.55  # power of the number of rows: 560 lists for 1e5, 2000 for 1e6
_ROUNDS = 10  # of k-means; more change little
_BLOCK = 1 << 14  # [row] assigned at a time
_SEED = 20240601


def build(matrix: np.ndarray, scale: np.ndarray, odd: np.ndarray, metric: str, *, lists: int | None = None
          ) -> tuple[np.ndarray, dict[str, np.ndarray]]:  # fmt: skip
    """Group rows into lists; return the order they are to be written in and the arrays of the index.

    Parameters
    ----------
    matrix, scale, odd
        From `micdb.query.search.decode`.
    metric
        ``cosine`` or ``euclidean``.
    lists
        How many; None for what suits the number of rows.
    """
    held = np.ones(len(matrix), bool)
    held[odd] = False
    if metric == "cosine":
        held &= scale > 0  # a zero vector has no direction
    members = np.flatnonzero(held)
    count = min(len(members), lists or max(1, round(len(members) ** _SHARE)))
    probe = np.zeros(len(matrix), bool)
    if len(members) >= 2 * PART:
        probe[members[:: max(PART, len(members) // PROBES)]] = True
    centroids = _learn(matrix, scale, members[~probe[members]], metric, count)
    labels = _assign(matrix, scale, members, metric, centroids)
    by_list = np.argsort(labels, kind="stable")
    offsets = np.searchsorted(labels[by_list], np.arange(count + 1))
    sequence = np.concatenate([members[by_list], np.flatnonzero(~held)])

    def rows(a: int, b: int) -> np.ndarray:
        return unit(matrix[sequence[a:b]], scale[sequence[a:b]], metric)

    means, scatter = _describe(centroids, offsets, rows, probe[sequence])
    arrays = {
        "centroids": means,
        "offsets": offsets.astype(np.int64),
        "scatter": scatter,
        "probes": np.flatnonzero(probe[sequence]),
    }
    codes = _encode(means, offsets, rows)
    return sequence, arrays if codes is None else {**arrays, "codes": codes}


def unit(block: np.ndarray, scale: np.ndarray, metric: str) -> np.ndarray:
    """Return rows as an index sees them: of length 1 where the metric is cosine, ``(n, dim)`` float32."""
    return block * scale[:, None] if metric == "cosine" else np.ascontiguousarray(block)


def _learn(matrix: np.ndarray, scale: np.ndarray, members: np.ndarray, metric: str, count: int) -> np.ndarray:
    faiss = scan.library()
    chosen = np.random.default_rng(_SEED).permutation(members)[: _TRAIN * count]
    chosen.sort()
    means = faiss.Kmeans(
        matrix.shape[1], count, niter=_ROUNDS, seed=_SEED, max_points_per_centroid=_TRAIN,
        min_points_per_centroid=1, gpu=faiss.get_num_gpus() > 0,
    )  # fmt: skip
    means.train(unit(matrix[chosen], scale[chosen], metric))
    return np.asarray(means.centroids, np.float32)


def _assign(
    matrix: np.ndarray, scale: np.ndarray, members: np.ndarray, metric: str, centroids: np.ndarray
) -> np.ndarray:
    faiss = scan.library()
    nearest = faiss.IndexFlatL2(matrix.shape[1])
    nearest.add(centroids)
    labels = np.empty(len(members), np.int64)
    for start in range(0, len(members), _BLOCK):
        some = members[start : start + _BLOCK]
        labels[start : start + len(some)] = nearest.search(unit(matrix[some], scale[some], metric), 1)[1][
            :, 0
        ]
    return labels


def _describe(
    centroids: np.ndarray, offsets: np.ndarray, rows: Callable[[int, int], np.ndarray], probe: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the means and the scatter of lists; see `Lists`. Probes count for the radius only."""
    means, scatter = np.zeros_like(centroids), np.zeros((len(centroids), 4))
    for number, (a, b) in enumerate(pairwise(offsets.tolist())):
        if a < b:
            block, counts = rows(a, b), ~probe[a:b] if not probe[a:b].all() else slice(None)
            mean = block[counts].mean(axis=0, dtype=np.float64).astype(np.float32)
            squares = ((block.astype(np.float64) - mean) ** 2).sum(axis=1)
            mine, own = squares[counts], mean.astype(np.float64)
            means[number] = mean
            scatter[number] = mine.mean(), mine.var(), np.sqrt(squares.max()) * (1 + 1e-6), own @ own
    return means, scatter


def _encode(
    means: np.ndarray, offsets: np.ndarray, rows: Callable[[int, int], np.ndarray]
) -> np.ndarray | None:
    """Return faiss' index of the rows' bits, serialised; None where this faiss has none."""
    faiss = scan.library()
    make = getattr(faiss, "IndexIVFRaBitQFastScan", None)
    if make is None or not offsets[-1]:
        return None
    dim = means.shape[1]
    quantizer = faiss.IndexFlatL2(dim)
    quantizer.add(means)
    codes = make(quantizer, dim, len(means), faiss.METRIC_L2)
    codes.train(rows(0, min(int(offsets[-1]), 1 << 14)))
    for start in range(0, int(offsets[-1]), _BLOCK):
        codes.add(rows(start, min(start + _BLOCK, int(offsets[-1]))))
    return np.asarray(faiss.serialize_index(codes))
