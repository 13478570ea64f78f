"""A bonded network of atoms that can be cut, doped and bonded anew, then relaxed."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from micdb.embed.simulate.keating import relax
from micdb.embed.simulate.lattices import inside_field
from micdb.embed.simulate.planting import distance_to
from micdb.embed.simulate.structure import Planted, Structure, renumbered

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class Network:
    """Atoms and their bonds. Atoms keep their index while others are removed.

    Parameters
    ----------
    xyz
        Positions ``(n, 3)`` [nm].
    number
        Atomic numbers ``(n,)``.
    bonds
        Pairs ``(m, 2)``.
    """

    def __init__(self, xyz: Floats, number: Ints, bonds: Ints) -> None:
        self.xyz = [*np.asarray(xyz, dtype=float)]
        self.number = [int(one) for one in number]
        self.alive = [True] * len(self.number)
        self.adjacent: list[set[int]] = [set() for _ in self.number]
        self.planted: list[Planted] = []
        for i, j in bonds.tolist():
            self.bond(i, j)

    def bond(self, i: int, j: int) -> None:
        """Bond two atoms."""
        self.adjacent[i].add(j)
        self.adjacent[j].add(i)

    def cut(self, i: int, j: int) -> None:
        """Cut a bond."""
        self.adjacent[i].discard(j)
        self.adjacent[j].discard(i)

    def add(self, xyz: Floats, number: int) -> int:
        """Add an atom without bonds and return its index."""
        self.xyz.append(np.asarray(xyz, dtype=float))
        self.number.append(number)
        self.alive.append(True)
        self.adjacent.append(set())
        return len(self.number) - 1

    def remove(self, atoms: Iterable[int]) -> list[int]:
        """Remove atoms; return those that lost a neighbour and are still there, sorted."""
        gone = set(atoms)
        rim = set().union(*(self.adjacent[i] for i in gone)) - gone
        for i in gone:
            for j in tuple(self.adjacent[i]):
                self.cut(i, j)
            self.alive[i] = False
        return sorted(rim)

    def prune(self, rim: Iterable[int]) -> list[int]:
        """Remove atoms with fewer than two bonds until there are none; return what is left of the rim."""
        rim = set(rim)
        while loose := {i for i in rim if len(self.adjacent[i]) < 2}:
            rim = (rim - loose) | set(self.remove(loose))
        return sorted(rim)

    def plant(self, kind: str, xy: Floats, atoms: Iterable[int]) -> None:
        """Write down a defect."""
        self.planted.append(Planted(kind, (float(xy[0]), float(xy[1])), tuple(sorted(atoms))))

    def relaxed(self, *, reach: float, field: tuple[float, float], margin: float) -> Structure:
        """Return the structure, relaxed within a distance of what was planted.

        Parameters
        ----------
        reach
            Atoms that close to a defect or to one of its atoms may move [nm].
        field, margin
            Atoms farther than the margin [nm] outside the field ``(y, x)`` [nm] stay where they are.
        """
        index = np.cumsum(self.alive) - 1
        index[~np.array(self.alive, dtype=bool)] = -1
        xyz = np.array(self.xyz)[index >= 0]
        number = np.array(self.number, dtype=np.int64)[index >= 0]
        bonds = np.array(
            [(index[i], index[j]) for i, near in enumerate(self.adjacent) for j in near if i < j],
            dtype=np.int64,
        ).reshape(-1, 2)
        defects = renumbered(self.planted, index)
        bonded = np.bincount(bonds.ravel(), minlength=len(number)) > 0
        free = bonded & (distance_to(defects, xyz) < reach) & inside_field(xyz[:, :2], field, border=-margin)
        return Structure(relax(xyz, number, bonds, free=free), number, defects)
