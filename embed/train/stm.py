"""The recipe of `stm-defects`: topographs of terraces and defects of every look, at every scale.

What a kind is called follows from what was planted: its sign, its extent, and its height over the noise.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree
from torch import nn

from micdb.embed.simulate.stm_defects import DefectTopograph, defect_topograph
from micdb.embed.stm.describe import describe
from micdb.embed.stm.detect import asked, detect
from micdb.embed.stm.kinds import KINDS, kind_of
from micdb.embed.stm.levels import LEVELS, NOMINAL, Level, levels
from micdb.embed.stm.network import loss
from micdb.embed.stm.targets import Marks, draw
from micdb.embed.train.loop import Batch

__all__ = ["batch", "loss", "measure", "planted"]

Floats = npt.NDArray[np.float64]
Map = npt.NDArray[np.float32]

SIDE, BATCH = 128, 8  # [pixel], images
_CROPS = 2  # of one scene
SEEN = 2.0  # [noise] of the faintest that can be told from it
LEAST_PROBABILITY = 0.5
_HELD_OUT = 2**41  # seeds of batches are drawn from all 64 bits: none of these few is likely among them
_SCENES = 120  # to measure on
_OVERSIZE = 1.7  # [crop] side of a scene


@dataclass(frozen=True, slots=True)
class Truth:
    """Defects of a scene that can be seen: places [pixel], extents [nm], kinds, all ``(n,)``-long."""

    xy: Floats
    diameter: Floats
    kind: npt.NDArray[np.int64]


def scene(seed: int, oversize: float = _OVERSIZE) -> tuple[DefectTopograph, float]:
    """Return a topograph of a random scale, and the level that most of its defects belong to [nm/pixel]."""
    rng = np.random.default_rng(seed)
    level = float(rng.choice(LEVELS))
    pixel = level * 2 ** rng.uniform(-1.5, 1.0)
    side = round(SIDE * oversize * level / pixel)
    made = defect_topograph(
        (side, side),
        pixel_size=pixel,
        seed=int(rng.integers(2**63)),
        diameter=NOMINAL * level * 2 ** rng.uniform(-0.6, 0.6),
        coverage=rng.choice([0.0, 0.02, 0.08, 0.2], p=[0.1, 0.3, 0.4, 0.2]),
        contrast=math.exp(rng.uniform(math.log(4.0), math.log(60.0))),
    )
    return made, level


def truth(made: DefectTopograph, views: list[Level]) -> Truth:
    """Return the defects of a scene that rise far enough above the noise to be seen, with their kinds."""
    octaves = np.log2(made.diameter / NOMINAL)[:, None] - np.log2([one.nm_per_pixel for one in views])
    noise = np.array([one.noise for one in views])[np.abs(octaves).argmin(axis=1)]
    contrast = np.abs(made.height) / noise
    kind = _numbers(made.diameter, made.height, noise)
    seen = contrast >= SEEN
    return Truth(made.xy[seen], made.diameter[seen], kind[seen])


def _numbers(diameter: Floats, height: Floats, noise: Floats) -> npt.NDArray[np.int64]:
    names = [kind_of(*one) for one in zip(diameter, height, noise, strict=True)]
    return np.array([KINDS.index(name) for name in names], dtype=np.int64)


def batch(seed: int) -> Batch:
    """Return images ``(BATCH, 3, SIDE, SIDE)`` and maps ``(BATCH, 3, SIDE, SIDE)`` of a seed."""
    seeds = np.random.SeedSequence(seed).generate_state(BATCH // _CROPS, np.uint64)
    pairs = [pair for one in seeds for pair in _crops(int(one))]
    images, maps = (np.stack(one) for one in zip(*pairs, strict=True))
    return images, maps


def _crops(seed: int) -> Iterator[tuple[Map, Map]]:
    """Yield crops of one scene: most of the time goes into simulating and flattening it."""
    rng = np.random.default_rng(seed)
    made, wanted = scene(int(rng.integers(2**63)))
    views = levels(made.image, made.pixel_size)
    view = min(views, key=lambda one: abs(math.log(one.nm_per_pixel / wanted)))
    seen = truth(made, views)
    factor = view.sampled.factor
    marks = Marks((seen.xy + 0.5) / factor - 0.5, seen.diameter / (factor * made.pixel_size), seen.kind)
    maps = draw(marks, view.height.shape, (view.first, view.last))
    missing = [(0, max(SIDE - n, 0)) for n in view.height.shape]
    values, maps = (np.pad(one, [(0, 0), *missing], mode="symmetric") for one in (view.values, maps))
    for _ in range(_CROPS):
        top, left = (int(rng.integers(n - SIDE + 1)) for n in values.shape[1:])
        part = (slice(None), slice(top, top + SIDE), slice(left, left + SIDE))
        flip = slice(None, None, -1 if rng.random() < 0.5 else 1)
        yield np.ascontiguousarray(values[part][..., flip]), np.ascontiguousarray(maps[part][..., flip])


def planted(network: nn.Module) -> Mapping[str, Mapping[str, float]]:
    """Return per kind how many were planted, found and falsely found in scenes it never saw, on what area.

    A defect is found where one of that kind is said within half of its diameter.
    """
    totals = {kind: {"planted": 0.0, "found": 0.0, "false": 0.0, "area_nm2": 0.0} for kind in KINDS}
    for seed in range(_HELD_OUT, _HELD_OUT + _SCENES):
        made, _ = scene(seed, oversize=2.0)
        views = levels(made.image, made.pixel_size)
        seen = truth(made, views)
        found = detect(views, asked(views, network), pixel_size=made.pixel_size, least=LEAST_PROBABILITY)
        looks = describe(found, views, made.pixel_size)
        said = _numbers(looks.extent, looks.height, looks.noise)
        for number, kind in enumerate(KINDS):
            mine, theirs = seen.kind == number, said == number
            hit = _hits(found.xy[theirs], seen.xy[mine], seen.diameter[mine] / 2 / made.pixel_size)
            counts = (mine.sum(), hit, theirs.sum() - hit, made.image.size * made.pixel_size**2)
            for name, value in zip(totals[kind], counts, strict=True):
                totals[kind][name] += float(value)
    return totals


def measure(network: nn.Module) -> dict[str, Any]:
    """Return the F1 of each kind in scenes that it never saw, and the counts behind it as ``planted``."""
    counts = planted(network)
    said = {
        f"simulated topographs, {kind}": (
            f"F1 {2 * one['found'] / max(one['planted'] + one['found'] + one['false'], 1):.3f}, "
            f"{one['planted']:.0f} planted"
        )
        for kind, one in counts.items()
    }
    return {**said, "planted": counts}


def _hits(found: Floats, there: Floats, reach: Floats) -> int:
    """Return how many of `there` have one of `found` within their reach, each used once."""
    if not len(found) or not len(there):
        return 0
    tree = cKDTree(found)
    used: set[int] = set()
    for place, distance in zip(there, reach, strict=True):
        near = [one for one in tree.query_ball_point(place, distance) if one not in used]
        if near:
            used.add(min(near, key=lambda one: float(np.linalg.norm(found[one] - place))))
    return len(used)
