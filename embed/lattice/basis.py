"""A plane lattice: two vectors with their covariance, reduced so that no shorter ones exist.

Reduction after Lagrange and Gauss; the three Selling parameters of the obtuse superbase are linear in the
metric and say all about the shape (Conway and Sloane, Proc. R. Soc. A 436, 55, 1992).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from micdb.errors import UsageError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_TIE = 1e-9  # relative: which of two equally short vectors comes first must not hang on rounding


@dataclass(frozen=True, slots=True)
class Basis:
    """Two lattice vectors.

    Parameters
    ----------
    vectors
        ``(2, 2)``: rows `a` and `b`, columns x and y, in pixels or nm.
    covariance
        ``(4, 4)`` of ``(ax, ay, bx, by)``; zero where the vectors are known exactly.
    """

    vectors: Floats
    covariance: Floats = field(default_factory=lambda: np.zeros((4, 4)))

    @property
    def lengths(self) -> tuple[float, float]:
        """Lengths of `a` and `b`."""
        return math.hypot(*self.vectors[0]), math.hypot(*self.vectors[1])

    @property
    def gamma_deg(self) -> float:
        """Angle between `a` and `b` [deg]; 90 to 120 once reduced."""
        a, b = self.vectors
        return math.degrees(math.atan2(abs(float(a[0] * b[1] - a[1] * b[0])), float(a @ b)))

    @property
    def angle_deg(self) -> float:
        """Direction of `a` from x towards y [deg], 0 to 180."""
        return math.degrees(math.atan2(self.vectors[0, 1], self.vectors[0, 0])) % 180.0

    @property
    def area(self) -> float:
        """Area of the cell."""
        return abs(float(np.linalg.det(self.vectors)))

    @property
    def sds(self) -> tuple[float, float, float, float]:
        """Standard deviations of the lengths of `a` and `b`, of `gamma_deg` and of `angle_deg` [deg]."""
        lengths = np.array(self.lengths)[:, None]
        along = self.vectors / lengths
        turn = np.column_stack((-along[:, 1], along[:, 0])) / lengths  # radian per unit of displacement
        none = np.zeros(2)
        rows = np.array([[*along[0], *none], [*none, *along[1]], [*-turn[0], *turn[1]], [*turn[0], *none]])
        sd = np.sqrt(np.maximum(np.einsum("ij,jk,ik->i", rows, self.covariance, rows), 0.0))
        return float(sd[0]), float(sd[1]), math.degrees(sd[2]), math.degrees(sd[3])

    def scaled(self, factors: tuple[float, float]) -> Basis:
        """Return the basis in other units, given ``(y, x)`` of one pixel in them."""
        factor = np.array(factors[::-1])
        both = np.tile(factor, 2)
        return Basis(self.vectors * factor, self.covariance * np.outer(both, both))

    def reduced(self) -> Basis:
        """Return the shortest two vectors: ``|a| <= |b|``, ``-a.a / 2 <= a.b <= 0``, `a` pointing down.

        Raises
        ------
        UsageError
            The vectors are parallel or not finite.
        """
        turn = reduction(self.vectors)
        spread = np.kron(turn, np.eye(2))
        return Basis(turn @ self.vectors, spread @ self.covariance @ spread.T)

    def reciprocal(self) -> Basis:
        """Return the reciprocal basis, without the factor of 2 pi: rows g with ``a_i . g_j = (i == j)``."""
        inverse = np.asarray(np.linalg.inv(self.vectors), dtype=np.float64)
        # d(inv V).T = -(inv V).T dV.T (inv V).T
        slope = -np.einsum("ki,jl->ijkl", inverse, inverse).reshape(4, 4)
        return Basis(inverse.T.copy(), slope @ self.covariance @ slope.T)

    def selling(self) -> tuple[Floats, Floats]:
        """Return the Selling parameters of the reduced basis, smallest first, and their covariance.

        Returns
        -------
        parameters, covariance
            ``(3,)``: ``-a.b``, ``a.(a + b)``, ``b.(a + b)``, and ``(3, 3)``.
        """
        reduced = self.reduced()
        a, b = reduced.vectors
        value = np.array([-a @ b, a @ (a + b), b @ (a + b)])
        slope = np.array([[*-b, *-a], [*(2 * a + b), *a], [*b, *(a + 2 * b)]])
        return value, slope @ reduced.covariance @ slope.T


def reduction(vectors: Floats) -> Ints:
    """Return the whole-number matrix ``(2, 2)`` that reduces a basis; see `Basis.reduced`."""
    v = np.asarray(vectors, dtype=np.float64)
    if not np.isfinite(v).all() or abs(np.linalg.det(v)) <= 1e-12 * np.square(v).sum():
        raise UsageError(f"{v.tolist()} are no lattice vectors; two that are not parallel are needed")
    turn: Ints = np.eye(2, dtype=np.int64)
    while True:
        a, b = turn @ v
        if b @ b < a @ a * (1 - _TIE):
            turn, (a, b) = turn[::-1], (b, a)
        step = round(float(a @ b / (a @ a)))
        if step == 0 or abs(a @ b) <= 0.5 * (a @ a) * (1 + _TIE):
            break
        turn = np.array([[1, 0], [-step, 1]]) @ turn
    if a @ b > 0:
        turn = np.array([[1, 0], [0, -1]]) @ turn
    x, y = turn[0] @ v
    return turn if y > 0 or (y == 0 and x > 0) else -turn
