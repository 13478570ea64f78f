"""The images of a made-up catalog, each with its recording, object and original file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from loading import START, Dice, Sink, moments
from million_samples import LABS, PEOPLE, PROJECT_SAMPLES, TECHNIQUES, Technique, World

from micdb.catalog import tables as t

PROJECT_IMAGES = 50  # of each sample of the project


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
