"""Pixels of drawn shapes. Points are x, y [pixel] from the corner of the top-left one, as tools count."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_BRUSH = 1.5  # [pixel] from the middle of a stroke: three pixels wide


def inside(points: Floats, shape: tuple[int, int]) -> Bools:
    """Return the pixels ``(y, x)`` whose centres lie in a polygon ``(n, 2)``."""
    if len(points) < 3:
        return np.zeros(shape, bool)
    from skimage.draw import polygon2mask

    mask = polygon2mask(shape, points[:, ::-1] - 0.5)  # type: ignore[no-untyped-call]
    return np.asarray(mask, dtype=np.bool_)


def disc(centre: Floats, radius: float, shape: tuple[int, int]) -> Bools:
    """Return the pixels ``(y, x)`` whose centres lie in a disc."""
    y, x = np.ogrid[: shape[0], : shape[1]]
    return np.asarray(np.hypot(x + 0.5 - centre[0], y + 0.5 - centre[1]) <= radius)


def stroke(points: Floats, shape: tuple[int, int], *, joined: bool) -> Bools:
    """Return the pixels ``(y, x)`` under a brush that is put on points, or drawn from each to the next."""
    ends = pairwise(points) if joined else ()
    places = [points]
    for start, end in ends:
        steps = int(np.ceil(np.hypot(*(end - start)))) + 1
        places.append(np.linspace(start, end, 2 * steps))
    pixels = np.zeros(shape, bool)
    y, x = np.mgrid[-2:3, -2:3]
    for place in np.concatenate(places):
        at = np.floor(place).astype(int)
        rows, columns = at[1] + y, at[0] + x
        near = np.hypot(columns + 0.5 - place[0], rows + 0.5 - place[1]) <= _BRUSH
        near &= (rows >= 0) & (rows < shape[0]) & (columns >= 0) & (columns < shape[1])
        pixels[rows[near], columns[near]] = True
    return pixels
