"""Pixels for later: images are catalogued from their headers, and keep their identity when pixels come."""

from __future__ import annotations

from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import numpy as np
import pytest
import sqlalchemy as sa

from micdb import fsck, opening
from micdb.catalog import tables
from micdb.catalog.engine import reading
from micdb.errors import UsageError
from micdb.ingest import arrival
from micdb.testing.dump import dump

DATA = Path(__file__).parents[1] / "data"
delivery, mrc, tiff, emd = (
    SimpleNamespace(**run_path(str(DATA / name / "make.py"))) for name in ("delivery", "mrc", "tiff", "emd")
)
IMAGE = np.arange(192, dtype=np.int16).reshape(12, 16)


@pytest.fixture
def db(tmp_path):
    with opening.init(tmp_path / "lab.micdb") as opened:
        yield opened
        assert fsck.check(opened.engine, opened.root, deep=True).clean, "a test left something behind"


@pytest.fixture
def folder(tmp_path):
    return delivery.write(tmp_path / "delivery", files=6, images=2)


def given(folder):
    return {"sheet": folder / "samples.csv", "map": folder / "map.toml", "lab": "Lab A"}


def scalar(db, statement):
    with reading(db.engine) as connection:
        return connection.execute(statement).scalar()


def deferred(db):
    return db.images[["deferred"]].to_pandas()["deferred"]


def test_headers_alone_are_read_and_can_be_queried(db, folder, monkeypatch):
    monkeypatch.setattr(arrival, "file_hash", None)  # would read every byte
    monkeypatch.setattr(arrival, "_stage", None)
    assert db.ingest(folder, defer_pixels=True, **given(folder)).counts["new_images"] == 8
    assert scalar(db, sa.select(sa.func.count()).select_from(tables.object_)) == 0
    table = db.images.query("deferred and hardness > 2 GPa").to_pandas()
    assert len(table) == 4  # files 1, 3 (two images) and 5
    assert table["pixel_hash"].isna().all()
    assert table["intensity_mean"].isna().all()
    assert (table["width"] == 20).all()


def test_fetched_pixels_make_the_database_that_ingest_makes(db, folder, tmp_path):
    db.ingest(folder, defer_pixels=True, **given(folder))
    before = db.images[["uid", "name", "sample", "pixel_size"]].to_pandas()
    result = db.fetch()
    assert result.counts["completed"] == 6
    assert result.counts["new_images"] == 0
    after = db.images[["uid", "name", "sample", "pixel_size"]].to_pandas()
    assert after.equals(before)
    assert not deferred(db).any()
    with opening.init(tmp_path / "at_once.micdb") as other:
        other.ingest(folder, **given(folder))
        mine, theirs = dump(db.root), dump(other.root)
        mine.pop("event"), theirs.pop("event")
        assert mine == theirs


def test_the_same_call_without_defer_brings_the_pixels(db, folder):
    db.ingest(folder, defer_pixels=True)
    assert db.ingest(folder, defer_pixels=True).counts["known"] == 6
    assert db.ingest(folder, workers=2).counts["completed"] == 6
    assert db.ingest(folder, defer_pixels=True).counts["known"] == 6


def test_only_what_is_asked_for_is_fetched(db, folder):
    db.ingest(folder, defer_pixels=True, **given(folder))
    assert db.fetch("grade == 'g1'").counts["completed"] == 1
    assert deferred(db).sum() == 7
    assert db.fetch(db.images.query("grade == 'g0'")).counts["completed"] == 1
    assert deferred(db).sum() == 5  # both images of that file


def test_a_scale_a_person_gave_survives_the_fetch(db, tmp_path):
    path = tiff.write(tmp_path / "a.tif", IMAGE)
    (tmp_path / "s.csv").write_text("file,px\na.tif,0.7\n")
    (tmp_path / "m.toml").write_text('file = "file"\n[pixel_size]\ncolumn = "px"\nunit = "nm"\n')
    db.ingest(path, defer_pixels=True, sheet=tmp_path / "s.csv", map=tmp_path / "m.toml")
    db.fetch()
    row = db.images.to_pandas().iloc[0]
    assert (row["pixel_size"], row["pixel_size_origin"]) == (0.7, "user")


def test_a_file_that_changed_is_read_anew_under_its_old_identity(db, tmp_path):
    path = mrc.write(tmp_path / "a.mrc", IMAGE)
    db.ingest(path, defer_pixels=True)
    uid = db.images.to_pandas()["uid"][0]
    mrc.write(path, np.zeros((3, 5, 7), np.int16) + np.arange(7, dtype=np.int16))
    assert db.fetch().counts["completed"] == 1
    row = db.images.to_pandas().iloc[0]
    assert (row["uid"], row["height"], row["width"], row["n_frames"]) == (uid, 5, 7, 3)
    assert scalar(db, sa.select(sa.func.count()).select_from(tables.frame)) == 3


def test_an_image_that_is_here_already_is_merged_and_its_place_holder_goes(db, tmp_path):
    db.ingest(mrc.write(tmp_path / "a.mrc", IMAGE))
    twin = tiff.write(tmp_path / "b.tif", IMAGE)
    db.ingest(twin, defer_pixels=True)
    assert db.images.count() == 2
    assert db.fetch().counts["merged"] == 1
    assert db.images.count() == 1
    assert scalar(db, sa.select(sa.func.count()).select_from(tables.source)) == 2


def test_fewer_images_than_catalogued_leave_no_ghost(db, tmp_path):
    path = tmp_path / "a.emd"
    emd.write_ncem(path, {f"image{i}": (IMAGE + i, delivery._axes()) for i in range(3)})
    db.ingest(path, defer_pixels=True)
    emd.write_ncem(path, {"image0": (IMAGE, delivery._axes())})
    db.fetch()
    assert db.images.count() == 1


def test_a_file_that_is_gone_is_refused_and_stays_deferred(db, tmp_path):
    path = mrc.write(tmp_path / "a.mrc", IMAGE)
    db.ingest(path, defer_pixels=True)
    path.unlink()
    (refused,) = db.fetch().of("refused")
    assert refused.reason == "the original file is gone: put it back, or ingest it from where it is now"
    assert deferred(db).tolist() == [True]


def test_deferred_images_wait_for_populate_and_say_so(db, folder):
    db.ingest(folder, defer_pixels=True)
    assert db.populate("texture").progress.total == 0
    with pytest.raises(UsageError, match=r"pixels of 1 of 1 images are still in .* micdb fetch"):
        next(db.pictures(db.images.head(1)))
    db.fetch()
    assert db.populate("texture").progress.total == 8


def test_nothing_to_fetch_is_no_error(db):
    assert db.fetch().counts["files"] == 0
