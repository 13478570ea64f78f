"""The symmetry of a motif: the ways in which it comes to lie on itself.

Positions are complex numbers, x + iy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Complex = npt.NDArray[np.complex128]


@dataclass(frozen=True, slots=True)
class SelfMap:
    """A motif laid on itself: atom ``i`` comes to lie on atom ``onto[i]``.

    Parameters
    ----------
    onto
        Permutation.
    mirrored
        Whether the motif is turned over on the way.
    deviation
        Largest distance between an atom and the one it lies on, after the best alignment [nm].
    """

    onto: tuple[int, ...]
    mirrored: bool
    deviation: float


def align(given: Complex, found: Complex) -> Complex:
    """Return points rotated and moved onto others with the least squares.

    Parameters
    ----------
    given, found
        Corresponding points ``(..., n)``.

    References
    ----------
    W. Kabsch, Acta Cryst. A32, 922 (1976); S. Umeyama, IEEE Trans. Pattern Anal. Mach. Intell. 13, 376
    (1991). In the plane it is one complex product.
    """
    centre, middle = found.mean(axis=-1, keepdims=True), given.mean(axis=-1, keepdims=True)
    turn = ((given - middle).conj() * (found - centre)).sum(axis=-1, keepdims=True)
    size = np.abs(turn)
    return np.asarray(centre + (given - middle) * np.where(size > 0, turn / np.where(size > 0, size, 1), 1))


def symmetry(points: Complex, kinds: npt.NDArray[np.integer], *, tolerance: float) -> list[SelfMap]:
    """Return the symmetry group of a motif, the identity first.

    Parameters
    ----------
    points
        ``(n,)`` [nm].
    kinds
        Only atoms of the same kind come to lie on one another, ``(n,)``.
    tolerance
        Largest deviation of an atom [nm].

    Returns
    -------
    list of SelfMap
        A group: with any two it holds what they make one after the other. Of a motif that is nearly
        symmetric, where that fails, the worst ones are left out.
    """
    found = {
        one.onto: one for turned in (False, True) for one in _self_maps(points, kinds, turned, tolerance)
    }
    found[tuple(range(len(points)))] = SelfMap(tuple(range(len(points))), False, 0.0)
    while True:
        open_ones = [one for one in found.values() if not _closed(one, found)]
        if not open_ones:
            break
        del found[max(open_ones, key=lambda one: one.deviation).onto]
    return sorted(found.values(), key=lambda one: (one.deviation > 0, one.mirrored, one.onto))


def _self_maps(
    points: Complex, kinds: npt.NDArray[np.integer], mirrored: bool, tolerance: float
) -> list[SelfMap]:
    given = points.conj() if mirrored else points
    distance = np.abs(points[:, None] - points[None, :])
    a, b = np.unravel_index(distance.argmax(), distance.shape)  # the longest lever
    c, e = np.nonzero(np.abs(distance - distance[a, b]) <= 2 * tolerance)
    c, e = c[c != e], e[c != e]
    turn = (points[e] - points[c]) / (given[b] - given[a])
    laid = points[c][:, None] + (turn / np.abs(turn))[:, None] * (given - given[a])[None, :]
    nearest = np.abs(laid[:, :, None] - points).argmin(axis=-1)
    maps = {}
    for onto in nearest[(np.sort(nearest, axis=1) == np.arange(len(points))).all(axis=1)]:
        off = float(np.abs(align(given, points[onto]) - points[onto]).max())
        if off <= tolerance and (kinds[onto] == kinds).all():
            maps[tuple(onto.tolist())] = SelfMap(tuple(onto.tolist()), mirrored, off)
    return list(maps.values())


def _closed(one: SelfMap, group: dict[tuple[int, ...], SelfMap]) -> bool:
    return all(tuple(one.onto[i] for i in other) in group for other in group)
