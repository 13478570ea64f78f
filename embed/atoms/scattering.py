"""How much each column scatters: all columns of an image solved for at once.

Given places and a common profile, an image is linear in the strengths of its columns; weighted least squares
then has the smallest variance there is, smaller by half and more than heights of fits that leave width and
background free (De Backer et al., Ultramicroscopy 134, 23, 2013). The profile is a Gaussian core and a tail
twice as wide, whose share is taken from the image: what tails lay on a thin neighbour would be missed there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse import linalg

Floats = npt.NDArray[np.float64]

_TAILS = (0.0, 0.1, 0.2, 0.35, 0.5)  # share of the profile that is twice as wide
_CORES = (0.7, 0.85, 1.0, 1.15, 1.3)  # of the width of Gaussians that were fitted one by one
_BROADER = 2.0
_REACH = 6.4  # [width] of the profile
_REWEIGHTED = 4
_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class Scattering:
    """Integrated intensity of each column, in the image's unit times square pixels.

    Parameters
    ----------
    value
        ``(n,)``; of a column that is not there around zero.
    sd
        Its standard deviation by counting ``(n,)``.
    """

    value: Floats
    sd: Floats


def scattering(image: Floats, xy: Floats, sigma: float) -> Scattering:
    """Return the integrated intensity of the columns of an image, on an even background.

    Parameters
    ----------
    image
        ``(y, x)``, finite.
    xy
        Positions ``(n, 2)`` as x, y [pixel].
    sigma
        Width of a Gaussian that fits the columns [pixel].
    """
    core, tail = 1.0, _TAILS[2]
    for _ in range(2):
        core = min(_CORES, key=lambda one: _solve(image, xy, one * sigma, tail).charge)
        tail = min(_TAILS, key=lambda one: _solve(image, xy, core * sigma, one).charge)
    best = (core * sigma, tail)
    solution = _solve(image, xy, *best)
    return Scattering(solution.value, _deviations(solution.normal))


@dataclass(frozen=True, slots=True)
class _Solution:
    """Intensities ``(n,)``, the normal matrix they came from, and twice the negative log likelihood."""

    value: Floats
    normal: sparse.csc_array
    charge: float


def _solve(image: Floats, xy: Floats, sigma: float, tail: float) -> _Solution:
    design, seen = _design(xy, image.shape, sigma, tail)
    value = image.ravel()[seen]
    weight = np.ones(len(value))
    for _ in range(_REWEIGHTED):
        normal = sparse.csc_array(design.T @ design.multiply(weight[:, None]))
        solution = linalg.spsolve(normal, design.T @ (weight * value))
        expected = design @ solution
        square = np.square(value - expected)
        slope = max(float(np.cov(expected, square)[0, 1] / max(expected.var(), 1e-300)), 0.0)
        typical = square.mean() + 1e-300
        variance = np.maximum(typical + slope * (expected - expected.mean()), 0.1 * typical)
        weight = 1 / variance
    charge = float((np.log(variance) + square / variance).mean())
    return _Solution(np.asarray(solution[:-1]), normal, charge)


def _deviations(normal: sparse.csc_array) -> Floats:
    """Return the standard deviations of the columns ``(n,)``: roots of the diagonal of the inverse."""
    solver, n = linalg.splu(normal), normal.shape[0] - 1
    found = np.empty(n)
    for start in range(0, n, _AT_ONCE):
        stop = min(start + _AT_ONCE, n)
        unit = np.zeros((n + 1, stop - start))
        unit[np.arange(start, stop), np.arange(stop - start)] = 1.0
        found[start:stop] = np.diagonal(solver.solve(unit)[start:stop])
    return np.asarray(np.sqrt(found))


def _design(
    xy: Floats, shape: tuple[int, ...], sigma: float, tail: float
) -> tuple[sparse.csr_array, npt.NDArray[np.int64]]:
    """Return unit columns and an even background as a matrix, and the pixels its rows are."""
    steps = np.arange(-math.ceil(_REACH * sigma), math.ceil(_REACH * sigma) + 1)
    corner = np.rint(xy).astype(np.int64)
    x, y = corner[:, :1] + steps, corner[:, 1:] + steps
    value = (1 - tail) * _disc(x - xy[:, :1], y - xy[:, 1:], sigma)
    if tail:
        value = value + tail * _disc(x - xy[:, :1], y - xy[:, 1:], _BROADER * sigma)
    inside = ((y >= 0) & (y < shape[0]))[:, :, None] & ((x >= 0) & (x < shape[1]))[:, None, :]
    flat = (y[:, :, None] * shape[1] + x[:, None, :])[inside]
    column = np.broadcast_to(np.arange(len(xy))[:, None, None], inside.shape)[inside]
    seen, row = np.unique(flat, return_inverse=True)
    columns = sparse.csr_array((value[inside], (row, column)), shape=(len(seen), len(xy)))
    return sparse.csr_array(sparse.hstack([columns, np.ones((len(seen), 1))])), seen


def _disc(x: Floats, y: Floats, sigma: float) -> Floats:
    """Return normal densities ``(n, y, x)`` at offsets ``(n, x)`` and ``(n, y)``."""
    across, down = (np.exp(-0.5 * np.square(offset / sigma)) for offset in (x, y))
    return np.asarray(down[:, :, None] * across[:, None, :] / (2 * math.pi * sigma**2))
