"""Killed anywhere, a compaction loses nothing: repair ends clean, answers are the same, and it goes on."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time

import pytest

from tests.micdb.compact.conftest import copied

ROUNDS = 4
COMPACT = """
import os, sys
from pathlib import Path
import micdb.publish as publish
from micdb import compact
from micdb.compact import packs, parts
from micdb.catalog.engine import sqlite_engine

root = Path(sys.argv[1])
engine = sqlite_engine(root / "catalog.sqlite")
def die_after(module, name, turn):
    step, turns = getattr(module, name), [0]
    def die(*given, **named):
        found = step(*given, **named)
        turns[0] += 1
        if turns[0] == turn:
            os.kill(os.getpid(), 9)
        return found
    setattr(module, name, die)
#cut
print("ready", flush=True)
compact.compact(engine, root, budget=compact.Budget(pack=80_000))
"""


def launch(lab, cut: str = "") -> subprocess.Popen[str]:
    code = COMPACT.replace("#cut", cut)
    process = subprocess.Popen([sys.executable, "-c", code, str(lab.root)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    return process


def prove(lab, before) -> None:
    """Whatever the crash left: answers are right at once, repair ends clean, and compacting goes on."""
    assert lab.answers() == before
    assert all(one.severity == "warning" for one in lab.db.fsck(deep=True).findings)
    assert lab.db.fsck(repair=True).clean
    assert lab.db.fsck(deep=True).findings == ()
    done = lab.compact()
    assert (done.parts_after, done.loose_after, done.packs, done.skipped) == (2, 2, 3, ())
    assert lab.files() == set()
    assert lab.answers() == before
    assert lab.db.fsck(deep=True).findings == ()


@pytest.fixture(scope="module")
def before(labs, tmp_path_factory):
    """What the lab answers, asked of a copy."""
    (lab,) = copied(labs["full"], tmp_path_factory.mktemp("before"))
    return lab.answers()


@pytest.mark.parametrize(
    ("step", "turn"),
    [
        ("publish, '_announce'", 1),  # of the atoms
        ("publish, 'move'", 1),
        ("parts, '_exchange'", 2),  # of the vectors, before the commit
        ("publish, '_announce'", 4),  # of the second pack
        ("publish, 'move'", 5),
        ("publish, '_enliven'", 3),
        ("packs, '_assign'", 2),
        ("packs, '_write'", 1),
        ("packs, 'publish'", 1),  # the pack is live, and the loose files are still there
        ("packs, '_remove_loose'", 3),
    ],
)
def test_a_crash_after_each_step(lab, before, step, turn):
    process = launch(lab, f"die_after({step}, {turn})")
    assert process.wait() == -signal.SIGKILL
    prove(lab, before)


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_a_crash_at_any_moment(lab, before, round_):
    process = launch(lab)
    time.sleep(random.Random(round_).uniform(0, 0.4))
    process.kill()
    process.wait()
    prove(lab, before)
