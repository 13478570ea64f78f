"""Which rows are held out together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


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
