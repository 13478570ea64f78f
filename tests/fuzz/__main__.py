"""Damage files of every format and read them: ``python -m tests.fuzz``; see ``docs/fuzz.md``."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from micdb.ingest.reader import readers
from tests.fuzz.runner import Job, Runner, Tally, jobs
from tests.fuzz.seeds import write

MODULES = {"em": "rsciio", "movies": "av", "nd2": "nd2"}  # extra of a reader -> the package it brings


def main() -> int:
    """Run; return 1 when anything failed."""
    given = _arguments()
    folder = Path(tempfile.mkdtemp(prefix="micdb-fuzz-"))
    failed = given.failed or Path(tempfile.mkdtemp(prefix="micdb-fuzz-failed-"))
    start = time.monotonic()
    try:
        seeds = write(folder, real=not given.made)
        wanted = (
            iter(_only(given.only)) if given.only else jobs(seeds, None if given.seconds else given.count)
        )
        until = start + given.seconds if given.seconds else None
        runner = Runner(seeds, folder, failed)
        runner.verbose = bool(given.only)
        tally = runner.run(wanted, processes=given.processes, until=until)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if not given.only:
        _report(tally, len(seeds), time.monotonic() - start)
    missing = [] if given.only else _without_seed(tally)
    for reader in missing:
        print(f"no seed of our own making that reader {reader!r} reads")
    if tally.failures:
        print(f"{len(tally.failures)} failures, kept in {failed}, each with its REASON.txt;")
        print("one again: python -m tests.fuzz --only SEED:NUMBER")
    elif not given.failed:
        failed.rmdir()
    return 1 if tally.failures or missing else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    count = int(os.environ.get("MICDB_FUZZ_COUNT", "20000"))
    parser.add_argument("--count", type=int, default=count, help="mutants [20000, or MICDB_FUZZ_COUNT]")
    parser.add_argument("--seconds", type=float, help="mutants until then, whatever the count")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", nargs="+", metavar="SEED:NUMBER", help="these mutants again, one by one")
    parser.add_argument("--made", action="store_true", help="leave real files out")
    parser.add_argument("--failed", type=Path, help="folder for files that fail [a new temporary one]")
    return parser.parse_args()


def _only(named: list[str]) -> Iterator[Job]:
    """Yield a job for each name; ``bomb/:0`` stands for every bomb, sound."""
    for name in named:
        seed, _, number = name.rpartition(":")
        yield Job(((seed, int(number)),))


def _report(tally: Tally, seeds: int, seconds: float) -> None:
    print(tally.table())
    print(
        f"\n{seeds} seeds, {tally.total().mutants} files read, {tally.ingested} of them also brought into "
        f"databases ({tally.images} images), {seconds:.0f} s; Python {platform.python_version()}, "
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    )


def _without_seed(tally: Tally) -> list[str]:
    """Return the readers that could read, their extra being installed, and read no sound file of ours."""
    return [
        name
        for name in readers().names()
        if not tally.readers[name] and find_spec(MODULES.get(readers().get(name).extra or "", "micdb"))
    ]


if __name__ == "__main__":
    sys.exit(main())
