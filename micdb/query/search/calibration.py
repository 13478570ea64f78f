"""Measure, on this machine and with these vectors, how careful a search must be and what its steps cost.

Vectors of the database that the lists have not learned from serve as queries, each without itself, for all
rows and for filters that leave 50, 5 and 0.5 % of them at random. Recall is the share of the true k best that
are found; a row as similar as the k-th best counts as one. Filters that leave what is far need no
measurement: the estimates grow with it. Times are the thread's processor time, which other work on the
machine changes least.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median
from typing import Any

import numpy as np

from micdb.query.search import kinds, lists, scan
from micdb.query.search.clustering import unit
from micdb.query.search.kinds import FETCH, KINDS, Index
from micdb.query.search.lists import Lists
from micdb.query.search.matrix import Matrix
from micdb.query.search.tuning import WANTED as K
from micdb.query.search.tuning import Tuning

QUERIES = 200
SHARES = (1.0, 0.5, 0.05, 0.005)
Z = 1.0  # standard deviations of caution
WIDE = 0.05  # share of rows that match from which a few lists are enough
READ = (40, 80, 160)  # rows read after their codes, for K wanted
UNUSUAL = (0.02, 0.1, 0.2)  # shares of queries whose answers may be looked at twice
MARGIN = 0.4  # of what may be missed: the queries are a sample, and recall is promised for others
_SIZES = (500, 1000, 2000, 4000, 8000, 16_000, 32_000, 64_000, 128_000)
_NARROW = 4_000  # matching rows up to which lists are hardly ever chosen
_BLOCK = 1 << 14
_SEED = 20240602


@dataclass(frozen=True, slots=True)
class Trial:
    """Queries with their answers under one filter.

    Parameters
    ----------
    share
        Share of rows that match.
    queries
        ``(q, dim)`` float32, of length 1 where the metric is cosine.
    own
        The row each query is, ``(q,)``.
    matches
        The rows that match, ascending.
    kth
        Score of the k-th best that is not its own, ``(q,)``.
    """

    share: float
    queries: np.ndarray
    own: np.ndarray
    matches: np.ndarray
    kth: np.ndarray

    def each(self) -> Iterator[tuple[np.ndarray, np.ndarray, float]]:
        """Yield queries with the rows that match, without its own, and the score of the k-th best."""
        for query, own, kth in zip(self.queries, self.own, self.kth, strict=True):
            yield query, self.matches[self.matches != own], kth


def trials(
    matrix: Matrix, total: int, probes: np.ndarray, *, shares: Sequence[float] = SHARES
) -> list[Trial]:
    """Return queries and true answers for each share of rows that match.

    Parameters
    ----------
    matrix
        Vectors.
    total
        Rows in the index; those behind them do not take part.
    probes
        Rows that may serve as queries, ``(q,)``.
    shares
        Shares of rows that match; those that leave fewer than `K` rows for a query are left out.
    """
    base, random = matrix.segments[0], np.random.default_rng(_SEED)
    own = probes[:: max(1, len(probes) // QUERIES)]
    queries = unit(base.vectors[own], base.scale[own], matrix.space.metric)
    drawn = random.random(total)
    made = []
    for share in shares:
        mask = drawn < share
        if mask.sum() > K:
            made.append(Trial(share, queries, own, np.flatnonzero(mask), _kth(matrix, queries, own, mask)))
    return made


def tune(matrix: Matrix, held: Lists, *, recall: float) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return how careful searches in lists must be (and the recall that gives), and what their steps take.

    Parameters
    ----------
    matrix, held
        Vectors and lists.
    recall
        Share of the true best that must be found.
    """
    shares = [share for share in SHARES if share == 1 or share * held.rows > _NARROW]
    every = trials(matrix, held.rows, held.probes, shares=shares)
    times: dict[str, Any] = _costs(matrix, held, every[0].queries) if every else {}
    plain, found, least = replace(Tuning(), error=_error(matrix, held), **times), [], 1
    for one in every:  # the narrower the filter, the more lists
        least, reached = _always(matrix, held, plain, one, recall=recall, least=least)
        found.append(((one.share, Z, least), reached))
    found.sort()
    careful = replace(plain, caution=tuple(caution for caution, _ in found)) if found else plain
    if held.codes is not None:
        wide = [_quick(matrix, held, careful, one, recall=recall) for one in every if one.share >= WIDE]
        careful = replace(careful, quick=tuple(sorted(wide)))
    measured = {
        "caution": careful.caution,
        "quick": careful.quick,
        "error": careful.error,
        "recall": min((reached for _, reached in found), default=1.0),
        "wanted": recall,
    }
    if every:
        times["crossover"] = _crossover(matrix, held, careful, every[0].queries)
        times["seconds"] = _seconds(_searching(matrix, held, careful), every[0])
    return measured, times


def _always(
    matrix: Matrix, held: Lists, plain: Tuning, trial: Trial, *, recall: float, least: int
) -> tuple[int, float]:
    """Return how many lists must always be read to reach a recall in a trial, and the recall."""
    reached = 0.0
    for always in _steps(len(held.centroids)):
        if always < least / 2:
            continue
        search = _searching(matrix, held, replace(plain, caution=((1.0, Z, always),)))
        reached = _recall(matrix, trial, search)
        if reached >= sought(recall):
            break
    return always, reached


def _quick(
    matrix: Matrix, held: Lists, careful: Tuning, trial: Trial, *, recall: float
) -> tuple[float, int, int, float]:
    """Return an entry of `Tuning.quick`: what is enough, together with the careful way for the unusual."""

    def search(probes: int, read: int, usual: float) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
        return _searching(matrix, held, replace(careful, quick=((0.0, probes, read, usual),)))

    found, most = [], len(held.centroids) // 4
    for unusual in UNUSUAL:
        usual = float(np.quantile(trial.kth, unusual))

        def enough(probes: int, read: int = READ[-1]) -> bool:
            return _recall(matrix, trial, search(probes, read, usual)) >= sought(recall)  # noqa: B023

        probes = _least(_steps(most), enough)
        if probes:
            read = next(one for one in READ if enough(probes, one))
            most = probes
            seconds = _seconds(search(probes, read, usual), trial, of=fmean)
            found.append((seconds, (trial.share, probes, read, usual)))
    return min(found)[1] if found else (trial.share, 0, READ[-1], -np.inf)


def _least(steps: list[int], enough: Callable[[int], bool]) -> int:
    """Return the first of some numbers that is enough, or one halfway to it; 0 where none is."""
    before = 0
    for step in steps:
        if enough(step):
            between = (before + step) // 2
            return between if before < between < step and enough(between) else step
        before = step
    return 0


def _steps(count: int) -> list[int]:
    """Return 1, 2, 3, 5, 8, 13, ... and `count`, each about 1.6 times the one before."""
    steps = {round(1.6**power) for power in range(2 * count.bit_length())}
    return sorted({step for step in steps if step < count} | {max(1, count)})


def fit(index: Index, matrix: Matrix, held: Lists, *, recall: float) -> tuple[Index, float]:
    """Return an index with the least effort that reaches a recall without filter, and the recall reached."""
    efforts, made = KINDS[index.kind].efforts, trials(matrix, held.rows, held.probes, shares=(1.0,))
    if not made:
        return replace(index, effort=efforts[-1], fetch=FETCH[-1]), 1.0
    trial = made[0]

    every = np.arange(held.rows)

    def search(one: Index, query: np.ndarray) -> np.ndarray:
        # among all rows, itself included: not every kind can leave one out
        return kinds.search(one, query, every, k=K + 1, total=held.rows)[0]

    def reached(one: Index) -> float:
        return _recall(matrix, trial, lambda query, rows: np.intersect1d(search(one, query), rows))

    def first(options: list[Index]) -> Index:
        return next((one for one in options if reached(one) >= sought(recall)), options[-1])

    tried = first([replace(index, effort=effort, fetch=FETCH[-1]) for effort in efforts])
    tried = first([replace(tried, fetch=fetch) for fetch in FETCH])
    # fewer rows fetched may need more effort, and cost less all the same: graphs fetch what they visit
    tried = first([replace(tried, effort=effort) for effort in efforts])
    seconds = _seconds(lambda query, _rows: search(tried, query), trial)
    return replace(tried, seconds=seconds), reached(tried)


def sought(recall: float) -> float:
    """Return the recall to reach on the sample so that it holds for other queries."""
    return 1 - (1 - recall) * (1 - MARGIN)


def _searching(matrix: Matrix, held: Lists, tuning: Tuning) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    return lambda query, rows: lists.search(held, matrix, query, rows, k=K, tuning=tuning).rows


def _recall(matrix: Matrix, trial: Trial, search: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> float:
    hits, near = 0, 2 * scan.slack(matrix.space.dim)
    for query, rows, kth in trial.each():
        scores = matrix.filed_scores(query, search(query, rows))
        hits += min(K, int((scores >= kth - near * max(1.0, abs(kth))).sum()))
    return hits / (K * len(trial.queries))


def _seconds(
    search: Callable[[np.ndarray, np.ndarray], object],
    trial: Trial,
    of: Callable[[list[float]], float] = median,
) -> float:
    return of([_timed(lambda: search(query, trial.matches)) for query in trial.queries])  # noqa: B023


def _kth(matrix: Matrix, queries: np.ndarray, own: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the score of the k-th best matching row of each query, itself left out."""
    best = np.full((K, len(queries)), -np.inf, np.float32)
    base = matrix.segments[0]
    for start in range(0, len(mask), _BLOCK):
        rows = start + np.flatnonzero(mask[start : start + _BLOCK])
        product, scale = base.vectors[rows] @ queries.T, base.scale[rows, None]
        score = product * scale if matrix.space.metric == "cosine" else product - scale
        score[rows[:, None] == own] = -np.inf
        both = np.concatenate([best, score])
        best = np.partition(both, len(both) - K, axis=0)[-K:]
    return np.asarray(best.min(axis=0))


def _error(matrix: Matrix, held: Lists) -> float:
    """Return the error of codes: see `Tuning`."""
    if held.codes is None:
        return Tuning().error
    rows = np.linspace(0, held.rows - 1, min(held.rows, 500)).astype(np.int64)
    rows = np.unique(rows)
    found = []
    for query in _sample(matrix, held, 8):
        squares, _, _ = held.scores(query)
        near, hit = lists.by_codes(
            held, query, (np.arange(len(squares)), squares), matrix.bits(rows), wanted=len(rows)
        )
        true = matrix.filed_scores(query, hit) - (
            1.0 if matrix.space.metric == "cosine" else float(query @ query) / 2
        )
        place = np.searchsorted(held.offsets, hit, side="right") - 1
        unit = np.sqrt(squares[place] * held.scatter[place, 0])
        found.append(((near - true) / np.maximum(unit, np.finfo(np.float32).tiny))[unit > 0])
    return max(0.01, float(np.sqrt(np.mean(np.concatenate(found) ** 2)))) if found else Tuning().error


def _costs(matrix: Matrix, held: Lists, queries: np.ndarray) -> dict[str, float]:
    """Return the costs of `Tuning` [ns]."""
    random, size = np.random.default_rng(_SEED), min(held.rows, 2000)
    row, run, one, every = [], [], [], []
    for query in queries[:9]:
        rows = np.sort(random.choice(held.rows, size, replace=False))
        begin = random.integers(0, held.rows - size + 1, 1)
        row.append(_timed(lambda: matrix.filed_scores(query, rows)))  # noqa: B023
        run.append(_timed(lambda: matrix.filed_spans(query, begin, np.array([size]))))  # noqa: B023
        if held.codes is not None:
            one.append(_timed(lambda: lists.by_codes(held, query, 1, None, wanted=16 * K)))  # noqa: B023
            count = len(held.centroids)
            every.append(_timed(lambda: lists.by_codes(held, query, count, None, wanted=16 * K)))  # noqa: B023
    found = {"row": min(row) / size * 1e9, "span": min(run) / size * 1e9}
    if every:
        read = min(row) / size * 16 * K  # some rows are read after their codes
        found["start"] = (min(one) + read) * 1e9
        found["code"] = max(1.0, (min(every) - min(one)) / held.rows * 1e9)
    return found


def _crossover(matrix: Matrix, held: Lists, tuning: Tuning, queries: np.ndarray) -> int:
    """Return the number of matching rows up to which comparing all is quicker than choosing lists."""
    random, best, losses = np.random.default_rng(_SEED), _SIZES[0], 0
    for size in [size for size in _SIZES if size <= held.rows]:
        exact, chosen = [], []
        for query in queries[:15]:
            rows = np.sort(random.choice(held.rows, size, replace=False))
            exact.append(_timed(lambda: scan.likely(matrix.filed_scores(query, rows), 0.0, K)))  # noqa: B023
            rows = np.sort(random.choice(held.rows, size, replace=False))  # not those now in the cache
            chosen.append(_timed(lambda: lists.search(held, matrix, query, rows, k=K, tuning=tuning)))  # noqa: B023
        best, losses = (best, losses + 1) if median(chosen) < median(exact) else (size, 0)
        if losses == 2:
            break
    return best


def _sample(matrix: Matrix, held: Lists, count: int) -> Iterator[np.ndarray]:
    base = matrix.segments[0]
    for row in np.linspace(0, held.rows - 1, min(count, held.rows)).astype(int).tolist():
        part = slice(row, row + 1)
        yield unit(base.vectors[part], base.scale[part], matrix.space.metric)[0]


def _timed(work: Callable[[], object]) -> float:
    start = time.thread_time()  # what others do on the machine counts less in it
    work()
    return time.thread_time() - start
