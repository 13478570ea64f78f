"""Objects drawn one over the other into coverage, instances and outlines."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from micdb.embed.simulate.microstructures.shapes import Shape
from micdb.embed.simulate.microstructures.view import Ints, Objects, Outline, View

Floats = npt.NDArray[np.float64]


class Canvas:
    """Collects the objects of a scene, from the bottom up.

    Parameters
    ----------
    view
        Field of view.
    """

    def __init__(self, view: View) -> None:
        self.view = view
        self.coverage: Floats = np.zeros(view.shape)
        self.instance: Ints = np.zeros(view.shape, dtype=np.int32)
        self._rows: list[tuple[int, float, float, float, float, float, float, bool]] = []
        self._outlines: list[Outline] = []

    def add(
        self, shape: Shape, centre: Floats, *, kind: int = 1, within: Floats | None = None
    ) -> Outline | None:
        """Draw a shape on top of the others; return what it covers, None when that is no pixel's centre.

        Parameters
        ----------
        shape
            What.
        centre
            Where ``(2,)`` x, y [nm] from the field's corner.
        kind
            Its class.
        within
            Signed distance of each pixel of its `box` to the edge of a region that clips it [nm].
        """
        box = self.box(shape, centre)
        patch = self.coverage[box]
        if patch.size == 0:
            return None
        distance = shape.distance(*self.offsets(box, centre))
        clipped = False
        if within is not None:
            clipped = bool(((distance > 0) & (within < 0)).any())
            distance = np.minimum(distance, within)
        np.maximum(patch, self.view.step(distance), out=patch)
        mask = distance > 0
        if not mask.any():
            return None
        self.instance[box][mask] = len(self._rows) + 1
        outline = Outline(box[0].start, box[1].start, mask)
        self._keep(shape, centre, kind, clipped, outline)
        return outline

    def box(self, shape: Shape, centre: Floats) -> tuple[slice, slice]:
        """Return the rows and columns a shape may cover, clipped to the field."""
        p = self.view.pixel_size
        spans = [
            [max(0, int((middle + sign * (reach + 2 * p)) / p) + (sign > 0)) for sign in (-1, 1)]
            for middle, reach in zip((centre[1], centre[0]), shape.reach, strict=True)
        ]
        return slice(*spans[0]), slice(*spans[1])

    def offsets(self, box: tuple[slice, slice], centre: Floats) -> tuple[Floats, Floats]:
        """Return y (column) and x (row) of a box's pixel centres about a point [nm]."""
        p = self.view.pixel_size
        rows, columns = (np.arange(one.stop)[one] for one in (box[0], box[1]))
        rows, columns = rows[rows < self.view.shape[0]], columns[columns < self.view.shape[1]]
        return (rows + 0.5)[:, None] * p - centre[1], (columns + 0.5)[None, :] * p - centre[0]

    def objects(self) -> Objects:
        """Return what was drawn."""
        table = np.array(self._rows, dtype=np.float64).reshape(-1, 8)
        return Objects(
            table[:, 0].astype(np.uint8), table[:, 1:3], table[:, 3], table[:, 4:6], table[:, 6],
            table[:, 7].astype(bool), tuple(self._outlines),
        )  # fmt: skip

    def _keep(self, shape: Shape, centre: Floats, kind: int, clipped: bool, outline: Outline) -> None:
        p, (height, width) = self.view.pixel_size, self.view.shape
        y, x = np.nonzero(outline.mask.any(axis=1))[0], np.nonzero(outline.mask.any(axis=0))[0]
        beyond = (
            outline.top + y[0] == 0 or outline.top + y[-1] == height - 1
            or outline.left + x[0] == 0 or outline.left + x[-1] == width - 1
        )  # fmt: skip
        self._outlines.append(outline)
        diameter = math.sqrt(4 / math.pi * shape.area)
        place = (float(centre[0]) - p / 2, float(centre[1]) - p / 2)
        self._rows.append((kind, *place, diameter, *shape.axes, shape.angle, bool(beyond or clipped)))
