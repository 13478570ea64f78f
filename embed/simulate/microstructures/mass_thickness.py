"""Scenes looked through: mass-thickness contrast in bright-field TEM and annular dark-field STEM.

Amorphous or randomly oriented matter: electrons scattered beyond the aperture leave the bright field as
exp(-t / mean free path) and make up the dark field, which for heavy atoms grows as Z**1.7 (Reimer and Kohl,
Transmission Electron Microscopy, 5th ed., 2008, chapter 6; Krivanek et al., Nature 464, 571, 2010).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from micdb.embed.simulate.microstructures.view import Scene, View
from micdb.embed.simulate.microstructures.waves import waves
from micdb.errors import UsageError

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Transmission:
    """How matter is looked through.

    Parameters
    ----------
    dark
        Annular dark field rather than bright field.
    mean_free_path
        For scattering beyond the aperture, in the particles [nm]: about 30 in gold, 200 in carbon at 200 kV.
    support
        Mean thickness of the support, in mean free paths of its own.
    uneven
        Standard deviation of the support's thickness relative to its mean.
    support_length
        Wavelength of that [nm].
    counts
        Electrons per pixel without a specimen.
    blur
        Standard deviation of the probe or of the objective's blur [nm].
    """

    dark: bool = True
    mean_free_path: float = 100.0
    support: float = 0.15
    uneven: float = 0.4
    support_length: float = 100.0
    counts: float = 200.0
    blur: float = 1.0


def look_through(
    scene: Scene, transmission: Transmission, *, seed: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return the counts ``(y, x)``, and the counts expected: the same without noise.

    Parameters
    ----------
    scene
        With a thickness, such as `micdb.embed.simulate.microstructures.particles.deposited`.
    transmission
        How.
    seed
        Of the support and of the noise.

    Raises
    ------
    UsageError
        For a scene without thickness.
    """
    if scene.thickness is None:
        raise UsageError(
            f"a scene of {', '.join(scene.classes)} has no thickness; expected one to look through, "
            "as particles.deposited draws"
        )
    rng = np.random.default_rng(seed)
    view = View((scene.coverage.shape[0], scene.coverage.shape[1]), scene.pixel_size)
    coarse = waves(view, length=transmission.support_length, rng=rng)
    fine = waves(view, length=transmission.support_length / 3, rng=rng)
    support = transmission.support * np.maximum(1 + transmission.uneven * (coarse + 0.5 * fine), 0.0)
    through = np.exp(-support - scene.thickness / transmission.mean_free_path)
    share = 1 - through if transmission.dark else through
    blur = max(transmission.blur / scene.pixel_size, 0.3)
    expected = transmission.counts * ndimage.gaussian_filter(share, blur)
    return rng.poisson(expected).astype(np.float32), expected.astype(np.float32)
