"""Frames side by side in one plane, and a fine map of which atom is nearest to each place of it.

One look into the map answers "which atom is here?", whichever frame it is in; frames stand so far apart
that a motif laid anywhere in one never reaches another.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from micdb.query.motif.atoms import NONE, Atoms

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.integer]

CELLS = 5.0  # cells of the map to a spacing
REACH = 0.9  # spacings: farther from any atom the map says that there is none
BLUR = math.sqrt(2)  # cells: by how much the map may err in distance
_STEP = 1.1  # spacings are rounded down to a power of this, so that plans for them can be kept
_MOST = 1 << 24  # cells; a map of more, and of more than `_PER_ATOM` for each atom, is made coarser
_PER_ATOM = 64


@dataclass(frozen=True, slots=True)
class Plane:
    """Some frames of `Atoms` and the map of their nearest atoms. Lengths are in cells of the map.

    Parameters
    ----------
    first
        Number of the first atom; atoms count from it.
    x, y
        Positions ``(n,)``.
    cell
        Width of a cell [nm].
    width
        Cells in a row.
    map
        Number of the nearest atom, row by row; `NONE` where there is none within reach.
    unit
        Spacing that cells and reach are made for [nm].
    """

    first: int
    x: Floats
    y: Floats
    cell: float
    width: int
    map: npt.NDArray[np.int32]
    unit: float

    @property
    def blur(self) -> float:
        """By how much the map may err in distance [nm]."""
        return BLUR * self.cell

    @property
    def reach(self) -> float:
        """How far the map sees [nm]."""
        return REACH * self.unit

    def at(self, x: Floats, y: Floats) -> npt.NDArray[np.int32]:
        """Return the atom nearest to places, in their shape."""
        cell = y.astype(np.int32)
        cell *= self.width
        cell += x.astype(np.int32)
        return self.map.take(cell, mode="clip")

    def squared(self, atoms: Ints, x: Floats, y: Floats) -> Floats:
        """Return the squared distance of atoms from places; where there is no atom it means nothing."""
        far = self.x.take(atoms, mode="clip")
        far -= x
        far *= far
        down = self.y.take(atoms, mode="clip")
        down -= y
        down *= down
        far += down
        return far


def lay_out(atoms: Atoms, frames: tuple[int, int], *, shortest: float, wide: float) -> Plane:
    """Return a plane with some frames.

    Parameters
    ----------
    atoms
        Where from.
    frames
        First frame, and the one after the last.
    shortest
        Smallest distance within the motif [nm].
    wide
        Width of the motif [nm].
    """
    first, last = frames
    start = atoms["start"][first : last + 1]
    number = np.repeat(np.arange(last - first), np.diff(start))
    unit = rounded(min(shortest, max(float(atoms["spacing"][first:last].min()), shortest / 4)))
    low, size = atoms["low"][first:last].astype(np.float64), atoms["size"][first:last].astype(np.float64)
    border = wide + unit
    heights = size[:, 1] + border
    extent = (float(size[:, 0].max()) + 2 * border, float(heights.sum()) + border)
    most = max(_MOST, _PER_ATOM * len(number))
    cell = max(unit / CELLS, math.sqrt(extent[0] * extent[1] / most))
    offset = np.column_stack((np.full(len(low), border), np.cumsum(heights) - heights + border)) - low
    x, y = (
        ((atoms[axis][start[0] : start[-1]] + offset[number, i]) / cell).astype(np.float32)
        for i, axis in enumerate("xy")
    )
    width, height = (math.ceil(side / cell) + 1 for side in extent)
    painted = _paint(x, y, width, height, reach=REACH * unit / cell)
    return Plane(int(start[0]), x, y, cell, width, painted, unit)


def rounded(spacing: float) -> float:
    """Return a spacing rounded down to one of few values [nm]."""
    return float(_STEP ** math.floor(math.log(spacing) / math.log(_STEP) + 1e-9))


def _paint(x: Floats, y: Floats, width: int, height: int, *, reach: float) -> npt.NDArray[np.int32]:
    """Return the map; the nearest atoms are painted last, over those farther away."""
    painted = np.full(width * height, NONE, np.int32)
    home = y.astype(np.intp) * width + x.astype(np.intp)
    side = math.floor(reach)
    steps = np.arange(-side, side + 1)
    down, across = (grid.ravel() for grid in np.meshgrid(steps, steps, indexing="ij"))
    far = np.hypot(down, across)
    order = np.argsort(-far, kind="stable")
    numbers = np.arange(len(home), dtype=np.int32)
    for step in order[far[order] <= reach]:
        painted[home + int(down[step]) * width + int(across[step])] = numbers
    return painted
