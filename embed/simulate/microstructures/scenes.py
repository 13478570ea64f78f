"""All scenes by name, each from a view, its characteristic length and a seed."""

from __future__ import annotations

from collections.abc import Callable

from micdb.embed.simulate.microstructures.composite import mixture, ultrahigh_carbon
from micdb.embed.simulate.microstructures.cuboids import cuboids
from micdb.embed.simulate.microstructures.fields import porous, two_phase
from micdb.embed.simulate.microstructures.films import network
from micdb.embed.simulate.microstructures.grains import polycrystal
from micdb.embed.simulate.microstructures.lamellae import pearlite
from micdb.embed.simulate.microstructures.needles import bainite, martensite, widmanstatten
from micdb.embed.simulate.microstructures.particles import deposited, spheroidite
from micdb.embed.simulate.microstructures.strands import strands
from micdb.embed.simulate.microstructures.surfaces import device, film, patterned, tip
from micdb.embed.simulate.microstructures.view import Scene, View

#: Scenes by the microconstituent they show, each as a function of view, characteristic length [nm] and seed.
SCENES: dict[str, Callable[[View, float, int], Scene]] = {
    "spheroidite": lambda view, length, seed: spheroidite(view, diameter=length, seed=seed),
    "pearlite": lambda view, length, seed: pearlite(view, spacing=length, seed=seed),
    "network": lambda view, length, seed: network(view, grain=length, seed=seed),
    "porous": lambda view, length, seed: porous(view, length=length, seed=seed),
    "polycrystal": lambda view, length, seed: polycrystal(view, grain=length, seed=seed),
    "broken pearlite": lambda view, length, seed: pearlite(view, spacing=length, seed=seed, broken=0.35),
    "martensite": lambda view, length, seed: martensite(view, lath=length, seed=seed),
    "tempered martensite": lambda view, length, seed: martensite(view, lath=length, seed=seed, carbides=0.08),
    "bainite": lambda view, length, seed: bainite(view, lath=length, seed=seed),
    "widmanstatten": lambda view, length, seed: widmanstatten(view, length=length, seed=seed),
    "two phases": lambda view, length, seed: two_phase(view, length=length, seed=seed),
    "tweed": lambda view, length, seed: two_phase(view, length=length, seed=seed, cubic=True),
    "cuboids": lambda view, length, seed: cuboids(view, spacing=length, seed=seed),
    "particles": lambda view, length, seed: deposited(view, diameter=length, seed=seed),
    "rough particles": lambda view, length, seed: deposited(view, diameter=length, seed=seed, form="rough"),
    "faceted particles": lambda view, length, seed: deposited(
        view, diameter=length, seed=seed, form="faceted"
    ),
    "rods": lambda view, length, seed: deposited(view, diameter=length, seed=seed, form="rod"),
    "powder": lambda view, length, seed: deposited(
        view, diameter=length, seed=seed, form="rough", cover=2.5, spread=0.5, clustering=0.0
    ),
    "wires": lambda view, length, seed: strands(view, diameter=length, seed=seed),
    "fibres": lambda view, length, seed: strands(
        view, diameter=length, seed=seed, waviness=0.9, slenderness=80.0
    ),
    "pillars": lambda view, length, seed: patterned(view, pitch=length, seed=seed),
    "holes": lambda view, length, seed: patterned(
        view, pitch=length, seed=seed, pattern="holes", hexagonal=True
    ),
    "lines": lambda view, length, seed: patterned(view, pitch=length, seed=seed, pattern="lines"),
    "film": lambda view, length, seed: film(view, length=length, seed=seed),
    "device": lambda view, length, seed: device(view, length=length, seed=seed),
    "tip": lambda view, length, seed: tip(view, length=length, seed=seed),
    "ultrahigh carbon": lambda view, length, seed: ultrahigh_carbon(view, grain=length, seed=seed),
    "mixture": lambda view, length, seed: mixture(view, colony=length, seed=seed),
}
