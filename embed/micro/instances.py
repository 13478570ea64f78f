"""Objects of a mask, those that touch apart: watershed of the distance to the edge."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.morphology import h_maxima
from skimage.segmentation import watershed

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int32]

_NECK = 0.75  # [pixel] by which a neck is narrower on either side: the edge of a mask is no surer


def instances(mask: Bools, least: int = 5) -> Ints:
    """Return objects of a mask ``(y, x)``, numbered from 1; 0 is none.

    Where an object narrows and widens again, by more than the edge of a mask is sure, two touch.

    Parameters
    ----------
    mask
        ``(y, x)``.
    least
        Area of an object [pixel].
    """
    if not mask.any():
        return np.zeros(mask.shape, dtype=np.int32)
    solid = ndimage.binary_fill_holes(mask)
    deep = ndimage.distance_transform_edt(np.pad(solid, 1, mode="edge"))[1:-1, 1:-1]
    tops = h_maxima(deep, _NECK)  # type: ignore[no-untyped-call]
    seeds, _ = ndimage.label(tops, np.ones((3, 3)))
    parts = watershed(-deep, seeds, mask=solid)  # type: ignore[no-untyped-call]
    area = np.bincount(parts.ravel())
    number = np.zeros(len(area), dtype=np.int32)
    kept = np.flatnonzero(area >= least)
    kept = kept[kept > 0]
    number[kept] = np.arange(1, len(kept) + 1)
    return np.asarray(number[parts])
