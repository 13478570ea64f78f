"""How bright each site is, against sites like it: the classes of a lattice and the ratios to their typical.

A lattice of positions may be finer than that of the crystal: in [001] perovskite A, B and oxygen columns
stand on one square lattice. The coarser lattice, of index up to four, under which sites of a class are alike
is looked for.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from micdb.embed.defects.cell import LARGER

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_LIKE = 1.5  # of the least spread: a smaller cell is preferred to one that is better by less
_LEAST_SPREAD = 0.03  # relative, of like columns: static displacements, the probe
_LOCAL = 24  # sites of a class whose median says what is typical at a place
_FEW = 6  # sites of a class


def classes(cell: Ints, site: Ints, value: Floats) -> Ints:
    """Return the class of each site ``(n,)``: which of like sites it is.

    Parameters
    ----------
    cell
        ``(n, 2)``.
    site
        Site of the cell ``(n,)``.
    value
        Brightness ``(n,)``; NaN where nothing was measured.
    """
    found = []
    for matrix in LARGER:
        label = _label(cell, site, matrix)
        found.append((_spread(label, value), label))
    least = min(spread for spread, _ in found)
    return next(label for spread, label in found if spread <= _LIKE * max(least, _LEAST_SPREAD))


def _label(cell: Ints, site: Ints, matrix: Ints) -> Ints:
    """Return the number of each site's place in the larger cell."""
    a, b, d = int(matrix[0, 0]), int(matrix[0, 1]), int(matrix[1, 1])
    turns = cell[:, 0] // a
    first, second = cell[:, 0] - turns * a, (cell[:, 1] - turns * b) % d
    return np.asarray(np.unique((site * a + first) * d + second, return_inverse=True)[1], dtype=np.int64)


def _spread(label: Ints, value: Floats) -> float:
    """Return the mean over the sites of the median deviation in their class, over the mean brightness."""
    seen = np.isfinite(value)
    label, value = label[seen], value[seen]
    total = 0.0
    for one in np.unique(label):
        mine = value[label == one]
        if len(mine) < _FEW:
            return np.inf
        total += 1.48 * float(np.median(np.abs(mine - np.median(mine)))) * len(mine)
    return total / max(float(value.sum()), 1e-300)


def ratios(
    place: Floats, label: Ints, value: Floats, occupied: npt.NDArray[np.bool_]
) -> tuple[Floats, Floats]:
    """Return each site's brightness over the typical of its class nearby, and the spread of that ``(n,)``.

    Parameters
    ----------
    place
        ``(n, 2)``.
    label
        Class ``(n,)``.
    value
        Brightness ``(n,)``; NaN where nothing was measured, and so is the ratio.
    occupied
        Whether there is a column: what is typical is taken from those.
    """
    ratio, spread = np.full(len(value), np.nan), np.full(len(value), np.inf)
    for one in np.unique(label):
        mine = np.flatnonzero((label == one) & np.isfinite(value))
        known = mine[occupied[mine]]
        if len(known) < _FEW:
            continue
        near = cKDTree(place[known]).query(place[mine], k=min(_LOCAL, len(known)))[1]
        ratio[mine] = value[mine] / np.maximum(np.median(value[known][near], axis=1), 1e-300)
        spread[mine] = max(1.48 * float(np.median(np.abs(ratio[known] - 1))), _LEAST_SPREAD)
    return ratio, spread
