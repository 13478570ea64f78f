"""Populate computes what is missing, and only that."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time

import pytest
import sqlalchemy as sa

from micdb import opening
from micdb.catalog import results
from micdb.catalog.engine import open_engine, reading
from micdb.database import Database
from micdb.errors import ContractError, RegistryError, UsageError
from micdb.populate import jobs, service, worker
from micdb.populate.extractor import extractors
from micdb.populate.jobs import Progress
from micdb.testing.dump import dump
from micdb.testing.fakes import FakeExtractor

REASON = "the shorter side is 6 pixel; expected 8 or more"


def populate(db, **options):
    return service.populate(db.engine, db.root, "fake", **options)


def items(db, run=1):
    i = results.run_item.c
    query = sa.select(i.micrograph_pk, i.status).where(i.run_pk == run).order_by(i.micrograph_pk)
    with reading(db.engine) as connection:
        return [tuple(row) for row in connection.execute(query)]


def test_every_image_gets_an_answer_and_refusals_have_reasons(db):
    done = populate(db)
    assert done.extractor == "fake"
    assert done.added == 8
    assert done.progress == Progress(done=6, refused=2)
    assert done.refusals == {REASON: 2}
    assert repr(done) == f"fake: 6 done, 2 refused, 8 of them new now\n  refused 2: {REASON}"
    facts = dump(db.root, db.engine)
    assert len(facts["parts/embeddings"]) == 6
    assert len(facts["parts/atoms"]) == 18
    assert len(facts["rollup"]) == 12
    assert [status for _, status in items(db)] == ["done"] * 3 + ["refused"] + ["done"] * 3 + ["refused"]


def test_a_second_call_adds_nothing(db):
    populate(db)
    before = dump(db.root, db.engine)
    again = populate(db)
    assert (again.added, again.progress.done) == (0, 6)
    assert dump(db.root, db.engine) == before


def test_new_images_continue_the_same_run(db, tmp_path, write):
    first = populate(db)
    db.ingest(write(tmp_path / "more.emd", 4, first=8))
    second = populate(db)
    assert second.run == first.run
    assert (second.added, second.progress) == (4, Progress(done=9, refused=3))


def test_only_the_images_asked_for_get_items(db):
    done = populate(db, images=[2, 4])
    assert (done.added, done.progress) == (2, Progress(done=1, refused=1))
    assert items(db) == [(2, "done"), (4, "refused")]
    assert populate(db, images=[]).progress.total == 0
    assert populate(db).added == 6


def test_a_query_restricts_the_images(db):
    done = db.populate("fake", where="height > 8")
    assert (done.added, done.progress) == (6, Progress(done=6))
    assert len(items(db)) == 6


def test_images_of_an_earlier_call_do_not_count_in_this_one(db):
    populate(db, images=[1, 2, 3])
    assert populate(db, images=[4]).progress == Progress(refused=1)


def test_other_parameters_are_another_run_and_the_current_one(db):
    first = populate(db)
    second = populate(db, parameters={"smallest": 2})
    assert second.run != first.run
    assert second.progress == Progress(done=8)
    with reading(db.engine) as connection:
        current = sa.select(results.run.c.uid).join_from(results.current_run, results.run)
        assert connection.execute(current).scalars().all() == [second.run]
    assert populate(db).run == first.run
    with reading(db.engine) as connection:
        assert connection.execute(current).scalars().all() == [first.run]
        assert connection.scalar(sa.select(sa.func.count()).select_from(results.model)) == 1


def test_where_something_lies_makes_no_other_run_and_the_last_place_is_kept(db, monkeypatch):
    monkeypatch.setattr(FakeExtractor, "places", frozenset({"seconds"}))
    first = populate(db)
    moved = populate(db, parameters={"seconds": 0.001})
    assert (moved.run, moved.added) == (first.run, 0)
    with reading(db.engine) as connection:
        (parameters,) = connection.execute(sa.select(results.run.c.parameters)).scalars()
    assert parameters == {"smallest": 8, "seconds": 0.001}


def test_mistakes_are_told_before_anything_is_written(db):
    with pytest.raises(UsageError, match=r"workers is -1; it must be 0 \(one per processor\) or more"):
        populate(db, workers=-1)
    with pytest.raises(UsageError, match=r"fake has no parameter 'smalest'; did you mean smallest\?"):
        populate(db, parameters={"smalest": 3})
    with pytest.raises(UsageError, match=r"fake: parameter smallest is '3'; expected int like 8"):
        populate(db, parameters={"smallest": "3"})
    with pytest.raises(RegistryError, match=r"no micdb\.extractors plug-in 'fkae'; did you mean fake\?"):
        service.populate(db.engine, db.root, "fkae")
    assert items(db) == []


def test_the_caller_can_watch(db):
    seen = []
    populate(db, watch=lambda name, state: seen.append((name, state.finished, state.total)))
    assert seen[0] == ("fake", 0, 8)
    assert seen[-1] == ("fake", 8, 8)


def test_a_bug_keeps_finished_batches_and_can_be_resumed(db, monkeypatch):
    monkeypatch.setattr(service, "Job", small_batches)
    extract = FakeExtractor.extract

    def buggy(self, pictures):
        for picture in pictures:
            if picture.image == 6:
                raise ZeroDivisionError("no such luck")
            yield from extract(self, [picture])

    monkeypatch.setattr(FakeExtractor, "extract", buggy)
    expected = (
        r"extractor 'fake' raised ZeroDivisionError on image 'image005' \(pk 6\): no such luck; this is a bug"
    )
    with pytest.raises(ContractError, match=expected):
        populate(db)
    assert [status for _, status in items(db)] == ["done", "done", "done", "refused"] + ["pending"] * 4
    monkeypatch.setattr(FakeExtractor, "extract", extract)
    assert populate(db).progress == Progress(done=6, refused=2)


def small_batches(*arguments, **options):
    return worker.Job(*arguments, **options, batch=2)


def test_two_workers_give_what_one_gives(db, tmp_path, write):
    more = write(tmp_path / "more.emd", 72, first=8)
    db.ingest(more)
    done = populate(db, workers=2)
    assert (done.added, done.progress) == (80, Progress(done=60, refused=20))
    with opening.init(tmp_path / "other.micdb") as other:
        other.ingest(tmp_path / "first.emd")
        other.ingest(more)
        populate(other, workers=1)
        assert dump(other.root) == dump(db.root, db.engine)


@pytest.fixture
def many(db, tmp_path, write):
    db.ingest(write(tmp_path / "more.emd", 72, first=8))
    return db


BUGGY = """
import os
from micdb.testing.fakes import FakeExtractor

class Buggy(FakeExtractor):
    def extract(self, pictures):
        for picture in pictures:
            if picture.image == 40:
                {mischief}
            yield from super().extract([picture])
"""


@pytest.mark.parametrize(
    ("mischief", "expected"),
    [
        ("raise KeyError('x')", (ContractError, r"raised KeyError on image 'image039' \(pk 40\)")),
        (
            "os._exit(9)",
            (UsageError, r"1 of 2 worker processes of 'fake' died \(exit code 9; .* fewer workers"),
        ),
    ],
    ids=["raises", "dies"],
)
def test_trouble_in_a_worker_process_is_told_and_the_rest_is_kept(
    many, tmp_path, monkeypatch, mischief, expected
):
    (tmp_path / "buggy_extractor.py").write_text(BUGGY.format(mischief=mischief))
    monkeypatch.syspath_prepend(tmp_path)
    import buggy_extractor

    monkeypatch.setitem(extractors()._loaded, "fake", buggy_extractor.Buggy)
    with pytest.raises(expected[0], match=expected[1]):
        populate(many, workers=2)
    monkeypatch.delitem(sys.modules, "buggy_extractor")
    monkeypatch.setitem(extractors()._loaded, "fake", FakeExtractor)
    jobs.free_dead_claims(many.engine, 1)
    assert not [status for _, status in items(many) if status == "claimed"]
    assert populate(many).progress == Progress(done=60, refused=20)


MAIN = """
import sys
from pathlib import Path
import sqlalchemy as sa
from micdb.catalog.engine import open_engine
from micdb.populate.extractor import extractors
from micdb.populate.service import populate
from micdb.testing.fakes import FakeExtractor

if __name__ == "__main__":
    extractors().register(FakeExtractor, name="fake")
    engine, root = open_engine(sa.make_url(sys.argv[2])), Path(sys.argv[1])
    populate(engine, root, "fake", parameters={"seconds": 0.05}, workers=2)
"""


def test_workers_end_when_their_parent_is_killed(many, tmp_path):
    (tmp_path / "main.py").write_text(MAIN)
    catalog = many.engine.url.render_as_string(hide_password=False)
    parent = subprocess.Popen(
        [sys.executable, str(tmp_path / "main.py"), str(many.root), catalog], start_new_session=True
    )
    i = results.run_item.c
    claimed: list[str] = []
    while len(claimed) < 2:
        assert parent.poll() is None
        time.sleep(0.02)
        with reading(many.engine) as connection:
            query = sa.select(i.worker).where(i.status == "claimed").distinct()
            claimed = list(connection.execute(query).scalars())
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    deadline = time.monotonic() + 20
    while any(jobs.alive(holder) for holder in claimed):
        assert time.monotonic() < deadline, "orphaned workers live on"
        time.sleep(0.02)
    assert populate(many, parameters={"seconds": 0.05}, images=range(1, 9)).progress == Progress(
        done=6, refused=2
    )


def test_a_call_waits_for_what_others_have_claimed(db):
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        other = pool.apply_async(populate_elsewhere, (db.engine.url, db.root))
        while not any(status == "claimed" for _, status in items(db)):
            time.sleep(0.01)
        mine = populate(db, parameters={"seconds": 0.1})
        assert mine.progress == Progress(done=6, refused=2)
        assert other.get().progress == mine.progress


def populate_elsewhere(catalog, root):
    extractors().register(FakeExtractor, name="fake")
    with Database(root, open_engine(catalog)) as db:
        return populate(db, parameters={"seconds": 0.1})


@pytest.mark.parametrize(
    ("change", "table"),
    [
        ("UPDATE rollup SET value = 4 WHERE name = 'n_atoms' AND micrograph_pk = 1", "rollup"),
        ("UPDATE run_item SET reason = 'another' WHERE micrograph_pk = 4", "run_item"),
        ("UPDATE micrograph SET pixel_size = 7 WHERE pk = 2", "micrograph"),
        ("DELETE FROM part WHERE table_name = 'atoms'", "parts/atoms"),
        ("UPDATE object SET state = 'pending' WHERE path LIKE 'objects/%'", "object"),
    ],
)
def test_a_dump_sees_every_change(tmp_path, write, change, table):
    with opening.init(tmp_path / "lab.micdb") as db:
        db.ingest(write(tmp_path / "first.emd", 8))
        populate(db)
    before = dump(db.root)
    copy = shutil.copytree(db.root, tmp_path / "copy.micdb")
    assert dump(copy) == before
    with sqlite3.connect(copy / "catalog.sqlite") as connection:
        connection.execute(change)
    connection.close()
    assert dump(copy).get(table) != before[table]


def test_workers_start_with_interrupts_held_back():
    """Ctrl-C reaches the whole group: a worker that is still importing must not print a traceback."""
    program = "import signal; print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ()))"
    with service._interrupts_held():
        held = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert held.stdout == "True\n"
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
