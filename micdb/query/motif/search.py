"""Look for a motif in atoms: which atom to start at, plane after plane, and the best of all places."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from threadpoolctl import ThreadpoolController

from micdb.query.motif.atoms import Atoms, batches
from micdb.query.motif.match import Mask, Search, fitting
from micdb.query.motif.motif import Motif
from micdb.query.motif.places import Judge, Keys, Places, distinct, joined, mixed
from micdb.query.motif.plan import Plan, Rule, arrange, complete_to, make_plan
from micdb.query.motif.plane import lay_out

Ints = npt.NDArray[np.integer]

ROUNDING = 1e-7  # [nm] places whose RMSD differs by less are equally good
_TOGETHER = 1 << 16  # atoms in a plane
_SAMPLE = 20_000  # atoms that say how many can be the start of a motif
_SELECTIVE = 0.9  # a descriptor that more atoms fulfil is not worth looking at


@dataclass(frozen=True, slots=True)
class Found:
    """The best places in one record of atoms.

    Parameters
    ----------
    places
        At most the number wanted, best first.
    count
        How many there are in all.
    plan
        How they were looked for; its order is that of the atoms.
    certain
        How far the atoms of a place may be off for it to be found for certain [nm], see
        `micdb.query.motif.plan.complete_to`.
    """

    places: Places
    count: int
    plan: Plan
    certain: float


class Best:
    """The k best of places that come in any order, and the number of all of them.

    Equally good ones stand in the order of their images, then of frames, then of atoms.

    Parameters
    ----------
    atoms
        What the places are in.
    rank
        Place of every frame among the images, ``(f,)``.
    n, k
        Atoms in the motif; places wanted.
    """

    def __init__(self, atoms: Atoms, rank: Ints, *, n: int, k: int) -> None:
        self.atoms, self.rank, self.k = atoms, rank, k
        self.places = joined([], n)
        self.keys: list[Keys] = []
        self.worst = np.inf

    @property
    def count(self) -> int:
        """Number of different sets of atoms."""
        keys = np.sort(np.concatenate(self.keys or [np.empty(0, np.uint64)]))
        return int(np.count_nonzero(keys[1:] != keys[:-1])) + bool(len(keys))

    def add(self, places: Places) -> None:
        """Take in further places."""
        self.keys.append(places.key)
        good = places[np.round(places.rmsd / ROUNDING) <= self.worst]
        if not len(good):
            return
        self.places = distinct(joined([self.places, good], len(good.atoms)))
        self.places = self.places[self._order()[: self.k]]
        if len(self.places) == self.k:
            self.worst = float(np.round(self.places.rmsd[-1] / ROUNDING))

    def _order(self) -> Ints:
        frame = self.atoms.frame_of(self.places.atoms[0])
        numbers = self.atoms["idx"][self.places.atoms]
        keys = (mixed(numbers).sum(axis=0, dtype=np.uint64), numbers.min(axis=0), self.atoms["frame"][frame])
        return np.lexsort((*keys, self.rank[frame], np.round(self.places.rmsd / ROUNDING)))


def look(several: Sequence[Atoms], ranks: Sequence[Ints], motif: Motif, rule: Rule, *, k: int) -> list[Found]:
    """Return the best places in several records of atoms.

    Parameters
    ----------
    several
        Where to look.
    ranks
        For each of them the place of every frame among equally good ones, ``(f,)``; negative: not wanted.
    motif
        What to look for.
    rule
        What is asked.
    k
        Number of places wanted from each record.
    """
    points = motif.xy[:, 0] + 1j * motif.xy[:, 1]
    found = []
    for atoms, rank in zip(several, ranks, strict=True):
        plan = make_plan(points, _kinds(motif, atoms), rule)
        anchor, share = _start(plan, atoms)
        plan = arrange(plan, anchor)
        found.append(_best(plan, atoms, rank, share[plan.order] < _SELECTIVE, k))
    return found


def _kinds(motif: Motif, atoms: Atoms) -> npt.NDArray[np.int64]:
    codes: dict[str | None, int] = {None: -1, **{name: code for code, name in enumerate(atoms.species)}}
    return np.array([codes.get(one, -2) for one in motif.species or [None] * len(motif)])


def _start(plan: Plan, atoms: Atoms) -> tuple[int, npt.NDArray[np.float64]]:
    """Return the atom that fewest atoms can be, and for each the share of atoms that can be it."""
    sample = slice(0, None, max(1, atoms.n // _SAMPLE))
    distance = atoms["distance"][:, sample].astype(np.float32)
    species = atoms["species"][sample]
    share = np.array([fitting(plan, i, distance, species).mean() if atoms.n else 0.0 for i in range(plan.n)])
    return min(range(plan.n), key=lambda i: (round(float(share[i]), 2), abs(plan.points[i]), i)), share


def _best(plan: Plan, atoms: Atoms, rank: Ints, selective: Mask, k: int) -> Found:
    def search(frames: tuple[int, int]) -> tuple[Places, int, float]:
        best = Best(atoms, rank, n=plan.n, k=k)
        certain = _search_plane(plan, atoms, frames, selective, best)
        return best.places, best.count, certain

    with _libraries().limit(limits=1), ThreadPoolExecutor(os.cpu_count()) as threads:
        answers = list(threads.map(search, batches(atoms["start"], _TOGETHER)))
    best = Best(atoms, rank, n=plan.n, k=k)
    for places, _, _ in answers:
        best.add(places)
    certain = min((certain for _, _, certain in answers), default=plan.rule.max_rmsd)
    return Found(best.places, sum(count for _, count, _ in answers), plan, certain)


@cache
def _libraries() -> ThreadpoolController:
    return ThreadpoolController()


def _search_plane(plan: Plan, atoms: Atoms, frames: tuple[int, int], selective: Mask, best: Best) -> float:
    """Add the places in some frames; return how far atoms may be off for none to be missed [nm]."""
    start = atoms["start"][frames[0] : frames[1] + 1]
    wanted = np.repeat(best.rank[slice(*frames)] >= 0, np.diff(start))
    span = slice(start[0], start[-1])
    distance = atoms["distance"][:, span].astype(np.float32)
    wanted &= fitting(plan, 0, distance, atoms["species"][span])
    if not wanted.any():
        return plan.rule.max_rmsd
    wide = 2 * float(np.abs(plan.points).max())
    plane = lay_out(atoms, frames, shortest=plan.shortest, wide=wide)
    for mirrored in (False, True) if plan.rule.mirror and plan.chiral else (False,):
        one = Search(plan, atoms, plane, distance, mirrored=mirrored, selective=selective)
        judge = Judge(one, atoms)
        for sets in one.run(np.flatnonzero(wanted)):
            best.add(judge.judge(sets))
    return complete_to(plan, reach=plane.reach, blur=plane.blur)
