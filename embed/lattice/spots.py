"""Bragg spots of an image: where the power spectrum stands out, refined below one sample of the transform.

A spot's frequency is that which maximises the windowed Fourier transform, which for one wave in white noise
is its maximum-likelihood estimate (Rife and Boorstyn, Bell Syst. Tech. J. 55, 1389, 1976); its covariance is
that of this estimate under the noise found around it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

Floats = npt.NDArray[np.float64]
Complexes = npt.NDArray[np.complex128]

FEWEST_PLANES = 4.0  # across the window: wider waves are background
FINEST = 0.45  # [1/pixel] nearer to Nyquist a spot and its alias overlap
_LEAKAGE = 1e-7  # of the strongest waves' power: what the window's side lobes leave along the axes
_OUTLIER = 4.0  # [standard deviation]
_FEW = 0.05  # of the pixels
_STREAK = 2.0  # [ring's level] which the lower quartile of a column of noise does not reach
_STEPS = 3  # of Newton; the second already moves by less than 1e-3 samples
_FARTHEST = 1.0  # [sample of the transform] a spot that walks farther is another one


def without_outliers(image: Floats) -> Floats:
    """Return an image in which the few pixels that are far off are cut to the limit.

    A heavy dopant outshines the lattice around it: its spectrum is one smooth hill that buries the spots.
    Where far-off pixels are many they are the atoms, and stay.
    """
    middle = float(np.median(image))
    reach = _OUTLIER * 1.4826 * float(np.median(np.abs(image - middle)))  # 1.4826: normal distribution
    far = np.abs(image - middle) > reach
    if reach <= 0 or far.mean() > _FEW:
        return image
    return np.asarray(np.clip(image, middle - reach, middle + reach))


@dataclass(frozen=True, slots=True)
class Field:
    """A windowed image and its power spectrum.

    Parameters
    ----------
    pixels
        ``(y, x)``, the window's mean taken off, times the window.
    window
        ``(y, x)``, 0 to 1.
    power
        Of each sample ``(y, x // 2 + 1)`` over what noise would have there: 1 on average without a lattice.
    floor
        Variance density of the noise, ``(y, x // 2 + 1)``.
    resolution
        Side of one sample of the transform [1/pixel]: one over that of a square with the window's weight.
    """

    pixels: Floats
    window: Floats
    power: Floats
    floor: Floats
    resolution: float

    @classmethod
    def of(cls, image: Floats, window: Floats | None = None) -> Field:
        """Return the field of a finite image ``(y, x)`` through a window ``(y, x)``, or that of Hann."""
        height, width = image.shape
        hann = np.hanning(height + 2)[1:-1, None] * np.hanning(width + 2)[None, 1:-1]
        seen = hann if window is None else window
        weight = float(np.square(seen).sum())
        pixels = (image - float((image * seen).sum()) / float(seen.sum())) * seen
        raw = np.abs(fft.rfft2(pixels)) ** 2 / weight
        frequency = np.hypot(fft.fftfreq(height)[:, None], fft.rfftfreq(width))
        floor = _floor(raw, frequency)
        extent = _extent(seen)
        planes = np.hypot(fft.fftfreq(height)[:, None] * extent[0], fft.rfftfreq(width) * extent[1])
        power = np.where((planes < FEWEST_PLANES) | (frequency > FINEST), 0.0, raw / floor)
        return cls(pixels, seen, power, floor, math.sqrt(weight) / float(seen.sum()))

    def rivals(self, g: Floats) -> Floats:
        """Return the log of the number of samples no farther from the origin than frequencies ``(..., 2)``.

        So many could hold noise that passes for a spot there: near the origin a spot stands out sooner.
        """
        samples = math.pi / 2 * np.square(g).sum(axis=-1) / self.resolution**2
        return np.asarray(np.log(np.maximum(samples, 1.0)))

    def spots(self, most: int) -> tuple[Floats, Floats]:
        """Return the maxima that stand out most ``(n, 2)`` as x, y [1/pixel], and their power ``(n,)``."""
        highest = ndimage.maximum_filter(self.power, size=3, mode="wrap")
        ky, kx = np.nonzero((self.power == highest) & (self.power > 0))
        once = (kx > 0) | (ky <= len(self.power) // 2)  # the first column holds every spot twice
        ky, kx = ky[once], kx[once]
        y = fft.fftfreq(len(self.power))[ky]
        g, power = np.column_stack((kx / self.pixels.shape[1], y)), self.power[ky, kx]
        order = np.argsort(self.rivals(g) - power, kind="stable")[:most]
        return g[order], power[order]

    def strength(self, g: Floats) -> Floats:
        """Return the power at frequencies ``(..., 2)``: the best of the samples around each."""
        height, width = self.pixels.shape
        side = np.where(g[..., :1] < 0, -1, 1) * g  # the half that is kept
        kx = np.rint(side[..., 0] * width).astype(np.int64)
        ky = np.rint(side[..., 1] * height).astype(np.int64)
        best = np.zeros(g.shape[:-1])
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                column = np.abs(kx + dx)
                row = np.where(kx + dx < 0, -(ky + dy), ky + dy) % height
                best = np.maximum(best, self.power[row, np.minimum(column, self.power.shape[1] - 1)])
        return best


def _floor(power: Floats, frequency: Floats) -> Floats:
    """Return the noise's power: the level of its ring, whose median spots do not move, or of its column."""
    rings = frequency * min(power.shape[0], 2 * power.shape[1])
    number = rings.astype(np.int64)
    present = np.arange(number.max() + 1)
    # noise is exponentially distributed: its mean is its median over log 2
    level = np.log(np.maximum(ndimage.median(power, labels=number, index=present), 1e-300) / math.log(2))
    centre = ndimage.mean(rings, labels=number, index=present)
    floor = np.exp(np.interp(rings, centre, level))  # smooth noise falls steeply within a ring
    floor = np.maximum(floor, _LEAKAGE * floor.max())
    # scan lines that are displaced at random smear every spot out over its column
    column = np.percentile(power / floor, 25, axis=0) / math.log(4 / 3)
    return np.asarray(floor * np.where(column > _STREAK, column, 1.0))


@dataclass(frozen=True, slots=True)
class Spots:
    """Refined spots.

    Parameters
    ----------
    g
        Frequencies ``(n, 2)`` as x, y [1/pixel].
    covariance
        ``(n, 2, 2)``.
    amplitude
        Complex amplitude of each wave ``(n,)``, its phase at the window's centre of gravity.
    strength
        Power over the noise's ``(n,)``.
    moved
        How far each went from where it was sought ``(n,)`` [sample of the transform].
    """

    g: Floats
    covariance: Floats
    amplitude: Complexes
    strength: Floats
    moved: Floats


def strength_at(field: Field, g: Floats) -> Floats:
    """Return the power over the noise's ``(n,)`` at exactly the frequencies ``(n, 2)`` [1/pixel]."""
    wave_x = np.exp(-2j * math.pi * np.outer(np.arange(field.pixels.shape[1]), g[:, 0]))
    wave_y = np.exp(-2j * math.pi * np.outer(g[:, 1], np.arange(field.pixels.shape[0])))
    value = np.einsum("nx,xn->n", _product(wave_y, field.pixels), wave_x)
    weight = float(np.square(field.window).sum())
    return np.asarray(np.square(np.abs(value)) / weight / noise_at(field, g))


def noise_at(field: Field, g: Floats) -> Floats:
    """Return the variance density of the noise ``(n,)`` at frequencies ``(n, 2)`` as x, y [1/pixel]."""
    return np.asarray(field.floor[_nearest(g, field)])


def refine(field: Field, start: Floats) -> Spots:
    """Return spots refined from first frequencies ``(n, 2)`` as x, y [1/pixel]."""
    height, width = field.pixels.shape
    weight = field.window
    total = float(weight.sum())
    y, x = np.arange(height, dtype=np.float64), np.arange(width, dtype=np.float64)
    y -= float(weight.sum(axis=1) @ y) / total
    x -= float(weight.sum(axis=0) @ x) / total
    extent = np.array(_extent(weight)[::-1])
    g = start.copy()
    for _ in range(_STEPS):
        moments = _moments(field.pixels, g, x, y)
        g = g + _newton(moments, limit=0.5 / extent)
        g = start + np.clip(g - start, -2 * _FARTHEST / extent, 2 * _FARTHEST / extent)
    amplitude = _moments(field.pixels, g, x, y)[:, 0, 0] / total
    noise = noise_at(field, g)
    # noise turns the slope by `turning`; the maximum's curvature, `bending`, says how far that moves it
    turning, bending = _second_moments(np.square(weight), x, y), _second_moments(weight, x, y)
    unbent = np.linalg.inv(bending)
    power = np.maximum(np.square(np.abs(amplitude)), 1e-300)
    covariance = (noise / power)[:, None, None] * (unbent @ turning @ unbent / (2 * (2 * math.pi) ** 2))
    strength = power * total**2 / (float(np.square(weight).sum()) * noise)
    return Spots(g, covariance, amplitude, strength, np.asarray(np.hypot(*((g - start) * extent).T)))


def _second_moments(weight: Floats, x: Floats, y: Floats) -> Floats:
    xx, yy = float(weight.sum(axis=0) @ (x * x)), float(weight.sum(axis=1) @ (y * y))
    xy = float(y @ weight @ x)
    return np.array([[xx, xy], [xy, yy]])


def _moments(pixels: Floats, g: Floats, x: Floats, y: Floats) -> Complexes:
    """Return the sums of ``pixels * x**p * y**q * exp(-2 pi i g.r)`` as ``(n, p, q)``, p + q up to 2."""
    wave_x = np.exp(-2j * math.pi * np.outer(g[:, 0], x))
    wave_y = np.exp(-2j * math.pi * np.outer(g[:, 1], y))
    found = np.zeros((len(g), 3, 3), dtype=np.complex128)
    for q in range(3):
        rows = _product(wave_y * y**q, pixels)
        for p in range(3 - q):
            found[:, p, q] = (rows * wave_x * x**p).sum(axis=1)
    return found


def _product(waves: Complexes, pixels: Floats) -> Complexes:
    """Return a matrix product as two real ones: turning all pixels complex would cost more than either."""
    real, imaginary = np.ascontiguousarray(waves.real), np.ascontiguousarray(waves.imag)
    return np.asarray(real @ pixels + 1j * (imaginary @ pixels))


def _newton(moments: Complexes, *, limit: Floats) -> Floats:
    """Return the step ``(n, 2)`` towards the maximum of the power's logarithm."""
    turn = -2j * math.pi
    value = moments[:, 0, 0]
    safe = np.where(np.abs(value) > 0, value, 1.0)
    slope = turn * np.stack((moments[:, 1, 0], moments[:, 0, 1]), axis=1) / safe[:, None]
    bend = np.stack((moments[:, 2, 0], moments[:, 1, 1], moments[:, 1, 1], moments[:, 0, 2]), axis=1)
    bend = (turn**2 * bend / safe[:, None]).reshape(-1, 2, 2) - slope[:, :, None] * slope[:, None, :]
    # where the power is not concave the maximum is elsewhere: go uphill by the limit
    values, axes = np.linalg.eigh(2 * bend.real)
    uphill = np.einsum("nij,ni->nj", axes, 2 * slope.real)
    step = uphill / np.maximum(np.abs(values), 1e-12)
    return np.asarray(np.clip(np.einsum("nij,nj->ni", axes, step), -limit, limit))


def _nearest(g: Floats, field: Field) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    height, width = field.pixels.shape
    side = np.where(g[:, :1] < 0, -1, 1) * g
    row = np.rint(side[:, 1] * height).astype(np.int64) % height
    column = np.rint(side[:, 0] * width).astype(np.int64)
    return row, np.minimum(column, field.floor.shape[1] - 1)


def _extent(window: Floats) -> tuple[float, float]:
    """Return the height and width [pixel] of the even rectangle with the window's spread."""
    found = []
    for axis in (0, 1):
        weight = window.sum(axis=1 - axis)
        place = np.arange(len(weight))
        mean = float(weight @ place) / float(weight.sum())
        found.append(math.sqrt(12 * float(weight @ np.square(place - mean)) / float(weight.sum()) + 1.0))
    return found[0], found[1]
