"""Cuboidal precipitates in rows along cube axes: gamma prime in single-crystal superalloys."""

from __future__ import annotations

import math

import numpy as np
from scipy.spatial import cKDTree

from micdb.embed.simulate.microstructures.view import Scene, View, labelled, regions
from micdb.embed.simulate.microstructures.waves import waves

_ROUNDNESS = 5.0  # order of the norm: 2 is round, infinity a sharp cube


def cuboids(view: View, *, spacing: float, seed: int, fraction: float = 0.6, disorder: float = 0.18) -> Scene:
    """Draw cuboids parted by narrow channels.

    Elastic energy makes precipitates cubes and lines them up (Ardell, Nicholson and Eshelby, Acta Metall. 14,
    1295, 1966). Each is the part of the plane nearest to its centre, in a norm whose circles are rounded
    squares, less the channels.

    Parameters
    ----------
    view
        Field of view.
    spacing
        Mean distance of centres in a row [nm].
    seed
        Of everything.
    fraction
        Share of the precipitates, 0 to 1.
    disorder
        Standard deviation of the centres about a square lattice, in units of `spacing`.
    """
    rng = np.random.default_rng(seed)
    turn = float(rng.uniform(0, math.pi / 2))
    axes = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    middle = np.array([view.extent[1], view.extent[0]]) / 2
    reach = math.ceil(math.hypot(*view.extent) / 2 / spacing) + 2
    lattice = np.stack(np.meshgrid(*2 * (np.arange(-reach, reach + 1.0),)), axis=-1).reshape(-1, 2)
    lattice = lattice + rng.uniform(0, 1, 2) + rng.normal(0.0, disorder, lattice.shape)
    lattice = lattice[rng.random(len(lattice)) < 0.93]  # neighbours grow into places left empty
    points = (view.points() - middle) @ axes.T
    near, index = cKDTree(lattice * spacing).query(points, k=2, p=_ROUNDNESS)
    depth = ((near[:, 1] - near[:, 0]) / 2).reshape(view.shape)  # [nm] from the middle of the channel
    channel = float(np.quantile(depth, 1 - fraction))
    cell = np.where(depth > channel, index[:, 0].reshape(view.shape), -1)
    instance, objects = regions(cell, view, np.ones(len(lattice), dtype=np.uint8))
    relief = 0.05 * waves(view, length=6 * spacing, rng=rng)
    truth = {"spacing_nm": spacing, "channel_nm": 2 * channel, "fraction": fraction}
    return Scene(
        view.step(depth - channel), relief, view.pixel_size, labelled(cell >= 0), ("gamma", "gamma prime"),
        instance, objects, truth,
    )  # fmt: skip
