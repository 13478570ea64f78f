"""Clusters of defects nobody has named: density-based, so that their number need not be known.

R. J. G. B. Campello, D. Moulavi and J. Sander, PAKDD 2013, 160 (HDBSCAN).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from micdb.errors import UsageError

FEWEST = 5  # members of a cluster


def discover(descriptors: npt.NDArray[np.floating], *, fewest: int = FEWEST) -> npt.NDArray[np.int64]:
    """Return the cluster of each descriptor.

    Parameters
    ----------
    descriptors
        ``(n, d)``, of one network.
    fewest
        Members that a cluster needs at least.

    Returns
    -------
    numpy.ndarray
        ``(n,)`` int64: 0 for the largest cluster, 1 for the next, -1 for what is in none.

    Raises
    ------
    UsageError
        A cluster could have a single member, or a number is not finite.
    """
    points = np.asarray(descriptors, dtype=np.float64)
    if fewest < 2:
        raise UsageError(f"fewest is {fewest}; a cluster has two members or more")
    if points.ndim != 2 or not np.isfinite(points).all():
        raise UsageError(f"descriptors have the shape {points.shape}; expected finite rows of one length")
    if len(points) < 2 * fewest:
        return np.full(len(points), -1, dtype=np.int64)
    from sklearn.cluster import HDBSCAN

    found = HDBSCAN(min_cluster_size=fewest, min_samples=max(2, fewest // 2), copy=True).fit_predict(points)
    names, counts = np.unique(found[found >= 0], return_counts=True)
    rank = {int(name): place for place, name in enumerate(names[np.argsort(-counts, kind="stable")])}
    return np.array([rank.get(int(one), -1) for one in found], dtype=np.int64)
