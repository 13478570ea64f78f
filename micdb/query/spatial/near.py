"""Distances between points that belong to many images at once, without a loop over the images."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


class Points(NamedTuple):
    """Points that belong to many images.

    Parameters
    ----------
    xy
        ``(n, 2)`` positions; a missing one (NaN) is near nothing, and nothing is near it.
    group
        ``(n,)`` number of the image and frame each is in: only points of one group meet.
    row
        ``(n,)`` number of the row each is: a point is not its own neighbour.
    """

    xy: Floats
    group: Integers
    row: Integers


def near(points: Points, others: Points, *, radius: float) -> Bools:
    """Return which points have one of the others, not itself, at most `radius` away, ``(n,)``."""
    from scipy.spatial import cKDTree

    found = np.zeros(len(points.xy), np.bool_)
    here, there = np.flatnonzero(_known(points.xy)), np.flatnonzero(_known(others.xy))
    if not len(here) or not len(there):
        return found
    groups = np.concatenate([points.group[here], others.group[there]])
    flat = _apart(np.concatenate([points.xy[here], others.xy[there]]), groups, radius)
    tree = cKDTree(flat[len(here) :])
    # Of the two nearest at most one is the point itself.
    distance, who = tree.query(flat[: len(here)], k=2, distance_upper_bound=np.nextafter(radius, np.inf))
    row = np.append(others.row[there], -1)[who]  # -1: nobody
    found[here] = (np.isfinite(distance) & (row != points.row[here][:, None])).any(axis=1)
    return found


def pairs(points: Floats, groups: Integers, *, radius: float) -> Integers:
    """Return the pairs ``i < j`` of one group at most `radius` apart, ``(n, 2)``, sorted."""
    from scipy.spatial import cKDTree

    here = np.flatnonzero(_known(points))
    if not len(here):
        return np.empty((0, 2), np.int64)
    tree = cKDTree(_apart(points[here], groups[here], radius))
    found = here[tree.query_pairs(radius, output_type="ndarray")]
    found.sort(axis=1)
    return np.asarray(found[np.lexsort((found[:, 1], found[:, 0]))], np.int64)


def nearest(points: Floats, groups: Integers, k: int) -> tuple[Integers, Floats]:
    """Return the k nearest others of each point within its group, nearest first.

    Returns
    -------
    indices
        ``(n, k)`` int64, -1 where the group has fewer others.
    distances
        ``(n, k)``, NaN there.
    """
    from scipy.spatial import cKDTree

    indices = np.full((len(points), k), -1, np.int64)
    distances = np.full((len(points), k), np.nan)
    here = np.flatnonzero(_known(points))
    if len(here) < 2:
        return indices, distances
    spread = _apart(points[here], groups[here], 0.0)
    found, who = cKDTree(spread).query(spread, k=min(k, len(here) - 1) + 1)
    own = who == np.arange(len(here))[:, None]
    own[~own.any(axis=1), -1] = True  # so many at the same place that it did not find itself
    others = ~own
    shape = (len(here), found.shape[1] - 1)
    found, who = found[others].reshape(shape), who[others].reshape(shape)
    same = groups[here][who] == groups[here][:, None]
    indices[here, : shape[1]] = np.where(same, here[who], -1)
    distances[here, : shape[1]] = np.where(same, found, np.nan)
    return indices, distances


def _known(points: Floats) -> Bools:
    return np.asarray(np.isfinite(points).all(axis=1))


def _apart(points: Floats, groups: Integers, radius: float) -> Floats:
    """Return the points with their group as a third coordinate, so far apart that groups never meet."""
    span = float(np.linalg.norm(points.max(axis=0) - points.min(axis=0)))
    number = np.unique(groups, return_inverse=True)[1]
    return np.column_stack([points, number * (2 * (span + radius) + 1)])
