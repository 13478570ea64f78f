"""Laying structures and pictures of one motif on one another: turned, mirrored, shifted.

Turns are tried that bring an atom of one structure onto one of the same species of the other; the best is
refined by least squares over the atoms that then meet (W. Kabsch, Acta Cryst. A 32 (1976) 922). Pictures
without atoms are turned until they correlate best.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import cKDTree

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_MEET = 0.07  # [nm] atoms of two structures that are closer are the same one: half a short bond
_RADII = 0.06  # [nm] by which two atoms' distances from the centre may differ
_ROUNDS = 4  # of least squares: what meets no longer changes then
_TURNS = 72  # directions in which pictures are tried, every 5 deg


@dataclass(frozen=True, slots=True)
class Pose:
    """How something is laid on a reference: ``reference = matrix @ (x, y) + shift``.

    Parameters
    ----------
    matrix
        ``(2, 2)``, a turn, mirrored or not.
    shift
        ``(2,)`` [nm].
    """

    matrix: Floats
    shift: Floats

    def __call__(self, xy: Floats) -> Floats:
        """Return positions ``(n, 2)`` [nm] in the frame of the reference."""
        return np.asarray(xy @ self.matrix.T + self.shift)


@dataclass(frozen=True, slots=True)
class Site:
    """An atom of a motif, averaged over its members.

    Parameters
    ----------
    x_nm, y_nm
        Mean position from the centre of the motif [nm].
    sd_nm
        Standard deviation over the members along an axis [nm]; missing for one member.
    species
        The most frequent one; None where none is known.
    share
        Of the members, that have an atom there.
    """

    x_nm: float
    y_nm: float
    sd_nm: float
    species: str | None
    share: float


@dataclass(frozen=True, slots=True)
class Structure:
    """Atoms around a defect.

    Parameters
    ----------
    xy
        ``(n, 2)`` [nm] from its centre.
    species
        Of each; None where unknown.
    """

    xy: Floats
    species: tuple[str | None, ...]


def lay(structure: Structure, reference: Structure) -> tuple[Pose, float]:
    """Return how a structure lies best on another one, and how badly it then fits.

    Parameters
    ----------
    structure, reference
        Around the centre of the same kind of defect.

    Returns
    -------
    pose, misfit
        The misfit is the root mean square over the reference's atoms of the distance to the nearest atom of
        the same species, none counting for more than 0.07 nm [nm].
    """
    tree = cKDTree(_placed(reference.xy, reference.species, _codes(structure, reference)))
    labels = np.array([_codes(structure, reference)[one] for one in structure.species], dtype=float)
    best = Pose(np.eye(2), np.zeros(2))
    least = _misfit(best, structure, labels, tree)
    for matrix in _turns(structure, reference):
        pose = Pose(matrix, np.zeros(2))
        misfit = _misfit(pose, structure, labels, tree)
        if misfit < least - 1e-9:
            best, least = pose, misfit
    for _ in range(_ROUNDS):
        refined = _refined(best, structure, labels, tree, reference.xy)
        misfit = _misfit(refined, structure, labels, tree)
        if misfit >= least - 1e-9:
            break
        best, least = refined, misfit
    return best, least


def mean_sites(members: Sequence[Structure], poses: Sequence[Pose], reference: Structure) -> list[Site]:
    """Return the mean atoms of members that were laid on a reference.

    An atom of the reference that fewer than half of the members have is left out.
    """
    place: list[list[Floats]] = [[] for _ in reference.xy]
    names: list[list[str | None]] = [[] for _ in reference.xy]
    tree = cKDTree(reference.xy)
    for member, pose in zip(members, poses, strict=True):
        laid = pose(member.xy)
        distance, nearest = tree.query(laid, distance_upper_bound=_MEET)
        for site in range(len(reference.xy)):
            here = np.flatnonzero(nearest == site)
            if len(here):
                atom = int(here[np.argmin(distance[here])])
                place[site].append(laid[atom])
                names[site].append(member.species[atom])
    return [
        _site(np.array(xy), name, len(members))
        for xy, name in zip(place, names, strict=True)
        if len(xy) >= max(1, len(members) / 2)
    ]


def turn_of(picture: Floats, reference: Floats) -> tuple[Floats, float]:
    """Return the turn ``(2, 2)`` that makes a square picture most like another one, and their correlation.

    Parameters
    ----------
    picture, reference
        ``(n, n)``, the defect in the middle.
    """
    inside = np.hypot(*(np.indices(reference.shape) - (len(reference) - 1) / 2)) <= len(reference) / 2 - 1
    goal = _standard(reference[inside])
    found = []
    for mirror in (1.0, -1.0):
        for step in range(_TURNS):
            matrix = _turn(2 * math.pi * step / _TURNS, mirror)
            found.append((float(_standard(turned(picture, matrix)[inside]) @ goal) / len(goal), matrix))
    correlation, matrix = max(found, key=lambda one: one[0])
    return matrix, correlation


def turned(picture: Floats, matrix: Floats) -> Floats:
    """Return a square picture turned about its middle; rows are y, columns x."""
    middle = (np.array(picture.shape) - 1) / 2
    back = matrix.T[::-1, ::-1]  # from (x, y) to (row, column), and from the result to the picture
    return np.asarray(
        ndimage.affine_transform(picture, back, middle - back @ middle, order=1, mode="nearest"), np.float64
    )


def _turns(structure: Structure, reference: Structure) -> list[Floats]:
    """Return the turns that bring an atom of the structure onto one of the reference."""
    found = []
    for one, name in _by_distance(structure)[:3]:
        for other, other_name in _by_distance(reference):
            near, far = np.hypot(*one), np.hypot(*other)
            if name != other_name or abs(near - far) > _RADII or near < _RADII:
                continue
            for mirror in (1.0, -1.0):
                angle = math.atan2(other[1], other[0]) - math.atan2(mirror * one[1], one[0])
                found.append(_turn(angle, mirror))
    return found


def _by_distance(structure: Structure) -> list[tuple[Floats, str | None]]:
    order = np.argsort(np.hypot(*structure.xy.T))
    away = [k for k in order if np.hypot(*structure.xy[k]) >= _RADII]
    return [(structure.xy[k], structure.species[k]) for k in away]


def _turn(angle: float, mirror: float) -> Floats:
    cosine, sine = math.cos(angle), math.sin(angle)
    return np.array([[cosine, -sine], [sine, cosine]]) @ np.diag([1.0, mirror])


def _codes(structure: Structure, reference: Structure) -> dict[str | None, float]:
    """Return a third coordinate [nm] for each species: unlike atoms never meet."""
    every = sorted({*structure.species, *reference.species}, key=str)
    return {name: 10.0 * number for number, name in enumerate(every)}


def _placed(xy: Floats, species: Sequence[str | None], codes: dict[str | None, float]) -> Floats:
    return np.column_stack((xy, [codes[one] for one in species]))


def _misfit(pose: Pose, structure: Structure, labels: Floats, tree: cKDTree) -> float:
    here = cKDTree(np.column_stack((pose(structure.xy), labels)))
    distance = here.query(tree.data, distance_upper_bound=_MEET)[0]
    return float(np.sqrt(np.mean(np.square(np.minimum(distance, _MEET)))))


def _refined(pose: Pose, structure: Structure, labels: Floats, tree: cKDTree, goal: Floats) -> Pose:
    """Return the pose of least squares over the atoms that meet."""
    distance, nearest = tree.query(np.column_stack((pose(structure.xy), labels)), distance_upper_bound=_MEET)
    met = np.isfinite(distance)
    if met.sum() < 2:
        return pose
    ours, theirs = structure.xy[met], goal[nearest[met]]
    middle, goal_middle = ours.mean(axis=0), theirs.mean(axis=0)
    u, _, v = np.linalg.svd((ours - middle).T @ (theirs - goal_middle))
    side = np.sign(np.linalg.det(pose.matrix) * np.linalg.det(u @ v))
    matrix = (u @ np.diag([1.0, side]) @ v).T
    return Pose(matrix, goal_middle - matrix @ middle)


def _site(xy: Floats, names: Sequence[str | None], members: int) -> Site:
    x, y = xy.mean(axis=0)
    spread = float(np.sqrt(xy.var(axis=0, ddof=1).mean())) if len(xy) > 1 else math.nan
    species = max(sorted(set(names), key=str), key=names.count)
    return Site(float(x), float(y), spread, species, len(xy) / members)


def _standard(values: Floats) -> Floats:
    return np.asarray((values - values.mean()) / max(float(values.std()), 1e-12))
