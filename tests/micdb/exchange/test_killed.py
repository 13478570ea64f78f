"""What was killed at a random moment is finished by the same call: the same database comes out.

Bundles that are imported, and original files that fill the pixels of rows that came without. ``MICDB_KILLS``
sets the number of kills, half as many for the second. The victims are forks of one process that has loaded
everything, so that each begins at once; their batches are small, for many moments between two transactions.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial

import pytest

from micdb.testing.dump import dump

KILLS = int(os.environ.get("MICDB_KILLS", "2"))

NURSERY = """
import os, sys
from pathlib import Path
from micdb.catalog.engine import CATALOG, sqlite_engine
from micdb.exchange import arriving, images, results
from micdb.ingest import intake, pipeline, sniff
import pyarrow.parquet  # loaded before the first is born, as are the readers
for path in sorted(Path(sys.argv[1]).glob("0*")):
    sniff.open_scans(path)
arriving.BATCH = images.BATCH = results.BATCH = 2
intake.BATCH = 1

def bring(verb, root, source):
    engine = sqlite_engine(root / CATALOG)
    if verb == "import":
        arriving.import_bundle(engine, root, source)
    else:
        pipeline.ingest(pipeline.Delivery(engine, root), [source])

for words in map(str.split, sys.stdin):
    pid = os.fork()
    if pid == 0:
        bring(words[0], *map(Path, words[1:]))
        os._exit(0)
    print(pid, flush=True)
    print(os.waitpid(pid, 0)[1], flush=True)
"""


class Nursery:
    def __init__(self, scans):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.process = subprocess.Popen([sys.executable, "-c", NURSERY, str(scans)], text=True, **pipes)

    def run(self, verb, database, source, *, kill_after=None):
        """Bring something in in a new process, which is killed after some seconds; return its life [s]."""
        self.process.stdin.write(f"{verb} {database} {source}\n")
        self.process.stdin.flush()
        pid, began = int(self.process.stdout.readline()), time.monotonic()
        if kill_after is not None:
            time.sleep(kill_after)
            with suppress(ProcessLookupError):  # it was faster than the undisturbed one
                os.kill(pid, signal.SIGKILL)
        status = int(self.process.stdout.readline())
        assert status in ((0,) if kill_after is None else (0, signal.SIGKILL)), status
        return time.monotonic() - began


@pytest.fixture(scope="module")
def nursery(scans):
    made = Nursery(scans)
    yield made
    made.process.stdin.close()
    made.process.wait()


def prove(nursery, take, verb, source, again, *, kills=KILLS):
    """Kill at random moments; what is left is sound, and the same call leads to the undisturbed database."""
    db = take()
    duration = nursery.run(verb, db.root, source)
    expected = dump(db.root)
    for number in range(kills):
        db, moment = take(), random.Random(number).uniform(0, duration)
        nursery.run(verb, db.root, source, kill_after=moment)
        where = f"round {number}, killed after {moment:.3f} of {duration:.3f} s"
        assert db.fsck(deep=True, repair=True).clean, where
        again(db)
        assert dump(db.root) == expected, where
        assert db.fsck(deep=True).clean, where
        before = dump(db.root)
        again(db)
        assert dump(db.root) == before, where


def test_an_import(templates, bundle, nursery, seat):
    take = partial(seat, "killed", templates / "empty.micdb")
    prove(nursery, take, "import", bundle, lambda db: db.import_bundle(bundle))


def test_pixels_that_are_filled(rows_only_template, scans, nursery, seat):
    take = partial(seat, "killed", rows_only_template)
    prove(nursery, take, "ingest", scans, lambda db: db.ingest(scans), kills=max(1, KILLS // 2))
