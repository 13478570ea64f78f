"""Crystal defects in a foil, pixel by pixel: what the network sees, at which sampling, and what it says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from micdb.embed.nets.tiles import tiled

if TYPE_CHECKING:
    from torch import nn

Map = npt.NDArray[np.float32]

#: What each channel of the answer is the probability of.
KINDS = ("line", "loop", "precipitate", "void")
#: Channels of what the network sees.
CHANNELS = 2
#: Finest sampling of the network [nm/pixel]: dislocations look 2 nm wide or more.
FINEST = 0.3
_NEAR, _FAR = 10.0, 40.0  # [pixel] standard deviations of the surroundings a pixel is compared with
_FLOOR = 1e-3  # [standard deviation of the image] of the surroundings: those of a burned-in bar have none


@dataclass(frozen=True, slots=True)
class Calibration:
    """Turns answers into probabilities: the logistic of ``slope * answer + offset`` (Platt 1999), by kind.

    Parameters
    ----------
    slope, offset
        ``(4,)``.
    """

    slope: tuple[float, ...] = (1.0,) * len(KINDS)
    offset: tuple[float, ...] = (0.0,) * len(KINDS)

    def __call__(self, answers: Map) -> Map:
        """Return probabilities ``(4, y, x)`` of answers ``(4, y, x)``."""
        slope, offset = (np.array(one, np.float32)[:, None, None] for one in (self.slope, self.offset))
        return np.asarray(1 / (1 + np.exp(-np.clip(slope * answers + offset, -30, 30))), dtype=np.float32)


def channels(image: npt.NDArray[np.floating], *, dark_field: bool = False) -> Map:
    """Return an image ``(y, x)`` as the network sees it ``(2, y, x)``.

    Each pixel is compared with its surroundings, near and far, in standard deviations there: gain and offset
    go, thickness and bend contours weaken. A dark field is turned over: its lines are bright, its voids dark.
    """
    sign = -1 if dark_field else 1
    value = np.asarray(image, dtype=np.float32)
    value = (value - value.mean()) / max(float(value.std()), 1e-30)
    made = []
    for sigma in (_NEAR, _FAR):
        mean = ndimage.gaussian_filter(value, sigma, mode="reflect", truncate=3.0)
        off = value - mean
        spread = np.sqrt(ndimage.gaussian_filter(off * off, sigma, mode="reflect", truncate=3.0))
        made.append(sign * np.arcsinh(off / np.maximum(spread, _FLOOR)))
    return np.stack(made).astype(np.float32)


def answers(image: npt.NDArray[np.floating], network: nn.Module, *, dark_field: bool = False) -> Map:
    """Return what the network says of each kind ``(4, y, x)``, before calibration, of a finite image."""
    return tiled(channels(image, dark_field=dark_field), network)


def resized(image: Map, shape: Sequence[int]) -> Map:
    """Return an image at another sampling, without aliasing."""
    if tuple(shape) == image.shape:
        return image
    how = Image.Resampling.BOX if shape[0] < image.shape[0] else Image.Resampling.BILINEAR
    return np.array(Image.fromarray(image).resize((shape[1], shape[0]), how), dtype=np.float32)


def labels(probability: Map, least: float) -> npt.NDArray[np.int32]:
    """Return the kind at each pixel ``(y, x)``, its number in `KINDS` plus 1, or 0.

    The most probable object counts, and objects before lines, which go through or past them.
    """
    objects = probability[1:]
    best = objects.argmax(axis=0)
    label = np.where(probability[0] >= least, 1, 0)
    return np.where(objects.max(axis=0) >= least, best + 2, label).astype(np.int32)
