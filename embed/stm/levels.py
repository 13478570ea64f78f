"""A topograph as the network sees it: terraces flattened, in units of the noise, at several scales.

Images of point defects run from 0.006 to 2 nm per pixel and the defects from 1 to 40 nm, so one sampling
cannot serve: the network looks for defects some 14 pixels wide at every doubling of the pixel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from micdb.embed.atoms.detect import Sampled

Floats = npt.NDArray[np.float64]
Map = npt.NDArray[np.float32]

#: Samplings of the network [nm/pixel].
LEVELS = (0.1, 0.2, 0.4, 0.8, 1.6)
#: Diameter of a defect at the level where it is found [pixel].
NOMINAL = 14.0
_FINEST = 0.45  # [pixel of the image] a finer sampling shows nothing more
_LEAST, _MOST = 48, 2100  # [pixel] side of a level: most of a terrace's window, and what a processor can bear
_TERRACE = 54  # [pixel] window of the median that stands for the terrace: 3.9 defects
_COARSE = 6  # [pixel] that median changes slowly
_STEP = 6.0  # [noise] by which a terrace changes within three coarse pixels at a step
_MAD = 1.4826  # standard deviation of a normal distribution over its median absolute deviation
_STRONGEST = 0.995  # quantile of the height that stands for the strongest defect


@dataclass(frozen=True, slots=True)
class Level:
    """An image at one sampling.

    Parameters
    ----------
    values
        Channels ``(3, y, x)``: height over noise (compressed), height over the strongest, the scale itself.
    height
        Height above the terrace ``(y, x)``, in the unit of the image.
    noise
        Standard deviation of the height at this sampling, in the unit of the image.
    nm_per_pixel
        Nominal sampling [nm].
    sampled
        Knows positions in the original.
    first, last
        Whether it is the finest or the coarsest one of its image: it stands for all beyond as well.
    """

    values: Map
    height: Map
    noise: float
    nm_per_pixel: float
    sampled: Sampled
    first: bool
    last: bool


def levels(image: npt.NDArray[np.floating], pixel_size: float) -> list[Level]:
    """Return a finite topograph ``(y, x)`` at each sampling that suits its pixel size [nm], finest first."""
    flat = flatten(image)
    side = min(image.shape) * pixel_size
    suited = [
        one for one in LEVELS
        if one >= _FINEST * pixel_size and _LEAST <= side / one <= _MOST
    ]  # fmt: skip
    if not suited:
        suited = [min(LEVELS, key=lambda one: abs(math.log(one / max(pixel_size, side / _MOST))))]
    made = []
    for one in suited:
        sampled = Sampled.of(flat, one / pixel_size)
        height, noise = _above_terrace(sampled.image)
        values = _channels(height, noise, one)
        made.append(Level(values, height, noise, one, sampled, one == suited[0], one == suited[-1]))
    return made


def flatten(image: npt.NDArray[np.floating]) -> Floats:
    """Return an image ``(y, x)`` with rows brought to one height and without tilt.

    Rows are aligned by the median of the differences from one to the next, and the tilt along them is the
    median of the differences over an eighth of their length: steps and defects that touch fewer than half of
    those pairs of pixels move neither.
    """
    value = np.asarray(image, dtype=np.float64)
    value = value - np.median(value)
    jumps = np.median(np.diff(value, axis=0), axis=1)
    value = value - np.concatenate(([0.0], np.cumsum(jumps)))[:, None]
    far = max(value.shape[1] // 8, 1)
    slope = float(np.median(value[:, far:] - value[:, :-far])) / far
    value = value - slope * (np.arange(value.shape[1]) - value.shape[1] / 2)
    return np.asarray(value - np.median(value))


def _above_terrace(image: Map) -> tuple[Map, float]:
    """Return the height above a running median, which follows steps, and its noise; none on a step itself."""
    terrace = ndimage.median_filter(_shrunk(image), size=_TERRACE // _COARSE, mode="mirror")
    change = ndimage.maximum_filter(terrace, 3) - ndimage.minimum_filter(terrace, 3)
    height = image - _grown(terrace, image.shape)
    noise = _spread(height)
    height[_grown(change, image.shape) > _STEP * noise] = 0.0
    ordinary = np.where(np.abs(height) <= 3 * noise, height, np.nan)
    enough = np.isfinite(ordinary).mean(axis=1) >= 0.3
    offset = np.zeros(len(height), dtype=np.float32)
    offset[enough] = np.nanmedian(ordinary[enough], axis=1)
    height = (height - offset[:, None]).astype(np.float32)
    return height, max(_spread(height), 1e-30)


def _channels(height: Map, noise: float, nm_per_pixel: float) -> Map:
    strongest = max(float(np.quantile(np.abs(height), _STRONGEST)), 1e-30)
    scale = math.log2(nm_per_pixel / LEVELS[len(LEVELS) // 2]) / 2
    return np.stack((
        np.arcsinh(height / noise) / 2,
        np.clip(height / strongest, -2, 2),
        np.full_like(height, scale),
    )).astype(np.float32)  # fmt: skip


def _spread(value: npt.NDArray[np.floating]) -> float:
    return _MAD * float(np.median(np.abs(value - np.median(value))))


def _shrunk(image: Map) -> Map:
    size = tuple(max(math.ceil(n / _COARSE), 1) for n in reversed(image.shape))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX))


def _grown(image: Map, shape: tuple[int, ...]) -> Map:
    return np.asarray(Image.fromarray(image).resize((shape[1], shape[0]), Image.Resampling.BILINEAR))
