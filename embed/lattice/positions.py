"""The lattice that atom positions stand on: cell and site of each atom, and how far it is displaced.

Cells are counted from atom to neighbour, so a field that is strained by more than half a cell from edge to
edge keeps its indices; sites of the cell show up as offsets that no known one explains. Basis and sites are
then fitted together by least squares.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import breadth_first_order, connected_components, minimum_spanning_tree
from scipy.spatial import cKDTree

from micdb.embed.lattice.basis import Basis, reduction
from micdb.embed.lattice.reciprocal import image_lattice
from micdb.errors import UsageError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_FEWEST = 12
_DRAWN = 6.0  # [pixel] per neighbour distance, where positions are drawn for a first basis
_LARGEST = 384  # [pixel] that is drawn: more cells than in 64 neighbour distances make the spots too sharp
_SAME_SITE = 0.35  # of the neighbour distance: farther from every known site, an atom is of a new one
_RARE = 0.1  # of the most frequent site: what is rarer is interstitial, displaced or wrong
_NEIGHBOURS = 8
_FOLLOWED = 0.5  # of an atom's displacement is expected of its neighbour: half is noise of its own
_LONGEST = 1.4  # of `b`: a neighbour beyond is across a gap


@dataclass(frozen=True, slots=True)
class LatticeFit:
    """A lattice fitted to positions.

    Parameters
    ----------
    basis
        Reduced, with its covariance, in the unit of the positions.
    origin
        Position ``(2,)`` of site 0 of cell (0, 0).
    sites
        Fractional positions ``(n_sites, 2)``, 0 to 1; the first is (0, 0).
    cell
        Indices ``(n, 2)`` of each atom's cell.
    site
        Site of each atom ``(n,)``; -1 where it is on none.
    residual
        Displacement of each atom from its place ``(n, 2)``; NaN where it has none.
    """

    basis: Basis
    origin: Floats
    sites: Floats
    cell: Ints
    site: Ints
    residual: Floats

    def places(self, basis: Basis | None = None) -> Floats:
        """Return where the atoms would be in the fitted lattice, or one of another basis, ``(n, 2)``.

        NaN for atoms on no site.
        """
        vectors = (basis or self.basis).vectors
        place = self.origin + (self.cell + self.sites[self.site]) @ vectors
        place[self.site < 0] = np.nan
        return np.asarray(place)


def fit_positions(xy: Floats, *, start: Basis | None = None) -> LatticeFit:
    """Fit a lattice to atom positions.

    Parameters
    ----------
    xy
        Positions ``(n, 2)``, in any one unit.
    start
        First basis; found from the positions' own diffraction pattern unless given.

    Raises
    ------
    UsageError
        The positions are too few or stand on no lattice.
    """
    xy = np.asarray(xy, dtype=np.float64)
    if xy.ndim != 2 or xy.shape[1] != 2 or not np.isfinite(xy).all():
        raise UsageError(f"positions have the shape {xy.shape}; finite ones of the shape (n, 2) are needed")
    if len(xy) < _FEWEST:
        raise UsageError(f"{len(xy)} positions; a lattice needs at least {_FEWEST}")
    near = float(np.median(cKDTree(xy).query(xy, k=2)[0][:, 1]))
    if near <= 0:
        raise UsageError("most positions are given twice; each atom may be there once")
    basis = start or _first_basis(xy, near)
    cell, site = _counted(xy, basis.reduced().vectors, tolerance=_SAME_SITE * near)
    return _least_squares(xy, cell, site)


def _first_basis(xy: Floats, near: float) -> Basis:
    """Return the basis of a drawing of the middle of the positions."""
    scale = near / _DRAWN
    middle = np.median(xy, axis=0)
    low, high = (
        np.maximum(xy.min(axis=0), middle - _LARGEST * scale / 2),
        np.minimum(xy.max(axis=0), middle + _LARGEST * scale / 2),
    )
    sides = np.maximum(np.ceil((high - low) / scale).astype(int) + 1, 8)
    edges = [low[k] + scale * (np.arange(sides[k] + 1) - 0.5) for k in (1, 0)]
    drawn = ndimage.gaussian_filter(np.histogram2d(xy[:, 1], xy[:, 0], bins=edges)[0], 1.0)
    found = image_lattice(drawn)
    if found is None or found.probability < 0.5:
        raise UsageError(
            f"the {len(xy)} positions show no lattice in two directions; give its basis as start=Basis(...)"
        )
    return found.basis.scaled((scale, scale))


def _counted(xy: Floats, vectors: Floats, *, tolerance: float) -> tuple[Ints, Ints]:
    """Return cell ``(n, 2)`` and site ``(n,)`` of each atom, counted from neighbour to neighbour."""
    order, before = _path(xy, _LONGEST * float(np.hypot(*vectors.T).max()))
    fractional = (xy - xy[order[0]]) @ np.linalg.inv(vectors)
    cell, site = np.zeros((len(xy), 2), dtype=np.int64), np.full(len(xy), -1)
    drift = np.zeros((len(xy), 2))
    sites = np.zeros((1, 2))
    site[order[0]] = 0
    for atom in order[1:]:
        expected = drift[before[atom]]
        off = fractional[atom] - expected - sites
        whole = np.rint(off)
        distance = np.hypot(*((off - whole) @ vectors).T)
        best = int(np.argmin(distance))
        if distance[best] > tolerance:
            sites = np.vstack((sites, (fractional[atom] - expected) % 1.0))
            best, off = len(sites) - 1, fractional[atom] - expected - sites
            whole = np.rint(off)
        cell[atom], site[atom] = whole[best], best
        drift[atom] = expected + _FOLLOWED * (off - whole)[best]
    count = np.bincount(site[order], minlength=len(sites))
    common = np.flatnonzero(count >= _RARE * count.max())
    renamed = np.full(len(sites) + 1, -1)
    renamed[common] = np.arange(len(common))
    return cell, renamed[site]


def _path(xy: Floats, longest: float) -> tuple[Ints, Ints]:
    """Return the atoms, each after a near neighbour, and that neighbour of each atom ``(n,)``."""
    length, other = cKDTree(xy).query(xy, k=min(_NEIGHBOURS + 1, len(xy)))
    i = np.repeat(np.arange(len(xy)), length.shape[1] - 1)
    j, length = other[:, 1:].ravel(), length[:, 1:].ravel()
    near = length <= longest
    links = coo_array((length[near] + 1e-300, (i[near], j[near])), shape=(len(xy), len(xy))).tocsr()
    links = links.maximum(links.T)
    label = connected_components(links, directed=False)[1]
    largest = np.flatnonzero(label == np.argmax(np.bincount(label)))
    middle = largest[np.argmin(np.square(xy[largest] - np.median(xy[largest], axis=0)).sum(axis=1))]
    tree = minimum_spanning_tree(links)
    order, before = breadth_first_order(tree, int(middle), directed=False)
    return np.asarray(order, dtype=np.int64), np.asarray(before, dtype=np.int64)


def _least_squares(xy: Floats, cell: Ints, site: Ints) -> LatticeFit:
    used = site >= 0
    n_sites = int(site.max()) + 1
    design = np.column_stack((cell[used], np.eye(n_sites)[site[used]]))
    if np.linalg.matrix_rank(design) < n_sites + 2:
        raise UsageError(f"the {used.sum()} positions on a lattice lie in one row; two directions are needed")
    solution: Floats = np.asarray(np.linalg.lstsq(design, xy[used], rcond=None)[0], dtype=np.float64)
    off = xy[used] - design @ solution
    freedom = max(len(off) - n_sites - 2, 1)
    shape = np.linalg.inv(design.T @ design)[:2, :2]
    covariance = np.kron(shape, np.diag(np.square(off).sum(axis=0) / freedom))
    turn = reduction(solution[:2])
    basis = Basis(solution[:2], covariance).reduced()
    fractional = (solution[2:] - solution[2]) @ np.linalg.inv(basis.vectors)
    inside = np.floor(fractional + 1e-9).astype(np.int64)
    cell = np.rint(cell @ np.linalg.inv(turn)).astype(np.int64) + inside[site]
    residual = np.full(xy.shape, np.nan)
    residual[used] = off
    return LatticeFit(basis, solution[2], fractional - inside, cell, site, residual)


def displacements(xy: Floats, of: Ints, among: Ints, *, neighbours: int, spread: float = 1.5) -> Floats:
    """Return how far atoms are from the middle of their neighbours: the polarisation of a sub-lattice.

    Parameters
    ----------
    xy
        All positions ``(n, 2)``.
    of
        Indices ``(m,)`` of the atoms asked for, for example ``np.flatnonzero(fit.site == 1)``.
    among
        Indices of those that may be neighbours, for example of another site.
    neighbours
        Number of nearest ones whose middle is taken: 4 for the cation in a square of others.
    spread
        Greatest ratio of the farthest neighbour's distance to the nearest one's: beyond, some are missing.

    Returns
    -------
    displacement
        ``(m, 2)``; NaN where neighbours are missing or all lie to one side.
    """
    if neighbours < 2 or neighbours > len(among):
        raise UsageError(f"{neighbours} neighbours among {len(among)} atoms; expected 2 up to their number")
    distance, nearest = cKDTree(xy[among]).query(xy[of], k=neighbours)
    off = xy[of] - xy[among][nearest].mean(axis=1)
    lopsided = np.hypot(*off.T) > 0.5 * distance.mean(axis=1)
    missing = distance[:, -1] > spread * np.maximum(distance[:, 0], math.ulp(1.0))
    off[lopsided | missing] = np.nan
    return np.asarray(off)
