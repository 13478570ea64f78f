"""Which of the five plane Bravais types a lattice has, as probabilities.

Divided by their sum, the sorted Selling parameters fill a triangle: its inside is oblique, its edges are
rectangular and (twice) centred rectangular, two of its corners are square and hexagonal. Each type is given
the same prior probability, spread evenly over its inside, edge or corner; the evidence of each is the
integral of the measurement's Gaussian over it. So a special type is believed unless the measurement
excludes it, by as much as its precision allows (MacKay, Information Theory, Inference and Learning
Algorithms, 2003, chapter 28).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from micdb.embed.lattice.basis import Basis
from micdb.errors import UsageError

Floats = npt.NDArray[np.float64]

#: The five types, in order of rising symmetry.
TYPES = ("oblique", "rectangular", "centred rectangular", "square", "hexagonal")
#: Standard deviation of an affine distortion that scan coils and drift leave in a calibrated image.
DISTORTION = 0.01

# (share of -a.b, share of a.(a + b)) of the triangle's corners
_SQUARE, _HEXAGONAL, _THIN = np.array([0.0, 0.5]), np.array([1 / 3, 1 / 3]), np.array([0.0, 0.0])
_AREA = 1 / 12
# what reduction folds onto a place of the triangle: both sides of an edge, all sectors around a corner
_FOLDS = {"edge": 2.0, "square": 4.0, "hexagonal": 6.0}


def probabilities(basis: Basis, *, distortion: float = DISTORTION) -> dict[str, float]:
    """Return the probability of each of `TYPES`; they add up to 1.

    Parameters
    ----------
    basis
        With its covariance; need not be reduced.
    distortion
        Standard deviation of an unknown affine distortion of the image, as a strain.
    """
    if not 0 < distortion < 1:
        raise UsageError(f"distortion is {distortion}; expected a strain between 0 and 1, for example 0.01")
    place, covariance = _place(basis, distortion)
    inverse = np.asarray(np.linalg.inv(covariance), dtype=np.float64)
    root = math.sqrt(float(np.linalg.det(covariance)))

    def corner(at: Floats, folds: float) -> float:
        off = place - at
        return math.log(folds / (2 * math.pi * root)) - 0.5 * float(off @ inverse @ off)

    def edge(start: Floats, end: Floats) -> float:
        return math.log(_FOLDS["edge"]) + _along(place, inverse, root, start, end)

    centred = [edge(_HEXAGONAL, _SQUARE), edge(_THIN, _HEXAGONAL)]
    logs = np.array([
        -math.log(_AREA),
        edge(_THIN, _SQUARE),
        float(np.logaddexp(centred[0], centred[1])) - math.log(2),
        corner(_SQUARE, _FOLDS["square"]),
        corner(_HEXAGONAL, _FOLDS["hexagonal"]),
    ])  # fmt: skip
    weights = np.exp(logs - logs.max())
    return dict(zip(TYPES, (weights / weights.sum()).tolist(), strict=True))


def _place(basis: Basis, distortion: float) -> tuple[Floats, Floats]:
    """Return the place in the triangle ``(2,)`` and its covariance ``(2, 2)``."""
    reduced = basis.reduced()
    strained = np.zeros((4, 4))
    # d vectors = vectors @ strain: two stretches and a shear of the same size in every direction
    for strain, sd in (([[1, 0], [0, 0]], 1.0), ([[0, 0], [0, 1]], 1.0), ([[0, 1], [1, 0]], math.sqrt(0.5))):
        step = (reduced.vectors @ np.array(strain, dtype=np.float64)).ravel() * sd * distortion
        strained += np.outer(step, step)
    value, covariance = Basis(reduced.vectors, reduced.covariance + strained).selling()
    total = value.sum()
    slope = (np.eye(3) - np.outer(value / total, np.ones(3)))[:2] / total
    return value[:2] / total, slope @ covariance @ slope.T


def _along(place: Floats, inverse: Floats, root: float, start: Floats, end: Floats) -> float:
    """Return the log of the mean density of a Gaussian on a line."""
    way = end - start
    stiff = float(way @ inverse @ way)
    off = place - start
    nearest = float(way @ inverse @ off) / stiff  # 0 at the start, 1 at the end
    rest = off - nearest * way
    inside = ndtr((1 - nearest) * math.sqrt(stiff)) - ndtr(-nearest * math.sqrt(stiff))
    density = -0.5 * float(rest @ inverse @ rest) - 0.5 * math.log(2 * math.pi * stiff) - math.log(root)
    return density + math.log(max(float(inside), 1e-300))
