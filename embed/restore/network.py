"""Asking a restoring network: what it is shown, and the image that its answer makes.

The network says what to take away from the image (Zhang et al., IEEE Trans. Image Process. 26, 3142, 2017).
With four maps it says so for four pixels in the place of one (sub-pixel convolution: Shi et al., CVPR 2016).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from micdb.embed.nets.tiles import tiled

if TYPE_CHECKING:
    from torch import nn

Image = npt.NDArray[np.float32]

FINER = 2  # pixels of a super-resolved image in one of the image, each way

TURNS = 8  # four quarter turns, mirrored or not


def levels(image: npt.NDArray[np.floating]) -> tuple[float, float]:
    """Return the mean and standard deviation of an image: what the network is not to depend on."""
    return float(image.mean()), max(float(image.std()), 1e-30)


def restored(
    image: npt.NDArray[np.floating], network: nn.Module, *, factor: int = 1, turns: int = 1
) -> Image:
    """Return the image that a network makes of one.

    Parameters
    ----------
    image
        ``(y, x)``, finite.
    network
        With ``factor ** 2`` maps.
    factor
        Pixels of the result in one of the image, each way.
    turns
        Of the eight turned and mirrored images, how many to ask for and average.

    Returns
    -------
    image
        ``(factor * y, factor * x)``, in the unit of the image.
    """
    mean, spread = levels(np.asarray(image, dtype=np.float64))
    seen = np.asarray((image - mean) / spread, dtype=np.float32)
    total = np.zeros((factor * image.shape[0], factor * image.shape[1]), dtype=np.float64)
    for turn in range(turns):
        shown = np.rot90(seen, turn % 4)
        shown = shown[:, ::-1] if turn >= TURNS // 2 else shown
        shown = np.ascontiguousarray(shown)
        made = _interleaved(shown - tiled(shown[None], network))
        made = made[:, ::-1] if turn >= TURNS // 2 else made
        total += np.rot90(made, -(turn % 4))
    return np.asarray(mean + spread * total / turns, dtype=np.float32)


def _interleaved(maps: Image) -> Image:
    """Return maps ``(factor**2, y, x)`` as one image; as torch.nn.functional.pixel_shuffle."""
    factor = math.isqrt(len(maps))
    height, width = maps.shape[1:]
    grid = maps.reshape(factor, factor, height, width).transpose(2, 0, 3, 1)
    return grid.reshape(factor * height, factor * width)
