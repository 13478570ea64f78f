"""Rings of a bond network in the plane: the faces of the drawing that atoms and bonds make.

Each bond is two half-edges. Behind a half-edge that arrives at an atom comes the next one around that atom;
following this walks around a face, and the faces are the cycles of one permutation (D. E. Muller and
F. P. Preparata, Theor. Comput. Sci. 7 (1978) 217). In a graphene sheet they are the hexagons, beside a
Stone-Wales defect the pentagons and heptagons; the outside is the face that is walked the other way round.
Exact where no two bonds cross.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


class Rings(NamedTuple):
    """Faces of a bond network.

    Parameters
    ----------
    size
        ``(n,)`` int64, number of bonds around it.
    centre
        ``(n, 2)`` mean position of its atoms.
    area
        ``(n,)`` enclosed area, in the square of the positions' unit.
    member
        ``(size.sum(),)`` int64, its atoms in order, ring after ring.
    """

    size: Integers
    centre: Floats
    area: Floats
    member: Integers


def rings(points: Floats, i: Integers, j: Integers) -> Rings:
    """Return the rings of a network, in the order of their smallest atom.

    A bond that leads to a dead end inside a ring belongs to none: dead ends are taken away first.

    Parameters
    ----------
    points
        ``(n_atoms, 2)`` positions; several images may stand in one array.
    i, j
        ``(n_bonds,)`` indices of bonded atoms; a bond that is there twice counts once.
    """
    bonds = _trimmed(np.unique(np.sort(np.column_stack([i, j]), axis=1), axis=0), len(points))
    bonds = bonds[bonds[:, 0] != bonds[:, 1]]
    if not len(bonds):
        return Rings(np.empty(0, np.int64), np.empty((0, 2)), np.empty(0), np.empty(0, np.int64))
    start = np.concatenate([bonds[:, 0], bonds[:, 1]])
    end = np.concatenate([bonds[:, 1], bonds[:, 0]])
    face, place = _cycles(_successors(points, start, end))
    order = np.lexsort((place, face))
    size = np.bincount(face)
    offsets = np.cumsum(size) - size
    member = start[order]
    ring = points[member]
    following = points[end[order]]
    # the shoelace formula, about each ring's first atom so that large coordinates cancel no digits
    origin = np.repeat(ring[offsets], size, axis=0)
    a, b = ring - origin, following - origin
    area = np.add.reduceat(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0], offsets) / 2
    centre = np.add.reduceat(ring, offsets, axis=0) / size[:, None]
    return _chosen(Rings(size, centre, area, member), area > 0)


def _successors(points: Floats, start: Integers, end: Integers) -> Integers:
    """Return for each half-edge the one that follows it around its face, counter-clockwise."""
    n = len(start)
    twin = np.concatenate([np.arange(n // 2, n), np.arange(n // 2)])
    angle = np.arctan2(*(points[end] - points[start]).T[::-1])
    around = np.lexsort((angle, start))  # half-edges by the atom they leave, then by direction
    first = np.searchsorted(start[around], start[around], side="left")
    last = np.searchsorted(start[around], start[around], side="right") - 1
    rank = np.arange(n)
    before = np.where(rank == first, last, rank - 1)  # the next one clockwise around the atom
    clockwise = np.empty(n, np.int64)
    clockwise[around] = around[before]
    return np.asarray(clockwise[twin])


def _cycles(successor: Integers) -> tuple[Integers, Integers]:
    """Return for each element the number of its cycle, by smallest element, and its place in it.

    Pointer doubling: after k rounds everyone knows the smallest element within 2**k steps, and how far
    ahead it is.
    """
    n = len(successor)
    lowest, ahead, jump = np.arange(n), np.zeros(n, np.int64), successor.copy()
    reach = 1
    while reach < n:
        other, further = lowest[jump], ahead[jump] + reach
        better = other < lowest
        lowest, ahead = np.where(better, other, lowest), np.where(better, further, ahead)
        jump, reach = jump[jump], 2 * reach
        if (lowest == lowest[successor]).all():
            break
    face = np.unique(lowest, return_inverse=True)[1]
    size = np.bincount(face)
    return face, (size[face] - ahead) % size[face]


def _trimmed(bonds: Integers, n_atoms: int) -> Integers:
    """Return the bonds without dead ends."""
    while len(bonds):
        degree = np.bincount(bonds.ravel(), minlength=n_atoms)
        kept = (degree[bonds] > 1).all(axis=1)
        if kept.all():
            break
        bonds = bonds[kept]
    return bonds


def _chosen(found: Rings, keep: npt.NDArray[np.bool_]) -> Rings:
    return Rings(
        found.size[keep], found.centre[keep], found.area[keep], found.member[np.repeat(keep, found.size)]
    )
