"""Which rows are held out together."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Ints = NDArray[np.int64]

MIN_GROUPS = 5  # below this a fold holds no group or one, and a grouped score is an anecdote


def grouped_folds(groups: Ints, k: int, *, seed: int) -> Ints:
    """Return a fold number per row, 0 to ``k - 1``, that never splits a group.

    Groups are shuffled, then handed out largest first, each to the fold with the fewest rows, so that no
    fold is empty and folds have near-equal sizes.

    Parameters
    ----------
    groups
        Group number of each row, shape ``(n,)``.
    k
        Number of folds, at most the number of groups.
    seed
        Seed of the shuffle.
    """
    names, inverse, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    shuffled = np.random.default_rng(seed).permutation(len(names))
    fold_of = np.empty(len(names), dtype=np.int64)
    rows = np.zeros(k, dtype=np.int64)
    for group in shuffled[np.argsort(-sizes[shuffled], kind="stable")]:
        fold_of[group] = np.argmin(rows)
        rows[fold_of[group]] += sizes[group]
    return fold_of[inverse]


def image_folds(n: int, k: int, *, seed: int) -> Ints:
    """Return a random fold number per row that ignores groups: what leaks, kept only to show the gap."""
    return np.random.default_rng(seed).permutation(np.arange(n, dtype=np.int64) % k)


def independent_groups(labels: pd.DataFrame) -> tuple[Ints, NDArray[np.object_]]:
    """Number the groups: rows that share a label of any column are in one group.

    Returns
    -------
    numbers
        Shape ``(n,)``, from 0 in order of first appearance.
    names
        Shape ``(n,)``: the label, or with several columns the labels of the group's first row.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    n = len(labels)
    codes = [pd.factorize(labels[name])[0] for name in labels.columns]
    offsets = np.cumsum([n, *(code.max(initial=-1) + 1 for code in codes)])
    rows = np.tile(np.arange(n), len(codes))
    nodes = np.concatenate([code + offset for code, offset in zip(codes, offsets, strict=False)])
    edges = coo_matrix((np.ones(len(rows)), (rows, nodes)), shape=(offsets[-1], offsets[-1]))
    component = connected_components(edges, directed=False)[1][:n]
    numbers, _ = pd.factorize(component)
    _, first = np.unique(numbers, return_index=True)
    text = labels.astype(str).agg(" / ".join, axis=1).to_numpy(dtype=object)
    return numbers.astype(np.int64), text[first][numbers]
