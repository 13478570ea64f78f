"""How many atoms stand in each column, by how strongly it scatters: statistics of all columns together.

A column of n atoms scatters n times as much as one atom; how much that is, is found from the columns
themselves. Their intensities lie around equal steps, and of all steps that is taken under which they do so
most likely: a comb of normal distributions whose widths are known from counting, so that a finer comb has no
advantage (Van Aert et al., Phys. Rev. B 87, 064107, 2013, with free components). Columns of a crystal stand
beside columns of about the same height; that prior, whose strength is found too, settles what counting leaves
open. Where several steps are likely, the probabilities are those over all of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.integer]

MOST = 40  # atoms in a column; one more than that is not told apart
_SPREAD = 0.01  # of columns of the same height, beyond counting statistics
_STEPS = 250  # steps tried, evenly in logarithm
_UNSURE = 0.5  # [log] of the expected height of the tallest column
_FOREIGN = 0.03  # share of columns of any intensity: an adatom, dirt, a false one
_UNLIKELY = 5.0  # [log likelihood] below the best step: left out
_SHARES = 40  # iterations
_SMOOTHED = 30  # iterations
_COUPLINGS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0)  # [1/atom]
# What neighbours say is not independent: for the number of a column all together count as so many,
_INDEPENDENT = 2.0
_PAIR = 0.15  # and for the step each pair counts as so much of a column


@dataclass(frozen=True, slots=True)
class Heights:
    """Atoms of each column.

    Parameters
    ----------
    atoms
        Most probable number ``(n,)``.
    probability
        Of that number ``(n,)``.
    step
        Scattering of one atom, in the unit given.
    coupling
        How strongly neighbours agree: differing by one atom more has odds of exp(-coupling).
    """

    atoms: npt.NDArray[np.int64]
    probability: Floats
    step: float
    coupling: float


def count(
    value: Floats, sd: Floats, i: Ints, j: Ints, *, step: float | None = None, tallest: float | None = None
) -> Heights:
    """Return the number of atoms in each column.

    Parameters
    ----------
    value
        Integrated intensity of the columns ``(n,)``.
    sd
        Its standard deviation by counting ``(n,)``.
    i, j
        Neighbours ``(m,)``, each pair once.
    step
        Intensity of one atom where it is known; None to find it.
    tallest
        Number of atoms to expect in the tallest column, within a factor of about 1.6: from the shape of a
        particle, say. None when anything up to `MOST` is as likely.
    """
    steps = [(step, 1.0)] if step is not None else one_atom(value, sd, i, j, tallest)
    solved = [_solve(value, sd, i, j, one) for one, _ in steps]
    most = max(belief.shape[1] for belief, _ in solved)
    total = np.zeros((len(value), most))
    for (_, weight), (belief, _) in zip(steps, solved, strict=True):
        total[:, : belief.shape[1]] += weight * belief
    atoms = np.argmax(total, axis=1)
    return Heights(atoms + 1, total[np.arange(len(atoms)), atoms], steps[0][0], solved[0][1])


def one_atom(
    value: Floats, sd: Floats, i: Ints, j: Ints, tallest: float | None = None
) -> list[tuple[float, float]]:
    """Return the likely intensities of one atom and their probabilities, the likeliest first."""
    positive = value > 0
    number, kept = np.cumsum(positive) - 1, positive[i] & positive[j]
    i, j, value, sd = number[i[kept]], number[j[kept]], value[positive], sd[positive]
    steps = np.geomspace(value.max() / MOST, np.quantile(value, 0.3) * 1.3, _STEPS)
    likely = np.array([_likelihood(value, sd, i, j, float(step)) for step in steps])
    if tallest is not None:
        likely -= 0.5 * np.square(np.log(value.max() / steps / tallest) / _UNSURE)
    peaks = np.flatnonzero((likely >= np.roll(likely, 1)) & (likely >= np.roll(likely, -1)))
    peaks = peaks[likely[peaks] > likely.max() - _UNLIKELY]
    peaks = peaks[np.argsort(-likely[peaks], kind="stable")]
    weight = np.exp(likely[peaks] - likely.max())
    return [(float(step), float(one)) for step, one in zip(steps[peaks], weight / weight.sum(), strict=True)]


def _likelihood(value: Floats, sd: Floats, i: Ints, j: Ints, step: float) -> float:
    density = _density(value, sd, step)
    # each of the equal steps up to the largest is as likely: finer ones are more, and each less likely;
    # and a few columns are none of the crystal's
    comb = np.logaddexp.reduce(density, axis=1) - math.log(value.max() / step)
    columns = np.logaddexp(math.log(1 - _FOREIGN) + comb, math.log(_FOREIGN / value.max())).sum()
    return float(columns) + _PAIR * _agreement(_normalised(density), i, j)[1]


def _solve(value: Floats, sd: Floats, i: Ints, j: Ints, step: float) -> tuple[Floats, float]:
    """Return the belief in 1, 2, ... atoms ``(n, most)`` for a step, and the coupling."""
    density = _density(value, sd, step)
    share = np.full(density.shape[1], 1 / density.shape[1])
    for _ in range(_SHARES):
        belief = _normalised(density + np.log(share))
        share = (belief.sum(axis=0) + 0.5) / (len(value) + 0.5 * len(share))
    logs = density + np.log(share)
    coupling, _ = _agreement(_normalised(logs), i, j)
    return _smoothed(logs, i, j, coupling), coupling


def _density(value: Floats, sd: Floats, step: float) -> Floats:
    """Return the log density of each intensity for 1, 2, ... atoms ``(n, most)``."""
    mean = step * np.arange(1, min(math.ceil(value.max() / step + 0.5), 2 * MOST) + 1)
    variance = sd[:, None] ** 2 + (_SPREAD * mean) ** 2
    return np.asarray(-0.5 * np.log(2 * math.pi * variance) - 0.5 * (value[:, None] - mean) ** 2 / variance)


def _agreement(belief: Floats, i: Ints, j: Ints) -> tuple[float, float]:
    """Return the coupling under which neighbours' beliefs ``(n, most)`` agree best, and how well they do.

    That is the log likelihood of the pairs over that of columns which know nothing of one another.
    """
    if not len(i):
        return 0.0, 0.0
    share = belief.mean(axis=0)
    alone, apart = np.log(belief[j] @ share + 1e-300).sum(), _apart(len(share))
    best = (0.0, 0.0)
    for coupling in _COUPLINGS:
        prior = np.exp(-coupling * apart) * share
        prior /= prior.sum(axis=1, keepdims=True)
        together = np.log(np.einsum("pa,pa->p", belief[i] @ prior, belief[j]) + 1e-300).sum()
        best = max(best, (coupling, float(together - alone)), key=lambda one: one[1])
    return best


def _smoothed(logs: Floats, i: Ints, j: Ints, coupling: float) -> Floats:
    """Return beliefs ``(n, most)`` after neighbours have talked them over: mean field, damped."""
    belief, apart = _normalised(logs), _apart(logs.shape[1])
    degree = np.bincount(np.concatenate((i, j)).astype(np.int64), minlength=len(logs))
    weight = coupling * np.minimum(1.0, _INDEPENDENT / np.maximum(degree, 1))
    for _ in range(_SMOOTHED):
        cost, field = belief @ apart, np.zeros_like(belief)
        np.add.at(field, i, cost[j])
        np.add.at(field, j, cost[i])
        belief = 0.5 * belief + 0.5 * _normalised(logs - weight[:, None] * field)
    return belief


def _apart(most: int) -> Floats:
    number = np.arange(most, dtype=float)
    return np.asarray(np.abs(number[:, None] - number))


def _normalised(logs: Floats) -> Floats:
    value = np.exp(logs - logs.max(axis=1, keepdims=True))
    return np.asarray(value / value.sum(axis=1, keepdims=True))
