"""How long bundles take: ``python benchmarks/exchange.py [IMAGES]``.

Simulated images with texture and peaks go out, come in, come in again, come without pixels that their files
bring, and are asked as a federation.
Processor time is told, since files are flushed to the disk whoever waits for it.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import tifffile

import micdb
from micdb.database import Database

SIDE = 64  # [pixel]
PERIOD = 8  # [pixel]
STEP = 2e7  # [pixel/cm] 0.5 nm


@contextmanager
def timed(what: str, images: int) -> Iterator[Callable[[str], None]]:
    """Print how long a block took; what it notes stands behind."""
    notes: list[str] = []
    start = time.process_time()
    yield notes.append
    seconds = time.process_time() - start
    each = 1000 * seconds / images
    print(f"{what:40} {seconds:7.1f} s {each:7.1f} ms/image  {'; '.join(notes)}", flush=True)


def made(root: Path, images: int) -> Database:
    """Return a database of simulated images, square lattices in noise, with rows of two extractors."""
    generator = np.random.default_rng(0)
    wave = np.cos(2 * np.pi * np.arange(SIDE) / PERIOD)
    lattice = 1000 * (2 + wave[:, None] + wave[None])
    scans = root / "scans"
    scans.mkdir()
    for number in range(images):
        pixels = (lattice + generator.integers(0, 200, lattice.shape)).astype(np.uint16)
        path = scans / f"{number:05d}.tif"
        tifffile.imwrite(path, pixels, resolution=(STEP, STEP), resolutionunit="CENTIMETER")
    db = micdb.init(root / "north.micdb")
    with timed("ingest", images):
        db.ingest(scans, lab="North")
    for name in ("texture", "peaks"):
        db.populate(name)
    print(f"{images} images of {SIDE} x {SIDE} pixels, {db.atoms.count()} atoms")
    return db


def main(images: int) -> None:
    """Export, import, import again, fill, federate."""
    with tempfile.TemporaryDirectory(prefix="micdb-exchange-") as folder:
        root = Path(folder)
        with made(root, images) as north, micdb.init(root / "south.micdb") as south:
            for level in ("metadata", "derived", "full"):
                with timed(f"export, level {level}", images) as note:
                    north.export(north.images, root / level, as_="bundle", level=level)
                    files = (path for path in (root / level).rglob("*") if path.is_file())
                    note(f"{sum(path.stat().st_size for path in files) / 1e6:.1f} MB")
            with timed("import, dry run", images):
                south.import_bundle(root / "full", dry_run=True)
            with timed("import", images):
                south.import_bundle(root / "full")
            with timed("import again", images) as note:
                note(f"changed: {south.import_bundle(root / 'full').changed}")
            with micdb.init(root / "west.micdb") as west:
                west.import_bundle(root / "derived")
                with timed("pixels from the original files", images) as note:
                    note(f"{west.ingest(root / 'scans', workers=1).counts['filled_images']} filled")
                with timed("ingest again", images) as note:
                    note(f"{west.ingest(root / 'scans', workers=1).counts['known']} known")
            with (
                timed("first question to a federation", images) as note,
                micdb.federate([north, south]) as both,
            ):
                note(f"{both.atoms.count()} atoms")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
