"""Tilings of the field: Voronoi cells, and Laguerre cells whose sizes can be chosen."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from micdb.embed.simulate.microstructures.view import View

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_CANDIDATES = 12  # places tried for each grain, of which the emptiest is taken (Mitchell 1991)


@dataclass(frozen=True, slots=True)
class Cells:
    """A tiling by the nearest of a set of points.

    Parameters
    ----------
    index
        Cell of each pixel ``(y, x)``.
    boundary
        Distance of each pixel to the nearest boundary ``(y, x)`` [nm].
    seeds
        The points ``(n, 2)`` x, y [nm], and a third coordinate in a Laguerre tiling.
    neighbours
        Points compared for the distance.
    """

    index: Ints
    boundary: Floats
    seeds: Floats
    neighbours: int

    @property
    def count(self) -> int:
        """Cells, also those outside the field."""
        return len(self.seeds)

    def at(self, points: Floats) -> tuple[Ints, Floats]:
        """Return cell and distance to its boundary [nm] of points ``(m, 2)`` x, y [nm]."""
        return _nearest(self.seeds, points, self.neighbours)


def voronoi(view: View, *, size: float, rng: np.random.Generator, neighbours: int = 2) -> Cells:
    """Return cells around random points, one per `size` squared (Poisson-Voronoi tiling).

    Parameters
    ----------
    view
        Field of view.
    size
        Root of the mean area [nm].
    rng
        Of the points.
    neighbours
        Points compared for the distance to the boundary: 2 is right close to it, 6 nearly everywhere.
    """
    height, width = view.extent
    margin = 2 * size
    count = max(4, round((height + 2 * margin) * (width + 2 * margin) / size**2))
    return _tiling(view, view.scatter(count, rng, margin), neighbours)


def laguerre(
    view: View, *, size: float, spread: float, rng: np.random.Generator, neighbours: int = 4
) -> Cells:
    """Return cells about circles whose radii are log-normal (Fan et al., Comput. Mater. Sci. 29, 139, 2004).

    Large circles are placed first, each where there is most room. The power distance to a circle is an
    ordinary distance in three dimensions, where the third is that by which its radius falls short.

    Parameters
    ----------
    view
        Field of view.
    size
        Root of the mean area [nm].
    spread
        Standard deviation of the logarithm of the circles' radii.
    rng
        Of radii and places.
    neighbours
        As in `voronoi`.
    """
    height, width = view.extent
    margin = 2 * size
    count = max(6, round((height + 2 * margin) * (width + 2 * margin) / size**2))
    radius = np.sort(np.exp(rng.normal(0.0, spread, count)))[::-1]
    # circles of mean area 0.6 size**2: those placed at random without much overlap fill about that much
    radius *= size * math.sqrt(0.6 / math.pi / np.mean(radius**2))
    trials = rng.uniform([-margin, -margin], [width + margin, height + margin], (count, _CANDIDATES, 2))
    xy = trials[:, 0].copy()
    for number in range(1, count):
        offset = trials[number][:, None, :] - xy[None, :number]
        room = (np.sqrt((offset * offset).sum(axis=2)) - radius[:number]).min(axis=1)
        xy[number] = trials[number, int(np.argmax(room))]
    lift = np.sqrt(radius.max() ** 2 - radius**2)
    return _tiling(view, np.column_stack((xy, lift)), neighbours)


def _tiling(view: View, seeds: Floats, neighbours: int) -> Cells:
    index, boundary = _nearest(seeds, view.points(), neighbours)
    return Cells(index.reshape(view.shape), boundary.reshape(view.shape), seeds, neighbours)


def _nearest(seeds: Floats, points: Floats, neighbours: int) -> tuple[Ints, Floats]:
    """Return the nearest seed, and the distance to the nearest of the lines that part it from others."""
    lifted = np.column_stack((points, np.zeros(len(points)))) if seeds.shape[1] == 3 else points
    near, index = cKDTree(seeds).query(lifted, k=min(neighbours, len(seeds)))
    place = seeds[:, :2]
    gap = np.linalg.norm(place[index[:, :1]] - place[index[:, 1:]], axis=2)
    boundary = (near[:, 1:] ** 2 - near[:, :1] ** 2) / (2 * np.maximum(gap, 1e-9))
    return index[:, 0], boundary.min(axis=1)
