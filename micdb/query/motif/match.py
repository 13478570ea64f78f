"""The search in one plane: pairs of atoms, grown stage by stage to whole motifs.

A hypothesis is a column of an array ``(atoms found so far, hypotheses)``. Every stage aligns what is found,
looks up which atoms lie where the next ones are expected, and drops the hypotheses that do not fit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from micdb.query.motif.atoms import NONE, Atoms
from micdb.query.motif.plan import LENIENT, NEIGHBOURS, PAIR, Plan
from micdb.query.motif.plane import Floats, Plane

Ints = npt.NDArray[np.integer]
Mask = npt.NDArray[np.bool_]

_ROUNDING = 2e-3  # relative precision of a 16-bit distance, twice
_TOGETHER = 1 << 13  # hypotheses whose arrays stay in the processor's cache


@dataclass(frozen=True, slots=True)
class Pose:
    """Where hypotheses lay the motif: turned by ``cos, sin``, then moved by ``x, y``; each ``(h,)``.

    Parameters
    ----------
    cos, sin, x, y
        Lengths in cells of the plane.
    residual
        Sum of the squared distances of the atoms found so far.
    """

    cos: Floats
    sin: Floats
    x: Floats
    y: Floats
    residual: Floats

    def lay(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Return where points of the motif ``(k,)`` come to lie, ``(k, h)``."""
        x, y = x[:, None], y[:, None]
        return self.cos * x - self.sin * y + self.x, self.sin * x + self.cos * y + self.y


class Search:
    """One motif, one way up, in one plane.

    Parameters
    ----------
    plan
        The motif.
    atoms
        Where the plane is from.
    plane
        Where to look.
    distance
        Descriptors of its atoms, ``(NEIGHBOURS, n)`` [nm].
    mirrored
        Whether the motif is turned over.
    selective
        Atoms of the motif whose descriptor most atoms do not fulfil.
    """

    def __init__(
        self, plan: Plan, atoms: Atoms, plane: Plane, distance: Floats, *, mirrored: bool, selective: Mask
    ) -> None:
        self.plan = plan
        self.atoms = atoms
        self.plane = plane
        self.mirrored = mirrored
        self.x, self.y = self._cells(plan.points.conj() if mirrored else plan.points)
        self.span = slice(plane.first, plane.first + len(plane.x))
        species = atoms["species"][self.span]
        self.distance = distance
        self.within = {known: self._within(known) for known in plan.stages}
        self.holes = {known: plan.hole(known) / plane.cell for known in plan.stages}
        self.weights = {known: self._weights(known) for known in plan.stages}
        self.void = None if plan.void is None else plan.void.conjugate() if mirrored else plan.void
        self.fits = {
            slot: fitting(plan, slot, distance, species)
            for slot in range(1, plan.n)
            if selective[slot] or slot == 1
        }

    def run(self, anchors: Ints) -> Iterator[npt.NDArray[np.int32]]:
        """Yield the sets of atoms found, ``(n, h)``, numbered within the plane.

        Parameters
        ----------
        anchors
            Atoms to start at.
        """
        pairs = self._pairs(anchors)
        kept: list[npt.NDArray[np.int32]] = []
        for begin in range(0, pairs.shape[1], _TOGETHER):
            found = pairs[:, begin : begin + _TOGETHER]
            for known, following in zip(self.plan.stages[:-1], self.plan.stages[1:], strict=True):
                found = self._grow(found, known, following)
                if not found.shape[1]:
                    break
            else:
                kept.append(found)
            if sum(one.shape[1] for one in kept) >= _TOGETHER // 2:
                yield np.concatenate(kept, axis=1)
                kept = []
        if kept:
            yield np.concatenate(kept, axis=1)

    # ------------------------------------------------------------------ pairs

    def _pairs(self, anchors: Ints) -> npt.NDArray[np.int32]:
        """Return the anchors with every atom that can be the partner, ``(2, h)``."""
        plan = self.plan
        length = float(abs(plan.points[1] - plan.points[0]))
        most, least = length + 2 * plan.bound(PAIR), length - 2 * plan.bound(PAIR)
        cut = self.distance[-1, anchors] < most * (1 + _ROUNDING)  # some may lie beyond those that are listed
        listed = anchors[~cut]
        far = self.distance[:, listed].T
        row, k = np.nonzero((far >= least * (1 - _ROUNDING)) & (far <= most * (1 + _ROUNDING)))
        anchor = listed[row]
        pairs = [np.stack((anchor, self.atoms["near"][k, anchor + self.plane.first] - self.plane.first))]
        pairs += self._beyond(anchors[cut], least, most) if cut.any() else []
        found = np.concatenate(pairs, axis=1).astype(np.int32)
        found = found[:, self._enough(found)]
        return found[:, self.fits[1][found[1]] & self._first_of_its_kind(found, 1, 2)]

    def _enough(self, pairs: npt.NDArray[np.int32]) -> Mask:
        """Return which partners have enough others of higher number about the same anchor; pairs are grouped.

        A rotation about the anchor takes the partner to other atoms as far away; see `Plan.mates`.
        """
        enough = np.ones(pairs.shape[1], np.bool_)
        first, mates = self.plan.mates
        if first != 1:
            return enough
        anchor, partner = pairs
        higher = np.zeros(len(anchor), np.int32)
        for step in range(1, int(np.bincount(anchor).max(initial=0))):
            same = anchor[step:] == anchor[:-step]
            up = partner[step:] > partner[:-step]
            higher[:-step] += same & up
            higher[step:] += same & ~up
        return higher >= len(mates)

    def _beyond(self, anchors: Ints, least: float, most: float) -> list[Ints]:
        points = np.column_stack((self.plane.x, self.plane.y))
        tree, pairs = cKDTree(points), []
        for begin in range(0, len(anchors), _TOGETHER):
            some = anchors[begin : begin + _TOGETHER]
            near = cKDTree(points[some]).sparse_distance_matrix(
                tree, most / self.plane.cell, output_type="ndarray"
            )
            near = near[near["v"] >= least / self.plane.cell]
            near = near[np.argsort(near["i"], kind="stable")]
            found = np.stack((some[near["i"]], near["j"]))
            pairs.append(found[:, found[0] != found[1]])
        return pairs

    # ------------------------------------------------------------------ stages

    def _grow(self, found: npt.NDArray[np.int32], known: int, following: int) -> npt.NDArray[np.int32]:
        """Return the hypotheses that go on, with the atoms of one more stage."""
        plan, plane = self.plan, self.plane
        pose = self.fit(found)
        keep = pose.residual <= plan.n * (plan.bound() / plane.cell) ** 2
        keep &= self._empty(pose, known)
        slots = slice(known, following)
        x, y = pose.lay(self.x[slots], self.y[slots])
        atoms = plane.at(x, y)
        fits = (atoms != NONE) & (plane.squared(atoms, x, y) <= self.within[known][:, None])
        for slot in range(known, following):
            if slot in self.fits:
                fits[slot - known] &= self.fits[slot].take(atoms[slot - known], mode="clip")
        keep &= fits.all(axis=0)
        found = np.concatenate((found[:, keep], atoms[:, keep]))
        return found[:, self._first_of_its_kind(found, known, following)]

    def fit(self, found: npt.NDArray[np.int32]) -> Pose:
        """Return the best alignment of the first atoms of the motif with those found, ``(k, h)``."""
        k = len(found)
        x, y = self.plane.x.take(found), self.plane.y.take(found)
        x0, y0 = x[0].copy(), y[0].copy()
        x -= x0
        y -= y0
        weights, spread = self.weights[k]
        (mx, ax, bx), (my, ay, by) = weights @ x, weights @ y
        real, imaginary = ax + by, ay - bx
        size = np.hypot(real, imaginary)
        residual = np.einsum("ij,ij->j", x, x) + np.einsum("ij,ij->j", y, y) - k * (mx * mx + my * my)
        residual += spread - 2 * size
        np.maximum(size, np.float32(1e-9), out=size)
        cos, sin = real / size, imaginary / size
        cx, cy = self.x[:k].mean(), self.y[:k].mean()
        return Pose(cos, sin, mx + x0 - cos * cx + sin * cy, my + y0 - sin * cx - cos * cy, residual)

    def _first_of_its_kind(self, found: npt.NDArray[np.int32], known: int, following: int) -> Mask:
        """Return which hypotheses are the one of all equivalent ones that is followed."""
        first, mates = self.plan.mates
        keep = np.ones(found.shape[1], np.bool_)
        for mate in mates:
            if known <= mate < following:
                keep &= found[first] < found[mate]
        return keep

    def _empty(self, pose: Pose, known: int) -> Mask | bool:
        """Return which hypotheses have no atom where for certain none may be: in the largest hole."""
        radius, plane = self.holes[known], self.plane
        if self.void is None or radius <= 0:
            return True
        x, y = (axis[0] for axis in pose.lay(*self._cells(np.array([self.void]))))
        atoms = plane.at(x, y)
        return np.asarray((atoms == NONE) | (plane.squared(atoms, x, y) > radius**2))

    def _within(self, known: int) -> Floats:
        """Return how far each atom of the next stage may be from where it is expected, squared."""
        following = min((stage for stage in self.plan.stages if stage > known), default=known)
        t = self.plan.bound(LENIENT)
        off = self.plan.error(known, self.plan.points[known:following], t) + t
        return np.asarray((np.minimum(off, self.plane.reach) / self.plane.cell) ** 2, np.float32)

    def _weights(self, known: int) -> tuple[Floats, Floats]:
        """Return what makes mean and moments of coordinates ``(3, known)``, and the motif's own spread."""
        x, y = self.x[:known] - self.x[:known].mean(), self.y[:known] - self.y[:known].mean()
        return np.stack((np.full(known, 1 / known, np.float32), x, y)), x @ x + y @ y

    def _cells(self, where: npt.NDArray[np.complex128]) -> tuple[Floats, Floats]:
        return (
            (where.real / self.plane.cell).astype(np.float32),
            (where.imag / self.plane.cell).astype(np.float32),
        )


def fitting(plan: Plan, slot: int, distance: Floats, species: Ints) -> Mask:
    """Return which atoms can be an atom of the motif, by what is near them and by their species.

    Parameters
    ----------
    plan
        The motif.
    slot
        Which of its atoms.
    distance
        Descriptors ``(NEIGHBOURS, n)`` [nm].
    species
        Codes ``(n,)``.
    """
    fits = np.ones(distance.shape[1], np.bool_)
    for k in range(NEIGHBOURS):
        upper, lower = plan.upper[slot, k], plan.lower[slot, k]
        if np.isfinite(upper):
            fits &= distance[k] <= np.float32(upper * (1 + _ROUNDING))
        if lower > 0:
            fits &= distance[k] >= np.float32(lower * (1 - _ROUNDING))
    kind = plan.kinds[slot]
    if plan.rule.species and kind != -1:
        fits &= (species == -1) | (species == kind)
    return fits
