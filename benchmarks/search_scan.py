"""How fast the exact scan reads.

::

    python benchmarks/search_scan.py [--rows 100000] [--dim 384] [--threads 2]

micdb's quick scores of all vectors, from the mapped file of a real database, against how fast this machine
reads the same memory: the sum of 64-bit integers by numpy, and the largest of 32-bit floats, in as many
threads, of which the quicker counts. All take turns, round after round; printed are medians.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

import faiss
import numpy as np
from search_data import SPACE, database, mixture

from micdb.query.search import matrices, vectors
from micdb.query.search.nearest import nearest, unit


def main() -> None:
    """Print bytes per second."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=25)
    args = parser.parse_args()
    faiss.omp_set_num_threads(args.threads)
    stored, (query,) = mixture(args.rows, args.dim, 1)
    folder = Path(tempfile.mkdtemp(prefix="bench-scan-"))
    try:
        with database(folder / "bench.micdb", stored) as base:
            base.index("bench", kind="exact")
            (space,) = vectors.spaces(base.context, SPACE)
            matrix = matrices.open_matrix(base.context, space)
            assert matrix is not None  # noqa: S101
            quick, whole = unit(matrix, query), matrix.segments[0].vectors
            index = faiss.IndexFlatIP(args.dim)
            index.add(whole)
            with ThreadPoolExecutor(args.threads) as pool:
                found = measure(
                    {
                        "memory: sum of int64": shared(pool, whole.view(np.int64), np.sum, args.threads),
                        "memory: largest float32": shared(pool, whole, np.max, args.threads),
                        "micdb: quick scores of all": lambda: matrix.scores(quick),
                        "micdb: the 10 nearest, exact": lambda: nearest(matrix, query, matrix.all_rows, k=10),
                        "faiss Flat: the 10 nearest": lambda: index.search(query[None], 10),
                        "numpy: matrix times vector": lambda: whole @ query,
                    },
                    args.rounds,
                )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    load = ", ".join(f"{one:.0f}" for one in os.getloadavg())
    print(f"{args.rows} x {args.dim}, {args.threads} threads of {os.cpu_count()} cores, load {load}")
    print(f"Python {platform.python_version()}, numpy {np.__version__}, faiss {faiss.__version__}")
    best = min(median(times) for name, times in found.items() if name.startswith("memory"))
    for name, times in found.items():
        seconds = median(times)
        rate, ratio = whole.nbytes / seconds / 1e9, best / seconds
        print(f"  {name:32} {seconds * 1e3:8.2f} ms {rate:8.1f} GB/s   {ratio:5.2f} of memory")


def shared(
    pool: ThreadPoolExecutor, whole: np.ndarray, act: Callable[[np.ndarray], object], threads: int
) -> Callable[[], object]:
    """Return what acts on equal parts of an array side by side."""
    parts = np.array_split(whole, threads)
    return lambda: list(pool.map(act, parts))


def measure(works: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Return the times of each, taken in turn."""
    found: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(rounds + 1):
        for name, work in works.items():
            begin = time.perf_counter()
            work()
            if turn:  # the first touches the memory
                found[name].append(time.perf_counter() - begin)
    return found


if __name__ == "__main__":
    main()
