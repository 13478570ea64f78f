"""Cost of simulated images of atoms: ``python benchmarks/simulator.py``.

CPU time of one process, structure and image apart, 256 x 256 pixels of 0.016 nm, a new probe for each image
so that nothing is taken from a cache; then images per second from two worker processes.
"""

from __future__ import annotations

import time

import numpy as np
from threadpoolctl import threadpool_limits

from micdb.embed.simulate.dichalcogenides import dichalcogenide
from micdb.embed.simulate.graphene import graphene
from micdb.embed.simulate.many import seeds_of, simulate_many
from micdb.embed.simulate.metals import metal_slab, nanoparticle, twin
from micdb.embed.simulate.perovskites import perovskite
from micdb.embed.simulate.probe import Optics
from micdb.embed.simulate.render import Blur
from micdb.embed.simulate.silicon import dumbbells
from micdb.embed.simulate.stem import Probe, StemImage, adf_image
from micdb.embed.simulate.structure import Structure

_SIDE, _PIXEL = 256, 0.016  # [pixel], [nm]
_FIELD = (_SIDE * _PIXEL, _SIDE * _PIXEL)
_REPEATS = 20

FAMILIES = {
    "graphene, 5 defects": lambda seed: graphene(
        _FIELD, seed=seed, defects={"vacancy": 2, "Si1C3": 1, "Si1C4": 1, "stone-wales": 1}
    ),
    "graphene, 3 grains": lambda seed: graphene(_FIELD, seed=seed, grain_count=3),
    "MoS2, 4 defects": lambda seed: dichalcogenide(
        "MoS2", _FIELD, seed=seed, defects={"chalcogen-vacancy": 3, "metal-dopant": 1}
    ),
    "WSe2, twin boundary": lambda seed: dichalcogenide("WSe2", _FIELD, seed=seed, boundary=True),
    "Au [001], 5 nm, terraces": lambda seed: metal_slab(
        "Au", _FIELD, seed=seed, thickness=5.0, roughness=3.0
    ),
    "Au [110], 5 nm, twin": lambda seed: twin("Au", _FIELD, seed=seed, thickness=5.0),
    "Pt particle, 3 nm": lambda seed: nanoparticle("Pt", _FIELD, seed=seed, diameter=3.0),
    "SrTiO3 [110], 10 nm, tilts": lambda seed: perovskite(
        "SrTiO3", _FIELD, seed=seed, axis=(1, 1, 0), thickness=10.0, tilts=(4.0, 4.0, 4.0)
    ),
    "Si [110], 10 nm": lambda seed: dumbbells("Si", _FIELD, seed=seed, thickness=10.0),
}


def image_of(structure: Structure, seed: int, probe: Blur) -> StemImage:
    """Return an image with everything that costs time."""
    return adf_image(
        structure, (_SIDE, _SIDE), pixel_size=_PIXEL, seed=seed, probe=probe, drift=(0.03, 0.02),
        flyback=(0.02, 0.2), line_jitter=0.003, contamination=0.2,
    )  # fmt: skip


def scene(seed: int) -> StemImage:
    """Return an image of one of the families in turn."""
    make = list(FAMILIES.values())[seed % len(FAMILIES)]
    return image_of(make(seed % 2**31), seed, Probe(0.03 + 1e-5 * (seed % 1000)))


def main() -> None:
    """Print the table."""
    print("family                        atoms columns | structure  image  image by aberrations [CPU-ms]")
    for name, make in FAMILIES.items():
        with threadpool_limits(1):
            marks = [time.process_time()]
            structures = [make(seed) for seed in range(_REPEATS)]
            marks.append(time.process_time())
            images = [image_of(s, n, Probe(0.03 + 1e-4 * n)) for n, s in enumerate(structures)]
            marks.append(time.process_time())
            for n, s in enumerate(structures):
                image_of(s, n, Optics(80.0, 31.0, defocus=0.1 * n))
            marks.append(time.process_time())
        spent = np.diff(marks) / _REPEATS * 1e3
        print(
            f"{name:28} {len(structures[0].number):6} {len(images[0].xy):7} | "
            f"{spent[0]:9.1f} {spent[1]:6.1f} {spent[2]:8.1f}"
        )
    seeds = seeds_of(1, 900)
    started, count = time.perf_counter(), 0
    for _ in simulate_many(scene, seeds, processes=2):
        if count == 100:  # the workers are up
            started = time.perf_counter()
        count += 1
    print(
        f"two processes, all families in turn: {(count - 100) / (time.perf_counter() - started):.0f} images/s"
    )


if __name__ == "__main__":
    main()
