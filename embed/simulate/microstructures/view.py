"""What is looked at, and what is there: a field of view, a scene and the objects in it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int32]
Bytes = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class View:
    """A field of view.

    Parameters
    ----------
    shape
        ``(y, x)`` [pixel].
    pixel_size
        [nm].
    """

    shape: tuple[int, int]
    pixel_size: float

    @property
    def extent(self) -> tuple[float, float]:
        """``(y, x)`` [nm]."""
        return self.shape[0] * self.pixel_size, self.shape[1] * self.pixel_size

    @property
    def area(self) -> float:
        """[nm**2]."""
        return self.extent[0] * self.extent[1]

    def grid(self) -> tuple[Floats, Floats]:
        """Return ``y`` as a column and ``x`` as a row [nm], at pixel centres."""
        y = (np.arange(self.shape[0], dtype=np.float64) + 0.5) * self.pixel_size
        x = (np.arange(self.shape[1], dtype=np.float64) + 0.5) * self.pixel_size
        return y[:, None], x[None, :]

    def points(self) -> Floats:
        """Return the pixel centres as ``(y * x, 2)`` x, y [nm]."""
        y, x = np.broadcast_arrays(*self.grid())
        return np.column_stack((x.ravel(), y.ravel()))

    def step(self, distance: Floats) -> Floats:
        """Return the share of a pixel inside, from the signed distance to the edge [nm]."""
        return np.clip(distance / self.pixel_size + 0.5, 0.0, 1.0)

    def count(self, density: float, margin: float = 0.0) -> int:
        """Return how many objects a number density [nm**-2] gives, with a margin around the field [nm]."""
        height, width = self.extent
        return max(1, round(density * (height + 2 * margin) * (width + 2 * margin)))

    def scatter(self, count: int, rng: np.random.Generator, margin: float = 0.0) -> Floats:
        """Return random points ``(count, 2)`` x, y [nm], up to a margin outside the field [nm]."""
        height, width = self.extent
        return rng.uniform([-margin, -margin], [width + margin, height + margin], (count, 2))


@dataclass(frozen=True, slots=True)
class Outline:
    """The whole of an object as far as it lies in the field, also what others hide.

    Parameters
    ----------
    top, left
        First row and column [pixel].
    mask
        ``(h, w)``.
    """

    top: int
    left: int
    mask: Bools


@dataclass(frozen=True, slots=True)
class Objects:
    """Objects of a scene that reach into the field, one row each; later rows lie on earlier ones.

    Parameters
    ----------
    kind
        Which of the scene's classes ``(n,)``.
    xy
        Centres ``(n, 2)`` [nm] from the top-left pixel centre.
    diameter
        Of the circle with the same area ``(n,)`` [nm].
    axes
        Long and short axis ``(n, 2)`` [nm].
    angle
        Of the long axis against x, towards y ``(n,)`` [radian].
    cut
        Whether the field's edge cuts it, or another object it ends at ``(n,)``.
    outlines
        Whole objects; empty where none hides another.
    """

    kind: Bytes
    xy: Floats
    diameter: Floats
    axes: Floats
    angle: Floats
    cut: Bools
    outlines: tuple[Outline, ...] = ()

    def __len__(self) -> int:
        return len(self.diameter)

    def whole(self, index: int, shape: tuple[int, int]) -> Bools:
        """Return the whole mask ``(y, x)`` of one object, hidden parts included."""
        one = self.outlines[index]
        mask = np.zeros(shape, dtype=bool)
        height, width = one.mask.shape
        mask[one.top : one.top + height, one.left : one.left + width] = one.mask
        return mask


def no_objects() -> Objects:
    """Return an empty table."""
    empty = np.zeros(0)
    pairs = np.zeros((0, 2))
    return Objects(empty.astype(np.uint8), pairs, empty, pairs, empty, empty.astype(bool))


@dataclass(frozen=True, slots=True)
class Scene:
    """A microstructure before any detector.

    Parameters
    ----------
    coverage
        Share of the second phase in each pixel ``(y, x)``, 0 to 1: the mask, with smooth edges.
    relief
        Brightness of the matrix ``(y, x)``, about 0: orientation contrast of grains.
    pixel_size
        [nm].
    label
        Class at each pixel centre ``(y, x)``, as an index into `classes`.
    classes
        Their names.
    instance
        Object seen at each pixel centre ``(y, x)``: its row in `objects` plus 1, or 0.
    objects
        Their true sizes.
    truth
        What was drawn: sizes [nm], fractions.
    tone
        Brightness of the second phase ``(y, x)``, about 0; None: even.
    height
        Of the surface ``(y, x)`` [nm]; None: flat.
    thickness
        Of matter on the support along the beam ``(y, x)`` [nm]; None: not one to look through.
    """

    coverage: Floats
    relief: Floats
    pixel_size: float
    label: Bytes
    classes: tuple[str, ...]
    instance: Ints
    objects: Objects = field(default_factory=no_objects)
    truth: dict[str, float] = field(default_factory=dict)
    tone: Floats | None = None
    height: Floats | None = None
    thickness: Floats | None = None

    def fractions(self) -> dict[str, float]:
        """Return the area fraction of each class."""
        share = np.bincount(self.label.ravel(), minlength=len(self.classes)) / self.label.size
        return dict(zip(self.classes, share.tolist(), strict=True))


def labelled(*masks: Bools | Floats) -> Bytes:
    """Return the label of each pixel: the number of the last mask ``(y, x)`` true there, from 1, or 0."""
    label = np.zeros(masks[0].shape, dtype=np.uint8)
    for number, mask in enumerate(masks, start=1):
        label[np.asarray(mask, dtype=bool)] = number
    return label


def regions(index: npt.NDArray[np.int64], view: View, kind: Bytes) -> tuple[Ints, Objects]:
    """Return instances and objects of regions that tile the field.

    Parameters
    ----------
    index
        Region of each pixel ``(y, x)``; negative is none.
    view
        Field of view.
    kind
        Class of each region, by its number.

    Returns
    -------
    instance
        ``(y, x)``, regions numbered anew from 1.
    objects
        Areas, centres and axes (of the ellipse with the same second moments) from the pixels.
    """
    inside = index >= 0
    seen, flat = np.unique(index[inside], return_inverse=True)
    instance = np.zeros(index.shape, dtype=np.int32)
    instance[inside] = flat + 1
    y, x = np.nonzero(inside)
    area = np.bincount(flat, minlength=len(seen)).astype(np.float64)
    mean = np.stack([np.bincount(flat, place, len(seen)) / area for place in (x, y)], axis=1)
    dx, dy = x - mean[flat, 0], y - mean[flat, 1]
    xx, yy, xy = (np.bincount(flat, one, len(seen)) / area for one in (dx * dx, dy * dy, dx * dy))
    middle, split = (xx + yy) / 2 + 1 / 12, np.hypot((xx - yy) / 2, xy)  # 1 / 12: of a pixel itself
    axes = 4 * np.sqrt(np.maximum(np.stack([middle + split, middle - split], axis=1), 0.0))
    edge = np.unique(np.concatenate((index[0], index[-1], index[:, 0], index[:, -1])))
    p = view.pixel_size
    return instance, Objects(
        kind[seen], mean * p, np.sqrt(4 / np.pi * area) * p, axes * p,
        np.arctan2(2 * xy, xx - yy) / 2, np.isin(seen, edge),
    )  # fmt: skip
