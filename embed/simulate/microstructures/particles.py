"""Particles: round carbides in a matrix, and particles that lie on a substrate, on and beside one another."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from micdb.embed.simulate.microstructures.canvas import Canvas
from micdb.embed.simulate.microstructures.cells import voronoi
from micdb.embed.simulate.microstructures.shapes import Shape, apart, ellipse, faceted, polar, rough
from micdb.embed.simulate.microstructures.view import Scene, View, labelled
from micdb.embed.simulate.microstructures.waves import waves

Floats = npt.NDArray[np.float64]
Form = Literal["sphere", "rough", "faceted", "rod"]

#: Forms of deposited particles.
FORMS: tuple[Form, ...] = ("sphere", "rough", "faceted", "rod")

_PUSHES = 40  # rounds after which a layer has settled


def spheroidite(
    view: View,
    *,
    diameter: float,
    seed: int,
    fraction: float = 0.15,
    spread: float = 0.35,
    parted: bool = False,
) -> Scene:
    """Draw round carbides in ferrite.

    Parameters
    ----------
    view
        Field of view.
    diameter
        Median diameter [nm].
    seed
        Of sizes and positions.
    fraction
        Area fraction before overlaps.
    spread
        Standard deviation of the logarithm of the diameter.
    parted
        Whether carbides that would lie in one another are pushed apart until they touch: in a section none
        lies on another, and which of two that merged is seen where cannot be told.
    """
    rng = np.random.default_rng(seed)
    mean_area = math.pi / 4 * diameter**2 * math.exp(2 * spread**2)
    count = max(1, round(fraction * view.area / mean_area))
    centres = apart(count, view.extent, rng)
    radii = diameter / 2 * np.exp(rng.normal(0.0, spread, count))
    stretch, angle = np.exp(rng.normal(0.0, 0.15, count)), rng.uniform(0, math.pi, count)
    if parted:
        _settle(centres, radii)
    canvas = Canvas(view)
    for centre, radius, ratio, turn in zip(centres, radii, stretch, angle, strict=True):
        canvas.add(ellipse(radius, ratio, turn), centre)
    cells = voronoi(view, size=25 * diameter, rng=rng)
    relief = 0.06 * rng.normal(size=cells.count)[cells.index]
    coverage = canvas.coverage
    truth = {"median_diameter_nm": diameter, "fraction": float(coverage.mean()), "particles": float(count)}
    return Scene(
        coverage, relief, view.pixel_size, labelled(canvas.instance > 0), ("ferrite", "cementite"),
        canvas.instance, canvas.objects(), truth,
    )  # fmt: skip


def deposited(
    view: View,
    *,
    diameter: float,
    seed: int,
    cover: float = 0.3,
    spread: float = 0.3,
    form: Form = "sphere",
    clustering: float = 0.5,
    overlap: float = 0.1,
    layer: bool = False,
) -> Scene:
    """Draw particles on a substrate; later ones lie on earlier ones and hide them.

    Diameters are log-normal (Granqvist and Buhrman, J. Appl. Phys. 47, 2200, 1976). Clusters grow as
    particles stick where they touch another (Vold, J. Colloid Sci. 18, 684, 1963).

    Parameters
    ----------
    view
        Field of view.
    diameter
        Median [nm].
    seed
        Of everything.
    cover
        Summed area of the particles over that of the field.
    spread
        Standard deviation of the logarithm of the diameter.
    form
        One of `FORMS`.
    clustering
        Share of particles that stick to an earlier one, 0 to 1.
    overlap
        How deep stuck ones overlap in the picture, as a share of the smaller one's radius: 0 touches.
    layer
        Whether they settle side by side, so that they hardly lie on one another.
    """
    rng = np.random.default_rng(seed)
    mean_area = math.pi / 4 * diameter**2 * math.exp(2 * spread**2)
    margin = 2 * diameter
    count = view.count(cover / mean_area, margin)
    radii = diameter / 2 * np.exp(rng.normal(0.0, spread, count))
    centres = _clusters(view.scatter(count, rng, margin), radii, clustering, overlap, rng)
    if layer:
        _settle(centres, radii)
    canvas = Canvas(view)
    height, thickness, tone = (np.zeros(view.shape) for _ in range(3))
    for centre, radius in zip(centres, radii, strict=True):
        shape, bright = _form(form, radius, rng), 0.08 * float(rng.normal())
        outline = canvas.add(shape, centre)
        if outline is not None:
            dome = _dome(canvas, shape, centre, flat=form == "faceted")
            here = canvas.box(shape, centre)
            height[here][outline.mask] = height[here][outline.mask].mean() + shape.axes[1] / 2 + dome
            thickness[here][outline.mask] += 2 * dome
            tone[here][outline.mask] = bright
    substrate = 0.05 * waves(view, length=4 * diameter, rng=rng)
    objects = canvas.objects()
    label = labelled(canvas.instance > 0)
    truth = {
        "median_diameter_nm": diameter, "particles": float(len(objects)), "fraction": float(label.mean())
    }  # fmt: skip
    return Scene(
        canvas.coverage, substrate, view.pixel_size, label, ("substrate", "particle"), canvas.instance,
        objects, truth, tone=tone, height=height, thickness=thickness,
    )  # fmt: skip


def _clusters(
    centres: Floats, radii: Floats, clustering: float, overlap: float, rng: np.random.Generator
) -> Floats:
    """Move a share of the centres, in place, so that each touches an earlier particle; return them."""
    sticks, angle = rng.random(len(radii)) < clustering, rng.uniform(0, 2 * math.pi, len(radii))
    choice = rng.random(len(radii))
    for number in np.flatnonzero(sticks[1:]) + 1:
        other = int(choice[number] * number)
        reach = radii[number] + radii[other] - overlap * min(radii[number], radii[other])
        centres[number] = centres[other] + reach * np.array(
            [math.cos(angle[number]), math.sin(angle[number])]
        )
    return centres


def _settle(centres: Floats, radii: Floats) -> None:
    """Push particles that lie on one another apart, in place; where there is no room they still do a little.

    Each pair moves along the line of its centres by what it overlaps, as discs that repel do (Lubachevsky and
    Stillinger, J. Stat. Phys. 60, 561, 1990, by a simpler dynamics).
    """
    for _ in range(_PUSHES):
        pairs = cKDTree(centres).query_pairs(2 * float(radii.max()), output_type="ndarray")
        if not len(pairs):
            return
        apart = centres[pairs[:, 1]] - centres[pairs[:, 0]]
        far = np.maximum(np.hypot(*apart.T), 1e-9)
        deep = radii[pairs].sum(axis=1) - far
        over = deep > 0
        push = (0.5 * deep / far)[over, None] * apart[over]
        for side, sign in ((0, -1), (1, 1)):
            np.add.at(centres, pairs[over, side], sign * push)


def _form(form: Form, radius: float, rng: np.random.Generator) -> Shape:
    turn = float(rng.uniform(0, 2 * math.pi))
    if form == "sphere":
        return ellipse(radius, math.exp(rng.normal(0.0, 0.03)), turn)
    if form == "rough":
        return polar(rough(rng), radius, turn)
    if form == "rod":
        return polar(faceted(rng, sides=4, aspect=float(rng.uniform(2, 5)), sharpness=6.0), radius, turn)
    return polar(faceted(rng, sides=int(rng.integers(4, 7))), radius, turn)


def _dome(canvas: Canvas, shape: Shape, centre: Floats, *, flat: bool) -> Floats:
    """Return by how much a particle's surface rises above its middle plane at each of its pixels [nm]."""
    depth = shape.distance(*canvas.offsets(canvas.box(shape, centre), centre))
    half = shape.axes[1] / 2
    share = np.clip(1 - depth[depth > 0] / half, 0.0, 1.0)  # 1 at the edge, 0 where it is thickest
    return np.asarray(half * np.sqrt(1 - share ** (8 if flat else 2)))
