"""An import that is killed at a random moment is finished by the same import: the same database comes out.

``MICDB_KILLS`` sets the number of kills. The victims are forks of one process that has loaded everything, so
that each begins at once; their batches are small, so that there are many moments between two transactions.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest

import micdb
from micdb.testing.dump import dump

KILLS = int(os.environ.get("MICDB_KILLS", "2"))

NURSERY = """
import os, sys
import micdb
from micdb.exchange import arriving, images, results
arriving.BATCH = images.BATCH = results.BATCH = 2
import micdb.exchange.bundle, pyarrow.parquet, alembic  # loaded before the first is born
with micdb.open(sys.argv[1]) as db:
    db.import_bundle(sys.argv[2], dry_run=True)
for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        with micdb.open(line.strip()) as db:
            db.import_bundle(sys.argv[2])
        os._exit(0)
    print(pid, flush=True)
    print(os.waitpid(pid, 0)[1], flush=True)
"""


class Nursery:
    def __init__(self, database, bundle):
        command = [sys.executable, "-c", NURSERY, str(database), str(bundle)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.process = subprocess.Popen(command, text=True, **pipes)

    def run(self, database, *, kill_after=None):
        """Import in a new process, which is killed after some seconds; return how long it lived [s]."""
        self.process.stdin.write(f"{database}\n")
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
def nursery(templates, bundle, tmp_path_factory):
    scratch = shutil.copytree(templates / "empty.micdb", tmp_path_factory.mktemp("nursery") / "scratch.micdb")
    made = Nursery(scratch, bundle)
    yield made
    made.process.stdin.close()
    made.process.wait()


def test_killed_anywhere_the_same_import_finishes_it(templates, bundle, nursery, tmp_path):
    def empty(name):
        return shutil.copytree(templates / "empty.micdb", tmp_path / f"{name}.micdb")

    whole = empty("whole")
    duration = nursery.run(whole)
    expected = dump(whole)
    for number in range(KILLS):
        database, moment = empty(f"round{number}"), random.Random(number).uniform(0, duration)
        nursery.run(database, kill_after=moment)
        with micdb.open(database) as db:
            where = f"round {number}, killed after {moment:.3f} of {duration:.3f} s"
            assert db.fsck(deep=True, repair=True).clean, where
            db.import_bundle(bundle)
            assert dump(database) == expected, where
            assert db.fsck(deep=True).clean, where
            assert not db.import_bundle(bundle).changed, where
        shutil.rmtree(database)
