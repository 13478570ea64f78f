"""What questions to atoms cost: micdb against DuckDB alone on the same Parquet, and against rows in SQLite.

::

    python benchmarks/facts.py FOLDER [--atoms 20_000_000] [--per-image 2500] [--rounds 7] [--rows 2_000_000]

FOLDER keeps the database (100M atoms: 1.8 GB), which is made when it is not there yet. The question is the
number and mean brightness of the atoms in the left half of each image. Images are chosen by a condition on
the catalog: 1 % and 10 % of them scattered over the collection, 10 % in one piece, and all.

- micdb's time is that of the whole query, from making the frame to the Arrow table with uids.
- DuckDB has an open connection and is given the local keys of the images; the files are not known to it yet.
- SQLite holds the atoms of every n-th image as rows, `--rows` of them, indexed by image; it is asked for the
  chosen ones among those, and its time is multiplied by the share that it lacks.

All sides ask in turn, round after round, after giving the same numbers once. Other work on the machine falls
on all of them; where there is much of it the ratio of processor times is the steadier one.
"""

from __future__ import annotations

import argparse
import os
import platform
import sqlite3
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import sqlalchemy as sa

import micdb
from micdb.catalog import results as r
from micdb.catalog import tables as t
from micdb.catalog.engine import writing
from micdb.database import Database
from micdb.populate.facts import ATOMS
from micdb.provenance import now, uuid7
from micdb.query.frame import Frame
from micdb.store.parts import write_part

PART = 1_000_000  # [row] of one part, as compaction leaves them
SIDE = 50.0  # [nm] of an image
MATERIALS = ("scattered 1 %", "scattered 10 %", "in one piece, 10 %", "rest")
CASES = (*MATERIALS[:3], "all")


# ---------------------------------------------------------------------- the database


def make(folder: Path, atoms: int, per_image: int) -> None:
    """Write a database of micrographs that have only rows, and of atoms."""
    rng = np.random.default_rng(4)
    images = atoms // per_image
    owner = rng.choice(4, images, p=[0.01, 0.10, 0.0, 0.89])
    owner[images // 2 : images // 2 + images // 10] = 2
    with micdb.init(folder) as db:
        with writing(db.engine) as connection:
            for table, rows in _catalog(owner).items():
                connection.execute(table.insert(), rows)
        step = max(1, PART // per_image)
        for first in range(0, images, step):
            _part(db, np.arange(first, min(first + step, images)) + 1, per_image, rng=rng)
        with writing(db.engine) as connection:
            connection.exec_driver_sql("ANALYZE")


def _catalog(owner: np.ndarray) -> dict[sa.Table, list[dict[str, Any]]]:
    named = [{"pk": pk, "uid": uuid7(), "name": name} for pk, name in enumerate(MATERIALS, 1)]
    images = range(1, len(owner) + 1)
    file = {"size": 1, "media_type": "application/x-hdf5", "state": "live", "created_at": now()}
    shot = {
        "height": 1024, "width": 1024, "n_frames": 1, "colour": False, "dtype": "uint16", "axes": [],
        "settings": {}, "problems": [], "created_at": now(), "modality": "STEM",
    }  # fmt: skip
    return {
        t.material: named,
        t.sample: [{**one, "uid": uuid7(), "material_pk": one["pk"]} for one in named],
        t.acquisition: [{"pk": pk, "uid": uuid7(), "source_sha256": f"{pk:064x}"} for pk in images],
        t.object_: [{"pk": pk, "sha256": f"{pk:064x}", "path": f"objects/{pk}.nxs", **file} for pk in images],
        t.micrograph: [
            {"pk": pk, "uid": uuid7(), "name": f"image {pk}", "acquisition_pk": pk, "object_pk": pk,
             "sample_pk": int(who) + 1, "pixel_hash": f"{pk:064x}", **shot}
            for pk, who in zip(images, owner, strict=True)
        ],
        r.model: [
            {"pk": 1, "uid": uuid7(), "name": "peaks", "version": "1", "model_hash": "0" * 64, "card": {}}
        ],
        r.run: [
            {"pk": 1, "uid": uuid7(), "model_pk": 1, "run_key": "0" * 64, "parameters": {}, "software": {},
             "device": "cpu", "actor": "benchmark", "created_at": now()}
        ],
        r.current_run: [{"analysis": "peaks", "run_pk": 1}],
        r.run_item: [{"run_pk": 1, "micrograph_pk": pk, "status": "done", "attempt": 1} for pk in images],
    }  # fmt: skip


def _part(db: Database, keys: np.ndarray, per_image: int, *, rng: np.random.Generator) -> None:
    count = len(keys) * per_image
    x, y = rng.random((2, count), dtype=np.float32) * np.float32(SIDE)
    columns = {
        "image": np.repeat(keys, per_image), "frame": np.zeros(count, np.int32),
        "idx": np.tile(np.arange(per_image, dtype=np.int32), len(keys)),
        "x_px": x * 20, "y_px": y * 20, "x_nm": x, "y_nm": y,
        "intensity": rng.gamma(8, 12, count).astype(np.float32),
    }  # fmt: skip
    name = uuid7()
    path = db.root / "parts" / "atoms" / f"{name}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_part(path, pa.table(columns, schema=ATOMS).add_column(0, "run", pa.array(np.ones(count, np.int64))))
    file = {
        "sha256": name.replace("-", "").ljust(64, "0"), "path": str(path.relative_to(db.root)),
        "size": path.stat().st_size, "media_type": "application/vnd.apache.parquet", "state": "live",
        "created_at": now(),
    }  # fmt: skip
    with writing(db.engine) as connection:
        key = connection.execute(t.object_.insert().returning(t.object_.c.pk), file).scalar_one()
        row = {"uid": name, "run_pk": 1, "object_pk": key, "table_name": "atoms", "rows": count}
        connection.execute(r.part.insert(), {**row, "min_image": int(keys[0]), "max_image": int(keys[-1])})


# ---------------------------------------------------------------------- the sides


def chosen(db: Database, case: str) -> Frame:
    """Return the images of a case."""
    return db.images if case == "all" else db.images[db.images.material == case]


def ours(db: Database, case: str) -> pa.Table:
    """Ask micdb."""
    im = chosen(db, case)
    left = im.atoms[im.atoms.x_nm < f"{SIDE / 2} nm"]
    return im.assign(n=left.count(), mean=left.mean("intensity"))[["uid", "n", "mean"]].to_arrow()


def by_hand(duck: duckdb.DuckDBPyConnection, files: list[str], keys: np.ndarray) -> pa.Table:
    """Ask DuckDB."""
    duck.register("wanted", pa.table({"image": keys}))
    return duck.sql(
        "SELECT image, count(*) AS n, avg(intensity) AS mean FROM read_parquet($files) "
        "SEMI JOIN wanted USING (image) WHERE x_nm < $middle GROUP BY image ORDER BY image",
        params={"files": files, "middle": SIDE / 2},
    ).to_arrow_table()


def by_rows(rows: sqlite3.Connection, keys: np.ndarray) -> list[Any]:
    """Ask SQLite."""
    rows.execute("CREATE TEMP TABLE IF NOT EXISTS wanted (image INTEGER PRIMARY KEY)")
    rows.execute("DELETE FROM wanted")
    rows.executemany("INSERT INTO wanted VALUES (?)", ((key,) for key in keys.tolist()))
    return rows.execute(
        "SELECT wanted.image, count(*), avg(intensity) FROM wanted JOIN atom ON atom.image = wanted.image "
        "WHERE x_nm < ? GROUP BY wanted.image",
        (SIDE / 2,),
    ).fetchall()


def sqlite_rows(path: Path, files: list[str], every: int) -> sqlite3.Connection:
    """Return the atoms of every n-th image as rows of SQLite."""
    made = path.exists()
    rows = sqlite3.connect(path)
    if not made:
        found = duckdb.sql(
            "SELECT image, frame, idx, x_nm, y_nm, intensity FROM read_parquet($files) WHERE image % $n = 0",
            params={"files": files, "n": every},
        ).fetchall()
        rows.execute(
            "CREATE TABLE atom (image INTEGER, frame INTEGER, idx INTEGER, x_nm REAL, y_nm REAL, "
            "intensity REAL)"
        )
        rows.executemany("INSERT INTO atom VALUES (?, ?, ?, ?, ?, ?)", found)
        rows.execute("CREATE INDEX by_image ON atom (image)")
        rows.execute("ANALYZE")
        rows.commit()
    return rows


# ---------------------------------------------------------------------- measuring


@dataclass
class Clock:
    """Times of one side: by the wall and of the processors [s]."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def time(self, work: Callable[[], Any]) -> None:
        """Run something and remember how long it took."""
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        self.wall.append(time.perf_counter() - wall)
        self.cpu.append(time.process_time() - cpu)

    def median(self, which: str = "wall") -> float:
        """Return the median; NaN where nothing was measured."""
        times = getattr(self, which)
        return statistics.median(times) if times else float("nan")


def read_by(work: Callable[[], Any]) -> float:
    """Return how much something reads from files [MB], whether the system has it in memory or not; Linux."""
    before = _read()
    work()
    return (_read() - before) / 1e6


def _read() -> int:
    return int(Path("/proc/self/io").read_text(encoding="ascii").split()[1])


def check(left: pa.Table, right: pa.Table) -> None:
    """Both sides must give the same numbers; images of one catalog come in the order of their keys."""
    np.testing.assert_array_equal(left["n"].to_numpy(), right["n"].to_numpy())
    np.testing.assert_allclose(left["mean"].to_numpy(), right["mean"].to_numpy(), rtol=1e-9)


def compare(db: Database, options: argparse.Namespace) -> None:
    """Print one line for each case."""
    with db.engine.connect() as connection:
        paths = sa.select(t.object_.c.path).join(r.part, r.part.c.object_pk == t.object_.c.pk)
        files = [str(db.root / path) for path in connection.execute(paths.order_by(r.part.c.pk)).scalars()]
    duck = duckdb.connect(":memory:")
    blind = duckdb.connect(":memory:", config={"disabled_optimizers": "join_filter_pushdown"})
    every = max(1, options.atoms // options.rows)
    rows = sqlite_rows(options.folder / f"rows-{options.atoms}.sqlite", files, every)
    print(
        "case                  images     micdb    DuckDB  ratio  cpu ratio   SQLite rows  times    read MB  "
        "without pruning"
    )
    for case in CASES:
        keys = np.sort(chosen(db, case).pks())
        some = keys[keys % every == 0]
        check(ours(db, case), by_hand(duck, files, keys))
        mine, theirs, slow = Clock(), Clock(), Clock()
        for _ in range(options.rounds):
            mine.time(lambda case=case: ours(db, case))
            theirs.time(lambda keys=keys: by_hand(duck, files, keys))
            if len(some):
                slow.time(lambda some=some: by_rows(rows, some))
        scaled = slow.median() * len(keys) / max(len(some), 1)
        print(
            f"{case:20} {len(keys):7,} {mine.median() * 1e3:7.0f}ms {theirs.median() * 1e3:7.0f}ms "
            f"{mine.median() / theirs.median():6.2f} {mine.median('cpu') / theirs.median('cpu'):10.2f} "
            f"{scaled * 1e3:11,.0f}ms {scaled / mine.median():6.0f} "
            f"{read_by(lambda case=case: ours(db, case)):10.1f} "
            f"{read_by(lambda keys=keys: by_hand(blind, files, keys)):12.1f}"
        )


def main() -> None:
    """Make the database where it is missing, and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--atoms", type=int, default=20_000_000)
    parser.add_argument("--per-image", type=int, default=2500)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--rows", type=int, default=2_000_000, help="atoms that SQLite holds")
    options = parser.parse_args()
    place = options.folder / f"atoms-{options.atoms}"
    if not place.exists():
        start = time.perf_counter()
        options.folder.mkdir(parents=True, exist_ok=True)
        make(place, options.atoms, options.per_image)
        print(f"made {options.atoms:,} atoms in {time.perf_counter() - start:.0f} s")
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; Python "
        f"{platform.python_version()}, DuckDB {duckdb.__version__}, pyarrow {pa.__version__}, SQLite "
        f"{sqlite3.sqlite_version}, SQLAlchemy {sa.__version__}; {options.rounds} rounds, medians"
    )
    with micdb.open(place) as db:
        compare(db, options)


if __name__ == "__main__":
    main()
