"""The lattice of an image from its Bragg spots.

Every pair of strong spots, or of their sums and differences, is a guess. A guess is worth the log-likelihood
ratio of all its nodes against noise: each node holds a spot of unknown strength or, as often, none. So a
cell that is too small loses spots, one that is too large pays for its silent nodes, and superstructure spots
too weak to be found alone still count together. The basis is then fitted to all refined spots at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from micdb.embed.lattice.basis import Basis
from micdb.embed.lattice.bravais import DISTORTION, probabilities
from micdb.embed.lattice.spots import FINEST, Field, Spots, refine, strength_at, without_outliers

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_SPOTS = 32  # strongest maxima that are looked at,
_GENERATORS = 16  # the strongest of them, which guesses are made of,
_CENTRES = 6  # and of those, the ones whose sums and differences are guesses too
_POLISHED = 64  # nodes with the strongest spots that the basis is fitted to in the end
_LEAST_STRENGTH = 5.0  # a maximum of noise reaches it once in exp(5) samples
_TOLERANCE = 0.6  # [sample of the transform] of a spot from its node
_GUESSES = 40  # best by number of spots that are tried by likelihood,
_FITTED = 6  # and the best of those that are fitted
_TYPICAL = 30.0  # strength of a spot that is there: the prior is exponential with that mean
_SILENT = 0.5  # share of nodes that hold no spot
_STRONG = 25.0  # strength of spots that the basis is fitted to first
_BETWEEN = 1.5  # [nat] by which a maximum of noise between the samples exceeds the samples
_LARGE_CELL = 12.0  # [nat] per e-fold of nodes: some multiple of a cell has a spot by chance
_TRIED = 4.0  # independent samples among the nine that `Field.strength` takes the best of
_USED = 10.0  # and then: noise within reach of a node stays below, one time in 1e4
_REJECTIONS = 4
_OUTLIER = 4.0  # [standard deviation]
_THINNEST = math.sin(math.radians(20.0))  # between guesses: reduced vectors are 60 deg apart or more


@dataclass(frozen=True, slots=True)
class ImageLattice:
    """The lattice found in an image.

    Parameters
    ----------
    basis
        Reduced, with its covariance [pixel].
    evidence
        Log-likelihood ratio against noise or against fringes in one direction, whichever is likelier, the
        freedom to choose two vectors taken off.
    spots
        Spots the basis was fitted to.
    indices
        Their indices ``(n, 2)``: ``spots.g`` is about ``indices @ basis.reciprocal().vectors``.
    misfit
        Reduced chi-square of that fit; the covariance is multiplied by it where it is above 1.
    """

    basis: Basis
    evidence: float
    spots: Spots
    indices: Ints
    misfit: float

    def types(
        self, pixel_size: tuple[float, float] = (1.0, 1.0), *, distortion: float = DISTORTION
    ) -> dict[str, float]:
        """Return the probability of each Bravais type and of ``none``.

        Parameters
        ----------
        pixel_size
            ``(y, x)`` in any unit: only its aspect matters.
        distortion
            As in `micdb.embed.lattice.bravais.probabilities`.
        """
        shape = probabilities(self.basis.scaled(pixel_size), distortion=distortion)
        return {name: value * self.probability for name, value in shape.items()} | {
            "none": 1 - self.probability
        }

    @property
    def probability(self) -> float:
        """Probability that there is a lattice at all, both being as likely before."""
        return 1 / (1 + math.exp(-min(max(self.evidence, -500.0), 500.0)))


def image_lattice(image: Floats, window: Floats | None = None) -> ImageLattice | None:
    """Return the lattice of a finite image, or None where no two directions have spots.

    Parameters
    ----------
    image
        ``(y, x)``, finite.
    window
        Weight of each pixel ``(y, x)``, 0 to 1; falls off smoothly. The Hann window unless given.
    """
    field = Field.of(without_outliers(image), window)
    start, strength = field.spots(_SPOTS)
    start = start[strength >= _LEAST_STRENGTH]
    if len(start) < 2:
        return None
    spots = refine(field, start)
    outstanding = spots.strength - field.rivals(spots.g)
    if outstanding.max() < _BETWEEN:  # noise
        return None
    guesses = _guesses(spots, resolution=field.resolution)
    if not len(guesses):
        return None
    seen = outstanding >= min(_BETWEEN, float(np.sort(outstanding)[-2]))
    reach = min(1.05 * float(np.hypot(*spots.g[seen].T).max()), FINEST)
    rough = [_rough(field, guess, reach) for guess in guesses]
    fits = []
    for index in np.argsort(np.negative(rough), kind="stable")[:_FITTED]:
        fit = _fit(spots, guesses[index], resolution=field.resolution)
        indices = np.empty((0, 2), np.int64) if fit is None else nodes(fit.reciprocal, reach)
        if fit is not None and np.linalg.matrix_rank(indices) == 2:
            fits.append((_weighed(field, fit.reciprocal, indices), fit.reciprocal))
    if not fits:
        return None
    (_, evidence), reciprocal = max(fits, key=lambda one: one[0][0])
    return _polished(field, reciprocal, evidence, reach=reach)


def _guesses(spots: Spots, *, resolution: float) -> Floats:
    """Return the bases ``(n, 2, 2)`` that index the most spots with the largest cell, best first."""
    g, strength = spots.g, np.minimum(spots.strength, 100.0)
    first, second = np.triu_indices(min(len(g), _CENTRES), k=1)
    vectors = np.concatenate((g[:_GENERATORS], g[first] - g[second], g[first] + g[second]))
    vectors = vectors[np.hypot(*vectors.T) > 3 * resolution]
    i, j = np.triu_indices(len(vectors), k=1)
    pairs = np.stack((vectors[i], vectors[j]), axis=1)
    area = np.abs(pairs[:, 0, 0] * pairs[:, 1, 1] - pairs[:, 0, 1] * pairs[:, 1, 0])
    sides = np.hypot(pairs[..., 0], pairs[..., 1])
    sharp = area > _THINNEST * sides.prod(axis=1)
    pairs, area = pairs[sharp], area[sharp]
    indices = g @ np.linalg.inv(pairs)
    off = np.einsum("nki,nij->nkj", indices - np.rint(indices), pairs)
    reached = np.abs(np.rint(indices)).sum(axis=2)
    # an error of the guess grows with the order
    limit = _TOLERANCE * resolution * np.sqrt(1 + 0.25 * reached)
    indexed = (np.hypot(off[..., 0], off[..., 1]) < limit) & (reached > 0)
    gain = (indexed * np.sqrt(strength)).sum(axis=1) * np.log(
        np.maximum(area / (math.pi * (_TOLERANCE * resolution) ** 2), 1.0)
    )
    order = np.argsort(-gain, kind="stable")[: 20 * _GUESSES]
    return _distinct(pairs[order], resolution=resolution)


def _distinct(pairs: Floats, *, resolution: float) -> Floats:
    """Return the first of bases ``(n, 2, 2)`` of each lattice, `_GUESSES` at most."""
    chosen: list[Floats] = []
    while len(pairs) and len(chosen) < _GUESSES:
        first = pairs[0]
        chosen.append(first)
        indices = pairs @ np.linalg.inv(first)
        whole = np.rint(indices)
        off = (indices - whole) @ first
        det = whole[:, 0, 0] * whole[:, 1, 1] - whole[:, 0, 1] * whole[:, 1, 0]
        near = (np.hypot(off[..., 0], off[..., 1]) < resolution).all(axis=1)
        same = near & (np.abs(np.rint(det)) == 1)
        same[0] = True
        pairs = pairs[~same]
    return np.array(chosen).reshape(-1, 2, 2)


def nodes(reciprocal: Floats, reach: float) -> Ints:
    """Return the indices ``(n, 2)`` of half of the nodes within `reach`, without the origin."""
    most = np.ceil(reach * np.hypot(*np.linalg.inv(reciprocal))).astype(np.int64)
    h, k = (axis.ravel() for axis in np.meshgrid(*(np.arange(-m, m + 1) for m in most), indexing="ij"))
    half = (h > 0) | ((h == 0) & (k > 0))
    indices = np.column_stack((h, k))[half]
    return np.asarray(indices[np.hypot(*(indices @ reciprocal).T) <= reach])


def _rough(field: Field, reciprocal: Floats, reach: float) -> float:
    """Return what a guess is worth: as `_weighed`, its nodes being where it says or one sample beside."""
    g = nodes(reciprocal, reach) @ reciprocal
    if not len(g):
        return -math.inf
    return _up_to_a_reach(_each(field.strength(g) - math.log(_TRIED)), np.hypot(*g.T))[0]


def _each(strength: Floats) -> Floats:
    """Return the log-likelihood ratio of nodes against noise, given the power at each ``(n,)``."""
    spot = np.maximum(strength, 0.0) * _TYPICAL / (1 + _TYPICAL) - math.log(1 + _TYPICAL)
    return np.asarray(np.logaddexp(math.log(_SILENT), math.log(1 - _SILENT) + spot))


class _Fit(NamedTuple):
    reciprocal: Floats
    covariance: Floats
    misfit: float
    used: npt.NDArray[np.bool_]
    indices: Ints


def _fit(spots: Spots, reciprocal: Floats, *, resolution: float) -> _Fit | None:
    """Return the reciprocal basis fitted to the spots near its nodes: the strong ones place the others."""
    for least, farthest in ((_STRONG, 2 * _TOLERANCE), (_USED, _TOLERANCE), (_USED, _TOLERANCE)):
        indices = np.rint(spots.g @ np.linalg.inv(reciprocal)).astype(np.int64)
        off = np.hypot(*(spots.g - indices @ reciprocal).T)
        near = (off < farthest * resolution) & indices.any(axis=1)
        used = near & (spots.strength >= min(least, _second(spots, indices, near)))
        for _ in range(_REJECTIONS):
            if np.linalg.matrix_rank(indices[used]) < 2:
                return None
            reciprocal, covariance, misfit = _weighted(spots, indices, used)
            off = np.hypot(*(spots.g - indices @ reciprocal).T)
            sd = np.sqrt(np.trace(spots.covariance, axis1=1, axis2=2) / 2)
            kept = used & (off < _OUTLIER * sd * math.sqrt(max(misfit, 1.0)) + 0.02 * resolution)
            if kept.sum() == used.sum():
                break
            used = kept
    return _Fit(reciprocal, covariance, misfit, used, indices)


def _polished(field: Field, reciprocal: Floats, evidence: float, *, reach: float) -> ImageLattice | None:
    """Return the lattice fitted to all spots at its nodes, weak ones included."""
    indices = nodes(reciprocal, reach)
    strength = field.strength(indices @ reciprocal)
    indices = indices[np.argsort(-strength, kind="stable")[:_POLISHED]]
    spots = refine(field, indices @ reciprocal)
    fit = _fit(spots, reciprocal, resolution=field.resolution)
    if fit is None:
        return None
    basis = Basis(fit.reciprocal, fit.covariance * max(fit.misfit, 1.0)).reciprocal().reduced()
    spots = Spots(*(getattr(spots, name)[fit.used] for name in Spots.__slots__))
    order = np.rint(spots.g @ np.linalg.inv(basis.reciprocal().vectors)).astype(np.int64)
    return ImageLattice(basis, evidence, spots, order, fit.misfit)


def _weighed(field: Field, reciprocal: Floats, indices: Ints) -> tuple[float, float]:
    """Return what a lattice is worth, with less for a large cell, and the evidence of `ImageLattice`."""
    g = indices @ reciprocal
    each, within = _each(strength_at(field, g)), np.hypot(*g.T)
    total, count = _up_to_a_reach(each, within)
    rows = indices // np.gcd(*indices.T)[:, None]
    row = np.unique(rows, axis=0, return_inverse=True)[1].ravel()
    one_way = float(np.bincount(row, np.maximum(each, 0.0)).max())
    choice = np.sort(field.rivals(Basis(reciprocal).reduced().vectors)) + _BETWEEN
    against = float(choice[1]) + max(one_way, float(choice[0]))
    return total - _LARGE_CELL * math.log(max(count, 2) / 2), total - against


def _up_to_a_reach(each: Floats, within: Floats) -> tuple[float, int]:
    """Return the greatest sum of nodes ``(n,)`` up to some frequency, and their number.

    Every probe ends the spots somewhere; beyond, silence says nothing against a lattice.
    """
    order = np.argsort(within, kind="stable")
    sums = np.cumsum(each[order])
    last = int(np.argmax(sums))
    return float(sums[last]), last + 1


def _second(spots: Spots, indices: Ints, near: npt.NDArray[np.bool_]) -> float:
    """Return the strength of the strongest spot near a node that is not in line with the strongest one."""
    first = indices[np.argmax(np.where(near, spots.strength, 0.0))]
    aside = near & (indices[:, 0] * first[1] != indices[:, 1] * first[0])
    return float(spots.strength[aside].max(initial=0.0))


def _weighted(spots: Spots, indices: Ints, used: npt.NDArray[np.bool_]) -> tuple[Floats, Floats, float]:
    """Return the reciprocal basis by weighted least squares, its covariance and reduced chi-square."""
    order = indices[used].astype(np.float64)
    weight = np.linalg.inv(spots.covariance[used])
    normal = np.einsum("ni,nab,nj->iajb", order, weight, order).reshape(4, 4)
    right = np.einsum("ni,nab,nb->ia", order, weight, spots.g[used]).reshape(4)
    covariance = np.linalg.inv(normal)
    reciprocal = (covariance @ right).reshape(2, 2)
    off = spots.g[used] - order @ reciprocal
    freedom = 2 * len(order) - 4
    square = float(np.einsum("na,nab,nb->", off, weight, off))
    return reciprocal, covariance, square / freedom if freedom > 0 else 1.0
