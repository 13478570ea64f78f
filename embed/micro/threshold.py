"""Particles by brightness: Otsu's threshold, and a watershed where two of them touch.

The way of most programs that count particles. It needs particles that are all brighter or all darker than
what lies between them, and parts those that touch only where there is a neck.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.filters import threshold_otsu

from micdb.embed.micro.instances import instances

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int32]


def particles(image: npt.NDArray[np.floating], *, blur: float, bright: bool | None, least: int) -> Ints:
    """Return which particle each pixel shows ``(y, x)``, from 1; 0 is none.

    Parameters
    ----------
    image
        ``(y, x)``, finite, not constant.
    blur
        Standard deviation of a Gaussian against noise [pixel].
    bright
        Whether particles are brighter than what lies between them; None: they are what the edge of the image
        crosses less.
    least
        Area of a particle [pixel].
    """
    value = ndimage.gaussian_filter(np.asarray(image, np.float64), blur)
    mask = value > threshold_otsu(value)  # type: ignore[no-untyped-call]
    if bright is None:
        edge = np.concatenate((mask[0], mask[-1], mask[:, 0], mask[:, -1]))
        bright = bool(edge.mean() <= 0.5)
    return instances(mask if bright else ~mask, least)
