"""Which defects look like a few examples: a new class without training again.

Of every descriptor the squared distance to the mean of the examples is taken, in units of what the examples
themselves have when each is left out in turn. The logarithms of the others' distances are a mixture: of those
that belong, around 0, and of the rest, farther out; expectation and maximisation part them (A. P. Dempster,
N. M. Laird and D. B. Rubin, J. R. Stat. Soc. B 39 (1977) 1).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from micdb.errors import UsageError

Floats = npt.NDArray[np.float64]

_NARROWEST = 0.35  # standard deviation of ln(distance**2) of members: that of chi-squared with 16 degrees
_UNSURE = 4.0  # [examples] the scale of so many is as unsure as the distances themselves
_APART = 4.0  # [that deviation] the rest is farther out at its middle: at twice the distance of members
_ROUNDS = 50
_PRIOR = 2.0  # examples that the typical distance of nearest neighbours is worth beside those given


def membership(examples: npt.NDArray[np.floating], others: npt.NDArray[np.floating]) -> Floats:
    """Return the probability that each descriptor belongs to the class of the examples.

    Parameters
    ----------
    examples
        Descriptors ``(k, d)`` of one class, five or so.
    others
        Descriptors ``(n, d)`` of the same network to be judged, the examples may be among them.

    Returns
    -------
    numpy.ndarray
        ``(n,)``, falling with the distance.

    Raises
    ------
    UsageError
        There are fewer than two examples, or descriptors of different lengths or with missing numbers.
    """
    shown, asked = np.asarray(examples, dtype=np.float64), np.asarray(others, dtype=np.float64)
    if shown.ndim != 2 or asked.ndim != 2 or shown.shape[1] != asked.shape[1] or len(shown) < 2:
        raise UsageError(
            f"examples have the shape {shown.shape} and the others {asked.shape}; expected two or more "
            "examples, and rows of one length in both"
        )
    if not (np.isfinite(shown).all() and np.isfinite(asked).all()):
        raise UsageError("a descriptor has a number that is not finite: leave that defect out")
    if not len(asked):
        return np.empty(0)
    left_out = np.square(shown - (shown.sum(axis=0) - shown) / (len(shown) - 1)).sum(axis=1)
    k = len(shown)
    left_out *= (k * k - 1) / (k * k)  # that to the mean of one less is as much farther off
    scale = (left_out.sum() + _PRIOR * _nearest(asked)) / (k + _PRIOR)
    spread = max(_NARROWEST, float(np.log(np.maximum(left_out, 1e-12) / max(scale, 1e-12)).std()))
    spread *= math.sqrt(1 + _UNSURE / k)
    distance = np.square(asked - shown.mean(axis=0)).sum(axis=1)
    return _posterior(np.log(np.maximum(distance, 1e-12) / max(scale, 1e-12)), spread)


def _nearest(points: Floats) -> float:
    """Return half of the median squared distance of nearest neighbours: what two of one kind differ by."""
    from scipy.spatial import cKDTree

    if len(points) < 2:
        return 0.0
    return float(np.median(np.square(cKDTree(points).query(points, k=2)[0][:, 1]))) / 2


def _posterior(far: Floats, spread: float) -> Floats:
    """Return the probability of the component around 0 ``(n,)``; `far` are logarithms of distances."""
    outside = far > 2 * spread
    if not outside.any():
        return np.ones(len(far))
    middle, share = max(float(far[outside].mean()), _APART * spread), 0.5
    width = max(float(far[outside].std()), spread)
    inside = np.clip(far, 0.0, None)  # nothing is too near
    probability = np.empty(len(far))
    for _ in range(_ROUNDS):
        near = share * _normal(inside, 0.0, spread)
        rest = (1 - share) * _normal(np.minimum(far, middle), middle, width)
        probability = near / np.maximum(near + rest, 1e-300)
        weight = 1 - probability
        if weight.sum() < 1:
            break
        share = float(np.clip(probability.mean(), 1 / len(far), 1 - 1 / len(far)))
        middle = max(float((weight * far).sum() / weight.sum()), _APART * spread)
        width = max(math.sqrt(float((weight * (far - middle) ** 2).sum() / weight.sum())), spread)
    return np.asarray(np.minimum.accumulate(probability[np.argsort(far)])[np.argsort(np.argsort(far))])


def _normal(value: Floats, middle: float, width: float) -> Floats:
    return np.asarray(np.exp(-0.5 * np.square((value - middle) / width)) / width)
