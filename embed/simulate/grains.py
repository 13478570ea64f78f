"""Graphene of several grains: the dual of a triangulation of ring centres.

Each grain is a triangular lattice of ring centres; where grains meet the centres are spread until each has
five, six or seven neighbours. Every triangle is then an atom with three bonds, every centre a ring: the
boundaries are the rows of pentagons and heptagons seen by Huang et al. (Nature 469, 389, 2011).
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy.spatial import Delaunay, cKDTree

from micdb.embed.simulate.network import Network

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_LATTICE = 0.246  # [nm] between ring centres
_CARBON = 6
_BAND = 2.5 * _LATTICE  # [nm] centres that close to a boundary are spread
_CLOSEST = 0.65 * _LATTICE  # of two centres of different grains one goes
_PAD = 1.0  # [nm] around what is kept: the hull's triangles are no rings
_SWEEPS = 40
_LEAST_TURN = 8.0  # [deg] between any two grains; less is a row of far dislocations
_TRIES = 50


def grains(
    field: tuple[float, float], *, seed: int, count: int, rotation: float = 0.0, margin: float = 0.5
) -> Network:
    """Return a sheet of `count` Voronoi grains, its boundaries planted, not relaxed.

    Parameters
    ----------
    field
        ``(y, x)`` [nm].
    seed
        Of the grains' centres, origins and orientations.
    count
        Number of grains; those whose cell misses the field do not show.
    rotation
        Of the zigzag direction of the first grain against x [deg].
    margin
        Atoms that far outside the field are kept too [nm].
    """
    for attempt in range(_TRIES):
        rng = np.random.default_rng((seed, attempt, 57))
        middles, turns = _middles(field, count, rng), _turns(count, rotation, rng)
        reach = margin + _PAD
        rings = _rings(field, middles, turns, reach=reach, rng=rng)
        rings, triangles, whole = _spread(rings, field, middles, margin=margin)
        if whole:
            break
    return _dual(rings, triangles, field, middles, margin=margin)


def _middles(field: tuple[float, float], count: int, rng: np.random.Generator) -> Floats:
    """Return grain centres ``(count, 2)``, each the farthest of ten from the others."""
    size = np.array([field[1], field[0]])
    middles = rng.random((1, 2)) * size
    while len(middles) < count:
        trial = rng.random((10, 2)) * size
        away = cKDTree(middles).query(trial)[0]
        middles = np.vstack((middles, trial[away.argmax()]))
    return np.asarray(middles, dtype=np.float64)


def _turns(count: int, rotation: float, rng: np.random.Generator) -> list[float]:
    """Return orientations [deg] within the 60 degrees of the lattice, as far apart as the count allows."""
    least = min(_LEAST_TURN, 40.0 / count)
    while True:
        turns = [rotation, *(rotation + rng.uniform(0, 60, count - 1))]
        ordered = sorted(turn % 60 for turn in turns)
        if all(b - a >= least for a, b in pairwise([*ordered, ordered[0] + 60])):
            return turns


def _rings(
    field: tuple[float, float], middles: Floats, turns: list[float], *, reach: float, rng: np.random.Generator
) -> Floats:
    size = np.array([field[1], field[0]])
    half = np.hypot(*(size + 2 * reach)) / 2
    n = int(np.ceil(half / (_LATTICE * np.sqrt(3) / 2))) + 1
    grid = np.stack(np.meshgrid(np.arange(-n, n + 1), np.arange(-n, n + 1), indexing="ij"), -1).reshape(-1, 2)
    cell = _LATTICE * np.array([[1.0, 0.0], [0.5, np.sqrt(3) / 2]])
    tree, parts = cKDTree(middles), []
    for number, turn in enumerate(np.radians(turns)):
        matrix = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        points = (grid + rng.random(2)) @ cell @ matrix + size / 2
        near = ((points > -reach) & (points < size + reach)).all(axis=1)
        points = points[near]
        parts.append(points[tree.query(points)[1] == number])
    points = np.concatenate(parts)
    gone: set[int] = set()
    for i, j in sorted(cKDTree(points).query_pairs(_CLOSEST)):
        if i not in gone:
            gone.add(j)
    return np.asarray(np.delete(points, sorted(gone), axis=0))


def _spread(
    rings: Floats, field: tuple[float, float], middles: Floats, *, margin: float
) -> tuple[Floats, Ints, bool]:
    """Return ring centres of five to seven neighbours, their triangles, and whether that was reached."""
    for sweep in range(_SWEEPS):
        mesh = Delaunay(rings)
        edges = _edges(mesh.simplices)
        degree = np.bincount(edges.ravel(), minlength=len(rings))
        seen = _inside(rings, field, margin + _LATTICE)
        few, many = seen & (degree < 5), seen & (degree > 7)
        if sweep > 10 and not few.any() and not many.any():
            return rings, mesh.simplices.astype(np.int64), True
        if sweep % 5 == 4 and few.any():
            rings = rings[~few]
            continue
        if sweep % 5 == 4 and many.any():
            rings = np.vstack((rings, rings[many] + 0.3 * _LATTICE))
            continue
        between = rings[edges[:, 1]] - rings[edges[:, 0]]
        length = np.maximum(np.linalg.norm(between, axis=1, keepdims=True), 1e-6)
        pull = 0.15 * between * (1 - _LATTICE / length)
        move = np.zeros_like(rings)
        np.add.at(move, edges[:, 0], pull)
        np.add.at(move, edges[:, 1], -pull)
        free = (_boundary_distance(rings, middles) < _BAND) & _inside(rings, field, margin + _PAD / 2)
        rings = rings + np.where(free[:, None], move, 0.0)
    return rings, Delaunay(rings).simplices.astype(np.int64), False


def _dual(
    rings: Floats, triangles: Ints, field: tuple[float, float], middles: Floats, *, margin: float
) -> Network:
    xy = rings[triangles].mean(axis=1)
    kept = _inside(xy, field, margin)
    index = np.where(kept, np.cumsum(kept) - 1, -1)
    sides = np.sort(triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    owner = np.repeat(np.arange(len(triangles)), 3)
    order = np.lexsort((sides[:, 1], sides[:, 0]))
    same = (sides[order][1:] == sides[order][:-1]).all(axis=1)
    bonds = index[np.column_stack((owner[order][:-1][same], owner[order][1:][same]))]
    bonds = bonds[(bonds >= 0).all(axis=1)]
    atoms = xy[kept]
    net = Network(np.column_stack((atoms, np.zeros(len(atoms)))), np.full(len(atoms), _CARBON), bonds)
    degree = np.bincount(_edges(triangles).ravel(), minlength=len(rings))
    odd = (degree != 6) & _inside(rings, field, margin - _LATTICE)
    pairs = np.sort(cKDTree(middles).query(rings, k=2)[1], axis=1)
    for pair in np.unique(pairs[odd], axis=0):
        mine = odd & (pairs == pair).all(axis=1)
        touching = np.flatnonzero(kept & mine[triangles].any(axis=1))
        net.plant("boundary", xy[touching].mean(axis=0), index[touching].tolist())
    return net


def _edges(triangles: npt.NDArray[np.integer]) -> Ints:
    sides = np.sort(triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    return np.asarray(np.unique(sides, axis=0), dtype=np.int64)


def _inside(xy: Floats, field: tuple[float, float], margin: float) -> npt.NDArray[np.bool_]:
    return np.asarray(((xy >= -margin) & (xy <= np.array([field[1], field[0]]) + margin)).all(axis=1))


def _boundary_distance(xy: Floats, middles: Floats) -> Floats:
    """Return the distance ``(n,)`` to the line half-way between the two nearest grain centres."""
    distance, nearest = cKDTree(middles).query(xy, k=2)
    apart = np.linalg.norm(middles[nearest[:, 0]] - middles[nearest[:, 1]], axis=1)
    return np.asarray((distance[:, 1] ** 2 - distance[:, 0] ** 2) / (2 * apart))
