"""Cubic metals: slabs of known height, terraces, twin boundaries, nanoparticles.

Lattice constants are those of the elements at room temperature (CRC Handbook of Chemistry and Physics). The
height of a column is the number of its atoms, `Columns.atoms`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from micdb.embed.simulate.planting import NO_DEFECTS, Planter, check_names
from micdb.embed.simulate.slabs import Crystal, beam_frame, cubic, slab
from micdb.embed.simulate.stem import smooth_noise
from micdb.embed.simulate.structure import Planted, Structure
from micdb.errors import UsageError

Floats = npt.NDArray[np.float64]


class Metal(NamedTuple):
    """A metal: atomic number, lattice constant [nm] and kind of lattice, ``fcc`` or ``bcc``."""

    number: int
    constant: float
    lattice: str


#: Known metals by symbol.
METALS: dict[str, Metal] = {
    "Al": Metal(13, 0.4050, "fcc"), "Ni": Metal(28, 0.3524, "fcc"), "Cu": Metal(29, 0.3615, "fcc"),
    "Pd": Metal(46, 0.3891, "fcc"), "Ag": Metal(47, 0.4086, "fcc"), "Pt": Metal(78, 0.3924, "fcc"),
    "Au": Metal(79, 0.4078, "fcc"), "Cr": Metal(24, 0.2885, "bcc"), "Fe": Metal(26, 0.2866, "bcc"),
    "Mo": Metal(42, 0.3147, "bcc"), "W": Metal(74, 0.3165, "bcc"),
}  # fmt: skip

#: What can be planted.
DEFECTS = ("vacancy", "substitution", "interstitial")

_HOLES = {"fcc": (0.25, 0.25, 0.25), "bcc": (0.5, 0.25, 0.0)}  # the tetrahedral ones
_TERRACE = 0.8  # [nm] size of terraces
_LOOSE = 7 / 12  # of the neighbours inside: an edge of an fcc particle has 7, a facet 8 or 9
_TWIN_TURN = 90 + math.degrees(math.atan(1 / math.sqrt(2)))  # brings (1-11), edge-on along [110], to y = 0


def crystal_of(metal: str) -> Crystal:
    """Return the cell of a metal by symbol.

    Raises
    ------
    UsageError
        For a symbol that is not in `METALS`.
    """
    if metal not in METALS:
        raise UsageError(f"no metal {metal!r}; expected one of {', '.join(METALS)}")
    number, constant, lattice = METALS[metal]
    sites = [(0.0, 0.0, 0.0, number)]
    if lattice == "fcc":
        sites += [(0.5, 0.5, 0.0, number), (0.5, 0.0, 0.5, number), (0.0, 0.5, 0.5, number)]
    else:
        sites += [(0.5, 0.5, 0.5, number)]
    return cubic(constant, *sites)


def metal_slab(
    metal: str,
    field: tuple[float, float],
    *,
    seed: int,
    thickness: float = 2.0,
    roughness: float = 0.0,
    axis: tuple[int, int, int] = (0, 0, 1),
    rotation: float = 0.0,
    defects: Mapping[str, int] = NO_DEFECTS,
    dopant: int = 29,
    share: float = 0.5,
    separation: float = 0.7,
    margin: float = 0.5,
) -> Structure:
    """Fill a field of view with a slab.

    Parameters
    ----------
    metal
        A key of `METALS`.
    field
        ``(y, x)`` [nm].
    seed
        Of origin, terraces and sites.
    thickness
        Atoms with z from 0 to under this are kept [nm].
    roughness
        Up to how much of the thickness is taken off, in terraces [nm].
    axis
        Zone axis along the beam.
    rotation
        Of the first cell vector that is not along the beam, as projected, against x [deg].
    defects
        How many of each name in `DEFECTS`.
    dopant
        Atomic number of substitutions.
    share
        Of a column's atoms that are taken away or exchanged, at least one.
    separation
        Least distance of a defect's site from the others' atoms [nm].
    margin
        Atoms that far outside the field are kept too, for their tails [nm].

    Raises
    ------
    UsageError
        For an unknown metal or defect, or when there is no room left.
    """
    crystal = crystal_of(metal)
    check_names(metal, defects, DEFECTS)
    rng = np.random.default_rng((seed, 79))
    origin = rng.random(2) * METALS[metal].constant
    whole = slab(
        crystal, field, axis=axis, thickness=thickness, rotation=rotation,
        origin=(float(origin[0]), float(origin[1])), margin=margin,
    )  # fmt: skip
    if roughness:
        whole = _terraced(whole, field, rng, thickness=thickness, roughness=roughness, margin=margin)
    planter = Planter(whole, field, rng, separation=separation)
    hole = np.array(_HOLES[METALS[metal].lattice]) @ crystal.cell @ beam_frame(crystal.cell, axis).T
    hole = np.array([*_turned(hole[:2], rotation), hole[2]])
    for name in DEFECTS:
        for _ in range(defects.get(name, 0)):
            site = planter.site(np.ones(len(whole.number), bool), name)
            if name == "vacancy":
                planter.remove(planter.column(site, share), "vacancy")
            elif name == "substitution":
                planter.substitute(planter.column(site, share), dopant)
            else:
                planter.add(planter.xyz[site] + hole, METALS[metal].number, "interstitial")
    return planter.structure()


def twin(
    metal: str,
    field: tuple[float, float],
    *,
    seed: int,
    thickness: float = 2.0,
    rotation: float = 0.0,
    margin: float = 0.5,
) -> Structure:
    """Fill a field of view with an fcc metal along [110], a coherent twin boundary across it.

    Parameters
    ----------
    metal, field, thickness, margin
        As in `metal_slab`.
    seed
        Of the boundary's place.
    rotation
        Of the boundary against x [deg].

    Raises
    ------
    UsageError
        For a metal that is unknown or not fcc.
    """
    crystal = crystal_of(metal)
    if METALS[metal].lattice != "fcc":
        raise UsageError(f"{metal} is {METALS[metal].lattice}; expected an fcc metal for a (111) twin")
    size = np.array([field[1], field[0]])
    place = size / 2 + np.random.default_rng((seed, 111)).uniform(-0.25, 0.25, 2) * size
    reach = 2 * (float(np.hypot(*size)) + margin)
    square = (reach, reach)
    one = slab(crystal, square, axis=(1, 1, 0), thickness=thickness, rotation=_TWIN_TURN, margin=0.0)
    one = one.shifted(-reach / 2, -reach / 2)
    plane, upper = np.abs(one.xyz[:, 1]) < 1e-6, one.xyz[:, 1] > 1e-6  # [nm]
    xyz = np.vstack((one.xyz[plane], one.xyz[upper], one.xyz[upper] * [1.0, -1.0, 1.0]))
    number = np.full(len(xyz), METALS[metal].number)
    boundary = Planted("boundary", (0.0, 0.0), tuple(range(int(plane.sum()))))
    whole = Structure(xyz, number, (boundary,)).rotated(rotation)
    return whole.shifted(float(place[0]), float(place[1])).inside(field, margin=margin)


def nanoparticle(
    metal: str,
    field: tuple[float, float],
    *,
    seed: int,
    diameter: float,
    axis: tuple[int, int, int] = (1, 1, 0),
    rotation: float = 0.0,
    truncation: float = 1.15,
    missing: float = 0.1,
) -> Structure:
    """Put an fcc truncated octahedron, or a bcc rhombic dodecahedron, in the middle of a field of view.

    Parameters
    ----------
    metal
        A key of `METALS`.
    field
        ``(y, x)`` [nm].
    seed
        Of the particle's middle in the cell, and of surface atoms that are missing.
    diameter
        Distance of opposite {111}, or {110}, facets [nm].
    axis
        Zone axis along the beam.
    rotation
        As in `metal_slab` [deg].
    truncation
        Distance of {100} facets over that of the others; fcc metals in equilibrium are near 1.15.
    missing
        Share of the atoms at edges and corners that are missing.

    Raises
    ------
    UsageError
        For an unknown metal.
    """
    crystal = crystal_of(metal)
    rng = np.random.default_rng((seed, 147))
    number, constant, lattice = METALS[metal]
    count = math.ceil(diameter / constant) + 2
    steps = np.arange(-count, count + 1)
    cells = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 1, 3)
    xyz = (cells + crystal.sites).reshape(-1, 3) * constant + rng.uniform(-0.25, 0.25, 3) * constant
    size, half = np.sort(np.abs(xyz), axis=1), diameter / 2
    facet = size.sum(axis=1) / math.sqrt(3) if lattice == "fcc" else size[:, 1:].sum(axis=1) / math.sqrt(2)
    xyz = xyz[(facet <= half) & (size[:, 2] <= truncation * half)]
    whole = Structure(xyz @ beam_frame(crystal.cell, axis).T, np.full(len(xyz), number))
    near = np.bincount(whole.bonds(1.15).ravel(), minlength=len(xyz))
    loose = np.flatnonzero(near <= _LOOSE * near.max(initial=0))
    gone = rng.choice(loose, round(missing * len(loose)), replace=False)
    kept = np.ones(len(xyz), bool)
    kept[gone] = False
    return whole.kept(kept).rotated(rotation).shifted(field[1] / 2, field[0] / 2)


def _terraced(
    whole: Structure,
    field: tuple[float, float],
    rng: np.random.Generator,
    *,
    thickness: float,
    roughness: float,
    margin: float,
) -> Structure:
    """Cut the exit surface along a smooth relief."""
    pitch = 0.1  # [nm] of the relief
    shape = tuple(math.ceil((size + 2 * margin) / pitch) + 2 for size in field)
    relief = smooth_noise((shape[0], shape[1]), scale=_TERRACE / pitch, rng=rng)
    x, y = np.rint((whole.xyz[:, :2] + margin) / pitch).astype(int).T
    limit = thickness - roughness * relief[np.clip(y, 0, shape[0] - 1), np.clip(x, 0, shape[1] - 1)]
    return whole.kept(whole.xyz[:, 2] < limit)


def _turned(xy: Floats, angle: float) -> list[float]:
    cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    return [float(cosine * xy[0] - sine * xy[1]), float(sine * xy[0] + cosine * xy[1])]
