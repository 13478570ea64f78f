"""When a file is complete, told by a clock that only the test moves."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from micdb.ingest.arrival import State
from micdb.ingest.ripening import PATIENCE, PAUSES, Ripening, batches, beginnings, is_temporary

SETTLE = 2.0
A, B = State(10, 1), State(20, 2)


@pytest.fixture
def room():
    return Ripening(SETTLE)


def path(name):
    return Path("/scans") / name


def test_a_file_is_complete_when_it_stays_the_same_for_settle(room):
    room.look(path("a.tif"), A, 0.0)
    assert room.ripe(1.9) == []
    assert not room.look(path("a.tif"), B, 1.9)  # grown in time: not the same
    assert room.ripe(3.8) == []
    assert room.look(path("a.tif"), B, 3.9)
    assert room.ripe(3.9) == [path("a.tif")]


def test_a_change_that_length_and_time_do_not_show_counts_when_the_system_tells(room):
    room.look(path("a.tif"), A, 0.0)
    room.tell(path("a.tif"), A, 1.5, closed=False)
    assert room.ripe(3.0) == []
    assert room.ripe(3.5) == [path("a.tif")]


def test_an_old_file_is_complete_at_once(room):
    room.look(path("old.tif"), A, 0.0, age=3600.0)
    room.look(path("new.tif"), A, 0.0, age=0.5)
    assert room.ripe(0.0) == [path("old.tif")]
    assert room.ripe(1.5) == [path("new.tif"), path("old.tif")]


def test_a_closed_file_that_never_has_parts_waits_a_moment_only(room):
    for name in ("a.dm3", "a.tif"):
        room.tell(path(name), A, 0.0, closed=True)
    assert room.ripe(0.2) == []
    assert room.ripe(0.3) == [path("a.dm3")]
    assert room.ripe(2.0) == [path("a.dm3"), path("a.tif")]


def test_writing_again_after_closing_takes_the_closing_back(room):
    room.tell(path("a.dm3"), A, 0.0, closed=True)
    room.tell(path("a.dm3"), B, 0.1, closed=False)
    assert room.ripe(1.0) == []
    room.tell(path("a.dm3"), B, 1.1, closed=True)
    assert room.ripe(1.4) == [path("a.dm3")]


def test_news_that_come_late_do_not_shorten_the_wait(room):
    room.look(path("a.tif"), A, 0.0)
    room.look(path("a.tif"), B, 5.0)
    room.tell(path("a.tif"), B, 4.0, closed=True)  # heard while others were brought in
    assert room.ripe(6.9) == []
    assert room.ripe(7.0) == [path("a.tif")]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a.tif", "a.txt"),
        ("a.emi", "a_1.ser"),
        ("a_1.ser", "a.emi"),
        ("a.tif", "a-tif.hdr"),
        ("a.mrc", "a_info.txt"),
        ("a.mrc", "a.mrc.mdoc"),
        ("a.ome.tif", "a.txt"),
    ],
)
def test_a_file_waits_for_its_parts(room, one, other):
    room.look(path(one), A, 0.0)
    room.look(path(other), A, 1.5)
    assert room.ripe(3.0) == []
    assert room.ripe(3.5) == sorted([path(one), path(other)])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a_1.tif", "a_2.tif"),
        ("a.tif", "a_2.tif"),  # one kind of file: a series, not parts
        ("img1.tif", "img10.txt"),
        ("sub/a.tif", "a.txt"),
    ],
)
def test_a_file_does_not_wait_for_what_is_no_part_of_it(room, one, other):
    room.look(path(one), A, 0.0)
    room.look(path(other), A, 1.5)
    assert room.ripe(2.0) == [path(one)]


def test_a_log_that_never_ends_does_not_keep_an_image_for_ever(room):
    room.look(path("a.tif"), A, 0.0)
    for second in range(40):
        room.look(path("a.log"), State(second, second), float(second))
        if room.ripe(float(second)):
            break
    assert second == PATIENCE * SETTLE


def test_a_file_that_is_gone_is_forgotten(room):
    room.look(path("a.tif"), A, 0.0)
    assert not room.look(path("a.tif"), None, 1.0)
    assert room.ripe(9.0) == []
    assert len(room) == 0


def test_what_was_taken_comes_again_only_when_it_changes(room):
    room.look(path("a.tif"), A, 0.0)
    room.done(path("a.tif"))
    room.tell(path("a.tif"), A, 1.0, closed=True)
    assert len(room) == 0
    room.look(path("a.tif"), B, 5.0)
    assert room.ripe(7.0) == [path("a.tif")]
    room.done(path("a.tif"))
    room.forget([path("a.tif"), path("never seen.tif")])
    room.look(path("a.tif"), B, 9.0)
    assert room.ripe(11.0) == [path("a.tif")]


def test_what_cannot_be_read_is_tried_again_after_growing_pauses(room):
    now = 0.0
    room.look(path("a.tif"), A, now, age=99.0)
    for pause in PAUSES:
        assert room.ripe(now) == [path("a.tif")]
        assert not room.failed(path("a.tif"), now)
        assert room.doubtful() == [path("a.tif")]
        assert room.ripe(now + pause - 0.1) == []
        now += pause
    assert room.failed(path("a.tif"), now)
    assert (len(room), room.doubtful()) == (0, [])
    room.look(path("a.tif"), A, now + 99)
    assert len(room) == 0


def test_a_change_gives_a_file_that_could_not_be_read_all_its_chances_again(room):
    room.look(path("a.tif"), A, 0.0, age=99.0)
    assert not room.failed(path("a.tif"), 0.0)
    room.look(path("a.tif"), B, 1.0)
    assert room.doubtful() == []
    assert room.ripe(3.0) == [path("a.tif")]
    for _ in PAUSES:
        assert not room.failed(path("a.tif"), 3.0)


@pytest.mark.parametrize(
    "name", [".a.tif", "a.tif.part", "a.tmp", "a.TMP", "a.tif~", "~$a.tif", "a.crdownload", "a.filepart"]
)
def test_names_of_what_is_no_file_yet(name):
    assert is_temporary(name)


@pytest.mark.parametrize("name", ["a.tif", "part.tif", "a.tmp.tif", "tmp", "a~b.tif", "a.parts"])
def test_names_of_files(name):
    assert not is_temporary(name)


def test_beginnings_of_a_name():
    assert beginnings("a_1-x.ser") == ("a_1-x", "a_1", "a")
    assert beginnings("_a.tif") == ("_a",)
    assert beginnings("ä b.tif") == ("ä b", "ä")


def test_batches_keep_parts_together():
    names = ["a.tif", "b.tif", "b.txt", "c.tif", "d.emi", "d_1.ser"]
    found = [[one.name for one in batch] for batch in batches(map(path, names), 2)]
    assert found == [["a.tif", "b.tif", "b.txt"], ["c.tif", "d.emi", "d_1.ser"]]


def test_a_copy_of_many_files_is_no_burden(room):
    names = [path(f"run 7_{number:05d}.tif") for number in range(5000)]
    for name in names:
        room.look(name, A, 0.0)
    room.look(path("other.tif"), A, 0.0, age=9.0)
    began = time.process_time()
    assert room.ripe(0.0) == [path("other.tif")]
    assert len(room.ripe(SETTLE)) == 5001
    assert time.process_time() - began < 2
