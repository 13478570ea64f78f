"""The recipe of ``tem-heights``: metal particles by multislice that teach a U-Net to count atoms in columns.

Six fcc metals along three axes, up to 3.4 nm across, some on a film, some a little off the axis, at 300 kV
with a corrected lens some nm under focus; focus, aberrations and dose are drawn and not told to the network.
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

from micdb.embed.atoms.heat_map import draw
from micdb.embed.atoms.tem_heights import ELEMENTS, NM_PER_PIXEL, TALLEST, count, height, view
from micdb.embed.simulate.hrtem import hrtem_image
from micdb.embed.simulate.metals import nanoparticle
from micdb.embed.simulate.probe import Optics
from micdb.embed.simulate.stem import StemImage
from micdb.embed.train.loop import Batch

Floats = npt.NDArray[np.float64]

AXES = ((0, 0, 1), (1, 1, 0), (1, 1, 1))
SIDE, FIELD = 128, 208  # [pixel] of crops and of the images they are of
_SCENES, _CROPS = 4, 2  # in a batch
_DISC = 2.5  # [pixel] around a column, where its height is taught
_HELD_OUT = 2**40
_NEAR = 3.0  # [pixel]
_SCORED = 12  # atoms
_MEASURED = 90  # scenes
_TEMPERATURES = (0.6, 0.7, 0.8, 0.9, 1.0, 1.15, 1.3, 1.5, 1.75, 2.0)
_NOTHING = 0  # height of a pixel that is none


@dataclass(frozen=True, slots=True)
class Scene:
    """An image, its truth, and its element."""

    simulated: StemImage
    number: int
    conditions: dict[str, Any]


def scene(seed: int) -> Scene:
    """Simulate the image of a particle."""
    rng = np.random.default_rng(seed)
    metal = str(rng.choice(list(ELEMENTS)))
    pixel = NM_PER_PIXEL * math.exp(rng.normal(0.0, 0.02))  # calibrations are a few per cent off
    field = (FIELD * pixel, FIELD * pixel)
    particle = nanoparticle(
        metal, field, seed=int(rng.integers(2**31)), diameter=rng.uniform(1.2, 3.4),
        axis=AXES[rng.integers(len(AXES))], rotation=rng.uniform(0, 360), truncation=rng.uniform(0.95, 1.3),
        missing=rng.uniform(0.0, 0.4),
    )  # fmt: skip
    tilt = rng.normal(0.0, 5.0, 2)  # [mrad]
    particle = particle.mistilted(float(tilt[0]), float(tilt[1]))
    lens = Optics(
        voltage=300.0, convergence=25.0, defocus=rng.uniform(4.0, 8.0),
        astigmatism=abs(rng.normal(0.0, 0.7)), astigmatism_angle=rng.uniform(0, 180),
        c3=rng.uniform(-15.0, -5.0),
        source=rng.uniform(0.01, 0.03), focal_spread=rng.uniform(2.0, 4.0),
    )  # fmt: skip
    conditions: dict[str, Any] = {
        "counts": math.exp(rng.uniform(math.log(15.0), math.log(120.0))),
        "support": rng.uniform(0.0, 3.0) if rng.random() < 0.5 else 0.0,
        "readout": rng.uniform(0.0, 1.0),
    }
    image = hrtem_image(
        particle, (FIELD, FIELD), pixel_size=pixel, seed=int(rng.integers(2**31)), lens=lens, **conditions
    )
    return Scene(image, ELEMENTS[metal], conditions)


def batch(seed: int) -> Batch:
    """Return images ``(n, 2, y, x)``, maps of columns ``(n, 1, y, x)`` and of heights ``(n, y, x)``."""
    rng = np.random.default_rng(seed)
    made = [_crop(one, rng) for one in map(scene, rng.integers(2**62, size=_SCENES)) for _ in range(_CROPS)]
    images, spots, heights = (np.stack(part) for part in zip(*made, strict=True))
    return images, spots, heights


def loss(network: nn.Module, arrays: tuple[Tensor, ...]) -> Tensor:
    """Return the cross entropy of the map of columns, and of the heights around columns."""
    images, spots, heights = arrays
    answer = network(images.contiguous(memory_format=torch.channels_last))
    where = functional.binary_cross_entropy_with_logits(answer[:, :1], spots, weight=1 + 2 * spots)
    taught = heights > 0
    if not taught.any():
        return 3 * where
    mean, log_sd = height((answer[:, 1][taught], answer[:, 2][taught]))
    off = (torch.arange(1, TALLEST + 1) - mean[:, None]) / torch.exp(log_sd)[:, None]
    counted = functional.cross_entropy(-0.5 * off.square(), heights[taught].long() - 1)
    return 3 * where + counted


def measure(network: nn.Module) -> dict[str, Any]:
    """Return what it reaches on particles it never saw, and a temperature that makes it as sure as right."""
    scenes = [scene(seed) for seed in range(_HELD_OUT, _HELD_OUT + _MEASURED)]
    half = _MEASURED // 3
    temperature = min(_TEMPERATURES, key=lambda one: _charge(scenes[:half], network, one))
    found = [_answers(one, network, temperature) for one in scenes[half:]]
    belief, truth = (np.concatenate(part) for part in zip(*found, strict=True))
    off = np.abs(belief.argmax(axis=1) + 1 - truth)[truth <= _SCORED]
    reached = f"exact {(off == 0).mean():.3f}, within one {(off <= 1).mean():.3f}"
    return {
        "temperature": temperature,
        f"particles of {len(ELEMENTS)} metals, columns of up to {_SCORED} atoms": reached,
    }


def _answers(one: Scene, network: nn.Module, temperature: float) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Return the beliefs at the columns that were found, and their heights."""
    image, pixel = one.simulated.image.astype(np.float64), one.simulated.pixel_size
    answer = count(image, pixel, one.number, network, threshold=0.5, temperature=temperature)
    distance, nearest = cKDTree(one.simulated.xy / pixel).query(answer.xy, distance_upper_bound=_NEAR)
    hit = np.isfinite(distance)
    return answer.belief[hit], one.simulated.atoms[nearest[hit]]


def _charge(scenes: list[Scene], network: nn.Module, temperature: float) -> float:
    """Return how surprising the heights of columns are, on the mean."""
    found = [_answers(one, network, temperature) for one in scenes]
    belief, truth = (np.concatenate(part) for part in zip(*found, strict=True))
    return float(-np.log(belief[np.arange(len(truth)), np.minimum(truth, TALLEST) - 1] + 1e-12).mean())


def _crop(one: Scene, rng: np.random.Generator) -> tuple[npt.NDArray[np.float32], ...]:
    whole = view(one.simulated.image, one.number)
    xy = one.simulated.xy / one.simulated.pixel_size
    spots, heights = draw(xy, whole.shape[1:]), _heights(xy, one.simulated.atoms, whole.shape[1:])
    y, x = rng.integers(FIELD - SIDE + 1, size=2)
    turns, mirrored = int(rng.integers(4)), rng.random() < 0.5
    parts = (part[..., y : y + SIDE, x : x + SIDE] for part in (whole, spots[None], heights))
    turned = (np.rot90(part, turns, axes=(-2, -1)) for part in parts)
    return tuple(
        np.ascontiguousarray(part[..., ::-1] if mirrored else part, dtype=np.float32) for part in turned
    )


def _heights(xy: Floats, atoms: npt.NDArray[np.int64], shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Return the height of the nearest column at each pixel near one, `_NOTHING` elsewhere."""
    if not len(xy):
        return np.full(shape, _NOTHING, dtype=np.float32)
    y, x = np.indices(shape)
    distance, nearest = cKDTree(xy).query(np.column_stack((x.ravel(), y.ravel())), distance_upper_bound=_DISC)
    known = np.append(np.minimum(atoms, TALLEST), _NOTHING)
    return known[np.where(np.isfinite(distance), nearest, len(xy))].reshape(shape).astype(np.float32)
