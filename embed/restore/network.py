"""Asking a restoring network: what it is shown, and the image that its answer makes.

The network says what to take away from the first image it is shown (Zhang et al., IEEE Trans. Image Process.
26, 3142, 2017). With four maps it says so for four pixels in the place of one (sub-pixel convolution: Shi et
al., CVPR 2016).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from micdb.embed.nets.tiles import tiled
from micdb.embed.restore.sparse import SIZES, sparse

if TYPE_CHECKING:
    from torch import nn

Image = npt.NDArray[np.float32]

FINER = 2  # pixels of a super-resolved image in one of the image, each way
TURNS = 8  # four quarter turns, mirrored or not
EVIDENCE = len(SIZES) + 3  # images that `denoise` is shown


def plain(image: npt.NDArray[np.floating]) -> tuple[Image, float, float]:
    """Return an image ``(1, y, x)`` with mean 0 and deviation 1, and its mean and standard deviation."""
    value = np.asarray(image, dtype=np.float64)
    mean, spread = float(value.mean()), max(float(value.std()), 1e-30)
    return np.asarray((value - mean) / spread, dtype=np.float32)[None], mean, spread


def with_sparse(image: npt.NDArray[np.floating]) -> tuple[Image, float, float]:
    """Return an image as `plain` does, after and before what is known of it without a network.

    These are the mean of what windows make of it, then the image, what windows of each size do, and the
    standard deviation of its noise: `EVIDENCE` images.
    """
    seen, mean, spread = plain(image)
    estimates, deviation = sparse(seen[0])
    return np.stack((estimates.mean(axis=0), *seen, *estimates, deviation)).astype(np.float32), mean, spread


def restored(shown: tuple[Image, float, float], network: nn.Module, *, turns: int = 1) -> Image:
    """Return the image that a network makes of what it is shown.

    Parameters
    ----------
    shown
        From `plain` or `with_sparse`.
    network
        With one map, or ``factor ** 2``.
    turns
        Of the eight turned and mirrored images, how many to ask for and average.

    Returns
    -------
    image
        ``(factor * y, factor * x)``, in the unit of the image.
    """
    seen, mean, spread = shown
    total = np.zeros(1)
    for turn in range(turns):
        turned = np.rot90(seen, turn % 4, axes=(1, 2))
        turned = turned[:, :, ::-1] if turn >= TURNS // 2 else turned
        turned = np.ascontiguousarray(turned)
        made = _interleaved(turned[:1] - tiled(turned, network))
        made = made[:, ::-1] if turn >= TURNS // 2 else made
        total = total + np.rot90(made, -(turn % 4))
    return np.asarray(mean + spread * total / turns, dtype=np.float32)


def _interleaved(maps: Image) -> Image:
    """Return maps ``(factor**2, y, x)`` as one image; as torch.nn.functional.pixel_shuffle."""
    factor = math.isqrt(len(maps))
    height, width = maps.shape[1:]
    grid = maps.reshape(factor, factor, height, width).transpose(2, 0, 3, 1)
    return grid.reshape(factor * height, factor * width)
