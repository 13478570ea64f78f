"""Whether two sets of vectors come from one source: how far apart they are, and what tells them apart."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from micdb.analysis.folds import grouped_folds

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_FOLDS = 5
_COMPONENTS = 16  # that a classifier sees: few samples cannot teach more


class Discrepancy(NamedTuple):
    """How far two sets of vectors are apart.

    Parameters
    ----------
    mmd
        Maximum mean discrepancy, 0 to about 1; near 0 or below where the sets are alike.
    p
        Share of permutations of whole groups that are as far apart.
    """

    mmd: float
    p: float


def discrepancy(
    vectors: Floats,
    second: Bools,
    groups: Ints,
    *,
    strata: Ints | None = None,
    permutations: int = 500,
    seed: int = 0,
) -> Discrepancy:
    """Return the maximum mean discrepancy of two sets, tested by permuting whole groups.

    Gretton, Borgwardt, Rasch, Schoelkopf & Smola, J. Mach. Learn. Res. 13, 723 (2012), with the kernel
    ``exp(-d**2 / (2 m**2))`` of the median distance m; pairs within a group are left out, for images of one
    sample are alike in any laboratory.

    Parameters
    ----------
    vectors
        ``(n, d)``.
    second
        Which of them are of the second set ``(n,)``; a group belongs to one set.
    groups
        Group of each ``(n,)``.
    strata
        Stratum of each ``(n,)``: labels are exchanged within it alone; None for one.
    permutations
        How many; the least p is one over one more than that.
    seed
        Of the permutations.
    """
    kernel = _kernel(vectors)
    names, number, first = _numbered(groups)
    member = np.zeros((len(names), len(vectors)))
    member[number, np.arange(len(vectors))] = 1
    between = member @ kernel @ member.T  # sums of the kernel over pairs of groups
    np.fill_diagonal(between, 0.0)
    sizes = member.sum(axis=1)
    pairs = np.outer(sizes, sizes)
    np.fill_diagonal(pairs, 0.0)
    own, layer = second[first], np.zeros(len(names), int) if strata is None else strata[first]
    observed = _statistic(between, pairs, own)
    rng = np.random.default_rng(seed)
    drawn = np.array([_statistic(between, pairs, _exchanged(own, layer, rng)) for _ in range(permutations)])
    return Discrepancy(observed, float((1 + (drawn >= observed - 1e-12).sum()) / (1 + permutations)))


def told_apart(vectors: Floats, second: Bools, groups: Ints, *, seed: int = 0) -> tuple[float, float]:
    """Return how well a classifier tells two sets of groups that it has not seen apart, and the chance of it.

    A classifier two-sample test (Lopez-Paz & Oquab, ICLR 2017): logistic regression on principal components,
    folds that hold out whole groups; the chance is that of the Mann-Whitney test on the groups' mean scores.

    Parameters
    ----------
    vectors, second, groups
        As for `discrepancy`.
    seed
        Of the folds.

    Returns
    -------
    auc, p
        Area under the curve over groups, 0.5 for nothing to tell; NaN with fewer than two groups in a set.
    """
    from scipy.stats import mannwhitneyu
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    _, number, first = _numbered(groups)
    own = second[first]
    if min(own.sum(), (~own).sum()) < 2:
        return float("nan"), float("nan")
    fold = _balanced(number, own, seed)
    score = np.zeros(len(vectors))
    for k in np.unique(fold):
        train = fold != k
        if len(np.unique(second[train])) < 2:
            continue
        parts = min(_COMPONENTS, vectors.shape[1], max(1, len(np.unique(number[train])) // 2))
        made = make_pipeline(
            StandardScaler(), PCA(parts, random_state=0), LogisticRegression(C=0.1, class_weight="balanced")
        ).fit(vectors[train], second[train])
        score[~train] = made.decision_function(vectors[~train])
    means = np.bincount(number, score) / np.bincount(number)
    found = mannwhitneyu(means[own], means[~own], alternative="greater")
    return float(found.statistic / (own.sum() * (~own).sum())), float(found.pvalue)


def _kernel(vectors: Floats) -> Floats:
    from sklearn.metrics import pairwise_distances

    square = pairwise_distances(vectors, metric="sqeuclidean")
    middle = float(np.median(square[np.triu_indices(len(square), 1)])) if len(square) > 1 else 1.0
    return np.asarray(np.exp(-square / (2 * max(middle, 1e-300))))


def _statistic(between: Floats, pairs: Floats, second: Bools) -> float:
    """Return the squared discrepancy from sums of the kernel and counts of pairs of groups ``(g, g)``."""

    def mean(one: Bools, other: Bools) -> float:
        count = pairs[np.ix_(one, other)].sum()
        return float(between[np.ix_(one, other)].sum() / count) if count else 0.0

    return mean(second, second) + mean(~second, ~second) - 2 * mean(second, ~second)


def _exchanged(second: Bools, strata: Ints, rng: np.random.Generator) -> Bools:
    result = second.copy()
    for one in np.unique(strata):
        here = np.flatnonzero(strata == one)
        result[here] = second[rng.permutation(here)]
    return result


def _numbered(groups: Ints) -> tuple[Ints, Ints, Ints]:
    names, first, number = np.unique(groups, return_index=True, return_inverse=True)
    return names, number, first


def _balanced(number: Ints, own: Bools, seed: int) -> Ints:
    """Return a fold of each row, both sets spread over all folds, groups whole."""
    fold = np.empty(len(number), dtype=np.int64)
    for side in (True, False):
        rows = np.flatnonzero(own[number] == side)
        k = min(_FOLDS, int(min(own.sum(), (~own).sum())))
        fold[rows] = grouped_folds(number[rows], k, seed=seed)
    return fold
