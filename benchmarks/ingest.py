"""How fast files come in, against peers that do less.

::

    python benchmarks/ingest.py whole                 ingest against a bare h5py loop
    python benchmarks/ingest.py headers [FORMATS]     --defer-pixels against RosettaSciIO's full read
    python benchmarks/ingest.py flat                  cost of a file as the database grows
    python benchmarks/ingest.py memory                a 10 GB stack through 500 MB

FORMATS is a folder of real microscope files; without it, files of our own making in the sizes of cameras.
Peers run in the same process, round after round, and only ratios of medians are worth comparing between
machines.
"""

from __future__ import annotations

import argparse
import importlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import h5py
import mrcfile
import numpy as np
import tifffile

from micdb import opening
from micdb.database import Database
from micdb.store import layout

SHAPE = (1024, 1024)
SEED = 20261127
# Real files that both sides read as images, and RosettaSciIO's plugin for each.
BOTH = (
    ("dm3/multi_signal.dm3", "digitalmicrograph"),
    ("dm3/test_STEM_image.dm3", "digitalmicrograph"),
    ("emd_velox/Camera Ceta Imaging Micro.emd", "emd"),
    ("emd_velox/STEM HAADF-DF4-DF2-BF Diffraction Micro.emd", "emd"),
    ("emd_ncem/Acquisition_18.emd", "emd"),
    ("mrc/temp.mrc", "mrc"),
    ("sem_tif_fei/800_020.tif", "tiff"),
    ("sem_tif_zeiss/zeiss_example_sem.tif", "tiff"),
    ("sem_tif_tescan/tescan_example_sem1.tif", "tiff"),
    ("tia/128x128-TEM_search.emi", "tia"),
    ("blo/test1.blo", "blockfile"),
    ("digitalsurf/test_surface.sur", "digitalsurf"),
)
# Files in the sizes of cameras: maker and side [pixel], uint16; the MRC files are stacks of 16 frames.
MADE = tuple(
    (f"{kind} {side}", plugin)
    for side in (1024, 2048, 4096)
    for kind, plugin in (("fei", "tiff"), ("dm4", "digitalmicrograph"), ("mrc", "mrc"))
)


def micrograph(rng: np.random.Generator) -> np.ndarray:
    """Return a frame with the entropy of a micrograph: grains, edges and counting noise."""
    y, x = np.mgrid[0 : SHAPE[0], 0 : SHAPE[1]]
    grains = np.sin(x * rng.uniform(0.01, 0.05)) * np.sin(y * rng.uniform(0.01, 0.05)) > rng.uniform(
        -0.3, 0.3
    )
    return rng.poisson(300 + 200 * grains).astype(np.uint16)


def write_scans(folder: Path, count: int) -> list[Path]:
    """Write that many plain TIFF files; every one differs."""
    folder.mkdir()
    rng = np.random.default_rng(SEED)
    frames = [micrograph(rng) for _ in range(min(count, 50))]
    paths = []
    for number in range(count):
        frame = frames[number % len(frames)].copy()
        frame[0, :4] = number % 65536, number // 65536, 1, 2
        paths.append(folder / f"{number:06d}.tif")
        tifffile.imwrite(paths[-1], frame)
    return paths


def seconds(task: Callable[[], object]) -> float:
    """Return how long a call takes [s]."""
    began = time.perf_counter()
    task()
    return time.perf_counter() - began


def bare(paths: list[Path], folder: Path) -> None:
    """Read, and write the same chunks with the same compression: no hash, metadata, catalog, or fsync."""
    folder.mkdir()
    for path in paths:
        pixels = tifffile.imread(path)
        chunks = layout.chunk_shape(pixels.shape, pixels.dtype.itemsize, colour=False)
        with h5py.File(folder / f"{path.stem}.h5", "w") as file:
            file.create_dataset("data", data=pixels, chunks=chunks, **layout.FILTERS)


def ingest(paths: list[Path], root: Path, workers: int) -> None:
    """Bring the folder of the files into a new database."""
    with opening.init(root) as db:
        found = db.ingest(paths[0].parent, workers=workers)
    if found.counts["added"] != len(paths):
        raise SystemExit(f"{found.counts} of {len(paths)} files")


def whole(count: int, rounds: int) -> None:
    """Compare whole ingest with the bare loop."""
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        paths = write_scans(home / "scans", count)
        times: dict[str, list[float]] = {
            "bare h5py loop": [],
            "ingest, all cores": [],
            "ingest, 1 worker": [],
        }
        for number in range(rounds):
            runs = (
                lambda home=home / f"{number}": bare(paths, home),
                lambda home=home / f"{number}.micdb": ingest(paths, home, workers=0),
                lambda home=home / f"{number}.one.micdb": ingest(paths, home, workers=1),
            )
            for label, run in zip(times, runs, strict=True):
                times[label].append(seconds(run) / count)
            for folder in home.glob(f"{number}*"):
                shutil.rmtree(folder)
        base = statistics.median(times["bare h5py loop"])
        for label, found in times.items():
            median = statistics.median(found)
            print(f"{label:<20} {median * 1e3:7.1f} ms/file   {base / median:5.2f} x the bare loop's speed")


def headers(formats: Path | None, copies: int, rounds: int) -> None:
    """Compare cataloguing from headers, in one process, with RosettaSciIO's full read of the same files."""
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        if formats is None:
            made = [(label, plugin, make(home, label)) for label, plugin in MADE]
        else:
            made = [(item, plugin, formats / item) for item, plugin in BOTH]
        totals = [0.0, 0.0]
        for label, plugin, path in made:
            folder = home / "copies"
            paths = copy_item(path, folder, copies)
            read = importlib.import_module(f"rsciio.{plugin}").file_reader
            read(str(paths[0]))  # importing is not the matter
            with opening.init(home / "warm.micdb") as db:
                db.ingest(paths[0], defer_pixels=True)
            shutil.rmtree(home / "warm.micdb")
            times: list[list[float]] = [[], []]
            for number in range(rounds):
                times[0].append(seconds(lambda paths=paths, read=read: [read(str(path)) for path in paths]))
                with opening.init(home / f"{number}.micdb") as db:
                    times[1].append(seconds(lambda f=folder, db=db: catalogue(f, db, copies)))
                shutil.rmtree(home / f"{number}.micdb")
            medians = [statistics.median(found) / copies * 1e3 for found in times]
            totals = [total + median for total, median in zip(totals, medians, strict=True)]
            report(label, medians)
            shutil.rmtree(folder)
        report("all", totals)


def make(home: Path, label: str) -> Path:
    """Write one file of a maker's format in a camera's size, by the generators of the tests."""
    kind, _, written = label.partition(" ")
    side = int(written)
    frame = np.random.default_rng(SEED).poisson(300, (side, side)).astype(np.uint16)
    data = Path(__file__).parents[1] / "tests" / "data"
    tools = {
        name: SimpleNamespace(**run_path(str(data / name / "make.py"))) for name in ("tiff", "dm", "emd")
    }
    path = home / f"{kind}{side}.{ {'fei': 'tif', 'mrc': 'mrc'}.get(kind, kind) }"
    if kind == "fei":
        text = tools["tiff"].FEI.replace("ResolutionX=8", f"ResolutionX={side}")
        tifffile.imwrite(path, frame, extratags=[(34682, "s", 0, text, True)])
    elif kind == "dm4":
        tools["dm"].write(path, tools["dm"].image(frame), version=4)
    else:
        with mrcfile.new_mmap(path, (16, side, side), mrc_mode=6) as file:
            file.data[:] = frame
    return path


def catalogue(folder: Path, db: Database, copies: int) -> None:
    """Catalogue a folder from its headers."""
    found = db.ingest(folder, defer_pixels=True)
    if found.counts["added"] != copies:
        raise SystemExit(f"{found.counts} of {copies} files")


def report(label: str, medians: list[float]) -> None:
    """Print a row: times [ms/file] and how many times faster cataloguing is."""
    full, one = medians
    print(f"{label:<56} rosettasciio {full:8.2f}   headers {one:7.2f}   {full / one:6.1f} x")


def copy_item(path: Path, folder: Path, copies: int) -> list[Path]:
    """Copy a file and its parts."""
    folder.mkdir()
    made = []
    for number in range(copies):
        for part in path.parent.glob(f"{path.stem}*"):
            if part.is_file():
                shutil.copyfile(part, folder / f"{number:05d}{part.name.removeprefix(path.stem)}")
        made.append(folder / f"{number:05d}{path.suffix}")
    return made


def flat(count: int, *, defer: bool) -> None:
    """Print the cost of a file while the database grows to `count` files."""
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        rng = np.random.default_rng(SEED)
        step = max(1000, count // 20)
        first = None
        with opening.init(home / "lab.micdb") as db:
            for start in range(0, count, step):
                folder = home / f"{start:07d}"
                folder.mkdir()
                for number in range(step):
                    frame = rng.integers(0, 4096, (32, 32), np.uint16)
                    tifffile.imwrite(folder / f"{start + number:07d}.tif", frame)
                cost = seconds(lambda f=folder: db.ingest(f, workers=0, defer_pixels=defer)) / step
                first = first or cost
                print(
                    f"{start + step:>8} files   {cost * 1e3:6.2f} ms/file   {cost / first:5.2f} x the first"
                )
                shutil.rmtree(folder)


CHILD = """
import re, sys
from pathlib import Path
from micdb import opening
from micdb.database import Database
with opening.init(sys.argv[2]) as db:
    print(db.ingest(sys.argv[1], workers=1).counts["added"])
print(int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024)
"""


def memory(gigabytes: float) -> None:
    """Ingest one large MRC stack (sparse: its bytes are zeros, with a few of noise) in a child."""
    frames = int(gigabytes * 1e9 / (2048 * 2048 * 2))
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "movie.mrc"
        with mrcfile.new_mmap(path, (frames, 2048, 2048), mrc_mode=6) as file:
            rng = np.random.default_rng(SEED)
            for number in range(0, frames, max(1, frames // 20)):
                file.data[number] = rng.poisson(100, (2048, 2048))
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", CHILD, str(path), str(Path(name) / "lab.micdb")],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        spent = time.perf_counter() - began
        added, peak = done.stdout.split()
        size = path.stat().st_size / 1e9
    print(f"{added} stack of {frames} frames, {size:.1f} GB: peak memory {peak} MB, {spent:.0f} s")


def main() -> None:
    """Run one benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("whole", "headers", "flat", "memory"))
    parser.add_argument("data", nargs="?", type=Path)
    parser.add_argument("--count", type=int)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--defer", action="store_true")
    given = parser.parse_args()
    if given.what == "whole":
        whole(given.count or 1000, given.rounds)
    elif given.what == "headers":
        headers(given.data, given.count or 30, given.rounds)
    elif given.what == "flat":
        flat(given.count or 100_000, defer=given.defer)
    else:
        memory(given.count or 10)
    print(f"python {sys.version.split()[0]}, numpy {np.__version__}, h5py {h5py.__version__}")


if __name__ == "__main__":
    main()
