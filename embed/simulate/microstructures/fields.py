"""Foams, and two phases at any fraction: level sets of random fields (Cahn, J. Chem. Phys. 42, 93, 1965)."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from micdb.embed.simulate.microstructures.view import Scene, View, labelled
from micdb.embed.simulate.microstructures.waves import waves

Floats = npt.NDArray[np.float64]


def porous(view: View, *, length: float, seed: int, fraction: float = 0.4) -> Scene:
    """Draw a bicontinuous foam.

    Parameters
    ----------
    view
        Field of view.
    length
        Mean distance of ligaments [nm].
    seed
        Of the field.
    fraction
        Share of solid.
    """
    rng = np.random.default_rng(seed)
    level = waves(view, length=length, rng=rng, band=0.1)
    distance = _distance(level, fraction, length)
    relief = 0.1 * waves(view, length=2 * length, rng=rng)
    truth = {"length_nm": length, "fraction": fraction}
    return _scene(view, distance, relief, ("pore", "solid"), truth)


def two_phase(
    view: View, *, length: float, seed: int, fraction: float = 0.5, band: float = 0.15, cubic: bool = False
) -> Scene:
    """Draw two phases that have parted: isolated or continuous, round or along cube axes.

    Parameters
    ----------
    view
        Field of view.
    length
        Wavelength of the decomposition [nm].
    seed
        Of the field.
    fraction
        Share of the second phase, 0 to 1.
    band
        Standard deviation of the logarithm of the wavelength: how uneven the structure is.
    cubic
        Whether elastic energy lines it up along two axes: a tweed (Cahn, Acta Metall. 10, 179, 1962).
    """
    rng = np.random.default_rng(seed)
    cube = float(rng.uniform(0, math.pi / 2)) if cubic else None
    level = waves(view, length=length, rng=rng, band=band, cube=cube)
    distance = _distance(level, fraction, length)
    relief = 0.05 * waves(view, length=6 * length, rng=rng)
    truth = {"length_nm": length, "fraction": fraction}
    return _scene(view, distance, relief, ("matrix", "second phase"), truth)


def _distance(level: Floats, fraction: float, length: float) -> Floats:
    """Return about the distance to the edge of where a field is highest [nm]; its share is exact."""
    edge = float(np.quantile(level, 1 - fraction))
    return (level - edge) * length / 9  # about 1 / gradient of the field


def _scene(
    view: View, distance: Floats, relief: Floats, classes: tuple[str, ...], truth: dict[str, float]
) -> Scene:
    instance = np.zeros(view.shape, dtype=np.int32)
    return Scene(
        view.step(distance), relief, view.pixel_size, labelled(distance > 0), classes, instance, truth=truth
    )
