"""Wires and fibres that lie over one another."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from micdb.embed.simulate.microstructures.view import Objects, Outline, Scene, View, labelled
from micdb.embed.simulate.microstructures.waves import waves

Floats = npt.NDArray[np.float64]

_FINE = 0.5  # [pixel] between samples along and across
_MODES = 3  # of a strand's direction


def strands(
    view: View,
    *,
    diameter: float,
    seed: int,
    cover: float = 0.5,
    slenderness: float = 40.0,
    waviness: float = 0.0,
    spread: float = 0.25,
) -> Scene:
    """Draw wires (straight) or fibres (bent); later ones lie on earlier ones.

    Parameters
    ----------
    view
        Field of view.
    diameter
        Median [nm]; log-normal.
    seed
        Of everything.
    cover
        Summed area of the strands over that of the field.
    slenderness
        Length over diameter.
    waviness
        How much the direction changes along a strand [radian]: 0 for wires, about 1 for fibres.
    spread
        Standard deviation of the logarithm of the diameter.
    """
    rng = np.random.default_rng(seed)
    margin = min(slenderness * diameter / 2, max(view.extent))
    area = slenderness * diameter**2 * math.exp(2 * spread**2)
    count = view.count(cover / area, margin)
    centres, angle = view.scatter(count, rng, margin), rng.uniform(0, math.pi, count)
    wide = diameter * np.exp(rng.normal(0.0, spread, count))
    bends, phase = rng.normal(0.0, waviness, (count, _MODES)), rng.uniform(0, 7, (count, _MODES))
    height, coverage = np.zeros(view.shape), np.zeros(view.shape)
    instance = np.zeros(view.shape, dtype=np.int32)
    kept: list[int] = []
    outlines: list[Outline] = []
    for number in range(count):
        path = _path(slenderness * wide[number], wide[number], bends[number], phase[number], angle[number])
        outline = _lay(view, height, coverage, centres[number] + path, width=wide[number])
        if outline is not None:
            kept.append(number)
            rows, columns = outline.mask.shape
            box = instance[outline.top : outline.top + rows, outline.left : outline.left + columns]
            box[outline.mask] = len(kept)
            outlines.append(outline)
    label = labelled(instance > 0)
    objects = _table(
        view, centres[kept], wide[kept], slenderness=slenderness, angle=angle[kept], outlines=tuple(outlines)
    )
    truth = {
        "median_diameter_nm": diameter, "strands": float(len(kept)), "fraction": float((label == 1).mean())
    }  # fmt: skip
    return Scene(
        coverage, 0.05 * waves(view, length=20 * diameter, rng=rng), view.pixel_size,
        label, ("substrate", "strand"), instance, objects, truth, height=height,
    )  # fmt: skip


def _path(length: float, width: float, bends: Floats, phase: Floats, angle: float) -> Floats:
    """Return the middle of a strand about its centre ``(n, 2)`` [nm], a quarter of the width apart."""
    along = np.arange(0.0, length, width / 4)
    turn = np.full(len(along), angle)
    for mode in range(_MODES):
        wave = 2 * math.pi * (mode + 1) / length
        turn += bends[mode] / (mode + 1) * np.sin(wave * along + phase[mode])
    path = np.cumsum(width / 4 * np.column_stack((np.cos(turn), np.sin(turn))), axis=0)
    return np.asarray(path - path[len(path) // 2])


def _lay(view: View, height: Floats, coverage: Floats, path: Floats, *, width: float) -> Outline | None:
    """Lay a strand over what is there, in place; return what it covers."""
    p, (rows, columns) = view.pixel_size, view.shape
    near = ((path > -width) & (path < np.array([view.extent[1], view.extent[0]]) + width)).all(axis=1)
    if not near.any():
        return None
    first, last = np.flatnonzero(near)[[0, -1]]
    part = path[max(first - 1, 0) : last + 2]
    step = np.arange(0, len(part) - 1, _FINE * p / (width / 4))
    x, y = (np.interp(step, np.arange(len(part)), one) for one in part.T)
    turn = np.arctan2(np.gradient(y), np.gradient(x)) if len(x) > 1 else np.zeros(len(x))
    across = max(2, round(width / (_FINE * p)))
    out = ((np.arange(across) + 0.5) / across - 0.5) * width
    column = np.floor((x[:, None] - np.sin(turn)[:, None] * out) / p).astype(np.int64)
    row = np.floor((y[:, None] + np.cos(turn)[:, None] * out) / p).astype(np.int64)
    inside = (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
    if not inside.any():
        return None
    top, left = int(row[inside].min()), int(column[inside].min())
    shape = (int(row[inside].max()) - top + 1, int(column[inside].max()) - left + 1)
    flat = (row[inside] - top) * shape[1] + column[inside] - left
    round_top = np.broadcast_to(np.sqrt(np.maximum((width / 2) ** 2 - out**2, 0.0)), row.shape)[inside]
    count = np.bincount(flat, minlength=shape[0] * shape[1]).reshape(shape)
    dome = np.bincount(flat, round_top, shape[0] * shape[1]).reshape(shape) / np.maximum(count, 1)
    mask = count >= 1 / _FINE**2 / 2  # half of a pixel's samples or more
    if not mask.any():
        return None
    box = np.s_[top : top + shape[0], left : left + shape[1]]
    coverage[box] = np.maximum(coverage[box], np.minimum(count * _FINE**2, 1.0))
    under = height[box]
    under[mask] = 0.5 * under[mask] + (width / 2 + dome)[mask]  # sags between what it lies on
    return Outline(top, left, mask)


def _table(
    view: View,
    centres: Floats,
    wide: Floats,
    *,
    slenderness: float,
    angle: Floats,
    outlines: tuple[Outline, ...],
) -> Objects:
    rows, columns = view.shape
    cut = [
        one.top == 0 or one.left == 0 or one.top + one.mask.shape[0] == rows
        or one.left + one.mask.shape[1] == columns
        for one in outlines
    ]  # fmt: skip
    area = slenderness * wide**2
    return Objects(
        np.ones(len(wide), dtype=np.uint8), centres - view.pixel_size / 2, np.sqrt(4 / np.pi * area),
        np.column_stack((slenderness * wide, wide)), angle, np.array(cut, dtype=bool), outlines,
    )  # fmt: skip
