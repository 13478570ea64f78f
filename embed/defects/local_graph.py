"""What the classifier sees of a candidate: a graph of the sites around it, some sums, and a patch in circles.

Nothing in it turns with the image: distances, brightness relative to like sites, numbers of neighbours and
rings; the patch is sampled on circles, along which the network looks all the way round.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import cKDTree

from micdb.embed import graph
from micdb.embed.defects.candidates import BONDED, Candidate, Departures
from micdb.embed.defects.sites import Sites

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

NODE, EDGE, WHOLE = 23, 11, 10  # numbers that describe a node, an edge, a candidate
RADII, ANGLES = 12, 24  # circles of the patch, and samples on each
_SEEDS = 24  # departures of a candidate that are looked at, the nearest to its middle
_NODES = 96
_AROUND = 2.3  # [spacing] from a departure: second neighbours of its neighbours
_LINKED = 2.1  # [spacing] of nodes that exchange messages: third neighbours of a honeycomb
_PATCH = 2.6  # [spacing] radius of the patch
_SMOOTH = 0.1  # [spacing] Gaussian that the patch is seen through
_RINGS = (4, 5, 6, 7)  # sizes that are counted one by one; larger ones together
_DISTANCES = np.linspace(0.35, 2.15, EDGE - 1)  # [spacing] of the radial basis
_BASIS_WIDTH = 0.16  # [spacing]


@dataclass(frozen=True, slots=True)
class LocalGraph:
    """One candidate as arrays.

    Parameters
    ----------
    node
        ``(n, NODE)``.
    seed
        Which nodes depart ``(n,)``.
    start, end
        Edges, in both directions ``(m,)``.
    edge
        ``(m, EDGE)``.
    whole
        ``(WHOLE,)``.
    patch
        ``(RADII, ANGLES)``, 0 for the background and 1 for a typical column.
    """

    node: Singles
    seed: npt.NDArray[np.bool_]
    start: Ints
    end: Ints
    edge: Singles
    whole: Singles
    patch: Singles


def local_graphs(image: Floats, seen: Sites, found: Departures) -> list[LocalGraph]:
    """Return the graphs of the candidates of an image ``(y, x)``."""
    if not found.candidates:
        return []
    node = _nodes(seen, found, image.shape)
    smooth = ndimage.gaussian_filter(image, _SMOOTH * seen.spacing, mode="mirror")
    shown = np.flatnonzero(seen.shown)
    tree = cKDTree(seen.xy[shown])
    return [
        _one(one, seen, found, node=node, smooth=smooth, shown=shown, tree=tree) for one in found.candidates
    ]


def _nodes(seen: Sites, found: Departures, shape: tuple[int, ...]) -> Singles:
    """Return what is known of every site ``(n, NODE)``; its second number tells departures, 0 here."""
    n, spacing = len(seen.xy), seen.spacing
    column = np.arange(n) < seen.columns
    bonded = np.flatnonzero(column & seen.shown)
    i, j, _ = graph.neighbours(seen.xy[bonded], BONDED * spacing)
    bonds, rings = np.zeros(n), np.zeros((n, len(_RINGS) + 1))
    bonds[bonded] = graph.coordination(len(bonded), i, j)
    rings[bonded] = _rings(seen.xy[bonded], i, j)
    lattice = np.flatnonzero(seen.kind >= 0)
    a, b, _ = graph.neighbours(seen.xy[lattice], 1.2 * spacing)
    degree = np.zeros(n)
    degree[lattice] = graph.coordination(len(lattice), a, b)
    known = np.isfinite(seen.ratio)
    change = np.where(known, seen.ratio, 1.0) - 1
    sure = np.where(np.isfinite(seen.spread), change / np.where(np.isfinite(seen.spread), seen.spread, 1), 0)
    room = np.minimum(seen.xy, np.array([shape[1] - 1, shape[0] - 1]) - seen.xy).min(axis=1)
    strength = np.log(np.clip(np.nan_to_num(seen.strength), 0.03, 8.0))
    numbers = [
        column, np.zeros(n), np.clip(change, -1.5, 1.5), known, strength, np.clip(sure, -8, 8) / 4,
        np.clip(np.hypot(*np.nan_to_num(seen.shift).T) / spacing, 0, 1), seen.grain < 0, seen.judged,
        bonds / 4, *rings.T, found.border, found.rim, found.void,
        seen.probability, np.clip(room / spacing, 0, 3) / 3,
        np.log(np.clip(np.where(np.isfinite(seen.spread), seen.spread, 0.3), 0.02, 1.0)), degree / 4,
        np.clip(change, 0.0, 8.0) / 4,
    ]  # fmt: skip
    return np.column_stack(numbers).astype(np.float32)


def _rings(xy: Floats, i: npt.NDArray[np.integer], j: npt.NDArray[np.integer]) -> Floats:
    """Return how many rings of each size each atom is in ``(n, 5)``, over three."""
    found = graph.ring_faces(xy, i, j)
    size = np.repeat(found.size, found.size)
    counts = np.zeros((len(xy), len(_RINGS) + 1))
    for number, one in enumerate(_RINGS):
        np.add.at(counts[:, number], found.member[size == one], 1 / 3)
    np.add.at(counts[:, -1], found.member[size > _RINGS[-1]], 1 / 3)
    return counts


def _one(
    candidate: Candidate, seen: Sites, found: Departures, *, node: Singles, smooth: Floats, shown: Ints,
    tree: cKDTree,
) -> LocalGraph:  # fmt: skip
    middle = seen.xy[candidate.nodes].mean(axis=0)
    order = np.argsort(np.square(seen.xy[candidate.nodes] - middle).sum(axis=1), kind="stable")
    seeds = candidate.nodes[order][:_SEEDS]
    if len(candidate.nodes) > _SEEDS:  # a long one has its middle where it may not be
        middle = seen.xy[seeds[0]]
    near = {k for part in tree.query_ball_point(seen.xy[seeds], _AROUND * seen.spacing) for k in part}
    index = shown[sorted(near)]
    order = np.argsort(np.square(seen.xy[index] - middle).sum(axis=1), kind="stable")
    index = index[order[:_NODES]]
    described = node[index].copy()
    seed = np.isin(index, candidate.nodes)
    described[:, 1] = seed
    i, j, length = graph.neighbours(seen.xy[index], _LINKED * seen.spacing)
    start, end = np.concatenate((i, j)).astype(np.int64), np.concatenate((j, i)).astype(np.int64)
    distance = np.tile(length, 2) / seen.spacing
    basis = np.exp(-0.5 * np.square((distance[:, None] - _DISTANCES) / _BASIS_WIDTH))
    same = seen.grain[index[start]] == seen.grain[index[end]]
    return LocalGraph(
        described, seed, start, end, np.column_stack((basis, same)).astype(np.float32),
        _whole(candidate, seen, found), _patch(smooth, middle, seen),
    )  # fmt: skip


def _whole(candidate: Candidate, seen: Sites, found: Departures) -> Singles:
    """Return sums over all departures of a candidate ``(WHOLE,)``."""
    nodes = candidate.nodes
    empty = nodes >= seen.columns
    change = np.where(np.isfinite(seen.ratio[nodes]), seen.ratio[nodes], 1.0) - 1
    judged = seen.judged[nodes]
    extent = np.ptp(seen.xy[nodes], axis=0)
    numbers = [
        np.log1p(len(nodes)), np.log1p(empty.sum()), np.log1p((seen.grain[nodes] < 0).sum()),
        np.log1p(found.rim[nodes].sum()), np.log1p(found.border[nodes].sum()), candidate.clear,
        np.clip(-change[judged].clip(max=0).sum(), 0, 12) / 4,
        np.clip(change[judged].clip(min=0).sum(), 0, 24) / 8,
        np.hypot(*extent) / seen.spacing / 5, np.log1p((empty & judged).sum()),
    ]  # fmt: skip
    return np.array(numbers, dtype=np.float32)


def _patch(smooth: Floats, middle: Floats, seen: Sites) -> Singles:
    """Return the image around a place on circles ``(RADII, ANGLES)``."""
    radius = (np.arange(RADII) + 0.5) / RADII * _PATCH * seen.spacing
    angle = np.arange(ANGLES) / ANGLES * 2 * np.pi
    x = middle[0] + radius[:, None] * np.cos(angle)
    y = middle[1] + radius[:, None] * np.sin(angle)
    sampled = ndimage.map_coordinates(smooth, [y, x], order=1, mode="nearest")
    near = np.rint(seen.xy[: seen.columns]).astype(int)
    inside = np.clip(near, 0, np.array(smooth.shape[::-1]) - 1)
    top = float(np.quantile(smooth[inside[:, 1], inside[:, 0]], 0.8))
    low = float(np.quantile(smooth, 0.1))
    return np.asarray(np.clip((sampled - low) / max(top - low, 1e-12), -1, 6), dtype=np.float32)


def batched(graphs: Sequence[LocalGraph]) -> tuple[npt.NDArray[Any], ...]:
    """Return graphs as one: the arguments of `micdb.embed.nets.message_passing.MessagePassing`."""
    size = np.array([len(one.node) for one in graphs])
    first = np.cumsum(size) - size
    return (
        np.concatenate([one.node for one in graphs]),
        np.concatenate([one.seed for one in graphs]).astype(np.float32),
        np.concatenate([one.start + k for one, k in zip(graphs, first, strict=True)]),
        np.concatenate([one.end + k for one, k in zip(graphs, first, strict=True)]),
        np.concatenate([one.edge for one in graphs]),
        np.repeat(np.arange(len(graphs)), size),
        np.stack([one.whole for one in graphs]),
        np.stack([one.patch for one in graphs]),
    )
