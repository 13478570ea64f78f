"""Denoising without a network: what is sparse in the cosine transform of small and of large windows.

Counts are stabilised first (Anscombe, Biometrika 35, 246, 1948; with Gaussian noise Starck, Murtagh and
Bijaoui 1998), by a noise that is estimated from the image itself. In overlapping windows coefficients below
2.7 of the noise are left out; what remains is the pilot of a Wiener filter in windows of other sizes (Yu &
Sapiro, Image Process. On Line 1, 2011; Dabov et al., IEEE Trans. Image Process. 16, 2080, 2007). Small ones
keep edges, large ones find lattices.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage, optimize

Floats = npt.NDArray[np.float64]

PILOT = (8, 64)  # [pixel] sides of windows in which coefficients are left out
SIZES = (8, 32, 128)  # and of those in which they are weighed
REFINED = (32, 128)  # the same with a better pilot

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

    def deviation(self, value: Floats) -> Floats:
        """Return the standard deviation of the noise where the image would be `value` without it."""
        variance = self.slope * np.maximum(value - self.least, 0.0) + self.offset
        return np.asarray(np.sqrt(variance))

    def back(self, value: Floats) -> Floats:
        """Return the values of means of stabilised ones, without bias.

        Makitalo & Foi, IEEE Trans. Image Process. 20, 2697, 2011: closed form for counted electrons.
        """
        if self._even:
            return value * math.sqrt(self.middle)
        value = np.maximum(value, 2 * math.sqrt(0.375))
        near = math.sqrt(1.5) / 4 / value - 1.375 / value**2 + 0.625 * math.sqrt(1.5) / value**3
        counts = np.square(value) / 4 + near - 0.125
        return self.slope * counts - self.offset / self.slope + self.least


def sparse(image: npt.NDArray[np.floating]) -> tuple[Floats, Floats]:
    """Return what windows of each size make of an image, and how strong its noise is.

    Parameters
    ----------
    image
        ``(y, x)``, finite.

    Returns
    -------
    estimates, deviation
        ``(sizes, y, x)``, and the standard deviation of the noise ``(y, x)``, in the unit of the image.
    """
    value = np.asarray(image, dtype=np.float64)
    strength = Strength.of(value)
    seen = strength.stabilised(value)
    pilot = np.mean([_filtered(seen, size, None) for size in PILOT], axis=0)
    made = np.stack([strength.back(_filtered(seen, size, pilot)) for size in SIZES])
    return made, strength.deviation(made.mean(axis=0))


def refined(image: npt.NDArray[np.floating], pilot: npt.NDArray[np.floating]) -> Floats:
    """Return an image ``(y, x)`` weighed in windows by what is known of it.

    Parameters
    ----------
    image
        ``(y, x)``, finite.
    pilot
        What it shows without noise, as far as is known.
    """
    value = np.asarray(image, dtype=np.float64)
    strength = Strength.of(value)
    seen, known = strength.stabilised(value), strength.stabilised(np.asarray(pilot, dtype=np.float64))
    return np.asarray(np.mean([strength.back(_filtered(seen, size, known)) for size in REFINED], axis=0))


def _blocks(image: Floats) -> Floats:
    height, width = (size // _BLOCK for size in image.shape)
    return np.asarray(image.reshape(height, _BLOCK, width, _BLOCK).mean(axis=(1, 3)).ravel())


def _filtered(seen: Floats, size: int, pilot: Floats | None) -> Floats:
    """Return an image filtered in windows: coefficients above the noise, or by Wiener with a pilot."""
    size = min(size, *seen.shape)
    step = max(size // 4, 1)
    rows, columns = (np.unique(np.r_[np.arange(0, n - size + 1, step), n - size]) for n in seen.shape)
    along = np.hanning(size + 2)[1:-1]
    window = (np.outer(along, along) + _RIM).astype(np.float32)

    def transform(image: Floats, row: int) -> npt.NDArray[np.float32]:
        band = image[row : row + size].astype(np.float32)
        parts = np.lib.stride_tricks.sliding_window_view(band, (size, size))[0, columns]
        return np.asarray(fft.dctn(parts, axes=(1, 2), norm="ortho"))

    total, weights = np.zeros(seen.shape), np.zeros(seen.shape)
    for row in rows:
        numbers = transform(seen, row)
        if pilot is None:
            share = (np.abs(numbers) > _THRESHOLD).astype(np.float32)
        else:
            power = np.square(transform(pilot, row))
            share = power / (power + 1)
        share[:, 0, 0] = 1
        weight = (1 / np.square(share).sum(axis=(1, 2)))[:, None, None] * window
        made = fft.idctn(numbers * share, axes=(1, 2), norm="ortho") * weight
        for column in range(size):
            total[row : row + size, columns + column] += made[:, :, column].T
            weights[row : row + size, columns + column] += weight[:, :, column].T
    return total / weights
