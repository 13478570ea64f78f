"""Where atom columns are: lattice test and spacing from the power spectrum, band-pass, local maxima."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage
from scipy.spatial import cKDTree

Floats = npt.NDArray[np.float64]

LEAST_SIGNIFICANCE = 2.0  # [standard deviation of the noise] in the band; Bragg spots have excluded noise
_RELATIVE = 0.2  # of a strong column: fainter maxima are ripples of the probe's tails
_FINEST = 3.0  # [pixel] lattice planes closer than that are not resolved
_STANDS_OUT = 60.0  # [median of the ring] noise reaches 23 in 1e6 samples: its power is exponential


@dataclass(frozen=True, slots=True)
class Spectrum:
    """What the power spectrum says of an image: its strongest lattice planes, and its noise.

    Parameters
    ----------
    spacing
        Distance of the planes of the strongest Bragg spot [pixel].
    ratio
        Its power over the median of its ring; white noise stays under 25.
    frequency
        Of each sample ``(y, x // 2 + 1)`` [1/pixel].
    floor
        Variance density of what is not lattice, ``(y, x // 2 + 1)``: white noise has its variance everywhere.
    """

    spacing: float
    ratio: float
    frequency: Floats
    floor: Floats

    @classmethod
    def of(cls, image: Floats) -> Spectrum:
        """Return the spectrum of a finite image ``(y, x)``."""
        height, width = image.shape
        window = np.hanning(height + 2)[1:-1, None] * np.hanning(width + 2)[None, 1:-1]
        power = np.abs(fft.rfft2((image - image.mean()) * window)) ** 2 / np.square(window).sum()
        frequency = np.hypot(fft.fftfreq(height)[:, None], fft.rfftfreq(width)[None, :])
        median = np.maximum(_ring_medians(power, (frequency * min(image.shape)).astype(np.int64)), 1e-300)
        seen = (frequency >= 4 / min(image.shape)) & (frequency <= 1 / _FINEST)
        ratio = np.where(seen, power / median, 0.0)
        # the strongest of the spots that stand out: a weak ring's noise must not win by its ratio alone
        spots = np.where(ratio >= min(_STANDS_OUT, ratio.max()), power, 0.0)
        place = np.unravel_index(int(np.argmax(spots)), spots.shape)
        spacing = 1 / max(float(frequency[place]), 1e-9)
        return cls(spacing, float(ratio[place]), frequency, median / math.log(2))

    def noise_after(self, sigma: float) -> float:
        """Return the standard deviation of the noise that `band_pass` leaves."""
        fine = np.exp(-2 * (math.pi * sigma * self.frequency) ** 2)
        passed = self.floor * np.square(fine - fine**4)
        twice = np.full(self.frequency.shape[1], 2.0)  # the half plane that is left out
        twice[0] = 1.0
        return math.sqrt(float((passed * twice).sum() / (len(self.frequency) * twice.sum())))


def _ring_medians(power: Floats, ring: npt.NDArray[np.int64]) -> Floats:
    """Return the median of each sample's ring ``(y, x)``, of an even number the upper one."""
    flat = ring.ravel()
    order = np.argsort(flat.astype(np.uint16), kind="stable")  # by radix: ten times as fast as by value
    count = np.bincount(flat)
    parts = np.split(power.ravel()[order], np.cumsum(count)[:-1])
    medians = np.array(
        [np.partition(part, len(part) // 2)[len(part) // 2] if len(part) else 0.0 for part in parts]
    )
    return np.asarray(medians[flat], dtype=np.float64).reshape(power.shape)


def band_pass(image: Floats, sigma: float) -> Floats:
    """Return the difference of Gaussians of widths `sigma` and 2 `sigma` [pixel]."""
    fine = ndimage.gaussian_filter(image, sigma, mode="mirror")
    return np.asarray(fine - ndimage.gaussian_filter(image, 2 * sigma, mode="mirror"))


def flatten(image: Floats, spacing: float) -> Floats:
    """Return an image without what varies more slowly than about two spacings [pixel]."""
    return np.asarray(image - ndimage.gaussian_filter(image, 1.5 * spacing, mode="mirror"))


def find(image: Floats, spectrum: Spectrum, *, sigma: float, separation: float) -> Floats:
    """Return significant maxima of the band-passed image ``(n, 2)`` as x, y [pixel], brightest first.

    Parameters
    ----------
    image
        ``(y, x)``, finite.
    spectrum
        Of the same image.
    sigma
        Width of the band-pass [pixel].
    separation
        Smallest distance of two maxima [pixel].
    """
    filtered = band_pass(image, sigma)
    reach = max(1, int(separation / math.sqrt(2)))
    peaks = filtered == ndimage.maximum_filter(filtered, size=2 * reach + 1, mode="nearest")
    least = LEAST_SIGNIFICANCE * spectrum.noise_after(sigma)
    y, x = np.nonzero(peaks & (filtered > least))
    height = filtered[y, x]
    if not height.size:
        return np.empty((0, 2))
    strong = height >= _RELATIVE * np.quantile(height, 0.9)
    order = np.argsort(-height[strong], kind="stable")
    xy = np.column_stack((x, y))[strong][order].astype(float)
    return xy[apart(xy, separation)]


def apart(xy: Floats, distance: float) -> npt.NDArray[np.bool_]:
    """Return which points ``(n, 2)`` to keep so that none is closer than `distance` to one kept before."""
    kept = np.ones(len(xy), dtype=bool)
    for first, second in sorted(cKDTree(xy).query_pairs(distance)) if len(xy) else ():
        if kept[first]:
            kept[second] = False
    return kept
