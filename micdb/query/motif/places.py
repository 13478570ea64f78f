"""Sets of atoms become places: the best alignment of each, and whether it keeps the rules."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from micdb.query.motif.atoms import NONE, Atoms
from micdb.query.motif.match import Mask, Search
from micdb.query.motif.outline import CROWDED, SLACK
from micdb.query.motif.plane import Floats

Complex = npt.NDArray[np.complex128]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.integer]
Keys = npt.NDArray[np.uint64]

OFF = 0.5  # of the motif's shortest distance: an atom farther from its place is another one


@dataclass(frozen=True, slots=True)
class Places:
    """Some places.

    Parameters
    ----------
    atoms
        Numbers of the atoms in `Atoms`, ``(n, m)``, in the order of the plan.
    rmsd
        [nm] ``(m,)``.
    mirrored
        Whether they were found with the motif turned over.
    key
        The same for the same set of atoms, and hardly ever for another.
    """

    atoms: npt.NDArray[np.int64]
    rmsd: Doubles
    mirrored: npt.NDArray[np.bool_]
    key: Keys

    def __len__(self) -> int:
        return len(self.rmsd)

    def __getitem__(self, chosen: Ints | Mask) -> Places:
        return Places(self.atoms[:, chosen], self.rmsd[chosen], self.mirrored[chosen], self.key[chosen])


def joined(several: list[Places], n: int) -> Places:
    """Return several places as one record; `n` is the number of atoms in the motif."""
    if len(several) == 1:
        return several[0]
    if not several:
        return Places(np.empty((n, 0), np.int64), np.empty(0), np.empty(0, np.bool_), np.empty(0, np.uint64))
    return Places(
        np.concatenate([one.atoms for one in several], axis=1),
        np.concatenate([one.rmsd for one in several]),
        np.concatenate([one.mirrored for one in several]),
        np.concatenate([one.key for one in several]),
    )


def distinct(places: Places) -> Places:
    """Return each set of atoms once, with its smallest RMSD."""
    order = np.lexsort((places.rmsd, places.key))
    same = np.flatnonzero(places.key[order][1:] == places.key[order][:-1])
    if not len(same):
        return places
    pairs = np.sort(places.atoms[:, order[same]], axis=0) == np.sort(places.atoms[:, order[same + 1]], axis=0)
    keep = np.ones(len(order), np.bool_)
    keep[same[pairs.all(axis=0)] + 1] = False
    return places[np.sort(order[keep])]


def mixed(numbers: Ints) -> Keys:
    """Return well-spread 64-bit numbers, as splitmix64 makes them (Steele et al., OOPSLA 2014)."""
    key = (numbers.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    key = (key ^ (key >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    key = (key ^ (key >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(key ^ (key >> np.uint64(31)))


class Judge:
    """Tells which sets of atoms that a search found are places.

    Parameters
    ----------
    search
        The search.
    atoms
        What it searches.
    """

    def __init__(self, search: Search, atoms: Atoms) -> None:
        self.search = search
        self.plan, self.plane = search.plan, search.plane
        span = search.span
        self.where = atoms["x"][span].astype(np.float64) + 1j * atoms["y"][span].astype(np.float64)
        self.keys = mixed(np.arange(span.start, span.stop))
        self.crowded = search.distance[0] < CROWDED * self.plane.unit
        laid = [
            self.plan.points[list(one.onto)].conj() if one.mirrored or search.mirrored
            else self.plan.points[list(one.onto)]
            for one in self.plan.group
        ]  # fmt: skip
        self.ways: Complex = np.array(laid)
        self.probes = self.plan.probes(self.plane.unit, self.plane.reach, self.plane.blur)

    def judge(self, found: npt.NDArray[np.int32]) -> Places:
        """Return the sets ``(n, h)`` that are places, numbered as in `Atoms`."""
        plan = self.plan
        at = self.where[found]
        at -= at.mean(axis=0)
        turns = self.ways.conj() @ at
        size = np.abs(turns)
        way = size.argmax(axis=0)
        columns = np.arange(found.shape[1])
        best = size[way, columns]
        spread = (np.square(at.real) + np.square(at.imag)).sum(axis=0) + (np.abs(plan.points) ** 2).sum()
        rmsd = np.sqrt(np.maximum(spread - 2 * best, 0) / plan.n)
        at -= turns[way, columns] / np.maximum(best, 1e-300) * self.ways.T[:, way]
        off = np.sqrt((np.square(at.real) + np.square(at.imag)).max(axis=0))
        keep = (rmsd <= plan.rule.max_rmsd) & (off <= OFF * plan.shortest)
        found, rmsd, off = found[:, keep], rmsd[keep], off[keep]
        keep = self._alone(found, off)
        found, rmsd = found[:, keep], rmsd[keep]
        key = self.keys[found].sum(axis=0, dtype=np.uint64)
        mirrored = np.full(len(rmsd), self.search.mirrored)
        return Places(found.astype(np.int64) + self.plane.first, rmsd, mirrored, key)

    # ------------------------------------------------------------------ further atoms

    def _alone(self, found: npt.NDArray[np.int32], off: Doubles) -> Mask:
        """Return which sets have no further atom inside the outline."""
        alone = np.ones(found.shape[1], np.bool_)
        if self.probes is None:
            return alone
        doubtful = off > SLACK * self.plane.unit
        if self.crowded.any():
            doubtful |= self.crowded[found].any(axis=0)
        points, radii = self.probes
        if len(points):
            column, atom = self._seen(found, points, radii)
            doubtful[column] = True
            alone[column[self._further(found, column, atom)]] = False
        doubtful &= alone
        alone[doubtful] = self._looked_at(found[:, doubtful])
        return alone

    def _seen(self, found: npt.NDArray[np.int32], points: Complex, radii: Doubles) -> tuple[Ints, Ints]:
        """Return the atoms that are near a probe, and the sets whose probe it is."""
        plane = self.plane
        x, y = self.search.fit(found).lay(*self._cells(points))
        atoms = plane.at(x, y)
        near = plane.squared(atoms, x, y) <= np.square((radii + plane.blur) / plane.cell)[:, None]
        near &= atoms != NONE
        return np.nonzero(near)[1], atoms[near]

    def _further(self, found: npt.NDArray[np.int32], column: Ints, atom: Ints) -> Mask:
        """Return which atoms are none of the set that they are listed with, and lie inside its outline."""
        outline, cell, pose = self.plan.outline, self.plane.cell, self.search.fit(found)
        if outline is None:
            return np.zeros(len(atom), np.bool_)
        x, y = self.plane.x[atom] - pose.x[column], self.plane.y[atom] - pose.y[column]
        cos, sin = pose.cos[column], pose.sin[column]
        back = (cos * x + sin * y) * cell + 1j * (cos * y - sin * x) * cell
        inside = outline.depth(back.conj() if self.search.mirrored else back) > outline.margin
        inside[inside] = (found[:, column[inside]] != atom[inside]).all(axis=0)
        return np.asarray(inside)

    def _looked_at(self, found: npt.NDArray[np.int32]) -> Mask:
        """Return which sets have no further atom inside, by looking at every atom around."""
        if not found.shape[1]:
            return np.ones(0, np.bool_)
        pose = self.search.fit(found)
        wide = float(np.abs(self.plan.points).max()) / self.plane.cell
        near = self._tree.query_ball_point(np.column_stack((pose.x, pose.y)), wide)
        column = np.repeat(np.arange(len(near)), [len(one) for one in near])
        atom = np.concatenate([np.asarray(one, np.int64) for one in near])
        further = column[self._further(found, column, atom)]
        return np.asarray(np.bincount(further, minlength=len(near)) == 0)

    @cached_property
    def _tree(self) -> cKDTree:
        return cKDTree(
            np.column_stack((self.plane.x, self.plane.y)), balanced_tree=False, compact_nodes=False
        )

    def _cells(self, points: Complex) -> tuple[Floats, Floats]:
        laid = (points.conj() if self.search.mirrored else points) / self.plane.cell
        return laid.real.astype(np.float32), laid.imag.astype(np.float32)
