"""Scenes, detectors and foils at random: what learners are trained on.

Ranges are wider than single studies show: a learner must meet the instrument and the specimen it will see
inside them, not at their edge.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from micdb.embed.simulate.microstructures.composite import CONSTITUENTS, mixture, ultrahigh_carbon
from micdb.embed.simulate.microstructures.cuboids import cuboids
from micdb.embed.simulate.microstructures.fields import porous, two_phase
from micdb.embed.simulate.microstructures.films import network
from micdb.embed.simulate.microstructures.grains import polycrystal
from micdb.embed.simulate.microstructures.lamellae import pearlite
from micdb.embed.simulate.microstructures.needles import bainite, martensite, widmanstatten
from micdb.embed.simulate.microstructures.particles import FORMS, deposited, spheroidite
from micdb.embed.simulate.microstructures.sem import Detector, Micrograph, record
from micdb.embed.simulate.microstructures.view import Scene, View
from micdb.errors import UsageError

Range = tuple[float, float]
Rng = np.random.Generator
Make = Callable[[View, float, int, Rng], Scene]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of scene whose proportions vary.

    Parameters
    ----------
    length
        Of the characteristic length: least [pixel], and most as a share of the field's shorter side.
    make
        From a view, that length [nm], a seed and a generator for the proportions.
    """

    length: Range
    make: Make


#: Kinds of scene. The proportions: carbide in pearlite 0.12 to 0.4, lamellae of eutectoid and hypereutectoid
#: steels; particles of spheroidite 0.03 to 0.35; log-normal spreads 0.15 to 0.6 (Granqvist and Buhrman 1976).
KINDS: dict[str, Kind] = {
    "spheroidite": Kind((4, 0.15), lambda v, n, s, r: spheroidite(
        v, diameter=n, seed=s, fraction=_log(r, 0.03, 0.35), spread=r.uniform(0.2, 0.6))),
    "pearlite": Kind((5, 0.12), lambda v, n, s, r: pearlite(
        v, spacing=n, seed=s, fraction=r.uniform(0.12, 0.4), colony=r.uniform(6, 25))),
    "broken pearlite": Kind((5, 0.12), lambda v, n, s, r: pearlite(
        v, spacing=n, seed=s, fraction=r.uniform(0.15, 0.4), colony=r.uniform(6, 25),
        broken=r.uniform(0.15, 0.6))),
    "network": Kind((25, 0.8), lambda v, n, s, r: network(v, grain=n, seed=s, width=_log(r, 0.02, 0.15))),
    "porous": Kind((6, 0.4), lambda v, n, s, r: porous(v, length=n, seed=s, fraction=r.uniform(0.25, 0.7))),
    "two phases": Kind((6, 0.4), lambda v, n, s, r: two_phase(
        v, length=n, seed=s, fraction=r.uniform(0.15, 0.85), band=r.uniform(0.05, 0.4))),
    "tweed": Kind((6, 0.3), lambda v, n, s, r: two_phase(
        v, length=n, seed=s, fraction=r.uniform(0.3, 0.7), band=r.uniform(0.05, 0.3), cubic=True)),
    "cuboids": Kind((8, 0.3), lambda v, n, s, r: cuboids(
        v, spacing=n, seed=s, fraction=r.uniform(0.35, 0.75), disorder=r.uniform(0.1, 0.3))),
    "polycrystal": Kind((12, 0.6), lambda v, n, s, r: polycrystal(
        v, grain=n, seed=s, spread=r.uniform(0.1, 0.5), twins=r.choice([0.0, r.uniform(0, 0.7)]),
        groove=r.choice([0.0, r.uniform(0.01, 0.06)]), contrast=r.uniform(0.1, 0.9))),
    "martensite": Kind((4, 0.12), lambda v, n, s, r: martensite(
        v, lath=n, seed=s, laths_per_block=r.uniform(2, 8))),
    "tempered martensite": Kind((6, 0.12), lambda v, n, s, r: martensite(
        v, lath=n, seed=s, laths_per_block=r.uniform(2, 8), carbides=r.uniform(0.03, 0.12))),
    "bainite": Kind((5, 0.12), lambda v, n, s, r: bainite(v, lath=n, seed=s, fraction=r.uniform(0.06, 0.2))),
    "widmanstatten": Kind((25, 0.6), lambda v, n, s, r: widmanstatten(
        v, length=n, seed=s, fraction=r.uniform(0.04, 0.2), slenderness=r.uniform(6, 20))),
    "particles": Kind((8, 0.35), lambda v, n, s, r: deposited(
        v, diameter=n, seed=s, cover=_log(r, 0.05, 0.9), spread=r.uniform(0.05, 0.6),
        form=FORMS[int(r.integers(len(FORMS)))], clustering=r.uniform(0, 0.9), overlap=r.uniform(0, 0.5))),
    "ultrahigh carbon": Kind((80, 1.5), lambda v, n, s, r: ultrahigh_carbon(
        v, grain=n, seed=s, film=_log(r, 0.02, 0.15), denuded=r.uniform(0.02, 0.15),
        diameter=max(_log(r, 0.01, 0.06), 3 * v.pixel_size / n), fraction=r.uniform(0.08, 0.35),
        needles=r.choice([0.0, r.uniform(0.02, 0.12)]), needle=r.uniform(0.2, 0.6))),
    "mixture": Kind((60, 0.8), lambda v, n, s, r: mixture(
        v, colony=n, seed=s, spacing=max(r.uniform(0.05, 0.12), 5 * v.pixel_size / n),
        constituents=r.permutation(CONSTITUENTS)[: int(r.integers(2, 5))].tolist())),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class SemRanges:
    """From what `random_detector` draws.

    Parameters
    ----------
    electrons
        Per pixel, log-uniform: a fast scan has about 5, a slow one hundreds.
    blur
        [pixel].
    contrast, brightness
        [grey level of 255].
    edge, shading, topography, shadow, gamma
        As in `Detector`.
    fault
        Chance of each artefact, and its largest strength, in `Detector`'s units.
    jitter
        Largest [pixel].
    inverted
        Chance that the second phase is darker.
    """

    electrons: Range = (5.0, 2000.0)
    blur: Range = (0.4, 1.8)
    contrast: Range = (35.0, 150.0)
    brightness: Range = (40.0, 110.0)
    edge: Range = (0.0, 1.0)
    shading: Range = (0.0, 0.6)
    topography: Range = (0.1, 0.9)
    shadow: Range = (0.0, 0.7)
    gamma: Range = (0.65, 1.5)
    fault: Range = (0.25, 0.6)
    jitter: float = 0.6
    inverted: float = 0.25


_RANGES = SemRanges()


def random_micrograph(
    view: View,
    *,
    seed: int,
    kinds: Sequence[str] = tuple(KINDS),
    length: float | None = None,
    ranges: SemRanges = _RANGES,
) -> tuple[str, Micrograph]:
    """Return a kind and an SEM image of it, proportions and detector at random.

    Parameters
    ----------
    view
        Field of view.
    seed
        Of everything.
    kinds
        Which of `KINDS`, each as likely.
    length
        Characteristic length [nm]; None: log-uniform between what the pixels and the field allow.
    ranges
        Of the detector.

    Raises
    ------
    UsageError
        For a kind there is none of.
    """
    rng = np.random.default_rng((seed, 1))
    kind = str(rng.choice(list(kinds)))
    scene = random_scene(view, kind, seed=seed, length=length)
    return kind, record(scene, random_detector(view.pixel_size, seed=seed, ranges=ranges), seed=seed)


def random_scene(view: View, kind: str, *, seed: int, length: float | None = None) -> Scene:
    """Return a scene of a kind, its proportions at random.

    Parameters
    ----------
    view
        Field of view.
    kind
        One of `KINDS`.
    seed
        Of everything.
    length
        As in `random_micrograph`.

    Raises
    ------
    UsageError
        For a kind there is none of.
    """
    if kind not in KINDS:
        raise UsageError(f"no scene is called {kind!r}; expected one of {', '.join(sorted(KINDS))}")
    rng = np.random.default_rng((seed, 2))
    least, most = KINDS[kind].length[0], KINDS[kind].length[1] * min(view.shape)
    drawn = view.pixel_size * _log(rng, least, max(most, 1.2 * least))
    return KINDS[kind].make(view, length or drawn, int(rng.integers(1 << 31)), rng)


def random_detector(pixel_size: float, *, seed: int, ranges: SemRanges = _RANGES) -> Detector:
    """Return a detector at random.

    Parameters
    ----------
    pixel_size
        [nm].
    seed
        Of the settings.
    ranges
        Of the settings.
    """
    rng = np.random.default_rng((seed, 3))
    contrast, brightness = rng.uniform(*ranges.contrast), rng.uniform(*ranges.brightness)
    dark = rng.random() < ranges.inverted
    chance, worst = ranges.fault
    faults = np.where(rng.random(5) < chance, rng.uniform(0, worst, 5), 0.0).tolist()
    return Detector(
        contrast=-contrast if dark else contrast, brightness=250 - brightness if dark else brightness,
        edge=rng.uniform(*ranges.edge), electrons=_log(rng, *ranges.electrons),
        blur=pixel_size * rng.uniform(*ranges.blur), shading=rng.uniform(*ranges.shading),
        topography=rng.uniform(*ranges.topography), shadow=rng.uniform(*ranges.shadow),
        side=rng.uniform(0, 0.3),
        charging=faults[0], curtaining=faults[1] / 2, scratches=faults[2], roughness=faults[3] / 2,
        jitter=min(faults[4], ranges.jitter) * pixel_size, gamma=_log(rng, *ranges.gamma),
    )  # fmt: skip


def _log(rng: Rng, least: float, most: float) -> float:
    return math.exp(rng.uniform(math.log(least), math.log(most)))
