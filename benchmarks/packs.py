"""What packs and compacted parts are worth: files, pictures a second, checks, and questions over parts.

::

    python benchmarks/packs.py containers [--sides 32 1024] [--files 1000]
    python benchmarks/packs.py pictures [--images 20000] [--side 32]
    python benchmarks/packs.py parts [--images 20000] [--atoms 200]

``containers`` opens one micrograph after another, in random order, from loose files and from every container
that was considered; each is opened anew for each micrograph unless it says otherwise. ``pictures`` makes a
database of tiny micrographs, compacts a copy of it, and asks both for thumbnails and pixels. ``parts`` plants
atoms in parts of 32 images, as populate writes them, compacts a copy, and asks both about 1 % of the images,
next to DuckDB alone on the same files. Medians of ROUNDS rounds, taken in turn; files are in the page cache.
"""

from __future__ import annotations

import argparse
import io
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import duckdb
import h5py
import numpy as np
import pyarrow as pa
import sqlalchemy as sa

from micdb import fsck, opening
from micdb.catalog import results as r
from micdb.catalog import tables as t
from micdb.catalog.engine import reading, writing
from micdb.database import Database
from micdb.populate.facts import ATOMS
from micdb.populate.pictures import load_pictures
from micdb.provenance import file_hash, now, uuid7
from micdb.publish import publish, seal, stage
from micdb.query.aggregate import Aggregate
from micdb.query.facts.questions import aggregate
from micdb.query.thumbnails import load as load_thumbnails
from micdb.records import Axis, Pixels, Scan, Source
from micdb.store import files
from micdb.store.files import object_path, part_path
from micdb.store.nexus import write_micrograph
from micdb.store.packs import PackWriter, read_members
from micdb.store.parts import write_part
from micdb.store.thumbnail import thumbnail

ROUNDS = 5
SAMPLE = 1000  # micrographs asked for in one round
DEEP = 2000  # micrographs up to which the deep check is measured: it takes milliseconds for each
SCREEN = 100  # thumbnails asked for at a time
BATCH = 32  # images in one part, as populate makes them
THUMBNAIL, PIXELS = "entry/thumbnail/data", "entry/image/data"
Work = Callable[[], object]


def medians(works: Mapping[str, Work]) -> dict[str, float]:
    """Return the median time of each piece of work [s]; the rounds are taken in turn."""
    for work in works.values():
        work()
    taken: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(ROUNDS):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            taken[name].append(time.perf_counter() - start)
    return {name: statistics.median(times) for name, times in taken.items()}


def write_scan(path: Path, number: int, side: int, source: Path) -> None:
    """Write one made-up micrograph."""
    pixels = np.random.default_rng(number).poisson(100, (side, side)).astype(np.uint16)
    axes = (Axis("y", side, 0.1, unit="nm"), Axis("x", side, 0.1, unit="nm"))
    said = Source(str(source), "tif", "tiff", "1")
    scan = Scan(Pixels(pixels.shape, "uint16", lambda: pixels), axes, f"image {number}", said)
    picture = thumbnail(pixels, colour=False)
    write_micrograph(path, scan, pixels, thumbnail=picture, source_sha256="0" * 64)


# ---------------------------------------------------------------------- containers


def containers(folder: Path, side: int, count: int) -> None:
    """Compare ways to hold many micrographs in one file."""
    source = folder / "source"
    paths = [folder / f"{number}.nxs" for number in range(count)]
    for number, path in enumerate(paths):
        write_scan(path, number, side, source)
    tar = folder / "pack.tar"
    with PackWriter(tar) as pack:
        for path in paths:
            with path.open("rb") as stream:
                pack.add(path.name, stream, size=path.stat().st_size, sha256=file_hash(path))
    grouped, paged = folder / "grouped.h5", folder / "paged.h5"
    for target, options in (
        (grouped, {"libver": "latest"}),
        (paged, {"fs_strategy": "page", "fs_page_size": 1 << 16}),
    ):
        with h5py.File(target, "w", **options) as into:
            for number, path in enumerate(paths):
                with h5py.File(path) as one:
                    one.copy("entry", into.create_group(str(number)))
    loose = sum(path.stat().st_size for path in paths)
    sizes = {"tar": tar, "HDF5 with groups": grouped, "HDF5 with groups, paged": paged}
    ratios = ", ".join(f"{name} {path.stat().st_size / loose:.2f}" for name, path in sizes.items())
    print(f"\n{count} micrographs of {side} x {side}, {loose / count / 1e3:.0f} kB; bytes / loose: {ratios}")
    order = np.random.default_rng(0).permutation(count)[: SAMPLE // (1 if side < 256 else 5)]
    with openers(paths, tar, grouped, paged) as ways:
        for key in (THUMBNAIL, PIXELS):
            works = {
                name: (lambda way=way, key=key: [way(number, key) for number in order])
                for name, way in ways.items()
            }
            times = medians(works)
            print(f"{key}: ms each (ratio to loose files)")
            for name, taken in times.items():
                print(f"  {name:32} {taken / len(order) * 1e3:7.3f}  {taken / times['loose files']:5.2f}")


@contextmanager
def openers(
    paths: list[Path], tar: Path, grouped: Path, paged: Path
) -> Iterator[dict[str, Callable[[int, str], np.ndarray]]]:
    """Give functions of number and key that read one dataset of one micrograph."""
    places = read_members(tar)

    def content(number: int) -> bytes:
        offset, size = places[paths[number].name]
        with tar.open("rb", buffering=0) as file:
            return os.pread(file.fileno(), size, offset)

    def loose(number: int, key: str) -> np.ndarray:
        with h5py.File(paths[number], "r", locking=False) as file:
            return file[key][()]

    def image(number: int, key: str) -> np.ndarray:
        with h5py.File(h5py.h5f.open_file_image(content(number))) as file:
            return file[key][()]

    def stream(number: int, key: str) -> np.ndarray:
        with h5py.File(io.BytesIO(content(number)), "r") as file:
            return file[key][()]

    def group(number: int, key: str, path: Path, **options: int) -> np.ndarray:
        with h5py.File(path, "r", locking=False, **options) as file:
            return file[f"{number}/{key}"][()]

    other = shutil.copy2(grouped, grouped.with_name("other.h5"))  # HDF5 shares what one process opens twice
    with h5py.File(other, "r", locking=False) as kept:
        yield {
            "loose files": loose,
            "tar, as a file image": image,
            "tar, as a stream": stream,
            "HDF5 with groups": lambda number, key: group(number, key, grouped),
            "HDF5 with groups, paged": lambda number, key: group(number, key, paged, page_buf_size=1 << 20),
            "HDF5 with groups, kept open": lambda number, key: kept[f"{number}/{key}"][()],
        }


# ---------------------------------------------------------------------- pictures


def pictures(folder: Path, count: int, side: int) -> None:
    """Compare a database of loose files with the same one in packs."""
    loose = opening.init(folder / "loose.micdb")
    with unflushed():
        plant_images(loose, count, side)
    packed = twin(loose, folder / "packed.micdb")
    start = time.perf_counter()
    done = packed.compact()
    took = time.perf_counter() - start
    print(f"\n{count} micrographs of {side} x {side}: {done.packed} into {done.packs} packs in {took:.1f} s")
    for name, base in (("loose", loose), ("packed", packed)):
        files = [path for path in base.root.rglob("*") if path.is_file() and path.parent.name != "staging"]
        used = sum(path.stat().st_blocks * 512 for path in files)
        print(f"  {name}: {len(files)} files, {used / 1e6:.0f} MB on the disk")
    chosen = np.random.default_rng(0).choice(loose.images.pks(), min(count, SAMPLE), replace=False).tolist()
    with reading(loose.engine) as connection:
        m = t.micrograph.c
        uids = {row.pk: row.uid for row in connection.execute(sa.select(m.pk, m.uid))}
    screens = [[uids[pk] for pk in chosen[i : i + SCREEN]] for i in range(0, len(chosen), SCREEN)]
    works: dict[str, Work] = {}
    for name, base in (("loose", loose), ("packed", packed)):
        works[f"{name}: thumbnails"] = lambda base=base: [
            load_thumbnails(base.context, some) for some in screens
        ]
        works[f"{name}: pixels"] = lambda base=base: list(load_pictures(base.engine, base.root, chosen))
        works[f"{name}: fsck"] = lambda base=base: check(base, deep=False)
        if count <= DEEP:
            works[f"{name}: fsck --deep"] = lambda base=base: check(base, deep=True)
    times = medians(works)
    for what in ("thumbnails", "pixels", "fsck", "fsck --deep")[: 4 if count <= DEEP else 3]:
        a, b = times[f"loose: {what}"], times[f"packed: {what}"]
        rate = f" ({len(chosen) / a:,.0f} and {len(chosen) / b:,.0f} a second)" if "fsck" not in what else ""
        print(f"  {what}: loose {a:.3f} s, packed {b:.3f} s, packed is {a / b:.2f} x as fast{rate}")
    for base in (loose, packed):
        base.close()


@contextmanager
def unflushed() -> Iterator[None]:
    """Let nothing wait for the disk: what is planted is not measured."""
    flush = files._fsync
    files._fsync = lambda *_: None
    yield
    files._fsync = flush


def check(base: Database, *, deep: bool) -> None:
    """Check a database, which must be clean."""
    report = fsck.check(base.engine, base.root, deep=deep)
    if not report.clean:
        raise SystemExit(str(report))


def plant_images(base: Database, count: int, side: int) -> None:
    """Write micrographs and their rows."""
    axes = [
        {"name": name, "size": side, "step": 0.1, "offset": 0.0, "unit": "nm", "origin": "file"}
        for name in "yx"
    ]
    plain = {
        "height": side, "width": side, "n_frames": 1, "colour": False, "dtype": "uint16", "axes": axes,
        "settings": {}, "problems": [], "pixel_size_x": 0.1, "pixel_size_y": 0.1, "created_at": now(),
    }  # fmt: skip
    for first in range(0, count, 500):
        staged = []
        for number in range(first, min(first + 500, count)):
            path = stage(base.root, ".nxs")
            write_scan(path, number, side, path)
            staged.append(seal(path, object_path))

        def commit(connection: sa.Connection, keys: Mapping[str, int], staged: list = staged) -> None:
            for one in staged:
                made = {"uid": uuid7(), "source_sha256": one.sha256}
                recording = connection.execute(t.acquisition.insert().values(made)).inserted_primary_key[0]
                row = {"uid": uuid7(), "name": one.sha256[:8], "pixel_hash": one.sha256, **plain}
                links = {"acquisition_pk": recording, "object_pk": keys[one.sha256]}
                connection.execute(t.micrograph.insert().values(**row, **links))

        publish(base.engine, base.root, staged, commit)


def twin(base: Database, folder: Path) -> Database:
    """Return a second database of the same files; they are linked, and no command writes into a file."""
    base.close()
    shutil.copytree(base.root, folder, copy_function=os.link)
    for name in ("catalog.sqlite", "catalog.sqlite-wal", "catalog.sqlite-shm"):
        if (folder / name).exists():
            (folder / name).unlink()
            shutil.copy2(base.root / name, folder / name)
    return opening.open(folder)


# ---------------------------------------------------------------------- parts


def parts(folder: Path, count: int, atoms: int) -> None:
    """Compare questions over many small parts with the same over compacted ones."""
    small = opening.init(folder / "small.micdb")
    with unflushed():
        run = plant_atoms(small, count, atoms)
    large = twin(small, folder / "large.micdb")
    code = "import sys; from micdb import opening; print(opening.open(sys.argv[1]).compact())"
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code, str(large.root)], check=True, capture_output=True, text=True
    )
    took = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(
        f"\n{count * atoms / 1e6:.1f}M atoms of {count} images; compacted in {took:.1f} s with {peak:.0f} MB"
    )
    print(done.stdout.strip())
    rng, share = np.random.default_rng(0), count // 100
    chosen = {
        "scattered": np.sort(rng.choice(count, share, replace=False)) + 1,
        "in a row": np.arange(share) + share,
    }
    asked = [Aggregate("n", "size", None, None), Aggregate("i", "mean", "intensity", None)]
    for name, images in chosen.items():
        works: dict[str, Work] = {}
        for kind, base in (("small parts", small), ("compacted", large)):
            files = live_parts(base)
            works[f"micdb, {kind}"] = lambda base=base, images=images: aggregate(
                base.context, "atoms", [run], images=images, aggregates=asked
            )
            works[f"DuckDB alone, {kind}"] = lambda files=files, images=images: bare(SQL, files, images)
        times = medians(works)
        print(f"  1 % of the images, {name}: ms")
        for what, taken in times.items():
            print(f"    {what:28} {taken * 1e3:8.1f}  {taken / times['micdb, small parts']:5.2f}")


SQL = """
    SELECT image, count(*), avg(intensity::DOUBLE) FROM read_parquet($files)
    SEMI JOIN wanted USING (image) GROUP BY image
"""


def bare(sql: str, files: list[str], images: np.ndarray) -> pa.Table:
    """Ask DuckDB without micdb."""
    with duckdb.connect() as connection:
        connection.register("wanted", pa.table({"image": images}))
        return connection.sql(sql, params={"files": files}).to_arrow_table()


def live_parts(base: Database) -> list[str]:
    """Return the files of the live parts."""
    with reading(base.engine) as connection:
        query = sa.select(t.object_.c.path).join(r.part, r.part.c.object_pk == t.object_.c.pk)
        return [str(base.root / path) for path in connection.scalars(query)]


def plant_atoms(base: Database, count: int, atoms: int) -> int:
    """Write parts of 32 images each, and the rows that name them."""
    with writing(base.engine) as connection:
        model = {"uid": uuid7(), "name": "peaks", "version": "1", "model_hash": "0" * 64, "card": {}}
        key = connection.execute(r.model.insert().values(model)).inserted_primary_key[0]
        run = {"uid": uuid7(), "model_pk": key, "run_key": "0" * 64, "parameters": {}, "software": {}}
        made = {"device": "cpu", "created_at": now(), "actor": "benchmark"}
        run_pk = int(connection.execute(r.run.insert().values(**run, **made)).inserted_primary_key[0])
    rng = np.random.default_rng(0)
    for first in range(1, count + 1, BATCH):
        images = np.arange(first, min(first + BATCH, count + 1))
        rows = len(images) * atoms
        columns = {
            name: rng.random(rows, np.float32) * 1000
            for name in ("x_px", "y_px", "x_nm", "y_nm", "intensity")
        }
        whole = {"image": np.repeat(images, atoms), "frame": np.zeros(rows, np.int32)}
        whole["idx"] = np.tile(np.arange(atoms, dtype=np.int32), len(images))
        table = pa.table({**whole, **columns}).select(ATOMS.names).cast(ATOMS)
        path = stage(base.root, ".parquet")
        write_part(path, table.add_column(0, "run", pa.array(np.full(rows, run_pk))))
        staged = seal(path, lambda _: part_path("atoms", uuid7()))
        row = {"uid": uuid7(), "run_pk": run_pk, "table_name": "atoms", "rows": rows}
        row |= {"min_image": int(images[0]), "max_image": int(images[-1])}
        publish(base.engine, base.root, [staged], partial(add_part, row, staged.sha256))
    return run_pk


def add_part(row: dict[str, object], sha256: str, connection: sa.Connection, keys: Mapping[str, int]) -> None:
    """Name a part in the catalog."""
    connection.execute(r.part.insert().values(object_pk=keys[sha256], **row))


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("containers")
    one.add_argument("--sides", type=int, nargs="+", default=[32, 1024])
    one.add_argument("--files", type=int, default=1000)
    two = commands.add_parser("pictures")
    two.add_argument("--images", type=int, default=20_000)
    two.add_argument("--side", type=int, default=32)
    three = commands.add_parser("parts")
    three.add_argument("--images", type=int, default=20_000)
    three.add_argument("--atoms", type=int, default=200)
    given = parser.parse_args()
    hdf5 = f"h5py {h5py.__version__}, HDF5 {h5py.version.hdf5_version}"
    arrow = f"pyarrow {pa.__version__}, DuckDB {duckdb.__version__}"
    print(
        f"Python {platform.python_version()}, {hdf5}, {arrow}, {platform.machine()}, {os.cpu_count()} cores"
    )
    if given.command == "containers":
        for side in given.sides:
            with tempfile.TemporaryDirectory(prefix="micdb-bench-") as folder:
                containers(Path(folder), side, given.files if side < 256 else max(1, given.files // 5))
        return
    with tempfile.TemporaryDirectory(prefix="micdb-bench-") as folder:
        if given.command == "pictures":
            pictures(Path(folder), given.images, given.side)
        else:
            parts(Path(folder), given.images, given.atoms)


if __name__ == "__main__":
    main()
