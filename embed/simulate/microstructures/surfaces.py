"""Surfaces made by people: arrays of pillars, holes and lines, coatings, devices and tips."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import numpy.typing as npt

from micdb.embed.simulate.microstructures.cells import voronoi
from micdb.embed.simulate.microstructures.view import Scene, View, labelled, regions
from micdb.embed.simulate.microstructures.waves import waves

Floats = npt.NDArray[np.float64]
Pattern = Literal["pillars", "holes", "lines"]

#: Patterns of `patterned`.
PATTERNS: tuple[Pattern, ...] = ("pillars", "holes", "lines")


def patterned(
    view: View,
    *,
    pitch: float,
    seed: int,
    pattern: Pattern = "pillars",
    duty: float = 0.5,
    hexagonal: bool = False,
) -> Scene:
    """Draw a lithographic array. Objects are its pillars or holes.

    Parameters
    ----------
    view
        Field of view.
    pitch
        Distance of neighbours in a row [nm].
    seed
        Of rotation, offset and roughness.
    pattern
        One of `PATTERNS`.
    duty
        Diameter of a pillar or hole, or width of a line, in units of `pitch`.
    hexagonal
        Whether every other row is shifted by half a pitch.
    """
    rng = np.random.default_rng(seed)
    turn, (ox, oy) = float(rng.uniform(0, math.pi / 2)), rng.uniform(0, 1, 2)
    y, x = view.grid()
    rough = 0.01 * pitch * waves(view, length=0.5 * pitch, rng=rng)  # [nm] of an edge
    u = (x * math.cos(turn) + y * math.sin(turn)) / pitch + ox
    v = (y * math.cos(turn) - x * math.sin(turn)) / pitch + oy
    v = v / (math.sqrt(3) / 2) if hexagonal else v
    row = np.floor(v)
    shifted = u + 0.5 * (row % 2) if hexagonal else u
    across, down = shifted % 1 - 0.5, (v % 1 - 0.5) * (math.sqrt(3) / 2 if hexagonal else 1)
    from_middle = np.abs(across) if pattern == "lines" else np.hypot(across, down)
    depth = (duty / 2 - from_middle) * pitch + rough  # [nm] positive within
    cell = np.floor(shifted) if pattern == "lines" else np.floor(shifted) + 4096 * row
    cell = (cell - cell.min()).astype(np.int64)
    raised = view.step(-depth if pattern == "holes" else depth)
    index = np.where(depth > 0, cell, -1)
    instance, objects = regions(index, view, np.ones(int(cell.max()) + 1, dtype=np.uint8))
    name = {"pillars": "pillar", "holes": "hole", "lines": "line"}[pattern]
    label = labelled(depth > 0)
    truth = {"pitch_nm": pitch, "size_nm": duty * pitch, "fraction": float((label == 1).mean())}
    return Scene(
        0.3 * raised, np.zeros(view.shape), view.pixel_size, label, ("surface", name), instance, objects,
        truth, height=0.5 * pitch * raised,
    )  # fmt: skip


def film(view: View, *, length: float, seed: int, cracks: float = 0.04) -> Scene:
    """Draw a coating of nodules, which cracks have cut. Objects are its pieces.

    Nodules are columns that grow side by side (Thornton, J. Vac. Sci. Technol. 11, 666, 1974); cracks of
    drying or tension part it into cells (Bohn et al., Phys. Rev. E 71, 046214, 2005).

    Parameters
    ----------
    view
        Field of view.
    length
        Size of a nodule [nm]; pieces are about twelve times as large.
    seed
        Of everything.
    cracks
        Width of a crack in units of a piece; 0: none.
    """
    rng = np.random.default_rng(seed)
    nodules = voronoi(view, size=length, rng=rng)
    pieces = voronoi(view, size=12 * length, rng=rng)
    wide = cracks * 12 * length * np.maximum(1 + 0.5 * waves(view, length=4 * length, rng=rng), 0.0)
    depth = wide / 2 - pieces.boundary if cracks else np.full(view.shape, -np.inf)
    dome = np.sqrt(np.clip(nodules.boundary / (0.5 * length), 0.0, 1.0)) * 0.35 * length
    step = 0.15 * length * rng.random(nodules.count)[nodules.index]
    cracked = view.step(np.maximum(depth, -length))
    instance, objects = regions(pieces.index, view, np.zeros(pieces.count, dtype=np.uint8))
    relief, label = 0.1 * rng.normal(size=nodules.count)[nodules.index], labelled(depth > 0)
    truth = {"nodule_nm": length, "fraction": float((label == 1).mean())}
    return Scene(
        cracked, relief, view.pixel_size, label, ("film", "crack"), instance, objects, truth,
        tone=np.full(view.shape, -1.4), height=(dome + step + length) * (1 - cracked),
    )  # fmt: skip


def device(view: View, *, length: float, seed: int, layers: int = 14) -> Scene:
    """Draw rectangles and combs of several heights along two axes, as of a micromachined device.

    Parameters
    ----------
    view
        Field of view.
    length
        Typical width of a part [nm].
    seed
        Of everything.
    layers
        Number of parts.
    """
    rng = np.random.default_rng(seed)
    turn = float(rng.choice([0.0, rng.uniform(-0.4, 0.4)]))
    y, x = view.grid()
    u, v = x * math.cos(turn) + y * math.sin(turn), y * math.cos(turn) - x * math.sin(turn)
    height, bright = np.zeros(view.shape), np.zeros(view.shape)
    parts = np.zeros(view.shape, dtype=bool)
    for _ in range(layers):
        middle = view.scatter(1, rng)[0]
        sides = length * np.exp(rng.normal(0.7, 0.7, 2))
        du, dv = u - middle[0], v - middle[1]
        inside = np.minimum(sides[0] / 2 - np.abs(du), sides[1] / 2 - np.abs(dv))
        if rng.random() < 0.3:  # a comb: fingers half a pitch wide
            inside = np.minimum(inside, (0.25 - np.abs((du / length) % 1 - 0.5)) * length)
        part = view.step(inside)
        height += part * length * rng.uniform(0.1, 0.5)
        bright = np.where(inside > 0, rng.uniform(0.1, 1.0), bright)
        parts |= inside > 0
    label = labelled(parts)
    truth = {"length_nm": length, "fraction": float((label == 1).mean())}
    return Scene(
        bright, 0.02 * waves(view, length=4 * length, rng=rng), view.pixel_size, label, ("base", "part"),
        np.zeros(view.shape, dtype=np.int32), truth=truth, height=height,
    )  # fmt: skip


def tip(view: View, *, length: float, seed: int, opening: float = 30.0) -> Scene:
    """Draw a sharp tip seen from the side, as of a scanning probe.

    Parameters
    ----------
    view
        Field of view.
    length
        Radius of the apex [nm].
    seed
        Of place, direction and roughness.
    opening
        Full angle of the cone [deg].
    """
    rng = np.random.default_rng(seed)
    height, width = view.extent
    turn = float(rng.choice(4)) * math.pi / 2 + rng.normal(0.0, 0.15)
    apex = np.array([width, height]) * rng.uniform(0.35, 0.65, 2)
    y, x = view.grid()
    along = (x - apex[0]) * math.cos(turn) + (y - apex[1]) * math.sin(turn)
    across = (y - apex[1]) * math.cos(turn) - (x - apex[0]) * math.sin(turn)
    slope = math.tan(math.radians(opening) / 2)
    # a hyperbola: a round apex of this radius that goes over into a cone
    half = np.sqrt(np.maximum(2 * length * along + (slope * along) ** 2, 0.0)) * (along > 0)
    depth = half - np.abs(across) + 0.02 * length * waves(view, length=3 * length, rng=rng)
    depth = np.where(along > 0, depth, -np.hypot(along, across))
    inside = depth > 0
    share = np.clip(np.abs(across) / np.maximum(half, 1e-9), 0.0, 1.0)
    surface = np.where(inside, half * np.sqrt(1 - share**2), 0.0)
    label = labelled(inside)
    instance, objects = regions(np.where(inside, 0, -1), view, np.ones(1, dtype=np.uint8))
    truth = {"radius_nm": length, "opening_deg": opening, "fraction": float(inside.mean())}
    return Scene(
        0.8 * view.step(depth), np.zeros(view.shape), view.pixel_size, label, ("background", "tip"), instance,
        objects, truth, height=surface,
    )  # fmt: skip
