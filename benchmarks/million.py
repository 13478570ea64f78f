"""Make up a catalog of a million micrographs: rows only, no pixels, for measuring what questions cost.

::

    python benchmarks/million.py DATABASE [--images 1000000] [--seed 1]

DATABASE is a new folder, or the URL of an empty PostgreSQL database. For N images there are N/20 samples, 3N
defects of the current run, two further runs, roll-ups, properties with one or several values, recordings,
objects and original files. Rows are written straight into the schema that micdb makes. The same size and
seed give the same catalog.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from loading import START, Dice, Sink, loading, moments
from sqlalchemy import Engine

from micdb.catalog import results as r
from micdb.catalog import schema, statistics
from micdb.catalog import tables as t
from micdb.catalog.engine import CATALOG, postgres_engine, sqlite_engine

BATCH = 50_000  # images written at a time
LABS, PEOPLE, MATERIALS = 24, 200, 300
PROJECT = "MoSe2 round robin"  # a material with the same number of images at every size
PROJECT_SAMPLES, PROJECT_IMAGES = 10, 50  # of PROJECT; images of each sample
KINDS = ("vacancy", "substitution", "adatom", "dislocation", "loop", "grain boundary")
KIND_SHARES = (0.50, 0.20, 0.10, 0.10, 0.06, 0.04)
STATES, STATE_SHARES = ("detected", "accepted", "rejected"), (0.93, 0.05, 0.02)
FOLDERS = ("objects", "parts", "indexes", "staging")
FINE = 1.0  # [nm] detectors of defects refuse coarser pixels
KNOWN = ("UHCS", "WS2", "MoS2", "graphene", "SrTiO3", "Si", "Ti-6Al-4V", "GaN", "Al-Cu", "HfO2")


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


# ---------------------------------------------------------------------- people and specimens


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


# ---------------------------------------------------------------------- images


def sample_of(dice: Dice, images: int, samples: int) -> np.ndarray:
    """Return the sample of each image, ``(images,)``; -1 where it is unknown.

    A sample's images come one after the other; sizes are skewed, those of `PROJECT` are fixed.
    """
    project = np.linspace(0, samples - 1, PROJECT_SAMPLES).astype(int)
    size = dice.rng.geometric(min(1.0, samples / max(images, 1)), samples).astype(float)
    size[project] = 0
    rest = images - PROJECT_SAMPLES * PROJECT_IMAGES
    edges = np.floor(np.cumsum(size) * (rest / size.sum())).astype(int)
    count = np.diff(edges, prepend=0)
    count[project] = PROJECT_IMAGES
    owner = np.repeat(np.arange(samples), count)
    owner = np.concatenate([owner, np.full(images - len(owner), -1)])
    lost = (dice.rng.random(images) < 0.03) & ~np.isin(owner, project)
    return np.where(lost, -1, owner)


@dataclass(frozen=True)
class Batch:
    """Images about to be written: local keys, sample (-1 for none), technique and pixel size [nm].

    `lead` is the index in the batch of the first channel of the same recording.
    """

    keys: np.ndarray
    sample: np.ndarray
    technique: np.ndarray
    pixel: list[float | None]
    deferred: np.ndarray
    lead: np.ndarray


def write_images(sink: Sink, dice: Dice, world: World, *, keys: np.ndarray, sample: np.ndarray) -> Batch:
    """Write images with the recording, object and original file of each."""
    count = len(keys)
    known = np.maximum(sample, 0)
    technique = np.where(sample >= 0, world.technique[known], dice.rng.choice(len(TECHNIQUES), count))
    kinds = [TECHNIQUES[index] for index in technique.tolist()]
    drawn = np.array([(kind.pixel, kind.spread) for kind in kinds])
    power = np.round(dice.rng.normal(drawn[:, 0], drawn[:, 1]) * 10) / 10  # magnifications come in steps
    pixel = dice.gaps(np.power(10.0, power).tolist(), 0.08)
    alone = dice.rng.random(count) < 0.9  # the others are further channels of the recording before them
    alone[0] = True
    lead = np.maximum.accumulate(np.where(alone, np.arange(count), 0))
    batch = Batch(keys, sample, technique, pixel, (dice.rng.random(count) < 0.05)[lead], lead)
    stamps = START + keys * 60_000
    hashes = dice.digests(count)
    firsts = np.flatnonzero(alone)
    sink.write(
        t.acquisition, "pk uid source_sha256 started",
        (keys[firsts].tolist(), dice.uids(len(firsts)),
         [None if batch.deferred[index] else hashes[index] for index in firsts.tolist()],
         moments(stamps[firsts])),
    )  # fmt: skip
    stored = np.flatnonzero(~batch.deferred)
    files = dice.digests(len(stored))
    sink.write(
        t.object_, "pk sha256 path size media_type state created_at",
        (keys[stored].tolist(), files, [f"objects/{name[:2]}/{name}.nxs" for name in files],
         dice.rng.integers(200_000, 8_000_000, len(stored)).tolist(), ["application/x-hdf5"] * len(stored),
         ["live"] * len(stored), moments(stamps[stored] + 1000)),
    )  # fmt: skip
    names = _write_micrographs(sink, dice, world, batch)
    _write_sources(sink, dice, batch, names=names, hashes=hashes)
    return batch


def _write_micrographs(sink: Sink, dice: Dice, world: World, batch: Batch) -> list[str]:
    count, keys, rng = len(batch.keys), batch.keys.tolist(), dice.rng
    kinds = [TECHNIQUES[index] for index in batch.technique.tolist()]
    labs = world.lab[np.maximum(batch.sample, 0)]
    labs = np.where(batch.sample >= 0, labs, rng.integers(0, LABS, count))
    titles = ["unknown" if one < 0 else world.names[one] for one in batch.sample.tolist()]
    told = zip(titles, kinds, keys, strict=True)
    names = [f"{title} {kind.channel} {key:07d}" for title, kind, key in told]
    area = [None if p is None else (kind.side * p) ** 2 for p, kind in zip(batch.pixel, kinds, strict=True)]
    stamps = START + batch.keys * 60_000
    mean = rng.lognormal(5, 0.4, count)
    made = moments(stamps + 2000)
    hashes = [None if late else one for late, one in zip(batch.deferred, dice.digests(count), strict=True)]
    settings = [_settings(kind, lab, n) for kind, lab, n in zip(kinds, labs.tolist(), keys, strict=True)]
    columns = {
        "pk": keys, "uid": dice.uids(count, first=keys[0], step=60_000), "name": names,
        "acquisition_pk": batch.keys[batch.lead].tolist(), "lab_pk": (labs + 1).tolist(),
        "sample_pk": [None if one < 0 else one + 1 for one in batch.sample.tolist()],
        "instrument_pk": (labs * len(TECHNIQUES) + batch.technique + 1).tolist(),
        "person_pk": dice.gaps(rng.integers(1, PEOPLE + 1, count).tolist(), 0.3),
        "object_pk": [None if late else key for late, key in zip(batch.deferred, keys, strict=True)],
        "pixel_hash": hashes, "modality": [kind.modality for kind in kinds],
        "channel": [kind.channel for kind in kinds], "acquired": dice.gaps(moments(stamps), 0.1),
        "acquired_zone": ["UTC"] * count, "height": [kind.side for kind in kinds],
        "width": [kind.side for kind in kinds], "n_frames": [1] * count, "colour": [False] * count,
        "dtype": ["uint16"] * count, "pixel_size_x": batch.pixel, "pixel_size_y": batch.pixel,
        "pixel_size": batch.pixel, "pixel_size_origin": [None if p is None else "file" for p in batch.pixel],
        "area": area, "accelerating_voltage": [kind.voltage for kind in kinds],
        "detector": [kind.channel for kind in kinds], "intensity_mean": mean.tolist(),
        "intensity_sd": (mean / 4).tolist(), "intensity_min": [0.0] * count,
        "intensity_max": (mean * 3).tolist(), "axes": [_axes(kind) for kind in kinds], "settings": settings,
        "problems": ["[]"] * count, "created_at": made,
        "deleted_at": dice.gaps(made, 0.99),
    }  # fmt: skip
    sink.write(t.micrograph, " ".join(columns), columns.values())
    return names


def _axes(kind: Technique) -> str:
    one = '{{"name": "{}", "size": {}, "step": 0.25, "offset": 0.0, "unit": "nm", "origin": "file"}}'
    return f"[{one.format('y', kind.side)}, {one.format('x', kind.side)}]"


def _settings(kind: Technique, lab: int, number: int) -> str:
    one = '"{}": {{"value": {}, "unit": {}, "origin": "file", "raw": "{} = {}"}}'
    items = (
        ("accelerating_voltage", kind.voltage or 0.0, '"V"', "System.HV", kind.voltage or 0.0),
        ("instrument", f'"{kind.vendor} {lab:02d}"', "null", "System.Type", kind.vendor),
        ("operator", f'"Operator {number % PEOPLE:03d}"', "null", "User.UserText", number % PEOPLE),
        ("dwell_time", "2e-06", '"s"', "Scan.Dwelltime", "2e-6"),
        ("working_distance", 4.0 + number % 50 / 10, '"mm"', "Stage.WorkingDistance", number % 50),
        ("stage_x", number % 997 / 100, '"mm"', "Stage.StageX", number % 997),
    )
    return "{" + ", ".join(one.format(*item) for item in items) + "}"


def _write_sources(sink: Sink, dice: Dice, batch: Batch, *, names: list[str], hashes: list[str]) -> None:
    """Write the original file of each image; one in a hundred was saved twice."""
    twice = np.flatnonzero((dice.rng.random(len(names)) < 0.01) & ~batch.deferred)
    shown = np.concatenate([np.arange(len(names)), twice]).tolist()
    count = len(shown)
    known = [None if late else hashes[first] for late, first in zip(batch.deferred, batch.lead, strict=True)]
    place = (np.arange(len(names)) - batch.lead).tolist()
    kinds = [TECHNIQUES[index] for index in batch.technique[shown].tolist()]
    endings = [kind.format.partition("_")[0] for kind in kinds]
    files = [f"{names[index]}.{ending}" for index, ending in zip(shown, endings, strict=True)]
    sink.write(
        t.source,
        "uid micrograph_pk sha256 position file_name path size modified_ns format reader reader_version "
        "ingested_at",
        (dice.uids(count, first=int(batch.keys[0])), batch.keys[shown].tolist(),
         [*known, *dice.digests(len(twice))], [*place, *[0] * len(twice)], files,
         [f"/data/{name}" for name in files],
         dice.rng.integers(500_000, 16_000_000, count).tolist(), [START * 1_000_000] * count,
         [kind.format for kind in kinds], ["made"] * count, ["1"] * count,
         moments(START + batch.keys[shown] * 60_000 + 2000)),
    )  # fmt: skip


# ---------------------------------------------------------------------- what runs found


def write_runs(sink: Sink, dice: Dice) -> None:
    """Write the runs: 1 and 2 look for defects, 2 is current; 3 writes roll-ups."""
    made, digests = moments(np.full(3, START)), dice.digests(6)
    sink.write(
        r.model, "pk uid name version model_hash card",
        ((1, 2, 3), dice.uids(3), ("vacancies", "vacancies", "order"), ("1", "2", "1"), digests[:3],
         ["{}"] * 3),
    )  # fmt: skip
    sink.write(
        r.run, "pk uid model_pk run_key parameters software device created_at actor",
        ((1, 2, 3), dice.uids(3), (1, 2, 3), digests[3:], ["{}"] * 3, ["{}"] * 3, ["cpu"] * 3, made,
         ["benchmark"] * 3),
    )  # fmt: skip
    sink.write(r.current_run, "analysis run_pk", (("vacancies", "order"), (2, 3)))


def write_results(sink: Sink, dice: Dice, batch: Batch) -> None:
    """Write what the runs found in a batch of images."""
    fine = np.array([pixel is not None and pixel < FINE for pixel in batch.pixel]) & ~batch.deferred
    keys = batch.keys[fine]
    status = np.array(dice.some(("done", "refused", "failed"), (0.96, 0.03, 0.01), len(keys)))
    done = keys[status == "done"]
    _write_items(sink, 1, keys[::10], np.full(len(keys[::10]), "done"))
    _write_items(sink, 2, keys, status)
    _write_defects(sink, dice, 1, keys[::10], count=len(batch.keys) // 5)
    _write_defects(sink, dice, 2, done, count=3 * len(batch.keys))
    ordered = done[::2]
    _write_items(sink, 3, ordered, np.full(len(ordered), "done"))
    count = len(ordered)
    for name, unit, value in (
        ("order", None, dice.rng.beta(8, 2, count)),
        ("spacing", "nm", dice.rng.normal(0.28, 0.03, count)),
    ):
        sink.write(
            r.rollup, "run_pk micrograph_pk name value unit",
            ([3] * count, ordered.tolist(), [name] * count, value.tolist(), [unit] * count),
        )  # fmt: skip


def _write_items(sink: Sink, run: int, keys: np.ndarray, status: np.ndarray) -> None:
    count = len(keys)
    reasons = [None if one == "done" else "no lattice found" for one in status.tolist()]
    sink.write(
        r.run_item, "run_pk micrograph_pk status attempt reason seconds finished_at",
        ([run] * count, keys.tolist(), status.tolist(), [1] * count, reasons, [0.5] * count,
         moments(START + keys * 60_000 + 60_000)),
    )  # fmt: skip


def _write_defects(sink: Sink, dice: Dice, run: int, keys: np.ndarray, *, count: int) -> None:
    """Write that many defects; most images have few and a few have many."""
    if len(keys) == 0:
        return
    weight = dice.rng.gamma(0.6, size=len(keys))
    owner = np.repeat(keys, dice.rng.multinomial(count, weight / weight.sum()))
    place = dice.rng.uniform(0, 1024, (2, count))
    boxes = [f"[{x:.0f}, {y:.0f}, 12, 12]" for x, y in place.T.tolist()]
    sink.write(
        r.defect, "uid run_pk micrograph_pk frame kind x_px y_px x_nm y_nm box score state",
        (dice.uids(count, first=int(keys[0]), step=60_000), [run] * count, owner.tolist(), [0] * count,
         dice.some(KINDS, KIND_SHARES, count), *place.tolist(), *(place * 0.03).tolist(), boxes,
         dice.rng.beta(5, 2, count).tolist(), dice.some(STATES, STATE_SHARES, count)),
    )  # fmt: skip


# ---------------------------------------------------------------------- the whole


def fill(engine: Engine, images: int, *, seed: int = 1) -> None:
    """Write a catalog into an empty database that has the schema.

    Parameters
    ----------
    engine
        The catalog.
    images
        Number of micrographs, at least 1000.
    seed
        The same seed gives the same catalog.
    """
    if images < 1000:
        raise SystemExit(f"{images} images are too few: take at least 1000")
    dice = Dice(seed)
    samples = images // 20
    with loading(engine) as sink:
        world = write_world(sink, dice, samples)
        owner = sample_of(dice, images, samples)
        write_runs(sink, dice)
        for begin in range(0, images, BATCH):
            keys = np.arange(begin, min(begin + BATCH, images)) + 1
            batch = write_images(sink, dice, world, keys=keys, sample=owner[keys - 1])
            write_results(sink, dice, batch)


def create(place: str, images: int, *, seed: int = 1) -> Engine:
    """Make a database folder, or fill an empty PostgreSQL database, and return its catalog."""
    if "://" in place:
        engine = postgres_engine(place)
    else:
        root = Path(place)
        for name in FOLDERS:
            (root / name).mkdir(parents=True)
        engine = sqlite_engine(root / CATALOG)
    schema.create(engine)
    fill(engine, images, seed=seed)
    statistics.refresh(engine)  # as micdb does after it has brought files in
    return engine


def main() -> None:
    """Make the catalog and say how long it took."""
    shape = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=shape)
    parser.add_argument("database", help="new folder, or URL of an empty PostgreSQL database")
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    began = time.perf_counter()
    create(arguments.database, arguments.images, seed=arguments.seed).dispose()
    print(f"{arguments.images:,} images in {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
