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
    solution = _solve(image, xy, *_profile(image, xy, sigma))
    return Scattering(solution.value, _deviations(solution.normal, len(xy)))


def intensities(image: Floats, xy: Floats, sigma: float, *, tail: float, knots: float) -> Floats:
    """Return the integrated intensity of places ``(n,)`` on a smooth background, by a known profile.

    Parameters
    ----------
    image, xy
        As for `scattering`; a place where there is no column has about zero.
    sigma
        Width of the core [pixel].
    tail
        Share of the profile that is twice as wide.
    knots
        Distance of the knots of the background's cubic splines [pixel].
    """
    return _solve(image, xy, sigma, tail, knots=knots).value


def _profile(image: Floats, xy: Floats, sigma: float) -> tuple[float, float]:
    """Return the width of the core [pixel] and the share of the tail under which the image is likeliest."""
    core, tail = 1.0, _TAILS[2]
    for _ in range(2):
        core = min(_CORES, key=lambda one: _solve(image, xy, one * sigma, tail).charge)
        tail = min(_TAILS, key=lambda one: _solve(image, xy, core * sigma, one).charge)
    return core * sigma, tail


@dataclass(frozen=True, slots=True)
class _Solution:
    """Intensities ``(n,)``, the normal matrix they came from, and twice the negative log likelihood."""

    value: Floats
    normal: sparse.csc_array
    charge: float


def _solve(image: Floats, xy: Floats, sigma: float, tail: float, *, knots: float | None = None) -> _Solution:
    design, seen = _design(xy, image.shape, sigma, tail, knots=knots)
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
    return _Solution(np.asarray(solution[: len(xy)]), normal, charge)


def _deviations(normal: sparse.csc_array, n: int) -> Floats:
    """Return the standard deviations of the `n` columns: roots of the diagonal of the inverse."""
    solver = linalg.splu(normal)
    found = np.empty(n)
    for start in range(0, n, _AT_ONCE):
        stop = min(start + _AT_ONCE, n)
        unit = np.zeros((normal.shape[0], stop - start))
        unit[np.arange(start, stop), np.arange(stop - start)] = 1.0
        found[start:stop] = np.diagonal(solver.solve(unit)[start:stop])
    return np.asarray(np.sqrt(found))


def _design(
    xy: Floats, shape: tuple[int, ...], sigma: float, tail: float, *, knots: float | None
) -> tuple[sparse.csr_array, npt.NDArray[np.int64]]:
    """Return unit columns and the background as a matrix, and the pixels its rows are."""
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
    behind = np.ones((len(seen), 1)) if knots is None else splines(seen, shape, knots)
    return sparse.csr_array(sparse.hstack([columns, behind])), seen


def splines(seen: npt.NDArray[np.int64], shape: tuple[int, ...], knots: float) -> sparse.csr_array:
    """Return uniform cubic B-splines ``(pixels, splines)`` at the pixels of an image of that shape."""
    found = None
    for place, size in zip(np.divmod(seen, shape[1]), shape, strict=True):
        count = max(round(size / knots), 1)
        at = (place + 0.5) * count / size
        whole = np.minimum(at.astype(np.int64), count - 1)
        t = (at - whole)[:, None]
        value = np.hstack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]) / 6
        index = whole[:, None] + np.arange(4)
        if found is None:
            found = value, index
        else:
            value = (found[0][:, :, None] * value[:, None, :]).reshape(len(seen), 16)
            index = (found[1][:, :, None] * (count + 3) + index[:, None, :]).reshape(len(seen), 16)
    used, column = np.unique(index, return_inverse=True)
    row = np.repeat(np.arange(len(seen)), 16)
    return sparse.csr_array((value.ravel(), (row, column.ravel())), shape=(len(seen), len(used)))


def _disc(x: Floats, y: Floats, sigma: float) -> Floats:
    """Return normal densities ``(n, y, x)`` at offsets ``(n, x)`` and ``(n, y)``."""
    across, down = (np.exp(-0.5 * np.square(offset / sigma)) for offset in (x, y))
    return np.asarray(down[:, :, None] * across[:, None, :] / (2 * math.pi * sigma**2))
