"""The recipe of `stem-atoms`: scenes of crystals, grains and holes that teach a U-Net to find atom columns.

Cells are drawn at random within families (honeycomb, dichalcogenide, square, close-packed, perovskite,
dumbbell, oblique), so that lattices with names are unseen cells among many. Everything that an image can
suffer is drawn as well: dose, probe, background, contamination, drift, jitter of lines, vacancies.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.spatial import cKDTree
from torch import Tensor, nn
from torch.nn import functional

from micdb.embed.atoms.detect import heat_map, peaks
from micdb.embed.atoms.heat_map import NM_PER_PIXEL, draw, standardise
from micdb.embed.simulate.lattices import Cell, fill, hexagonal
from micdb.embed.simulate.stem import Probe, adf_image, smooth_noise
from micdb.embed.simulate.structure import CONTRAST_EXPONENT, Columns
from micdb.embed.train.loop import Batch

Floats = npt.NDArray[np.float64]

SIDE = 128  # [pixel] of a training image
BATCH = 8
LEAST_PROBABILITY = 0.5  # of a column
_HELD_OUT = 2**40  # seeds of batches are drawn from all 64 bits: none of these few is likely among them
_DOSES = {"1.5 to 5": (1.5, 5.0), "5 to 30": (5.0, 30.0), "30 to 300": (30.0, 301.0)}
_NEAR, _RIM = 3.0, 4.0  # [pixel] of a hit; of what is cut by the edge
_MARGIN = 0.4  # [nm] columns outside the field whose tails reach in
_EMPTY = 0.08  # share of scenes without any column: noise must stay noise
_CLOSEST = 0.11  # [nm] columns of two grains are no closer
_FAINTEST = 3.0  # [standard deviation of the noise after a matched filter] what can be seen at all


@dataclass(frozen=True, slots=True)
class Scene:
    """One training image.

    Parameters
    ----------
    image
        Counts ``(y, x)``.
    xy
        Columns that can be seen ``(n, 2)`` as x, y [pixel].
    conditions
        What it was drawn from.
    """

    image: npt.NDArray[np.float32]
    xy: Floats
    conditions: dict[str, Any]


def batch(seed: int) -> Batch:
    """Return images and maps ``(BATCH, 1, SIDE, SIDE)`` of a seed."""
    scenes = [scene(int(one)) for one in np.random.SeedSequence(seed).generate_state(BATCH, np.uint64)]
    images = np.stack([standardise(one.image) for one in scenes])[:, None]
    maps = np.stack([draw(one.xy, one.image.shape) for one in scenes])[:, None]
    return images, maps


def loss(network: nn.Module, arrays: tuple[Tensor, ...]) -> Tensor:
    """Return the cross entropy of the map; columns weigh three times as much as what is between them."""
    images, maps = arrays
    answer = network(images.contiguous(memory_format=torch.channels_last))
    return functional.binary_cross_entropy_with_logits(answer, maps, weight=1 + 2 * maps)


def measure(network: nn.Module) -> dict[str, str]:
    """Return the F1 of columns in scenes that it never saw, by dose."""
    found: dict[str, list[tuple[int, int, int]]] = {}
    for seed in range(_HELD_OUT, _HELD_OUT + 200):
        one = scene(seed)
        xy, _ = peaks(heat_map(one.image, network), LEAST_PROBABILITY)
        counts = one.conditions["counts"]
        dose = next(name for name, (low, high) in _DOSES.items() if low <= counts < high)
        found.setdefault(dose, []).append(hits(xy, one.xy))
    totals = {dose: np.sum(found[dose], axis=0) for dose in _DOSES if dose in found}
    return {
        f"random lattices, {dose} counts in the brightest pixel": f"F1 {2 * hit / (made + planted):.3f}"
        for dose, (hit, made, planted) in totals.items()
    }


def hits(found: Floats, planted: Floats) -> tuple[int, int, int]:
    """Return how many columns were found, of those said and of those planted, away from the rim."""
    inner = [one[((one > _RIM) & (one < SIDE - 1 - _RIM)).all(axis=1)] for one in (found, planted)]
    if not len(inner[0]) or not len(planted):
        return 0, len(inner[0]), len(inner[1])
    distance, nearest = cKDTree(planted).query(inner[0], distance_upper_bound=_NEAR)
    return len(np.unique(nearest[np.isfinite(distance)])), len(inner[0]), len(inner[1])


def scene(seed: int, side: int = SIDE, pixel: float | None = None) -> Scene:
    """Simulate one image of `side` x `side` pixels, around the network's sampling or at `pixel` [nm]."""
    rng = np.random.default_rng(seed)
    drawn = NM_PER_PIXEL * math.exp(rng.uniform(-0.35, 0.35))
    pixel = drawn if pixel is None else pixel
    field = (side * pixel, side * pixel)
    columns = _columns(rng, field)
    conditions: dict[str, Any] = {
        "pixel_size": pixel,
        "counts": math.exp(rng.uniform(math.log(1.5), math.log(300.0))),
        "background": rng.uniform(0.0, 0.5),
        "contamination": rng.uniform(0.0, 0.6) if rng.random() < 0.5 else 0.0,
        "drift": tuple(rng.normal(0.0, 0.03, 2)),
        "line_jitter": rng.uniform(0.0, 0.006) if rng.random() < 0.7 else 0.0,
        "readout": rng.uniform(0.0, 1.0),
    }
    probe = Probe(rng.uniform(0.028, 0.055), rng.uniform(0.0, 0.3), rng.uniform(0.07, 0.12))
    simulated = adf_image(columns, (side, side), seed=int(rng.integers(2**32)), probe=probe, **conditions)
    share = simulated.weight / columns.weight.max()
    seen = _significance(share, conditions, width=probe.sigma / pixel) >= _FAINTEST
    return Scene(simulated.image, simulated.xy[seen] / pixel, conditions)


def _significance(share: Floats, conditions: dict[str, Any], *, width: float) -> Floats:
    """Return the signal of columns over its noise after a matched filter, neighbours left out."""
    signal = share * conditions["counts"]
    even = conditions["counts"] * (conditions["background"] + conditions["contamination"] / 2)
    noise = np.sqrt(even + conditions["readout"] ** 2 + signal / 2)
    return np.asarray(math.sqrt(math.pi) * width * signal / noise)


def _columns(rng: np.random.Generator, field: tuple[float, float]) -> Columns:
    """Return one crystal or two, with jitter, vacancies, and sometimes a hole."""
    xy, number, atoms = _crystal(rng, field)
    if rng.random() < 0.35:
        xy, number, atoms = _joined(rng, field, (xy, number, atoms))
    xy = xy + rng.normal(0.0, rng.uniform(0.0, 0.008), xy.shape)
    lost = rng.random(len(xy)) < rng.uniform(0.0, 0.08)
    if rng.random() < 0.25:
        lost |= _in_hole(rng, xy, field)
    if rng.random() < _EMPTY:
        xy = xy + 1e3  # [nm] out of sight
    doubled = rng.random(len(xy)) < rng.uniform(0.0, 0.1)  # an adatom, or a step of the surface
    number = np.where(rng.random(len(xy)) < rng.uniform(0.0, 0.03), rng.integers(6, 80, len(xy)), number)
    kept = ~lost if (~lost).any() else np.arange(len(xy)) == 0
    number, atoms = number[kept], (atoms + doubled)[kept]
    weight = atoms * number.astype(float) ** CONTRAST_EXPONENT
    return Columns(xy[kept], number, atoms, np.empty((0, 2)), weight)


Net = tuple[Floats, npt.NDArray[np.int64], npt.NDArray[np.int64]]


def _crystal(rng: np.random.Generator, field: tuple[float, float]) -> Net:
    turn = rng.uniform(0, 2 * math.pi)
    return fill(random_cell(rng), field, rotation=turn, origin=rng.random(2), margin=_MARGIN)


def _joined(rng: np.random.Generator, field: tuple[float, float], first: Net) -> Net:
    """Return a crystal and another one beyond a wavy line."""
    second = _crystal(rng, field)
    turn = rng.uniform(0, 2 * math.pi)
    centre = rng.uniform(0.2, 0.8, 2) * (field[1], field[0])
    along = np.array([math.cos(turn), math.sin(turn)])
    across = np.array([-math.sin(turn), math.cos(turn)])
    height, period = rng.uniform(0.0, 0.2), rng.uniform(0.8, 3.0)

    def side(xy: Floats) -> npt.NDArray[np.bool_]:
        wave = height * np.sin(2 * math.pi * ((xy - centre) @ along) / period)
        return np.asarray((xy - centre) @ across > wave)

    mine, theirs = ~side(first[0]), side(second[0])
    kept = [part[mine] for part in first]
    added = [part[theirs] for part in second]
    if len(kept[0]) and len(added[0]):
        far = cKDTree(kept[0]).query(added[0])[0] >= _CLOSEST
        added = [part[far] for part in added]
    return tuple(np.concatenate(pair) for pair in zip(kept, added, strict=True))  # type: ignore[return-value]


def _in_hole(rng: np.random.Generator, xy: Floats, field: tuple[float, float]) -> npt.NDArray[np.bool_]:
    """Return which columns lie in a hole of random shape: where a smooth surface is low."""
    surface = smooth_noise((32, 32), scale=rng.uniform(8, 20), rng=rng)
    place = np.clip((xy / (field[1], field[0]) * 32).astype(int), 0, 31)
    return np.asarray(surface[place[:, 1], place[:, 0]] < rng.uniform(0.15, 0.45))


def random_cell(rng: np.random.Generator) -> Cell:
    """Return a cell of a random family with random constants and elements."""
    return _FAMILIES[rng.integers(len(_FAMILIES))](rng)


def _element(rng: np.random.Generator) -> int:
    return int(rng.integers(6, 80))


def _honeycomb(rng: np.random.Generator) -> Cell:
    """Graphene, boron nitride, and sheets like them."""
    light = int(rng.integers(5, 16))
    other = light if rng.random() < 0.6 else int(rng.integers(5, 16))
    return hexagonal(
        rng.uniform(0.136, 0.20) * math.sqrt(3), (1 / 3, 1 / 3, light, 1), (2 / 3, 2 / 3, other, 1)
    )


def _dichalcogenide(rng: np.random.Generator) -> Cell:
    chalcogen, metal = int(rng.choice([16, 34, 52])), int(rng.integers(22, 79))
    constant = rng.uniform(0.165, 0.22) * math.sqrt(3)
    return hexagonal(constant, (1 / 3, 1 / 3, metal, 1), (2 / 3, 2 / 3, chalcogen, 2))


def _close_packed(rng: np.random.Generator) -> Cell:
    return hexagonal(rng.uniform(0.2, 0.36), (0.0, 0.0, _element(rng), int(rng.integers(1, 8))))


def _square(rng: np.random.Generator) -> Cell:
    side = rng.uniform(0.18, 0.42)
    return Cell((side, 0.0), (0.0, side), ((0.0, 0.0, _element(rng), int(rng.integers(1, 8))),))


def _perovskite(rng: np.random.Generator) -> Cell:
    """Along [001]: a heavy corner, a lighter centre with oxygen, and columns of oxygen alone."""
    side, a, b = rng.uniform(0.36, 0.42), int(rng.integers(20, 83)), int(rng.integers(13, 78))
    sites = ((0.0, 0.0, a, 10), (0.5, 0.5, b, 10), (0.5, 0.0, 8, 10), (0.0, 0.5, 8, 10))
    return Cell((side, 0.0), (0.0, side), sites)


def _dumbbell(rng: np.random.Generator) -> Cell:
    """Diamond and zinc blende along <110>."""
    first = _element(rng)
    second = first if rng.random() < 0.5 else int(np.clip(first + rng.integers(-8, 9), 5, 83))
    cube = rng.uniform(0.136, 0.165) * 4
    sites = ((0.0, 0.0, first, 5), (0.0, 0.25, second, 5), (0.5, 0.5, first, 5), (0.5, 0.75, second, 5))
    return Cell((cube / math.sqrt(2), 0.0), (0.0, cube), sites)


def _oblique(rng: np.random.Generator) -> Cell:
    """Any lattice, with a second column where there is room for it."""
    side, angle = rng.uniform(0.18, 0.35), rng.uniform(math.radians(62), math.radians(118))
    length = side * rng.uniform(1.0, 1.8)
    sites = [(0.0, 0.0, _element(rng), 1)]
    if length > 0.3 and rng.random() < 0.5:
        sites.append((rng.uniform(0.35, 0.65), 0.5, _element(rng), 1))
    return Cell((side, 0.0), (length * math.cos(angle), length * math.sin(angle)), tuple(sites))


_FAMILIES = (_honeycomb, _dichalcogenide, _close_packed, _square, _perovskite, _dumbbell, _oblique)
