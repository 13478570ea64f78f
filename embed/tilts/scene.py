"""Whole images from cells of the bank: a crystal laid across a scan, with its distortions and its noise."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from micdb.embed.simulate.distortion import Distortion
from micdb.embed.simulate.stem import detect
from micdb.embed.tilts.cells import blurred

Floats = npt.NDArray[np.float64]


def scene(
    cell: Floats,
    constant: float,
    shape: tuple[int, int],
    *,
    pixel_size: float,
    seed: int,
    counts: float,
    rotation: float = 0.0,
    source: float = 0.033,
    drift: tuple[float, float] = (0.0, 0.0),
    flyback: tuple[float, float] = (0.0, 1.0),
    line_jitter: float = 0.0,
    readout: float = 0.3,
) -> npt.NDArray[np.float32]:
    """Image a crystal that is one cell of a bank, repeated.

    Parameters
    ----------
    cell
        Share of the electrons on the detector ``(y, x)``, as the bank has it.
    constant
        Pseudo-cubic lattice constant [nm].
    shape, pixel_size
        ``(y, x)`` of the image, and [nm].
    seed
        Of place, noise and jitter.
    counts
        Mean counts in a pixel.
    rotation
        Of [1-10] against x [deg].
    source
        Standard deviation of the source's image [nm].
    drift, flyback, line_jitter, readout
        As in `micdb.embed.simulate.stem.adf_image`; distortions are undone to first order.
    """
    rng = np.random.default_rng(seed)
    seen = blurred(
        cell[None].astype(float), np.array([constant]),
        source=np.array([source]), smear=np.zeros(1), way=np.zeros(1), shift=rng.random((1, 2)),
    )[0]  # fmt: skip
    y, x = (axis.ravel() * pixel_size for axis in np.indices(shape, dtype=float))
    xy = np.column_stack((x, y))
    there = xy - (Distortion(drift, flyback, shape[0] * pixel_size).seen(xy) - xy)
    there[:, 0] -= np.repeat(
        rng.normal(0.0, line_jitter, shape[0]) if line_jitter else np.zeros(shape[0]), shape[1]
    )
    turn = math.radians(rotation)
    along = there @ np.array([math.cos(turn), math.sin(turn)]) / (math.sqrt(2) * constant)
    across = there @ np.array([-math.sin(turn), math.cos(turn)]) / (2 * constant)
    place = np.stack((across * seen.shape[0], along * seen.shape[1]))
    level = ndimage.map_coordinates(seen, place, order=3, mode="grid-wrap").reshape(shape)
    return detect(counts * np.maximum(level, 0.0) / seen.mean(), readout=readout, rng=rng)
