"""Joint weighted fit of Gaussian columns to an image: positions near the limit that counting sets.

Every column has a height, a position, a width and an offset of its own. The image of all columns is
subtracted before each is refined against its own window, so that neighbours whose tails overlap do not pull
one another (block-Jacobi Gauss-Newton with momentum). Pixels weigh by the inverse of their variance, which
grows with the model's own brightness as counting statistics do; its two numbers come from the residuals of
the image itself, so neither gain nor offset of the detector needs to be known. For Poisson counts this is
the iteratively re-weighted form of maximum likelihood (Green, J. R. Stat. Soc. B 46, 149, 1984), whose
standard deviations reach the Cramer-Rao bound (van Aert et al., Ultramicroscopy 104, 83, 2005).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_ITERATIONS = 25
_FEWEST = 5  # before that the residuals tell of the first guesses
_SETTLED = 0.03  # [standard deviation of the position] a move that no longer matters
_FINEST = 2e-3  # [pixel]
_MOMENTUM = 0.3  # of the move before: overlapping neighbours creep towards their places otherwise
_DAMPING = 0.05  # of each block's diagonal: overlapping neighbours move at the same time
_DRAWN = 3.5  # [sigma] radius to which a neighbour's tail is drawn
_FARTHEST = 0.5  # [window radius] a column that walks farther has left its peak
_WIDTHS = (0.6, 1.6)  # of the typical width: what is sharper is noise, what is broader is background


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


def fit_gaussians(
    image: Floats, start: Floats, *, sigma: float, radius: float, background: Floats | None = None
) -> Fit:
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
        Radius of each column's window [pixel].
    background
        What was removed ``(y, x)``: its counts make noise too. None when it is even.
    """
    if not len(start):
        return Fit(*(np.empty(0) for _ in Fit.__slots__))
    windows = _Windows.around(start, image, radius=radius)
    level = None if background is None else windows.values(background)
    state = np.column_stack((_heights(image, start), start, np.full(len(start), sigma)))
    weight, move = windows.inside, np.zeros_like(state)
    for iteration in range(_ITERATIONS):
        rest = windows.values(image - _render(state, image.shape, reach=_DRAWN * sigma))
        step, covariance, left_over = _step(windows, rest, state, weight)
        before, state = state, _bounded(state + step + _MOMENTUM * move, start, sigma=sigma, radius=radius)
        move = state - before
        if iteration >= 1:
            settled = max(_FINEST, _SETTLED * float(np.median(_sd(covariance))))
            if iteration >= _FEWEST and np.quantile(np.abs(step[:, 1:4]), 0.9) < settled:
                break
            own = _gaussian(windows, state)[0]
            weight = windows.inside / _variance(own if level is None else own + level, left_over, windows)
    return _result(image, state, start, covariance=covariance, windows=windows, sigma=sigma, radius=radius)


@dataclass(frozen=True, slots=True)
class _Windows:
    """Square windows around first positions: flat indices, offsets of their centres, 1 inside the circle."""

    flat: npt.NDArray[np.int64]  # (n, w * w)
    corner: Floats  # (n, 2) centre pixel, x and y
    steps: Floats  # (w,)
    inside: Floats  # (n, w * w)

    @classmethod
    def around(cls, start: Floats, image: Floats, *, radius: float) -> _Windows:
        reach = math.ceil(radius)
        steps = np.arange(-reach, reach + 1)
        corner = np.rint(start).astype(np.int64)
        x, y = corner[:, :1] + steps, corner[:, 1:] + steps
        seen_x, seen_y = (x >= 0) & (x < image.shape[1]), (y >= 0) & (y < image.shape[0])
        across, down = (x - start[:, :1]) ** 2, (y - start[:, 1:]) ** 2
        round_ = down[:, :, None] + across[:, None, :] <= radius**2
        inside = round_ & seen_y[:, :, None] & seen_x[:, None, :]
        rows = np.clip(y, 0, image.shape[0] - 1) * image.shape[1]
        flat = rows[:, :, None] + np.clip(x, 0, image.shape[1] - 1)[:, None, :]
        n = len(start)
        return cls(flat.reshape(n, -1), corner.astype(float), steps.astype(float),
                   inside.reshape(n, -1).astype(float))  # fmt: skip

    def values(self, image: Floats) -> Floats:
        """Return the pixels of an image in each window ``(n, w * w)``."""
        return np.asarray(image.ravel()[self.flat])


def _heights(image: Floats, start: Floats) -> Floats:
    corner = np.rint(start).astype(np.int64)
    x = np.clip(corner[:, 0], 0, image.shape[1] - 1)
    y = np.clip(corner[:, 1], 0, image.shape[0] - 1)
    return np.asarray(np.maximum(image[y, x] - np.median(image), image.std() * 0.1))


def _render(state: Floats, shape: tuple[int, ...], *, reach: float) -> Floats:
    """Return the image ``(y, x)`` of all columns together."""
    steps = np.arange(-math.ceil(reach), math.ceil(reach) + 1)
    corner = np.rint(state[:, 1:3]).astype(np.int64)
    x, y = corner[:, :1] + steps, corner[:, 1:] + steps
    across = np.exp(-0.5 * ((x - state[:, 1:2]) / state[:, 3:]) ** 2) * ((x >= 0) & (x < shape[1]))
    down = np.exp(-0.5 * ((y - state[:, 2:3]) / state[:, 3:]) ** 2) * ((y >= 0) & (y < shape[0]))
    value = (state[:, :1] * down)[:, :, None] * across[:, None, :]
    flat = (np.clip(y, 0, shape[0] - 1) * shape[1])[:, :, None] + np.clip(x, 0, shape[1] - 1)[:, None, :]
    total = np.bincount(flat.ravel(), value.ravel(), minlength=shape[0] * shape[1])
    return np.asarray(total.reshape(shape), dtype=np.float64)


def _gaussian(windows: _Windows, state: Floats) -> tuple[Floats, Floats]:
    """Return each column's own image in its window ``(n, w * w)``, and its gradient ``(n, w * w, 5)``."""
    height, sigma = state[:, 0, None], state[:, 3, None]
    u = (windows.steps - (state[:, 1:2] - windows.corner[:, :1])) / sigma
    v = (windows.steps - (state[:, 2:3] - windows.corner[:, 1:])) / sigma
    across, down = np.exp(-0.5 * u * u), np.exp(-0.5 * v * v)
    tall = height / sigma * down
    n, width = u.shape
    gradient = np.empty((n, width, width, 5))
    gradient[..., 0] = down[:, :, None] * across[:, None, :]
    gradient[..., 1] = tall[:, :, None] * (across * u)[:, None, :]
    gradient[..., 2] = (tall * v)[:, :, None] * across[:, None, :]
    gradient[..., 3] = tall[:, :, None] * (across * u * u)[:, None, :]
    gradient[..., 3] += (tall * v * v)[:, :, None] * across[:, None, :]
    gradient[..., 4] = 1.0
    flat = gradient.reshape(n, -1, 5)
    return height * flat[..., 0], flat


def _step(windows: _Windows, rest: Floats, state: Floats, weight: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the step ``(n, 4)``, the covariance ``(n, 5, 5)`` of each block and what is left in it."""
    _, gradient = _gaussian(windows, state)
    weighted = np.swapaxes(gradient * weight[..., None], 1, 2)
    normal = weighted @ gradient
    step = np.linalg.solve(_raised(normal, _DAMPING), weighted @ rest[..., None])
    left_over = rest - (gradient @ step)[..., 0]
    freedom = np.maximum(windows.inside.sum(axis=1) - 5, 1.0)
    scale = (weight * np.square(left_over)).sum(axis=1) / freedom
    covariance = np.linalg.inv(_raised(normal, 1e-9)) * scale[:, None, None]
    return np.asarray(step[:, :4, 0]), np.asarray(covariance), np.asarray(left_over)


def _variance(level: Floats, left_over: Floats, windows: _Windows) -> Floats:
    """Return the variance of each pixel: a straight line of its brightness through the residuals."""
    inside = windows.inside > 0
    bright, square = level[inside], np.square(left_over[inside])
    mean, spread = bright.mean(), bright.var()
    slope = max(float(((bright - mean) * square).mean() / max(spread, 1e-300)), 0.0)
    typical = float(square.mean())
    return np.asarray(np.maximum(typical + slope * (level - mean), 0.1 * typical) + 1e-300)


def _raised(normal: Floats, share: float) -> Floats:
    """Return matrices ``(n, 5, 5)`` with their diagonals raised by a share, so that none is singular."""
    raised = normal.copy()
    index = np.arange(normal.shape[-1])
    raised[:, index, index] *= 1 + share
    raised[:, index, index] += 1e-30
    return raised


def _bounded(state: Floats, start: Floats, *, sigma: float, radius: float) -> Floats:
    lost = ~np.isfinite(state).all(axis=1)
    state[lost] = np.column_stack((np.zeros(lost.sum()), start[lost], np.full(lost.sum(), sigma)))
    state[:, 0] = np.maximum(state[:, 0], 0.0)
    state[:, 1:3] = np.clip(state[:, 1:3], start - radius, start + radius)
    state[:, 3] = np.clip(state[:, 3], _WIDTHS[0] * sigma, _WIDTHS[1] * sigma)
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
    failed = (np.hypot(*(state[:, 1:3] - start).T) > _FARTHEST * radius) | (state[:, 0] <= 0)
    if failed.any():
        state[failed, 1:3] = _centroids(image, start, windows=windows, sigma=sigma)[failed]
        state[failed, 0] = _heights(image, start)[failed]
        state[failed, 3] = sigma
    sd = _sd(covariance)
    height_sd = np.sqrt(covariance[:, 0, 0])
    sd[failed] = height_sd[failed] = np.nan
    return Fit(state[:, 1], state[:, 2], state[:, 0], state[:, 3], sd, height_sd)


def _sd(covariance: Floats) -> Floats:
    return np.asarray(np.sqrt((covariance[:, 1, 1] + covariance[:, 2, 2]) / 2))


def _centroids(image: Floats, start: Floats, *, windows: _Windows, sigma: float) -> Floats:
    """Return Gaussian-weighted centroids, iterated three times, for columns that no Gaussian fits."""
    level = windows.values(image)
    level = np.maximum(level - level.min(axis=1, keepdims=True), 0.0) * windows.inside
    width = len(windows.steps)
    x = windows.corner[:, :1] + np.tile(windows.steps, width)
    y = windows.corner[:, 1:] + np.repeat(windows.steps, width)
    centre = start.copy()
    for _ in range(3):
        weight = level * np.exp(-((x - centre[:, :1]) ** 2 + (y - centre[:, 1:]) ** 2) / (2 * sigma**2))
        total = weight.sum(axis=1) + 1e-30
        centre = np.column_stack(((weight * x).sum(axis=1), (weight * y).sum(axis=1))) / total[:, None]
    return centre
