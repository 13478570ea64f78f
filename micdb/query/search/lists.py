"""The default index: vectors in lists around centroids, read as far as the answer can still be there.

The rows of the file are ordered by list (an inverted file: J. Sivic and A. Zisserman, Proc. ICCV 2003,
p. 1470), so that a list is read in one go, and of a filter only the matching rows of it. How many lists are
read is not fixed. For each list there is an estimate of how similar its best *matching* row can be, from the
distance of its centroid, the scatter of its rows and the number of matches in it. In that order some lists
are read in any case, and then all whose estimate is better than the k-th best found so far. A filter that
leaves little, or leaves only what is far from the query, thereby reads more lists by itself, all of them if
need be.

For rows x around a centroid c, with r = x - c and D = |q - c|::

    -|q - x|^2 / 2 = -(D^2 + |r|^2) / 2 + (q - c) . r

The last term scatters about 0 with variance v D^2, v being the mean variance of r along one axis, and the
largest of m such terms lies near sqrt(2 ln m) standard deviations. The estimate takes `z` deviations more.
No row is nearer than D minus the radius of the list, whatever z is. z and the number of lists that are always
read are measured when the index is made, on vectors of the database as queries, for the recall wanted and
for filters of several widths (`micdb.query.search.calibration`).

Where very many rows would have to be read, they are first told apart by one bit per dimension (RaBitQ:
J. Gao and C. Long, Proc. ACM Manag. Data 2, 167, 2024, as faiss has it) and only the best of them read. Where
the best are hardly better than most, as among what is far, bits cannot tell them apart, and all are read.

Where one row in twenty matches or more, a measured number of nearest lists is nearly always enough, and
looking at their codes is all that is done (`quick`). The answer is taken if its k-th best is as good as is
usual; a filter that leaves what is far, or a query unlike everything, gives a worse one, and the search goes
the careful way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from micdb.query.search import scan
from micdb.query.search.matrix import Matrix, ranges
from micdb.query.search.tuning import WANTED, Tuning

_ARRAYS = {"centroids", "offsets", "scatter", "probes"}
GROWTH = 4  # each round reads this many times the rows of all rounds before it
_ABOUT = 1.02  # a share of rows drawn at random is not exact
_TINY = float(np.finfo(np.float32).tiny)
_CAUTION = 1.5  # standard deviations that a code's estimate may be too low


@dataclass(frozen=True, slots=True)
class Work:
    """What a search did.

    Parameters
    ----------
    rows
        Rows that may be among the best, ``(m,)`` int64, and their quick scores, ``(m,)`` float32.
    compared
        Number of rows read.
    lists
        Number of lists that were read.
    widened
        How often the search went on after its first round.
    coded
        Number of rows told apart by their codes.
    """

    rows: np.ndarray
    scores: np.ndarray
    compared: int
    lists: int
    widened: int
    coded: int


@dataclass(frozen=True, slots=True)
class Lists:
    """An index as it is searched.

    Parameters
    ----------
    metric
        ``cosine`` or ``euclidean``.
    centroids
        Means of the lists, ``(n_lists, dim)`` float32.
    offsets
        First row of each list, and the end of the last, ``(n_lists + 1,)`` int64.
    scatter
        Of each list: mean squared distance from the centroid, its variance, the largest distance, and the
        squared length of the centroid, ``(n_lists, 4)``.
    codes
        faiss' index of the rows' bits, over the same lists; None where there is none.
    probes
        Rows that the lists have not learned from, ``(q,)`` int64.
    """

    metric: str
    centroids: np.ndarray
    offsets: np.ndarray
    scatter: np.ndarray
    codes: Any
    probes: np.ndarray

    @property
    def rows(self) -> int:
        """Number of rows in lists; those after them are always compared."""
        return int(self.offsets[-1])

    def scores(self, query: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return how far centroids are, squared, and how minus half of that scatters among their rows.

        Parameters
        ----------
        query
            ``(dim,)`` float32, of length 1 where the metric is cosine.

        Returns
        -------
        tuple[numpy.ndarray, numpy.ndarray, numpy.ndarray]
            Squared distances of the centroids; mean and standard deviation of minus half the squared
            distance of the rows around them, ``(n_lists,)`` each.
        """
        products = scan.products(self.centroids, query).astype(np.float64)
        length = float(query @ query)
        square, variance, _, own = self.scatter.T
        squares = np.maximum(own + length - 2 * products, 0)
        axis = square / self.centroids.shape[1]
        if self.metric == "cosine":  # |x| = 1 ties |r| to c . r, so that only q . r scatters
            return squares, products - 1, np.sqrt(axis)
        return squares, -(squares + square) / 2, np.sqrt(axis * squares + variance / 4)

    def best(
        self, squares: np.ndarray, mean: np.ndarray, spread: np.ndarray, counts: np.ndarray, *, z: float
    ) -> np.ndarray:
        """Return minus half the squared distance of the best row of each list, estimated from above.

        Parameters
        ----------
        squares, mean, spread
            From `scores`.
        counts
            Matching rows of each list, ``(n_lists,)``; a list without any gets minus infinity.
        z
            Standard deviations of caution.
        """
        peak = z + np.sqrt(2 * np.log(np.maximum(counts, 2)))
        nearest = np.maximum(np.sqrt(squares) - self.scatter[:, 2], 0)
        made = np.minimum(mean + peak * spread, -(nearest**2) / 2) + scan.slack(self.centroids.shape[1])
        made[np.isnan(made)] = np.inf  # of numbers too large to estimate with: the list is read
        return np.where(counts > 0, made, -np.inf)


def open_lists(matrix: Matrix) -> Lists | None:
    """Return the index in the file of a matrix; None where there is none."""
    file = matrix.file
    if file is None or not file.arrays.keys() >= _ARRAYS:
        return None
    if "lists" not in matrix.indexes:
        faiss = scan.library()
        a = file.arrays
        codes = faiss.deserialize_index(a["codes"]) if "codes" in a else None
        matrix.indexes["lists"] = Lists(
            matrix.space.metric, a["centroids"], a["offsets"], a["scatter"], codes, a["probes"]
        )
    found: Lists = matrix.indexes["lists"]
    return found


def search(
    lists: Lists, matrix: Matrix, query: np.ndarray, rows: np.ndarray, *, k: int, tuning: Tuning
) -> Work:
    """Return the rows in lists that may be among the k best.

    Parameters
    ----------
    lists, matrix
        Index and vectors.
    query
        ``(dim,)`` float32, of length 1 where the metric is cosine.
    rows
        Matching rows, ascending, all of them in lists, ``(m,)`` int64.
    k
        How many are wanted; at least that many rows come back, or all.
    tuning
        Caution and costs.
    """
    found = quick(lists, matrix, query, rows, k=k, tuning=tuning)
    if found is not None:
        return found
    search_ = _Search(lists, matrix, query, rows, k=k, tuning=tuning)
    while search_.go_on():
        if not (search_.prefers_codes() and search_.sift()):
            search_.read()
    return search_.work()


def quick(
    lists: Lists, matrix: Matrix, query: np.ndarray, rows: np.ndarray, *, k: int, tuning: Tuning
) -> Work | None:
    """Return the rows whose codes promise most in the nearest lists; None where that may not be enough.

    Parameters
    ----------
    lists, matrix, query, rows, k, tuning
        As for `search`.
    """
    share = len(rows) / max(lists.rows, 1)
    fitting = [one for one in tuning.quick if one[0] <= share * _ABOUT]
    if not fitting or not fitting[-1][1] or lists.codes is None:
        return None
    _, probes, fetch, usual = fitting[-1]
    only = None if len(rows) == lists.rows else matrix.bits(rows)
    found = by_codes(lists, query, probes, only, wanted=max(fetch, -(-fetch * k // WANTED)))[1]
    scores = matrix.filed_scores(query, found)
    if len(found) < min(k, len(rows)) or scan.floor(scores, min(k, len(scores))) < usual:
        return None
    return Work(found, scores, len(found), probes, 0, 0)


class _Search:
    """One search: the lists in order of promise, how far they have been read, and the best so far."""

    def __init__(
        self, lists: Lists, matrix: Matrix, query: np.ndarray, rows: np.ndarray, *, k: int, tuning: Tuning
    ) -> None:
        self.lists, self.matrix, self.query, self.rows = lists, matrix, query, rows
        self.k, self.tuning = k, tuning
        self.whole = len(rows) == lists.rows
        edges = lists.offsets if self.whole else np.searchsorted(rows, lists.offsets)
        counts = edges[1:] - edges[:-1]
        z, self.always = tuning.careful(len(rows) / max(lists.rows, 1))
        self.squares, self.mean, self.spread = lists.scores(query)
        best = lists.best(self.squares, self.mean, self.spread, counts, z=z)
        self.sequence = np.argsort(-best)
        self.falling = -best[self.sequence]  # ascending
        self.begins, self.counts = edges[:-1][self.sequence], counts[self.sequence]
        self.ends = np.cumsum(self.counts)
        self.filled = int(np.count_nonzero(counts))
        self.shift = 1.0 if lists.metric == "cosine" else float(query @ query) / 2
        self.taken, self.limit, self.rounds, self.coded = 0, 0, 0, 0
        self.found, self.scores = np.empty(0, np.int64), np.empty(0, np.float32)
        self.compared, self.kth = 0, -np.inf

    def go_on(self) -> bool:
        """Find the lists that may hold a better row; return whether there are any."""
        better = int(np.searchsorted(self.falling, -self.kth, side="right"))
        self.limit = min(max(better, self.always), self.filled)
        if not self.rounds:
            self.limit = min(self.always, self.filled)
        return self.limit > self.taken

    @property
    def done(self) -> int:
        """Matching rows in the lists that have been dealt with."""
        return int(self.ends[self.taken - 1]) if self.taken else 0

    @property
    def left(self) -> int:
        """Matching rows in the lists that are to be dealt with."""
        return int(self.ends[self.limit - 1]) - self.done

    def prefers_codes(self) -> bool:
        """Return whether telling rows apart by their codes is cheaper than reading them."""
        if self.lists.codes is None:
            return False
        chosen, tuning = self.sequence[self.taken : self.limit], self.tuning
        sizes = (
            self.left
            if self.whole
            else int((self.lists.offsets[chosen + 1] - self.lists.offsets[chosen]).sum())
        )
        reading = self.left * (tuning.span if self.whole else tuning.row)
        if sizes * tuning.code + tuning.start >= reading:
            return False
        if not self.rounds:
            return True
        from scipy.special import ndtr  # a third of a second, for what few searches ask

        reach = (self.kth - self._margin(chosen) - self.mean[chosen]) / np.maximum(self.spread[chosen], _TINY)
        return bool((self.counts[self.taken : self.limit] * ndtr(-reach)).sum() < _fetched(self.k))

    def read(self) -> None:
        """Read further lists: some times as many rows as before, or all when they are few or most of all."""
        want, stop = GROWTH * self.done, self.limit
        if self.rounds and want < self.left < len(self.rows) / 2:
            stop = max(self.taken + 1, int(np.searchsorted(self.ends, self.done + want)) + 1)
        near = np.argsort(self.begins[self.taken : stop])  # memory is read upwards
        begins, counts = self.begins[self.taken : stop][near], self.counts[self.taken : stop][near]
        new = ranges(begins, counts)
        if self.whole:
            scores = self.matrix.filed_spans(self.query, begins, counts)
        else:
            new = self.rows[new]
            scores = self.matrix.filed_scores(self.query, new)
        self.taken = stop
        self._keep(new, scores)

    def sift(self) -> bool:
        """Read the rows of lists whose codes promise most; return whether these are surely enough."""
        chosen, wanted = self.sequence[self.taken : self.limit], _fetched(self.k)
        only = None if self.whole else self.matrix.bits(self.rows)
        which = (chosen, self.squares[chosen])
        estimate, rows = by_codes(self.lists, self.query, which, only, wanted=wanted)
        self.coded += self.left
        enough = len(rows) < wanted
        self._keep(rows, self.matrix.filed_scores(self.query, rows))
        if enough or estimate[-1] < self.kth - self._margin(chosen):
            self.taken = self.limit
            return True
        return False

    def _margin(self, chosen: np.ndarray) -> float:
        """Return by how much the codes of lists may be wrong."""
        unit = float((self.squares[chosen] * self.lists.scatter[chosen, 0]).max())
        return float(_CAUTION * self.tuning.error * unit**0.5)

    def _keep(self, rows: np.ndarray, scores: np.ndarray) -> None:
        self.rounds += 1
        self.compared += len(rows)
        self.found = np.concatenate([self.found, rows])
        self.scores = np.concatenate([self.scores, scores])
        if len(self.scores) >= self.k:
            self.kth = scan.floor(self.scores, self.k) - self.shift

    def work(self) -> Work:
        """Return what was found."""
        rows, scores = self.found, self.scores
        if self.coded and self.rounds > 1:  # a row may have been read for its code and with its list
            rows, first = np.unique(rows, return_index=True)
            scores = scores[first]
        return Work(rows, scores, self.compared, self.taken, max(self.rounds - 1, 0), self.coded)


def by_codes(
    lists: Lists, query: np.ndarray, which: int | tuple[np.ndarray, np.ndarray], only: np.ndarray | None,
    *, wanted: int,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Return the rows whose codes promise most.

    Parameters
    ----------
    lists, query
        As for `search`.
    which
        How many of the nearest lists to look at; or their numbers and the squared distances of their
        centroids, ``(n,)`` each.
    only
        Matching rows from `Matrix.bits`; None for all.
    wanted
        How many to return at most.

    Returns
    -------
    tuple[numpy.ndarray, numpy.ndarray]
        Minus half of the estimated squared distances, best first, and the rows.
    """
    faiss = scan.library()
    chosen_rows = {} if only is None else {"sel": faiss.IDSelectorBitmap(only)}
    near, found = np.empty(wanted, np.float32), np.empty(wanted, np.int64)
    pointer = faiss.swig_ptr
    with scan.one_thread():
        if isinstance(which, int):
            parameters = faiss.SearchParametersIVF(nprobe=which, **chosen_rows)
            lists.codes.search_c(1, pointer(query), wanted, pointer(near), pointer(found), parameters)
        else:
            chosen = np.ascontiguousarray(which[0], np.int64)
            squares = np.ascontiguousarray(which[1], np.float32)
            parameters = faiss.SearchParametersIVF(nprobe=len(chosen), **chosen_rows)
            lists.codes.search_preassigned_c(
                1, pointer(query), wanted, pointer(chosen), pointer(squares), pointer(near), pointer(found),
                False, parameters,
            )  # fmt: skip
    held = found >= 0
    return -near[held] / 2, found[held]


def _fetched(k: int) -> int:
    """Return how many rows are fetched by their codes, to find k among them."""
    return max(160, 4 * k)
