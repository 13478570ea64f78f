"""The job table: nobody gets what another has, and nothing stays claimed by the dead."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from collections import Counter
from datetime import timedelta

import pytest
import sqlalchemy as sa

from micdb.catalog.engine import open_engine, reading, writing
from micdb.catalog.results import run_item
from micdb.catalog.tables import micrograph
from micdb.populate import jobs
from micdb.populate.runs import open_run
from micdb.testing.fakes import FakeExtractor

PROCESSES = 4


@pytest.fixture
def run(db):
    with writing(db.engine) as connection:
        return open_run(connection, FakeExtractor()).pk


def plan(db, run, images=None):
    with writing(db.engine) as connection:
        return jobs.plan(connection, run, images)


def claim(db, run, worker="me", limit=3, images=None):
    return jobs.claim(db.engine, run, worker=worker, limit=limit, images=images)


def claim_all(catalog, run, barrier):
    engine = open_engine(catalog)
    worker = jobs.identity()
    barrier.wait()
    mine = []
    while claimed := jobs.claim(engine, run, worker=worker, limit=5, images=None):
        mine += claimed
    return mine


def test_processes_never_share_an_item(db, run, tmp_path, write):
    db.ingest(write(tmp_path / "more.emd", 192, first=8))
    plan(db, run)
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, context.Pool(PROCESSES) as pool:
        found = pool.starmap(claim_all, [(db.engine.url, run, manager.Barrier(PROCESSES))] * PROCESSES)
    claimed = Counter(image for mine in found for image in mine)
    assert claimed == Counter(range(1, 201))


def test_plan_adds_what_is_missing_once(db, run):
    assert plan(db, run, [1, 2]) == 2
    assert plan(db, run) == 6
    assert plan(db, run) == 0


def test_plan_leaves_deleted_images_out(db, run):
    with writing(db.engine) as connection:
        connection.execute(micrograph.update().where(micrograph.c.pk == 3).values(deleted_at="2020-01-01"))
    assert plan(db, run) == 7


def test_claims_come_in_order_and_only_once(db, run):
    plan(db, run)
    assert claim(db, run) == [1, 2, 3]
    assert claim(db, run, worker="you", images=[2, 5, 7, 8]) == [5, 7, 8]
    assert claim(db, run) == [4, 6]
    assert claim(db, run) == []
    assert jobs.progress(db.engine, run, None) == jobs.Progress(claimed=8)


def test_what_is_handed_back_is_free_and_the_rest_is_not(db, run):
    plan(db, run)
    claim(db, run)
    claim(db, run, worker="you")
    jobs.hand_back(db.engine, run, "me")
    assert claim(db, run, worker="you", limit=9) == [1, 2, 3, 7, 8]


def test_an_expired_lease_is_free(db, run, monkeypatch):
    plan(db, run)
    monkeypatch.setattr(jobs, "LEASE", timedelta(seconds=-1))
    assert claim(db, run, worker="elsewhere:1:1:0", limit=9) == list(range(1, 9))
    monkeypatch.undo()
    assert claim(db, run, worker=jobs.identity()) == [1, 2, 3]
    jobs.free_dead_claims(db.engine, run)
    assert jobs.progress(db.engine, run, None) == jobs.Progress(claimed=3, waiting=5)


def test_claims_of_the_dead_are_freed_and_those_of_the_living_kept(db, run):
    plan(db, run)
    claim(db, run, worker=jobs.identity(), limit=2)
    claim(db, run, worker="another-machine:1:1:0", limit=2)
    code = "from micdb.populate import jobs; print(jobs.identity())"
    dead = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    claim(db, run, worker=dead.stdout.strip(), limit=2)
    jobs.free_dead_claims(db.engine, run)
    assert jobs.progress(db.engine, run, None) == jobs.Progress(claimed=4, waiting=4)
    with reading(db.engine) as connection:
        query = sa.select(run_item.c.micrograph_pk).where(run_item.c.status == "claimed")
        assert list(connection.execute(query).scalars()) == [1, 2, 3, 4]


def test_a_zombie_is_dead():
    code = "from micdb.populate import jobs; print(jobs.identity(), flush=True); input()"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    worker = process.stdout.readline().strip()
    assert jobs.alive(worker)
    process.kill()
    while jobs.alive(worker):  # it stays in the process table until wait() is called
        pass
    process.communicate()
    assert not jobs.alive(worker)


def test_a_reused_process_number_is_another_worker():
    host, pid, start, token = jobs.identity().rsplit(":", 3)
    assert jobs.alive(f"{host}:{pid}:{start}:{token}")
    assert not jobs.alive(f"{host}:{pid}:{int(start) - 1}:{token}")
    assert jobs.identity() != jobs.identity()
