"""A tilted perovskite along its pseudo-cubic [110], and which rotations one sees there.

The rotation of an octahedron is a vector, here along three axes that the view singles out:

- ``beam``, about [110], along the beam: oxygen columns between B columns move up and down in turn;
- ``cross``, about [1-10], across the beam: atoms of an oxygen column part along [001];
- ``c``, about [001], across the beam: atoms of an oxygen column part along [1-10].

Rotations alternate from each octahedron to the next, so that an image taken upside down or from a
neighbouring cell shows the opposite sign: only magnitudes can be known. About [100] and [010] rotations
alternate along their own axes too (Glazer's a-b-); about [001] they may do so or not (c- or c+): the
projection is the same. Systems with in-phase rotations about [100] or [010] look different along this axis;
they are a-b-c+ along another one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from micdb.embed.simulate.perovskites import Perovskite, tilted_cell
from micdb.embed.simulate.slabs import beam_frame

Floats = npt.NDArray[np.float64]

#: What is measured, in the order of every array of rotations.
AXES = ("beam", "cross", "c")


@dataclass(frozen=True, slots=True)
class View:
    """Atoms in the smallest rectangular cell that repeats along the view's axes.

    Parameters
    ----------
    xyz
        Positions ``(20, 3)`` [nm]: x along [1-10], y along [00-1], z along the beam.
    number
        Atomic numbers ``(20,)``.
    cell
        ``(y, x, z)`` [nm]: 2, root 2 and root 2 lattice constants.
    """

    xyz: Floats
    number: npt.NDArray[np.int64]
    cell: tuple[float, float, float]


def cubic_tilts(beam: float, cross: float, c: float) -> tuple[float, float, float]:
    """Return the rotations about [100], [010], [001] [deg] of those about the view's axes [deg]."""
    slope = np.tan(np.radians([beam, cross, c]))
    a, b = (slope[0] + slope[1]) / math.sqrt(2), (slope[0] - slope[1]) / math.sqrt(2)
    angles = np.degrees(np.arctan([a, b, slope[2]]))
    return float(angles[0]), float(angles[1]), float(angles[2])


def view(
    kind: Perovskite,
    tilts: tuple[float, float, float],
    *,
    in_phase: bool = False,
    polar: tuple[float, float, float] = (0.0, 0.0, 0.0),
    antipolar: float = 0.0,
) -> View:
    """Return the cell of a perovskite along [110].

    Parameters
    ----------
    kind
        Elements and lattice constant.
    tilts
        Rotations about the axes of `AXES` [deg].
    in_phase
        Whether octahedra one above the other along [001] turn alike: c+.
    polar
        Displacement of B along the pseudo-cubic axes [nm].
    antipolar
        Displacement of A along [1-10], opposite in the next layer along [001], as in Pnma [nm].
    """
    crystal = tilted_cell(kind, tilts=cubic_tilts(*tilts), phases="--+" if in_phase else "---", polar=polar)
    frame = beam_frame(crystal.cell, (1, 1, 0))
    xyz = crystal.sites @ crystal.cell @ frame.T
    side = math.sqrt(2) * kind.constant
    box = np.array([side, 2 * kind.constant, side])
    layer = np.rint(crystal.sites[:, 2] * 4).astype(int) % 4  # A stands in layers 1 and 3
    is_a = crystal.number == kind.a
    xyz[is_a, 0] += antipolar * np.where(layer[is_a] == 1, 1.0, -1.0)
    once = slice(
        0, len(xyz) // 2
    )  # octahedra one step along [100] from these are those one step back along [010]
    return View(np.mod(xyz[once], box), crystal.number[once], (2 * kind.constant, side, side))
