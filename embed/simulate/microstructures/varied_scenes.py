"""Scenes at random: what learners are trained on.

Ranges are wider than single studies show: a learner must meet the specimen it will see inside them, not at
their edge.
"""

from __future__ import annotations

import math
from collections.abc import Callable
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
from micdb.embed.simulate.microstructures.strands import strands
from micdb.embed.simulate.microstructures.surfaces import device, film, patterned, tip
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
    "powder": Kind((10, 0.2), lambda v, n, s, r: deposited(
        v, diameter=n, seed=s, cover=r.uniform(1.5, 3.5), spread=r.uniform(0.2, 0.6),
        form="rough" if r.random() < 0.6 else "faceted", clustering=0.0)),
    "wires": Kind((3, 0.08), lambda v, n, s, r: strands(
        v, diameter=n, seed=s, cover=_log(r, 0.2, 2.0), slenderness=r.uniform(15, 80))),
    "fibres": Kind((4, 0.12), lambda v, n, s, r: strands(
        v, diameter=n, seed=s, cover=_log(r, 0.3, 2.5), slenderness=r.uniform(40, 120),
        waviness=r.uniform(0.4, 1.2), spread=r.uniform(0.05, 0.4))),
    "pillars": Kind((8, 0.4), lambda v, n, s, r: patterned(
        v, pitch=n, seed=s, duty=r.uniform(0.3, 0.8), hexagonal=bool(r.random() < 0.5))),
    "holes": Kind((8, 0.4), lambda v, n, s, r: patterned(
        v, pitch=n, seed=s, pattern="holes", duty=r.uniform(0.3, 0.8), hexagonal=bool(r.random() < 0.5))),
    "lines": Kind((6, 0.4), lambda v, n, s, r: patterned(
        v, pitch=n, seed=s, pattern="lines", duty=r.uniform(0.3, 0.7))),
    "film": Kind((5, 0.15), lambda v, n, s, r: film(
        v, length=n, seed=s, cracks=r.choice([0.0, r.uniform(0.01, 0.08)]))),
    "device": Kind((8, 0.25), lambda v, n, s, r: device(v, length=n, seed=s, layers=int(r.integers(6, 30)))),
    "tip": Kind((1, 0.15), lambda v, n, s, r: tip(v, length=n, seed=s, opening=r.uniform(10, 60))),
    "ultrahigh carbon": Kind((80, 1.5), lambda v, n, s, r: ultrahigh_carbon(
        v, grain=n, seed=s, film=_log(r, 0.02, 0.15), denuded=r.uniform(0.02, 0.15),
        diameter=max(_log(r, 0.01, 0.06), 3 * v.pixel_size / n), fraction=r.uniform(0.08, 0.35),
        needles=r.choice([0.0, r.uniform(0.02, 0.12)]), needle=r.uniform(0.2, 0.6))),
    "mixture": Kind((60, 0.8), lambda v, n, s, r: mixture(
        v, colony=n, seed=s, spacing=max(r.uniform(0.05, 0.12), 5 * v.pixel_size / n),
        constituents=r.permutation(CONSTITUENTS)[: int(r.integers(2, 5))].tolist())),
}  # fmt: skip


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


def _log(rng: Rng, least: float, most: float) -> float:
    return math.exp(rng.uniform(math.log(least), math.log(most)))
