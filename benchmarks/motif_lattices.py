"""Graphene and MoS2 with planted defects, whose places are known: what `benchmarks/motif.py` searches.

Every image is turned and mirrored at random. Positions have Gaussian noise along each axis, given as a share
of the nearest-neighbour distance. Between the planted defects, and at least 1 nm from them, single atoms are
missing and false ones were detected.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares
from scipy.spatial import cKDTree

Floats = npt.NDArray[np.float64]

CONSTANTS = {"graphene": 0.246, "MoS2": 0.316}  # [nm] Castro Neto et al. 2009; Schutte et al. 1987
SPECIES = {"graphene": ("C", "C"), "MoS2": ("Mo", "S")}
DEFECTS = {
    "graphene": ("vacancy", "divacancy", "Stone-Wales", "N dopant"),
    "MoS2": ("S vacancy", "Mo vacancy", "W dopant"),
}
APART = 2.0  # [nm] between planted defects
CLEAR = 1.0  # [nm] from planted defects to the nearest other fault
RELAXED = 0.8  # [nm] radius of the patch about a Stone-Wales defect in which atoms moved
FAULTS = 0.002  # share of atoms missing, and share of false ones, elsewhere


@dataclass
class Crystal:
    """Atoms of one image, and what was planted where.

    Parameters
    ----------
    material
        A key of `CONSTANTS`.
    xy, species
        Atoms, ``(n, 2)`` [nm].
    planted
        Kind and place of each defect [nm].
    missing
        Places of atoms that are missing elsewhere, ``(m, 2)`` [nm].
    """

    material: str
    xy: Floats
    species: list[str]
    planted: list[tuple[str, Floats]] = field(default_factory=list)
    missing: Floats = field(default_factory=lambda: np.empty((0, 2)))


def bond_length(material: str) -> float:
    """Return the distance of nearest atoms [nm]."""
    return CONSTANTS[material] / 3**0.5


def honeycomb(material: str, side: float) -> tuple[Floats, npt.NDArray[np.str_]]:
    """Return a lattice about an atom of the first species at the origin, in a square [nm], and species."""
    constant = CONSTANTS[material]
    steps = np.arange(-int(side / constant) - 2, int(side / constant) + 3)
    i, j = (grid.reshape(-1, 1) for grid in np.meshgrid(steps, steps, indexing="ij"))
    cells = i * np.array([constant, 0.0]) + j * np.array([constant / 2, constant * 3**0.5 / 2])
    xy = np.concatenate((cells, cells + np.array([0.0, constant / 3**0.5])))
    species = np.repeat(SPECIES[material], len(cells))
    inside = (np.abs(xy) <= side / 2).all(axis=1)
    return xy[inside], species[inside]


def turned(xy: Floats, degrees: float, *, mirror: bool = False) -> Floats:
    """Return points turned about the origin, after their y was reversed."""
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.asarray((xy * [1.0, -1.0 if mirror else 1.0]) @ turn.T)


def stone_wales() -> tuple[Floats, Floats]:
    """Return the sites within `RELAXED` of the middle of a bond along y, and where atoms are once it turned.

    The bond is turned by 90 degrees (Stone and Wales, Chem. Phys. Lett. 128, 501, 1986); then all bonds and,
    more softly, second neighbours go back towards their lengths, while the rim stays.
    """
    d = bond_length("graphene")
    sites = honeycomb("graphene", 2.4)[0] - [0.0, d / 2]
    sites = sites[np.hypot(*sites.T) < RELAXED]
    far = np.hypot(*sites.T)
    core = far < 0.6 * d
    start = sites.copy()
    start[core] = start[core][:, ::-1]
    bonds = [tuple(pair) for pair in cKDTree(sites).query_pairs(1.2 * d)]
    a, b = np.flatnonzero(core)
    right = start[a, 0] > start[b, 0]
    east, west = (a, b) if right else (b, a)
    bonds = [pair for pair in bonds if core[list(pair)].sum() != 1]
    for one in np.flatnonzero((far > 0.6 * d) & (far < 2 * d)):
        bonds.append((east if sites[one, 0] > 0 else west, int(one)))
    first, second = np.array(bonds).T
    neighbours = {i: {*second[first == i].tolist(), *first[second == i].tolist()} for i in range(len(sites))}
    angles = {
        tuple(sorted((i, j))) for around in neighbours.values() for i in around for j in around if i < j
    }
    third, fourth = np.array(sorted(angles)).T
    free = far < RELAXED - 2 * d

    def strain(moved: Floats) -> Floats:
        xy = start.copy()
        xy[free] = moved.reshape(-1, 2)
        stretched = np.hypot(*(xy[first] - xy[second]).T) - d
        bent = np.hypot(*(xy[third] - xy[fourth]).T) - 3**0.5 * d
        return np.concatenate((stretched, 0.4 * bent))

    relaxed = start.copy()
    relaxed[free] = least_squares(strain, start[free].ravel()).x.reshape(-1, 2)
    return sites, relaxed


def grow(material: str, side: float, *, count: int, noise: float, rng: np.random.Generator) -> Crystal:
    """Return one image of a material with defects.

    Parameters
    ----------
    material
        A key of `CONSTANTS`.
    side
        Of the field of view [nm].
    count
        Defects to plant, of kinds in turn.
    noise
        Standard deviation along each axis, as a share of the nearest-neighbour distance.
    rng
        Randomness.
    """
    xy, species = honeycomb(material, 1.5 * side)
    xy = xy + rng.uniform(-0.5, 0.5, 2) * CONSTANTS[material]
    centres = _sites(xy, side / 2 - 1.0, count, rng)
    crystal = Crystal(material, xy, species.tolist())
    kinds = DEFECTS[material]
    turn = int(rng.integers(len(kinds)))
    for number, centre in enumerate(centres):
        _plant(crystal, kinds[(turn + number) % len(kinds)], centre)
    _spoil(crystal, rng)
    return _seen(crystal, side, noise, rng)


def _sites(xy: Floats, reach: float, count: int, rng: np.random.Generator) -> Floats:
    inner = xy[np.hypot(*xy.T) < reach]
    chosen: list[Floats] = []
    for place in inner[rng.permutation(len(inner))]:
        if len(chosen) < count and all(np.hypot(*(place - other)) > APART for other in chosen):
            chosen.append(place)
    return np.array(chosen)


def _plant(crystal: Crystal, kind: str, centre: Floats) -> None:
    """Make the defect of a kind at the atom nearest to a place, or the nearest of the right species."""
    xy, d = crystal.xy, bond_length(crystal.material)
    wanted = {"S vacancy": "S", "Mo vacancy": "Mo", "W dopant": "Mo"}.get(kind)
    far = np.hypot(*(xy - centre).T)
    if wanted:
        far = np.where(np.array(crystal.species) == wanted, far, np.inf)
    site = int(far.argmin())
    place = xy[site]
    neighbour = int(np.argsort(np.hypot(*(xy - place).T))[1])
    if kind.endswith("dopant"):
        crystal.species[site] = kind.split(maxsplit=1)[0]
    elif kind == "Stone-Wales":
        place = (xy[site] + xy[neighbour]) / 2
        along = xy[neighbour] - xy[site]
        angle = float(np.degrees(np.arctan2(along[1], along[0]))) - 90
        sites, relaxed = (turned(part, angle) + place for part in STONE_WALES)
        near, index = cKDTree(xy).query(sites)
        if near.max() > 0.1 * d:
            raise RuntimeError("the patch does not lie on the lattice")
        xy[index] = relaxed
    else:
        gone = [site, neighbour] if kind == "divacancy" else [site]
        place = xy[gone].mean(axis=0)
        crystal.xy = np.delete(xy, gone, axis=0)
        crystal.species = [one for i, one in enumerate(crystal.species) if i not in gone]
    crystal.planted.append((kind, place))


def _spoil(crystal: Crystal, rng: np.random.Generator) -> None:
    """Take single atoms away, and add false ones, where nothing is planted."""
    count = max(1, int(FAULTS * len(crystal.xy)))
    planted = np.array([place for _, place in crystal.planted])
    free = cKDTree(planted).query(crystal.xy)[0] > CLEAR
    gone = rng.choice(np.flatnonzero(free), count, replace=False)
    crystal.missing = crystal.xy[gone]
    kept = np.delete(np.arange(len(crystal.xy)), gone)
    crystal.xy, species = crystal.xy[kept], [crystal.species[i] for i in kept]
    span = np.abs(crystal.xy).max()
    false = rng.uniform(-span, span, (20 * count, 2))
    apart = cKDTree(crystal.xy).query(false)[0] > 0.5 * bond_length(crystal.material)
    false = false[apart & (cKDTree(planted).query(false)[0] > CLEAR)][:count]
    crystal.xy = np.concatenate((crystal.xy, false))
    crystal.species = species + [SPECIES[crystal.material][1]] * len(false)


def _seen(crystal: Crystal, side: float, noise: float, rng: np.random.Generator) -> Crystal:
    """Return the crystal turned, mirrored, with noise, cut to the field of view and in no special order."""
    angle, mirror = float(rng.uniform(0, 360)), bool(rng.random() < 0.5)
    xy, missing = (turned(part, angle, mirror=mirror) for part in (crystal.xy, crystal.missing))
    xy = xy + rng.normal(0, noise * bond_length(crystal.material), xy.shape)
    order = rng.permutation(np.flatnonzero((np.abs(xy) < side / 2).all(axis=1)))
    planted = [
        (kind, turned(place[None], angle, mirror=mirror)[0] + side / 2) for kind, place in crystal.planted
    ]
    species = [crystal.species[i] for i in order]
    return Crystal(crystal.material, xy[order] + side / 2, species, planted, missing + side / 2)


STONE_WALES = stone_wales()
