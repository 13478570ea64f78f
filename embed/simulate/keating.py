"""Relaxation of a bonded network by the model of Keating (Phys. Rev. 145, 637, 1966).

Energy in units of the stretching constant and the squared natural length::

    3/16 sum over bonds (r.r / d**2 - 1)**2 + 3/8 ratio sum over angles (r.s / (d e) - cos(theta))**2

with d, e the natural lengths of the bonds r, s. Carbon is held near z = 0: the sheet goes on outside.
The ratio of bending to stretching is that of graphene (Lobo and Martinez, Z. Phys. D 39, 159, 1997).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_BENDING = 0.16  # of the stretching constant
_FLATNESS = 0.05  # softer than any bond: dopants may lift their neighbours
_CARBON, _SILICON = 6, 14
#: Natural lengths [nm]: graphene; cubic SiC and silicon, lattice constants 0.4360 and 0.5431 nm.
BOND_LENGTHS = {(_CARBON, _CARBON): 0.142, (_CARBON, _SILICON): 0.1888, (_SILICON, _SILICON): 0.2352}
_COSINES = {_CARBON: -1 / 2, _SILICON: -1 / 3}  # planar and tetrahedral


@dataclass(frozen=True, slots=True)
class _Springs:
    """Bonds ``(m, 2)`` with natural lengths, and pairs of them that share their first atom."""

    bonds: Ints
    length: Floats
    first: Ints
    second: Ints
    cosine: Floats
    flat: npt.NDArray[np.bool_]

    def energy(self, xyz: Floats) -> tuple[float, Floats]:
        r = (xyz[self.bonds[:, 1]] - xyz[self.bonds[:, 0]]) / self.length[:, None]
        gradient = np.zeros_like(r)  # by r
        stretch = (r * r).sum(axis=1) - 1
        total = 3 / 32 * float(stretch @ stretch)  # each bond stands twice
        gradient += 3 / 8 * stretch[:, None] * r
        one, other = r[self.first], r[self.second]
        bend = (one * other).sum(axis=1) - self.cosine
        total += 3 / 8 * _BENDING * float(bend @ bend)
        force = 3 / 4 * _BENDING * bend[:, None]
        for axis in range(3):
            gradient[:, axis] += np.bincount(self.first, force[:, 0] * other[:, axis], len(r))
            gradient[:, axis] += np.bincount(self.second, force[:, 0] * one[:, axis], len(r))
        gradient /= self.length[:, None]
        by_atom = np.zeros_like(xyz)
        for axis in range(3):
            by_atom[:, axis] = np.bincount(self.bonds[:, 1], gradient[:, axis], len(xyz))
            by_atom[:, axis] -= np.bincount(self.bonds[:, 0], gradient[:, axis], len(xyz))
        z = np.where(self.flat, xyz[:, 2], 0.0) / BOND_LENGTHS[_CARBON, _CARBON]
        by_atom[:, 2] += 2 * _FLATNESS * z / BOND_LENGTHS[_CARBON, _CARBON]
        return total + _FLATNESS * float(z @ z), by_atom


def relax(xyz: Floats, number: Ints, bonds: Ints, *, free: npt.NDArray[np.bool_]) -> Floats:
    """Return positions at the least energy.

    Parameters
    ----------
    xyz
        First positions ``(n, 3)`` [nm].
    number
        Atomic numbers ``(n,)``: 6 and 14.
    bonds
        Bonded pairs ``(m, 2)``, each once; they stay bonded.
    free
        Atoms that may move ``(n,)``.
    """
    if not free.any():
        return xyz
    near = free[bonds].any(axis=1)
    springs = _springs(
        number, bonds, needed=np.unique(np.concatenate((bonds[near].ravel(), np.nonzero(free)[0])))
    )
    state = xyz.copy()

    def energy(moved: Floats) -> tuple[float, Floats]:
        state[free] = moved.reshape(-1, 3)
        value, gradient = springs.energy(state)
        return value, gradient[free].ravel()

    found = minimize(
        energy, xyz[free].ravel(), jac=True, method="L-BFGS-B",
        options={"maxiter": 300, "gtol": 1e-3, "ftol": 1e-8},
    )  # fmt: skip
    # That is within 0.3 pm in the plane, but for four-fold silicon, which may stay flat: its buckled form is
    # hardly lower, and 4 pm away in projection.
    state[free] = found.x.reshape(-1, 3)
    return state


def _springs(number: Ints, bonds: Ints, *, needed: Ints) -> _Springs:
    """Return the springs at the atoms in `needed`."""
    both = np.concatenate((bonds, bonds[:, ::-1]))
    both = both[np.isin(both[:, 0], needed)]
    both = both[np.lexsort((both[:, 1], both[:, 0]))]
    pair = np.sort(number[both], axis=1)
    length = np.array([BOND_LENGTHS[int(a), int(b)] for a, b in pair])
    count = np.bincount(both[:, 0], minlength=len(number))
    start = np.cumsum(count) - count
    angles = [
        (start[count == size, None] + pairs).reshape(-1, 2)
        for size in range(2, int(count.max(initial=0)) + 1)
        for pairs in np.column_stack(np.triu_indices(size, 1))
    ]
    angle = np.concatenate(angles) if angles else np.empty((0, 2), np.int64)
    cosine = np.array([_COSINES[int(one)] for one in number[both[angle[:, 0], 0]]])
    flat = np.zeros(len(number), bool)
    flat[needed] = number[needed] == _CARBON
    return _Springs(both, length, angle[:, 0], angle[:, 1], cosine, flat)
