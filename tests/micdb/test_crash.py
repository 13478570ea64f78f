"""Nothing is lost: the commands are killed at random moments, mended, run again, and compared.

Each round is a real process group that gets SIGKILL somewhere between its first write and the end of
an undisturbed run. ``MICDB_KILLS`` sets the number of rounds.
"""

from __future__ import annotations

import fcntl
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import pytest

from micdb import fsck
from micdb.catalog.engine import CATALOG, sqlite_engine
from micdb.cli.app import app
from micdb.populate.extractor import extractors
from micdb.store.files import STAGING
from micdb.testing.dump import dump
from micdb.testing.fakes import FakeExtractor

KILLS = int(os.environ.get("MICDB_KILLS", "4"))  # rounds over both commands
CHUNKS = 2  # tests per command, so that they can be shared among processes

make = SimpleNamespace(**run_path(str(Path(__file__).parents[1] / "data" / "delivery" / "make.py")))


class Bench:
    """A command, the database it starts from, and what an undisturbed run makes of it."""

    def __init__(
        self, folder: Path, arguments: list[str], environ: dict[str, str], *, start: Path, here: list[str]
    ) -> None:
        self.arguments, self.environ, self.start, self.folder = arguments, environ, start, folder
        self.here = here  # further arguments when the command runs in this process
        database = self.copy("undisturbed")
        process, began = self.launch(database)
        assert process.wait() == 0
        self.duration = time.monotonic() - began  # [s] from the first write to the end
        self.expected = dump(database)

    def copy(self, name: str) -> Path:
        return Path(shutil.copytree(self.start, self.folder / f"{name}.micdb"))

    def launch(self, database: Path) -> tuple[subprocess.Popen[bytes], float]:
        """Start the command; return when it begins to write."""
        process = subprocess.Popen(
            [sys.executable, "-m", "micdb", *self.arguments, "--db", str(database)],
            env=self.environ,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
        )
        log = database / f"{CATALOG}-wal"
        while process.poll() is None and not written(log):
            time.sleep(0.001)
        return process, time.monotonic()

    def kill_once(self, database: Path, after: float) -> None:
        """Run the command and kill its whole process group `after` seconds of work."""
        process, began = self.launch(database)
        while process.poll() is None and time.monotonic() < began + after:
            time.sleep(0.001)
        with suppress(ProcessLookupError):  # it was faster than the undisturbed run
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        deadline = time.monotonic() + 30
        while held(database):  # a process inside fsync dies, and lets go of its lock, only after it
            assert time.monotonic() < deadline, "a lock outlived its process"
            time.sleep(0.001)

    def finish(self, database: Path, *, here: bool) -> None:
        """Run the same command to its end; in this process it needs no second to start."""
        if here:
            app([*self.arguments, *self.here, "--db", str(database)], standalone_mode=False)
        else:
            assert self.launch(database)[0].wait() == 0


def written(path: Path) -> bool:
    """Return whether something is in a file, which may go at any moment."""
    try:
        return path.stat().st_size > 0
    except FileNotFoundError:
        return False


def held(database: Path) -> bool:
    """Return whether a staging folder's lock is still held; all who could hold one were killed."""
    for lock in (database / STAGING).glob("*.lock"):
        with lock.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
    return False


@pytest.fixture(scope="session")
def environ(tmp_path_factory) -> dict[str, str]:
    """The environment of the commands: a plug-in package with the fake extractor is installed in it."""
    plugins = tmp_path_factory.mktemp("plugins")
    info = plugins / "fakes-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fakes\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[micdb.extractors]\nfake = micdb.testing.fakes:FakeExtractor\n")
    return {**os.environ, "PYTHONPATH": str(plugins)}


def prepared(folder: Path, *, files: int, images: int) -> tuple[Path, list[str]]:
    """Make an empty database; return it with the command that fills it."""
    scans = make.write(folder / "scans", files=files, images=images)
    start = folder / "start.micdb"
    app(["init", str(start)], standalone_mode=False)
    sheet = ["--sheet", str(scans / "samples.csv"), "--map", str(scans / "map.toml")]
    return start, ["ingest", str(scans), "--lab", "Lab A", *sheet]


@pytest.fixture(scope="session")
def ingest(tmp_path_factory, environ) -> Bench:
    folder = tmp_path_factory.mktemp("ingest")
    start, arguments = prepared(folder, files=20, images=2)  # two transactions, two workers
    return Bench(folder, arguments, environ, start=start, here=["--workers", "1"])


@pytest.fixture(scope="session")
def populate(tmp_path_factory, environ) -> Bench:
    folder = tmp_path_factory.mktemp("populate")
    start, arguments = prepared(folder, files=4, images=45)  # three batches for two workers
    app([*arguments, "--db", str(start)], standalone_mode=False)
    extractors().register(FakeExtractor, name="fake")  # for this process; for others it is installed
    fake = ["populate", "fake", "--workers", "2", "--set", "seconds=0.005"]
    return Bench(folder, fake, environ, start=start, here=["--workers", "1"])


@pytest.mark.parametrize("chunk", range(CHUNKS))
@pytest.mark.parametrize("command", ["ingest", "populate"])
def test_killed_anywhere_nothing_is_lost(command, chunk, request):
    bench: Bench = request.getfixturevalue(command)
    for round_ in rounds(command, chunk):
        database = bench.copy(f"round{round_}")
        moment = random.Random(f"{command}{round_}").uniform(0, bench.duration)
        bench.kill_once(database, moment)
        where = f"round {round_}, killed {moment:.3f} s of {bench.duration:.3f} s after the first write"
        prove_clean(database, where)
        bench.finish(database, here=round_ >= CHUNKS)  # the first of each chunk as a new process
        assert dump(database) == bench.expected, where
        shutil.rmtree(database)


def rounds(command: str, chunk: int) -> range:
    count = KILLS // 2 if command == "ingest" else KILLS - KILLS // 2
    return range(chunk, count, CHUNKS)


def prove_clean(database: Path, where: str) -> None:
    engine = sqlite_engine(database / CATALOG)
    repaired = fsck.check(engine, database, deep=True, repair=True)
    assert repaired.clean, (where, repaired.open)
    assert fsck.check(engine, database, deep=True).findings == tuple(
        one for one in repaired.findings if one.severity == "info"
    ), where
    engine.dispose()
