"""Constant-current STM topographs: terraces, monatomic steps and the atomic lattice on top.

Heights after the textbook picture (Chen, Introduction to Scanning Tunneling Microscopy, 2007): corrugation
of some 20 pm on a close-packed metal, steps of 0.236 nm on Au(111).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

_STEP = 0.236  # [nm] Au(111)
_PERIOD = 0.2889  # [nm] nearest neighbours of Au(111)


def topograph(
    shape: tuple[int, int],
    *,
    pixel_size: float,
    seed: int,
    steps: int = 1,
    corrugation: float = 0.02,
    noise: float = 0.003,
) -> npt.NDArray[np.float64]:
    """Return heights ``(y, x)`` [nm].

    Parameters
    ----------
    shape
        ``(y, x)`` [pixel].
    pixel_size
        [nm].
    seed
        Of steps, direction, noise per line and per pixel.
    steps
        Number of monatomic steps across the field.
    corrugation
        Height of the atomic lattice [nm].
    noise
        Standard deviation of the height [nm].
    """
    rng = np.random.default_rng(seed)
    y, x = (axis * pixel_size for axis in np.mgrid[: shape[0], : shape[1]].astype(float))
    turn = rng.uniform(0, math.pi / 3)
    k = 4 * math.pi / (math.sqrt(3) * _PERIOD)
    waves = [
        np.cos(k * (x * math.cos(turn + n * math.pi / 3) + y * math.sin(turn + n * math.pi / 3)))
        for n in range(3)
    ]
    lattice = corrugation * sum(waves) / 4.5  # three waves run from -1.5 to 3
    slope = rng.uniform(0, math.pi)
    across = x * math.cos(slope) + y * math.sin(slope)
    where = np.quantile(across, (np.arange(steps) + rng.uniform(0.3, 0.7, steps)) / max(steps, 1))
    ragged = 0.3 * np.sin(2 * math.pi * (y * math.cos(slope) - x * math.sin(slope)) / 4.0)  # [nm]
    terraces = sum(
        (_STEP / (1 + np.exp(-(across - edge - ragged) / 0.15)) for edge in where), np.zeros(shape)
    )
    lines = rng.normal(0.0, 2 * noise, (shape[0], 1)).cumsum(axis=0) * 0.3  # slow drift of the tip height
    return np.asarray(terraces + lattice + lines + rng.normal(0.0, noise, shape))
