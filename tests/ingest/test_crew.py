"""Many processes read, one writes; a worker that dies or hangs costs its own file only."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import numpy as np
import pytest
import sqlalchemy as sa

from micdb import fsck, opening
from micdb.catalog import tables
from micdb.catalog.engine import reading
from micdb.errors import DamagedFileError
from micdb.ingest import crew
from micdb.ingest.crew import Task, preparing
from micdb.testing.dump import dump

DATA = Path(__file__).parents[1] / "data"
delivery, mrc = (SimpleNamespace(**run_path(str(DATA / name / "make.py"))) for name in ("delivery", "mrc"))

# Put before micdb on the path of the workers: what some damaged file would do to them.
SABOTAGE = """
import os, time
import micdb.ingest.arrival as arrival
read = arrival.open_scans
def open_scans(path):
    if "dies" in path.name:
        os.kill(os.getpid(), 9)
    if "leaves" in path.name:
        os._exit(7)
    if "hangs" in path.name:
        time.sleep(600)
    if "bug" in path.name:
        raise ZeroDivisionError("a bug of ours")
    return read(path)
arrival.open_scans = open_scans
"""


@pytest.fixture
def db(tmp_path):
    with opening.init(tmp_path / "lab.micdb") as opened:
        yield opened
        assert fsck.check(opened.engine, opened.root, deep=True).clean, "a test left something behind"
        assert not list((opened.root / "staging").iterdir())


@pytest.fixture
def sabotage(tmp_path, monkeypatch):
    """Make workers import SABOTAGE first, and be missed soon."""
    monkeypatch.setattr(crew, "PATIENCE", 12.0)
    folder = tmp_path / "sabotage"
    folder.mkdir()
    (folder / "sabotage.py").write_text(SABOTAGE)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    popen = crew.subprocess.Popen

    def first(command, **given):
        return popen([command[0], "-c", "import sabotage; " + command[2], command[3]], **given)

    monkeypatch.setattr(crew.subprocess, "Popen", first)


def images(folder, names):
    folder.mkdir(exist_ok=True)
    for number, name in enumerate(names):
        mrc.write(folder / f"{name}.mrc", np.arange(192, dtype=np.int16).reshape(12, 16) + number)
    return folder


def names(db):
    with reading(db.engine) as connection:
        return list(
            connection.execute(sa.select(tables.source.c.file_name).order_by(tables.source.c.pk)).scalars()
        )


def test_two_workers_make_the_same_database_as_none(db, tmp_path):
    folder = delivery.write(tmp_path / "delivery", files=40, images=2)
    (folder / "broken.mrc").write_bytes((folder / "02.mrc").read_bytes()[:1100])
    sheet = {"sheet": folder / "samples.csv", "map": folder / "map.toml", "lab": "Lab A"}
    seen = []
    found = db.ingest(
        folder, workers=2, watch=lambda number, total, path: seen.append((number, total)), **sheet
    )
    with opening.init(tmp_path / "single.micdb") as single:
        alone = single.ingest(folder, **sheet)
        assert [(file.path, file.outcome, file.images) for file in found.files] == [
            (file.path, file.outcome, file.images) for file in alone.files
        ]
        assert dump(db.root) == dump(single.root)
    assert seen == [(number, 41) for number in range(41)]
    assert db.ingest(folder, workers=2, **sheet).counts["known"] == 40


def test_known_files_start_no_worker(db, tmp_path, monkeypatch):
    folder = images(tmp_path / "scans", [f"{n:02d}" for n in range(20)])
    db.ingest(folder)
    monkeypatch.setattr(crew.subprocess, "Popen", None)
    assert db.ingest(folder, workers=2).counts["known"] == 20


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (
            "dies",
            r"reading it ended the process that read it \(signal SIGKILL\); the file is most likely damaged",
        ),
        ("leaves", r"reading it ended the process that read it \(exit code 7\)"),
        ("hangs", r"reading it gave no sign of life for 12 s and was ended"),
    ],
)
def test_a_lost_worker_costs_its_file_only(db, tmp_path, sabotage, name, reason):
    sound = [f"{n:02d}" for n in range(20)]
    folder = images(tmp_path / "scans", [*sound, f"05{name}"])
    result = db.ingest(folder, workers=2)
    (refused,) = result.of("refused")
    assert refused.path.name == f"05{name}.mrc"
    assert re.search(reason, refused.reason), refused.reason
    assert names(db) == [f"{n}.mrc" for n in sound]


def test_a_bug_ends_the_command_and_keeps_what_was_finished(db, tmp_path, sabotage):
    folder = images(tmp_path / "scans", [f"{n:02d}" for n in range(39)] + ["39bug"])
    with pytest.raises(ZeroDivisionError, match="a bug of ours"):
        db.ingest(folder, workers=2)
    assert len(names(db)) == 32  # whole batches


def test_outcomes_come_in_the_order_of_the_files(db, tmp_path):
    folder = images(tmp_path / "scans", [f"{n:02d}" for n in range(20)])
    tasks = [Task(path) for path in sorted(folder.iterdir())]
    with preparing(db.engine, db.root, tasks, count=2) as outcomes:
        assert [outcome.path for outcome in outcomes] == [task.path for task in tasks]


def test_a_truncated_file_is_refused_by_the_worker_with_file_and_reader(db, tmp_path):
    folder = images(tmp_path / "scans", ["a", "b"])
    short = folder / "b.mrc"
    short.write_bytes(short.read_bytes()[:1100])
    tasks = [Task(folder / "a.mrc"), Task(short)]
    with preparing(db.engine, db.root, tasks, count=2) as found:
        outcomes = list(found)
    assert isinstance(outcomes[1], DamagedFileError)
    assert (outcomes[1].path, outcomes[1].reader) == (str(short), "mrc")


def test_workers_do_not_import_the_users_script(db, tmp_path):
    folder = images(tmp_path / "scans", [f"{n:02d}" for n in range(20)])
    script = tmp_path / "script.py"
    script.write_text(
        "import micdb as mdb\n"
        "print('started')\n"
        f"db = mdb.open({str(db.root)!r})\n"
        f"print(db.ingest({str(folder)!r}, workers=2).counts['added'])\n"
    )
    done = crew.subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
    assert done.stdout == "started\n20\n"


def test_copies_of_known_files_are_recognised_by_their_bytes(db, tmp_path):
    folder = images(tmp_path / "scans", [f"{n:02d}" for n in range(20)])
    db.ingest(folder)
    copy = Path(shutil.copytree(folder, tmp_path / "copy", copy_function=shutil.copyfile))
    for path in copy.iterdir():
        os.utime(path, ns=(1, 1))
    assert db.ingest(copy, workers=2).counts["known"] == 20
