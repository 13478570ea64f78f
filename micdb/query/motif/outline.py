"""The outline of a motif, and the places inside it where no further atom may lie.

Without them a vacancy would be found in every perfect crystal: its atoms are all there, and one more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial import ConvexHull

Complex = npt.NDArray[np.complex128]
Floats = npt.NDArray[np.float64]

# Of the shortest distance: what lies nearer to the rim is outside. Atoms of a lattice lie 0, 0.5 or 0.87
# deep below an edge between others, and must not lie now inside and now outside.
MARGIN = 0.3
CROWDED = 0.75  # of the spacing: atoms nearer to one another are looked at one by one
SLACK = 0.15  # of the spacing: atoms that are more off are looked at one by one
_GRID = 0.07  # of the spacing: step at which the inside is sampled
_SAMPLES = 3000  # points at most, about


@dataclass(frozen=True, slots=True)
class Outline:
    """The convex hull of a motif.

    Parameters
    ----------
    points
        Of the motif ``(n,)`` [nm].
    facets
        Outward normals and offsets, ``(m, 3)``: a point is ``-(facets @ (x, y, 1))`` deep.
    margin
        Depth from which on a point is inside [nm].
    """

    points: Complex
    facets: Floats
    margin: float

    @classmethod
    def of(cls, points: Complex, shortest: float) -> Outline:
        """Return the outline of points ``(n,)`` whose smallest distance is `shortest` [nm]."""
        hull = ConvexHull(np.column_stack((points.real, points.imag)))
        return cls(points, hull.equations, MARGIN * shortest)

    def depth(self, where: Complex) -> Floats:
        """Return how deep points lie inside, negative outside, in the shape of `where` [nm]."""
        x, y = where.real[..., None], where.imag[..., None]
        deep = -(x * self.facets[:, 0] + y * self.facets[:, 1] + self.facets[:, 2])
        return np.asarray(deep.min(axis=-1))

    def room(self, where: Complex) -> Floats:
        """Return the distance of points from the nearest atom of the motif [nm]."""
        return np.asarray(np.abs(where[..., None] - self.points).min(axis=-1))

    def inside(self, spacing: float) -> Complex:
        """Return sample points of the places where a further atom can lie, ``(k,)``.

        They are inside the outline, and not so near to an atom that `CROWDED` tells.

        Parameters
        ----------
        spacing
            Usual distance of nearest atoms, at most the motif's smallest [nm].
        """
        area = np.ptp(self.points.real) * np.ptp(self.points.imag)
        step = max(_GRID * spacing, float(np.sqrt(area / _SAMPLES)))
        x = np.arange(self.points.real.min(), self.points.real.max() + step, step)
        y = np.arange(self.points.imag.min(), self.points.imag.max() + step, step)
        grid = (x[:, None] + 1j * y[None, :]).ravel()
        free = self.room(grid) > (CROWDED - SLACK) * spacing - step
        return np.asarray(grid[free & (self.depth(grid) > self.margin - step)])

    def void(self, spacing: float) -> complex | None:
        """Return the middle of the largest hole, or None where there is no place for a further atom."""
        grid = self.inside(spacing)
        if not len(grid):
            return None
        size = np.minimum(self.depth(grid) - self.margin, self.room(grid) - self.margin)
        return complex(grid[int(size.argmax())])

    def probes(self, spacing: float, *, reach: float, blur: float) -> tuple[Complex, Floats]:
        """Return points from which all places for a further atom are seen, and how far each has to look.

        Parameters
        ----------
        spacing
            As for `inside` [nm].
        reach
            How far the map of nearest atoms sees [nm].
        blur
            By how much that map errs in distance [nm].

        Returns
        -------
        points, radii
            ``(k,)`` each [nm]; when no atom is nearer to a point than its radius plus `blur`, there is none
            in the places it covers. Greedy, so nearly as few as possible.
        """
        open_ones = candidates = self.inside(spacing)
        sees = np.minimum(reach - blur, self.room(candidates) - blur - SLACK * spacing)
        sees = np.maximum(sees, 0.1 * spacing)  # too near to atoms: seen badly, and then looked at closely
        points, radii = [], []
        far = np.abs(candidates[:, None] - open_ones[None, :])
        while far.shape[1]:
            best = int((far <= sees[:, None]).sum(axis=1).argmax())
            covered = far[best] <= sees[best]
            points.append(candidates[best])
            radii.append(float(far[best][covered].max()))
            far = far[:, ~covered]
        return np.array(points, np.complex128), np.array(radii, np.float64)
