"""Which compression for pixels? ``python benchmarks/compression.py FOLDER [FOLDER ...]``.

Every image below the folders that micdb reads is written to an HDF5 file in memory, chunked as
`micdb.store.layout` chunks it, and read back, with each filter. Printed for each kind of pixels: size before
over size after, and MB of pixels per second, one core, median over rounds. Images are pooled, at most `MOST`
bytes of each folder and kind.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np

from micdb.errors import MicdbError
from micdb.ingest.sniff import open_scans
from micdb.store import layout
from micdb.store.chunks import ChunkWriter

MOST = 24_000_000  # [byte]
ROUNDS = 3
FILTERS: dict[str, Mapping[str, Any]] = {
    "none": {},
    "gzip 1 + shuffle (zlib)": {"compression": "gzip", "compression_opts": 1, "shuffle": True},
    "gzip 4 + shuffle (zlib)": {"compression": "gzip", "compression_opts": 4, "shuffle": True},
    "lzf + shuffle": {"compression": "lzf", "shuffle": True},
    "zstd 3 + shuffle *": {**hdf5plugin.Zstd(clevel=3), "shuffle": True},
    "bitshuffle-lz4 *": dict(hdf5plugin.Bitshuffle(cname="lz4")),
    "bitshuffle-zstd 3 *": dict(hdf5plugin.Bitshuffle(cname="zstd", clevel=3)),
    "blosc2-zstd 3 *": dict(hdf5plugin.Blosc2(cname="zstd", clevel=3)),
}
OURS = "gzip 1 + shuffle (libdeflate)"


def frames(folders: list[Path]) -> dict[str, list[np.ndarray]]:
    """Return grey frames by folder and dtype."""
    found: dict[str, list[np.ndarray]] = defaultdict(list)
    for folder in folders:
        sizes: dict[str, int] = defaultdict(int)
        for frame in _read(folder):
            kind = f"{folder.name} {frame.dtype}"
            if frame.nbytes >= 4096 and sizes[kind] < MOST:
                sizes[kind] += frame.nbytes
                found[kind].append(frame)
    return found


def _read(folder: Path) -> Iterator[np.ndarray]:
    for path in sorted(folder.rglob("*")):
        try:
            for scan in open_scans(path):
                if np.dtype(scan.pixels.dtype).kind in "uif":
                    for number, frame in enumerate(scan.pixels.frames(colour=scan.colour)):
                        if number == 10:
                            break
                        yield frame[..., 0].copy() if scan.colour else frame
        except MicdbError:
            continue


def write_by_hdf5(file: h5py.File, name: str, frame: np.ndarray, options: Mapping[str, Any]) -> None:
    """Write one frame through HDF5's filter pipeline."""
    chunks = layout.chunk_shape(frame.shape, frame.dtype.itemsize, colour=False)
    file.create_dataset(name, data=frame, chunks=chunks, **options)


def write_by_micdb(file: h5py.File, name: str, frame: np.ndarray, _options: Mapping[str, Any]) -> None:
    """Write one frame as ingest does."""
    ChunkWriter(file, name, frame.shape, frame.dtype, colour=False).write(0, frame)


def measure(
    images: list[np.ndarray],
    write: Callable[[h5py.File, str, np.ndarray, Mapping[str, Any]], None],
    options: Mapping[str, Any],
) -> tuple[float, float, float]:
    """Return ratio, and MB/s of writing and reading."""
    total = sum(image.nbytes for image in images)
    speeds: list[tuple[float, float]] = []
    stored = 0
    for _ in range(ROUNDS):
        with h5py.File("memory.h5", "w", driver="core", backing_store=False) as file:
            began = time.perf_counter()
            for number, image in enumerate(images):
                write(file, str(number), image, options)
            written = time.perf_counter()
            for number, image in enumerate(images):
                if not np.array_equal(file[str(number)][()], image, equal_nan=image.dtype.kind == "f"):
                    raise SystemExit(f"{options}: other pixels came back")
            speeds.append((written - began, time.perf_counter() - written))
            stored = sum(file[str(number)].id.get_storage_size() for number in range(len(images)))
    writing, reading = (statistics.median(times) for times in zip(*speeds, strict=True))
    return total / stored, total / writing / 1e6, total / reading / 1e6


def main() -> None:
    """Print a table for each kind of pixels, and the means over kinds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    kinds = frames(parser.parse_args().folders)
    runs = {name: (write_by_hdf5, options) for name, options in FILTERS.items()}
    runs = {OURS: (write_by_micdb, {}), **runs}
    sums: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
    for kind, images in kinds.items():
        size = sum(image.nbytes for image in images) / 1e6
        print(f"\n{kind}: {len(images)} frames, {size:.0f} MB")
        for name, (write, options) in runs.items():
            sums[name].append(measure(images, write, options))
            print("  {:<32} {:6.2f} {:8.0f} {:8.0f}".format(name, *sums[name][-1]))
    print(f"\nmedian over {len(kinds)} kinds (ratio, write MB/s, read MB/s); * needs a plug-in to be read")
    for name, found in sums.items():
        middle = [statistics.median(values) for values in zip(*found, strict=True)]
        print("  {:<32} {:6.2f} {:8.0f} {:8.0f}".format(name, *middle))


if __name__ == "__main__":
    main()
