"""How a defect looks, in numbers that do not change when it is turned or mirrored."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from micdb.embed.stm.detect import Found
from micdb.embed.stm.levels import NOMINAL, Level

Floats = npt.NDArray[np.float64]

_RADII = np.array([0.0, 0.15, 0.3, 0.45, 0.6, 0.8, 1.0, 1.3])  # [radius of the defect]
_ANGLES = 24
_FINE = np.linspace(0.0, 2.0, 25)  # [radius of the defect] along which its extent is measured
_HALF = (
    1.699  # visible diameter, 4 standard deviations, of a Gaussian over its full width at half of its height
)
_FOLDS = (1, 2, 3)  # crescents and pairs, ellipses, sites of three-fold symmetry
_RINGS = slice(2, 6)  # of `_RADII`, where a shape shows
#: Numbers of a descriptor: profile along the radius, angular order on four rings, extent, height over noise.
LENGTH = len(_RADII) + len(_FOLDS) * 4 + 2


@dataclass(frozen=True, slots=True)
class Looks:
    """What defects look like.

    Parameters
    ----------
    height
        Of the centre above the surroundings, signed ``(n,)``, in the unit of the image.
    extent
        Visible diameter ``(n,)`` [nm]: 4 standard deviations of a Gaussian as wide at half of its height.
    noise
        Of the height, where it was measured ``(n,)``.
    descriptor
        ``(n, LENGTH)``: the mean profile over the radius and the strength of one- to three-fold angular order
        on four rings, both over the height, the logarithms to base 10 of the extent [nm] and of the height
        over the noise.
    """

    height: Floats
    extent: Floats
    noise: Floats
    descriptor: npt.NDArray[np.float32]


def describe(found: Found, made: Sequence[Level], pixel_size: float) -> Looks:
    """Measure defects of an image of a pixel size [nm] in its levels, each where it is best sampled."""
    n = len(found)
    looks = Looks(np.zeros(n), np.zeros(n), np.ones(n), np.zeros((n, LENGTH), dtype=np.float32))
    sizes = np.array([NOMINAL * level.nm_per_pixel for level in made])
    for one, (place, said) in enumerate(zip(found.xy, found.diameter, strict=True)):
        first = made[int(np.abs(np.log(sizes / said)).argmin())]
        extent = _extent(_rings(first, place, said / pixel_size, _FINE), said)
        level = made[int(np.abs(np.log(sizes / extent)).argmin())]
        rings = _rings(level, place, extent / pixel_size, _RADII)
        looks.height[one], looks.descriptor[one] = _numbers(rings, extent, level.noise)
        looks.extent[one], looks.noise[one] = extent, level.noise
    return looks


def _extent(rings: Floats, said: float) -> float:
    """Return the diameter [nm] from where the mean profile falls to half of its height, about that said."""
    profile = rings.mean(axis=1)
    profile = profile - np.median(profile[-6:])
    below = np.flatnonzero(profile * np.sign(profile[0]) < abs(profile[0]) / 2)
    if not len(below) or below[0] == 0:
        return said
    after = below[0]
    high, low = abs(profile[after - 1]), profile[after] * np.sign(profile[0])
    part = (high - abs(profile[0]) / 2) / max(high - low, 1e-30)
    half = _FINE[after - 1] + part * (_FINE[after] - _FINE[after - 1])
    return float(np.clip(_HALF * half, 0.4, 2.0) * said)


def _rings(level: Level, place: Floats, extent: float, radii: Floats) -> Floats:
    """Return the height on circles around a place ``(radius, angle)``; radii are in those of the defect."""
    x, y = (place + 0.5) / level.sampled.factor - 0.5
    radius = radii * extent / 2 / level.sampled.factor
    angle = 2 * math.pi * np.arange(_ANGLES) / _ANGLES
    at = np.stack((y + np.outer(radius, np.sin(angle)), x + np.outer(radius, np.cos(angle))))
    return np.asarray(ndimage.map_coordinates(level.height, at, order=1, mode="mirror"), dtype=np.float64)


def _numbers(rings: Floats, extent: float, noise: float) -> tuple[float, npt.NDArray[np.float32]]:
    profile = rings.mean(axis=1) - np.median(rings[-1])
    height = float(profile[:3].mean())
    scale = max(abs(height), noise)
    order = np.abs(np.fft.rfft(rings[_RINGS], axis=1))[:, _FOLDS] / _ANGLES
    numbers = np.concatenate((
        profile / scale,
        (order / scale).ravel(),
        [math.log10(extent), math.log10(max(abs(height) / noise, 0.1))],
    ))  # fmt: skip
    return height, numbers.astype(np.float32)
