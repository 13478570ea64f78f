"""Boundaries between regions of a label map, as curves."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Floats = npt.NDArray[np.float64]

_ROUNDED = 4.0  # [pixel] Gaussian width by which the steps of the label map are rounded
_SHARE = 0.75  # of the surroundings that two regions make up together where their boundary is drawn


class Boundary(NamedTuple):
    """A curve between two regions.

    Parameters
    ----------
    first, second
        Labels of the regions, ``first < second``; -1 for what has no lattice.
    xy
        Points in order ``(n, 2)``, in the unit of the pixel size; a closed curve ends where it began.
    """

    first: int
    second: int
    xy: Floats

    @property
    def length(self) -> float:
        """Length of the curve."""
        return float(np.hypot(*np.diff(self.xy, axis=0).T).sum())


def boundaries(
    labels: npt.NDArray[np.integer], pixel_size: tuple[float, float] = (1.0, 1.0)
) -> list[Boundary]:
    """Return the curves between the regions of a label map, by labels, longest first.

    Parameters
    ----------
    labels
        ``(y, x)``, as from `micdb.embed.lattice.phases.phase_map`.
    pixel_size
        ``(y, x)`` [nm].
    """
    from skimage.measure import find_contours

    share = {
        int(number): ndimage.gaussian_filter((labels == number).astype(float), _ROUNDED, mode="nearest")
        for number in np.unique(labels)
    }
    factor = np.array(pixel_size[::-1])
    found = []
    for first, second in _touching(labels):
        both = share[first] + share[second]
        difference = np.where(both > _SHARE, share[first] - share[second], np.nan)
        curves = [
            Boundary(first, second, curve[:, ::-1] * factor)
            for curve in find_contours(difference, 0.0)  # type: ignore[no-untyped-call]
        ]
        found += sorted(curves, key=lambda curve: -curve.length)
    return found


def _touching(labels: npt.NDArray[np.integer]) -> list[tuple[int, int]]:
    sides = [(labels[:, :-1], labels[:, 1:]), (labels[:-1], labels[1:])]
    pairs = np.concatenate([np.column_stack((one.ravel(), other.ravel())) for one, other in sides])
    pairs = np.unique(np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1), axis=0)
    return [(int(first), int(second)) for first, second in pairs]
