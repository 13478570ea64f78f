"""A copy is the same database: a folder to a server, back, and to another folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import pytest
import sqlalchemy as sa

from micdb import opening
from micdb.catalog.engine import reading
from micdb.catalog.tables import micrograph
from micdb.copying import copy_between
from micdb.errors import StoreError, UsageError
from micdb.populate.extractor import extractors
from micdb.store.files import object_path
from micdb.testing.dump import dump
from micdb.testing.fakes import FakeExtractor

make = SimpleNamespace(**run_path(str(Path(__file__).parents[1] / "data" / "delivery" / "make.py")))


@pytest.fixture(autouse=True)
def fake():
    return extractors().register(FakeExtractor, name="fake")


@pytest.fixture
def lab(tmp_path):
    """A folder with images, properties, derived rows and a snapshot."""
    scans = make.write(tmp_path / "scans", files=4, images=3)
    with opening.init(tmp_path / "lab.micdb") as db:
        db.ingest(scans, sheet=scans / "samples.csv", map=scans / "map.toml", lab="Labor für Öfen\t1")
        db.populate("fake")
        db.snapshot("then")
    return tmp_path / "lab.micdb"


def keys(db):
    with reading(db.engine) as connection:
        return connection.execute(sa.select(micrograph.c.pk, micrograph.c.uid)).all()


def same(one, other):
    """Whether every frame answers alike, uids and all."""
    for name in ("images", "samples", "properties", "runs", "defects"):
        here, there = (getattr(db, name).to_pandas() for db in (one, other))
        assert here.equals(there), name
    assert keys(one) == keys(other)
    uid = one.images.head(1).to_pandas()["uid"][0]
    found = [db.images.similar_to(uid, k=3)[["uid", "similarity"]].to_pandas() for db in (one, other)]
    assert found[0].equals(found[1])
    assert one.snapshots() == other.snapshots()
    with one.at("then") as a, other.at("then") as b:
        assert a.images.to_pandas().equals(b.images.to_pandas())


def test_a_folder_to_a_folder(lab, tmp_path):
    done = copy_between(lab, tmp_path / "other.micdb")
    assert dump(tmp_path / "other.micdb") == dump(lab)
    with opening.open(lab) as one, opening.open(tmp_path / "other.micdb") as other:
        same(one, other)
        assert other.fsck(deep=True).clean
        assert done.rows["micrograph"] == one.images.count()
    assert (done.files, done.bytes) == files(lab)


def files(root):
    found = [path for name in ("objects", "parts", "snapshots") for path in (root / name).rglob("*.*")]
    return len(found), sum(path.stat().st_size for path in found)


def test_to_a_server_and_back(lab, tmp_path, pg_server):
    url = pg_server.empty().render_as_string(hide_password=False)
    copy_between(lab, url, folder=tmp_path / "files")
    with opening.open(lab) as one, opening.open(url) as server:
        same(one, server)
        assert server.fsck(deep=True).clean
        # keys go on behind those that were copied
        more = make.write(tmp_path / "more", files=5, images=2)
        server.ingest(more)
        server.populate("fake")
        assert server.images.count() > one.images.count()
    copy_between(url, tmp_path / "back.micdb")
    with opening.open(url) as server, opening.open(tmp_path / "back.micdb") as back:
        same(server, back)
        assert back.fsck(deep=True).clean


def test_what_holds_rows_is_no_target(lab, tmp_path):
    copy_between(lab, tmp_path / "other.micdb")
    before = dump(tmp_path / "other.micdb")
    with pytest.raises(UsageError, match=r"other\.micdb.* has rows in \w+ already; a copy needs an empty"):
        copy_between(lab, tmp_path / "other.micdb")
    assert dump(tmp_path / "other.micdb") == before


def test_a_missing_and_a_changed_file_stop_the_copy(lab, tmp_path):
    path = next((lab / "objects").rglob("*.nxs"))
    whole = path.read_bytes()
    path.unlink()
    with pytest.raises(StoreError, match="is missing although the catalog names it"):
        copy_between(lab, tmp_path / "other.micdb")
    path.write_bytes(whole[:-1] + b"!")
    with pytest.raises(StoreError, match="has other bytes than were committed"):
        copy_between(lab, tmp_path / "other.micdb")
    assert not (tmp_path / "other.micdb" / object_path(path.stem)).exists()
    path.write_bytes(whole)  # the same command goes on from there
    assert copy_between(lab, tmp_path / "other.micdb").files < files(lab)[0]
    assert dump(tmp_path / "other.micdb") == dump(lab)


def test_killed_anywhere_the_same_command_finishes_it(lab, tmp_path):
    expected = dump(lab)
    target = tmp_path / "other.micdb"
    command = [sys.executable, "-m", "micdb", "copy", str(lab), str(target)]
    for delay in (0.0, 0.05, 0.15, 0.3):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
        while process.poll() is None and not target.exists():
            time.sleep(0.001)
        time.sleep(delay)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    try:
        copy_between(lab, target)
    except UsageError:  # it was finished before it was killed
        assert "has rows in" in str(sys.exc_info()[1])
    assert dump(target) == expected
    with opening.open(target) as other:
        assert other.fsck(deep=True, repair=True).clean
