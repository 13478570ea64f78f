"""Pictures at a declared scale: the ladder of nm per pixel, anti-aliased resampling, unscanned lines."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from PIL import Image

Floats = npt.NDArray[np.floating]

#: Declared scales [nm/pixel]: powers of two from 1/128 nm (atomic columns) to 16 um (macrographs).
LADDER: tuple[float, ...] = tuple(2.0**power for power in range(-7, 15))
#: Pixels may be this much coarser than the scale asked for: 5 % finer sampling invents no structure.
UPSAMPLING_TOLERANCE = 1.05
#: Sides are multiples of this, so that three halvings need no cropping.
MULTIPLE = 8


def available(shape: tuple[int, int], pixel_size: tuple[float, float], *, smallest: int) -> list[float]:
    """Return the scales of `LADDER` [nm/pixel] an image can give, finest first.

    Parameters
    ----------
    shape
        ``(y, x)`` [pixel].
    pixel_size
        ``(y, x)`` [nm].
    smallest
        Short side an image must have after resampling [pixel].
    """
    return [
        rung
        for rung in LADDER
        if max(pixel_size) <= rung * UPSAMPLING_TOLERANCE
        and min(resampled(shape, (rung / pixel_size[0], rung / pixel_size[1]))) >= smallest
    ]


def factors(pixel_size: tuple[float, float] | None, wanted: float | None) -> tuple[float, float] | str:
    """Return by how much pixels grow ``(y, x)`` to have one size, or why they cannot.

    Parameters
    ----------
    pixel_size
        ``(y, x)`` [nm]; None where nothing says it.
    wanted
        [nm]; None for pixels as they are.
    """
    if wanted is None:
        return 1.0, 1.0
    if pixel_size is None:
        return f"the image has no pixel size, so it cannot be resampled to {wanted:g} nm/pixel"
    if not all(math.isfinite(one) and one > 0 for one in pixel_size):
        return f"pixel size {pixel_size[1]:g} x {pixel_size[0]:g} nm; positive numbers are needed"
    if max(pixel_size) > wanted * UPSAMPLING_TOLERANCE:
        return f"pixel size {max(pixel_size):g} nm; {wanted:g} nm/pixel would need upsampling"
    return wanted / pixel_size[0], wanted / pixel_size[1]


def resample(image: Floats, factors: tuple[float, float]) -> npt.NDArray[np.float32]:
    """Return a finite image at a coarser sampling, without aliasing.

    A Lanczos kernel of three lobes, widened to the new pitch, cuts off at the new Nyquist frequency
    (Turkowski 1990). The field is cropped about its centre to a multiple of `MULTIPLE` pixels, so
    that turning the image by 90 degrees turns the result and changes nothing else.

    Parameters
    ----------
    image
        ``(y, x)``, finite.
    factors
        ``(y, x)``: new pixel size over old one.
    """
    height, width = resampled((image.shape[0], image.shape[1]), factors)
    if factors == (1.0, 1.0):
        top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
        return np.ascontiguousarray(image[top : top + height, left : left + width], dtype=np.float32)
    top_edge, left_edge = origin((image.shape[0], image.shape[1]), factors)
    box = (left_edge, top_edge, left_edge + width * factors[1], top_edge + height * factors[0])
    # rounding may leave the box a hair outside the image when everything is kept
    limits = (0.0, 0.0, float(image.shape[1]), float(image.shape[0]))
    box = (max(box[0], limits[0]), max(box[1], limits[1]), min(box[2], limits[2]), min(box[3], limits[3]))
    picture = Image.fromarray(np.ascontiguousarray(image, dtype=np.float32))
    return np.asarray(picture.resize((width, height), Image.Resampling.LANCZOS, box=box), dtype=np.float32)


def origin(shape: tuple[int, int], factors: tuple[float, float]) -> tuple[float, float]:
    """Return where the field that `resample` keeps begins: ``(y, x)`` of its corner [pixel of the image].

    Parameters
    ----------
    shape
        ``(y, x)`` of the image [pixel].
    factors
        ``(y, x)``: new pixel size over old one.
    """
    height, width = resampled(shape, factors)
    if factors == (1.0, 1.0):
        return float((shape[0] - height) // 2), float((shape[1] - width) // 2)
    return (shape[0] - height * factors[0]) / 2, (shape[1] - width * factors[1]) / 2


def resampled(shape: tuple[int, int], factors: tuple[float, float]) -> tuple[int, int]:
    """Return the shape ``(y, x)`` [pixel] of what `resample` makes; parameters as for `origin`."""
    height, width = (
        math.floor(size / factor / MULTIPLE + 1e-9) * MULTIPLE
        for size, factor in zip(shape, factors, strict=True)
    )
    return height, width


def scanned(frame: Floats) -> tuple[npt.NDArray[np.float64], tuple[int, int]]:
    """Return the part of a frame that was recorded, and its corner.

    The longest run of rows, then of columns, of which at least half is finite is kept; single missing
    pixels inside it get the median. A frame with nothing finite comes back with size 0.

    Returns
    -------
    part, (top, left)
        Finite ``(y, x)`` float64, and where it begins in the frame [pixel].
    """
    part = np.asarray(frame, dtype=np.float64)
    corner = [0, 0]
    for axis in (0, 1):
        corner[axis], last = _longest_run(np.isfinite(part).mean(axis=1 - axis) >= 0.5)
        part = part[corner[axis] : last] if axis == 0 else part[:, corner[axis] : last]
        if part.size == 0:
            return part, (0, 0)
    missing = ~np.isfinite(part)
    filled = np.where(missing, np.median(part[~missing]), part) if missing.any() else part
    return filled, (corner[0], corner[1])


def _longest_run(good: npt.NDArray[np.bool_]) -> tuple[int, int]:
    edges = np.flatnonzero(np.diff(np.concatenate(([False], good, [False])).astype(np.int8)))
    starts, ends = edges[::2], edges[1::2]
    if not starts.size:
        return 0, 0
    longest = int(np.argmax(ends - starts))
    return int(starts[longest]), int(ends[longest])


def constant(image: Floats) -> bool:
    """Return whether an image varies by no more than float32 rounding of its largest value."""
    largest = float(np.abs(image).max())
    return float(np.ptp(image)) <= 4 * float(np.finfo(np.float32).eps) * largest
