"""``import micdb`` is light: nobody waits for a package that is not used."""

from __future__ import annotations

import statistics
import subprocess
import sys

HEAVY = (
    "torch",
    "faiss",
    "duckdb",
    "fastapi",
    "pandas",
    "numpy",
    "sklearn",
    "matplotlib",
    "pint",
    "sqlalchemy",
)

# A finder ahead of all others sees every attempt, whether or not the package is installed here.
PROBE = f"""
import sys
class Spy:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in {HEAVY!r}:
            print('loaded', name)
sys.meta_path.insert(0, Spy())
import micdb
micdb.__all__, micdb.__version__, dir(micdb)
"""


def test_import_loads_nothing_heavy():
    run = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True)
    assert run.stdout == ""


def test_the_probe_sees_a_heavy_import():
    run = subprocess.run(
        [sys.executable, "-c", PROBE + "micdb.open"], capture_output=True, text=True, check=True
    )
    assert "loaded sqlalchemy" in run.stdout


def test_import_takes_under_300_ms():
    code = "import time; t = time.perf_counter(); import micdb; print(time.perf_counter() - t)"
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True) for _ in range(5)]
    # measured at 5 to 10 ms: a median above the promise is a broken promise, not a noisy machine
    assert statistics.median(float(run.stdout) for run in runs) < 0.3
