"""Random fields of about one wavelength: bent lamellae, swelling films, foams and mixtures."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from micdb.embed.simulate.microstructures.view import View

Floats = npt.NDArray[np.float64]


def waves(
    view: View,
    *,
    length: float,
    rng: np.random.Generator,
    count: int = 48,
    band: float = 0.3,
    cube: float | None = None,
) -> Floats:
    """Return a random field ``(y, x)`` of unit variance: a sum of plane waves.

    Parameters
    ----------
    view
        Field of view.
    length
        Wavelength [nm].
    rng
        Of directions, wavelengths and phases.
    count
        Waves.
    band
        Standard deviation of the logarithm of the wavelength.
    cube
        None: waves in all directions. An angle [radian]: waves along the two axes of a square turned by it,
        within 0.15 radian, as elastic energy favours in cubic crystals (Cahn, Acta Metall. 10, 179, 1962).
    """
    angle = rng.uniform(0, 2 * math.pi, count)
    if cube is not None:
        angle = cube + np.floor(angle / (math.pi / 2)) * (math.pi / 2) + rng.normal(0.0, 0.15, count)
    k = 2 * math.pi / length * np.exp(rng.normal(0.0, band, count))
    phase = rng.uniform(0, 2 * math.pi, count)
    y, x = view.grid()
    # a plane wave is a product of functions of x and of y: one matrix product draws all of them
    rows = np.exp(1j * (y * (k * np.sin(angle))[None, :] + phase))
    columns = np.exp(1j * (x.T * (k * np.cos(angle))[None, :]))
    return np.asarray((rows @ columns.T).real * math.sqrt(2 / count))
