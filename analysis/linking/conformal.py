"""Prediction intervals that hold without assuming a distribution, when whole groups are exchangeable.

CV+ (Barber, Candes, Ramdas & Tibshirani, Ann. Stat. 49, 486 (2021)) with the group weights of
hierarchical conformal prediction (Lee, Barber & Willett, arXiv:2306.06342 (2023)): images of one sample are
not independent, so each calibration *group* weighs ``1 / (G + 1)``, shared evenly by its rows, and the
unseen group weighs the remaining ``1 / (G + 1)`` at infinity. Coverage is for a row drawn from a new group.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def groups_needed(level: float) -> int:
    """Return the fewest calibration groups for which an interval at `level` is finite: 9 at 0.9."""
    return math.ceil(level / (1 - level) - 1e-9)


def cv_plus(centres: Floats, residuals: Floats, groups: Ints, *, level: float) -> tuple[Floats, Floats]:
    """Return lower and upper ends for new rows.

    Parameters
    ----------
    centres
        Predictions of the m new rows by the model that left out calibration row j, shape ``(m, n)``.
    residuals
        Absolute error of calibration row j by that same model, shape ``(n,)``.
    groups
        Group of each calibration row, shape ``(n,)``.
    level
        Wanted coverage, 0 to 1. The proven floor is ``2 * level - 1``, usual coverage is near `level`.

    Returns
    -------
    low, high
        Shape ``(m,)``; infinite where there are fewer than `groups_needed` groups.
    """
    _, inverse, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    weights = np.asarray(1.0 / (sizes[inverse] * (len(sizes) + 1.0)), dtype=np.float64)
    high = _upper_quantile(centres + residuals, weights, level)
    low = -_upper_quantile(residuals - centres, weights, level)
    return low, high


def _upper_quantile(values: Floats, weights: Floats, level: float) -> Floats:
    """Return per row the smallest value whose cumulative weight reaches `level`; infinite if none does."""
    order = np.argsort(values, axis=1)
    reached = np.cumsum(weights[order], axis=1) >= level - 1e-9
    at = np.argmax(reached, axis=1)
    picked = np.take_along_axis(values, order, axis=1)[np.arange(len(values)), at]
    return np.where(reached.any(axis=1), picked, np.inf)
