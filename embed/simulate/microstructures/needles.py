"""Laths of martensite and bainite, and Widmanstatten needles that grow from grain boundaries."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from micdb.embed.simulate.microstructures.canvas import Canvas
from micdb.embed.simulate.microstructures.cells import Cells, middles, voronoi
from micdb.embed.simulate.microstructures.shapes import ellipse, needle
from micdb.embed.simulate.microstructures.view import Scene, View, labelled, regions
from micdb.embed.simulate.microstructures.waves import waves

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_PACKET = (
    12.0  # [lath] size of a packet; a grain is three of them (Morito et al., Acta Mater. 51, 1789, 2003)
)
_HABITS = 4  # habit planes of a grain: {111} of austenite, one per packet
_LATH_SPREAD = 0.4  # of the logarithm of widths


@dataclass(frozen=True, slots=True)
class Laths:
    """Laths in blocks, blocks in packets, packets in grains.

    Parameters
    ----------
    packets
        The tiling.
    angle
        Of the laths of each packet against x ``(packets,)`` [radian].
    lath, block
        Number of the lath and of the block within its packet ``(y, x)``.
    edge
        Distance to the nearest lath boundary ``(y, x)`` [nm].
    along
        Place along the lath ``(y, x)`` [nm].
    """

    packets: Cells
    angle: Floats
    lath: Ints
    block: Ints
    edge: Floats
    along: Floats


def martensite(
    view: View, *, lath: float, seed: int, laths_per_block: float = 4.0, carbides: float = 0.0
) -> Scene:
    """Draw lath martensite, etched along lath boundaries; tempered when there are carbides.

    The hierarchy of packets, blocks and laths is that of Morito et al. (Acta Mater. 51, 1789, 2003);
    tempering carbides lie along the laths (Krauss, Mater. Sci. Eng. A 273, 40, 1999). Objects are blocks.

    Parameters
    ----------
    view
        Field of view.
    lath
        Median width of a lath [nm].
    seed
        Of everything.
    laths_per_block
        Mean number.
    carbides
        Area fraction of tempering carbides.
    """
    rng = np.random.default_rng(seed)
    laths = _laths(view, lath, laths_per_block, rng)
    blocks = laths.packets.index * (int(laths.block.max()) + 1) + laths.block
    bright = rng.uniform(-0.5, 0.5, 4096)  # by number of block and lath, in turn
    relief = 0.25 * bright[blocks % 4096] + 0.12 * bright[(laths.lath + 7 * laths.packets.index) % 4096]
    width = 0.12 * lath * np.maximum(1 + 0.7 * waves(view, length=4 * lath, rng=rng), 0.0)
    distance = width / 2 - np.minimum(laths.edge, laths.packets.boundary)
    canvas = Canvas(view)
    if carbides:
        _carbides(canvas, laths, lath, carbides, rng)
    instance, objects = regions(blocks, view, np.zeros(int(blocks.max()) + 1, dtype=np.uint8))
    coverage = np.maximum(0.6 * view.step(distance), canvas.coverage)
    label = labelled(canvas.instance > 0)
    truth = {
        "lath_nm": lath, "blocks": float(len(objects)), "packet_nm": _PACKET * lath,
        "fraction": float((label == 1).mean()),
    }  # fmt: skip
    return Scene(
        coverage, relief, view.pixel_size, label, ("martensite", "carbide"), instance, objects, truth
    )


def bainite(view: View, *, lath: float, seed: int, fraction: float = 0.12) -> Scene:
    """Draw upper bainite: ferrite laths with broken films of cementite between them.

    After Bhadeshia, Bainite in Steels (3rd ed., 2015), chapter 2. There are no objects.

    Parameters
    ----------
    view
        Field of view.
    lath
        Median width of a lath [nm].
    seed
        Of everything.
    fraction
        Share of cementite, before films meet.
    """
    rng = np.random.default_rng(seed)
    laths = _laths(view, lath, 6.0, rng)
    number = (laths.lath + 131 * laths.packets.index) % 4096
    phase, shift = rng.uniform(0, 1, 4096)[number], 0.4 * waves(view, length=5 * lath, rng=rng)
    length, share = 5 * lath, 0.6  # of a film and its gap, and the film's part of that
    turn = (laths.along / length + phase + shift) % 1.0
    thickness = 2 * fraction * lath / share  # one lath in two carries a film on its boundary
    thick = thickness * (1 - (2 * np.abs(turn - 0.5) / share) ** 2)
    distance = np.where(laths.lath % 2 == 0, thick, -np.inf) / 2 - laths.edge
    distance = np.maximum(distance, -1e3 * lath)
    relief = 0.15 * rng.normal(size=laths.packets.count)[laths.packets.index]
    label = labelled(distance > 0)
    truth = {"lath_nm": lath, "packet_nm": _PACKET * lath, "fraction": float((label == 1).mean())}
    return Scene(
        view.step(distance), relief, view.pixel_size, label, ("ferrite", "cementite"),
        np.zeros(view.shape, dtype=np.int32), truth=truth,
    )  # fmt: skip


def widmanstatten(
    view: View, *, length: float, seed: int, fraction: float = 0.12, slenderness: float = 14.0
) -> Scene:
    """Draw needles along a few directions in each grain, from its boundary inwards.

    Plates of proeutectoid cementite or ferrite lie on few habit planes (Aaronson, in Decomposition of
    Austenite by Diffusional Processes, 1962); the section shows each as a line.

    Parameters
    ----------
    view
        Field of view.
    length
        Median length of a needle [nm].
    seed
        Of grains, directions and needles.
    fraction
        Area fraction before overlaps and before the grain's boundary cuts needles.
    slenderness
        Length over width.
    """
    rng = np.random.default_rng(seed)
    cells = voronoi(view, size=2.5 * length, rng=rng, exact=True)
    canvas = Canvas(view)
    draw_needles(canvas, cells, length=length, slenderness=slenderness, fraction=fraction, rng=rng, kind=1)
    relief = 0.1 * rng.normal(size=cells.count)[cells.index]
    label = labelled(canvas.instance > 0)
    objects = canvas.objects()
    truth = {"length_nm": length, "needles": float(len(objects)), "fraction": float(label.mean())}
    return Scene(
        canvas.coverage, relief, view.pixel_size, label, ("matrix", "widmanstatten"), canvas.instance,
        objects, truth,
    )  # fmt: skip


def draw_needles(
    canvas: Canvas, cells: Cells, *, length: float, slenderness: float, fraction: float,
    rng: np.random.Generator, kind: int,
) -> None:  # fmt: skip
    """Draw needles that stay in their grain.

    Parameters
    ----------
    canvas
        What to draw on, in place.
    cells
        The grains.
    length
        Median [nm]; the logarithm's standard deviation is 0.35.
    slenderness
        Length over width.
    fraction
        Area fraction before overlaps.
    rng
        Of directions, places and sizes.
    kind
        Class of the needles.
    """
    view, spread = canvas.view, 0.35
    mean_area = 2 / 3 * length**2 * math.exp(2 * spread**2) / slenderness
    count = view.count(fraction / mean_area, length / 2)
    centres = view.scatter(count, rng, length / 2)
    long = length * np.exp(rng.normal(0.0, spread, count))
    wide = long / slenderness * np.exp(rng.normal(0.0, 0.2, count))
    directions = rng.uniform(0, math.pi, (cells.count, 2))  # the two habit planes seen most in a grain
    pick, sway = rng.integers(2, size=count), rng.normal(0.0, 0.04, count)
    home, _ = cells.at(centres)
    for number in range(count):
        shape = needle(long[number], wide[number], directions[home[number], pick[number]] + sway[number])
        box = canvas.box(shape, centres[number])
        inside = np.where(cells.index[box] == home[number], cells.boundary[box], -cells.boundary[box])
        canvas.add(shape, centres[number], kind=kind, within=inside)


def _laths(view: View, lath: float, laths_per_block: float, rng: np.random.Generator) -> Laths:
    grains = middles(view, size=3 * _PACKET * lath, rng=rng)
    packets = voronoi(view, size=_PACKET * lath, rng=rng)
    habit = rng.uniform(0, math.pi, (len(grains), _HABITS))
    home = cKDTree(grains).query(packets.seeds)[1]
    angle = habit[home, rng.integers(_HABITS, size=packets.count)] + rng.normal(0.0, 0.05, packets.count)
    longest = 2 * sum(view.extent) + 4 * _PACKET * lath
    width = lath * np.exp(rng.normal(0.0, _LATH_SPREAD, round(longest / lath)))
    edges = np.concatenate(([0.0], np.cumsum(width)))
    block = np.concatenate(([0], np.cumsum(rng.random(len(edges)) < 1 / laths_per_block)))
    offset = rng.uniform(0.25, 0.75, packets.count) * edges[-1]
    y, x = view.grid()
    turn = angle[packets.index]
    dx, dy = x - packets.seeds[packets.index, 0], y - packets.seeds[packets.index, 1]
    bend = 0.35 * lath * waves(view, length=7 * lath, rng=rng)
    across = dy * np.cos(turn) - dx * np.sin(turn) + bend + offset[packets.index]
    number = np.clip(np.searchsorted(edges, across) - 1, 0, len(edges) - 2)
    edge = np.minimum(across - edges[number], edges[number + 1] - across)
    along = dx * np.cos(turn) + dy * np.sin(turn)
    return Laths(packets, angle, number, block[number], np.abs(edge), along)


def _carbides(canvas: Canvas, laths: Laths, lath: float, fraction: float, rng: np.random.Generator) -> None:
    """Draw short rods along the laths."""
    radius, spread = 0.2 * lath, 0.3
    mean_area = math.pi * radius**2 * math.exp(2 * spread**2)
    count = canvas.view.count(fraction / mean_area, lath)
    centres = canvas.view.scatter(count, rng, lath)
    home, _ = laths.packets.at(centres)
    radii = radius * np.exp(rng.normal(0.0, spread, count))
    ratio = rng.uniform(1.2, 2.0, count)
    for number in range(count):
        turn = float(laths.angle[home[number]] + rng.normal(0.0, 0.15))
        canvas.add(ellipse(radii[number], ratio[number], turn), centres[number])
