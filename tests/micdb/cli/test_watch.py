"""`micdb watch` as a process of its own: its lines, its end, and being killed."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import numpy as np
import pytest

from micdb import opening
from micdb.testing.dump import dump

pytest.importorskip("watchdog")

DATA = Path(__file__).parents[2] / "data"
tiff = SimpleNamespace(**run_path(str(DATA / "tiff" / "make.py")))
LONG = 60.0  # [s] that anything may take on a busy machine


def image(seed):
    return np.random.default_rng(seed).integers(0, 4000, (64, 64)).astype(np.uint16)


@pytest.fixture
def lab(tmp_path):
    """An empty database beside an empty folder."""
    opening.init(tmp_path / "lab.micdb").close()
    (tmp_path / "scans").mkdir()
    return tmp_path


@contextmanager
def watch(lab, *arguments):
    """Run `micdb watch`; it is killed at the end if nothing else ended it."""
    given = ["watch", "scans", "--db", "lab.micdb", "--settle", "0.3", *arguments]
    command = [sys.executable, "-m", "micdb", *given]
    environ = {**os.environ, "PYTHONUNBUFFERED": ""}  # what is not flushed is not seen
    with subprocess.Popen(
        command, cwd=lab, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def end(process, number):
    """Stop a watch with a signal; return its exit code, the rest of its lines, and its errors."""
    process.send_signal(number)
    out, err = process.communicate(timeout=LONG)
    return process.returncode, out.splitlines(), err


def count(lab):
    with opening.open(lab / "lab.micdb") as db:
        return db.images.count()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_json_lines_come_at_once_and_a_summary_at_the_end(lab, number):
    tiff.write(lab / "scans" / "a.tif", image(1))
    with watch(lab, "--json") as process:
        first = json.loads(process.stdout.readline())
        tiff.write(lab / "scans" / "b.tif", image(2))
        (lab / "scans" / "c.tif").write_bytes(b"")
        second = json.loads(process.stdout.readline())
        code, lines, err = end(process, number)
    assert (code, err) == (0, "")
    assert (first["outcome"], first["path"], first["images"]) == ("added", str(lab / "scans" / "a.tif"), 1)
    assert first["latency"] is None
    assert (second["outcome"], Path(second["path"]).name) == ("added", "b.tif")
    assert 0.3 <= second["latency"] < LONG
    summary = json.loads(lines[-1])["summary"]
    assert (summary["files"], summary["images"]) == (2, 2)
    assert summary["refused"] + summary["waiting"] == 1
    assert summary["latency"] == dict.fromkeys(["median", "95_percent", "maximum"], second["latency"])


def test_lines_for_people(lab):
    (lab / "scans" / "sub").mkdir()
    tiff.write(lab / "scans" / "sub" / "old [b].tif", image(1))
    with watch(lab) as process:
        assert re.fullmatch(
            r"\d\d:\d\d:\d\d  added  sub/old \[b\]\.tif  1 image\n", process.stdout.readline()
        )
        tiff.write(lab / "scans" / "new.tif", image(2))
        new = process.stdout.readline()
        assert re.fullmatch(r"\d\d:\d\d:\d\d  added  new\.tif  1 image  \d+\.\d s\n", new), new
        (lab / "scans" / "notes.txt").write_text("a day in the lab")
        assert "  skipped  notes.txt: no reader knows this file" in process.stdout.readline()
        (lab / "scans" / "cut.tif").write_bytes((lab / "scans" / "new.tif").read_bytes()[:500])
        time.sleep(1)
        code, lines, err = end(process, signal.SIGINT)
    assert (code, err) == (0, "")
    assert "  refused  cut.tif: " in lines[0] or lines[0] == "watched"
    assert [line.split() for line in lines if line.startswith(("files", "images", "skipped"))] == [
        ["files", "2"],
        ["images", "2"],
        ["skipped", "1"],
    ]
    assert any(line.startswith("latency, median [s]") for line in lines)


def test_killed_at_any_moment_it_goes_on_and_doubles_nothing(lab):
    files = 24
    for number in range(files // 2):
        tiff.write(lab / "scans" / f"{number:02d}.tif", image(number))
    rounds = 0
    while count(lab) < files:
        with watch(lab) as process:
            if rounds < 4:
                for number in range(files // 2 + 3 * rounds, files // 2 + 3 * rounds + 3):
                    tiff.write(lab / "scans" / f"{number:02d}.tif", image(number))
                process.stdout.readline()
                time.sleep(random.Random(rounds).uniform(0, 0.3))
            else:
                wait_for(lab, files)
            process.kill()
            process.wait()
        with opening.open(lab / "lab.micdb") as db:
            assert db.fsck(deep=True, repair=True).clean
            assert db.fsck(deep=True).clean
        rounds += 1
    with opening.init(lab / "undisturbed.micdb") as undisturbed:
        undisturbed.ingest(lab / "scans")
    assert dump(lab / "lab.micdb") == dump(lab / "undisturbed.micdb")


def wait_for(lab, files):
    end = time.monotonic() + LONG
    while count(lab) < files:
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere is no folder; give the one the instrument writes to"),
        (["scans", "--settle", "-1"], "settle is -1.0; it must be more than 0 seconds"),
        (["scans", "--sheet", "samples.csv"], "--map is missing"),
        (["lab.micdb"], "is the database itself"),
    ],
)
def test_mistakes_are_one_line(lab, monkeypatch, run, arguments, message):
    monkeypatch.chdir(lab)
    said = run("watch", *arguments, "--db", "lab.micdb")
    assert (said.code, said.out) == (2, "")
    assert message in said.err
    assert said.err.count("\n") == 1


def test_help_says_what_polling_is_for(lab):
    command = [sys.executable, "-m", "micdb", "watch", "--help"]
    run = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "COLUMNS": "200"})
    assert "network shares" in run.stdout
