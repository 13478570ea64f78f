"""Prediction intervals that hold without assuming a distribution, when whole groups are exchangeable.

CV+ (Barber, Candes, Ramdas & Tibshirani, Ann. Stat. 49, 486 (2021)) with the group weights of
hierarchical conformal prediction (Lee, Barber & Willett, arXiv:2306.06342 (2023)): images of one sample are
not independent, so each calibration *group* weighs ``1 / (G + 1)``, shared evenly by its rows, and the
unseen group weighs the remaining ``1 / (G + 1)`` at infinity. Coverage is for a row drawn from a new group.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_HALVINGS = 40  # of the distance between the bounds: the end is found to 1e-12 of it


def groups_needed(level: float) -> int:
    """Return the fewest calibration groups for which an interval at `level` is finite: 9 at 0.9."""
    return math.ceil(level / (1 - level) - 1e-9)


def cv_plus(
    centres: Floats, part: Ints, residuals: Floats, groups: Ints, *, level: float
) -> tuple[Floats, Floats]:
    """Return lower and upper ends for new rows.

    Parameters
    ----------
    centres
        Predictions of the m new rows by each of k models, shape ``(k, m)``.
    part
        Of each calibration row the model that did not see it, shape ``(n,)``.
    residuals
        Absolute error of that model at the calibration row, shape ``(n,)``.
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
    if len(sizes) < groups_needed(level):
        return np.full(centres.shape[1], -np.inf), np.full(centres.shape[1], np.inf)
    weights = np.asarray(1.0 / (sizes[inverse] * (len(sizes) + 1.0)), dtype=np.float64)
    order = np.argsort(residuals, kind="stable")
    steps = [  # of each model its errors in order, and the weight of those before
        (residuals[mine], np.concatenate([[0.0], np.cumsum(weights[mine])]))
        for mine in (order[part[order] == k] for k in range(len(centres)))
    ]
    high = _upper_quantile(centres, steps, level)
    # The lower end is the mirrored upper one: errors count to both sides alike.
    return -_upper_quantile(-centres, steps, level), high


def _upper_quantile(centres: Floats, steps: Sequence[tuple[Floats, Floats]], level: float) -> Floats:
    """Return per new row the smallest ``centre + error`` whose cumulative weight reaches `level`.

    Bisection between bounds, because to sort all sums of n errors and m rows takes n m log n.
    """
    held = [(centre, *step) for centre, step in zip(centres, steps, strict=True) if len(step[0])]
    least = np.min([centre + errors[0] for centre, errors, _ in held], axis=0)
    high: Floats = np.max([centre + errors[-1] for centre, errors, _ in held], axis=0)
    low = least - (high - least)
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        reached = sum(
            before[np.searchsorted(errors, middle - centre, side="right")] for centre, errors, before in held
        )
        enough = reached >= level - 1e-9
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    return high
