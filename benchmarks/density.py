"""How often the interval of a density holds the truth: ``python benchmarks/density.py``.

Each seed is a material with one kind of defect of a known expected density, seen in four images whose
numbers are Poisson's. `stem-defects` finds them; the density is corrected with the planted truth of its host
on the card, which is of other scenes, and, beside it, taken as counted.
"""

from __future__ import annotations

import argparse
import itertools
import re

import numpy as np
import torch

from micdb.analysis.library.census import planted_in
from micdb.analysis.library.density import Counted, Rates, density
from micdb.embed.extractors.stem_defects import StemDefects
from micdb.embed.simulate.defect_scenes import MOTIFS, Imaging, density_scene, family
from micdb.records import Picture, Refusal

IMAGES = 4
SIDE = 256  # [pixel]
MATERIALS = (
    ("graphene", "Si1C3", "C Si"),
    ("graphene", "vacancy", "C Si"),
    ("MoS2", "chalcogen-vacancy", "Mo S2 S"),
    ("WSe2", "metal-vacancy", "W Se2 Se"),
)


def measure(material: str, name: str, species: str, seed: int) -> tuple[bool, bool, float, float]:
    """Return whether the corrected and the plain interval hold the truth, and their medians over it."""
    rng = np.random.default_rng((seed, 5))
    truth = rng.uniform(0.03, 0.15)  # [1/nm**2]
    kind, how = MOTIFS[family(material)][name], Imaging(side=SIDE, counts=20.0)
    extractor = StemDefects(species=species)
    found, area = 0, 0.0
    for number in range(IMAGES):
        one = density_scene(material, name, truth, seed=1000 * seed + number, imaging=how)
        pixel = how.pixel_size
        picture = Picture(0, one.simulated.image[None], (pixel, pixel), "STEM", None, "")
        answer = next(iter(extractor.extract([picture])))
        if isinstance(answer, Refusal):
            continue
        found += answer.tables["defects"]["kind"].to_pylist().count(kind)
        area += answer.rollups["analysed_area"][0] or 0.0
    seen = Counted(found, area)
    elements = frozenset(re.findall("[A-Z][a-z]?", material.replace("graphene", "C")))
    known = planted_in(StemDefects.card.planted, kind, elements)
    corrected = density(seen, None if known is None else Rates.planted(known))
    plain = density(seen, None)
    return (
        corrected.low <= truth <= corrected.high,
        plain.low <= truth <= plain.high,
        corrected.value / truth,
        plain.value / truth,
    )


def main() -> None:
    """Print the coverage for each material and for all."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seeds", type=int, default=200)
    given = arguments.parse_args()
    torch.set_num_threads(1)
    rows: dict[str, list[tuple[bool, bool, float, float]]] = {}
    for seed, (material, name, species) in zip(range(given.seeds), itertools.cycle(MATERIALS)):
        rows.setdefault(f"{material} {name}", []).append(measure(material, name, species, seed))
    for head, part in [*rows.items(), ("all", [row for group in rows.values() for row in group])]:
        held, plain, ratio, counted = np.array(part, dtype=float).T
        print(
            f"{head:26} {len(part):4} seeds: 95 % intervals hold the truth in {held.mean():.3f} "
            f"(as counted {plain.mean():.3f}); "
            f"median over truth {np.median(ratio):.2f} ({np.median(counted):.2f})"
        )


if __name__ == "__main__":
    main()
