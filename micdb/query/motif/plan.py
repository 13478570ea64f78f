"""How a motif is looked for: what every atom must see around itself, and in which order atoms are found.

Two bounds carry the search. Let no atom of a place be farther than ``t`` from where the motif's best
alignment puts it. Then

* two atoms are as far apart as in the motif, give or take ``2 t``. The distances of an atom to its nearest
  neighbours, in rising order, do not change when the image is turned or turned over; they are the descriptor
  of the atom, a row of the pointwise distance distribution (D. Widdowson and V. Kurlin, Resolving the data
  ambiguity for periodic crystals, NeurIPS 35, 2022). The k-th is at most the motif's plus ``2 t``, and inside
  the outline, where no further atom may be, at least the motif's minus ``2 t``.
* an alignment of some of the atoms tells where the next one is, the better the longer its lever: with
  ``k`` = sum of the lengths over sum of their squares, about the middle of these atoms, the next one at
  ``r`` from that middle is off by at most ``2 t + 2 r sin(asin(k t) / 2)``.

Places at the limit have single atoms that are off by more than the largest RMSD, about twice it, so that the
search is lenient by `LENIENT`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from micdb.query.motif.outline import Outline
from micdb.query.motif.symmetry import SelfMap, symmetry

Complex = npt.NDArray[np.complex128]
Floats = npt.NDArray[np.float64]

NEIGHBOURS = 12  # of each atom in the index: the first two shells of every plane lattice, or three
LENIENT = 2.0  # times the largest RMSD: bound of descriptors and of where the next atoms are
PAIR = 1.5  # the same for the first two atoms, of which every atom has some
HOLE = 0.5  # the same for the hole in a motif, which has to show early to be of use
_CLOSE = 0.25  # of the shortest distance: what is more off is no symmetry


@dataclass(frozen=True, slots=True)
class Rule:
    """What is asked of a place.

    Parameters
    ----------
    max_rmsd
        Largest root mean square distance after the best alignment [nm].
    species
        Whether atoms whose species both sides know must agree.
    mirror
        Whether the motif may be turned over.
    extra
        Whether further atoms may lie inside.
    """

    max_rmsd: float
    species: bool = True
    mirror: bool = True
    extra: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """A motif ready to be looked for. Atoms stand in the order in which they are found, the anchor first.

    Parameters
    ----------
    rule
        What is asked.
    points
        ``(n,)``, about their centre [nm].
    order
        Number of each in the motif as it was given, ``(n,)``.
    kinds
        Species code of each; -1 for an unknown one, -2 for one that no searched atom has.
    shortest
        Smallest distance of two atoms [nm].
    slack
        By how much atoms of the motif may be off because it is only nearly symmetric [nm].
    group
        Ways in which the motif lies on itself, in terms of `points`.
    outline
        Its outline; None where further atoms may lie inside.
    upper, lower
        Bounds of the descriptor, ``(n, NEIGHBOURS)`` [nm].
    stages
        How many atoms are found after each stage; the first are the anchor and its partner.
    void
        Middle of the largest hole inside the outline [nm]; None where there is none.
    seen
        Probes that were made so far.
    """

    rule: Rule
    points: Complex
    order: npt.NDArray[np.int64]
    kinds: npt.NDArray[np.int64]
    shortest: float
    slack: float
    group: tuple[SelfMap, ...]
    outline: Outline | None
    upper: Floats
    lower: Floats
    stages: tuple[int, ...] = ()
    void: complex | None = None
    seen: dict[tuple[float, float, float], tuple[Complex, Floats]] = field(default_factory=dict)

    @property
    def n(self) -> int:
        """Number of atoms."""
        return len(self.points)

    def bound(self, lenient: float = 1.0) -> float:
        """Return the bound ``t`` for a multiple of the largest RMSD [nm]."""
        return lenient * self.rule.max_rmsd + self.slack

    @property
    def chiral(self) -> bool:
        """Whether the motif turned over has to be looked for by itself."""
        return not any(one.mirrored for one in self.group)

    @property
    def mates(self) -> tuple[int, tuple[int, ...]]:
        """An atom that no rotation of the group leaves in place, and where the group takes it.

        Of the ways to find one set of atoms, that one is followed where this atom has the smallest number.
        """
        turns = [one for one in self.group if not one.mirrored]
        first = max((0, 1), key=lambda slot: (len({one.onto[slot] for one in turns}), -slot))
        return first, tuple(sorted({one.onto[first] for one in turns} - {first}))

    def probes(self, spacing: float, reach: float, blur: float) -> tuple[Complex, Floats] | None:
        """Return `Outline.probes`, kept for the next plane of the same spacing; None without an outline."""
        if self.outline is None:
            return None
        asked = (spacing, reach, blur)
        if asked not in self.seen:
            self.seen[asked] = self.outline.probes(spacing, reach=reach, blur=blur)
        return self.seen[asked]

    def hole(self, known: int) -> float:
        """Return the radius about `void` where, once so many atoms are found, no atom may be [nm]."""
        if self.void is None or self.outline is None:
            return 0.0
        where, t = np.array([self.void]), HOLE * self.rule.max_rmsd
        deep = self.outline.depth(where) - self.outline.margin - self.error(known, where, t)
        clear = np.abs(self.points - self.void) - self.error(known, self.points, t) - t
        return min(float(deep[0]), float(clear.min()))

    def error(self, known: int, where: Complex, t: float) -> Floats:
        """Return how far the alignment of the first atoms can be off at places [nm], in their shape."""
        middle = self.points[:known].mean()
        arms = np.abs(self.points[:known] - middle)
        lever = min(1.0, t * float(arms.sum() / (arms**2).sum()))
        swing = 2 * math.sin(math.asin(lever) / 2)
        return np.asarray(t + np.abs(where - middle) * swing)


def make_plan(points: Complex, kinds: npt.NDArray[np.int64], rule: Rule) -> Plan:
    """Return the plan of a motif, with its atoms in the order given; `arrange` chooses a better one.

    Parameters
    ----------
    points
        ``(n,)`` [nm].
    kinds
        Species codes, as in `Plan`.
    rule
        What is asked.
    """
    points = points - points.mean()
    distance = np.abs(points[:, None] - points[None, :])
    np.fill_diagonal(distance, np.inf)
    shortest = float(distance.min())
    group = symmetry(points, kinds, tolerance=min(rule.max_rmsd, _CLOSE * shortest))
    if not rule.mirror:
        group = [one for one in group if not one.mirrored]
    slack = max(one.deviation for one in group)
    outline = None if rule.extra else Outline.of(points, shortest)
    upper, lower = _bounds(
        np.sort(distance, axis=1)[:, :-1], points, outline, LENIENT * rule.max_rmsd + slack
    )
    order = np.arange(len(points))
    return Plan(rule, points, order, kinds, shortest, slack, tuple(group), outline, upper, lower)


def arrange(plan: Plan, anchor: int) -> Plan:
    """Return a plan that starts at an atom and finds those first whose places are known best.

    Parameters
    ----------
    plan
        From `make_plan`.
    anchor
        The atom to start at.
    """
    near = np.abs(plan.points - plan.points[anchor])
    near[anchor] = np.inf
    order, stages = [anchor, int(near.argmin())], [2]
    while len(order) < plan.n:
        rest = [i for i in range(plan.n) if i not in order]
        known = len(order)
        middle = plan.points[order].mean()
        rest.sort(key=lambda i: (round(float(abs(plan.points[i] - middle)) / plan.shortest, 3), i))
        order += rest[: max(2, known)]
        stages.append(len(order))
    place = {atom: slot for slot, atom in enumerate(order)}
    group = tuple(
        SelfMap(tuple(place[one.onto[atom]] for atom in order), one.mirrored, one.deviation)
        for one in plan.group
    )
    return replace(
        plan, points=plan.points[order], order=np.array(order), kinds=plan.kinds[order], group=group,
        upper=plan.upper[order], lower=plan.lower[order], stages=tuple(stages),
        void=None if plan.outline is None else plan.outline.void(plan.shortest),
    )  # fmt: skip


def complete_to(plan: Plan, *, reach: float, blur: float) -> float:
    """Return how far atoms may be off for a place to be found for certain [nm].

    The atom wanted has to be nearer to where the alignment expects it than any other; others keep at least
    the motif's shortest distance less ``2 t`` from it. Bisection over ``t`` up to the rule's largest RMSD.

    Parameters
    ----------
    plan
        From `arrange`.
    reach, blur
        How far the map of nearest atoms sees, and by how much it errs in distance [nm].
    """
    low, high = 0.0, plan.rule.max_rmsd
    for _ in range(30):
        t = (low + high) / 2
        low, high = (t, high) if _is_certain(plan, t, reach, blur) else (low, t)
    return low


def _is_certain(plan: Plan, t: float, reach: float, blur: float) -> bool:
    t += plan.slack
    if plan.void is not None and t > HOLE * plan.rule.max_rmsd:
        return False
    for known, following in zip(plan.stages[:-1], plan.stages[1:], strict=True):
        off = plan.error(known, plan.points[known:following], t) + t
        if 2 * off.max() + blur > plan.shortest - 2 * t or off.max() + blur > reach:
            return False
    return True


def _bounds(distances: Floats, points: Complex, outline: Outline | None, t: float) -> tuple[Floats, Floats]:
    """Return bounds of the distances to the nearest neighbours, ``(n, NEIGHBOURS)`` [nm]."""
    n, have = len(points), min(NEIGHBOURS, distances.shape[1])
    upper, lower = np.full((n, NEIGHBOURS), np.inf), np.zeros((n, NEIGHBOURS))
    upper[:, :have] = distances[:, :have] + 2 * t
    if outline is not None:
        lower[:] = np.inf
        lower[:, :have] = distances[:, :have] - 2 * t
        # beyond this there may be atoms that are none of the motif's
        lower = np.minimum(lower, (outline.depth(points) - outline.margin - t)[:, None])
    return upper, np.maximum(lower, 0.0)
