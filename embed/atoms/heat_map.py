"""The picture the network of atom columns works on, and the map it is taught to draw."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Floats = npt.NDArray[np.float64]

#: Sampling of the network [nm/pixel]: columns 0.136 nm apart, as in silicon dumbbells, are 7 pixels apart.
NM_PER_PIXEL = 0.02
SPOT = 1.3  # [pixel] standard deviation of the spot drawn for a column
_SLOW = 25.0  # [pixel] 0.5 nm: what varies more slowly is thickness or contamination
_ORDINARY = (5e-4, 0.9995)  # quantiles; what lies beyond by more than their difference is dust or a hot pixel
_BRIGHTEST = 8.0  # [typical contrast] a dust grain must not outshine the atoms


def standardise(image: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """Return an image ``(y, x)`` without slow background, in units of its typical local contrast.

    The contrast is the median over the image of the local standard deviation: neither a grain of dust nor a
    hole moves it.
    """
    low, high = np.quantile(image, _ORDINARY)
    value = np.clip(image, 2 * low - high, 2 * high - low).astype(np.float32)
    value = value - ndimage.gaussian_filter(value, _SLOW, mode="mirror", truncate=2.0)
    local = ndimage.gaussian_filter(np.square(value), _SLOW, mode="mirror", truncate=2.0)
    typical = float(np.sqrt(np.median(local)))
    return np.asarray(np.clip(value / max(typical, 1e-30), -_BRIGHTEST, _BRIGHTEST), dtype=np.float32)


def draw(xy: Floats, shape: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Return the map ``(y, x)`` of columns at ``(n, 2)`` x, y [pixel]: 1 at a column, 0 far from all."""
    reach = int(np.ceil(4 * SPOT))
    map_ = np.zeros((shape[0] + 2 * reach, shape[1] + 2 * reach), dtype=np.float32)
    steps = np.arange(-reach, reach + 1)
    for x, y in xy:
        left, top = int(np.rint(x)), int(np.rint(y))
        if not (-reach <= left < shape[1] + reach and -reach <= top < shape[0] + reach):
            continue
        across = np.exp(-0.5 * ((steps + left - x) / SPOT) ** 2)
        down = np.exp(-0.5 * ((steps + top - y) / SPOT) ** 2)
        rows = slice(max(top, 0), min(top + 2 * reach + 1, map_.shape[0]))
        columns = slice(max(left, 0), min(left + 2 * reach + 1, map_.shape[1]))
        spot = np.outer(down, across).astype(np.float32)
        spot = spot[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
        np.maximum(map_[rows, columns], spot, out=map_[rows, columns])
    return np.ascontiguousarray(map_[reach:-reach, reach:-reach])
