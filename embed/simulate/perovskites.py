"""Perovskites ABO3 with tilted octahedra and polar displacements, along pseudo-cubic zone axes.

Tilts after Glazer (Acta Crystallogr. B 28, 3384, 1972): rotations about the three pseudo-cubic axes, each of
which repeats (+) or alternates (-) from one octahedron to the next along its axis. Octahedra share corners:
every oxygen moves by the tangent of the tilts, and the cell stays cubic. Pseudo-cubic lattice constants are
rounded to what reviews agree on; they only set the scale.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from micdb.embed.simulate.planting import NO_DEFECTS, Planter, check_names
from micdb.embed.simulate.slabs import Crystal, slab
from micdb.embed.simulate.structure import Structure
from micdb.errors import UsageError

Floats = npt.NDArray[np.float64]

OXYGEN = 8
_SAME_COLUMN = 0.05  # [nm] columns of one element are farther apart


class Perovskite(NamedTuple):
    """A perovskite: atomic numbers of its A and B sites and pseudo-cubic lattice constant [nm]."""

    a: int
    b: int
    constant: float


#: Known perovskites by name.
PEROVSKITES: dict[str, Perovskite] = {
    "SrTiO3": Perovskite(38, 22, 0.3905),
    "BaTiO3": Perovskite(56, 22, 0.401),
    "CaTiO3": Perovskite(20, 22, 0.382),
    "PbTiO3": Perovskite(82, 22, 0.397),
    "LaAlO3": Perovskite(57, 13, 0.379),
    "LaMnO3": Perovskite(57, 25, 0.394),
    "BiFeO3": Perovskite(83, 26, 0.396),
}

#: What can be planted, by the sublattice it is planted in.
DEFECTS = ("A-vacancy", "B-vacancy", "O-vacancy", "A-substitution", "B-substitution", "A-interstitial")


def perovskite(
    material: str,
    field: tuple[float, float],
    *,
    seed: int,
    thickness: float = 5.0,
    axis: tuple[int, int, int] = (0, 0, 1),
    rotation: float = 0.0,
    tilts: tuple[float, float, float] = (0.0, 0.0, 0.0),
    phases: str = "---",
    polar: tuple[float, float, float] = (0.0, 0.0, 0.0),
    defects: Mapping[str, int] = NO_DEFECTS,
    dopants: tuple[int, int] = (57, 41),
    share: float = 0.5,
    separation: float = 0.6,
    margin: float = 0.5,
) -> Structure:
    """Fill a field of view with a slab.

    Parameters
    ----------
    material
        A key of `PEROVSKITES`.
    field
        ``(y, x)`` [nm].
    seed
        Of origin and sites.
    thickness
        Atoms with z from 0 to under this are kept [nm].
    axis
        Pseudo-cubic zone axis along the beam.
    rotation
        Of the first pseudo-cubic axis that is not along the beam, as projected, against x [deg].
    tilts
        Rotations of the octahedra about the pseudo-cubic axes [deg].
    phases
        For each axis ``+`` or ``-``: whether octahedra one above the other turn alike or against one another.
    polar
        Displacement of B along the pseudo-cubic axes [nm].
    defects
        How many of each name in `DEFECTS`.
    dopants
        Atomic numbers of substitutions on A and on B.
    share
        Of a column's atoms that are taken away or exchanged, at least one.
    separation
        Least distance of a defect's site from the others' atoms [nm].
    margin
        Atoms that far outside the field are kept too, for their tails [nm].

    Raises
    ------
    UsageError
        For an unknown material, defect or phase, or when there is no room left.
    """
    if material not in PEROVSKITES:
        raise UsageError(f"no perovskite {material!r}; expected one of {', '.join(PEROVSKITES)}")
    check_names(material, defects, DEFECTS)
    kind = PEROVSKITES[material]
    rng = np.random.default_rng((seed, 38))
    x, y = (rng.random(2) * 2 * kind.constant).tolist()
    whole = slab(
        tilted_cell(kind, tilts=tilts, phases=phases, polar=polar), field,
        axis=axis, thickness=thickness, rotation=rotation, origin=(x, y), margin=margin,
    )  # fmt: skip
    planter = Planter(whole, field, rng, separation=separation)
    sites = {"A": kind.a, "B": kind.b, "O": OXYGEN}
    for name in DEFECTS:
        for _ in range(defects.get(name, 0)):
            column = planter.column(planter.site(planter.number == sites[name[0]], name), share)
            if name.endswith("vacancy"):
                planter.remove(column, "vacancy")
            elif name.endswith("interstitial"):  # between two columns of A
                planter.add(planter.xyz[column] + _halfway(planter, column[0]), kind.a, "interstitial")
            else:
                planter.substitute(column, dopants["AB".index(name[0])])
    return planter.structure()


def _halfway(planter: Planter, site: int) -> Floats:
    """Return half the way ``(3,)`` to the nearest other column of the same element, in the plane."""
    like = planter.xyz[planter.number == planter.number[site], :2] - planter.xyz[site, :2]
    away = np.hypot(*like.T)
    like, away = like[away > _SAME_COLUMN], away[away > _SAME_COLUMN]
    return np.append(like[np.argmin(away)] / 2, 0.0)


def tilted_cell(
    kind: Perovskite,
    *,
    tilts: tuple[float, float, float] = (0.0, 0.0, 0.0),
    phases: str = "---",
    polar: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> Crystal:
    """Return the cell of 2 x 2 x 2 octahedra; parameters as in `perovskite`.

    Raises
    ------
    UsageError
        For phases other than three of ``+`` and ``-``.
    """
    if len(phases) != 3 or set(phases) - set("+-"):
        raise UsageError(f"phases are {phases!r}; expected three of + and -, such as '--+'")
    slope = np.tan(np.radians(tilts))
    sites: list[Floats] = []
    number: list[int] = []
    for octahedron in product((0, 1), repeat=3):
        corner = np.array(octahedron, dtype=float)
        sites += [corner + 0.5, corner + np.array(polar) / kind.constant]
        number += [kind.a, kind.b]
        turn = slope * [_sign(octahedron, axis, phases[axis]) for axis in range(3)]
        for axis in range(3):
            arm = 0.5 * np.eye(3)[axis]
            sites.append(corner + arm + np.cross(turn, arm))
            number.append(OXYGEN)
    return Crystal(2 * kind.constant * np.eye(3), np.array(sites) / 2, np.array(number, dtype=np.int64))


def _sign(octahedron: tuple[int, ...], axis: int, phase: str) -> int:
    """Return which way an octahedron turns about an axis: neighbours across the axis always alternate."""
    along = octahedron[axis] if phase == "-" else 0
    across = sum(octahedron) - octahedron[axis]
    return 1 if (along + across) % 2 == 0 else -1
