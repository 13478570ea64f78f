"""How soon are new files found by a query? ``python benchmarks/watch.py``.

Files of 1024 x 1024 pixels of 16 bits are written into a folder that `micdb watch` watches, one after the
other, and the time from the last change of each until its rows are live is printed.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import tifffile

import micdb


def write(folder: Path, files: int, pause: float) -> None:
    """Write one noisy image after the other, as an instrument does."""
    rng = np.random.default_rng(0)
    for number in range(files):
        pixels = rng.poisson(1000, (1024, 1024)).astype(np.uint16)
        tifffile.imwrite(folder / f"{number:04d}.tif", pixels)
        time.sleep(pause)


def main() -> None:
    """Watch a new folder, write into it, and print what the watch measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=50)
    parser.add_argument("--pause", type=float, default=0.3, help="between files [s]")
    parser.add_argument("--settle", type=float, default=2.0, help="of micdb watch [s]")
    parser.add_argument("--poll", action="store_true", help="of micdb watch")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "scans")
        folder.mkdir()
        micdb.init(Path(place, "lab.micdb")).close()
        options = ["--settle", str(given.settle), "--json", *(["--poll"] if given.poll else [])]
        command = [sys.executable, "-m", "micdb", "watch", str(folder), "--db", str(Path(place, "lab.micdb"))]
        with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True) as watch:
            time.sleep(5)  # it is listening
            write(folder, given.files, given.pause)
            lines = [watch.stdout.readline() for _ in range(given.files)] if watch.stdout else []
            watch.send_signal(signal.SIGINT)
            summary = json.loads(watch.communicate()[0].splitlines()[-1])["summary"]
    assert len(lines) == summary["files"] == given.files  # noqa: S101 (a benchmark that lost a file is none)
    shown = ", ".join(f"{name.replace('_', ' ')} {value:.2f} s" for name, value in summary["latency"].items())
    sys.stdout.write(f"{given.files} files, settle {given.settle:g} s: latency {shown}\n")


if __name__ == "__main__":
    main()
