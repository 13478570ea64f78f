"""Neighbour graphs of atom columns as arrays; a networkx graph is a view made on request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

if TYPE_CHECKING:
    import networkx as nx
    import pyarrow as pa

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.integer]


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
