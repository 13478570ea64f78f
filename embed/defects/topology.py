"""What a defect is made of: missing sites, foreign columns, the hosts around them, their bonds and rings.

Bonds are those of the lattice's sites, so that a neighbour that noise moves keeps its bond: a column that
stands for several sites bonds the neighbours of all of them. Taking n connected sites out of a honeycomb
leaves n + 2 hosts: one silicon in one site is Si1C3, one in two sites Si1C4.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from micdb.embed import graph
from micdb.embed.defects.candidates import BONDED, Candidate
from micdb.embed.defects.classes import UNKNOWN
from micdb.embed.defects.sites import Sites
from micdb.embed.motif_key import LARGEST, motif_key
from micdb.rings import Rings

Ints = npt.NDArray[np.int64]
Pair = tuple[int, int]

_COVERED = 0.8  # [spacing] an empty site so near a foreign column is its own
_CROWDED = 0.7  # [spacing] a column so near a foreign one is a part of it that noise made
_ADJACENT = 1.25  # [spacing] of sites that are neighbours
_BRIGHTER, _DIMMER = 1.6, 0.62  # brightness of a column that is foreign, where no species are known
_RING = 1.6  # [spacing] of a ring's centre from a departure
_NO_ATOM = "V"


@dataclass(frozen=True, slots=True)
class Makeup:
    """What one defect is made of.

    Parameters
    ----------
    foreign
        Columns that are not the crystal's ``(n,)``.
    missing
        Sites without a column that none stands for ``(m,)``.
    hosts
        Columns and sites of the crystal around them ``(k,)``.
    bonds
        Pairs of the above.
    rings
        Sizes, sorted, of the rings around the defect that are not the crystal's.
    ringed
        Columns in those rings ``(r,)``.
    """

    foreign: Ints
    missing: Ints
    hosts: Ints
    bonds: tuple[Pair, ...]
    rings: tuple[int, ...]
    ringed: Ints


class Topology:
    """Sites of an image as a graph, from which defects are read.

    Parameters
    ----------
    seen
        The sites.
    species
        Of each column ``(n,)``; None where none are known.
    void
        Which sites are in a hole.
    """

    def __init__(self, seen: Sites, species: Sequence[str] | None, void: npt.NDArray[np.bool_]) -> None:
        self._seen = seen
        self.species = None if species is None else list(species)
        self._place = seen.xy - np.nan_to_num(seen.shift)
        # a site that a column stands beside was not measured: its emptiness is no evidence of a hole
        hole = void & np.isfinite(seen.ratio)
        self._lattice = np.flatnonzero((seen.kind >= 0) & ~hole)
        i, j, _ = graph.neighbours(self._place[self._lattice], _ADJACENT * seen.spacing)
        self._near: dict[int, set[int]] = {int(k): set() for k in self._lattice}
        for one, other in zip(self._lattice[i].tolist(), self._lattice[j].tolist(), strict=True):
            if seen.grain[one] == seen.grain[other]:
                self._near[one].add(other)
                self._near[other].add(one)
        self._host = self._hosts()
        self._rings, self.usual = self._faces()

    def _hosts(self) -> dict[int, str]:
        """Return what each class of sites usually holds: a species, or a letter by falling brightness."""
        seen = self._seen
        known = [int(one) for one in np.unique(seen.kind) if one >= 0]
        if self.species is not None:
            labels = np.array(self.species)
            return {
                one: Counter(labels[seen.kind[: seen.columns] == one].tolist()).most_common(1)[0][0]
                for one in known
                if (seen.kind[: seen.columns] == one).any()
            }
        bright = {one: float(np.nanmedian(seen.strength[seen.kind == one])) for one in known}
        levels: list[float] = []
        found = {}
        for one in sorted(known, key=lambda k: -bright[k]):
            if not levels or bright[one] < 0.8 * levels[-1]:
                levels.append(bright[one])
            found[one] = chr(ord("A") + len(levels) - 1)
        return found

    def _faces(self) -> tuple[Rings, int]:
        seen = self._seen
        xy = seen.xy[: seen.columns]
        i, j, _ = graph.neighbours(xy, BONDED * seen.spacing)
        found = graph.ring_faces(xy, i, j)
        return found, int(np.bincount(found.size).argmax()) if len(found.size) else 0

    def is_foreign(self, column: int) -> bool:
        """Return whether a column is not what its site usually holds."""
        seen = self._seen
        kind = int(seen.kind[column])
        if self.species is not None:
            usual = self._host.get(kind)
            found = self.species[column]
            return found != usual if usual is not None else found not in self._host.values()
        if kind < 0:
            return True
        ratio = seen.ratio[column]
        return bool(seen.judged[column] and (ratio >= _BRIGHTER or ratio <= _DIMMER))

    def makeup(self, candidate: Candidate) -> Makeup:
        """Return what a candidate is made of."""
        seen = self._seen
        nodes = candidate.nodes.tolist()
        columns = [one for one in nodes if one < seen.columns]
        foreign = [one for one in columns if self.is_foreign(one)]
        empty = {one for one in nodes if one >= seen.columns and seen.judged[one] and one in self._near}
        stands = {one: self._covered(one) for one in foreign}
        covered = set().union(*stands.values()) if stands else set()
        loose = self._between(covered)
        # beside foreign columns a host is easily missed: what they bond is counted by sites
        missing = [] if foreign else sorted(empty)
        core = covered | loose | set(missing)
        if not foreign and not missing:
            foreign = [one for one in columns if seen.kind[one] < 0]  # an atom too many of the crystal's own
            stands = {one: set() for one in foreign}
        bonds, hosts = self._bonded(stands, loose, missing, core)
        return Makeup(
            np.array(foreign, np.int64), np.array(missing, np.int64), np.array(sorted(hosts), np.int64),
            tuple(sorted(bonds)), *self._odd_rings(nodes),
        )  # fmt: skip

    def _covered(self, column: int) -> set[int]:
        """Return the sites that a foreign column stands for: those near it that no other atom can be on.

        How bright they are says nothing: beside a bright column an empty site measures as if half full.
        """
        seen = self._seen
        own = {column} if column in self._near else set()
        off = np.hypot(*(self._place[self._lattice] - seen.xy[column]).T)
        for one in self._lattice[off <= _COVERED * seen.spacing].tolist():
            apart = np.hypot(*(seen.xy[one] - seen.xy[column]))
            if one >= seen.columns or apart <= _CROWDED * seen.spacing:
                own.add(one)
        return own

    def _between(self, covered: set[int]) -> set[int]:
        """Return the sites without a column between foreign ones: they have no atom, and miss none."""
        around = self._next(covered) - covered
        return {one for one in around if one >= self._seen.columns and len(self._near[one] & covered) >= 2}

    def _bonded(
        self, stands: dict[int, set[int]], loose: set[int], missing: list[int], core: set[int]
    ) -> tuple[set[Pair], set[int]]:
        bonds: set[Pair] = set()
        hosts: set[int] = set()
        for column, own in {**stands, **{one: {one} for one in missing}}.items():
            around = set().union(*(self._near[one] for one in own)) if own else self._nearest(column)
            outer = around - core
            hosts |= outer
            bonds |= {_pair(column, one) for one in outer}
            for other, theirs in {**stands, **{one: {one} for one in missing}}.items():
                if other != column and (
                    around & theirs or own & theirs or around & loose & self._next(theirs)
                ):
                    bonds.add(_pair(column, other))
        bonds |= {_pair(one, two) for one in hosts for two in self._near[one] & hosts}
        return bonds, hosts

    def _next(self, sites: set[int]) -> set[int]:
        return set().union(*(self._near[one] for one in sites)) if sites else set()

    def _nearest(self, column: int) -> set[int]:
        """Return the sites bonded to a column that stands on none."""
        off = np.hypot(*(self._place[self._lattice] - self._seen.xy[column]).T)
        return set(self._lattice[off <= _ADJACENT * self._seen.spacing].tolist())

    def _odd_rings(self, nodes: list[int]) -> tuple[tuple[int, ...], Ints]:
        """Return the sizes of the rings at some nodes that are not the usual ones, and their atoms."""
        if not len(self._rings.size) or not self.usual:
            return (), np.empty(0, np.int64)
        near = cKDTree(self._seen.xy[nodes]).query(self._rings.centre)[0] <= _RING * self._seen.spacing
        odd = near & (self._rings.size != self.usual)
        members = self._rings.member[np.repeat(odd, self._rings.size)]
        return tuple(sorted(self._rings.size[odd].tolist())), np.unique(members)

    def label(self, one: int) -> str:
        """Return what stands at a place: a species, a letter of its class, ``X`` for a foreign column."""
        seen = self._seen
        if one < seen.columns and self.species is not None:
            return self.species[one]
        if one < seen.columns and self.is_foreign(one):
            return "X"
        return self._host.get(int(seen.kind[one]), "X")

    def formula(self, made: Makeup, kind: str) -> str | None:
        """Return the formula of a defect of a kind; None where its atoms cannot be told."""
        if kind in ("vacancy", "divacancy", "vacancy-cluster"):
            return self._missing_formula(made)
        if kind == "ring":
            return "".join(map(str, made.rings)) or None
        if kind in ("substitution", "adatom", "interstitial", UNKNOWN) and self.species is not None:
            own = Counter(self.label(one) for one in made.foreign.tolist())
            around = Counter(self._host.get(int(self._seen.kind[one]), "X") for one in made.hosts.tolist())
            if own:
                return _counted(own) + _counted(around)
        return None

    def _missing_formula(self, made: Makeup) -> str | None:
        """Return V and the number of atoms that are missing."""
        count = len(made.missing)
        for one in made.foreign.tolist():
            usual = self._host.get(int(self._seen.kind[one]))
            if self.species is None or usual is None:
                return None
            fewer = _atoms(usual, self.species[one])
            if fewer is None:
                return None
            count += fewer
        return f"V{count}" if count else None

    def key(self, made: Makeup, kind: str) -> str | None:
        """Return the key of a defect's bond graph; None where it has none, or is too large for one."""
        if kind == "ring":
            return self._ring_key(made)
        own = [*made.foreign.tolist(), *made.missing.tolist()]
        members = [*own, *made.hosts.tolist()]
        if not own or len(members) > LARGEST:
            return None
        index = {one: k for k, one in enumerate(members)}
        gone, hosts = set(made.missing.tolist()), set(made.hosts.tolist())
        names = [
            _NO_ATOM if one in gone
            else self._host.get(int(self._seen.kind[one]), "X") if one in hosts
            else self.label(one)
            for one in members
        ]  # fmt: skip
        ends = np.array([(index[a], index[b]) for a, b in made.bonds], np.int64).reshape(-1, 2)
        return motif_key(names, ends[:, 0], ends[:, 1], [k < len(own) for k in range(len(members))])

    def _ring_key(self, made: Makeup) -> str | None:
        """Return the key of the atoms of unusual rings, bonded as they are."""
        if not 0 < len(made.ringed) <= LARGEST:
            return None
        i, j, _ = graph.neighbours(self._seen.xy[made.ringed], BONDED * self._seen.spacing)
        names = [self.label(one) for one in made.ringed.tolist()]
        return motif_key(names, i, j, [True] * len(names))


def _pair(one: int, other: int) -> Pair:
    return (one, other) if one < other else (other, one)


def _counted(names: Counter[str]) -> str:
    return "".join(
        f"({name}){count}" if name[-1].isdigit() else f"{name}{count}"
        for name, count in sorted(names.items())
    )


def _atoms(usual: str, found: str) -> int | None:
    """Return how many atoms fewer than usual a column of the same element has."""
    element, other = usual.rstrip("0123456789"), found.rstrip("0123456789")
    if element != other:
        return None
    fewer = int(usual[len(element) :] or 1) - int(found[len(other) :] or 1)
    return fewer if fewer > 0 else None
