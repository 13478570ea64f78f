"""Polycrystals: grains told apart by channelling contrast, with annealing twins and etched boundaries."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from micdb.embed.simulate.microstructures.cells import laguerre
from micdb.embed.simulate.microstructures.view import Scene, View, labelled, regions

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_NEAR = 0.05  # [grain] band about the boundaries whose area gives their length
_GROOVE = -1.4  # brightness of a groove about that of a second phase: darker than the matrix
_TWIN_WIDTH = (0.05, 0.3)  # [grain]


def polycrystal(
    view: View,
    *,
    grain: float,
    seed: int,
    spread: float = 0.35,
    twins: float = 0.3,
    groove: float = 0.03,
    contrast: float = 0.5,
) -> Scene:
    """Draw grains and twins.

    Sizes are log-normal: see `micdb.embed.simulate.microstructures.cells.laguerre`. Annealing twins of
    face-centred cubic metals are bands with straight, parallel sides across a grain (Fullman and Fisher,
    J. Appl. Phys. 22, 1350, 1951).

    Parameters
    ----------
    view
        Field of view.
    grain
        Root of the mean area of a grain [nm].
    seed
        Of grains, orientations and twins.
    spread
        Standard deviation of the logarithm of the diameters, up to 0.5.
    twins
        Share of grains with a twin, 0 to 1.
    groove
        Width of an etched boundary in units of `grain`; 0: polished flat.
    contrast
        Of brightness from grain to grain: the channelling contrast is bounded, so it is drawn evenly.
    """
    rng = np.random.default_rng(seed)
    cells = laguerre(view, size=grain, spread=spread, rng=rng)
    twin = _twins(view, cells.index, cells.seeds[:, :2], share=twins, grain=grain, rng=rng)
    bright = contrast * rng.uniform(-0.5, 0.5, (2, cells.count))
    relief = np.where(twin, bright[1][cells.index], bright[0][cells.index])
    edge = groove * grain / 2 - cells.boundary
    instance, objects = regions(cells.index, view, np.zeros(cells.count, dtype=np.uint8))
    near = cells.boundary < _NEAR * grain
    truth = {
        "grain_nm": grain, "grains": float(len(objects)), "twin_fraction": float(twin.mean()),
        "boundary_per_nm": float(near.mean()) / (2 * _NEAR * grain),  # line length over area
    }  # fmt: skip
    return Scene(
        view.step(edge), relief, view.pixel_size, labelled(twin, edge > 0), ("grain", "twin", "boundary"),
        instance, objects, truth, tone=np.full(view.shape, _GROOVE),
    )  # fmt: skip


def _twins(
    view: View, cell: Ints, centres: Floats, *, share: float, grain: float, rng: np.random.Generator
) -> npt.NDArray[np.bool_]:
    """Return where twins are ``(y, x)``: up to two parallel bands in a share of the grains."""
    count = len(centres)
    angle = rng.uniform(0, math.pi, count)
    place = grain * rng.uniform(-0.35, 0.35, (2, count))
    width = grain * rng.uniform(*_TWIN_WIDTH, (2, count))
    width[:, rng.random(count) >= share] = 0.0
    width[1, rng.random(count) < 0.5] = 0.0
    y, x = view.grid()
    across = (x - centres[cell, 0]) * np.cos(angle)[cell] + (y - centres[cell, 1]) * np.sin(angle)[cell]
    bands = [np.abs(across - place[n][cell]) < width[n][cell] / 2 for n in (0, 1)]
    return np.asarray(bands[0] | bands[1])
