"""Length of lines from their mask: thinned, cleared of spurs, and measured without bias of direction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.morphology import skeletonize

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

# Steps along and across pixels of an 8-connected curve of any direction are this long, on the mean (Dorst and
# Smeulders, Comput. Vis. Graph. Image Process. 40, 311, 1987).
_ALONG, _ACROSS = 0.948, 1.340  # [pixel]
_EIGHT = np.ones((3, 3), dtype=bool)
_PAD = 24  # [pixel] by which lines go on beyond the edge, so that thinning does not shorten them there
_SLENDER = 2.0  # length over width of what is a line


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines of a mask.

    Parameters
    ----------
    skeleton
        Their middle, one pixel wide ``(y, x)``.
    length
        Of all within the image [pixel].
    """

    skeleton: Bools
    length: float


def lines(mask: Bools) -> Lines:
    """Return the lines of a mask ``(y, x)``; what is less than twice as long as wide is none.

    Lines that run side by side nearer than their width are one in the mask, and one here.
    """
    if not mask.any():
        return Lines(np.zeros(mask.shape, dtype=bool), 0.0)
    padded = np.pad(mask, _PAD, mode="edge")
    deep = ndimage.distance_transform_edt(np.pad(padded, 1))[1:-1, 1:-1]
    thin = _pruned(_thinned(padded), deep)
    inside = np.zeros(padded.shape, dtype=bool)
    inside[_PAD:-_PAD, _PAD:-_PAD] = True
    each = _lengths(thin, deep, inside)
    number, count = ndimage.label(thin, _EIGHT)
    width = 2 * ndimage.mean(deep, number, np.arange(1, count + 1)) - 1
    total = np.bincount(number.ravel(), each.ravel(), count + 1)[1:]
    kept = total >= _SLENDER * width
    chosen = np.concatenate(([False], kept))[number] & inside
    return Lines(chosen[_PAD:-_PAD, _PAD:-_PAD], float(total[kept].sum()))


def _lengths(thin: Bools, deep: Floats, inside: Bools) -> Floats:
    """Return the length that each pixel of a skeleton adds ``(y, x)``: half of its steps, and its end."""
    rows, columns = (range(size) for size in thin.shape)
    each = np.zeros(thin.shape)
    for (dy, dx), step in {(0, 1): _ALONG, (1, 0): _ALONG, (1, 1): _ACROSS, (1, -1): _ACROSS}.items():
        here = (slice(0, len(rows) - dy), slice(max(-dx, 0), len(columns) - max(dx, 0)))
        there = (slice(dy, len(rows)), slice(max(dx, 0), len(columns) - max(-dx, 0)))
        pair = thin[here] & thin[there]
        if dy and dx:  # a corner is two steps along, not one across as well
            pair &= ~(thin[here[0], there[1]] | thin[there[0], here[1]])
        each[here] += 0.5 * step * pair
        each[there] += 0.5 * step * pair
    near = ndimage.convolve(thin.astype(np.int8), _EIGHT.astype(np.int8), mode="constant") - 1
    each += np.where(thin & (near == 1), np.maximum(deep - 0.5, 0.0), 0.0)  # thinning stops short of an end
    return np.where(thin & inside, each, 0.0)


def _pruned(thin: Bools, deep: Floats) -> Bools:
    """Return a skeleton without branches that end before they leave the width of what they branch off."""
    near = ndimage.convolve(thin.astype(np.int8), _EIGHT.astype(np.int8), mode="constant") - 1
    fork = thin & (near > 2)
    branch, count = ndimage.label(thin & ~fork, _EIGHT)
    if not count:
        return thin
    index = np.arange(1, count + 1)
    long = np.bincount(branch.ravel(), minlength=count + 1)[1:]
    ends = np.asarray(ndimage.sum(near <= 1, branch, index))
    reach = ndimage.maximum_filter(np.where(fork, deep, 0.0), footprint=_EIGHT)
    base = np.asarray(ndimage.maximum(reach, branch, index))  # half the width at the fork
    spur = (ends > 0) & (base > 0) & (long <= base + 1)
    kept = thin & ~np.concatenate(([False], spur))[branch]
    return _thinned(kept)


def _thinned(mask: Bools) -> Bools:
    return np.asarray(skeletonize(mask), dtype=np.bool_)  # type: ignore[no-untyped-call]
