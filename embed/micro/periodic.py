"""Whether an image shows a lattice: sharp spots in its power spectrum, in two directions."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy import ndimage

_WINDOW = 256  # [pixel] in the middle of the image
_LONGEST = 25.0  # [pixel] period
# Power over the median of its ring: noise reaches 20, fringes, lines and precipitates of simulated foils 100
# in the stronger and in the weaker direction, resolved columns of atoms 300 to 1,500.
_SPOT = 200.0
_APART = 0.03  # [1/pixel] of the second spot from the line through the first


def period(image: npt.NDArray[np.floating]) -> float | None:
    """Return the period of a lattice in the middle of an image ``(y, x)`` [pixel], None where none shows."""
    rows, columns = (slice(max((size - _WINDOW) // 2, 0), (size + _WINDOW) // 2) for size in image.shape)
    part = np.asarray(image[rows, columns], dtype=np.float64)
    window = np.outer(*(np.hanning(size) for size in part.shape))
    power = np.abs(np.fft.fft2((part - part.mean()) * window)) ** 2
    y, x = np.meshgrid(*(np.fft.fftfreq(size) for size in part.shape), indexing="ij")
    frequency = np.hypot(y, x)
    ring = np.rint(frequency * min(part.shape) / 2).astype(np.intp)
    floor = np.asarray(ndimage.median(power, ring, np.arange(ring.max() + 1)))
    ratio = np.where(
        (frequency > 1 / _LONGEST) & (frequency < 0.5), power / np.maximum(floor, 1e-30)[ring], 0
    )
    first = np.unravel_index(ratio.argmax(), ratio.shape)
    across = np.abs(y * x[first] - x * y[first]) / math.hypot(y[first], x[first])
    if ratio[across > _APART].max() < _SPOT:
        return None
    return float(1 / frequency[first])
