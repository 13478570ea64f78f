"""How the power of an image is spread over spatial frequencies in 1/nm, and what lengths that means.

Frequencies are parted into bands, a quarter of an octave each, the same for all images: band b reaches from
``2 ** (b / 4)`` to ``2 ** ((b + 1) / 4)`` 1/nm. What an image cannot know has no row: bands in which the
field holds fewer than two periods, and bands that reach beyond the Nyquist frequency of its coarser axis.

Angular orders are those of the power around each ring: 2 for lamellae, 4 for square nets, 6 for hexagonal
ones. Their magnitudes do not change when the image is turned.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft

from micdb.embed.sampling import resample, resampled

Floats = npt.NDArray[np.float64]

BANDS_PER_OCTAVE = 4
ORDERS = (2, 4, 6)

_LARGEST = 1024  # [pixel] side that is transformed at once
_TILES = 3  # along a side, of larger images
_PERIODS = 2  # in the field, at least
_LEAST = 8  # [pixel] side: an octave between two periods in the field and Nyquist
_NOISE = 0.8  # of the Nyquist frequency; what is above is taken for noise if nothing below is lower
_FLOOR = 1e-4  # of the variance per octave: 40 dB


@dataclass(frozen=True, slots=True)
class Spectrum:
    """Bands of an image, finest frequency last.

    Parameters
    ----------
    band
        Numbers ``(n,)`` int64.
    power
        Share of the variance in each, per octave ``(n,)``, without the noise of counting.
    orders
        Magnitudes of the angular `ORDERS` ``(3, n)``, 0 to 1; 0 as far as chance would give them.
    """

    band: npt.NDArray[np.int64]
    power: Floats
    orders: Floats

    @property
    def wavelength(self) -> Floats:
        """Middle of each band ``(n,)`` [nm]."""
        return np.asarray(2.0 ** (-(self.band + 0.5) / BANDS_PER_OCTAVE))

    @property
    def peak(self) -> float:
        """Wavelength with the most power per octave [nm], interpolated by a parabola."""
        at = int(np.argmax(self.power))
        shift = 0.0
        if 0 < at < len(self.power) - 1:
            below, here, above = np.log(self.power[at - 1 : at + 2] + _FLOOR)
            shift = 0.5 * float(below - above) / min(float(below - 2 * here + above), -1e-9)
        return float(2.0 ** (-(self.band[at] + 0.5 + shift) / BANDS_PER_OCTAVE))

    @property
    def mean(self) -> float:
        """Geometric mean of the wavelengths, weighted by power [nm]."""
        weight = self.power + 1e-30
        return float(np.exp(np.average(np.log(self.wavelength), weights=weight)))


def spectrum(image: npt.NDArray[np.floating], pixel_size: tuple[float, float]) -> Spectrum | str:
    """Return the bands of an image, or why there are none.

    Parameters
    ----------
    image
        ``(y, x)``, finite, not constant.
    pixel_size
        ``(y, x)`` [nm].
    """
    pitch = max(pixel_size)
    grey = np.asarray(image, np.float64)
    if min(pixel_size) < pitch * (1 - 1e-6):
        factors = (pitch / pixel_size[0], pitch / pixel_size[1])
        shape = resampled((grey.shape[0], grey.shape[1]), factors)
        grey = resample(grey, factors).astype(np.float64) if min(shape) else grey[:0]
    if min(grey.shape) < _LEAST:
        return f"fewer than {_LEAST} square pixels across: too few for a spectrum"
    low = math.ceil(BANDS_PER_OCTAVE * math.log2(_PERIODS / (min(grey.shape) * pitch)) - 1e-9)
    high = math.floor(BANDS_PER_OCTAVE * math.log2(1 / (2 * pitch)) + 1e-9)  # the first unknown one
    density, orders, noise = _bands(grey, pitch, np.arange(low, high))
    edges = 2.0 ** (np.arange(low, high + 1) / BANDS_PER_OCTAVE)
    area = math.pi * (edges[1:] ** 2 - edges[:-1] ** 2)
    structure = np.maximum(density - noise, 0.0) * area * BANDS_PER_OCTAVE
    total = float(grey.var())
    return Spectrum(np.arange(low, high), structure / max(total, 1e-300), orders)


def _bands(grey: Floats, pitch: float, band: npt.NDArray[np.int64]) -> tuple[Floats, Floats, float]:
    """Return power density [nm**2] and angular orders of each band, and the density of noise."""
    fine = np.zeros((2 + 2 * len(ORDERS), len(band)))
    level = np.inf
    for tile in _tiles(grey):
        sums, noise = _rings(tile, pitch, band)
        fine += sums
        level = min(level, noise)
    if max(grey.shape) > _LARGEST:  # what tiles are too small for comes from the whole, coarser
        factor = max(grey.shape) / _LARGEST
        whole = resample(grey, (factor, factor)).astype(np.float64)
        sums, _ = _rings(whole, pitch * factor, band)
        held = 2.0 ** (band / BANDS_PER_OCTAVE) >= 4 * _PERIODS / (_LARGEST * pitch)
        fine = np.where(held, fine, sums)
    count = np.maximum(fine[0], 1.0)
    density = fine[1] / count
    waves = np.hypot(fine[2::2], fine[3::2]) / np.maximum(fine[1], 1e-300)
    # powers of noise scatter by as much as they are; half of them are independent, and of those a window
    # leaves half
    chance = 4 / count
    return density, np.sqrt(np.maximum(waves**2 - chance, 0.0)), float(level)


def _rings(tile: Floats, pitch: float, band: npt.NDArray[np.int64]) -> tuple[Floats, float]:
    """Return sums over each band ``(8, n)``: points, power, cosine and sine of each order; and the noise."""
    height, width = tile.shape
    window = np.hanning(height + 2)[1:-1, None] * np.hanning(width + 2)[None, 1:-1]
    free = tile - (tile * window).sum() / window.sum()
    power = np.abs(fft.rfft2(free * window)) ** 2 * (pitch**2 / float((window**2).sum()))
    ky, kx = fft.fftfreq(height, pitch)[:, None], fft.rfftfreq(width, pitch)[None, :]
    radius = np.hypot(ky, kx)
    radius[0, 0] = 1e-300
    index = np.floor(BANDS_PER_OCTAVE * np.log2(radius)).astype(np.int64) - band[0]
    inside = (index >= 0) & (index < len(band))
    half = np.where((kx == 0) | (2 * np.arange(len(kx[0])) == width), 1.0, 2.0)  # of the plane left out
    half = np.broadcast_to(half, power.shape)
    twice = half[inside]
    at, of = index[inside], power[inside] * twice
    direction = ((kx + 1j * ky) / radius)[inside]
    sums = [np.bincount(at, twice, len(band)), np.bincount(at, of, len(band))]
    turned = of + 0j
    for _ in ORDERS:  # 2, 4, 6: multiplying is quicker than cosines
        turned *= direction
        turned *= direction
        sums += [np.bincount(at, turned.real, len(band)), np.bincount(at, turned.imag, len(band))]
    last = (radius > _NOISE / (2 * pitch)) & (radius < 1 / (2 * pitch))
    return np.array(sums), float(np.average(power[last], weights=half[last])) if last.any() else 0.0


def _tiles(grey: Floats) -> list[Floats]:
    """Return the image, or tiles of a larger one, evenly spread."""
    cuts = []
    for size in grey.shape:
        side = min(size, _LARGEST)
        count = 1 if size == side else _TILES
        starts = np.linspace(0, size - side, count).round().astype(int)
        cuts.append([slice(start, start + side) for start in starts])
    return [grey[rows, columns] for rows in cuts[0] for columns in cuts[1]]
