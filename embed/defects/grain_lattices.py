"""The lattices of the grains of an image: directions of bonds propose grains, Bragg spots confirm them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from micdb.embed.defects.cell import Cell, folded
from micdb.embed.defects.local_lattice import LocalLattice, local_lattice
from micdb.embed.defects.orientation import NO_GRAIN, grains
from micdb.embed.lattice.positions import fit_positions
from micdb.embed.lattice.reciprocal import image_lattice
from micdb.errors import UsageError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_TURN = 3.0  # [deg] directions of Bragg spots that differ by less are one grain's
_WINDOW = 1.2  # [neighbour distance] of the Gaussians that make up the window of a grain
_POLAR = 3  # symmetry of the order that tells mirror twins apart, which have the same spots


def grain_lattices(
    image: Floats, xy: Floats, brightness: Floats, strong: Ints, near: float
) -> list[LocalLattice]:
    """Return the lattice of each grain, the largest first; a column is in one of them at most.

    Parameters
    ----------
    image
        ``(y, x)``.
    xy, brightness
        Of all columns ``(n, 2)`` [pixel], ``(n,)``.
    strong
        Indices of those that a lattice is looked for among.
    near
        Distance of neighbours [pixel].
    """
    label, fold = grains(xy[strong], brightness[strong], near)
    grain = np.full(len(xy), NO_GRAIN)
    grain[strong] = label
    bases = _bases(image, xy, grain, near, alike=fold != _POLAR)
    if len(bases) < 2:  # one lattice, which noise may hide from the bonds
        alone = int(label.max()) == 0  # its basis is that of the whole image already
        grain[strong] = 0
        bases = bases if alone else _bases(image, xy, grain, near, alike=True)
    size = (image.shape[1] - 1.0, image.shape[0] - 1.0)
    found: list[LocalLattice] = []
    taken = np.zeros(len(xy), dtype=bool)
    for number, vectors in bases.items():
        mine = np.flatnonzero(grain == number)
        cell = _cell(xy[mine], vectors, near)
        if cell is None:
            continue
        open_ = strong[~taken[strong] & ((grain[strong] == number) | (grain[strong] == NO_GRAIN))]
        start = mine[np.argmin(np.square(xy[mine] - np.median(xy[mine], axis=0)).sum(axis=1))]
        lattice = local_lattice(xy, open_, cell, size, start=xy[start])
        taken[lattice.column[lattice.column >= 0]] = True
        found.append(lattice)
    return found


def _bases(image: Floats, xy: Floats, grain: Ints, near: float, *, alike: bool) -> dict[int, Floats | None]:
    """Return the vectors of each grain; grains that have those of a larger one are joined to it in place."""
    found: dict[int, Floats | None] = {}
    count = int(grain.max()) + 1
    for number in range(count):
        window = None if count == 1 else _window(xy[grain == number], image.shape, near)
        lattice = image_lattice(image, window)
        clear = lattice is not None and lattice.probability >= 0.5
        vectors = lattice.basis.vectors if lattice is not None and clear else None
        same = [
            one for one, other in found.items() if other is not None and vectors is not None
            and _angle(other, vectors) < _TURN
        ]  # fmt: skip
        if alike and same:
            grain[grain == number] = same[0]
        else:
            found[number] = vectors
    return found


def _window(xy: Floats, shape: tuple[int, ...], near: float) -> Floats:
    """Return a smooth window over the columns of a grain ``(y, x)``."""
    drawn = np.zeros(shape)
    x, y = (np.clip(np.rint(xy[:, k]).astype(int), 0, shape[1 - k] - 1) for k in (0, 1))
    drawn[y, x] = 1.0
    smooth = ndimage.gaussian_filter(drawn, _WINDOW * near, mode="constant")
    return np.asarray(np.minimum(smooth / np.median(smooth[y, x]), 1.0))


def _angle(one: Floats, other: Floats) -> float:
    """Return the least turn [deg] that makes a vector of one basis parallel to one of the other's."""

    def directions(vectors: Floats) -> Floats:
        a, b = vectors
        return np.asarray(np.degrees(np.arctan2(*np.array([a, b, a + b, a - b]).T[::-1])), dtype=np.float64)

    turn = (directions(one)[:2, None] - directions(other)[None, :]) % 180.0
    return float(np.minimum(turn, 180.0 - turn).min(axis=1).max())


def _cell(xy: Floats, vectors: Floats | None, near: float) -> Cell | None:
    """Return the cell of a grain by the spots of the image, or else by those of its columns."""
    cell = None if vectors is None else folded(xy, vectors, near)
    if cell is None:
        try:
            cell = folded(xy, fit_positions(xy).basis.vectors, near)
        except UsageError:
            return None
    return cell
