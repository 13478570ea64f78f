"""Denoising without a network: what is sparse in the cosine transform of small and of large windows.

Counts are stabilised first (Anscombe, Biometrika 35, 246, 1948; with Gaussian noise Starck, Murtagh and
Bijaoui 1998), by a noise that is estimated from the image itself. In overlapping windows coefficients below
2.7 of the noise are left out; what remains is the pilot of a Wiener filter (Yu & Sapiro, Image Process. On
Line 1, 2011; Dabov et al., IEEE Trans. Image Process. 16, 2080, 2007). Windows of 8 pixels keep edges, of 64
find lattices.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage, optimize

Floats = npt.NDArray[np.float64]

SIZES = (8, 64)  # [pixel] sides of windows

_THRESHOLD = 2.7  # [noise]
_RIM = 0.05  # weight of a window at its rim: the image's rim has no other window
_BLOCK = 8  # [pixel] side of blocks in which the noise is measured
_LEVELS = 8  # grey values at which it is
_QUIET = 0.25  # quantile of the blocks at one grey value: others show structure
_QUIETEST = 0.767  # [variance] what that quantile is of white noise
_HIGH_PASS = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]]) / 6  # Immerkaer, CVIU 64, 300, 1996
_EVEN = 0.05  # [variance] noise that grows by less over the grey values is called even


@dataclass(frozen=True, slots=True)
class Strength:
    """How strong the noise is at each grey value.

    Parameters
    ----------
    slope, offset
        Its variance is ``slope * (value - least) + offset``.
    least, most
        Grey values between which it was measured.
    """

    slope: float
    offset: float
    least: float
    most: float

    @classmethod
    def of(cls, image: Floats) -> Strength:
        """Return the noise of an image ``(y, x)``, from the quieter blocks at each grey value."""
        height, width = (size // _BLOCK for size in image.shape)
        energy = np.square(ndimage.convolve(image, _HIGH_PASS, mode="reflect"))
        level, variance = (_blocks(one[: height * _BLOCK, : width * _BLOCK]) for one in (image, energy))
        groups = np.array_split(np.argsort(level), _LEVELS)
        mean = np.array([level[one].mean() for one in groups if len(one)])
        quiet = np.array([np.quantile(variance[one], _QUIET) for one in groups if len(one)]) / _QUIETEST
        least, most = float(mean[0]), float(mean[-1])
        matrix = np.column_stack((mean - least, np.ones(len(mean))))
        weight = 1 / np.maximum(quiet, 1e-3 * quiet.max() + 1e-30)
        (slope, offset), _ = optimize.nnls(matrix * weight[:, None], quiet * weight)
        floor = 1e-8 * float(np.square(image - image.mean()).mean()) + 1e-300
        return cls(float(slope), max(float(offset), floor), least, most)

    @property
    def _even(self) -> bool:
        return self.slope * (self.most - self.least) < _EVEN * self.offset

    @property
    def middle(self) -> float:
        """Its variance at the middle grey value."""
        return self.slope * (self.most - self.least) / 2 + self.offset

    def stabilised(self, value: Floats) -> Floats:
        """Return values with a noise of 1."""
        if self._even:
            return value / math.sqrt(self.middle)
        inside = self.slope * (value - self.least) + self.offset + 0.375 * self.slope**2
        return 2 / self.slope * np.sqrt(np.maximum(inside, 0.0))

    def back(self, value: Floats) -> Floats:
        """Return the values of means of stabilised ones, without bias where there are some counts."""
        if self._even:
            return value * math.sqrt(self.middle)
        square = np.square(np.maximum(value, 0.0) * self.slope / 2) - 0.125 * self.slope**2
        return (square - self.offset) / self.slope + self.least


def sparse(image: npt.NDArray[np.floating]) -> Floats:
    """Return an image ``(y, x)`` with less noise: the mean over the sizes of windows."""
    value = np.asarray(image, dtype=np.float64)
    strength = Strength.of(value)
    seen = strength.stabilised(value)
    pilot = np.mean([_filtered(seen, size, None) for size in SIZES], axis=0)
    return np.asarray(np.mean([strength.back(_filtered(seen, size, pilot)) for size in SIZES], axis=0))


def _blocks(image: Floats) -> Floats:
    height, width = (size // _BLOCK for size in image.shape)
    return np.asarray(image.reshape(height, _BLOCK, width, _BLOCK).mean(axis=(1, 3)).ravel())


def _filtered(seen: Floats, size: int, pilot: Floats | None) -> Floats:
    """Return an image filtered in windows: coefficients above the noise, or by Wiener with a pilot."""
    size = min(size, *seen.shape)
    step = max(size // 4, 1)
    rows, columns = (np.unique(np.r_[np.arange(0, n - size + 1, step), n - size]) for n in seen.shape)
    along = np.hanning(size + 2)[1:-1]
    window = np.outer(along, along) + _RIM

    def transform(image: Floats) -> npt.NDArray[np.float32]:
        parts = np.lib.stride_tricks.sliding_window_view(image.astype(np.float32), (size, size))
        return np.asarray(fft.dctn(parts[rows][:, columns], axes=(2, 3), norm="ortho"))

    numbers = transform(seen)
    if pilot is None:
        share = (np.abs(numbers) > _THRESHOLD).astype(np.float32)
    else:
        power = np.square(transform(pilot))
        share = power / (power + 1)
    share[..., 0, 0] = 1
    made = fft.idctn(numbers * share, axes=(2, 3), norm="ortho")
    weight = 1 / np.square(share).sum(axis=(2, 3))
    total, weights = np.zeros(seen.shape), np.zeros(seen.shape)
    made *= (weight[..., None, None] * window).astype(np.float32)
    for row, parts, shares in zip(rows, made, weight, strict=True):
        for column, part, one in zip(columns, parts, shares, strict=True):
            total[row : row + size, column : column + size] += part
            weights[row : row + size, column : column + size] += one * window
    return total / weights
