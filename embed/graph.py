"""Neighbour graphs of atom columns as arrays; a networkx graph is a view made on request.

Bonds end at the first minimum of the radial distribution of their pair of species, so that no table of radii
is needed; species are any labels, one for each atom.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from micdb.errors import UsageError
from micdb.rings import Rings, rings

if TYPE_CHECKING:
    import networkx as nx
    import pyarrow as pa

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.integer]

_REACH = 2.5  # [nearest distance] to which distributions are looked at: second shells are at 1.41 to 1.73
_BROADENING = 0.04  # [nearest distance] of each distance: about the spread of bond lengths
_SHELL = 0.25  # of the highest maximum: what is lower is no shell
_FLAT = 0.05  # of the shell's height above the minimum: the minimum's width
_FEWEST = 6  # pairs that a distribution of their own needs
_BEYOND = 1.15  # [cut-off of all pairs] a first shell beyond is of second neighbours
_LARGEST_RING = 12  # [atoms] larger faces are holes


def nearest_distances(xy: Floats) -> npt.NDArray[np.float64]:
    """Return each point's distance to its nearest neighbour ``(n,)``, in the unit of `xy` ``(n, 2)``."""
    if len(xy) < 2:
        return np.full(len(xy), np.nan)
    return np.asarray(cKDTree(xy).query(xy, k=2)[0][:, 1], dtype=np.float64)


def neighbours(xy: Floats, cutoff: float) -> tuple[Ints, Ints, npt.NDArray[np.float64]]:
    """Return all pairs closer than a distance, each once and in order.

    Parameters
    ----------
    xy
        Positions ``(n, 2)``.
    cutoff
        Largest distance of a pair, in the unit of `xy`.

    Returns
    -------
    i, j, length
        Indices ``(m,)`` with ``i < j``, sorted by `i` then `j`, and distances ``(m,)``.
    """
    pairs = cKDTree(xy).query_pairs(cutoff, output_type="ndarray") if len(xy) else np.empty((0, 2), np.int64)
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    i, j = pairs[:, 0], pairs[:, 1]
    return i, j, np.hypot(*(xy[i] - xy[j]).T) if len(pairs) else np.empty(0)


def radial_distribution(
    xy: Floats, radius: npt.NDArray[np.float64], *, width: float, pairs: tuple[Ints, Ints] | None = None
) -> npt.NDArray[np.float64]:
    """Return the radial distribution function at some radii, but for a constant factor.

    Parameters
    ----------
    xy
        Positions ``(n, 2)``.
    radius
        ``(m,)``, in the unit of `xy`, positive.
    width
        Standard deviation by which each distance is broadened.
    pairs
        Indices of the pairs counted; all unless given.
    """
    i, j = pairs or neighbours(xy, float(radius.max()) + 4 * width)[:2]
    length = np.hypot(*(xy[i] - xy[j]).T) if len(i) else np.empty(0)
    step = width / 4
    count = np.bincount(np.rint(length / step).astype(np.int64), minlength=1)
    place = np.arange(len(count)) * step
    near = np.exp(-0.5 * np.square((radius[:, None] - place[None, :]) / width))
    return np.asarray(near @ count / radius, dtype=np.float64)


def pair_cutoffs(xy: Floats, species: npt.NDArray[Any] | None = None) -> dict[tuple[Any, Any], float]:
    """Return the longest bond of each pair of species: the first minimum of its radial distribution.

    Parameters
    ----------
    xy
        Positions ``(n, 2)``.
    species
        Label of each atom ``(n,)``; all are the same unless given.

    Returns
    -------
    dict
        Sorted pair of labels to cut-off, in the unit of `xy`; 0 for pairs whose nearest are no neighbours, as
        two sulphur columns in MoS2. A pair seen fewer than six times gets that of all pairs.

    Raises
    ------
    UsageError
        There are fewer than two positions, or not one label for each.
    """
    labels = np.zeros(len(xy), dtype=np.int64) if species is None else np.asarray(species)
    if len(xy) < 2 or len(labels) != len(xy):
        raise UsageError(f"{len(xy)} positions and {len(labels)} species; two or more and as many are needed")
    nearest = float(np.median(nearest_distances(xy)))
    width = _BROADENING * nearest
    radius = np.linspace(0.5, _REACH, 401) * nearest
    i, j, _ = neighbours(xy, float(radius[-1]) + 4 * width)
    _, of_all = _first_shell(radius, radial_distribution(xy, radius, width=width, pairs=(i, j)))
    kinds = sorted(set(labels.tolist()))
    found: dict[tuple[Any, Any], float] = {}
    for number, one in enumerate(kinds):
        for other in kinds[number:]:
            these = (labels[i] == one) & (labels[j] == other) | (labels[i] == other) & (labels[j] == one)
            if these.sum() < _FEWEST:
                found[one, other] = of_all
                continue
            spread = radial_distribution(xy, radius, width=width, pairs=(i[these], j[these]))
            shell, cutoff = _first_shell(radius, spread)
            found[one, other] = cutoff if shell <= _BEYOND * of_all else 0.0
    return found


def _first_shell(
    radius: npt.NDArray[np.float64], distribution: npt.NDArray[np.float64]
) -> tuple[float, float]:
    """Return the radius of the first maximum and the middle of the minimum after it."""
    rising = np.diff(distribution) > 0
    tops = np.flatnonzero(rising[:-1] & ~rising[1:]) + 1
    tops = tops[distribution[tops] >= _SHELL * distribution.max()]
    if not len(tops):
        return float(radius[np.argmax(distribution)]), float(radius[-1])
    first = int(tops[0])
    end = int(tops[1]) if len(tops) > 1 else len(radius) - 1
    between = distribution[first : end + 1]
    low = between.min() + _FLAT * (between[0] - between.min())
    flat = np.flatnonzero(between <= low)
    return float(radius[first]), float(radius[first + flat].mean())


def bonds(
    xy: Floats, species: npt.NDArray[Any] | None = None, cutoffs: dict[tuple[Any, Any], float] | None = None
) -> tuple[Ints, Ints, npt.NDArray[np.float64]]:
    """Return the bonds of atoms by species-aware cut-offs, each once and in order.

    Parameters
    ----------
    xy
        Positions ``(n, 2)``.
    species
        Label of each atom ``(n,)``; all are the same unless given.
    cutoffs
        As from `pair_cutoffs`, which is asked unless given.

    Returns
    -------
    i, j, length
        As from `neighbours`.
    """
    longest = pair_cutoffs(xy, species) if cutoffs is None else cutoffs
    labels = np.zeros(len(xy), dtype=np.int64) if species is None else np.asarray(species)
    i, j, length = neighbours(xy, max(longest.values(), default=0.0))
    kept = np.zeros(len(i), dtype=bool)
    for (one, other), cutoff in longest.items():
        these = (labels[i] == one) & (labels[j] == other) | (labels[i] == other) & (labels[j] == one)
        kept |= these & (length <= cutoff)
    return i[kept], j[kept], length[kept]


def angles(xy: Floats, i: Ints, j: Ints) -> tuple[Ints, Ints, Ints, npt.NDArray[np.float64]]:
    """Return the angles between bonds that follow one another around an atom.

    Parameters
    ----------
    xy
        Positions ``(n, 2)``.
    i, j
        Bonds ``(m,)``, each once.

    Returns
    -------
    atom, first, second, degrees
        ``(k,)``: from the bond to `first` on to the one to `second`, from x towards y, 0 to 360 [deg]. Around
        an atom with two bonds or more they add up to 360.
    """
    start, end = np.concatenate((i, j)).astype(np.int64), np.concatenate((j, i)).astype(np.int64)
    direction = np.degrees(np.arctan2(*(xy[end] - xy[start]).T[::-1])) if len(start) else np.empty(0)
    order = np.lexsort((direction, start))
    start, end, direction = start[order], end[order], direction[order]
    count = np.bincount(start, minlength=1)
    first = (np.cumsum(count) - count)[start]
    following = np.where(np.arange(len(start)) + 1 < first + count[start], np.arange(len(start)) + 1, first)
    several = count[start] > 1
    turned = (direction[following] - direction) % 360.0
    return start[several], end[several], end[following][several], turned[several]


def ring_faces(xy: Floats, i: Ints, j: Ints, *, largest: int = _LARGEST_RING) -> Rings:
    """Return the rings of a bond network of up to `largest` atoms; see `micdb.rings.rings`."""
    found = rings(np.asarray(xy, dtype=np.float64), i.astype(np.int64), j.astype(np.int64))
    small = found.size <= largest
    return Rings(
        found.size[small], found.centre[small], found.area[small], found.member[np.repeat(small, found.size)]
    )


def sites(species: npt.NDArray[Any], i: Ints, j: Ints, *, of: Any, bonds_each: int) -> npt.NDArray[np.int64]:
    """Return the atoms of a species that have so many bonds: 3- or 4-fold silicon in graphene.

    Parameters
    ----------
    species
        Label of each atom ``(n,)``.
    i, j
        Bonds ``(m,)``, each once.
    of
        The species.
    bonds_each
        Number of bonds. Atoms at the edge of the image may have more than are seen: leave them out.
    """
    labels = np.asarray(species)
    return np.flatnonzero((labels == of) & (coordination(len(labels), i, j) == bonds_each))


def coordination(n: int, i: Ints, j: Ints) -> npt.NDArray[np.int64]:
    """Return the number of neighbours ``(n,)`` of each of `n` atoms, given each bond once."""
    return np.bincount(np.concatenate((i, j)).astype(np.int64), minlength=n)


def to_networkx(atoms: pa.Table, bonds: pa.Table) -> nx.Graph[tuple[int, int, int]]:
    """Return atoms and bonds as a networkx graph.

    Parameters
    ----------
    atoms, bonds
        Arrow tables with the columns of `micdb.populate.facts`. Every other column becomes an attribute.

    Returns
    -------
    networkx.Graph
        Nodes are ``(image, frame, idx)``.
    """
    import networkx as nx

    graph: nx.Graph[tuple[int, int, int]] = nx.Graph()
    for atom in atoms.to_pylist():
        graph.add_node(_node(atom, "idx"), **atom)
    for bond in bonds.to_pylist():
        graph.add_edge(_node(bond, "i"), _node(bond, "j"), **bond)
    return graph


def _node(row: dict[str, Any], column: str) -> tuple[int, int, int]:
    return row["image"], row["frame"], row[column]
