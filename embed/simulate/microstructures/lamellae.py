"""Pearlite: colonies of parallel lamellae."""

from __future__ import annotations

import math

import numpy as np

from micdb.embed.simulate.microstructures.cells import voronoi
from micdb.embed.simulate.microstructures.view import Scene, View, labelled, regions
from micdb.embed.simulate.microstructures.waves import waves


def pearlite(
    view: View,
    *,
    spacing: float,
    seed: int,
    fraction: float = 0.3,
    colony: float = 12.0,
    broken: float = 0.0,
) -> Scene:
    """Draw colonies of lamellae.

    Every colony has its direction; its apparent spacing differs by 8 %. Objects are the colonies.

    Parameters
    ----------
    view
        Field of view.
    spacing
        Distance from lamella to lamella [nm].
    seed
        Of colonies, directions and bending.
    fraction
        Share of carbide.
    colony
        Size of a colony in units of `spacing`.
    broken
        Share of the lamellae's length that is missing, as when they spheroidise (Chattopadhyay and Sellars,
        Acta Metall. 30, 157, 1982).
    """
    rng = np.random.default_rng(seed)
    cells = voronoi(view, size=colony * spacing, rng=rng)
    cell, n = cells.index, cells.count
    angle, phase = rng.uniform(0, math.pi, n), rng.uniform(0, 1, n)
    local = spacing * np.exp(rng.normal(0.0, 0.08, n))
    bend = waves(view, length=4 * spacing, rng=rng) * 0.25 * spacing
    y, x = view.grid()
    across = x * np.cos(angle)[cell] + y * np.sin(angle)[cell] + bend
    turn = (across / local[cell] + phase[cell]) % 1.0
    distance = (fraction / 2 - np.abs(turn - 0.5)) * local[cell]  # [nm] positive inside a lamella
    relief = 0.12 * rng.normal(size=n)[cell]
    if broken:
        whole = waves(view, length=2.5 * spacing, rng=rng)
        gap = (
            (whole - float(np.quantile(whole, broken))) * spacing / 2.5
        )  # about the distance to a gap's edge
        distance = np.minimum(distance, gap)
    instance, objects = regions(cell, view, np.ones(n, dtype=np.uint8))
    label = labelled(distance > 0)
    truth = {
        "spacing_nm": spacing, "mean_spacing_nm": 1 / float((1 / local[cell]).mean()),
        "colonies": float(len(objects)), "fraction": float((label == 1).mean()),
    }  # fmt: skip
    return Scene(
        view.step(distance), relief, view.pixel_size, label, ("ferrite", "cementite"), instance, objects,
        truth,
    )  # fmt: skip
