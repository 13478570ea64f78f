"""A thin crystal near a two-beam condition: thickness fringes, bend contours and how wide defects look.

Two-beam dynamical theory with absorption (Hirsch, Howie, Nicholson, Pashley and Whelan, Electron Microscopy
of Thin Crystals, 1965, chapters 8 and 9).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from micdb.embed.simulate.microstructures.view import View
from micdb.embed.simulate.microstructures.waves import waves

Floats = npt.NDArray[np.float64]

_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(5)  # of the spread of directions
_ABSORPTION = 0.05  # extinction distance over absorption length: 1/10 to 1/30 in metals (Hirsch et al. 1965)


@dataclass(frozen=True, slots=True)
class Foil:
    """A thin crystal and its orientation.

    Parameters
    ----------
    thickness
        Mean [nm].
    wedge
        Change of thickness across the field, relative to the mean.
    extinction
        Extinction distance [nm]: 16 (Au 111) to 56 (Al 111) at 100 kV, longer at higher voltage and order.
    deviation
        Mean deviation from the Bragg angle, s times the extinction distance.
    bending
        Change of that across the field: bend contours lie where it is 0.
    buckle
        Standard deviation of its local changes.
    spread
        Standard deviation of it within the beam: convergence washes fringes out, as in STEM with diffraction
        contrast (Phillips, Brandes, Mills and De Graef, Ultramicroscopy 111, 1483, 2011).
    """

    thickness: float = 100.0
    wedge: float = 0.3
    extinction: float = 35.0
    deviation: float = 0.5
    bending: float = 1.0
    buckle: float = 0.3
    spread: float = 0.6

    @property
    def effective(self) -> float:
        """Effective extinction distance [nm]: depth period of what defects at this deviation look like."""
        return self.extinction / math.sqrt(1 + self.deviation**2)

    @property
    def image_width(self) -> float:
        """Width of a dislocation's image [nm]: a third of the effective extinction distance."""
        return self.effective / 3

    @property
    def absorption(self) -> float:
        """Thickness after which 1 / e of all intensity is left [nm]."""
        return self.extinction / (2 * math.pi * _ABSORPTION)


@dataclass(frozen=True, slots=True)
class Beams:
    """What a foil without defects does to the beam.

    Parameters
    ----------
    bright, dark
        Intensity of the direct and of the diffracted beam ``(y, x)``, 1 for no foil.
    excited
        How strongly defects show ``(y, x)``, 0 to 1: most near the Bragg angle.
    thickness
        ``(y, x)`` [nm].
    """

    bright: Floats
    dark: Floats
    excited: Floats
    thickness: Floats


def beams(view: View, foil: Foil, rng: np.random.Generator) -> Beams:
    """Return the beams behind a foil; `rng` decides in which directions it thins and bends."""
    height, width = view.extent
    y, x = view.grid()
    across = []
    for turn in rng.uniform(0, 2 * math.pi, 2):
        place = (x - width / 2) * math.cos(turn) + (y - height / 2) * math.sin(turn)
        across.append(place / max(height, width))
    thickness = foil.thickness * np.maximum(1 + foil.wedge * across[0], 0.1)
    buckle = waves(view, length=max(height, width) / 1.5, rng=rng, count=24)
    deviation = foil.deviation + foil.bending * across[1] + foil.buckle * buckle
    depth = thickness / foil.extinction
    dark: Floats = np.zeros(view.shape)
    for node, weight in zip(_NODES, _WEIGHTS / _WEIGHTS.sum(), strict=True):
        steep = 1 + (deviation + foil.spread * node) ** 2
        dark += weight * np.sin(math.pi * depth * np.sqrt(steep)) ** 2 / steep
    left = np.exp(-thickness / foil.absorption)  # of all intensity
    fringes = np.exp(-math.pi * _ABSORPTION * depth)  # of the beating of the two Bloch waves
    dark = 0.5 / (1 + deviation**2) * (1 - fringes) + dark * fringes
    return Beams((1 - dark) * left, dark * left, 1 / (1 + (deviation / 1.5) ** 2), thickness)
