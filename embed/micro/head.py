"""A head that names classes, taught by a handful of labelled vectors; it says how likely and how strange.

Linear discriminant analysis with equal priors and a shrunk covariance (Ledoit & Wolf, J. Multivar. Anal. 88,
365, 2004): a class of three specimens counts as much as one of thirty. The probability of a class falls as a
power of the squared Mahalanobis distance to its mean, the tail of a Student density, because specimens stray
further than a normal density allows. The power is what makes specimens that were left out most likely.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import solve_triangular

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_FOLDS = 15  # within the training specimens: nearly as many teach as will in the end
_POWERS = np.geomspace(0.1, 300.0, 60)  # of squared distances; from nearly even to certain
_NEIGHBOURS = 3  # of the strangeness: one alone may be an odd one
_AT_ONCE = 1 << 24  # distances held in memory


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """What was learnt; all of it arrays, so that it can be written without pickle.

    Parameters
    ----------
    middle, spread
        Mean and standard deviation of the training vectors ``(d,)``.
    whitening
        Makes the covariance within classes the identity ``(d, d)``.
    means
        Of the classes, whitened ``(k, d)``.
    power
        Of the squared distance, by which probabilities fall ``(1,)``.
    taught
        Training vectors, whitened ``(n, d)``.
    strangeness
        Of each training image, by what was learnt without its group, ascending ``(n,)``.
    """

    middle: Floats
    spread: Floats
    whitening: Floats
    means: Floats
    power: Floats
    taught: Floats
    strangeness: Floats

    def probabilities(self, vectors: Floats) -> Floats:
        """Return the probability of each class ``(m, k)`` for vectors ``(m, d)``."""
        return _shares(_squared(self._white(vectors), self.means), float(self.power[0]))

    def novelty(self, vectors: Floats) -> Floats:
        """Return the share of training images that are less strange ``(m,)``, 0 to 1.

        One minus the conformal p-value of "drawn from what was taught" (Vovk, Gammerman & Shafer,
        Algorithmic Learning in a Random World, 2005): above 0.95 for one in twenty images of what was taught.
        """
        found = _strangeness(self._white(vectors), self.taught)
        below = np.searchsorted(self.strangeness, found, side="left")
        return np.asarray(below / (len(self.strangeness) + 1), dtype=np.float64)

    def _white(self, vectors: Floats) -> Floats:
        standard = (np.asarray(vectors, np.float64) - self.middle) / self.spread
        return np.asarray(standard @ self.whitening, dtype=np.float64)


def fit(vectors: Floats, labels: Ints, groups: Ints, *, seed: int = 0) -> Head:
    """Return a head learnt from labelled vectors.

    Parameters
    ----------
    vectors
        ``(n, d)``.
    labels
        Number of the class of each ``(n,)``; all of 0 to k - 1 occur.
    groups
        Number of the group of each ``(n,)``: calibration within the training set leaves whole ones out.
    seed
        Of the folds.
    """
    x = np.asarray(vectors, np.float64)
    middle, spread = x.mean(axis=0), np.maximum(x.std(axis=0), 1e-9)
    standard = (x - middle) / spread
    whitening, means = _discriminant(standard, labels)
    power, strangeness = _left_out(standard, labels, groups, seed=seed)
    return Head(middle, spread, whitening, means, np.array([power]), standard @ whitening, strangeness)


def folds(labels: Ints, groups: Ints, k: int, *, seed: int) -> Ints:
    """Return a fold number per row, 0 to ``k - 1``, that never splits a group and spreads each class.

    Groups, the largest first, go where their classes are rarest.

    Parameters
    ----------
    labels, groups
        Numbers from 0, ``(n,)``.
    k
        At most the number of groups.
    seed
        Of the order of groups of one size.
    """
    names, inverse = np.unique(groups, return_inverse=True)
    counts = np.zeros((len(names), int(labels.max()) + 1))
    np.add.at(counts, (inverse, labels), 1)
    share = counts / np.maximum(counts.sum(axis=0), 1)
    order = np.random.default_rng(seed).permutation(len(names))
    fold_of, held, rows = np.empty(len(names), np.int64), np.zeros((k, share.shape[1])), np.zeros(k)
    for group in order[np.argsort(-counts[order].sum(axis=1), kind="stable")]:
        fold_of[group] = np.lexsort((rows, held @ share[group]))[0]
        held[fold_of[group]] += share[group]
        rows[fold_of[group]] += counts[group].sum()
    return fold_of[inverse]


def _discriminant(x: Floats, labels: Ints) -> tuple[Floats, Floats]:
    """Return what whitens within classes ``(d, d)``, and the whitened class means ``(k, d)``."""
    from sklearn.covariance import ledoit_wolf

    means = np.stack([x[labels == one].mean(axis=0) for one in range(labels.max() + 1)])
    covariance, _ = ledoit_wolf(x - means[labels], assume_centered=True)
    root = np.linalg.cholesky(covariance + 1e-9 * np.eye(len(covariance)))  # images of a class may be equal
    whitening = solve_triangular(root, np.eye(len(root)), lower=True, check_finite=False).T
    return whitening, means @ whitening


def _left_out(x: Floats, labels: Ints, groups: Ints, *, seed: int) -> tuple[float, Floats]:
    """Return the power under which groups that are left out are most likely, and how strange they look."""
    inner = folds(labels, groups, min(_FOLDS, len(np.unique(groups))), seed=seed)
    squared = np.full((len(x), int(labels.max()) + 1), np.inf)
    strangeness = np.full(len(x), np.inf)
    for k in range(int(inner.max()) + 1):
        train, test = inner != k, inner == k
        known, number = np.unique(labels[train], return_inverse=True)
        if len(known) < 2 or not test.any():
            continue
        whitening, means = _discriminant(x[train], number.astype(np.int64))
        white = x[test] @ whitening
        squared[np.ix_(test, known)] = _squared(white, means)
        strangeness[test] = _strangeness(white, x[train] @ whitening)
    own = squared[np.arange(len(x)), labels]
    asked = np.isfinite(own)  # a class that is left out whole says nothing of the power
    if not asked.any():
        return 1.0, np.sort(strangeness)
    rows, named = np.arange(int(asked.sum())), labels[asked]
    # Without one of three groups a class is known worse than it will be; without one of thirty, hardly.
    weight = np.array([len(np.unique(groups[labels == one])) for one in range(int(labels.max()) + 1)])[named]
    shares = [_shares(squared[asked], one)[rows, named] for one in _POWERS]
    loss = [-(weight * np.log(np.maximum(share, 1e-12))).sum() for share in shares]
    return float(_POWERS[int(np.argmin(loss))]), np.sort(strangeness)


def _squared(points: Floats, others: Floats) -> Floats:
    """Return the squared distances of points ``(m, d)`` from others ``(k, d)``, ``(m, k)``."""
    lengths = np.square(points).sum(axis=1)[:, None] + np.square(others).sum(axis=1)[None]
    return np.asarray(np.maximum(lengths - 2 * points @ others.T, 0.0), dtype=np.float64)


def _shares(squared: Floats, power: float) -> Floats:
    logs = -power * np.log(np.maximum(squared, 1e-12))
    shares = np.exp(logs - logs.max(axis=1, keepdims=True))
    return np.asarray(shares / shares.sum(axis=1, keepdims=True), dtype=np.float64)


def _strangeness(points: Floats, taught: Floats) -> Floats:
    """Return the mean distance to the nearest of the training vectors ``(m,)``."""
    near = min(_NEIGHBOURS, len(taught))
    found = [
        np.sqrt(np.partition(_squared(some, taught), near - 1, axis=1)[:, :near]).mean(axis=1)
        for some in np.array_split(points, max(1, len(points) * len(taught) // _AT_ONCE))
    ]
    return np.asarray(np.concatenate(found), dtype=np.float64)
