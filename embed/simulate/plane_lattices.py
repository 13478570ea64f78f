"""Plane lattices of all five Bravais types, in pixels: single, mixed and strained, with jitter and vacancies.

For what asks only for geometry; `micdb.embed.simulate.lattices` has the materials.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from micdb.errors import UsageError

Floats = npt.NDArray[np.float64]

_RATIO = (1.12, 1.7)  # of the sides of rectangular and oblique cells
_APART = 0.06  # least share by which an oblique cell misses a more symmetric one


def random_cell(kind: str, *, seed: int, spacing: tuple[float, float] = (8.0, 16.0)) -> Floats:
    """Return cell vectors ``(2, 2)`` [pixel] as rows x, y, turned at random.

    Parameters
    ----------
    kind
        One of `micdb.embed.lattice.bravais.TYPES`.
    seed
        Of size, shape and direction.
    spacing
        Least and greatest length of the shorter vector [pixel].
    """
    rng = np.random.default_rng(seed)
    a, ratio, gamma = rng.uniform(*spacing), 1.0, 90.0
    if kind == "hexagonal":
        gamma = 120.0
    elif kind == "rectangular":
        ratio = rng.uniform(*_RATIO)
    elif kind == "centred rectangular":  # a flat or a steep rhomb; the first is at least 5 deg from special
        gamma = rng.uniform(97, 115) if rng.random() < 0.5 else rng.uniform(125, 135)
    elif kind == "oblique":
        ratio, gamma = rng.uniform(*_RATIO), rng.uniform(95, 114)
        while abs(-ratio * math.cos(math.radians(gamma)) - 0.5) < _APART:  # else it is centred
            ratio, gamma = rng.uniform(*_RATIO), rng.uniform(95, 114)
    elif kind != "square":
        raise UsageError(f"{kind!r} is no Bravais type of the plane; expected for example 'oblique'")
    angle, turn = math.radians(gamma), rng.uniform(0, 2 * math.pi)
    vectors = a * np.array([[1.0, 0.0], [ratio * math.cos(angle), ratio * math.sin(angle)]])
    rotation = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    return np.asarray(vectors @ rotation)


def even_cell(kind: str, *, seed: int, spacing: float = 10.0, longest: float = 2.0) -> Floats:
    """Return a cell ``(2, 2)`` [pixel] of a shape drawn evenly from its type, close to special ones or not.

    Evenly in the Selling parameters over their sum, as `micdb.embed.lattice.bravais` expects them.

    Parameters
    ----------
    kind
        One of `micdb.embed.lattice.bravais.TYPES`.
    seed
        Of shape and direction.
    spacing
        Length of the shorter vector [pixel].
    longest
        Greatest ratio of the two lengths.
    """
    rng = np.random.default_rng(seed)
    thin, hexagonal, square = np.zeros(2), np.array([1 / 3, 1 / 3]), np.array([0.0, 0.5])
    while True:
        u, v = np.sort(rng.random(2))
        other = square if rng.random() < 0.5 else thin
        p, q = {
            "oblique": u * hexagonal + (v - u) * square,
            "rectangular": u * square,
            "centred rectangular": hexagonal + u * (other - hexagonal),
            "square": square,
            "hexagonal": hexagonal,
        }[kind]
        aa, bb, ab = p + q, 1 - q, -p  # a.a, b.b and a.b, the parameters' sum being 1
        if aa > 0 and bb <= longest**2 * aa:
            break
    vectors = np.array([[math.sqrt(aa), 0.0], [ab / math.sqrt(aa), math.sqrt(bb - ab**2 / aa)]])
    turn = rng.uniform(0, 2 * math.pi)
    rotation = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    return np.asarray(vectors @ rotation * spacing / math.sqrt(aa))


def distorted(vectors: Floats, distortion: float, *, seed: int) -> Floats:
    """Return vectors ``(2, 2)`` under a random affine distortion, `distortion` its standard deviation."""
    xx, yy, xy = np.random.default_rng(seed).normal(0.0, distortion, 3)
    xy /= math.sqrt(2)  # then every direction is stretched by as much
    return np.asarray(vectors @ (np.eye(2) + np.array([[xx, xy], [xy, yy]])))


def lattice_points(
    vectors: Floats,
    shape: tuple[int, int],
    *,
    seed: int,
    sites: tuple[tuple[float, float], ...] = ((0.0, 0.0),),
    jitter: float = 0.0,
    vacancies: float = 0.0,
    displacement: Callable[[Floats], Floats] | None = None,
    margin: float = 20.0,
) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Return the points of a lattice in a field of view.

    Parameters
    ----------
    vectors
        ``(2, 2)`` [pixel].
    shape
        ``(y, x)`` [pixel].
    seed
        Of origin, jitter and vacancies.
    sites
        Fractional positions in the cell.
    jitter
        Standard deviation of each point along each axis, as a share of the shorter vector.
    vacancies
        Probability that a point is missing.
    displacement
        Displacements ``(n, 2)`` [pixel] of points ``(n, 2)``, for a strained lattice.
    margin
        Points that far outside are kept too [pixel].

    Returns
    -------
    xy, site
        ``(n, 2)`` [pixel] and the index of each point's site ``(n,)``.
    """
    rng = np.random.default_rng(seed)
    reach = math.hypot(*shape) / 2 + 2 * margin
    count = int(np.ceil(reach * np.linalg.norm(np.linalg.inv(vectors), axis=0).max())) + 1
    steps = np.arange(-count, count + 1)
    cells = np.stack(np.meshgrid(steps, steps, indexing="ij"), axis=-1).reshape(-1, 1, 2)
    fractional = (cells + np.array(sites) + rng.random(2)).reshape(-1, 2)
    site = np.tile(np.arange(len(sites)), len(cells))
    xy = fractional @ vectors + np.array(shape[::-1]) / 2
    xy = xy if displacement is None else xy + displacement(xy)
    xy = xy + rng.normal(0.0, jitter * float(np.hypot(*vectors.T).min()), xy.shape)
    kept = (rng.random(len(xy)) >= vacancies) & (xy > -margin).all(axis=1)
    kept &= (xy < np.array(shape[::-1]) + margin).all(axis=1)
    return xy[kept], site[kept]


def blobs(xy: Floats, shape: tuple[int, int], *, sigma: float, height: Floats | None = None) -> Floats:
    """Return an image ``(y, x)`` of round Gaussians of width `sigma` [pixel] at positions ``(n, 2)``."""
    reach = math.ceil(4 * sigma)
    steps = np.arange(-reach, reach + 1)
    corner = np.rint(xy).astype(np.int64)
    x, y = corner[:, :1] + steps, corner[:, 1:] + steps
    across, down = (np.exp(-0.5 * ((axis - xy[:, k : k + 1]) / sigma) ** 2) for k, axis in enumerate((x, y)))
    down = down if height is None else down * height[:, None]
    padded = np.zeros((shape[0] + 2, shape[1] + 2))  # what lies outside falls into the border
    rows, columns = np.clip(y, -1, shape[0]) + 1, np.clip(x, -1, shape[1]) + 1
    np.add.at(padded, (rows[:, :, None], columns[:, None, :]), down[:, :, None] * across[:, None, :])
    return padded[1:-1, 1:-1]


def with_noise(image: Floats, *, snr: float, seed: int) -> Floats:
    """Return an image of unit standard deviation with white noise of standard deviation ``1 / snr``."""
    spread = float(image.std())
    clean = (image - image.mean()) / spread if spread > 0 else image
    return np.asarray(clean + np.random.default_rng(seed).normal(0.0, 1 / snr, image.shape))
