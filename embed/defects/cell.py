"""The cell of a grain and its sites, from columns folded into one cell.

The basis comes from the Bragg spots of the image, which noise hurts less than it hurts single columns; the
columns of a few nanometres, folded into one cell by it, gather on its sites.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Lattices of index up to four of a lattice, in Hermite normal form: rows are their vectors in those of it.
LARGER = [
    np.array([[index // d, b], [0, d]])
    for index in range(1, 5)
    for d in range(1, index + 1)
    if index % d == 0
    for b in range(d)
]
_MEMBERS = 200  # columns folded: far enough for the sites, near enough for strain not to blur them
_GRID = 32  # places along each side of the cell
_BLUR = 0.14  # [neighbour distance] of each column
_RARE = 0.35  # of the most frequent place: fewer columns there are no site of the lattice
_APART = 0.55  # [neighbour distance] of two sites
_NEAR = 0.42  # [neighbour distance] a column farther from a site is not on it
_FITS = 3
_FEWEST = 12
_SPARED = 1.25  # ratio of sites that a larger cell must do without to be preferred
_FULL = 0.35  # of the sites in the rectangle around the columns, that have one
_CLOSE, _CLOSELY = 0.25, 0.4  # [neighbour distance] of columns from sites; 0.15 of columns at random are
_ON = 0.6  # of the columns that are on a site, or the basis is none of theirs


@dataclass(frozen=True, slots=True)
class Cell:
    """A lattice cell.

    Parameters
    ----------
    vectors
        ``(2, 2)``: rows `a` and `b`.
    origin
        Position ``(2,)`` of site 0 of cell (0, 0).
    sites
        Fractional positions ``(n_sites, 2)``; the first is (0, 0).
    """

    vectors: Floats
    origin: Floats
    sites: Floats

    @property
    def area(self) -> float:
        """Area of the cell."""
        return abs(float(np.linalg.det(self.vectors)))

    @property
    def spacing(self) -> float:
        """Shortest distance of two sites."""
        steps = np.array([(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)])
        offsets = self.sites[:, None, None] - self.sites[None, :, None] + steps
        distance = np.hypot(*np.moveaxis(offsets @ self.vectors, -1, 0))
        return float(distance[distance > 1e-9].min())

    def places(self, cell: Ints, site: Ints) -> Floats:
        """Return the positions ``(n, 2)`` of sites ``(n,)`` of cells ``(n, 2)``."""
        return np.asarray(self.origin + (cell + self.sites[site]) @ self.vectors)


def folded(xy: Floats, vectors: Floats, near: float) -> Cell | None:
    """Return the cell that columns stand on; None when they do not gather on sites of that basis.

    Parameters
    ----------
    xy
        Positions ``(n, 2)`` of the columns of a grain.
    vectors
        First basis ``(2, 2)``, rows `a` and `b`.
    near
        Distance of neighbouring columns.
    """
    middle = np.median(xy, axis=0)
    part = xy[np.argsort(np.square(xy - middle).sum(axis=1), kind="stable")[:_MEMBERS]]
    cell = _smallest(part, vectors, near)
    if cell is None:
        return None
    fraction = (part - cell.origin) @ np.linalg.inv(cell.vectors)
    on = _nearest(fraction, cell.sites, cell.vectors)[2] <= _NEAR * near
    # columns that noise shows on some sites of a kind, as on oxygen, make the cell larger than it is
    again = None if on.all() else _smallest(part[on], vectors, near)
    return cell if again is None or again.area > 0.9 * cell.area else again


def _smallest(part: Floats, vectors: Floats, near: float) -> Cell | None:
    """Return the cell that does with the fewest sites, the smallest of those."""
    best, fewest = None, np.inf
    for matrix in LARGER:
        cell = _fitted(part, matrix @ vectors, near)
        # second-order spots alone make honeycombs look triangular, a third of their sites empty
        sites = np.inf if cell is None else len(cell.sites) / cell.area
        if sites * _SPARED < fewest:
            best, fewest = cell, sites
    return best


def _fitted(part: Floats, vectors: Floats, near: float) -> Cell | None:
    """Return the cell of some columns ``(n, 2)``, the first of them its origin."""
    centre = part[0]
    sites = _gathered((part - centre) @ np.linalg.inv(vectors), vectors, near)
    on = np.zeros(len(part), dtype=bool)
    for _ in range(_FITS):
        cell, site, off = _nearest((part - centre) @ np.linalg.inv(vectors), sites, vectors)
        on = off <= _NEAR * near
        room = float(np.ptp(part, axis=0).prod()) / abs(float(np.linalg.det(vectors))) * len(sites)
        if on.sum() < max(_FEWEST, _ON * len(part), _FULL * room):
            return None
        design = np.column_stack((cell[on], np.eye(len(sites))[site[on]]))
        if np.linalg.matrix_rank(design) < design.shape[1]:
            return None
        solution = np.asarray(np.linalg.lstsq(design, part[on], rcond=None)[0], dtype=np.float64)
        vectors = solution[:2]
        sites = (solution[2:] - centre) @ np.linalg.inv(vectors)
    off = _nearest((part - centre) @ np.linalg.inv(vectors), sites, vectors)[2]
    if (off <= _CLOSE * near).mean() < _CLOSELY:
        return None
    return Cell(vectors, centre + sites[0] @ vectors, (sites - sites[0]) % 1.0)


def _gathered(fraction: Floats, vectors: Floats, near: float) -> Floats:
    """Return the fractional positions ``(n_sites, 2)`` where columns gather, the most frequent first."""
    place = np.floor(fraction % 1.0 * _GRID).astype(np.int64) % _GRID
    count = np.zeros((_GRID, _GRID))
    np.add.at(count, (place[:, 0], place[:, 1]), 1.0)
    density = np.zeros_like(count)
    steps = np.arange(-_GRID // 2, _GRID // 2)
    offset = np.stack(np.meshgrid(steps, steps, indexing="ij"), -1).reshape(-1, 2) / _GRID @ vectors
    kernel = np.exp(-0.5 * np.square(offset / (_BLUR * near)).sum(axis=1)).reshape(_GRID, _GRID)
    density = np.fft.irfft2(np.fft.rfft2(count) * np.fft.rfft2(np.fft.ifftshift(kernel)), s=count.shape)
    top = density == ndimage.maximum_filter(density, size=3, mode="wrap")
    i, j = np.nonzero(top & (density >= _RARE * density.max()))
    order = np.argsort(-density[i, j], kind="stable")
    found = (np.column_stack((i, j))[order] + 0.5) / _GRID
    kept: list[Floats] = []
    for one in found:
        if not kept or _nearest(one[None], np.array(kept), vectors)[2][0] > _APART * near:
            kept.append(one)
    return np.array(kept)


def _nearest(fraction: Floats, sites: Floats, vectors: Floats) -> tuple[Ints, Ints, Floats]:
    """Return cell, site and distance of the site nearest to each fractional position."""
    off = fraction[:, None] - sites
    whole = np.rint(off)
    distance = np.hypot(*np.moveaxis((off - whole) @ vectors, -1, 0))
    site = np.argmin(distance, axis=1)
    row = np.arange(len(fraction))
    return whole[row, site].astype(np.int64), np.asarray(site, np.int64), distance[row, site]
