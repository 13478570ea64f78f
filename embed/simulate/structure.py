"""Atoms in a field of view and what is planted among them; the columns one sees along the beam.

Positions are in the image's frame: x to the right, y down, from the centre of the top-left pixel, z along the
beam, all in nm. Covalent radii: Cordero et al., Dalton Trans. 2832 (2008), as ASE lists them too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from micdb.errors import UsageError
from micdb.extras import require

if TYPE_CHECKING:
    import ase

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: What can be planted.
KINDS = (
    "vacancy", "divacancy", "vacancy-cluster", "substitution", "interstitial", "adatom", "ring", "edge",
    "boundary",
)  # fmt: skip
_MISSING = frozenset({"vacancy", "divacancy", "vacancy-cluster"})

#: Scattering into a dark-field annulus goes as Z to about this power (Krivanek et al., Nature 464, 571,
#: 2010); 1.5 to 1.9 by voltage and angles in multislice (docs/benchmarks.md).
CONTRAST_EXPONENT = 1.7

_COVALENT_RADIUS = {
    1: 0.031, 5: 0.084, 6: 0.076, 7: 0.071, 8: 0.066, 13: 0.121, 14: 0.111, 16: 0.105, 20: 0.176, 22: 0.160,
    23: 0.153, 24: 0.139, 25: 0.150, 26: 0.132, 27: 0.126, 28: 0.124, 29: 0.132, 31: 0.122, 33: 0.119,
    34: 0.120, 38: 0.195, 39: 0.190, 40: 0.175, 41: 0.164, 42: 0.154, 45: 0.142, 46: 0.139, 47: 0.145,
    48: 0.144, 50: 0.139, 52: 0.138, 56: 0.215, 57: 0.207, 64: 0.196, 72: 0.175, 73: 0.170, 74: 0.162,
    75: 0.151, 77: 0.141, 78: 0.136, 79: 0.136, 82: 0.146, 83: 0.148,
}  # fmt: skip  # [nm]
_BOND_STRETCH = 1.2  # of the sum of covalent radii; second neighbours of graphene are at 1.6
_NON_METALS = (1, 5, 6, 7, 8, 14, 16, 33, 34, 52)


@dataclass(frozen=True, slots=True)
class Planted:
    """One defect and where it is.

    Parameters
    ----------
    kind
        One of `KINDS`.
    xy
        Centre ``(x, y)`` [nm]; of a missing atom, where it was.
    atoms
        Indices of its atoms, or of its columns in `Columns`: the foreign, added or displaced ones; around
        missing atoms their former neighbours; of a boundary those in rings that are not the crystal's.
    """

    kind: str
    xy: tuple[float, float]
    atoms: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Columns:
    """Atom columns in a field of view.

    Parameters
    ----------
    xy
        Positions ``(n, 2)`` [nm] from the top-left pixel centre.
    number
        Atomic number of the heaviest atom ``(n,)``.
    atoms
        Atoms in the column ``(n,)``.
    vacancies
        Positions ``(m, 2)`` [nm] from which atoms were taken.
    weight
        Dark-field scattering ``(n,)``: the sum of Z**exponent over the column.
    defects
        What is planted; its `Planted.atoms` are columns.
    """

    xy: Floats
    number: Ints
    atoms: Ints
    vacancies: Floats
    weight: Floats
    defects: tuple[Planted, ...] = ()


@dataclass(frozen=True, slots=True)
class Structure:
    """Atoms and the defects planted among them.

    Parameters
    ----------
    xyz
        Positions ``(n, 3)`` [nm], z along the beam.
    number
        Atomic numbers ``(n,)``.
    defects
        What is planted.
    """

    xyz: Floats
    number: Ints
    defects: tuple[Planted, ...] = ()

    def columns(
        self, tolerance: float = 0.03, *, exponent: float = CONTRAST_EXPONENT, growth: float = 1.0
    ) -> Columns:
        """Return what one sees along the beam.

        Parameters
        ----------
        tolerance
            Atoms whose projections are closer than this, directly or through others, are one column [nm].
        exponent
            Of the atomic number, for `Columns.weight` and for where a column of several elements is.
        growth
            Exponent of the number of atoms; see `scattering`.
        """
        group = _grouped(self.xyz[:, :2], tolerance)
        count = int(group.max(initial=-1)) + 1
        weight = self.scattering(tolerance, exponent=exponent, growth=growth)
        total = np.bincount(group, weight, count)
        xy = np.column_stack([np.bincount(group, weight * axis, count) for axis in self.xyz[:, :2].T])
        number = np.zeros(count, np.int64)
        np.maximum.at(number, group, self.number)
        missing = [one.xy for one in self.defects if one.kind in _MISSING]
        return Columns(
            xy / np.maximum(total, 1e-300)[:, None],
            number,
            np.bincount(group, minlength=count).astype(np.int64),
            np.array(missing, dtype=float).reshape(-1, 2),
            np.asarray(total, dtype=np.float64),
            renumbered(self.defects, group),
        )

    def scattering(
        self, tolerance: float = 0.03, *, exponent: float = CONTRAST_EXPONENT, growth: float = 1.0
    ) -> Floats:
        """Return how strongly each atom scatters ``(n,)``.

        Parameters
        ----------
        tolerance
            As in `columns`.
        exponent
            Of the atomic number.
        growth
            A column of n atoms scatters as n to this power. 1 is linear; channelling makes it about 1.2 for
            the first eight atoms of Au [001] at 200 kV (docs/benchmarks.md). The atom with the least z is
            the first.
        """
        weight = self.number.astype(float) ** exponent
        if growth != 1.0:
            depth = _depth(self.xyz[:, 2], _grouped(self.xyz[:, :2], tolerance))
            weight *= depth**growth - (depth - 1) ** growth
        return np.asarray(weight, dtype=np.float64)

    def bonds(self, stretch: float = _BOND_STRETCH) -> Ints:
        """Return bonded pairs ``(m, 2)``, each once and in order.

        Parameters
        ----------
        stretch
            Two atoms are bonded up to this multiple of the sum of their covalent radii; two metals only
            where there is nothing but metal.
        """
        if len(self.number) < 2:
            return np.empty((0, 2), np.int64)
        reach = 2 * stretch * covalent_radii(np.unique(self.number)).max()
        pairs = cKDTree(self.xyz).query_pairs(reach, output_type="ndarray")
        bonded = pairs[are_bonded(self.xyz, self.number, pairs, stretch=stretch)]
        return np.asarray(bonded[np.lexsort((bonded[:, 1], bonded[:, 0]))], dtype=np.int64)

    def column_bonds(self, tolerance: float = 0.03, *, stretch: float = _BOND_STRETCH) -> Ints:
        """Return which columns share a bond ``(m, 2)``, each pair once and in order.

        Parameters
        ----------
        tolerance
            As in `columns`, whose indices these are.
        stretch
            As in `bonds`.
        """
        pairs = np.sort(_grouped(self.xyz[:, :2], tolerance)[self.bonds(stretch)], axis=1)
        return np.asarray(np.unique(pairs[pairs[:, 0] < pairs[:, 1]], axis=0), dtype=np.int64)

    def kept(self, keep: npt.NDArray[np.bool_]) -> Structure:
        """Return the atoms of a mask ``(n,)``; a defect goes when none of its atoms is left."""
        index = np.where(keep, np.cumsum(keep) - 1, -1)
        return Structure(self.xyz[keep], self.number[keep], renumbered(self.defects, index))

    def inside(self, field: tuple[float, float], *, margin: float = 0.5) -> Structure:
        """Return the atoms in a field of view and some way around it, for their tails.

        Parameters
        ----------
        field
            ``(y, x)`` [nm].
        margin
            Width of what is kept around the field [nm].
        """
        upper = np.array([field[1], field[0]]) + margin
        return self.kept(np.asarray(((self.xyz[:, :2] >= -margin) & (self.xyz[:, :2] <= upper)).all(axis=1)))

    def shifted(self, x: float, y: float) -> Structure:
        """Return it moved by ``x``, ``y`` [nm]."""
        return self._mapped(np.eye(2), np.array([x, y]))

    def rotated(self, angle: float, *, about: tuple[float, float] = (0.0, 0.0)) -> Structure:
        """Return it turned by an angle [deg] from x towards y about a point ``(x, y)`` [nm]."""
        cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        return self._about(np.array([[cosine, -sine], [sine, cosine]]), about)

    def strained(
        self, xx: float, yy: float, xy: float = 0.0, *, about: tuple[float, float] = (0.0, 0.0)
    ) -> Structure:
        """Return it strained by the symmetric tensor ``xx, yy, xy`` about a point ``(x, y)`` [nm]."""
        return self._about(np.array([[1 + xx, xy], [xy, 1 + yy]]), about)

    def mistilted(self, x: float, y: float) -> Structure:
        """Return it with the beam off the zone axis by ``x``, ``y`` [mrad]: a shear about z = 0."""
        xyz = self.xyz.copy()
        xyz[:, :2] += np.outer(xyz[:, 2], np.tan([x * 1e-3, y * 1e-3]))
        return replace(self, xyz=xyz)

    def jittered(self, sd: float, *, seed: int) -> Structure:
        """Return it with static displacements of standard deviation `sd` [nm] along each axis."""
        return replace(self, xyz=self.xyz + np.random.default_rng(seed).normal(0.0, sd, self.xyz.shape))

    def to_ase(self) -> ase.Atoms:
        """Return it for the Atomic Simulation Environment, in angstrom.

        Raises
        ------
        MissingExtraError
            ASE is not installed.
        """
        require("ase")
        from ase import Atoms

        return Atoms(numbers=self.number, positions=self.xyz * 10)

    def _about(self, matrix: Floats, about: tuple[float, float]) -> Structure:
        centre = np.array(about, dtype=float)
        return self._mapped(matrix, centre - matrix @ centre)

    def _mapped(self, matrix: Floats, offset: Floats) -> Structure:
        xyz = self.xyz.copy()
        xyz[:, :2] = xyz[:, :2] @ matrix.T + offset
        moved = ((one, matrix @ np.array(one.xy) + offset) for one in self.defects)
        return Structure(
            xyz, self.number, tuple(replace(one, xy=(float(x), float(y))) for one, (x, y) in moved)
        )


def merged(parts: Iterable[Structure]) -> Structure:
    """Return several structures as one."""
    xyz, number, defects, start = [np.empty((0, 3))], [np.empty(0, np.int64)], [], 0
    for part in parts:
        xyz.append(part.xyz)
        number.append(part.number)
        defects += [replace(one, atoms=tuple(start + i for i in one.atoms)) for one in part.defects]
        start += len(part.number)
    return Structure(np.concatenate(xyz), np.concatenate(number), tuple(defects))


def renumbered(defects: Iterable[Planted], index: npt.NDArray[np.integer]) -> tuple[Planted, ...]:
    """Return defects whose atom ``i`` is now ``index[i]``, or gone where that is -1.

    A defect none of whose atoms is left is left out.
    """
    return tuple(
        replace(one, atoms=atoms)
        for one in defects
        if (atoms := tuple(sorted({int(index[i]) for i in one.atoms if index[i] >= 0})))
    )


def are_bonded(
    xyz: Floats, number: Ints, pairs: npt.NDArray[np.integer], *, stretch: float = _BOND_STRETCH
) -> npt.NDArray[np.bool_]:
    """Return which pairs ``(m, 2)`` of atoms are bonded; see `Structure.bonds`."""
    length = np.linalg.norm(xyz[pairs[:, 0]] - xyz[pairs[:, 1]], axis=1)
    near = length <= stretch * covalent_radii(number)[pairs].sum(axis=1)
    metal = ~np.isin(number, _NON_METALS)
    return np.asarray(near & (metal.all() | ~metal[pairs].all(axis=1)))


def covalent_radii(number: npt.NDArray[np.integer]) -> Floats:
    """Return covalent radii ``(n,)`` [nm] of atomic numbers ``(n,)``.

    Raises
    ------
    UsageError
        For an element without an entry.
    """
    kinds, index = np.unique(number, return_inverse=True)
    unknown = sorted(set(kinds.tolist()) - set(_COVALENT_RADIUS))
    if unknown:
        known = ", ".join(map(str, _COVALENT_RADIUS))
        raise UsageError(f"no covalent radius for atomic number {unknown[0]}; expected one of {known}")
    return np.array([_COVALENT_RADIUS[one] for one in kinds.tolist()], dtype=np.float64)[index]


def _depth(z: Floats, group: Ints) -> Floats:
    """Return each atom's place in its column ``(n,)``, from 1 at the least z."""
    order = np.lexsort((z, group))
    first = np.searchsorted(group[order], np.arange(int(group.max(initial=-1)) + 1))
    depth = np.empty(len(z))
    depth[order] = np.arange(len(z)) - first[group[order]] + 1
    return depth


def _grouped(xy: Floats, tolerance: float) -> Ints:
    """Return a group per point ``(n,)``, numbered in the order of each group's first point."""
    pairs = cKDTree(xy).query_pairs(tolerance, output_type="ndarray") if len(xy) else np.empty((0, 2), int)
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(xy), len(xy)))
    if not len(xy):
        return np.empty(0, np.int64)
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)
