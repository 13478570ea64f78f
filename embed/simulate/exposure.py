"""What counting and reading out make of an image that has no noise.

Electrons come at random (Poisson); amplifiers add Gaussian noise; a scintillator, a slow amplifier or an
interpolation spreads both over neighbours; each line of a scan may have an offset of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Image = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Exposure:
    """How an image is recorded.

    Parameters
    ----------
    counts
        Electrons where the image is 1; infinite: no counting noise.
    readout
        Standard deviation of the Gaussian noise, as a share of 1.
    spread
        Standard deviation over which noise is shared with neighbours, ``(y, x)`` [pixel].
    lines
        Standard deviation of the offset of each line, as a share of 1.
    """

    counts: float = math.inf
    readout: float = 0.0
    spread: tuple[float, float] = (0.0, 0.0)
    lines: float = 0.0


def expose(image: npt.NDArray[np.floating], exposure: Exposure, *, seed: int) -> Image:
    """Return an image ``(y, x)`` with noise.

    Parameters
    ----------
    image
        What is expected, 1 where it is bright.
    exposure
        How it is recorded.
    seed
        Of the noise.
    """
    rng = np.random.default_rng(seed)
    value = np.asarray(image, dtype=np.float64)
    noise = rng.normal(0.0, exposure.readout, value.shape) if exposure.readout else np.zeros(value.shape)
    if math.isfinite(exposure.counts):
        expected = np.maximum(value, 0.0) * exposure.counts
        noise += (rng.poisson(expected) - expected) / exposure.counts
    if any(exposure.spread):
        noise = ndimage.gaussian_filter(noise, exposure.spread)
    if exposure.lines:
        noise += rng.normal(0.0, exposure.lines, (len(value), 1))
    return np.asarray(value + noise, dtype=np.float32)


def random_exposure(rng: np.random.Generator, counts: tuple[float, float] = (1.0, 2000.0)) -> Exposure:
    """Return an exposure at random: of electrons mostly, else of Gaussian noise as strong.

    Parameters
    ----------
    rng
        Of the settings.
    counts
        Least and most electrons where the image is 1, log-uniform.
    """
    dose = math.exp(rng.uniform(*np.log(counts)))
    shot = 1 / math.sqrt(dose)  # of the noise where the image is 1
    counted = rng.random() < 0.8
    spread = (0.0, 0.0)
    if rng.random() < 0.35:
        along = rng.uniform(0.3, 1.0)
        spread = (along, along) if rng.random() < 0.5 else (0.0, along)
    return Exposure(
        counts=dose if counted else math.inf,
        readout=shot * (rng.uniform(0.0, 0.7) * (rng.random() < 0.5) if counted else 0.8),
        spread=spread,
        lines=shot * rng.uniform(0.0, 0.6) * (rng.random() < 0.25),
    )
