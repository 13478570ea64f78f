"""What networks of microstructures see of an image: grey values without the detector's offset and gain."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_TAILS = (1.0, 99.0)  # [per cent] of the pixels below and above: hot pixels and charging do not set the gain
_CLIPPED = 4.0  # [half range]


def view(image: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """Return an image ``(y, x)`` with its grey values from about -1 to 1.

    The middle is that between dark and bright; a median would jump from phase to phase with their shares.

    Parameters
    ----------
    image
        Finite, not constant.
    """
    low, high = np.percentile(image, _TAILS)
    half = max(float(high - low) / 2, float(image.std()), 1e-30)
    return np.asarray(np.clip((image - (low + high) / 2) / half, -_CLIPPED, _CLIPPED), dtype=np.float32)
