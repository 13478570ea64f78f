"""What charging, ion milling, polishing, etching and an unsteady scan do to an SEM image.

They belong to the image, not to the scene: drawn by the pixel, so another pixel size gives others.
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
import numpy.typing as npt
from scipy import ndimage, signal

from micdb.embed.simulate.stem import smooth_noise

Floats = npt.NDArray[np.float64]


class Faults(Protocol):
    """How strong each artefact is: see `micdb.embed.simulate.microstructures.sem.Detector`."""

    @property
    def charging(self) -> float: ...  # noqa: D102
    @property
    def curtaining(self) -> float: ...  # noqa: D102
    @property
    def scratches(self) -> float: ...  # noqa: D102
    @property
    def roughness(self) -> float: ...  # noqa: D102
    @property
    def jitter(self) -> float: ...  # noqa: D102


def added(image: Floats, phase: Floats, faults: Faults, *, pixel_size: float, seed: int) -> Floats:
    """Return a signal with artefacts.

    Parameters
    ----------
    image
        Signal ``(y, x)``, about 0 to 1.
    phase
        Share of the second phase ``(y, x)``, which charges and is milled more slowly.
    faults
        How strong each is.
    pixel_size
        [nm].
    seed
        Each artefact draws from its own stream, so that one does not change another.
    """
    streams = [np.random.default_rng((seed, number)) for number in range(5)]
    if faults.scratches:
        image = image + faults.scratches * scratches(image.shape, streams[0])
    if faults.roughness:
        image = image + faults.roughness * roughness(phase, streams[1])
    if faults.curtaining:
        image = image + faults.curtaining * curtains(phase, streams[2])
    if faults.charging:
        image = image + faults.charging * charge(phase, streams[3])
    if faults.jitter:
        image = shaken(image, faults.jitter / pixel_size, streams[4])
    return image


def charge(phase: Floats, rng: np.random.Generator) -> Floats:
    """Return the brightness that charging adds ``(y, x)``.

    Some of the objects hold charge. About them emission rises (a halo), and while the charge leaks away the
    line stays brighter, or darker where the field pulls electrons back: streaks along the fast direction
    (Cazaux, Scanning 26, 181, 2004; Joy and Joy, Micron 27, 247, 1996).

    Parameters
    ----------
    phase
        Share of what charges ``(y, x)``.
    rng
        Of which objects charge, and of each line.
    """
    rows, width = phase.shape
    holds = smooth_noise((rows, width), scale=max(min(rows, width) / 6, 4.0), rng=rng)
    source = phase * np.maximum(holds - 0.5, 0.0) * 2
    halo = ndimage.gaussian_filter(source, 0.03 * width)
    lines = ndimage.gaussian_filter1d(np.exp(rng.normal(0.0, 0.8, rows)), 0.7) * rng.choice(
        [1.0, -0.6], rows, p=[0.75, 0.25]
    )
    leak = 1 - 1 / (width * rng.uniform(0.05, 0.25))  # per pixel
    streak = signal.lfilter([1 - leak], [1, -leak], source, axis=1) * lines[:, None]
    return np.asarray(0.6 * source + 1.2 * halo + 1.5 * streak)


def curtains(phase: Floats, rng: np.random.Generator) -> Floats:
    """Return the stripes of ion milling ``(y, x)``, about 0, between about -1 and 1.

    What mills slowly shields what lies below it, so stripes begin under hard objects and fade, beside those
    that come from the top edge (Giannuzzi and Stevie, Micron 30, 197, 1999).

    Parameters
    ----------
    phase
        Share of what is milled slowly ``(y, x)``.
    rng
        Of the stripes.
    """
    rows, width = phase.shape
    fine = [
        ndimage.gaussian_filter1d(rng.normal(size=width), scale) * math.sqrt(scale)
        for scale in (1.0, 4.0, 12.0)
    ]
    envelope = smooth_noise((rows, width), scale=max(rows, width) / 2, rng=rng)
    fade = 1 - 1 / (0.3 * rows)
    under = signal.lfilter(
        [1.0], [1, -fade], np.maximum(-np.diff(phase, axis=0, prepend=phase[:1]), 0.0), axis=0
    )
    swing = rng.choice([-1.0, 1.0], width) * rng.uniform(0.2, 1.0, width)
    below = np.tanh(under) * ndimage.gaussian_filter1d(swing, 1.0)
    return np.asarray(0.8 * envelope * np.sum(fine, axis=0) + below)


def scratches(shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
    """Return polishing scratches ``(y, x)``: straight lines in two directions, dark with a bright wall.

    Parameters
    ----------
    shape
        ``(y, x)`` [pixel].
    rng
        Of the lines.
    """
    rows, width = shape
    y, x = np.arange(rows)[:, None] - rows / 2, np.arange(width)[None, :] - width / 2
    total = np.zeros((rows, width))
    for direction in rng.uniform(0, math.pi, 2):
        for _ in range(int(rng.integers(3, 14))):
            turn = direction + rng.normal(0.0, 0.03)
            across = y * math.cos(turn) - x * math.sin(turn) - rng.uniform(-0.6, 0.6) * max(rows, width)
            half = rng.uniform(0.4, 1.5)  # [pixel]
            depth = rng.exponential(0.5)
            total += depth * (
                np.exp(-0.5 * ((across - 2 * half) / half) ** 2) - np.exp(-0.5 * (across / half) ** 2)
            )
    return total


def roughness(phase: Floats, rng: np.random.Generator) -> Floats:
    """Return etch relief of the matrix ``(y, x)``, of about unit variance: finer than the structure.

    Parameters
    ----------
    phase
        Share of what the etchant leaves ``(y, x)``.
    rng
        Of the relief.
    """
    grain = rng.normal(size=phase.shape)
    fine, coarse = (ndimage.gaussian_filter(grain, scale) * 3.5 * scale for scale in (1.2, 3.0))  # sd to 1
    return np.asarray((fine + 0.7 * coarse) / math.hypot(1, 0.7) * (1 - phase))


def shaken(image: Floats, deviation: float, rng: np.random.Generator) -> Floats:
    """Return an image whose lines are displaced along x, by a standard deviation [pixel]."""
    rows, width = image.shape
    shift = rng.normal(0.0, deviation, (rows,))
    x = np.arange(width)
    lines = [np.interp(x + shift[row], x, image[row]) for row in range(rows)]
    return np.asarray(lines, dtype=np.float64)
