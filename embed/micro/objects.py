"""Size and shape of the objects of a label image: one row for each, all objects at once.

A size distribution of what is seen whole has too few large objects: they touch the edge more often. Each
that does not touch it stands for as many of its size as are cut off: the area of the image over that in which
its box can lie (Miles, in Stochastic Geometry, Wiley 1974, 228).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import ConvexHull, QhullError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_PIXEL = 1 / 12  # [pixel**2] variance of a pixel's extent along an axis
_FEWEST = 3  # pixels of an object with a shape


@dataclass(frozen=True, slots=True)
class Objects:
    """What was measured of ``n`` objects; lengths in pixels of the finer axis, areas in its squares.

    Parameters
    ----------
    label
        Number in the label image ``(n,)``.
    x, y
        Centroid ``(n,)`` [pixel], each along its own axis.
    area_px
        ``(n,)`` pixels.
    area, diameter
        ``(n,)``, the diameter that of the circle of equal area.
    major, minor, angle_deg
        Axes of the ellipse of equal second moments; direction of the major from x towards y, 0 to 180.
    perimeter
        By Crofton's formula in four directions.
    circularity, solidity
        ``4 pi area / perimeter**2``, at most 1; share of the convex hull; NaN of fewer than three pixels.
    box
        x, y, width, height ``(n, 4)`` [pixel].
    on_edge
        Whether it touches the edge of the image ``(n,)``.
    weight
        Objects of its size that it stands for ``(n,)``; 0 where it touches the edge.
    """

    label: Ints
    x: Floats
    y: Floats
    area_px: Ints
    area: Floats
    diameter: Floats
    major: Floats
    minor: Floats
    angle_deg: Floats
    perimeter: Floats
    circularity: Floats
    solidity: Floats
    box: Ints
    on_edge: npt.NDArray[np.bool_]
    weight: Floats


def measure(labels: npt.NDArray[np.integer], step: tuple[float, float] = (1.0, 1.0)) -> Objects:
    """Measure the objects of a label image.

    Parameters
    ----------
    labels
        ``(y, x)``: 0 where there is none, negative where nothing is known.
    step
        Size of a pixel along y and x, in any unit; that of the lengths.
    """
    known = np.maximum(labels, 0)
    label, number = np.unique(known, return_inverse=True)
    if label[0] != 0:
        label, number = np.concatenate(([0], label)), number + 1
    number = number.reshape(known.shape)
    n = len(label) - 1
    area_px = np.bincount(number.ravel(), minlength=n + 1)[1:]
    centre, second = _moments(number, n, area_px)
    scale = np.array(step)
    area = np.asarray(area_px * math.prod(step), dtype=np.float64)
    major, minor, angle = _ellipses(second * np.outer(scale, scale))
    perimeter = _perimeters(number, n, step)
    box = _boxes(number)
    shaped = area_px >= _FEWEST
    with np.errstate(divide="ignore", invalid="ignore"):
        circular = np.where(shaped, np.minimum(4 * math.pi * area / perimeter**2, 1.0), np.nan)
    edge = (
        (box[:, 0] == 0)
        | (box[:, 1] == 0)
        | (box[:, 0] + box[:, 2] == labels.shape[1])
        | (box[:, 1] + box[:, 3] == labels.shape[0])
    )
    return Objects(
        label=label[1:].astype(np.int64),
        x=centre[:, 1],
        y=centre[:, 0],
        area_px=area_px,
        area=area,
        diameter=np.sqrt(4 * area / math.pi),
        major=major,
        minor=minor,
        angle_deg=angle,
        perimeter=perimeter,
        circularity=circular,
        solidity=np.where(shaped, _solidities(number, box, area_px), np.nan),
        box=box,
        on_edge=edge,
        weight=np.where(edge, 0.0, _weights(box, labels.shape)),
    )


def _moments(number: npt.NDArray[np.intp], n: int, area: Ints) -> tuple[Floats, Floats]:
    """Return centroids ``(n, 2)`` as y, x and second central moments ``(n, 2, 2)`` [pixel**2]."""
    y, x = np.nonzero(number)
    of = number[y, x] - 1
    centre = np.column_stack([np.bincount(of, weights=one, minlength=n) / area for one in (y, x)])
    off = np.column_stack((y, x)) - centre[of]
    second = np.empty((n, 2, 2))
    for i in range(2):
        for j in range(2):
            second[:, i, j] = np.bincount(of, weights=off[:, i] * off[:, j], minlength=n) / area
    return centre, second + _PIXEL * np.eye(2)


def _ellipses(second: Floats) -> tuple[Floats, Floats, Floats]:
    values, vectors = np.linalg.eigh(second)
    axes = 4 * np.sqrt(np.maximum(values, 0.0))  # a uniform ellipse has a second moment of (axis / 4)**2
    along = vectors[:, :, 1]
    return axes[:, 1], axes[:, 0], np.degrees(np.arctan2(along[:, 0], along[:, 1])) % 180.0


def boundary(inside: npt.NDArray[np.bool_], step: tuple[float, float] = (1.0, 1.0)) -> float:
    """Return the length of the boundary of a phase, without the edge of the image; by Crofton's formula.

    Parameters
    ----------
    inside
        Pixels of the phase ``(y, x)``.
    step
        Size of a pixel along y and x, in any unit; that of the length.
    """
    return shared_boundary(inside, ~inside, step)


def shared_boundary(
    one: npt.NDArray[np.bool_], other: npt.NDArray[np.bool_], step: tuple[float, float] = (1.0, 1.0)
) -> float:
    """Return the length of the boundary between two phases, by Crofton's formula.

    Parameters
    ----------
    one, other
        Pixels of the phases ``(y, x)``.
    step
        Size of a pixel along y and x, in any unit; that of the length.
    """
    total = 0.0
    for shift, weight in _lines(step):
        (here, ahead), (there, beyond) = _pairs(one, shift), _pairs(other, shift)
        total += weight * int(np.count_nonzero((here & beyond) | (there & ahead)))
    return total


def _perimeters(number: npt.NDArray[np.intp], n: int, step: tuple[float, float]) -> Floats:
    """Return perimeters, at the edge of the image along it."""
    padded = np.pad(number, 1)
    total = np.zeros(n + 1)
    for shift, weight in _lines(step):
        here, ahead = _pairs(padded, shift)
        differ = here != ahead
        total += weight * sum(np.bincount(one[differ], minlength=n + 1) for one in (here, ahead))
    return np.asarray(total[1:])


def _lines(step: tuple[float, float]) -> Iterator[tuple[tuple[int, int], float]]:
    """Yield four directions, each with the length of outline that a crossing of it stands for.

    Lines of one direction at a distance ``d`` that cross ``N`` times measure ``pi / 2 * d * N``; the four are
    weighed by the angles that they stand for.
    """
    dy, dx = step
    lean = math.atan2(dy, dx)
    across = dx * dy / math.hypot(dx, dy)  # between neighbouring diagonals
    yield (0, 1), 0.5 * lean * dy
    yield (1, 0), 0.5 * (math.pi / 2 - lean) * dx
    yield (1, 1), 0.5 * math.pi / 4 * across
    yield (1, -1), 0.5 * math.pi / 4 * across


def _pairs(map_: npt.NDArray[Any], shift: tuple[int, int]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return each pixel that has one ahead, and that one."""
    down, right = shift
    height, width = map_.shape
    left = max(-right, 0)
    here = map_[: height - down, left : width - max(right, 0)]
    return here, map_[down:, left + right : width - max(right, 0) + right]


def _boxes(number: npt.NDArray[np.intp]) -> Ints:
    found = [
        (columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)
        for rows, columns in ndimage.find_objects(number)
    ]
    return np.array(found, dtype=np.int64).reshape(-1, 4)


def _solidities(number: npt.NDArray[np.intp], box: Ints, area: Ints) -> Floats:
    """Return the share of the convex hull of its pixels' corners that each object fills."""
    share = np.ones(len(box))
    for index, (left, top, width, height) in enumerate(box):
        inside = number[top : top + height, left : left + width] == index + 1
        rows = np.arange(height)
        first, last = inside.argmax(axis=1), width - inside[:, ::-1].argmax(axis=1)
        ends = np.column_stack((np.tile(rows, 4), np.concatenate((first, last, first, last))))
        ends[2 * height :, 0] += 1
        try:
            hull = float(ConvexHull(ends[np.tile(inside.any(axis=1), 4)]).volume)
        except QhullError:
            continue
        share[index] = area[index] / hull
    return share


def _weights(box: Ints, shape: tuple[int, ...]) -> Floats:
    """Return the image's area over that in which a box of that size lies whole and off the edge."""
    height, width = shape
    room = (width - box[:, 2] - 1) * (height - box[:, 3] - 1)
    return np.asarray(height * width / np.maximum(room, 1))
