"""Which lattice is where in an image: a label for each pixel, and the lattice of each region.

Windows that slide over the image propose lattices; those with the same basis are one. Each pixel is then
asked how well the spots of each lattice light up around it: with the wave's amplitude A, the local amplitude
a and its noise s, a spot speaks for its lattice by (2 A a - A**2) / s**2. Neighbours are smoothed as in a
Potts model, by iterated conditional modes (Besag, J. R. Stat. Soc. B 48, 259, 1986). Each lattice is fitted
anew through a window of its region's shape.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from micdb.embed.lattice.basis import Basis
from micdb.embed.lattice.reciprocal import ImageLattice, image_lattice
from micdb.embed.lattice.spots import Field, noise_at, without_outliers

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

#: Label of pixels without a lattice.
NO_LATTICE = -1
_PLANES = 8.0  # lattice planes across a window
_SMALLEST_WINDOW, _USUAL_WINDOW = 40, 64  # [pixel] the second where the whole image shows no lattice
_MOST_WINDOWS = 200
_CREDIBLE = 0.9  # probability of a lattice that is proposed
_ALIKE = 0.03  # of a vector's length, and three standard deviations: nearer bases are one
_MOST_PROPOSALS = 8
_RESOLUTION = 1.2  # [longer lattice vector] Gaussian width of the local amplitudes
_SPOTS = 6  # strongest of a lattice that are asked
_TILE = 4  # [pixel] labels are found for squares of that side
_POTTS = 1.0  # log-likelihood that a neighbour of another label costs
_SWEEPS = 15
_LEAST_AREA = 0.3  # [window's area] what is smaller goes to its surroundings


@dataclass(frozen=True, slots=True)
class Phase:
    """A connected region with one lattice.

    Parameters
    ----------
    lattice
        Fitted to the region alone.
    mask
        ``(y, x)``.
    """

    lattice: ImageLattice
    mask: Bools


def phase_map(image: Floats, *, window: int | None = None) -> tuple[Ints, list[Phase]]:
    """Return the regions of an image that have one lattice each.

    Parameters
    ----------
    image
        ``(y, x)``, finite.
    window
        Side of the sliding window [pixel]; eight of the image's strongest lattice planes unless given.

    Returns
    -------
    labels, phases
        ``(y, x)``: index into `phases`, `NO_LATTICE` where there is none; phases by falling area.
    """
    image = without_outliers(image)
    whole = image_lattice(image)
    side = min(window or min(_window(whole), max(min(image.shape) // 2, _SMALLEST_WINDOW)), *image.shape)
    lattices = _proposals(image, side)
    if not lattices and whole is not None and whole.probability >= _CREDIBLE:
        lattices = [whole]
    field = Field.of(image)
    for _ in range(2):
        if not lattices:
            break
        labels = _labels(field, image, lattices)
        parts = [_refitted(image, labels == number, side) for number in range(len(lattices))]
        lattices = _distinct([part for part in parts if part is not None])
    if not lattices:
        return np.full(image.shape, NO_LATTICE), []
    return _regions(image, _labels(field, image, lattices), lattices, side)


def _window(whole: ImageLattice | None) -> int:
    if whole is None or whole.probability < _CREDIBLE:
        return _USUAL_WINDOW
    # by the strongest spot: two phases together may show a long cell that holds both
    strongest = whole.spots.g[np.argmax(np.abs(whole.spots.amplitude))]
    return max(_SMALLEST_WINDOW, math.ceil(_PLANES / math.hypot(*strongest)))


def _proposals(image: Floats, side: int) -> list[ImageLattice]:
    """Return the distinct lattices of windows that overlap by half, those of most windows first."""
    step = max(side // 2, math.ceil(math.sqrt(image.size / _MOST_WINDOWS)))
    corners = [
        np.unique(np.linspace(0, length - side, math.ceil((length - side) / step) + 1).astype(int))
        for length in image.shape
    ]
    found = [image_lattice(image[y : y + side, x : x + side]) for y in corners[0] for x in corners[1]]
    credible = [one for one in found if one is not None and one.probability >= _CREDIBLE]
    groups: list[list[ImageLattice]] = []
    for one in sorted(credible, key=lambda lattice: -lattice.evidence):
        same = [group for group in groups if alike(one.basis, group[0].basis)]
        if same:
            same[0].append(one)
        else:
            groups.append([one])
    groups.sort(key=lambda group: -len(group))
    return [group[0] for group in groups[:_MOST_PROPOSALS]]


def _distinct(lattices: list[ImageLattice]) -> list[ImageLattice]:
    kept: list[ImageLattice] = []
    for one in lattices:
        if not any(alike(one.basis, other.basis) for other in kept):
            kept.append(one)
    return kept


def alike(one: Basis, other: Basis) -> bool:
    """Return whether two bases are one within 3 % and three standard deviations of every vector."""
    turn = np.rint(one.vectors @ np.linalg.inv(other.vectors))
    if abs(round(float(np.linalg.det(turn)))) != 1:
        return False
    off = np.hypot(*(one.vectors - turn @ other.vectors).T)
    sd = np.sqrt(np.diag(one.covariance).reshape(2, 2).sum(axis=1))
    return bool((off < _ALIKE * np.hypot(*one.vectors.T) + 3 * sd).all())


def _labels(field: Field, image: Floats, lattices: list[ImageLattice]) -> Ints:
    """Return the most likely lattice of each pixel, smoothed."""
    support = np.stack([_support(field, image, lattice) for lattice in lattices])
    support = np.concatenate((np.zeros((1, *support.shape[1:])), support))  # no lattice: the reference
    labels = support.argmax(axis=0)
    number = np.arange(len(support))[:, None, None]
    ring = np.array([[0.7, 1, 0.7], [1, 0, 1], [0.7, 1, 0.7]])
    for sweep in range(_SWEEPS):
        same = np.stack([ndimage.convolve((labels == k).astype(float), ring) for k in number.ravel()])
        better = (support + _POTTS * same).argmax(axis=0)
        # tiles of one colour of a chessboard at a time: neighbours that change together may swap for ever
        turn = np.add.outer(*map(np.arange, labels.shape)) % 2 == sweep % 2
        if (better == labels).all():
            break
        labels = np.where(turn, better, labels)
    rows, columns = (
        np.minimum(np.arange(n) // _TILE, m - 1) for n, m in zip(image.shape, labels.shape, strict=True)
    )
    return np.asarray(labels[rows[:, None], columns[None]] - 1, dtype=np.int64)


def _support(field: Field, image: Floats, lattice: ImageLattice) -> Floats:
    """Return the log-likelihood ratio of a lattice against none, for each tile."""
    sigma = _RESOLUTION * max(lattice.basis.lengths)
    y, x = np.arange(image.shape[0]), np.arange(image.shape[1])
    seen = ndimage.gaussian_filter(_tiles(np.ones(image.shape)), sigma / _TILE, mode="constant")
    order = np.argsort(-np.abs(lattice.spots.amplitude), kind="stable")[:_SPOTS]
    total = np.zeros(seen.shape)
    # a Gaussian of that width averages over this many pixels; tiles inside it say the same thing again
    pixels = 4 * math.pi * sigma**2
    flat = image - image.mean()
    spots, heights = lattice.spots.g[order], np.abs(lattice.spots.amplitude[order])
    for g, amplitude, noise in zip(spots, heights, noise_at(field, spots), strict=True):
        # the wave turned to rest varies slowly: the means of tiles keep all of it
        down, across = np.exp(-2j * math.pi * g[1] * y), np.exp(-2j * math.pi * g[0] * x)
        wave = _tiles(flat * down[:, None] * across)
        parts = [ndimage.gaussian_filter(p, sigma / _TILE, mode="constant") for p in (wave.real, wave.imag)]
        total += (2 * amplitude * np.hypot(*parts) / seen - amplitude**2) / (noise / pixels)
    return np.asarray(total * _TILE**2 / pixels, dtype=np.float64)


def _tiles(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the means over tiles; tiles that the image does not fill are filled up with zeros."""
    missing = [-length % _TILE for length in values.shape]
    padded = np.pad(values, [(0, missing[0]), (0, missing[1])])
    rows, columns = (length // _TILE for length in padded.shape)
    return np.asarray(padded.reshape(rows, _TILE, columns, _TILE).mean(axis=(1, 3)))


def _refitted(image: Floats, mask: Bools, side: int) -> ImageLattice | None:
    """Return the lattice of a region, seen through a smooth window of its shape; None where it has none."""
    if mask.sum() < _LEAST_AREA * side**2:
        return None
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    part = np.pad(mask[box], 1)
    depth = ndimage.distance_transform_edt(part)[1:-1, 1:-1]
    edge = min(side / 4, float(depth.max()))
    window = np.where(mask[box], np.sin(0.5 * math.pi * np.minimum(depth / edge, 1.0)) ** 2, 0.0)
    found = image_lattice(image[box], window)
    return found if found is not None and found.probability >= 0.5 else None


def _regions(
    image: Floats, labels: Ints, lattices: list[ImageLattice], side: int
) -> tuple[Ints, list[Phase]]:
    """Return connected regions, largest first, each with its own lattice."""
    labels = _without_specks(labels, _LEAST_AREA * side**2)
    parts = []
    for number, lattice in enumerate(lattices):
        components, count = ndimage.label(labels == number)
        for component in range(1, count + 1):
            mask = components == component
            parts.append(Phase(_refitted(image, mask, side) or lattice, mask))
    parts.sort(key=lambda part: -int(part.mask.sum()))
    found = np.full(image.shape, NO_LATTICE)
    for number, part in enumerate(parts):
        found[part.mask] = number
    return found, parts


def _without_specks(labels: Ints, least: float) -> Ints:
    """Return labels in which every connected part smaller than `least` has that of the nearest larger one."""
    small = np.zeros(labels.shape, dtype=bool)
    for number in np.unique(labels):
        components, _ = ndimage.label(labels == number)
        sizes = np.bincount(components.ravel())
        small |= (components > 0) & (sizes[components] < least)
    if not small.any() or small.all():
        return labels
    nearest = ndimage.distance_transform_edt(small, return_distances=False, return_indices=True)
    return np.asarray(labels[tuple(nearest)])
