"""Make up a catalog of a million micrographs: rows only, no pixels, for measuring what questions cost.

::

    python benchmarks/million.py DATABASE [--images 1000000] [--seed 1]

DATABASE is a new folder, or the URL of an empty PostgreSQL database. For N images there are N/20 samples, 3N
defects of the current run, two further runs, roll-ups, properties with one or several values, compositions,
recordings, objects and original files. Rows are written straight into the schema that micdb makes. The same
size and seed give the same catalog.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from loading import START, Dice, Sink, loading, moments
from million_images import Batch, sample_of, write_images
from million_samples import write_compositions, write_world
from sqlalchemy import Engine

from micdb.catalog import results as r
from micdb.catalog import schema, statistics
from micdb.catalog.engine import CATALOG, postgres_engine, sqlite_engine

BATCH = 50_000  # images written at a time
KINDS = ("vacancy", "substitution", "adatom", "dislocation", "loop", "grain boundary")
KIND_SHARES = (0.50, 0.20, 0.10, 0.10, 0.06, 0.04)
STATES, STATE_SHARES = ("detected", "accepted", "rejected"), (0.93, 0.05, 0.02)
FOLDERS = ("objects", "parts", "indexes", "staging")
FINE = 1.0  # [nm] detectors of defects refuse coarser pixels


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
        write_compositions(
            sink, Dice(seed + 1), world
        )  # dice of their own: the rest is as it was without them
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
