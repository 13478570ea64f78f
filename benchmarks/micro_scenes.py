"""What benchmarks/micro.py compares with: simulated textures of known class and size, and floors."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.feature import local_binary_pattern

from micdb.embed.micro.spectrum import Spectrum, spectrum
from micdb.embed.simulate.microstructures.fields import porous
from micdb.embed.simulate.microstructures.films import network
from micdb.embed.simulate.microstructures.grains import polycrystal
from micdb.embed.simulate.microstructures.lamellae import pearlite
from micdb.embed.simulate.microstructures.needles import martensite
from micdb.embed.simulate.microstructures.particles import deposited, spheroidite
from micdb.embed.simulate.microstructures.sem import scan
from micdb.embed.simulate.microstructures.strands import strands
from micdb.embed.simulate.microstructures.varied_images import SemRanges, random_detector
from micdb.embed.simulate.microstructures.varied_scenes import KINDS, random_scene
from micdb.embed.simulate.microstructures.view import Scene, View

Matrix = npt.NDArray[np.float64]
Make = Callable[[View, float, int], Scene]

SIDE = 256  # [pixel]
_STEP = 10.0  # [nm] mean size of a pixel
_SIZES = (0.5, 1.0, 2.0)  # of the characteristic length
_BANDS = 24  # of the floor

#: Clear images: 50 to 1000 electrons per pixel, no artefacts.
CLEAR = SemRanges(
    electrons=(50.0, 1000.0), blur=(0.5, 1.2), contrast=(60.0, 130.0), brightness=(60.0, 100.0),
    edge=(0.0, 0.6), shading=(0.0, 0.4), fault=(0.0, 0.0), inverted=0.0, gamma=(0.8, 1.25),
)  # fmt: skip

#: Eight textures: characteristic length [mean pixel], and what is drawn.
TEXTURES: dict[str, tuple[float, Make]] = {
    "spheroidite": (12, lambda v, n, s: spheroidite(v, diameter=n, seed=s, fraction=0.15, spread=0.35)),
    "pearlite": (12, lambda v, n, s: pearlite(v, spacing=n, seed=s, fraction=0.3, colony=12)),
    "network": (60, lambda v, n, s: network(v, grain=n, seed=s, width=0.06)),
    "porous": (25, lambda v, n, s: porous(v, length=n, seed=s, fraction=0.5)),
    "polycrystal": (32, lambda v, n, s: polycrystal(v, grain=n, seed=s, spread=0.3, contrast=0.6)),
    "martensite": (11, lambda v, n, s: martensite(v, lath=n, seed=s, laths_per_block=4)),
    "particles": (20, lambda v, n, s: deposited(v, diameter=n, seed=s, cover=0.3, spread=0.2)),
    "fibres": (9, lambda v, n, s: strands(v, diameter=n, seed=s, cover=0.8, waviness=0.8)),
}


@dataclass(frozen=True, slots=True)
class Sample:
    """An image, its pixel size [nm], what it shows, and the number of its size."""

    image: npt.NDArray[np.float32]
    pixel_size: float
    kind: str
    size: int = 0


def textures(seed: int, *, each: int, spread: float) -> Iterator[Sample]:
    """Yield `each` images of every texture and size; pixel sizes vary by a factor `spread` to either side."""
    number = 0
    for kind, (length, make) in TEXTURES.items():
        for size, factor in enumerate(_SIZES):
            for _ in range(each):
                one, number = seed + number, number + 1
                rng = np.random.default_rng((one, 11))
                step = _STEP * math.exp(rng.uniform(-1, 1) * math.log(spread))
                scene = make(View((SIDE, SIDE), step), length * factor * _STEP, one)
                image = scan(scene, random_detector(step, seed=one, ranges=CLEAR), seed=one)
                yield Sample(image.astype(np.float32), step, kind, size)


def anything(seed: int, *, each: int) -> Iterator[Sample]:
    """Yield `each` images of every kind: any proportions and detector, artefacts, down to 5 electrons."""
    for number, kind in enumerate(kind for kind in KINDS for _ in range(each)):
        one = seed + number
        scene = random_scene(View((SIDE, SIDE), _STEP), kind, seed=one)
        image = scan(scene, random_detector(_STEP, seed=one), seed=one)
        yield Sample(image.astype(np.float32), _STEP, kind)


def lbp(image: npt.NDArray[np.float32]) -> Matrix:
    """Return the uniform LBP histogram, P = 8, R = 1."""
    codes = local_binary_pattern(np.clip(image, 0, 255).round().astype(np.uint8), 8, 1, method="uniform")
    return np.bincount(codes.astype(int).ravel(), minlength=10).astype(float) / codes.size


def radial_power(image: npt.NDArray[np.float32]) -> Matrix:
    """Return the logarithm of power in rings of frequency in 1/pixel: the floor that knows no scale."""
    grey = (image - image.mean()) / max(float(image.std()), 1e-12)
    window = np.hanning(grey.shape[0])[:, None] * np.hanning(grey.shape[1])[None, :]
    power = np.abs(np.fft.rfft2(grey * window)) ** 2
    radius = np.hypot(np.fft.fftfreq(grey.shape[0])[:, None], np.fft.rfftfreq(grey.shape[1])[None, :])
    edges = np.geomspace(1 / 128, 0.45, _BANDS + 1)
    at = np.digitize(radius.ravel(), edges) - 1
    inside = (at >= 0) & (at < _BANDS)
    sums = np.bincount(at[inside], power.ravel()[inside], _BANDS)
    rings = np.log(sums / np.maximum(np.bincount(at[inside], minlength=_BANDS), 1) + 1e-9)
    return np.asarray(rings - rings.mean())


def spectra(samples: list[Sample]) -> list[Spectrum]:
    """Return the spectrum of each image on an axis of 1/nm."""
    found = [spectrum(one.image, (one.pixel_size, one.pixel_size)) for one in samples]
    return [one for one in found if not isinstance(one, str)]


def copies(image: npt.NDArray[np.float32], rng: np.random.Generator) -> dict[str, npt.NDArray[np.float32]]:
    """Return an image's middle as it is, and changed in ways that leave the structure alone."""
    side = int(min(image.shape) / math.sqrt(2)) // 8 * 8  # what is left of it at any turn
    turned = ndimage.rotate(image, rng.uniform(10, 350), order=3, reshape=False, mode="mirror")
    spread = float(image.std())
    low, high = np.percentile(image, [0.1, 99.9])
    unit = np.clip((image - low) / max(float(high - low), 1e-12), 0, 1)
    changed = {
        "as it is": image,
        "turned by any angle": turned,
        "mirrored and turned by 90 degrees": np.rot90(image)[:, ::-1],
        "gain and offset": 0.4 * image + 50,
        "gamma 0.7": unit**0.7,
        "gamma 1.4": unit**1.4,
        "noise of 15 %": image + rng.normal(0, 0.15 * spread, image.shape),
        "noise of 30 %": image + rng.normal(0, 0.3 * spread, image.shape),
        "blur of 0.7 pixel": ndimage.gaussian_filter(image, 0.7),
    }
    top, left = ((size - side) // 2 for size in image.shape)
    return {
        name: np.asarray(one[top : top + side, left : left + side], np.float32)
        if one.shape == image.shape
        else np.asarray(one[left : left + side, top : top + side], np.float32)
        for name, one in changed.items()
    }
