"""The specimens of a made-up catalog: labs, people, instruments, materials, samples and their properties."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from loading import START, Dice, Sink, moments

from micdb import composition
from micdb.catalog import tables as t
from micdb.composition import ATOMIC, COMPOSITION, WEIGHT, Composition

LABS, PEOPLE, MATERIALS = 24, 200, 300
PROJECT = "MoSe2 round robin"  # a material with the same number of images at every size
PROJECT_SAMPLES = 10
KNOWN = {
    "UHCS": "Fe-1.9C-1.5Cr wt%", "WS2": "WS2", "MoS2": "MoS2", "graphene": "C", "SrTiO3": "SrTiO3",
    "Si": "Si", "Ti-6Al-4V": "Ti-6Al-4V wt%", "GaN": "GaN", "Al-Cu": "Al-4Cu wt%", "HfO2": "HfO2",
}  # fmt: skip
BASES = ("Fe", "Al", "Ni", "Ti", "Cu")
SOLUTES = ("C", "Cr", "Mn", "Si", "Mo", "Ni", "V", "Nb", "Co", "W", "Mg", "Re")
SOLUTE_SHARES = (0.2, 0.16, 0.15, 0.13, 0.1, 0.08, 0.05, 0.04, 0.03, 0.03, 0.02, 0.01)
FIRST = 4  # key of the first property that belongs to compositions
COMPOSED = 0.7  # share of samples whose composition is known


class Technique(NamedTuple):
    """A kind of microscopy: its share of samples, and what its images are like."""

    modality: str
    share: float
    pixel: float  # mean of log10(pixel size / nm)
    spread: float
    voltage: float | None  # [V]
    channel: str
    side: int  # [pixel]
    format: str
    vendor: str


TECHNIQUES = (
    Technique("SEM", 0.42, 1.0, 0.8, 5e3, "SE", 1024, "tif_fei", "FEI"),
    Technique("STEM", 0.24, -1.5, 0.35, 8e4, "HAADF", 1024, "emd_velox", "FEI"),
    Technique("TEM", 0.18, -0.7, 0.5, 2e5, "CCD", 2048, "dm4", "Gatan"),
    Technique("AFM", 0.10, 0.8, 0.5, None, "Z", 512, "nanoscope", "Bruker"),
    Technique("optical", 0.06, 2.3, 0.3, None, "bright field", 2048, "tif", ""),
)


@dataclass(frozen=True)
class World:
    """What images refer to: for each sample its lab (0 ..), material (0 ..) and technique (0 ..)."""

    lab: np.ndarray
    material: np.ndarray
    technique: np.ndarray
    names: list[str]


def write_world(sink: Sink, dice: Dice, samples: int) -> World:
    """Write labs, people, instruments, materials, samples and their properties."""
    labs, people = range(1, LABS + 1), range(1, PEOPLE + 1)
    licences = ["CC-BY-4.0" if lab % 3 else None for lab in labs]
    titles = [f"Lab {number:02d}" for number in labs]
    sink.write(t.lab, "pk uid name licence", (labs, dice.uids(LABS), titles, licences))
    sink.write(t.person, "pk uid name", (people, dice.uids(PEOPLE), [f"Operator {n:03d}" for n in people]))
    scopes = [(lab, kind) for lab in labs for kind in TECHNIQUES]
    scope_names = [f"{kind.vendor} {kind.modality} {lab:02d}".strip() for lab, kind in scopes]
    sink.write(
        t.instrument, "pk uid name vendor lab_pk",
        (range(1, len(scopes) + 1), dice.uids(len(scopes)), scope_names,
         [kind.vendor for _, kind in scopes], [lab for lab, _ in scopes]),
    )  # fmt: skip
    names = [*KNOWN, *(f"alloy {n:03d}" for n in range(len(KNOWN), MATERIALS - 1)), PROJECT]
    formulas = [name if name.isalnum() else None for name in names]
    sink.write(
        t.material, "pk uid name formula", (range(1, MATERIALS + 1), dice.uids(MATERIALS), names, formulas)
    )
    world = _samples(sink, dice, samples)
    _properties(sink, dice, samples)
    return world


def _samples(sink: Sink, dice: Dice, count: int) -> World:
    shares = 1.0 / np.arange(1, MATERIALS)  # Zipf's law
    material = dice.rng.choice(MATERIALS - 1, count, p=shares / shares.sum())
    technique = dice.rng.choice(len(TECHNIQUES), count, p=[kind.share for kind in TECHNIQUES])
    flat = np.isin(material, (1, 2, 3)) & (dice.rng.random(count) < 0.6)
    technique[flat] = 1  # two-dimensional materials go to the STEM
    project = np.linspace(0, count - 1, PROJECT_SAMPLES).astype(int)
    material[project], technique[project] = MATERIALS - 1, 1
    lab_shares = 1.0 / np.arange(1, LABS + 1) ** 0.7
    lab = dice.rng.choice(LABS, count, p=lab_shares / lab_shares.sum())
    names = [f"S{index:06d}" for index in range(count)]
    forms = dice.gaps(dice.some(("bulk", "film", "powder", "lamella"), (0.4, 0.3, 0.2, 0.1), count), 0.2)
    sink.write(
        t.sample, "pk uid name lab_pk material_pk form",
        (range(1, count + 1), dice.uids(count), names, (lab + 1).tolist(),
         dice.gaps((material + 1).tolist(), 0.02), forms),
    )  # fmt: skip
    return World(lab, material, technique, names)


def _properties(sink: Sink, dice: Dice, samples: int) -> None:
    """Write hardness [GPa], annealing temperature [degC] and phase of samples."""
    named = (("hardness", "number", "GPa"), ("anneal_temperature", "number", "degC"), ("phase", "text", None))
    sink.write(t.property_def, "pk uid name kind unit", ((1, 2, 3), dice.uids(3), *zip(*named, strict=True)))
    several = dice.rng.choice(6, samples, p=(0.4, 0.42, 0.06, 0.06, 0.04, 0.02))
    once = dice.rng.random((2, samples)) < np.array([[0.5], [0.3]])
    owner = np.concatenate([np.repeat(np.arange(samples), several), *(np.flatnonzero(row) for row in once)])
    known = np.repeat([1, 2, 3], [several.sum(), once[0].sum(), once[1].sum()])
    count = len(owner)
    hard = dice.rng.lognormal(1.0, 0.5, count)
    hot = np.round(dice.rng.uniform(200, 1200, count), -1)
    numbers = np.choose(known - 1, [hard, hot, np.zeros(count)]).tolist()
    value = [None if k == 3 else one for k, one in zip(known.tolist(), numbers, strict=True)]
    phases = dice.some(("2H", "1T", "pearlite", "alpha", "beta"), (0.4, 0.1, 0.2, 0.2, 0.1), count)
    text = [phase if k == 3 else None for k, phase in zip(known.tolist(), phases, strict=True)]
    spread = [0.05 * v if k == 1 else None for k, v in zip(known.tolist(), hard.tolist(), strict=True)]
    made = moments(START + np.arange(count))
    retired = [made[0] if old else None for old in dice.rng.random(count) < 0.03]
    sink.write(
        t.property_value,
        "uid property_def_pk level sample_pk value text sd origin source_name source_row natural_key "
        "created_at retired_at",
        (dice.uids(count, step=10), known.tolist(), ["sample"] * count, (owner + 1).tolist(), value, text,
         dice.gaps(spread, 0.5), ["sidecar"] * count, ["samples.csv"] * count, range(2, count + 2),
         dice.digests(count), made, retired),
    )  # fmt: skip


def write_compositions(sink: Sink, dice: Dice, world: World) -> None:
    """Write the composition of most samples and the percents of their elements, as a sheet of them does."""
    made = [composition.parse(text) for text in _alloys(dice)]
    symbols = sorted({symbol for one in made for symbol in one.atomic})
    names = [COMPOSITION, *(f"{prefix}{symbol}" for prefix in (ATOMIC, WEIGHT) for symbol in symbols)]
    keys = {name: key for key, name in enumerate(names, start=FIRST)}
    kinds, units = ["text"] + ["number"] * (len(names) - 1), [None] + ["percent"] * (len(names) - 1)
    sink.write(
        t.property_def, "pk uid name kind unit", (keys.values(), dice.uids(len(names)), names, kinds, units)
    )
    rows = [
        (key, owner + 1, value, text)
        for owner in np.flatnonzero(dice.rng.random(len(world.names)) < COMPOSED).tolist()
        for key, value, text in _said(made[world.material[owner]], keys)
    ]
    count = len(rows)
    sink.write(
        t.property_value,
        "uid property_def_pk level sample_pk value text origin source_name natural_key created_at",
        (dice.uids(count, step=10), [row[0] for row in rows], ["sample"] * count, [row[1] for row in rows],
         [row[2] for row in rows], [row[3] for row in rows], ["user"] * count, ["compositions.csv"] * count,
         dice.digests(count), moments(START + np.arange(count))),
    )  # fmt: skip


def _said(one: Composition, keys: dict[str, int]) -> Iterator[tuple[int, float | None, str | None]]:
    """Yield key of the property, number and text of each value that a composition becomes."""
    yield keys[COMPOSITION], None, one.text
    for prefix, shares in ((ATOMIC, one.atomic), (WEIGHT, one.weight)):
        yield from ((keys[f"{prefix}{symbol}"], share, None) for symbol, share in shares.items())


def _alloys(dice: Dice) -> list[str]:
    """Return the composition of each material; alloys have 1 to 6 elements beside the base."""
    made = list(KNOWN.values())
    while len(made) < MATERIALS - 1:
        base = str(dice.rng.choice(BASES))
        some = dice.rng.choice(SOLUTES, dice.rng.integers(1, 7), replace=False, p=SOLUTE_SHARES)
        solutes = "".join(f"-{dice.rng.uniform(0.1, 8):.2f}{symbol}" for symbol in some if symbol != base)
        made.append(f"{base}{solutes} wt%" if solutes else base)
    return [*made, "MoSe2"]
