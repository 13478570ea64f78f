"""Diamond and zincblende crystals along <110>: dumbbells.

Lattice constants: Si 0.5431 nm, Ge 0.5658 nm, GaAs 0.5653 nm (CRC Handbook of Chemistry and Physics); the two
columns of a dumbbell are a quarter of that apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from micdb.embed.simulate.planting import NO_DEFECTS, Planter, check_names
from micdb.embed.simulate.slabs import Crystal, cubic, slab
from micdb.embed.simulate.structure import Columns, Structure
from micdb.errors import UsageError

Floats = npt.NDArray[np.float64]


class Semiconductor(NamedTuple):
    """A crystal: atomic numbers of its two sublattices and lattice constant [nm]."""

    first: int
    second: int
    constant: float


#: Known crystals by name.
SEMICONDUCTORS: dict[str, Semiconductor] = {
    "Si": Semiconductor(14, 14, 0.5431),
    "Ge": Semiconductor(32, 32, 0.5658),
    "GaAs": Semiconductor(31, 33, 0.5653),
}

#: What can be planted.
DEFECTS = ("vacancy", "substitution", "interstitial")

_FACES = ((0.0, 0.0, 0.0), (0.5, 0.5, 0.0), (0.5, 0.0, 0.5), (0.0, 0.5, 0.5))
_LONGEST_DUMBBELL = 0.30  # of the lattice constant; a quarter within one, 0.43 between two


def dumbbells(
    material: str,
    field: tuple[float, float],
    *,
    seed: int,
    thickness: float = 5.0,
    rotation: float = 0.0,
    defects: Mapping[str, int] = NO_DEFECTS,
    dopant: int = 33,
    share: float = 0.5,
    separation: float = 0.7,
    margin: float = 0.5,
) -> Structure:
    """Fill a field of view with a slab along [110].

    Parameters
    ----------
    material
        A key of `SEMICONDUCTORS`.
    field
        ``(y, x)`` [nm].
    seed
        Of origin and sites.
    thickness
        Atoms with z from 0 to under this are kept [nm].
    rotation
        Of [1-10] against x [deg]; dumbbells lie across it, along [001].
    defects
        How many of each name in `DEFECTS`; an interstitial column sits in the hexagonal channel.
    dopant
        Atomic number of substitutions.
    share
        Of a column's atoms that are taken away or exchanged, at least one; as many fill an interstitial
        column.
    separation
        Least distance of a defect's site from the others' atoms [nm].
    margin
        Atoms that far outside the field are kept too, for their tails [nm].

    Raises
    ------
    UsageError
        For an unknown material or defect, or when there is no room left.
    """
    if material not in SEMICONDUCTORS:
        raise UsageError(f"no semiconductor {material!r}; expected one of {', '.join(SEMICONDUCTORS)}")
    check_names(material, defects, DEFECTS)
    first, second, constant = SEMICONDUCTORS[material]
    rng = np.random.default_rng((seed, 14))
    x, y = (rng.random(2) * constant).tolist()
    whole = slab(
        _crystal(first, second, constant), field, axis=(1, 1, 0), thickness=thickness, rotation=rotation,
        origin=(x, y), margin=margin,
    )  # fmt: skip
    planter = Planter(whole, field, rng, separation=separation)
    for name in DEFECTS:
        for _ in range(defects.get(name, 0)):
            _plant(planter, name, whole, rotation=rotation, constant=constant, dopant=dopant, share=share)
    return planter.structure()


def pairs(columns: Columns, material: str) -> npt.NDArray[np.int64]:
    """Return the columns of each dumbbell ``(m, 2)``, those with both in view."""
    reach = _LONGEST_DUMBBELL * SEMICONDUCTORS[material].constant
    found = cKDTree(columns.xy).query_pairs(reach, output_type="ndarray")
    return np.asarray(found[np.lexsort((found[:, 1], found[:, 0]))], dtype=np.int64)


def _crystal(first: int, second: int, constant: float) -> Crystal:
    sites = [(*face, first) for face in _FACES]
    sites += [(face[0] + 0.25, face[1] + 0.25, face[2] + 0.25, second) for face in _FACES]
    return cubic(constant, *sites)


def _plant(
    planter: Planter,
    name: str,
    whole: Structure,
    *,
    rotation: float,
    constant: float,
    dopant: int,
    share: float,
) -> None:
    site = planter.site(np.ones(len(whole.number), bool), name)
    column = planter.column(site, share)
    if name == "vacancy":
        planter.remove(column, "vacancy")
    elif name == "substitution":
        planter.substitute(column, dopant)
    else:
        channel = planter.xyz[column] + _to_channel(whole, site, rotation=rotation) * constant
        planter.add(channel, int(planter.number[site]), "interstitial")


def _to_channel(whole: Structure, site: int, *, rotation: float) -> Floats:
    """Return the way from an atom to the hexagonal site beyond its dumbbell, in lattice constants."""
    turn = np.radians(rotation)
    along = np.array([-np.sin(turn), np.cos(turn)])
    flat = whole.xyz[:, :2] - whole.xyz[site, :2]
    distance = np.hypot(*flat.T)
    partner = flat[np.argmin(np.where(distance > 0.03, distance, np.inf))]  # [nm]
    away = -np.sign(partner @ along) * along * 3 / 8
    return np.array([*away, 1 / (4 * np.sqrt(2))])
