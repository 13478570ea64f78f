"""Windows of an image on a grid, all alike in level and contrast: what an autoencoder looks at."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.floating]

MOST = 256  # windows of a frame: more say the same again
_FLAT = 1e-6  # [standard deviation of the image] of a window that shows nothing


def windows(image: Image, side: int) -> npt.NDArray[np.float32]:
    """Return windows that overlap by half ``(n, side, side)``, each of mean 0 and standard deviation 1.

    Parameters
    ----------
    image
        ``(y, x)``, finite.
    side
        [pixel]; a smaller image has none. Of many, evenly spread ones are taken.
    """
    if min(image.shape) < side:
        return np.empty((0, side, side), np.float32)
    rows, columns = (np.arange(0, size - side + 1, side // 2) for size in image.shape)
    corners = np.array([(top, left) for top in rows for left in columns])
    if len(corners) > MOST:
        corners = corners[np.linspace(0, len(corners) - 1, MOST).astype(int)]
    cut = np.stack([image[top : top + side, left : left + side] for top, left in corners]).astype(np.float64)
    spread = cut.std(axis=(1, 2), keepdims=True)
    shown = spread[:, 0, 0] > _FLAT * max(float(image.std()), 1e-300)
    middle = cut.mean(axis=(1, 2), keepdims=True)
    return np.asarray(((cut - middle) / np.maximum(spread, 1e-300))[shown], dtype=np.float32)
