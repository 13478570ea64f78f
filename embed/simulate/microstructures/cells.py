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
_AROUND = 24  # closest points among which those of the adjoining cells are
_SAMPLES = 30  # points per cell by which areas are fitted
_SWEEPS = 12
_STEP = 0.2  # [weight per area]; 1 / pi would be that of a circle alone


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
    """

    index: Ints
    boundary: Floats
    seeds: Floats

    @property
    def count(self) -> int:
        """Cells, also those outside the field."""
        return len(self.seeds)

    def at(self, points: Floats) -> tuple[Ints, Floats]:
        """Return cell and distance to its boundary [nm] of points ``(m, 2)`` x, y [nm]."""
        index = _nearest(self.seeds, points)
        return index, _boundary(self.seeds, points, index)


def voronoi(view: View, *, size: float, rng: np.random.Generator, exact: bool = False) -> Cells:
    """Return cells around random points, one per `size` squared (Poisson-Voronoi tiling).

    Parameters
    ----------
    view
        Field of view.
    size
        Root of the mean area [nm].
    rng
        Of the points.
    exact
        Whether distances to the boundary are right everywhere; if not, they are close to it.
    """
    seeds, points = middles(view, size=size, rng=rng), view.points()
    if exact:
        return _tiling(view, seeds)
    near, pair = cKDTree(seeds).query(points, k=2)
    gap = np.linalg.norm(seeds[pair[:, 0]] - seeds[pair[:, 1]], axis=1)
    boundary = (near[:, 1] ** 2 - near[:, 0] ** 2) / (2 * np.maximum(gap, 1e-9))
    return Cells(pair[:, 0].reshape(view.shape), boundary.reshape(view.shape), seeds)


def middles(view: View, *, size: float, rng: np.random.Generator) -> Floats:
    """Return random points x, y [nm], one per `size` [nm] squared, up to twice that outside the field."""
    margin = 2 * size
    return view.scatter(max(4, view.count(size**-2, margin)), rng, margin)


def laguerre(view: View, *, size: float, spread: float, rng: np.random.Generator) -> Cells:
    """Return cells whose sizes are log-normal.

    Circles of these sizes are placed, large ones first, each where there is most room (Fan et al., Comput.
    Mater. Sci. 29, 139, 2004); then their weights are changed until the cells' areas fit (Bourne et al.,
    Philos. Mag. 100, 2677, 2020). The power distance to a circle is an ordinary distance in three
    dimensions, where the third is that by which its radius falls short.

    Parameters
    ----------
    view
        Field of view.
    size
        Root of the mean area [nm].
    spread
        Standard deviation of the logarithm of the diameter, up to 0.5; cells reach hardly more.
    rng
        Of sizes and places.
    """
    height, width = view.extent
    margin = 2 * size
    count = max(6, view.count(size**-2, margin))
    radius = np.sort(np.exp(rng.normal(0.0, spread, count)))[::-1]
    region = (height + 2 * margin) * (width + 2 * margin)
    radius *= math.sqrt(region / math.pi / np.sum(radius**2))
    xy = _packed(view.scatter(count * _CANDIDATES, rng, margin).reshape(count, _CANDIDATES, 2), radius)
    return _tiling(view, np.column_stack((xy, _lift(_fitted(xy, radius, view, margin)))))


def _packed(trials: Floats, radius: Floats) -> Floats:
    """Return for each circle that of its candidates ``(n, candidates, 2)`` where there is most room."""
    xy = trials[:, 0].copy()
    for number in range(1, len(radius)):
        offset = trials[number][:, None, :] - xy[None, :number]
        room = (np.sqrt((offset * offset).sum(axis=2)) - radius[:number]).min(axis=1)
        xy[number] = trials[number, int(np.argmax(room))]
    return xy


def _fitted(xy: Floats, radius: Floats, view: View, margin: float) -> Floats:
    """Return the weights for which cells have about the areas of circles [nm**2], by iteration."""
    height, width = view.extent
    pitch = math.sqrt((height + 2 * margin) * (width + 2 * margin) / (_SAMPLES * len(xy)))
    y, x = (np.arange(-margin, size + margin, pitch) for size in (height, width))
    points = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    weight: Floats = 0.6 * radius**2
    wanted = math.pi * radius**2
    for _ in range(_SWEEPS):
        index = _nearest(np.column_stack((xy, _lift(weight))), points)
        area = np.bincount(index, minlength=len(xy)) * pitch**2
        weight = weight + _STEP * (wanted - area)
    return np.asarray(weight)


def _lift(weight: Floats) -> Floats:
    return np.asarray(np.sqrt(np.maximum(weight.max() - weight, 0.0)))


def _tiling(view: View, seeds: Floats) -> Cells:
    points = view.points()
    index = _nearest(seeds, points)
    boundary = _boundary(seeds, points, index)
    return Cells(index.reshape(view.shape), boundary.reshape(view.shape), seeds)


def _nearest(seeds: Floats, points: Floats) -> Ints:
    lifted = np.column_stack((points, np.zeros(len(points)))) if seeds.shape[1] == 3 else points
    return np.asarray(cKDTree(seeds).query(lifted)[1])


def _boundary(seeds: Floats, points: Floats, index: Ints) -> Floats:
    """Return the distance [nm] to the nearest of the lines that part a cell from those around it."""
    place, square = seeds[:, :2], (seeds**2).sum(axis=1)
    around = cKDTree(place).query(place, k=min(_AROUND + 1, len(seeds)))[1][:, 1:]
    order = np.argsort(index, kind="stable")
    starts = np.searchsorted(index[order], np.arange(len(seeds) + 1))
    boundary = np.empty(len(points))
    for cell in np.flatnonzero(np.diff(starts)):
        mine = order[starts[cell] : starts[cell + 1]]
        normal = place[around[cell]] - place[cell]
        gap = np.maximum(np.linalg.norm(normal, axis=1), 1e-9)
        level = (square[around[cell]] - square[cell]) / (2 * gap)
        boundary[mine] = (level - points[mine] @ (normal / gap[:, None]).T).min(axis=1)
    return np.maximum(boundary, 0.0)
