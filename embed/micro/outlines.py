"""Outlines of particles: the distance from a centre to the edge, in evenly spaced directions.

As in StarDist (Schmidt et al., MICCAI 2018). An outline is that of the whole particle: outlines of particles
that lie on one another overlap.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree
from skimage.draw import polygon

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

RAYS = 32  # directions: a circle's area is right to 0.6 %, and corrected for that
_TURN = 2 * math.pi / RAYS
_STEP = 0.25  # [pixel] along a ray
_SAME, _WITHIN = 0.35, 0.7  # intersection over union, share of the smaller: from there it is one particle
_RINGS = 4  # of points that sample the inside of an outline, of equal area

#: Unit vectors x, y of the directions ``(RAYS, 2)``; from x towards y.
DIRECTIONS: Floats = np.column_stack((np.cos(_TURN * np.arange(RAYS)), np.sin(_TURN * np.arange(RAYS))))


@dataclass(frozen=True, slots=True)
class Outlines:
    """Outlines of ``n`` particles [pixel].

    Parameters
    ----------
    centre
        ``(n, 2)`` x, y.
    radii
        ``(n, RAYS)`` from there to the edge.
    """

    centre: Floats
    radii: Floats

    def __len__(self) -> int:
        return len(self.centre)

    def __getitem__(self, which: npt.NDArray[np.generic]) -> Outlines:
        return Outlines(self.centre[which], self.radii[which])

    @property
    def area(self) -> Floats:
        """``(n,)`` [pixel**2]."""
        following = np.roll(self.radii, -1, axis=1)
        return np.asarray(0.5 * math.sin(_TURN) * (self.radii * following).sum(axis=1))

    def scaled(self, factor: float) -> Outlines:
        """Return them in an image enlarged by a factor, whose pixels are numbered from their centres."""
        return Outlines((self.centre + 0.5) * factor - 0.5, self.radii * factor)

    def mask(self, index: int, shape: tuple[int, ...]) -> tuple[tuple[slice, slice], Bools]:
        """Return the box of one outline within an image ``(y, x)``, and its pixels there."""
        corners = self.centre[index] + self.radii[index][:, None] * DIRECTIONS
        low = np.clip(np.floor(corners.min(axis=0)).astype(int), 0, np.array(shape[::-1]))
        high = np.clip(np.ceil(corners.max(axis=0)).astype(int) + 1, low, np.array(shape[::-1]))
        inside = np.zeros((high[1] - low[1], high[0] - low[0]), bool)
        inside[polygon(corners[:, 1] - low[1], corners[:, 0] - low[0], inside.shape)] = True  # type: ignore[no-untyped-call]
        return (slice(low[1], high[1]), slice(low[0], high[0])), inside


def traced(mask: Bools) -> tuple[Floats, Floats] | None:
    """Return the centre x, y and the radii of an object's mask; None where the centre lies outside of it.

    Where a ray leaves and enters again, it ends where it leaves. The area is made that of the mask.
    """
    y, x = np.nonzero(mask)
    centre = np.array([x.mean(), y.mean()])
    reach = np.hypot(x - centre[0], y - centre[1]).max() + 1
    along = np.arange(_STEP / 2, reach + _STEP, _STEP)
    at = centre + along[:, None, None] * DIRECTIONS
    columns, rows = (np.rint(at[..., axis]).astype(int) for axis in (0, 1))
    there = (rows >= 0) & (rows < mask.shape[0]) & (columns >= 0) & (columns < mask.shape[1])
    inside = there & mask[np.where(there, rows, 0), np.where(there, columns, 0)]
    radii = _STEP * np.logical_and.accumulate(inside, axis=0).sum(axis=0)
    if radii.min() <= 0:
        return None
    area = float(Outlines(centre[None], radii[None]).area[0])
    return centre, radii * math.sqrt(len(x) / area)


def overlaps(outlines: Outlines, first: npt.NDArray[np.intp], second: npt.NDArray[np.intp]) -> Floats:
    """Return the share of each first outline that lies in the second one ``(pairs,)``."""
    shares = np.sqrt((np.arange(_RINGS) + 0.5) / _RINGS)
    radii = outlines.radii[first]
    weight = radii**2  # the area that a sector's points stand for
    points = (
        radii[:, None, :, None] * shares[:, None, None] * DIRECTIONS + outlines.centre[first][:, None, None]
    )
    off = points - outlines.centre[second][:, None, None]
    place = (np.arctan2(off[..., 1], off[..., 0]) / _TURN) % RAYS
    low = np.floor(place).astype(np.intp)
    share, low = place - low, low % RAYS
    edge = outlines.radii[second]
    pair = np.arange(len(first))[:, None, None]
    here = edge[pair, low] * (1 - share) + edge[pair, (low + 1) % RAYS] * share
    inside = np.hypot(off[..., 0], off[..., 1]) <= here
    return np.asarray((inside.mean(axis=1) * weight).sum(axis=1) / weight.sum(axis=1))


def best(outlines: Outlines, score: Floats) -> npt.NDArray[np.intp]:
    """Return which outlines to keep: by falling score, those that no better one claims already.

    Parameters
    ----------
    outlines
        Candidates.
    score
        Of each ``(n,)``.
    """
    if not len(outlines):
        return np.zeros(0, np.intp)
    order = np.argsort(-score, kind="stable")
    rank = np.empty(len(order), np.intp)
    rank[order] = np.arange(len(order))
    area = outlines.area
    pairs = _near(outlines)
    pairs = np.take_along_axis(
        pairs, np.argsort(area[pairs], axis=1), axis=1
    )  # points sample the smaller one
    share = overlaps(outlines, pairs[:, 0], pairs[:, 1])
    both = share * area[pairs[:, 0]]
    same = (share > _WITHIN) | (both > _SAME * (area[pairs].sum(axis=1) - both))
    rivals: list[list[int]] = [[] for _ in range(len(order))]
    for one, other in pairs[same].tolist():
        better, worse = (one, other) if rank[one] < rank[other] else (other, one)
        rivals[better].append(worse)
    out = np.zeros(len(order), bool)
    kept = []
    for one in order.tolist():
        if not out[one]:
            kept.append(one)
            out[rivals[one]] = True
    return np.array(kept, np.intp)


def _near(outlines: Outlines) -> npt.NDArray[np.intp]:
    """Return pairs ``(pairs, 2)`` whose circles around them meet, those of like size at a time."""
    reach = outlines.radii.max(axis=1)
    level = np.ceil(np.log2(np.maximum(reach, 1.0))).astype(int)
    found = [np.zeros((0, 2), np.intp)]
    for large in np.unique(level):
        these = np.flatnonzero(level == large)
        others = np.flatnonzero(level <= large)
        tree = cKDTree(outlines.centre[these])
        far = reach[these].max() + reach[others]
        for one, near in zip(others, tree.query_ball_point(outlines.centre[others], far), strict=True):
            mates = these[near]
            mates = mates[(mates != one) & ((level[one] < large) | (mates > one))]
            close = np.hypot(*(outlines.centre[mates] - outlines.centre[one]).T) < reach[mates] + reach[one]
            mates = mates[close]
            found.append(np.column_stack((np.full(len(mates), one), mates)))
    return np.concatenate(found)
