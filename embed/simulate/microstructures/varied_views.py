"""One specimen seen several times: views share its structure; what differs is the microscope.

Each view is recorded anew, by another detector, and shows another part, turned, mirrored and magnified
differently. What is bright stays bright: dark pores are no bright particles.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from micdb.embed.simulate.lattices import CELLS, crystal
from micdb.embed.simulate.microstructures.diffraction_contrast import defect_image
from micdb.embed.simulate.microstructures.mass_thickness import Transmission, look_through
from micdb.embed.simulate.microstructures.sem import record
from micdb.embed.simulate.microstructures.varied_foils import FoilRanges, random_settings
from micdb.embed.simulate.microstructures.varied_images import random_detector
from micdb.embed.simulate.microstructures.varied_scenes import KINDS, random_scene
from micdb.embed.simulate.microstructures.view import View
from micdb.embed.simulate.stem import adf_image
from micdb.embed.simulate.textures import random_field

Image = npt.NDArray[np.float32]
Rng = np.random.Generator
Look = Callable[[Rng], npt.NDArray[np.floating]]  # records the specimen once

#: Kinds of specimens: those that a scanning microscope shows, and those of others.
SPECIMENS = (*KINDS, "foil", "looked through", "atoms", "random field")

_STEP = 10.0  # [nm] of a pixel; only lengths in pixels matter here
_FOIL_STEP = 1.0  # [nm]
_ATOMS_STEP = (0.012, 0.03)  # [nm]: 8 to 25 pixels between columns
_SCALES = (0.6, 1.65)  # pixels of the record in one of a view
_DARK = 0.25  # chance that the second phase is darker
_GRAINY = 0.3  # chance of noise on top, up to this share of the standard deviation
_FOIL = FoilRanges(present=0.8)


def random_views(kind: str, *, seed: int, count: int = 4, side: int = 160) -> Image:
    """Return views of one specimen ``(count, side, side)``.

    Parameters
    ----------
    kind
        One of `SPECIMENS`.
    seed
        Of everything.
    count, side
        Views, and their sides [pixel].
    """
    rng = np.random.default_rng((seed, 7))
    whole = 2 * side  # a view of the coarsest scale and any turn hardly reaches beyond it
    look = _specimen(kind, whole, rng)
    return np.stack([_part(look(rng), side, rng) for _ in range(count)])


def _part(image: npt.NDArray[np.floating], side: int, rng: Rng) -> Image:
    """Return a part of an image, turned, magnified and noisier."""
    scale = _log(rng, *_SCALES)
    turn = rng.uniform(0, 2 * math.pi)
    room = max(0.0, (len(image) - side * scale) / 2)
    centre = len(image) / 2 + rng.uniform(-room, room, 2)
    cos, sin = scale * math.cos(turn), scale * math.sin(turn)
    flip = rng.choice([-1.0, 1.0])
    matrix = np.array([[cos, -sin * flip], [sin, cos * flip]])
    offset = centre - matrix @ np.full(2, (side - 1) / 2)
    smooth = np.asarray(image, np.float32)
    if scale > 1:  # no aliasing
        smooth = ndimage.gaussian_filter(smooth, 0.45 * math.sqrt(scale**2 - 1))
    part = ndimage.affine_transform(smooth, matrix, offset, (side, side), order=1, mode="mirror")
    if rng.random() < _GRAINY:
        part = part + rng.normal(0.0, rng.uniform(0, _GRAINY) * float(part.std()) + 1e-6, part.shape)
    return np.asarray(part, np.float32)


def _specimen(kind: str, side: int, rng: Rng) -> Look:
    if kind == "foil":
        return _foil(side, rng)
    if kind == "looked through":
        return _looked_through(side, rng)
    if kind == "atoms":
        return _atoms(side, rng)
    if kind == "random field":
        field = random_field(side, exponent=rng.uniform(0.5, 4.0), seed=_seed(rng))
        return lambda rng: field + rng.normal(0.0, _log(rng, 0.01, 0.5) * float(field.std()), field.shape)
    scene = random_scene(View((side, side), _STEP), kind, seed=_seed(rng))
    dark = bool(rng.random() < _DARK)

    def look(rng: Rng) -> npt.NDArray[np.floating]:
        detector = random_detector(_STEP, seed=_seed(rng))
        if (detector.contrast < 0) != dark:
            detector = replace(detector, contrast=-detector.contrast, brightness=250 - detector.brightness)
        return record(scene, detector, seed=_seed(rng)).image.astype(np.float32)

    return look


def _foil(side: int, rng: Rng) -> Look:
    view, seed = View((side, side), _FOIL_STEP), _seed(rng)
    foil, content, first = random_settings(view, seed=seed, ranges=_FOIL)

    def look(rng: Rng) -> npt.NDArray[np.floating]:
        _, _, camera = random_settings(view, seed=_seed(rng), ranges=_FOIL)
        camera = replace(camera, dark_field=first.dark_field)
        return defect_image(view, seed=seed, foil=foil, content=content, camera=camera).image

    return look


def _looked_through(side: int, rng: Rng) -> Look:
    scene = random_scene(View((side, side), _STEP), "particles", seed=_seed(rng))
    diameter, dark = scene.truth["median_diameter_nm"], bool(rng.random() < 0.5)
    path = diameter * _log(rng, 0.3, 6.0)

    def look(rng: Rng) -> npt.NDArray[np.floating]:
        transmission = Transmission(
            dark=dark, mean_free_path=path, support=_log(rng, 0.03, 1.0), uneven=rng.uniform(0.1, 0.8),
            support_length=diameter * _log(rng, 1.0, 12.0), counts=_log(rng, 10.0, 3000.0),
            blur=_STEP * rng.uniform(0.3, 1.8),
        )  # fmt: skip
        return look_through(scene, transmission, seed=_seed(rng))[0]

    return look


def _atoms(side: int, rng: Rng) -> Look:
    step = rng.uniform(*_ATOMS_STEP)
    material = str(rng.choice(sorted(CELLS)))
    columns = crystal(
        material, (side * step, side * step), seed=_seed(rng), rotation=rng.uniform(0, 60), jitter=0.005
    )

    def look(rng: Rng) -> npt.NDArray[np.floating]:
        return adf_image(
            columns, (side, side), pixel_size=step, seed=_seed(rng), counts=_log(rng, 2.0, 150.0),
            background=rng.uniform(0.05, 0.4), contamination=rng.uniform(0.0, 0.3),
        ).image  # fmt: skip

    return look


def _seed(rng: Rng) -> int:
    return int(rng.integers(1 << 31))


def _log(rng: Rng, least: float, most: float) -> float:
    return math.exp(rng.uniform(math.log(least), math.log(most)))
