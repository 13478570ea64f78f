"""Foils with defects at random: what learners of crystal defects are trained on."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from micdb.embed.simulate.microstructures.diffraction_contrast import (
    Camera,
    Content,
    DefectImage,
    defect_image,
)
from micdb.embed.simulate.microstructures.foil import Foil
from micdb.embed.simulate.microstructures.inclusions import Population
from micdb.embed.simulate.microstructures.view import View

Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class FoilRanges:
    """From what `random_defects` draws.

    Parameters
    ----------
    thickness
        [nm] what 200 to 300 kV look through.
    extinction
        [nm].
    deviation, bending, buckle, spread, wedge
        As in `Foil`; none of the last four is under 0.
    lines
        [nm**-2], log-uniform: 1e13 to 3e14 per m**2.
    diameter
        Median of each population: least [pixel], and most as a share of the field's shorter side.
    cover
        Summed area of a population over that of the field, log-uniform.
    present
        Chance of lines, and of each population.
    counts
        Per pixel, log-uniform.
    blur
        [pixel].
    defocus
        Largest of either sign [nm]; half of the images are in focus.
    mottle
        As in `Camera`.
    dark_field
        Chance.
    """

    thickness: Range = (50.0, 250.0)
    extinction: Range = (16.0, 60.0)
    deviation: Range = (-0.5, 2.0)
    bending: float = 5.0
    buckle: float = 1.0
    spread: float = 1.5
    wedge: float = 0.8
    lines: Range = (1e-5, 3e-4)
    diameter: Range = (5.0, 0.15)
    cover: Range = (0.003, 0.12)
    present: float = 0.7
    counts: Range = (20.0, 3000.0)
    blur: Range = (0.4, 1.5)
    defocus: float = 1500.0
    mottle: float = 0.12
    dark_field: float = 0.1


_RANGES = FoilRanges()


def random_defects(view: View, *, seed: int, ranges: FoilRanges = _RANGES) -> DefectImage:
    """Return an image of defects, with foil, content and camera at random.

    Parameters
    ----------
    view
        Field of view; pixels of 0.3 to 3 nm.
    seed
        Of everything.
    ranges
        Of the settings.
    """
    foil, content, camera = random_settings(view, seed=seed, ranges=ranges)
    return defect_image(view, seed=seed, foil=foil, content=content, camera=camera)


def random_settings(view: View, *, seed: int, ranges: FoilRanges = _RANGES) -> tuple[Foil, Content, Camera]:
    """Return what `random_defects` hands to `defect_image`; parameters as there.

    With no content the same settings give the same foil without its defects: what they change.
    """
    rng = np.random.default_rng((seed, 4))
    foil = Foil(
        thickness=rng.uniform(*ranges.thickness), wedge=rng.uniform(0, ranges.wedge),
        extinction=_log(rng, ranges.extinction), deviation=rng.uniform(*ranges.deviation),
        bending=rng.uniform(0, ranges.bending), buckle=rng.uniform(0, ranges.buckle),
        spread=rng.uniform(0, ranges.spread),
    )  # fmt: skip
    content = Content(
        lines=_log(rng, ranges.lines) if rng.random() < ranges.present else 0.0,
        loops=_population(view, ranges, rng, (0.3, 0.9)),
        precipitates=_population(view, ranges, rng, (0.15, 0.8)),
        voids=_population(view, ranges, rng, (0.1, 0.4)),
        waviness=rng.uniform(0, 0.7),
    )
    camera = Camera(
        counts=_log(rng, ranges.counts), blur=view.pixel_size * rng.uniform(*ranges.blur),
        defocus=float(rng.choice([0.0, rng.uniform(-1, 1) * ranges.defocus])),
        dark_field=bool(rng.random() < ranges.dark_field), mottle=rng.uniform(0, ranges.mottle),
        mottle_length=view.pixel_size * rng.uniform(4, 20),
    )  # fmt: skip
    return foil, content, camera


def _population(view: View, ranges: FoilRanges, rng: np.random.Generator, strength: Range) -> Population:
    least, most = ranges.diameter[0], max(ranges.diameter[1] * min(view.shape), 1.2 * ranges.diameter[0])
    diameter = view.pixel_size * _log(rng, (least, most))
    cover = _log(rng, ranges.cover) if rng.random() < ranges.present else 0.0
    density = cover / (math.pi / 4 * diameter**2)
    return Population(density, diameter, rng.uniform(0.1, 0.45), strength)


def _log(rng: np.random.Generator, limits: Range) -> float:
    return math.exp(rng.uniform(math.log(limits[0]), math.log(limits[1])))
