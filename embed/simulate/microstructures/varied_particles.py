"""Images of particles at random: deposited, in layers, as powders and carbides, and of what is none.

Ranges are wider than single studies show, and the detector's are those of `varied_images`.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from micdb.embed.simulate.microstructures.cuboids import cuboids
from micdb.embed.simulate.microstructures.lettering import lettered
from micdb.embed.simulate.microstructures.mass_thickness import Transmission, look_through
from micdb.embed.simulate.microstructures.particles import FORMS, deposited, spheroidite
from micdb.embed.simulate.microstructures.sem import record
from micdb.embed.simulate.microstructures.varied_images import SemRanges, random_detector
from micdb.embed.simulate.microstructures.varied_scenes import random_scene
from micdb.embed.simulate.microstructures.view import Bools, Outline, Scene, View, no_objects
from micdb.embed.simulate.microstructures.waves import waves

Floats = npt.NDArray[np.float64]
Rng = np.random.Generator

#: Scenes without a particle.
NONE = ("pearlite", "network", "porous", "polycrystal", "martensite", "widmanstatten", "film", "lines")

#: Kinds of images and how often each is drawn.
KINDS: dict[str, float] = {
    "deposited": 0.14, "layer": 0.16, "powder": 0.14, "spheroidite": 0.12, "cuboids": 0.04, "none": 0.1,
    "dark field": 0.17, "bright field": 0.13,
}  # fmt: skip

_SMALLEST, _LARGEST = 6.0, 0.45  # [pixel], [field] median diameter
#: Particles are measured in images that show them: noise and faults as in ones that are published.
_DETECTOR = SemRanges(electrons=(40.0, 5000.0), blur=(0.4, 1.5), contrast=(50.0, 150.0), fault=(0.2, 0.4))
_FORMS = (0.35, 0.25, 0.3, 0.1)  # chances of `FORMS`
_THROUGH = ("dark field", "bright field")
_SUPPORT = 0.3  # chance that what has no particle is a support looked through
_SHELLS = 0.15  # chance of particles whose core scatters otherwise
_LETTERED, _COMPRESSED = 0.3, 0.3  # chances
_QUALITY = (40, 95)  # of JPEG


@dataclass(frozen=True, slots=True)
class ParticleImage:
    """An image of particles.

    Parameters
    ----------
    kind
        One of `KINDS`.
    image
        ``(y, x)``.
    scene
        What was there; without objects where there is no particle.
    hidden
        Pixels that letters stand on ``(y, x)``.
    """

    kind: str
    image: Floats
    scene: Scene
    hidden: Bools


def random_particles(
    view: View, *, seed: int, kind: str | None = None, diameter: float | None = None
) -> ParticleImage:
    """Return an image of particles, proportions and detector at random.

    Parameters
    ----------
    view
        Field of view.
    seed
        Of everything.
    kind
        One of `KINDS`; at random when None.
    diameter
        Median [nm]; log-uniform from six pixels to half the field when None.
    """
    rng = np.random.default_rng((seed, 7))
    names, chances = zip(*KINDS.items(), strict=True)
    drawn = str(rng.choice(names, p=np.array(chances) / sum(chances)))
    size = view.pixel_size * _log(rng, _SMALLEST, _LARGEST * min(view.shape))
    kind, size = kind or drawn, diameter or size
    scene = _scene(view, kind, size, int(rng.integers(1 << 31)), rng)
    if kind in _THROUGH or (kind == "none" and scene.thickness is not None):
        image = _looked_through(
            scene, kind == _THROUGH[0] or (kind == "none" and rng.random() < 0.5), size, rng
        )
    else:
        detector = random_detector(view.pixel_size, seed=int(rng.integers(1 << 31)), ranges=_DETECTOR)
        image = record(scene, detector, seed=int(rng.integers(1 << 31))).image.astype(np.float64)
    hidden = np.zeros(view.shape, bool)
    if rng.random() < _LETTERED:
        image, hidden = lettered(image, rng)
    if rng.random() < _COMPRESSED:
        image = _compressed(image, int(rng.integers(*_QUALITY)))
    return ParticleImage(kind, image, scene, hidden)


def _scene(view: View, kind: str, size: float, seed: int, rng: Rng) -> Scene:
    if kind == "none":
        made = random_scene(view, str(rng.choice(NONE)), seed=seed)
        bare = np.zeros(view.shape) if rng.random() < _SUPPORT else None
        return replace(made, instance=np.zeros_like(made.instance), objects=no_objects(), thickness=bare)
    if kind == "spheroidite":
        return spheroidite(
            view, diameter=min(size, 0.15 * min(view.extent)), seed=seed, fraction=_log(rng, 0.03, 0.4),
            spread=rng.uniform(0.2, 0.6), parted=True,
        )  # fmt: skip
    if kind == "cuboids":
        made = cuboids(
            view, spacing=max(size, 10 * view.pixel_size), seed=seed, fraction=rng.uniform(0.35, 0.75),
            disorder=rng.uniform(0.1, 0.3),
        )  # fmt: skip
        return replace(made, objects=replace(made.objects, outlines=_outlines(made)))
    draw: dict[str, Callable[[], dict[str, float]]] = {
        "deposited": lambda: {"cover": _log(rng, 0.05, 0.6), "clustering": rng.uniform(0, 0.8),
                              "overlap": rng.uniform(0, 0.35)},
        "layer": lambda: {"cover": _log(rng, 0.1, 0.95), "clustering": rng.choice([0.0, rng.random()])},
        "powder": lambda: {"cover": rng.uniform(0.7, 1.6), "clustering": 0.0},
    }  # fmt: skip
    how = draw.get(kind, draw[str(rng.choice(["deposited", "layer"], p=[0.35, 0.65]))])()
    layer = kind != "powder" and "overlap" not in how
    made = deposited(
        view, diameter=size, seed=seed, spread=_log(rng, 0.03, 0.5), layer=layer,
        form=FORMS[int(rng.choice(len(FORMS), p=_FORMS))], **how,
    )  # fmt: skip
    return _shaded(made, rng)


def _shaded(scene: Scene, rng: Rng) -> Scene:
    """Give each particle a brightness, facets, a texture and scattering of its own.

    Crystals scatter by their orientation, and their faces are as bright as they are turned to the detector.
    """
    assert scene.tone is not None  # noqa: S101 (deposited ones have both)
    assert scene.thickness is not None  # noqa: S101
    view = View((scene.tone.shape[0], scene.tone.shape[1]), scene.pixel_size)
    count, at = len(scene.objects), np.maximum(scene.instance - 1, 0)
    if not count:
        return scene
    size = float(np.median(scene.objects.diameter))
    away, faces = _within(scene, view, rng)
    fine = waves(view, length=size * _log(rng, 0.1, 0.6), rng=rng)
    rough = waves(view, length=size * _log(rng, 0.2, 4.0), rng=rng)
    tone = (
        0.12 * rng.choice([0.0, 1.0, 2.0]) * rng.normal(size=count)[at]
        + rng.choice([0.0, rng.uniform(0, 0.25)]) * faces + rng.choice([0.0, rng.uniform(0, 0.15)]) * fine
    )  # fmt: skip
    gain = rng.normal(0.0, rng.choice([0.05, 0.35]), count)[at] + rng.choice([0.0, 0.25]) * faces
    if rng.random() < _SHELLS:
        gain = gain + rng.uniform(-1.5, 1.0) * (away < rng.uniform(0.4, 0.9))
    inside = scene.instance > 0
    return replace(
        scene, relief=scene.relief + rng.choice([0.0, rng.uniform(0, 0.3)]) * rough,
        tone=scene.tone + np.where(inside, tone, 0.0),
        thickness=scene.thickness * np.where(inside, np.exp(gain), 1.0),
    )  # fmt: skip


def _within(scene: Scene, view: View, rng: Rng) -> tuple[Floats, Floats]:
    """Return each pixel's distance to its particle's centre [radius], and how its face is turned, -1 to 1."""
    at, turn = np.maximum(scene.instance - 1, 0), rng.uniform(0, 2 * math.pi, len(scene.objects))
    y, x = view.grid()
    radius = scene.objects.diameter[at] / 2
    right, down = (x - scene.objects.xy[at, 0]) / radius, (y - scene.objects.xy[at, 1]) / radius
    across = np.clip(right * np.cos(turn)[at] + down * np.sin(turn)[at], -1, 1)
    faces = across if rng.random() < 0.5 else np.sign(across + 0.3 * np.cos(7 * turn)[at])
    return np.hypot(right, down), faces


def _looked_through(scene: Scene, dark: bool, size: float, rng: Rng) -> Floats:
    pixel = scene.pixel_size
    transmission = Transmission(
        dark=dark, mean_free_path=size * _log(rng, 0.3, 3.0), support=_log(rng, 0.03, 0.5),
        uneven=_log(rng, 0.1, 1.2), support_length=size * _log(rng, 0.5, 12.0),
        counts=_log(rng, 60.0, 3000.0), blur=pixel * rng.uniform(0.3, 1.8),
    )  # fmt: skip
    image = look_through(scene, transmission, seed=int(rng.integers(1 << 31)))[0].astype(np.float64)
    if rng.random() < 0.4:  # detectors and those who resample images share counts between neighbours
        image = ndimage.gaussian_filter(image, rng.uniform(0.3, 1.0))
    return image


def _outlines(scene: Scene) -> tuple[Outline, ...]:
    """Return the outlines of objects that hide none."""
    found = ndimage.find_objects(scene.instance)
    return tuple(
        Outline(box[0].start, box[1].start, scene.instance[box] == number)
        for number, box in enumerate(found, start=1)
    )


def _compressed(image: Floats, quality: int) -> Floats:
    """Return an image as 8-bit JPEG keeps it."""
    low, high = np.percentile(image, (0.2, 99.8))
    grey = np.clip(255 * (image - low) / max(high - low, 1e-12), 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(grey).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer), dtype=np.float64)


def _log(rng: Rng, least: float, most: float) -> float:
    return math.exp(rng.uniform(math.log(least), math.log(max(most, least))))
