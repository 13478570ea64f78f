"""The lattice of one grain, followed from column to column: where each of its sites is, and who is there.

Sites are predicted from the displacements of the columns around them, so that strain, distortion and drift
of the scan shift the prediction as they shift the columns.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array, csr_array
from scipy.spatial import cKDTree

from micdb.embed.defects.cell import Cell

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_WIDTH = 1.1  # [spacing] of the Gaussian weight of a neighbour's displacement
_REACH = 2.6  # [spacing] to which neighbours count: 16 of a honeycomb
_OWN = 0.4  # [spacing] a column farther from a site is not on it: half-way to the next is 0.5
_START = 4.0  # [spacing] around the middle, where the cell itself says where sites are
_SUPPORT = 0.5  # weight of two nearest neighbours; with less a place is a guess


@dataclass(frozen=True, slots=True)
class LocalLattice:
    """Sites of one grain in and around the view.

    Parameters
    ----------
    spacing
        Shortest distance of two sites.
    cell_area
        Area of a cell, in the square of the unit of the positions.
    cell
        ``(n, 2)``.
    site
        Site of the cell ``(n,)``.
    place
        Where the columns around say that it is ``(n, 2)``.
    column
        Index of the column on it ``(n,)``; -1 for none.
    """

    spacing: float
    cell_area: float
    cell: Ints
    site: Ints
    place: Floats
    column: Ints


def local_lattice(
    xy: Floats, members: Ints, cell: Cell, size: tuple[float, float], *, start: Floats
) -> LocalLattice:
    """Return the lattice of a grain, grown outwards from a place in it.

    Parameters
    ----------
    xy
        Positions of all columns ``(n, 2)``.
    members
        Indices of those that may be in the grain.
    cell
        Its cell, right around the start.
    size
        ``(x, y)`` of the view, from the origin of the positions.
    start
        ``(2,)``.
    """
    index, site = _keys(cell, np.array(size))
    ideal, spacing = cell.places(index, site), cell.spacing
    weight = _weights(ideal, spacing)
    column = np.full(len(index), -1)
    place, support = ideal, np.square(ideal - start).sum(axis=1) <= (_START * spacing) ** 2
    while True:
        free = np.setdiff1d(members, column)
        open_ = np.flatnonzero((column < 0) & support)
        if not len(free) or not len(open_):
            break
        off, which = cKDTree(place[open_]).query(xy[free])
        close = off <= _OWN * spacing
        if not close.any():
            break
        _claim(column, open_[which[close]], free[close], off[close])
        place, weighed = _predicted(ideal, xy, column, weight)
        support = weighed >= _SUPPORT
    return LocalLattice(spacing, cell.area, index, site, place, column)


def _keys(cell: Cell, size: Floats) -> tuple[Ints, Ints]:
    """Return cell and site of everything in the view and three cells around it."""
    margin = 3 * float(np.hypot(*cell.vectors.T).max())
    corners = np.array([[0, 0], [size[0], 0], [0, size[1]], size], dtype=float)
    place = (corners - cell.origin) @ np.linalg.inv(cell.vectors)
    low = np.floor(place.min(axis=0)).astype(np.int64) - 6
    high = np.ceil(place.max(axis=0)).astype(np.int64) + 6
    axes = [np.arange(one, other + 1) for one, other in zip(low, high, strict=True)]
    i, j, site = (part.ravel() for part in np.meshgrid(*axes, np.arange(len(cell.sites)), indexing="ij"))
    index = np.column_stack((i, j))
    ideal = cell.places(index, site)
    seen = ((ideal > -margin) & (ideal < size + margin)).all(axis=1)
    return index[seen], site[seen]


def _weights(ideal: Floats, spacing: float) -> csr_array:
    tree = cKDTree(ideal)
    pairs = tree.query_pairs(_REACH * spacing, output_type="ndarray")
    length = np.hypot(*(ideal[pairs[:, 0]] - ideal[pairs[:, 1]]).T)
    value = np.exp(-0.5 * np.square(length / (_WIDTH * spacing)))
    n = len(ideal)
    half = coo_array((value, (pairs[:, 0], pairs[:, 1])), shape=(n, n)).tocsr()
    return csr_array(half + half.T)


def _claim(column: Ints, key: Ints, index: Ints, off: Floats) -> None:
    """Give each free site the nearest of the columns that ask for it."""
    order = np.lexsort((index, off, key))
    first = np.unique(key[order], return_index=True)[1]
    chosen = order[first]
    column[key[chosen]] = index[chosen]


def _predicted(ideal: Floats, xy: Floats, column: Ints, weight: csr_array) -> tuple[Floats, Floats]:
    """Return where each site is by the columns around it, and how much they weigh ``(n,)``."""
    on = column >= 0
    shift = np.where(on[:, None], xy[column] - ideal, 0.0)
    support = weight @ on.astype(float)
    mean = (weight @ shift) / np.maximum(support, 1e-12)[:, None]
    known = np.flatnonzero(support > 1e-6)
    lost = np.flatnonzero(support <= 1e-6)
    if len(known) and len(lost):
        mean[lost] = mean[known[cKDTree(ideal[known]).query(ideal[lost])[1]]]
    return ideal + mean, np.asarray(support)
