"""Images of every kind without noise: what an exposure without end would show.

Microstructures in the secondary-electron image and looked through, atom columns in the dark field and in
phase contrast, surfaces under a tip. Each is scaled: its brightest pixels are 1, nothing is below 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from micdb.embed.simulate.hrtem import LENS, hrtem_image
from micdb.embed.simulate.lattices import fill
from micdb.embed.simulate.metals import nanoparticle
from micdb.embed.simulate.microstructures.varied_images import (
    SemRanges,
    random_micrograph,
    random_transmission,
)
from micdb.embed.simulate.microstructures.view import View
from micdb.embed.simulate.stem import Probe, adf_image, smooth_noise
from micdb.embed.simulate.stm import topograph
from micdb.embed.simulate.structure import CONTRAST_EXPONENT, Columns
from micdb.embed.train.atoms import random_cell

Image = npt.NDArray[np.float32]

_STEP = 10.0  # [nm] of a pixel of microstructures: only lengths in pixels matter
_SHARP = SemRanges(blur=(0.4, 1.4))
_BRIGHTEST = 99.8  # [per cent] of the pixels
_PLENTY = 1e6  # [counts] whose noise is a thousandth
_PARTICLES = ("particles", "particles", "powder")  # of every form
_EVEN = 0.03  # share of images that show nothing: noise must stay noise


def noiseless(side: int, *, seed: int, particles: float = 0.15) -> Image:
    """Return an image ``(side, side)``, 0 to about 1.

    Parameters
    ----------
    side
        [pixel].
    seed
        Of everything.
    particles
        Share of images of particles on a substrate beside those among all microstructures.
    """
    rng = np.random.default_rng((seed, 7))
    if rng.random() < _EVEN:
        return np.full((side, side), 0.5, np.float32)
    rest = (1 - particles) * np.array([0.45, 0.15, 0.2, 0.12, 0.08])
    number = int(rng.choice(len(_KINDS), p=[particles, *rest]))
    made = _KINDS[number](side, int(rng.integers(2**31)), rng)
    low = max(float(made.min()) - rng.uniform(0, 0.5) * float(np.ptp(made)), 0.0)
    value = np.asarray(made, np.float64) - low * rng.random()  # an offset that carries no signal
    return np.asarray(value / max(float(np.percentile(value, _BRIGHTEST)), 1e-9), dtype=np.float32)


def _particles(side: int, seed: int, rng: np.random.Generator) -> Image:  # noqa: ARG001 (as the others)
    return random_micrograph(View((side, side), _STEP), seed=seed, kinds=_PARTICLES, ranges=_SHARP)[1].clean


def _microstructure(side: int, seed: int, rng: np.random.Generator) -> Image:  # noqa: ARG001 (as the others)
    return random_micrograph(View((side, side), _STEP), seed=seed, ranges=_SHARP)[1].clean


def _looked_through(side: int, seed: int, rng: np.random.Generator) -> Image:
    return random_transmission(View((side, side), 1.0), seed=seed, dark=bool(rng.random() < 0.6))[2]


def _columns(side: int, seed: int, rng: np.random.Generator) -> Image:
    """Return atom columns in the annular dark field, with vacancies, a hole now and then, contamination."""
    pixel = 0.03 * math.exp(rng.uniform(-1.0, 0.35))  # [nm]
    field = (side * pixel, side * pixel)
    turn = rng.uniform(0, 2 * math.pi)
    xy, number, atoms = fill(random_cell(rng), field, rotation=turn, origin=rng.random(2), margin=0.4)
    xy = xy + rng.normal(0.0, rng.uniform(0.0, 0.01), xy.shape)
    kept = rng.random(len(xy)) > rng.uniform(0.0, 0.1)
    if rng.random() < 0.4:
        place = np.clip((xy / (field[1], field[0]) * 32).astype(int), 0, 31)
        kept &= smooth_noise((32, 32), scale=14, rng=rng)[place[:, 1], place[:, 0]] > rng.uniform(0.2, 0.6)
    kept[:1] = True
    weight = atoms * number.astype(float) ** CONTRAST_EXPONENT
    columns = Columns(xy[kept], number[kept], atoms[kept], np.empty((0, 2)), weight[kept])
    probe = Probe(rng.uniform(0.028, 0.06), rng.uniform(0.0, 0.3), rng.uniform(0.07, 0.12))
    return adf_image(
        columns, (side, side), pixel_size=pixel, seed=seed, probe=probe, counts=_PLENTY, readout=0.0,
        background=rng.uniform(0.0, 0.5), contamination=rng.uniform(0.0, 0.8) * (rng.random() < 0.5),
        line_jitter=rng.uniform(0.0, 0.006) * (rng.random() < 0.3),
    ).image  # fmt: skip


def _phase_contrast(side: int, seed: int, rng: np.random.Generator) -> Image:
    pixel = 0.025 * math.exp(rng.uniform(-0.5, 0.5))  # [nm]
    field = (side * pixel, side * pixel)
    metal = nanoparticle(
        str(rng.choice(["Au", "Pt", "Cu"])), field, seed=seed, diameter=rng.uniform(0.4, 0.9) * min(field),
        axis=[(0, 0, 1), (1, 1, 0), (1, 1, 1)][rng.integers(3)], rotation=rng.uniform(0, 360),
    )  # fmt: skip
    lens = replace(LENS, defocus=rng.uniform(3.0, 9.0), c3=rng.uniform(-15.0, -5.0))
    return hrtem_image(
        metal, (side, side), pixel_size=pixel, seed=seed, counts=_PLENTY, lens=lens,
        support=rng.uniform(0.0, 3.0) * (rng.random() < 0.5),
    ).image  # fmt: skip


def _surface(side: int, seed: int, rng: np.random.Generator) -> Image:
    """Return terraces with the lattice, and bumps and hollows on them."""
    pixel = rng.uniform(0.02, 0.12)  # [nm]
    value = topograph(
        (side, side), pixel_size=pixel, seed=seed, steps=int(rng.integers(3)),
        corrugation=rng.uniform(0.0, 0.1), noise=0.0,
    )  # fmt: skip
    y, x = np.mgrid[:side, :side]
    for _ in range(int(rng.integers(12))):
        wide, at = math.exp(rng.uniform(math.log(1.5), math.log(12.0))), rng.uniform(0, side, 2)
        value += rng.normal(0.0, 0.15) * np.exp(-((y - at[0]) ** 2 + (x - at[1]) ** 2) / (2 * wide**2))
    return np.asarray(value - value.min() + 0.2 * np.ptp(value), dtype=np.float32)


_KINDS: tuple[Callable[[int, int, np.random.Generator], Image], ...] = (
    _particles, _microstructure, _looked_through, _columns, _phase_contrast, _surface,
)  # fmt: skip
