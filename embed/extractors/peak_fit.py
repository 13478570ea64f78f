"""Joint least-squares fit of round Gaussians to all atom columns of an image at once.

Every column has a height, a position, a width and an offset of its own. The image of all columns is
subtracted before each is refined against its own window, so neighbours whose tails overlap do not pull
one another: block-Jacobi Levenberg-Marquardt. Standard deviations are those of the linearised problem.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_ITERATIONS = 12
_DAMPING = 0.05  # of each block's diagonal: overlapping neighbours move at the same time
_FARTHEST = 0.5  # [window radius] a column that walks farther has left its peak
_DRAWN = 3.5  # [sigma] radius to which a neighbour's tail is drawn


@dataclass(frozen=True, slots=True)
class Fit:
    """Fitted columns; rows are in the order of the positions given.

    Parameters
    ----------
    x, y
        Position ``(n,)`` [pixel] from the centre of the top-left pixel.
    height
        Above the local background ``(n,)``.
    sigma
        Standard deviation of the Gaussian ``(n,)`` [pixel].
    sd
        Standard deviation of the position along one axis ``(n,)`` [pixel]; NaN where the fit failed.
    height_sd
        Standard deviation of the height ``(n,)``; NaN where the fit failed.
    """

    x: Floats
    y: Floats
    height: Floats
    sigma: Floats
    sd: Floats
    height_sd: Floats


def fit_gaussians(image: Floats, start: Floats, *, sigma: float, radius: float) -> Fit:
    """Fit all columns of an image.

    Parameters
    ----------
    image
        ``(y, x)``, finite, slow background removed.
    start
        First positions ``(n, 2)`` as x, y [pixel].
    sigma
        First guess of the width [pixel].
    radius
        Radius of each column's window [pixel], about half the distance of neighbours.
    """
    windows = _Windows.around(start, image.shape, radius=radius)
    state = np.column_stack((_heights(image, start), start, np.full(len(start), sigma)))
    covariance = np.full((len(start), 5, 5), np.nan)
    for _ in range(_ITERATIONS):
        rest = image - _render(state, image.shape, sigma=sigma)
        step, covariance = _step(windows, rest, state)
        state = _bounded(state + step[:, :4], start, sigma=sigma, radius=radius)
        if np.abs(step[:, 1:3]).max(initial=0.0) < 1e-3:  # [pixel] far below any photon limit
            break
    return _result(image, state, start, covariance=covariance, windows=windows, sigma=sigma, radius=radius)


@dataclass(frozen=True, slots=True)
class _Windows:
    """Pixels around each first position: flat index, coordinates, and 1 inside the round window."""

    flat: npt.NDArray[np.int64]
    x: Floats
    y: Floats
    inside: Floats

    @classmethod
    def around(cls, start: Floats, shape: tuple[int, ...], *, radius: float) -> _Windows:
        reach = math.ceil(radius)
        steps = np.arange(-reach, reach + 1)
        dy, dx = (part.ravel() for part in np.meshgrid(steps, steps, indexing="ij"))
        corner = np.rint(start).astype(np.int64)
        x, y = corner[:, :1] + dx, corner[:, 1:] + dy
        seen = (x >= 0) & (x < shape[1]) & (y >= 0) & (y < shape[0])
        round_ = np.hypot(x - start[:, :1], y - start[:, 1:]) <= radius
        flat = np.clip(y, 0, shape[0] - 1) * shape[1] + np.clip(x, 0, shape[1] - 1)
        inside = (seen & round_).astype(np.float64)
        return cls(flat, x.astype(np.float64), y.astype(np.float64), inside)


def _heights(image: Floats, start: Floats) -> Floats:
    corner = np.rint(start).astype(np.int64)
    x = np.clip(corner[:, 0], 0, image.shape[1] - 1)
    y = np.clip(corner[:, 1], 0, image.shape[0] - 1)
    return np.asarray(np.maximum(image[y, x] - np.median(image), image.std() * 0.1))


def _render(state: Floats, shape: tuple[int, ...], *, sigma: float) -> Floats:
    near = _Windows.around(state[:, 1:3], shape, radius=_DRAWN * sigma)
    value = _gaussian(state, near)[0] * near.inside
    total = np.bincount(near.flat.ravel(), value.ravel(), minlength=shape[0] * shape[1])
    return np.asarray(total.reshape(shape), dtype=np.float64)


def _gaussian(state: Floats, windows: _Windows) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    height, x, y, sigma = (column[:, None] for column in state.T)
    dx, dy = (windows.x - x) / sigma, (windows.y - y) / sigma
    shape = np.exp(-0.5 * (dx * dx + dy * dy))
    return height * shape, shape, dx, dy, np.broadcast_to(sigma, dx.shape)


def _step(windows: _Windows, rest: Floats, state: Floats) -> tuple[Floats, Floats]:
    """Return the damped Gauss-Newton step ``(n, 5)`` and the covariance ``(n, 5, 5)`` of each block."""
    value, shape, dx, dy, sigma = _gaussian(state, windows)
    gradient = np.stack(
        (
            shape,
            value * dx / sigma,
            value * dy / sigma,
            value * (dx * dx + dy * dy) / sigma,
            np.ones_like(shape),
        ),
        axis=-1,
    )
    gradient *= windows.inside[..., None]
    residual = rest.ravel()[windows.flat] * windows.inside
    normal = np.swapaxes(gradient, 1, 2) @ gradient
    right = np.swapaxes(gradient, 1, 2) @ residual[..., None]
    step = np.linalg.solve(_raised(normal, _DAMPING), right)[..., 0]
    left_over = residual - (gradient @ step[..., None])[..., 0]
    freedom = np.maximum(windows.inside.sum(axis=1) - 5, 1.0)
    variance = np.square(left_over).sum(axis=1) / freedom
    covariance = np.linalg.inv(_raised(normal, 1e-9)) * variance[:, None, None]
    return np.asarray(step), np.asarray(covariance)


def _raised(normal: Floats, share: float) -> Floats:
    """Return matrices ``(n, 5, 5)`` with their diagonals raised by a share, so that none is singular."""
    raised = normal.copy()
    index = np.arange(normal.shape[-1])
    raised[:, index, index] *= 1 + share
    raised[:, index, index] += 1e-30
    return raised


def _bounded(state: Floats, start: Floats, *, sigma: float, radius: float) -> Floats:
    state = np.where(
        np.isfinite(state), state, np.column_stack((np.zeros(len(start)), start, np.full(len(start), sigma)))
    )
    state[:, 0] = np.maximum(state[:, 0], 0.0)
    state[:, 1:3] = np.clip(state[:, 1:3], start - radius, start + radius)
    state[:, 3] = np.clip(state[:, 3], 0.6 * sigma, 1.6 * sigma)
    return state


def _result(
    image: Floats,
    state: Floats,
    start: Floats,
    *,
    covariance: Floats,
    windows: _Windows,
    sigma: float,
    radius: float,
) -> Fit:
    walked = np.hypot(*(state[:, 1:3] - start).T)
    failed = (walked > _FARTHEST * radius) | (state[:, 0] <= 0)
    if failed.any():
        state = state.copy()
        state[failed, 1:3] = _centroids(image, start, windows=windows, sigma=sigma)[failed]
        state[failed, 0] = _heights(image, start)[failed]
        state[failed, 3] = sigma
    sd = np.sqrt((covariance[:, 1, 1] + covariance[:, 2, 2]) / 2)
    height_sd = np.sqrt(covariance[:, 0, 0])
    sd[failed] = height_sd[failed] = np.nan
    return Fit(state[:, 1], state[:, 2], state[:, 0], state[:, 3], sd, height_sd)


def _centroids(image: Floats, start: Floats, *, windows: _Windows, sigma: float) -> Floats:
    """Return Gaussian-weighted centroids, iterated three times, for columns that no Gaussian fits."""
    level = image.ravel()[windows.flat]
    level = np.maximum(level - level.min(axis=1, keepdims=True), 0.0) * windows.inside
    centre = start.copy()
    for _ in range(3):
        distance = (windows.x - centre[:, :1]) ** 2 + (windows.y - centre[:, 1:]) ** 2
        weight = level * np.exp(-distance / (2 * sigma**2))
        total = weight.sum(axis=1) + 1e-30
        centre = (
            np.column_stack(((weight * windows.x).sum(axis=1), (weight * windows.y).sum(axis=1)))
            / total[:, None]
        )
    return centre
