"""Where atom columns are: the network's map of an image, and its peaks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from micdb.embed.atoms.heat_map import SPOT, standardise
from micdb.embed.nets.tiles import tiled

if TYPE_CHECKING:
    from torch import nn

Floats = npt.NDArray[np.float64]

_SMOOTH = 0.7  # [pixel] two maxima on the flat top of one spot are one column
_CLOSEST = 4.0  # [pixel] 0.08 nm: no two columns are closer


@dataclass(frozen=True, slots=True)
class Sampled:
    """An image at the sampling of the network.

    Parameters
    ----------
    image
        ``(y, x)`` float32.
    factor
        Its pixel over the pixel of the original.
    """

    image: npt.NDArray[np.float32]
    factor: float

    @classmethod
    def of(cls, image: npt.NDArray[np.floating], factor: float) -> Sampled:
        """Resample all of a finite image ``(y, x)``; what its sides lack to whole pixels is mirrored."""
        if abs(factor - 1) < 0.02:
            return cls(np.asarray(image, dtype=np.float32), 1.0)
        height, width = (math.ceil(size / factor - 1e-9) for size in image.shape)
        missing = [math.ceil(n * factor) - size for n, size in zip((height, width), image.shape, strict=True)]
        padded = np.pad(image, [(0, max(n, 0)) for n in missing], mode="symmetric").astype(np.float32)
        box = (0.0, 0.0, width * factor, height * factor)
        picture = Image.fromarray(np.ascontiguousarray(padded))
        # widened to the new pixel where that is larger, so that all counts are used and none are aliased
        return cls(np.asarray(picture.resize((width, height), Image.Resampling.BICUBIC, box=box)), factor)

    def original(self, xy: Floats) -> Floats:
        """Return positions ``(n, 2)`` of this image as positions of the original [pixel]."""
        return (xy + 0.5) * self.factor - 0.5


def heat_map(image: npt.NDArray[np.floating], network: nn.Module) -> npt.NDArray[np.float32]:
    """Return the probability of a column at each pixel ``(y, x)`` of an image at the network's sampling."""
    logits = tiled(standardise(image)[None], network)[0]
    return np.asarray(1 / (1 + np.exp(-logits)), dtype=np.float32)


def peaks(map_: npt.NDArray[np.float32], threshold: float) -> tuple[Floats, Floats]:
    """Return the columns of a map: positions ``(n, 2)`` as x, y [pixel] and probabilities ``(n,)``.

    Parameters
    ----------
    map_
        ``(y, x)``, what `heat_map` gives.
    threshold
        Least probability.
    """
    smooth = ndimage.gaussian_filter(map_, _SMOOTH, mode="nearest")
    # a spot of unit height that is smoothed loses this share of it
    gain = 1 + (_SMOOTH / SPOT) ** 2
    reach = int(_CLOSEST / math.sqrt(2))
    top = ndimage.maximum_filter(smooth, size=2 * reach + 1, mode="nearest")
    y, x = np.nonzero((smooth == top) & (smooth * gain >= threshold))
    probability = np.minimum(smooth[y, x].astype(np.float64) * gain, 1.0)
    return np.column_stack((_vertex(smooth, y, x, axis=1), _vertex(smooth, y, x, axis=0))), probability


def _vertex(
    map_: npt.NDArray[np.float32], y: npt.NDArray[np.int64], x: npt.NDArray[np.int64], *, axis: int
) -> Floats:
    """Return the coordinate of each maximum along an axis, by a parabola through three logarithms."""
    place = (y, x)[axis].astype(np.float64)
    size = map_.shape[axis]
    before, after = (np.clip((y, x)[axis] + step, 0, size - 1) for step in (-1, 1))
    low, high = (map_[one, x] if axis == 0 else map_[y, one] for one in (before, after))
    low, mid, high = (np.log(np.maximum(one, 1e-6).astype(np.float64)) for one in (low, map_[y, x], high))
    curvature = np.minimum(low - 2 * mid + high, -1e-9)
    shift = np.clip(0.5 * (low - high) / curvature, -0.5, 0.5)
    inner = (before < (y, x)[axis]) & (after > (y, x)[axis])
    return np.asarray(place + np.where(inner, shift, 0.0))
