"""Strain and rotation against a reference lattice, from atom positions and from the phase of Bragg spots.

The deformation F takes reference vectors to local ones; F = V R, a rotation R and then the stretch V, whose
departure from unity is the strain, along the axes of the image. Positions: an affine map fitted to the atoms
around each one. Images: geometric phase analysis (Hytch, Snoeck and Kilaas, Ultramicroscopy 74, 131, 1998),
with the six strongest spots instead of two.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.spatial import cKDTree

from micdb.embed.lattice.basis import Basis
from micdb.embed.lattice.positions import LatticeFit
from micdb.embed.lattice.reciprocal import ImageLattice
from micdb.errors import UsageError

Floats = npt.NDArray[np.float64]

_FEWEST = 4  # atoms an affine map is fitted to: three fit without any residual
_SPOTS = 6  # strongest that are analysed


@dataclass(frozen=True, slots=True)
class Strain:
    """Strain at places: ``(n,)`` at atoms, ``(y, x)`` at pixels; NaN where it is not known.

    Parameters
    ----------
    exx, eyy, exy
        Along x, along y, and half the change of the angle between them; stretching is positive.
    rotation_deg
        From x towards y [deg].
    """

    exx: Floats
    eyy: Floats
    exy: Floats
    rotation_deg: Floats

    @classmethod
    def of(cls, deformation: Floats) -> Strain:
        """Return the strain of deformations ``(..., 2, 2)``: each takes a reference vector to a local one."""
        f = deformation
        angle = np.arctan2(f[..., 1, 0] - f[..., 0, 1], f[..., 0, 0] + f[..., 1, 1])
        cosine, sine = np.cos(angle), np.sin(angle)
        exx = f[..., 0, 0] * cosine - f[..., 0, 1] * sine - 1
        eyy = f[..., 1, 0] * sine + f[..., 1, 1] * cosine - 1
        exy = f[..., 1, 0] * cosine - f[..., 1, 1] * sine
        return cls(exx, eyy, exy, np.degrees(angle))


def atom_strain(
    xy: Floats, fit: LatticeFit, *, reference: Basis | None = None, radius: float | None = None
) -> Strain:
    """Return the strain at each atom from the positions around it.

    Parameters
    ----------
    xy
        Positions ``(n, 2)`` that were fitted.
    fit
        Their lattice.
    reference
        The unstrained basis, given by any of its vectors; the fitted one unless given.
    radius
        Of the atoms an affine map is fitted to, in the unit of `xy`; weights fall to zero there. Four times
        the longer lattice vector unless given.

    Returns
    -------
    strain
        ``(n,)``; NaN for atoms on no site or with too few others around.
    """
    place = fit.places()
    known = np.flatnonzero(fit.site >= 0)
    reach = 4 * max(fit.basis.lengths) if radius is None else radius
    if not 0 < reach < math.inf:
        raise UsageError(f"radius is {reach}; expected a length in the unit of the positions")
    change = np.full((len(xy), 2, 2), np.nan)
    change[known] = _affine(place[known], np.asarray(xy, dtype=np.float64)[known], reach)
    if reference is not None:
        # to the fitted lattice first, from there to the atoms
        change = change @ (np.linalg.inv(_alike(reference, fit.basis)) @ fit.basis.vectors).T
    return Strain.of(change)


def _affine(place: Floats, xy: Floats, reach: float) -> Floats:
    """Return the matrices ``(n, 2, 2)`` of affine maps from `place` to `xy` around each place."""
    n = len(place)
    pairs = cKDTree(place).query_pairs(reach, output_type="ndarray")
    i = np.concatenate((pairs[:, 0], pairs[:, 1], np.arange(n)))
    j = np.concatenate((pairs[:, 1], pairs[:, 0], np.arange(n)))
    off = place[j] - place[i]
    weight = np.square(1 - np.square(off).sum(axis=1) / reach**2)
    moved = xy[j] - place[j] - (xy[i] - place[i])  # small numbers: no digits are lost

    def around(value: Floats) -> Floats:
        return np.asarray(coo_array((weight * value, (i, j)), shape=(n, n)).sum(axis=1))

    total = around(np.ones(len(i)))
    mean = np.stack([around(off[:, k]) for k in (0, 1)], axis=-1) / total[:, None]
    shift = np.stack([around(moved[:, k]) for k in (0, 1)], axis=-1) / total[:, None]
    centred = off - mean[i]
    second = np.stack([around(centred[:, p] * centred[:, q]) for p in (0, 1) for q in (0, 1)], axis=-1)
    mixed = np.stack(
        [around((moved - shift[i])[:, p] * centred[:, q]) for p in (0, 1) for q in (0, 1)], axis=-1
    )
    second, mixed = second.reshape(n, 2, 2), mixed.reshape(n, 2, 2)
    enough = (np.bincount(i, minlength=n) >= _FEWEST) & (
        np.linalg.det(second) > 1e-6 * np.square(np.trace(second, axis1=1, axis2=2))
    )
    change = np.full((n, 2, 2), np.nan)
    change[enough] = np.eye(2) + mixed[enough] @ np.linalg.inv(second[enough])
    return change


def phase_strain(
    image: Floats, lattice: ImageLattice, *, reference: Basis | None = None, sigma: float | None = None
) -> Strain:
    """Return the strain at each pixel from the phases of the lattice's spots.

    Parameters
    ----------
    image
        ``(y, x)``, finite.
    lattice
        Found in it.
    reference
        The unstrained basis [pixel], given by any of its vectors; that of the whole image unless given.
    sigma
        Standard deviation of the Gaussian that the waves are averaged over [pixel]: the resolution. Twice the
        longer lattice vector unless given.
    """
    width = 2 * max(lattice.basis.lengths) if sigma is None else sigma
    if not 0 < width < math.inf:
        raise UsageError(f"sigma is {width}; expected a width in pixels")
    strongest = np.argsort(-np.abs(lattice.spots.amplitude), kind="stable")
    chosen = _independent(lattice.indices, strongest)
    vectors = lattice.basis.reciprocal().vectors
    normal, right = np.zeros((*image.shape, 2, 2)), np.zeros((*image.shape, 2, 2))
    flat = image - image.mean()
    for index in lattice.indices[chosen]:
        slope, weight = _slope(flat, index @ vectors, width)
        normal += weight[..., None, None] * np.outer(index, index)
        right += weight[..., None, None] * index[:, None] * slope[..., None, :]
    local = vectors + np.linalg.solve(normal, right)
    moved = np.linalg.inv(local)  # columns are the local vectors
    start = lattice.basis.vectors if reference is None else _alike(reference, lattice.basis)
    return Strain.of(moved @ np.linalg.inv(start.T))


def _alike(reference: Basis, basis: Basis) -> Floats:
    """Return the reference's vectors ``(2, 2)`` that correspond to those of a basis it is strained to."""
    turn = np.rint(basis.vectors @ np.linalg.inv(reference.vectors))
    if abs(round(float(np.linalg.det(turn)))) != 1:
        raise UsageError(
            f"the reference {reference.vectors.tolist()} is not the lattice {basis.vectors.tolist()} but for "
            "a strain: give it in the same unit, turned as in the image"
        )
    return np.asarray(turn @ reference.vectors)


def _independent(indices: npt.NDArray[np.int64], order: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the strongest spots, enough of them for two directions."""
    count = _SPOTS
    while np.linalg.matrix_rank(indices[order[:count]]) < 2:
        count += 1
    return order[:count]


def _slope(image: Floats, g: Floats, sigma: float) -> tuple[Floats, Floats]:
    """Return the local departure ``(y, x, 2)`` as x, y from a wave's frequency `g`, and the wave's power."""
    y, x = np.arange(image.shape[0]), np.arange(image.shape[1])
    turned = image * np.exp(-2j * math.pi * g[1] * y)[:, None] * np.exp(-2j * math.pi * g[0] * x)[None]
    wave = _smooth(turned, sigma, (0, 0))
    power = np.maximum(np.square(np.abs(wave)), 1e-300)
    change = [np.imag(np.conj(wave) * _smooth(turned, sigma, order)) / power for order in ((0, 1), (1, 0))]
    return np.stack(change, axis=-1) / (2 * math.pi), power


def _smooth(
    wave: npt.NDArray[np.complex128], sigma: float, order: tuple[int, int]
) -> npt.NDArray[np.complex128]:
    parts = [
        ndimage.gaussian_filter(part, sigma, order=order, mode="constant") for part in (wave.real, wave.imag)
    ]
    return np.asarray(parts[0] + 1j * parts[1])
