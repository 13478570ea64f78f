"""A watched folder: real files, real events, and whatever goes wrong with either."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import numpy as np
import pytest
import sqlalchemy as sa
import tifffile

from micdb import fsck, opening
from micdb.catalog import sqlite as catalog_engine
from micdb.catalog import tables
from micdb.catalog.engine import reading, sqlite_engine
from micdb.errors import MissingExtraError, NotFoundError, SheetError, UsageError
from micdb.ingest import arrival, intake, ripening, watching
from micdb.ingest.watch_report import Watched

pytest.importorskip("watchdog")

DATA = Path(__file__).parents[1] / "data"
mrc, tia, tiff = (
    SimpleNamespace(**run_path(str(DATA / name / "make.py"))) for name in ("mrc", "tia", "tiff")
)
SETTLE = 0.3  # [s]
LONG = 30.0  # [s] that anything may take on a busy machine
JEOL = (
    "$CM_FORMAT 16\r\n$CM_MAG 1000\r\n$CM_ACCEL_VOLT 15.0\r\n"
    "$$SM_MICRON_BAR 100\r\n$$SM_MICRON_MARKER 10um\r\n"
)


def image(seed=0, shape=(12, 16)):
    return np.random.default_rng(seed).integers(0, 4000, shape).astype(np.uint16)


@pytest.fixture
def db(tmp_path):
    with opening.init(tmp_path / "lab.micdb") as opened:
        yield opened
        assert fsck.check(opened.engine, opened.root, deep=True).clean, "a watch left something behind"
        assert not list((opened.root / "staging").iterdir())


@pytest.fixture
def scans(tmp_path):
    folder = tmp_path / "scans"
    folder.mkdir()
    return folder


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    """Shorten what the pure tests have proven; a file that cannot be read waits until it changes."""
    monkeypatch.setattr(ripening, "PAUSES", (LONG, LONG))
    monkeypatch.setattr(ripening, "QUICK", 0.1)
    monkeypatch.setattr(watching, "PAUSE", 0.2)
    monkeypatch.setattr(watching, "TICK", 0.02)


class Watcher:
    """A watch in a thread of its own, and what it told."""

    def __init__(self, db, folder, **how):
        self.notices, self.stop, self.summary, self.error = [], threading.Event(), None, None
        self._thread = threading.Thread(target=self._run, args=(db, folder, how))
        self._thread.start()

    def _run(self, db, folder, how):
        try:
            given = {"settle": SETTLE, **how}
            self.summary = db.watch(folder, stop=self.stop, tell=self.notices.append, **given)
        except Exception as error:
            self.error = error

    def began(self):
        """Return whether it listens, seen from outside: its thread has started others, or has ended."""
        threads = [type(one).__name__ for one in threading.enumerate()]
        return any("Emitter" in name for name in threads) or not self._thread.is_alive()

    def told(self):
        return [(one.outcome, one.path.name if one.path else None) for one in list(self.notices)]

    def until(self, *expected):
        """Wait until exactly these were told, in any order."""
        end = time.monotonic() + LONG
        while sorted(self.told(), key=str) != sorted(expected, key=str):
            assert self.error is None, self.error
            assert time.monotonic() < end, self.notices
            time.sleep(0.01)

    def finish(self) -> Watched:
        self.stop.set()
        self._thread.join(LONG)
        assert not self._thread.is_alive()
        return self.summary


@contextmanager
def watched(db, folder, **how):
    """Watch; what is written in the body comes after the first search, or during it."""
    watcher = Watcher(db, folder, **how)
    try:
        until(lambda: watcher.began() or watcher.error)
        yield watcher
    finally:
        watcher.finish()
    if watcher.error:
        raise watcher.error


def until(condition):
    end = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def rows(db, table=tables.micrograph):
    with reading(db.engine) as connection:
        return connection.execute(sa.select(table).order_by(table.c.pk)).all()


def write_slowly(path, content, pause, pieces=4):
    """Write a file from another process, piece by piece."""
    script = f"""
        import sys, time
        content = open(sys.argv[2], "rb").read()
        with open(sys.argv[1], "wb", buffering=0) as file:
            for n in range({pieces}):
                file.write(content[len(content) * n // {pieces} : len(content) * (n + 1) // {pieces}])
                time.sleep({pause})
    """
    source = path.parent.parent / f"{path.name}.source"
    source.write_bytes(content)
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(script), str(path), str(source)])


def content(tmp_path, seed=0):
    return tiff.write(tmp_path / f"made{seed}.tif", image(seed, (64, 64))).read_bytes()


# ------------------------------------------------------------------ files come


def test_what_was_there_and_what_comes(db, scans):
    tiff.write(scans / "old.tif", image(1))
    os.utime(scans / "old.tif", (1e9, 1e9))
    with watched(db, scans) as watch:
        watch.until(("added", "old.tif"))
        tiff.write(scans / "new.tif", image(2))
        watch.until(("added", "old.tif"), ("added", "new.tif"))
        old, new = watch.notices
    assert (old.images, old.latency) == (1, None)
    assert SETTLE <= new.latency < LONG
    summary = watch.summary
    assert (summary.files, summary.images, summary.waiting, summary.latencies) == (2, 2, 0, (new.latency,))
    assert summary.as_json()["latency"]["median"] == new.latency


def test_known_files_are_recognised_without_a_word(db, scans):
    for number in range(20):
        tiff.write(scans / f"{number}.tif", image(number))
        os.utime(scans / f"{number}.tif", (1e9, 1e9))
    (scans / "notes.txt").write_text("a day in the lab")
    os.utime(scans / "notes.txt", (1e9, 1e9))
    db.ingest(scans)
    with watched(db, scans) as watch:
        tiff.write(scans / "new.tif", image(99))
        watch.until(("added", "new.tif"))
    assert (watch.summary.known, watch.summary.skipped, watch.summary.files) == (20, 1, 1)


def test_a_growing_file_is_read_once_and_whole(db, scans, tmp_path):
    with watched(db, scans) as watch:
        writer = write_slowly(scans / "a.tif", content(tmp_path), pause=SETTLE / 2, pieces=6)
        watch.until(("added", "a.tif"))
        assert writer.wait() == 0
    assert watch.summary.refused == 0
    (row,) = rows(db)
    assert (row.height, row.width) == (64, 64)


def test_a_file_whose_writer_stalls_is_tried_again(db, scans, tmp_path):
    with watched(db, scans) as watch:
        writer = write_slowly(scans / "a.tif", content(tmp_path), pause=3 * SETTLE, pieces=2)
        watch.until(("added", "a.tif"))
        assert writer.wait() == 0
    assert (watch.summary.files, watch.summary.refused) == (1, 0)


def test_a_file_in_two_parts_comes_whole(db, scans):
    with watched(db, scans, settle=2.0) as watch:
        tifffile.imwrite(scans / "a.tif", image())
        tia.write_ser(scans / "b_1.ser", [image(5)])
        time.sleep(0.3)
        (scans / "a.txt").write_text(JEOL)
        tia.write_emi(scans / "b.emi", [(1, tia.object_info(tia.TEM))])
        until(lambda: len(rows(db, tables.source)) == 2)
    tif, emi = rows(db, tables.source)
    assert [part["file_name"] for part in tif.parts] == ["a.txt"]
    assert [part["file_name"] for part in emi.parts] == ["b_1.ser"]
    assert not [one for one in watch.notices if one.outcome == "refused"]


def test_a_file_that_gets_its_name_when_it_is_finished(db, scans):
    with watched(db, scans) as watch:
        tiff.write(scans / "a.tif.tmp", image())
        time.sleep(2 * SETTLE)
        assert watch.notices == []
        (scans / "a.tif.tmp").rename(scans / "a.tif")
        watch.until(("added", "a.tif"))
    assert [row.file_name for row in rows(db, tables.source)] == ["a.tif"]


def test_a_burst_of_files(db, scans):
    with watched(db, scans) as watch:
        for number in range(20):
            tiff.write(scans / f"{number:02d}.tif", image(number))
        watch.until(*(("added", f"{number:02d}.tif") for number in range(20)))
    assert len(watch.summary.latencies) == 20
    assert len(rows(db)) == 20


def test_folders_that_come_later_are_watched(db, scans, tmp_path):
    with watched(db, scans) as watch:
        (scans / "monday" / "sample 1").mkdir(parents=True)
        tiff.write(scans / "monday" / "sample 1" / "a.tif", image(1))
        whole = tmp_path / "tuesday"
        whole.mkdir()
        tiff.write(whole / "b.tif", image(2))
        whole.rename(scans / "tuesday")
        watch.until(("added", "a.tif"), ("added", "b.tif"))
        tiff.write(scans / "tuesday" / "c.tif", image(3))
        watch.until(("added", "a.tif"), ("added", "b.tif"), ("added", "c.tif"))


def test_what_is_hidden_temporary_or_a_database_is_left_alone(scans):
    with opening.init(scans / "lab.micdb") as db:
        with watched(db, scans) as watch:
            for name in ("._a.tif", "a.tif.part", "a.tif~", ".hidden/a.tif", "__MACOSX/a.tif"):
                (scans / name).parent.mkdir(exist_ok=True)
                tiff.write(scans / name, image(1))
            os.mkfifo(scans / "pipe.tif")
            (scans / "link.tif").symlink_to(scans / "nowhere.tif")
            opening.init(scans / "other").close()
            tiff.write(scans / "other" / "a.tif", image(2))
            tiff.write(scans / "b.tif", image(3))
            watch.until(("added", "b.tif"))
            time.sleep(2 * SETTLE)
            assert watch.told() == [("added", "b.tif")]
        assert (watch.summary.files, watch.summary.waiting) == (1, 0)


def test_a_file_that_is_deleted_before_it_is_read_is_no_news(db, scans):
    with watched(db, scans, settle=3.0) as watch:
        tiff.write(scans / "a.tif", image(1))
        time.sleep(SETTLE / 3)
        (scans / "a.tif").unlink()
        tiff.write(scans / "b.tif", image(2))
        watch.until(("added", "b.tif"))
    assert watch.summary.waiting == 0


def test_an_archive_is_unpacked(db, scans, tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    for number in range(3):
        tiff.write(inside / f"{number}.tif", image(number))
    with watched(db, scans) as watch:
        shutil.make_archive(str(scans / "delivery"), "zip", inside)
        watch.until(*(("added", f"{number}.tif") for number in range(3)))
    assert {Path(row.path).parent.name for row in rows(db, tables.source)} == {"delivery.zip"}


def test_polling_finds_the_same(db, scans, tmp_path, monkeypatch):
    with watched(db, scans, poll=True) as watch:
        writer = write_slowly(scans / "a.tif", content(tmp_path), pause=SETTLE / 2)
        (scans / "sub").mkdir()
        tiff.write(scans / "sub" / "b.tif", image(2))
        watch.until(("added", "a.tif"), ("added", "b.tif"))
        assert writer.wait() == 0


def test_network_shares_are_polled_without_being_asked(db, scans, monkeypatch):
    asked = []
    monkeypatch.setattr(watching, "filesystem", lambda folder: "cifs")
    monkeypatch.setattr(watching, "Ears", lambda folder, root, poll: asked.append(poll))
    with pytest.raises(AttributeError):
        db.watch(scans)
    assert asked == [True]


def test_what_the_system_did_not_tell_is_found_by_searching(db, scans, monkeypatch):
    monkeypatch.setattr(watching, "AGAIN", 0.2)
    monkeypatch.setattr(watching, "SHARE", 1)
    monkeypatch.setattr(watching.Ears, "dispatch", lambda self, event: None)
    with watched(db, scans) as watch:
        tiff.write(scans / "a.tif", image())
        watch.until(("added", "a.tif"))


def test_a_folder_that_goes_and_comes_back_is_watched_again(db, scans, monkeypatch):
    monkeypatch.setattr(watching, "AGAIN", 0.1)
    monkeypatch.setattr(watching, "SHARE", 1)
    with watched(db, scans) as watch:
        shutil.rmtree(scans)
        watch.until(("trouble", None))
        assert "is gone; waiting for it to come back" in watch.notices[0].reason
        scans.mkdir()
        monkeypatch.setattr(watching, "AGAIN", LONG)
        tiff.write(scans / "a.tif", image())
        watch.until(("trouble", None), ("added", "a.tif"))


# ------------------------------------------------------------------ what goes wrong


def test_a_damaged_file_is_refused_once_after_several_tries(db, scans, tmp_path, monkeypatch):
    monkeypatch.setattr(ripening, "PAUSES", (0.2, 0.2))
    tries = []
    prepare = arrival.open_scans

    def counted(path):
        tries.append(path.name)
        return prepare(path)

    monkeypatch.setattr(arrival, "open_scans", counted)
    cut = content(tmp_path)[:3000]
    with watched(db, scans) as watch:
        (scans / "a.tif").write_bytes(cut)
        watch.until(("refused", "a.tif"))
        assert tries.count("a.tif") == 1 + len(ripening.PAUSES)
        reason = watch.notices[0].reason
        assert str(tmp_path) not in reason
        (scans / "a.tif").write_bytes(cut)  # the same again: no news
        until(lambda: tries.count("a.tif") == 2 * (1 + len(ripening.PAUSES)))
        (scans / "a.tif").write_bytes(content(tmp_path))
        watch.until(("refused", "a.tif"), ("added", "a.tif"))
    assert (watch.summary.refused, watch.summary.files) == (0, 1)


def test_a_refusal_that_is_not_final_is_told_at_the_end(db, scans, tmp_path):
    (scans / "a.tif").write_bytes(content(tmp_path)[:3000])
    (scans / "b.tif").write_bytes(b"")
    os.utime(scans / "a.tif", (1e9, 1e9))
    with watched(db, scans) as watch:
        tiff.write(scans / "c.tif", image())
        watch.until(("added", "c.tif"))
    assert sorted(watch.told()) == [("added", "c.tif"), ("refused", "a.tif"), ("refused", "b.tif")]
    assert (watch.summary.refused, watch.summary.waiting) == (2, 0)


def test_what_is_no_microscope_file_is_said_once(db, scans):
    with watched(db, scans) as watch:
        (scans / "notes.txt").write_text("monday")
        watch.until(("skipped", "notes.txt"))
        (scans / "notes.txt").write_text("monday and tuesday")
        tiff.write(scans / "b.tif", image())
        watch.until(("skipped", "notes.txt"), ("added", "b.tif"))
        time.sleep(2 * SETTLE)
        assert watch.told().count(("skipped", "notes.txt")) == 1


def test_a_bug_costs_one_file(db, scans, monkeypatch):
    read = arrival.open_scans

    def broken(path):
        if path.name == "b.tif":
            raise ZeroDivisionError("a bug of ours")
        return read(path)

    monkeypatch.setattr(arrival, "open_scans", broken)
    monkeypatch.setattr(ripening, "PAUSES", ())
    for name in "abc":
        tiff.write(scans / f"{name}.tif", image(ord(name)))
        os.utime(scans / f"{name}.tif", (1e9, 1e9))
    with watched(db, scans) as watch:
        watch.until(("added", "a.tif"), ("added", "c.tif"), ("refused", "b.tif"))
    reasons = [one.reason for one in watch.notices if one.outcome == "refused"]
    assert reasons == ["ZeroDivisionError: a bug of ours"]


def test_a_full_disk_is_said_once_and_waited_for(db, scans, monkeypatch):
    publish = intake.publish
    full = threading.Event()
    tries = []

    def publish_if_room(*given):
        if full.is_set():
            tries.append(given)
            raise OSError(errno.ENOSPC, f"Can't write, time = {time.time()}")
        return publish(*given)

    monkeypatch.setattr(intake, "publish", publish_if_room)
    full.set()
    with watched(db, scans) as watch:
        for number in range(3):
            tiff.write(scans / f"{number}.tif", image(number))
        until(lambda: len(tries) >= 3)
        assert watch.told() == [("trouble", None)]
        assert watch.notices[0].reason == f"{db.root}: No space left on device; trying again"
        full.clear()
        watch.until(("trouble", None), *(("added", f"{number}.tif") for number in range(3)))
    assert len(rows(db)) == 3


def test_a_locked_catalog_is_said_once_and_waited_for(tmp_path, scans, monkeypatch):
    monkeypatch.setattr(catalog_engine, "BUSY_TIMEOUT", 50)
    with opening.init(tmp_path / "lab.micdb") as db:
        other = sqlite_engine(db.root / "catalog.sqlite").raw_connection()
        other.execute("BEGIN IMMEDIATE")
        with watched(db, scans) as watch:
            tiff.write(scans / "a.tif", image())
            watch.until(("trouble", None))
            assert "database is locked" in watch.notices[0].reason
            time.sleep(0.5)
            other.execute("ROLLBACK")
            watch.until(("trouble", None), ("added", "a.tif"))
        other.close()


def test_others_may_use_the_database_meanwhile(db, scans, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    for number in range(10):
        tiff.write(mine / f"{number}.tif", image(number))
    with watched(db, scans) as watch, opening.open(db.root) as other:
        for number in range(10, 20):
            tiff.write(scans / f"{number}.tif", image(number))
        assert other.ingest(mine).counts["added"] == 10
        watch.until(*(("added", f"{number}.tif") for number in range(10, 20)))
        assert other.images.count() == 20


# ------------------------------------------------------------------ the samples sheet

MAP = 'file = "file"\nsample = "sample"\n'


def test_a_sheet_is_read_again_when_it_changes(db, scans, monkeypatch):
    sheet, map_ = scans / "samples.csv", scans / "map.toml"
    sheet.write_text("file,sample\na.tif,S1\n")
    map_.write_text(MAP)
    with watched(db, scans, sheet=sheet, map=map_, lab="Lab A") as watch:
        tiff.write(scans / "a.tif", image(1))
        watch.until(("added", "a.tif"))
        sheet.write_text("file,sampel\nhalf saved")
        tiff.write(scans / "b.tif", image(2))
        watch.until(("added", "a.tif"), ("trouble", None))
        assert "no column 'sample'" in watch.notices[-1].reason
        sheet.write_text("file,sample\na.tif,S1\nb.tif,S2\n")
        watch.until(("added", "a.tif"), ("trouble", None), ("added", "b.tif"))
    assert list(db.images[["name", "sample"]].to_pandas()["sample"]) == ["S1", "S2"]
    assert watch.summary.skipped == 0  # the sheet is no micrograph


def test_a_row_that_fits_two_files_is_not_given_to_the_second(db, scans, monkeypatch):
    monkeypatch.setattr(ripening, "PAUSES", ())
    monkeypatch.setattr(watching, "AGAIN", 0.1)
    sheet, map_ = scans / "samples.csv", scans / "map.toml"
    sheet.write_text("file,sample\na.tif,S1\n")
    map_.write_text(MAP)
    for number, name in enumerate(("monday", "tuesday")):
        (scans / name).mkdir()
        tiff.write(scans / name / "a.tif", image(number))
        os.utime(scans / name / "a.tif", (1e9, 1e9))
    with watched(db, scans, sheet=sheet, map=map_) as watch:
        watch.until(("added", "a.tif"), ("refused", "a.tif"))
        refused = next(one for one in watch.notices if one.outcome == "refused")
        assert refused.path == scans / "tuesday" / "a.tif"
        assert "fits" in refused.reason
        sheet.write_text("file,sample\nmonday/a.tif,S1\ntuesday/a.tif,S2\n")
        tiff.write(scans / "b.tif", image(5))  # the sheet is looked at when there is something to bring in
        until(lambda: len(rows(db)) == 3)


def test_mistakes_are_told_at_once(db, scans, tmp_path, monkeypatch):
    with pytest.raises(NotFoundError, match="nowhere is no folder"):
        db.watch(scans / "nowhere")
    with pytest.raises(UsageError, match=r"settle is 0; it must be more than 0 seconds"):
        db.watch(scans, settle=0)
    with pytest.raises(UsageError, match="is the database itself"):
        db.watch(db.root)
    with pytest.raises(UsageError, match="--map is missing"):
        db.watch(scans, sheet=tmp_path / "samples.csv")
    (tmp_path / "samples.csv").write_text("name\n")
    (tmp_path / "map.toml").write_text(MAP)
    with pytest.raises(SheetError, match="no column 'file'"):
        db.watch(scans, sheet=tmp_path / "samples.csv", map=tmp_path / "map.toml")
    monkeypatch.setitem(sys.modules, "watchdog", None)
    with pytest.raises(MissingExtraError, match=r"^this needs .*: pip install 'micdb\[watch\]'$"):
        db.watch(scans)


def test_too_many_folders_for_the_system_is_a_mistake_with_a_mend(db, scans, monkeypatch):
    class Deaf:
        def schedule(self, *given, **more):
            raise OSError(errno.ENOSPC, "inotify watch limit reached")

        def is_alive(self):
            return False

    monkeypatch.setattr("watchdog.observers.Observer", Deaf)
    with pytest.raises(UsageError, match=r"cannot watch .*: inotify watch limit reached; add --poll"):
        db.watch(scans)


def test_latency_of_shares_of_the_files():
    def summary(*latencies):
        return Watched(0, 0, 0, 0, 0, 0, latencies)

    hundred = summary(*(float(number) for number in range(100, 0, -1)))
    assert [hundred.latency(share) for share in (0.5, 0.95, 1.0)] == [50.0, 95.0, 100.0]
    assert summary(7.0).latency(0.5) == 7.0
    assert summary().latency(0.5) is None
