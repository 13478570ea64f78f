"""A wide, seeded collection of textures: the yardstick against which texture features are balanced."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from micdb.embed.simulate.lattices import crystal
from micdb.embed.simulate.microstructures.scenes import SCENES
from micdb.embed.simulate.microstructures.sem import Detector, scan
from micdb.embed.simulate.microstructures.view import Scene, View
from micdb.embed.simulate.stem import adf_image

_PIXEL = 20.0  # [nm] of the microstructures; only lengths in pixels matter here
_ATOMS_PIXEL = 0.02  # [nm]

#: Kinds of texture, in turn.
KINDS = ("spheroidite", "pearlite", "network", "porous", "field", "grains", "atoms")


def reference_textures(count: int, *, seed: int, side: int = 192) -> Iterator[npt.NDArray[np.float32]]:
    """Yield `count` images ``(side, side)`` of all `KINDS` in turn, sizes, contrast and noise at random.

    Characteristic lengths are log-uniform between 5 pixels and a quarter of the image; the second phase is
    brighter or darker than the matrix; noise runs from clean to coarse.
    """
    for index in range(count):
        rng = np.random.default_rng((seed, index))
        yield _texture(KINDS[index % len(KINDS)], side, rng)


def _texture(kind: str, side: int, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    length = float(np.exp(rng.uniform(math.log(5.0), math.log(side / 4))))  # [pixel]
    sub_seed = int(rng.integers(1 << 31))
    if kind == "field":
        return random_field(side, exponent=rng.uniform(0.5, 4.0), seed=sub_seed)
    if kind == "atoms":
        material = str(rng.choice(["graphene", "MoS2", "Au[001]", "Ag[111]"]))
        field = (side * _ATOMS_PIXEL, side * _ATOMS_PIXEL)
        columns = crystal(material, field, seed=sub_seed, rotation=rng.uniform(0, 60), jitter=0.005)
        counts = float(np.exp(rng.uniform(1, 5)))
        return adf_image(columns, (side, side), pixel_size=_ATOMS_PIXEL, seed=sub_seed, counts=counts).image
    view = View((side, side), _PIXEL)
    scene = (
        _grains(view, length, sub_seed) if kind == "grains" else SCENES[kind](view, length * _PIXEL, sub_seed)
    )
    sign = 1 if rng.random() < 0.6 else -1
    detector = Detector(
        contrast=sign * rng.uniform(50, 110), brightness=80.0 if sign > 0 else 170.0,
        edge=rng.uniform(0, 0.6), electrons=float(np.exp(rng.uniform(3, 7))),
        blur=_PIXEL * rng.uniform(0.4, 1.5), shading=rng.uniform(0, 0.5),
    )  # fmt: skip
    return scan(scene, detector, seed=sub_seed).astype(np.float32)


def _grains(view: View, length: float, seed: int) -> Scene:
    """Return grains told apart by orientation contrast only, with a faint film."""
    scene = SCENES["network"](view, 2 * length * view.pixel_size, seed)
    return replace(scene, coverage=0.15 * scene.coverage, relief=6 * scene.relief)


def random_field(side: int, *, exponent: float, seed: int) -> npt.NDArray[np.float32]:
    """Return a Gaussian random field ``(side, side)`` whose power falls as frequency**-exponent."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None, :])
    frequency[0, 0] = np.inf
    spectrum = np.fft.rfft2(rng.normal(size=(side, side))) * frequency ** (-exponent / 2)
    return np.asarray(np.fft.irfft2(spectrum, s=(side, side)), dtype=np.float32)
