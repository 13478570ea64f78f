"""How good a link is, and whether it is better than the mean."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

RESAMPLES = 2000  # bootstrap error of a 95 % end is then about 3 % of the interval's width


def r2(observed: Floats, predicted: Floats) -> float:
    """Return the coefficient of determination of pooled out-of-fold predictions.

    ``1 - sum((y - p)**2) / sum((y - mean(y))**2)`` over all rows of all folds together, with the mean of
    all rows: 1 is perfect, 0 is no better than knowing the overall mean, negative is worse.
    """
    return float(1 - np.sum((observed - predicted) ** 2) / np.sum((observed - observed.mean()) ** 2))


def mae(observed: Floats, predicted: Floats) -> float:
    """Return the mean absolute error, every row counting once [target's unit]."""
    return float(np.mean(np.abs(observed - predicted)))


def rmse(observed: Floats, predicted: Floats) -> float:
    """Return the root-mean-square error, every row counting once [target's unit]."""
    return float(np.sqrt(np.mean((observed - predicted) ** 2)))


def gain_interval(gain: Floats, groups: Ints, *, level: float, seed: int) -> tuple[float, float]:
    """Return the percentile interval of a mean over rows when whole groups are drawn.

    The cluster bootstrap (Davison & Hinkley, Bootstrap Methods, Cambridge (1997), section 3.8).

    Parameters
    ----------
    gain
        Per row, the baseline's absolute error less the model's, shape ``(n,)``.
    groups
        Group of each row, shape ``(n,)``.
    level
        Coverage of the interval, 0 to 1.
    seed
        Seed of the resampling.
    """
    _, inverse, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    sums = np.bincount(inverse, weights=gain)
    drawn = np.random.default_rng(seed).integers(len(sizes), size=(RESAMPLES, len(sizes)))
    means = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def r2_interval(
    observed: Floats, predicted: Floats, groups: Ints, *, level: float, seed: int
) -> tuple[float, float]:
    """Return the percentile interval of `r2` when whole groups are drawn.

    The cluster bootstrap, as for `gain_interval`.

    Parameters
    ----------
    observed, predicted, groups
        Of each row, shape ``(n,)``.
    level
        Coverage of the interval, 0 to 1.
    seed
        Seed of the resampling.
    """
    _, inverse, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    centred = observed - observed.mean()  # squares of large numbers would lose digits
    parts = (np.ones(len(observed)), (observed - predicted) ** 2, centred, centred**2)
    sums = np.stack([np.bincount(inverse, weights=part) for part in parts])
    drawn = np.random.default_rng(seed).integers(len(sizes), size=(RESAMPLES, len(sizes)))
    n, errors, first, second = sums[:, drawn].sum(axis=2)
    low, high = np.quantile(1 - errors / (second - first**2 / n), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def coverage(observed: Floats, low: Floats, high: Floats, groups: Ints) -> float | None:
    """Return the share of rows inside their interval, averaged by group; None without intervals."""
    if np.isnan(low).any():
        return None
    inside = ((observed >= low) & (observed <= high)).astype(np.float64)
    _, inverse, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    return float(np.mean(np.bincount(inverse, weights=inside) / sizes))


def width(low: Floats, high: Floats) -> float | None:
    """Return the mean length of the intervals [target's unit]; None without intervals."""
    return None if np.isnan(low).any() else float(np.mean(high - low))


def calibration_error(probability: Floats, right: NDArray[np.bool_], *, bins: int = 10) -> float:
    """Return the expected calibration error of probabilities ``(n,)`` of being `right` ``(n,)``.

    Mean absolute difference of mean probability and share that is right, over bins of as many rows each
    (Guo et al., ICML 2017; Nixon et al., CVPR Workshops 2019). With few rows chance alone gives some.
    """
    parts = np.array_split(np.argsort(probability, kind="stable"), min(bins, len(probability)))
    gaps = [len(rows) * abs(probability[rows].mean() - right[rows].mean()) for rows in parts]
    return float(np.sum(gaps) / len(probability))


def calibration_by_chance(probability: Floats, *, bins: int = 10, seed: int = 0) -> float:
    """Return the calibration error that exact probabilities of so many rows would show by chance."""
    rng = np.random.default_rng(seed)
    drawn = [rng.random(len(probability)) < probability for _ in range(100)]  # its error is then 1 in 20
    return float(np.mean([calibration_error(probability, right, bins=bins) for right in drawn]))


def macro_f1(confusion: Floats) -> Floats:
    """Return the mean F1 over the classes that occur, from counts ``(..., observed, predicted)``."""
    seen = confusion.sum(axis=-1)
    f1 = 2 * np.diagonal(confusion, axis1=-2, axis2=-1) / np.maximum(seen + confusion.sum(axis=-2), 1e-12)
    return np.asarray((f1 * (seen > 0)).sum(axis=-1) / np.maximum((seen > 0).sum(axis=-1), 1))
