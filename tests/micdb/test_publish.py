from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest
import sqlalchemy as sa

from micdb import fsck
from micdb.catalog.engine import reading, writing
from micdb.catalog.tables import event, object_
from micdb.errors import StoreError
from micdb.provenance import file_hash, now
from micdb.publish import discard, publish, seal, stage
from micdb.store.files import object_path, part_path
from micdb.store.parts import read_part, write_part
from micdb.store.staging import claim, leftovers

KILLS = {"sqlite": 10, "postgresql": 5}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "lab.micdb"


@pytest.fixture
def engine(root: Path, new_catalog: Callable[[Path], sa.Engine]) -> sa.Engine:
    root.mkdir()
    return new_catalog(root)


def address(engine: sa.Engine) -> str:
    return engine.url.render_as_string(hide_password=False)


def staged_part(root: Path, value: int, uid: str = "one"):
    path = stage(root, ".parquet")
    write_part(path, pa.table({"image": [value]}))
    return seal(path, lambda _: part_path("atoms", uid))


def note(connection: sa.Connection, keys: dict[str, int]) -> dict[str, int]:
    """Write a row that speaks of the objects, as ingest and populate do."""
    row = {"at": now(), "actor": "test", "verb": "publish", "entity": "object", "detail": list(dict(keys))}
    connection.execute(sa.insert(event).values(row))
    return dict(keys)


def rows(engine: sa.Engine) -> list[sa.Row]:
    with reading(engine) as connection:
        return list(connection.execute(sa.select(object_).order_by(object_.c.pk)))


def files(root: Path) -> list[str]:
    found = (path for path in root.rglob("*") if path.is_file() and "catalog.sqlite" not in path.name)
    return sorted(path.relative_to(root).as_posix() for path in found)


def test_a_published_file_is_live_in_place_and_nothing_else_is_left(engine, root):
    staged = staged_part(root, 1)
    keys = publish(engine, root, [staged], note)
    (row,) = rows(engine)
    assert keys == {staged.sha256: row.pk}
    assert (row.state, row.expires_at, row.path) == ("live", None, "parts/atoms/one.parquet")
    assert (row.size, row.sha256) == ((root / row.path).stat().st_size, file_hash(root / row.path))
    assert row.media_type == "application/vnd.apache.parquet"
    assert files(root) == ["parts/atoms/one.parquet"]


def test_objects_are_named_by_their_hash(root, engine):
    path = stage(root, ".nxs")
    path.write_bytes(b"bytes")
    staged = seal(path, object_path)
    publish(engine, root, [staged], note)
    assert files(root) == [f"objects/{staged.sha256[:2]}/{staged.sha256}.nxs"]


def test_rows_without_files_are_committed_too(engine, root):
    assert publish(engine, root, [], note) == {}
    with reading(engine) as connection:
        assert len(connection.execute(sa.select(event)).all()) == 1
    assert files(root) == []


def test_the_same_bytes_are_kept_once(engine, root):
    first = publish(engine, root, [staged_part(root, 1), staged_part(root, 1, "two")], note)
    second = publish(engine, root, [staged_part(root, 1, "three")], note)
    assert first == second
    assert files(root) == ["parts/atoms/one.parquet"] or files(root) == ["parts/atoms/two.parquet"]
    assert len(rows(engine)) == 1


def test_a_failed_commit_leaves_nothing(engine, root):
    def fail(connection: sa.Connection, keys: dict[str, int]) -> None:
        note(connection, keys)
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        publish(engine, root, [staged_part(root, 1)], fail)
    with reading(engine) as connection:
        assert connection.execute(sa.select(event)).all() == []
    assert rows(engine) == []
    assert files(root) == []
    assert fsck.check(engine, root, deep=True).findings == ()


def test_a_failed_commit_takes_nothing_that_was_live_or_is_another_publishers(engine, root):
    publish(engine, root, [staged_part(root, 1)], note)
    theirs = staged_part(root, 2, "theirs")

    def fail(connection: sa.Connection, keys: dict[str, int]) -> None:
        raise RuntimeError("no")

    held = claim(root, [theirs.sha256])
    with pytest.raises(RuntimeError, match="no"):
        publish(engine, root, [staged_part(root, 1, "again"), staged_part(root, 2, "two")], fail)
    assert [(row.state, row.path) for row in rows(engine)] == [
        ("live", "parts/atoms/one.parquet"),
        ("pending", "parts/atoms/two.parquet"),
    ]
    publish(engine, root, [theirs], note)
    discard(root, held)
    assert [row.state for row in rows(engine)] == ["live", "live"]
    assert fsck.check(engine, root, deep=True).findings == ()


def test_what_a_crash_left_pending_is_taken_over_by_the_same_bytes(engine, root):
    staged = staged_part(root, 1)
    row = {"sha256": staged.sha256, "size": staged.size, "media_type": staged.media_type}
    with writing(engine) as connection:
        old = {"path": "parts/atoms/old.parquet", "state": "pending", "created_at": now()}
        connection.execute(sa.insert(object_).values(**row, **old))
    publish(engine, root, [staged], note)
    assert [(row.state, row.path) for row in rows(engine)] == [("live", "parts/atoms/old.parquet")]
    assert fsck.check(engine, root, deep=True).findings == ()


def test_a_file_that_vanishes_meanwhile_is_an_error_and_nothing_is_live(engine, root, monkeypatch):
    monkeypatch.setattr("micdb.publish.move", lambda path, target: path.unlink())
    with pytest.raises(StoreError, match=r"one.parquet vanished while it was being published; nothing was"):
        publish(engine, root, [staged_part(root, 1)], note)
    assert rows(engine) == []


def test_a_live_object_that_lost_its_file_is_healed_by_the_same_bytes(engine, root):
    publish(engine, root, [staged_part(root, 1)], note)
    (root / "parts/atoms/one.parquet").unlink()
    assert [one.code for one in fsck.check(engine, root).open] == ["object-missing"]
    publish(engine, root, [staged_part(root, 1, "two")], note)
    assert fsck.check(engine, root, deep=True).clean


def test_a_quarantined_object_comes_back(engine, root):
    publish(engine, root, [staged_part(root, 1)], note)
    with writing(engine) as connection:
        connection.execute(sa.update(object_).values(state="quarantined"))
    (root / "parts/atoms/one.parquet").unlink()
    publish(engine, root, [staged_part(root, 1, "two")], note)
    assert [(row.state, row.path) for row in rows(engine)] == [("live", "parts/atoms/two.parquet")]


def test_discard_leaves_nothing(root):
    paths = [stage(root, ".nxs"), stage(root, ".nxs")]
    discard(root, paths[:1])
    assert paths[1].exists()
    discard(root, paths)
    assert not list(root.glob("staging/*"))


def test_two_threads_share_a_folder_and_give_it_up_together(engine, root):
    from concurrent.futures import ThreadPoolExecutor

    def one(value: int) -> None:
        publish(engine, root, [staged_part(root, value % 7, f"part{value}")], note)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(one, range(40)))
    assert [row.state for row in rows(engine)] == ["live"] * 7
    assert not list(root.glob("staging/*"))
    assert fsck.check(engine, root, deep=True).clean


def test_a_normal_end_of_a_process_leaves_nothing(root):
    root.mkdir()
    code = f"from micdb.publish import stage; from pathlib import Path; stage(Path({str(root)!r}), '.nxs')"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert not list(root.glob("staging/*"))


def test_a_forked_child_does_not_keep_its_parents_lock(root):
    root.mkdir()
    code = (
        "import os, time; from micdb.publish import stage; from pathlib import Path\n"
        f"stage(Path({str(root)!r}), '.nxs')\n"
        "child = os.fork()\n"
        "time.sleep(30) if child == 0 else print(child, flush=True)\n"
        "os.kill(os.getpid(), 9)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())
    parent.wait()
    try:
        deadline = time.monotonic() + 10
        while not (found := list(leftovers(root, remove=True))) and time.monotonic() < deadline:
            time.sleep(0.02)  # the child has yet to run its fork hook
        assert [len(leftover.files) for leftover in found] == [1]
    finally:
        os.kill(child, signal.SIGKILL)


WRITER = """
import itertools, sys
from pathlib import Path
import pyarrow as pa, sqlalchemy as sa
from micdb.catalog.engine import open_engine
from micdb.catalog.tables import event
from micdb.provenance import now, uuid7
from micdb.publish import publish, seal, stage
from micdb.store.files import part_path
from micdb.store.staging import claim, leftovers
from micdb.store.parts import write_part

root, engine = Path(sys.argv[1]), open_engine(sa.make_url(sys.argv[3]))
print("ready", flush=True)
for value in itertools.count(int(sys.argv[2])):
    staged = []
    for k in range(2):
        path = stage(root, ".parquet")
        write_part(path, pa.table({"image": [value, k]}))
        staged.append(seal(path, lambda _: part_path("atoms", uuid7())))

    def commit(connection, keys):
        row = {"at": now(), "actor": "test", "verb": "publish", "entity": "object"}
        connection.execute(sa.insert(event).values(detail=list(dict(keys)), **row))

    publish(engine, root, staged, commit)
    print(*(one.sha256 for one in staged), flush=True)
"""


def checked(engine: sa.Engine, root: Path, *, repair: bool = False) -> fsck.Report:
    """Check without the days of grace that a server gives to publishers on other machines."""
    return fsck.check(engine, root, deep=True, repair=repair, grace=timedelta(0))


def test_nothing_is_lost_when_killed_at_any_moment(engine, root):
    """After each kill: repair ends clean, and all that was reported committed is live and readable."""
    seed = 20240229
    moments = random.Random(seed)
    committed: set[str] = set()
    swept = 0
    for turn in range(KILLS[engine.dialect.name]):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(root), str(1000 * turn), address(engine)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert writer.stdout.readline() == "ready\n"
        first = "" if turn else writer.stdout.readline()  # one is finished, however slow the disk is
        time.sleep(moments.uniform(0, 0.3))
        writer.kill()
        lines = [first, *writer.stdout.read().splitlines()]
        writer.wait()
        committed |= {sha for line in lines for sha in line.split() if len(sha) == 64}
        report = checked(engine, root, repair=True)
        assert report.clean, report.open
        swept += sum(one.repaired for one in report.findings)
        assert checked(engine, root).findings == ()
    live = {row.sha256: row.path for row in rows(engine)}
    assert committed <= set(live)
    with reading(engine) as connection:
        told = {sha for (detail,) in connection.execute(sa.select(event.c.detail)) for sha in detail}
    assert told == set(live), "rows and objects go live together"
    for path in live.values():
        assert read_part(root / path).num_rows == 2
    assert swept, "no kill hit a publish: the test proves nothing"


@pytest.mark.parametrize("cut", ["claim", "_announce", "move", "_enliven"])
def test_a_crash_before_or_after_each_step_leaves_garbage_only(engine, root, cut):
    """Die exactly there, without a chance to clean up."""
    code = f"""
import os
import micdb.publish as module
step = module.{cut}
def die(*given, **named):
    step(*given, **named)
    os.kill(os.getpid(), 9)
module.{cut} = die
"""
    done = subprocess.run(
        [sys.executable, "-c", code + WRITER, str(root), "0", address(engine)], capture_output=True, text=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    before = checked(engine, root)
    assert not before.clean
    assert {one.severity for one in before.findings} == {"warning"}
    assert checked(engine, root, repair=True).clean
    assert checked(engine, root).findings == ()
    assert files(root) == []
    assert rows(engine) == []


def test_repair_leaves_a_living_publisher_alone(engine, root):
    """fsck --repair runs in the middle of a publish and takes nothing from it."""

    def commit(connection: sa.Connection, keys: dict[str, int]) -> dict[str, int]:
        return dict(keys)

    from micdb import publish as module

    announce = module._announce
    seen = []

    def interrupted(*given):
        targets = announce(*given)
        seen.append(fsck.check(engine, root, deep=True, repair=True))
        return targets

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_announce", interrupted)
        publish(engine, root, [staged_part(root, 1)], commit)
    assert seen[0].clean
    assert [one.code for one in seen[0].findings] == ["publishing"]
    assert [row.state for row in rows(engine)] == ["live"]
