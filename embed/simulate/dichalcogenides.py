"""Single layers MX2 of the 2H kind: vacancies, dopants, adatoms, antisites and mirror twin boundaries.

Lattice constants and chalcogen distances: Schutte et al., J. Solid State Chem. 70, 207 (1987) for MoS2, WS2
and WSe2; Bronsema et al., Z. anorg. allg. Chem. 540, 15 (1986) for MoSe2. Defects as found by Zhou et al.,
Nano Lett. 13, 2615 (2013); neighbours of a vacancy stay where they were (they move by under 0.01 nm).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from micdb.embed.simulate.planting import NO_DEFECTS, Planter, check_names
from micdb.embed.simulate.structure import Planted, Structure
from micdb.errors import UsageError

Floats = npt.NDArray[np.float64]


class Layer(NamedTuple):
    """A layer: atomic numbers, lattice constant and distance of the two chalcogen planes [nm]."""

    metal: int
    chalcogen: int
    constant: float
    height: float


#: Known layers by name.
LAYERS: dict[str, Layer] = {
    "MoS2": Layer(42, 16, 0.3160, 0.317),
    "WS2": Layer(74, 16, 0.3153, 0.314),
    "MoSe2": Layer(42, 34, 0.3289, 0.334),
    "WSe2": Layer(74, 34, 0.3282, 0.334),
}

#: What can be planted: in a column of two chalcogens one or both may be missing or exchanged.
DEFECTS = (
    "metal-vacancy", "chalcogen-vacancy", "chalcogen-divacancy", "metal-dopant", "chalcogen-dopant",
    "metal-antisite", "chalcogen-adatom", "metal-adatom", "metal-interstitial",
)  # fmt: skip

_METAL_DISTANCE = 0.274  # [nm] of neighbours in bcc W, 0.2725 in bcc Mo: no closer across the boundary
_ADATOM_HEIGHT = 0.2  # [nm] over the chalcogen or, for a metal adatom, over the chalcogen plane


def dichalcogenide(
    material: str,
    field: tuple[float, float],
    *,
    seed: int,
    rotation: float = 0.0,
    defects: Mapping[str, int] = NO_DEFECTS,
    metal_dopant: int | None = None,
    chalcogen_dopant: int | None = None,
    boundary: bool = False,
    separation: float = 0.7,
    margin: float = 0.5,
) -> Structure:
    """Fill a field of view with one layer.

    Parameters
    ----------
    material
        A key of `LAYERS`.
    field
        ``(y, x)`` [nm].
    seed
        Of origin and sites.
    rotation
        Of the zigzag direction against x [deg].
    defects
        How many of each name in `DEFECTS`.
    metal_dopant, chalcogen_dopant
        Atomic numbers; None for the other metal (Mo or W) and the other chalcogen (S or Se).
    boundary
        Whether a mirror twin boundary, four-membered rings sharing chalcogen columns, crosses the field.
    separation
        Least distance of a defect's site from the others' atoms [nm].
    margin
        Atoms that far outside the field are kept too, for their tails [nm].

    Raises
    ------
    UsageError
        For an unknown material or defect, or when there is no room left.
    """
    if material not in LAYERS:
        raise UsageError(f"no layer {material!r}; expected one of {', '.join(LAYERS)}")
    check_names(material, defects, DEFECTS)
    layer = LAYERS[material]
    rng = np.random.default_rng((seed, 42))
    whole = _layer(layer, field, rng, rotation=rotation, boundary=boundary, margin=margin)
    planter = Planter(whole, field, rng, separation=separation)
    dopants = (
        metal_dopant or (74 if layer.metal == 42 else 42),
        chalcogen_dopant or (34 if layer.chalcogen == 16 else 16),
    )
    for name in DEFECTS:
        for _ in range(defects.get(name, 0)):
            _plant(planter, name, layer, dopants)
    return planter.structure()


def _layer(
    layer: Layer,
    field: tuple[float, float],
    rng: np.random.Generator,
    *,
    rotation: float,
    boundary: bool,
    margin: float,
) -> Structure:
    """Return the layer; with a boundary, one half and its mirror image, a little apart."""
    a = layer.constant
    reach = math.hypot(*field) / 2 + margin + a
    count = math.ceil(reach / (a * math.sqrt(3) / 2)) + 1
    steps = np.arange(-count, count + 1)
    i, j = (part.ravel() for part in np.meshgrid(steps, steps, indexing="ij"))
    lattice = np.column_stack((a * (i + 0.5 * (j % 2)), a * math.sqrt(3) / 2 * j))
    metal = lattice + np.array([a / 2, a / math.sqrt(12)])
    half = layer.height / 2
    xyz = np.vstack([
        np.column_stack((xy, np.full(len(xy), z)))
        for xy, z in ((metal, 0.0), (lattice, half), (lattice, -half))
    ])  # fmt: skip
    number = np.repeat([layer.metal, layer.chalcogen, layer.chalcogen], len(lattice))
    place = rng.random(2) * a + np.array([field[1], field[0]]) / 2
    if not boundary:
        structure = Structure(xyz, number)
    else:
        structure = _mirrored(xyz, number, layer)
        size = np.array([field[1], field[0]])
        place = size / 2 + rng.uniform(-0.2, 0.2, 2) * size
        rotation += 60.0 * rng.integers(3)
    return structure.rotated(rotation).shifted(*place.tolist()).inside(field, margin=margin)


def _mirrored(xyz: Floats, number: npt.NDArray[np.int64], layer: Layer) -> Structure:
    """Return the half y >= 0 and its mirror image; chalcogen columns at y = 0 belong to both."""
    a = layer.constant
    apart = max(_METAL_DISTANCE - 2 * a / math.sqrt(12), 0.0) / 2
    line, upper = np.abs(xyz[:, 1]) < 1e-6, xyz[:, 1] > 1e-6
    above = xyz[upper] + np.array([0.0, apart, 0.0])
    whole = np.vstack((xyz[line], above, above * np.array([1.0, -1.0, 1.0])))
    numbers = np.concatenate((number[line], number[upper], number[upper]))
    near = np.flatnonzero(np.abs(whole[:, 1]) < _METAL_DISTANCE / 2 + 1e-3)
    return Structure(whole, numbers, (Planted("boundary", (0.0, 0.0), tuple(near.tolist())),))


def _plant(planter: Planter, name: str, layer: Layer, dopants: tuple[int, int]) -> None:
    metals, chalcogens = planter.number == layer.metal, planter.number == layer.chalcogen
    upper = chalcogens & (planter.xyz[:, 2] > 0)
    if name in ("metal-vacancy", "metal-dopant", "metal-adatom"):
        site = planter.site(metals, name)
        if name == "metal-vacancy":
            planter.remove([site], "vacancy")
        elif name == "metal-dopant":
            planter.substitute([site], dopants[0])
        else:
            over = np.array([0.0, 0.0, layer.height / 2 + _ADATOM_HEIGHT])
            planter.add(planter.xyz[site] + over, layer.metal, "adatom")
        return
    if name == "chalcogen-adatom":
        site = planter.site(upper, name)
        planter.add(planter.xyz[site] + np.array([0.0, 0.0, _ADATOM_HEIGHT]), layer.chalcogen, "adatom")
        return
    site = planter.site(chalcogens, name)
    if name == "metal-interstitial":  # in the middle of a ring, in the plane of the metal
        bonds = planter.xyz[planter.around([site])] - planter.xyz[site]
        hollow = planter.xyz[site, :2] - bonds[0, :2] if len(bonds) else planter.xyz[site, :2]
        planter.add(np.append(hollow, 0.0), layer.metal, "interstitial")
        return
    pair = np.flatnonzero(np.hypot(*(planter.xyz[:, :2] - planter.xyz[site, :2]).T) < 0.01).tolist()
    if name == "chalcogen-vacancy":
        planter.remove([site], "vacancy")
    elif name == "chalcogen-divacancy":
        planter.remove(pair, "divacancy")
    elif name == "chalcogen-dopant":
        planter.substitute([site], dopants[1])
    else:  # a metal atom in the place of both chalcogens
        planter.replace(pair, layer.metal)
