"""A snapshot answers as the database did when it was taken, whatever happens afterwards."""

from __future__ import annotations

from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import pytest
import sqlalchemy as sa

from micdb import opening, snapshots
from micdb.catalog.engine import writing
from micdb.catalog.results import dataset
from micdb.catalog.tables import micrograph
from micdb.errors import NotFoundError, UsageError
from micdb.populate.extractor import extractors
from micdb.testing.fakes import FakeExtractor

make = SimpleNamespace(**run_path(str(Path(__file__).parents[1] / "data" / "delivery" / "make.py")))


@pytest.fixture(autouse=True)
def fake():
    return extractors().register(FakeExtractor, name="fake")


@pytest.fixture
def db(tmp_path):
    scans = make.write(tmp_path / "scans", files=2, images=3)
    with opening.init(tmp_path / "lab.micdb") as opened:
        opened.ingest(scans, sheet=scans / "samples.csv", map=scans / "map.toml", lab="Lab A")
        opened.populate("fake")
        yield opened
        assert opened.fsck(deep=True).clean


def answers(db):
    im = db.images
    uid = im.head(1).to_pandas()["uid"][0]
    atoms = im.assign(n=im.atoms.count())[["uid", "n"]].to_pandas()
    like = im.similar_to(uid, k=4)[["uid", "similarity"]].to_pandas()
    tables = [db.images, db.samples, db.properties, db.runs, im.groupby("lab").agg(n=("uid", "count"))]
    return [
        like.to_dict("list"),
        atoms.astype(object).to_dict("list"),
        *(one.to_pandas().astype(object).to_dict("list") for one in tables),
    ]


def change(db, folder):
    """Do everything that changes answers: more images, more results, corrections, tombstones."""
    more = make.write(folder / "more", files=4, images=2)
    db.ingest(more, sheet=more / "samples.csv", map=more / "map.toml", lab="Lab B")
    db.populate("fake")
    with writing(db.engine) as connection:
        first = connection.scalar(sa.select(sa.func.min(micrograph.c.pk)))
        values = {"deleted_at": "2030-01-01T00:00:00.000000Z"}
        connection.execute(sa.update(micrograph).where(micrograph.c.pk == first).values(values))
        connection.execute(sa.update(micrograph).values(name="renamed"))


def test_a_snapshot_answers_exactly_as_then(db, tmp_path):
    before = answers(db)
    taken = db.snapshot("paper-1")
    change(db, tmp_path)
    assert answers(db) != before
    with db.at("paper-1") as then:
        assert answers(then) == before
    assert [one.name for one in db.snapshots()] == ["paper-1"]
    assert db.snapshots()[0] == taken
    assert taken.event > 0


def test_a_snapshot_refuses_to_be_written(db):
    db.snapshot("fixed")
    with db.at("fixed") as then:
        with pytest.raises(UsageError, match=r"the snapshot 'fixed' does not change: write to the database"):
            then.populate("fake")
        with pytest.raises(UsageError, match="does not change"):
            then.snapshot("again")


def test_names(db):
    db.snapshot("paper-1")
    with pytest.raises(UsageError, match=r"the name 'paper-1' is taken: choose another one, or drop"):
        db.snapshot("paper-1")
    for name in ("", "../up", "a/b", ".hidden", "x" * 101):
        with pytest.raises(UsageError, match="cannot name a snapshot: take up to 100 letters"):
            db.snapshot(name)
    with pytest.raises(UsageError, match=r"no snapshot 'paper-2'.*paper-1"):
        db.at("paper-2")
    assert not list((db.root / "staging").iterdir())


def test_without_any_the_message_says_how(db):
    with pytest.raises(UsageError, match=r"no snapshot 'x'; there is none yet: take one with micdb snapshot"):
        db.at("x")


def test_dropped_and_lost_ones(db):
    db.snapshot("one")
    db.snapshot("two")
    db.drop_snapshot("one")
    assert [one.name for one in db.snapshots()] == ["two"]
    assert not snapshots.path_of(db.root, "one").exists()
    db.snapshot("one")  # the name is free again
    snapshots.path_of(db.root, "two").rename(db.root / "elsewhere")
    with pytest.raises(NotFoundError, match=r"the file of snapshot 'two' is gone: .*two\.sqlite"):
        db.at("two")
    report = db.fsck()
    assert [(one.code, one.severity) for one in report.open] == [("snapshot-missing", "error")]
    (db.root / "elsewhere").rename(snapshots.path_of(db.root, "two"))


def test_fsck_finds_what_a_crash_left(db):
    db.snapshot("one")
    with writing(db.engine) as connection:  # as if the commit had not happened
        connection.execute(sa.delete(dataset))
    assert [one.code for one in db.fsck().open] == ["unknown-file"]
    assert db.fsck(repair=True).clean
    assert not snapshots.path_of(db.root, "one").exists()
    assert list((db.root / "quarantine").rglob("one.sqlite"))


def test_what_a_snapshot_needs_is_known(db):
    db.snapshot("one")
    with sa.create_engine(f"sqlite:///{db.root / 'catalog.sqlite'}").connect() as connection:
        live = set(connection.exec_driver_sql("SELECT sha256 FROM object WHERE state='live'").scalars())
    assert snapshots.held(db.root) == live
    assert live


def test_a_damaged_snapshot_is_an_error(db):
    db.snapshot("one")
    path = snapshots.path_of(db.root, "one")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert [(one.code, one.severity) for one in db.fsck(deep=True).open] == [("snapshot-damaged", "error")]
    path.write_bytes(whole)
