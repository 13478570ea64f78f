"""Shapes of objects: their edge, box, area and axes; and points that keep their distance."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

Floats = npt.NDArray[np.float64]

#: Distance to an object's edge [nm], positive inside, from y (column) and x (row) about its centre [nm].
Distance = Callable[[Floats, Floats], Floats]

_RAYS = 96  # directions in which the radius of an outline is tabled


class Shape(NamedTuple):
    """An object about its centre.

    Parameters
    ----------
    distance
        To its edge.
    reach
        Half of its box along y and x [nm].
    area
        [nm**2].
    axes
        Long and short axis [nm].
    angle
        Of the long axis [radian].
    """

    distance: Distance
    reach: tuple[float, float]
    area: float
    axes: tuple[float, float]
    angle: float


def ellipse(radius: float, ratio: float, turn: float) -> Shape:
    """Return an ellipse of area pi radius**2.

    Parameters
    ----------
    radius
        [nm].
    ratio
        Of an axis to the diameter; the other one's is its inverse.
    turn
        Of that axis against x [radian].
    """

    def distance(y: Floats, x: Floats) -> Floats:
        along, across = x * math.cos(turn) + y * math.sin(turn), y * math.cos(turn) - x * math.sin(turn)
        return np.asarray(radius - np.hypot(along / ratio, across * ratio))

    long, angle = (ratio, turn) if ratio >= 1 else (1 / ratio, turn + math.pi / 2)
    reach = radius * long
    axes = (2 * radius * long, 2 * radius / long)
    return Shape(distance, (reach, reach), math.pi * radius**2, axes, angle % math.pi)


def needle(length: float, width: float, turn: float) -> Shape:
    """Return a lens of parabolic edges: the section of a plate that thickens from its tips.

    Parameters
    ----------
    length, width
        From tip to tip, and in the middle [nm].
    turn
        Against x [radian].
    """

    def distance(y: Floats, x: Floats) -> Floats:
        along, across = x * math.cos(turn) + y * math.sin(turn), y * math.cos(turn) - x * math.sin(turn)
        return np.asarray(width / 2 * (1 - (2 * along / length) ** 2) - np.abs(across))

    reach = tuple(length / 2 * abs(part) + width / 2 for part in (math.sin(turn), math.cos(turn)))
    return Shape(distance, (reach[0], reach[1]), 2 / 3 * length * width, (length, width), turn % math.pi)


def polar(table: Floats, radius: float, turn: float) -> Shape:
    """Return a shape whose edge is seen once in every direction from its centre.

    Parameters
    ----------
    table
        Radius of the edge in evenly spaced directions ``(n,)``, of any size.
    radius
        Of the circle with the same area [nm].
    turn
        Of the first direction against x [radian].
    """
    rays = np.linspace(0, 2 * math.pi, len(table), endpoint=False)
    edge = table * (radius / math.sqrt(float(np.mean(table**2))))
    slope = (np.roll(edge, -1) - np.roll(edge, 1)) / (2 * rays[1])
    slant = edge / np.hypot(edge, slope)  # cosine between the ray and the normal of the edge

    def distance(y: Floats, x: Floats) -> Floats:
        place = (np.arctan2(y, x) - turn) / rays[1]
        low = np.floor(place)
        share, low = place - low, low.astype(np.intp) % len(edge)
        high = (low + 1) % len(edge)
        here = edge[low] * (1 - share) + edge[high] * share
        return np.asarray((here - np.hypot(y, x)) * slant[low])

    reach = float(edge.max())
    across = np.abs(np.cos(rays[:, None] - rays[None, :])) * edge[None, :]  # half-widths seen along each ray
    widths = across.max(axis=1)
    longest = int(np.argmax(widths))
    axes = (2 * float(widths.max()), 2 * float(widths.min()))
    return Shape(distance, (reach, reach), math.pi * radius**2, axes, (turn + rays[longest]) % math.pi)


def rough(rng: np.random.Generator, *, amplitude: float = 0.12) -> Floats:
    """Return a rounded outline with random bulges, of radius about 1 ``(n,)``."""
    rays = np.linspace(0, 2 * math.pi, _RAYS, endpoint=False)
    order = np.arange(2, 7)
    size = rng.normal(0.0, amplitude, len(order)) / (order - 1)
    bulge = (size[:, None] * np.cos(order[:, None] * rays + rng.uniform(0, 7, (len(order), 1)))).sum(axis=0)
    return np.asarray(np.maximum(1 + bulge, 0.3))


def faceted(rng: np.random.Generator, *, sides: int, aspect: float = 1.0, sharpness: float = 16.0) -> Floats:
    """Return a polygon with rounded corners, of radius about 1 ``(n,)``.

    Parameters
    ----------
    rng
        Of how far out each side lies: 8 % about the mean.
    sides
        Of the polygon.
    aspect
        How much longer it is along its first direction.
    sharpness
        Of the corners: a norm of infinite order has true ones.
    """
    rays = np.linspace(0, 2 * math.pi, _RAYS, endpoint=False)
    normal = np.arange(sides) * (2 * math.pi / sides)
    out = np.hypot(aspect * np.cos(normal), np.sin(normal)) * (1 + rng.normal(0.0, 0.08, sides))
    part = np.maximum(np.cos(rays - normal[:, None]), 0.0) / out[:, None]
    return np.asarray((part**sharpness).sum(axis=0) ** (-1 / sharpness))


def apart(count: int, extent: tuple[float, float], rng: np.random.Generator) -> Floats:
    """Return points x, y [nm] that keep some distance: the best of three candidates (Mitchell 1991)."""
    upper = np.array([extent[1], extent[0]])
    chosen = rng.uniform(0, upper, (count, 2))
    trials = rng.uniform(0, upper, (3, count, 2))
    gaps = np.stack([cKDTree(chosen).query(trial)[0] for trial in trials])
    better = np.argmax(gaps, axis=0)
    crowded = cKDTree(chosen).query(chosen, k=min(2, count))[0].reshape(count, -1)[:, -1]
    moved = gaps[better, np.arange(count)] > crowded
    chosen[moved] = trials[better, np.arange(count)][moved]
    return chosen
