"""Several microconstituents in one image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from micdb.embed.simulate.microstructures.canvas import Canvas
from micdb.embed.simulate.microstructures.cells import Cells, voronoi
from micdb.embed.simulate.microstructures.lamellae import pearlite
from micdb.embed.simulate.microstructures.needles import bainite, draw_needles, martensite
from micdb.embed.simulate.microstructures.shapes import apart, ellipse
from micdb.embed.simulate.microstructures.view import Scene, View, labelled, regions
from micdb.embed.simulate.microstructures.waves import waves

Floats = npt.NDArray[np.float64]
Constituent = Literal["ferrite", "pearlite", "bainite", "martensite", "tempered martensite"]

#: Constituents of `mixture`.
CONSTITUENTS: tuple[Constituent, ...] = (
    "ferrite",
    "pearlite",
    "bainite",
    "martensite",
    "tempered martensite",
)

#: Classes of `ultrahigh_carbon`, in the order of its labels.
ULTRAHIGH_CARBON = ("matrix", "network", "spheroidite", "widmanstatten")


def ultrahigh_carbon(
    view: View,
    *,
    grain: float,
    seed: int,
    film: float = 0.05,
    denuded: float = 0.08,
    diameter: float = 0.025,
    fraction: float = 0.2,
    needles: float = 0.04,
    needle: float = 0.35,
) -> Scene:
    """Draw ultrahigh-carbon steel after slow cooling, in four classes.

    Network of proeutectoid carbide along grain boundaries, a zone beside it that has no particles, needles
    of Widmanstatten carbide, and spheroidite in between: the constituents that Hecht et al. (Metall. Mater.
    Trans. A 48, 3108, 2017) and DeCost et al. (Microsc. Microanal. 25, 21, 2019) tell apart. The class
    ``matrix`` is what has no particles; ``spheroidite`` is particles and the ferrite between them. Objects
    are particles and needles.

    Parameters
    ----------
    view
        Field of view.
    grain
        Size of the former austenite grains [nm]; the other lengths are in units of it.
    seed
        Of everything.
    film
        Mean thickness of the network; 0: none.
    denuded
        Width of the zone without particles, from the edge of the film.
    diameter
        Median of the particles.
    fraction
        Area fraction of the particles, where there are any.
    needles
        Area fraction of the needles before overlaps; 0: none.
    needle
        Median length of a needle.
    """
    rng = np.random.default_rng(seed)
    cells = voronoi(view, size=grain, rng=rng, exact=True)
    swell = 1 + 0.4 * waves(view, length=grain / 2, rng=rng)
    edge = film * grain * swell / 2 - cells.boundary  # positive in the film
    free = (film / 2 + denuded) * grain
    canvas = Canvas(view)
    _spheroids(canvas, cells, free=free, diameter=diameter * grain, fraction=fraction, rng=rng)
    if needles:
        draw_needles(
            canvas, cells, length=needle * grain, slenderness=16.0, fraction=needles, rng=rng, kind=3
        )
    objects = canvas.objects()
    kind = np.concatenate(([0], objects.kind))[canvas.instance]
    label = 2 * labelled(cells.boundary > free)
    label[kind == 3] = 3
    label[edge > 0] = 1
    coverage = np.maximum(canvas.coverage, view.step(edge))
    instance = np.where(edge > 0, 0, canvas.instance).astype(np.int32)
    relief = 0.08 * rng.normal(size=cells.count)[cells.index]
    tone = np.where(
        edge > 0, rng.uniform(-0.6, 0.1), 0.0
    )  # broad carbide is flat, so often darker than small
    truth = {
        "grain_nm": grain, "film_nm": film * grain, "denuded_nm": denuded * grain,
        "median_diameter_nm": diameter * grain, "carbide_fraction": float((coverage > 0.5).mean()),
    }  # fmt: skip
    return Scene(coverage, relief, view.pixel_size, label, ULTRAHIGH_CARBON, instance, objects, truth, tone)


def mixture(
    view: View,
    *,
    colony: float,
    seed: int,
    spacing: float = 0.08,
    constituents: Sequence[Constituent] = CONSTITUENTS,
) -> Scene:
    """Draw colonies, each of one constituent of steel, with that as its class.

    Objects are the colonies: what object-wise voting decides on (Azimi et al., Sci. Rep. 8, 2128, 2018).

    Parameters
    ----------
    view
        Field of view.
    colony
        Size of a colony [nm].
    seed
        Of everything.
    spacing
        Of lamellae, and width of laths, in units of `colony`.
    constituents
        Which, out of `CONSTITUENTS`.
    """
    rng = np.random.default_rng(seed)
    cells = voronoi(view, size=colony, rng=rng)
    kind = rng.integers(len(constituents), size=cells.count)
    label = kind[cells.index].astype(np.uint8)
    coverage, relief = np.zeros(view.shape), np.zeros(view.shape)
    for number, name in enumerate(constituents):
        mask, sub_seed = label == number, int(rng.integers(1 << 31))
        if mask.any() and name != "ferrite":
            one = _constituent(view, name, spacing * colony, sub_seed)
            coverage[mask], relief[mask] = one.coverage[mask], one.relief[mask]
    relief += 0.08 * rng.normal(size=cells.count)[cells.index]
    instance, objects = regions(cells.index, view, kind.astype(np.uint8))
    truth = {"colony_nm": colony, "spacing_nm": spacing * colony, "colonies": float(len(objects))}
    return Scene(
        coverage, relief, view.pixel_size, label, tuple(constituents), instance, objects, truth
    )  # fmt: skip


def _constituent(view: View, name: Constituent, length: float, seed: int) -> Scene:
    if name == "pearlite":
        return pearlite(view, spacing=length, seed=seed, colony=30.0)
    if name == "bainite":
        return bainite(view, lath=length, seed=seed)
    return martensite(view, lath=length, seed=seed, carbides=0.08 if name == "tempered martensite" else 0.0)


def _spheroids(
    canvas: Canvas, cells: Cells, *, free: float, diameter: float, fraction: float, rng: np.random.Generator
) -> None:
    """Draw particles that stay `free` [nm] away from the boundaries, with their edges."""
    spread = 0.35
    mean_area = math.pi / 4 * diameter**2 * math.exp(2 * spread**2)
    count = canvas.view.count(fraction / mean_area)
    centres = apart(count, canvas.view.extent, rng)
    radii = diameter / 2 * np.exp(rng.normal(0.0, spread, count))
    ratio, turn = np.exp(rng.normal(0.0, 0.15, count)), rng.uniform(0, math.pi, count)
    _, gap = cells.at(centres)
    for number in np.flatnonzero(gap - radii * np.maximum(ratio, 1 / ratio) > free):
        canvas.add(ellipse(radii[number], ratio[number], turn[number]), centres[number], kind=2)
