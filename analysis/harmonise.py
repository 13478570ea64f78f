"""What makes vectors of different labs alike: the mean and the spread of each lab are made those of all.

The location and scale of ComBat (Johnson, Li & Rabinovic, Biostatistics 8, 118, 2007), without its shrinkage.
It takes away whatever all images of a lab have in common, a true difference of its materials too: it is done
where it is asked for, and what was done is kept with the result.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

FEWEST = 8  # images that tell a label's mean and spread


def harmonised(
    vectors: Floats, labels: NDArray[np.object_], like: tuple[Floats, Floats] | None = None
) -> Floats:
    """Return vectors of which each label has the same mean and spread; NaN for labels of too few.

    Parameters
    ----------
    vectors
        ``(n, d)``, rows with NaN are left out.
    labels
        Label of each ``(n,)``.
    like
        Mean and standard deviation ``(d,)`` to give them; None for those of all rows.
    """
    middle, spread = levels(vectors) if like is None else like
    made = np.full(vectors.shape, np.nan)
    for label in np.unique(labels.astype(str)):
        rows = (labels.astype(str) == label) & np.isfinite(vectors).all(axis=1)
        if rows.sum() >= FEWEST:
            own, width = levels(vectors[rows])
            made[rows] = middle + (vectors[rows] - own) / np.where(width > 0, width, 1.0) * spread
    return made


def levels(vectors: Floats) -> tuple[Floats, Floats]:
    """Return mean and standard deviation of the known rows, ``(d,)`` each."""
    known = vectors[np.isfinite(vectors).all(axis=1)]
    return known.mean(axis=0), known.std(axis=0)
