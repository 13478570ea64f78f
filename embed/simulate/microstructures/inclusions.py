"""Loops, precipitates and voids in a foil, and the contrast they make."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from micdb.embed.simulate.microstructures.canvas import Canvas
from micdb.embed.simulate.microstructures.foil import Foil
from micdb.embed.simulate.microstructures.shapes import ellipse

Floats = npt.NDArray[np.float64]

_BLACK = 0.9  # largest share of the intensity a defect takes away


@dataclass(frozen=True, slots=True)
class Population:
    """How many objects of one kind there are, and how large.

    Parameters
    ----------
    density
        Number over area [nm**-2].
    diameter
        Median [nm].
    spread
        Standard deviation of the logarithm.
    strength
        Range of the contrast of single ones, as a share of the intensity.
    """

    density: float
    diameter: float
    spread: float = 0.25
    strength: tuple[float, float] = (0.3, 0.8)


@dataclass(frozen=True, slots=True)
class Painting:
    """What objects are drawn on.

    Parameters
    ----------
    canvas
        Takes masks and sizes.
    intensity
        ``(y, x)``, changed in place.
    excited
        How strongly defects show ``(y, x)``.
    foil
        The foil.
    g
        Direction of the diffraction vector against x [radian].
    """

    canvas: Canvas
    intensity: Floats
    excited: Floats
    foil: Foil
    g: float


def draw_loops(painting: Painting, population: Population, rng: np.random.Generator, *, kind: int) -> None:
    """Draw dislocation loops.

    A circle in its habit plane is an ellipse in projection; where the ring runs along g it has no contrast,
    so large loops are two arcs and small ones coffee beans (Jenkins and Kirk, Characterisation of Radiation
    Damage by Transmission Electron Microscopy, 2001, chapters 3 and 4). The mask is the ellipse along the
    middle of the ring, the diameter its long axis.

    Parameters
    ----------
    painting
        What is drawn on.
    population
        Of the loops.
    rng
        Of everything.
    kind
        Class of the objects.
    """
    for centre, radius, strength in _scattered(painting, population, rng):
        lean, turn = math.acos(rng.uniform(0.15, 1.0)), float(rng.uniform(0, math.pi))
        ring = min(painting.foil.image_width, 0.6 * radius)  # [nm] width of the ring's image
        short = max(radius * math.cos(lean), ring / 2)
        shape = ellipse(math.sqrt(radius * short), math.sqrt(radius / short), turn)
        box = painting.canvas.box(shape._replace(reach=(radius + ring, radius + ring)), centre)
        if painting.canvas.add(shape, centre, kind=kind) is None:
            continue
        y, x = painting.canvas.offsets(box, centre)
        from_edge = shape.distance(y, x) * math.sqrt(short / radius)
        lobes = 0.25 + 0.75 * np.abs(np.cos(np.arctan2(y, x) - painting.g))
        profile = np.exp(-4 * math.log(2) * (from_edge / ring) ** 2) * lobes + 0.2 * (from_edge > 0)
        _darken(painting, box, strength * profile)


def draw_precipitates(
    painting: Painting, population: Population, rng: np.random.Generator, *, kind: int, strain: float = 0.4
) -> None:
    """Draw precipitates: darker by their scattering, with lobes of strain along g where they are coherent.

    The lobes are those of Ashby and Brown (Philos. Mag. 8, 1083, 1963), with no contrast across g.

    Parameters
    ----------
    painting
        What is drawn on.
    population
        Of the precipitates.
    rng
        Of everything.
    kind
        Class of the objects.
    strain
        Largest strength of the lobes, relative to that of the precipitate.
    """
    for centre, radius, strength in _scattered(painting, population, rng):
        ratio, turn = math.exp(rng.normal(0.0, 0.15)), float(rng.uniform(0, math.pi))
        lobe, shape = strain * rng.random(), ellipse(radius, ratio, turn)
        far = 2.2 * radius
        box = painting.canvas.box(shape._replace(reach=(far, far)), centre)
        if painting.canvas.add(shape, centre, kind=kind) is None:
            continue
        y, x = painting.canvas.offsets(box, centre)
        depth = shape.distance(y, x)
        share = painting.canvas.view.step(depth)
        away = np.exp(-np.maximum(-depth, 0.0) / (0.4 * radius)) * (1 - share)
        along = np.abs(np.cos(np.arctan2(y, x) - painting.g))
        _darken(painting, box, strength * (share + lobe * away * along), everywhere=0.7)


def draw_voids(
    painting: Painting, population: Population, rng: np.random.Generator, *, kind: int, fringe: float
) -> None:
    """Draw voids: less matter, and a Fresnel fringe at the edge out of focus.

    In underfocus a void is bright with a dark rim, in overfocus dark with a bright one; the true edge lies
    between the two (Ruehle, in Radiation-Induced Voids in Metals, 1972).

    Parameters
    ----------
    painting
        What is drawn on.
    population
        Of the voids; the strength is that of the fringe.
    rng
        Of everything.
    kind
        Class of the objects.
    fringe
        Width of the first fringe, the root of wavelength times defocus [nm]; negative in overfocus, 0 in
        focus.
    """
    for centre, radius, strength in _scattered(painting, population, rng):
        shape = ellipse(radius, math.exp(rng.normal(0.0, 0.04)), float(rng.uniform(0, math.pi)))
        wide = min(abs(fringe), radius)
        reach = shape.reach[0] + 3 * wide
        box = painting.canvas.box(shape._replace(reach=(reach, reach)), centre)
        if painting.canvas.add(shape, centre, kind=kind) is None:
            continue
        depth = shape.distance(*painting.canvas.offsets(box, centre))
        chord = (
            2 * np.sqrt(np.maximum(radius**2 - np.minimum(radius - depth, radius) ** 2, 0.0)) * (depth > 0)
        )
        gain = np.exp(
            np.minimum(chord / painting.foil.absorption, 0.5)
        )  # matter that is missing takes nothing away
        if wide:
            half = wide / 2
            rims = [np.exp(-(((depth + side * half) / half) ** 2)) for side in (-1, 1)]
            gain = gain * (1 + math.copysign(strength, fringe) * (rims[0] - rims[1]))
        painting.intensity[box] *= gain


def _scattered(
    painting: Painting, population: Population, rng: np.random.Generator
) -> list[tuple[Floats, float, float]]:
    """Return centres [nm], radii [nm] and strengths."""
    view, margin = painting.canvas.view, 2 * population.diameter
    count = view.count(population.density, margin) if population.density else 0
    centres = view.scatter(count, rng, margin)
    radii = population.diameter / 2 * np.exp(rng.normal(0.0, population.spread, count))
    strengths = rng.uniform(*population.strength, count)
    return list(zip(centres, radii.tolist(), strengths.tolist(), strict=True))


def _darken(painting: Painting, box: tuple[slice, slice], loss: Floats, *, everywhere: float = 0.0) -> None:
    """Take a share of the intensity away; `everywhere` is the part that needs no Bragg condition."""
    shown = everywhere + (1 - everywhere) * painting.excited[box]
    painting.intensity[box] *= 1 - np.minimum(loss * shown, _BLACK)
