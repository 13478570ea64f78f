"""Drawings are kept with their images, stand for earlier ones, and can be taken back; on each engine."""

from __future__ import annotations

import json

import numpy as np
import pytest

from micdb import fsck
from micdb.errors import UsageError

CLASSES = ("ferrite", "cementite")


@pytest.fixture
def db(tmp_path, new_database):
    from PIL import Image

    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in ("steel-1.5kV", "other"):
        Image.fromarray(rng.integers(0, 255, (20, 30), np.uint8)).save(folder / f"{name}.png")
    with new_database(tmp_path / "lab.micdb") as opened:
        opened.ingest(folder)
        yield opened
        report = fsck.check(opened.engine, opened.root, deep=True)
        assert report.clean, report.open


@pytest.fixture
def uid(db):
    return db.images[db.images.name == "steel-1.5kV"].to_pandas()["uid"][0]


def labels(seed=0):
    return np.random.default_rng(seed).integers(-1, 2, (20, 30))


def test_a_mask_is_kept_with_its_image(db, uid):
    drawing = db.annotations.draw(uid, labels(), classes=CLASSES, by="Ada")
    assert (drawing.image, drawing.kind, drawing.frame) == (uid, "phases", 0)
    mask = db.annotations.mask(uid)
    assert mask.labels.tolist() == labels().tolist()
    assert mask.classes == CLASSES
    (row,) = db.annotations.drawings().to_dict("records")
    assert (row["name"], row["by"], row["classes"]) == ("steel-1.5kV", "Ada", list(CLASSES))


def test_a_later_mask_stands_until_it_is_undone(db, uid):
    first = db.annotations.draw(uid, labels(1), classes=CLASSES)
    second = db.annotations.draw(uid, labels(2), classes=CLASSES)
    db.annotations.draw(uid, np.abs(labels(3)))  # of objects: another kind
    assert db.annotations.mask(uid).labels.tolist() == labels(2).tolist()
    assert len(db.annotations.drawings()) == 2
    db.annotations.undo(second.uid)
    assert db.annotations.mask(uid).labels.tolist() == labels(1).tolist()
    db.annotations.undo(first.uid)
    assert db.annotations.drawings()["kind"].tolist() == ["objects"]
    with pytest.raises(UsageError, match=rf"drawing {first.uid} is undone already"):
        db.annotations.undo(first.uid)
    with pytest.raises(UsageError, match=rf"nobody has drawn phases on frame 0 of {uid}"):
        db.annotations.mask(uid)
    with pytest.raises(UsageError, match="there is no drawing 'x'"):
        db.annotations.undo("x")


@pytest.mark.parametrize("form", ["png", "tiff", "coco", "labelme"])
def test_what_went_out_comes_in_again(db, uid, tmp_path, form):
    db.annotations.draw(uid, labels(), classes=CLASSES)
    db.annotations.write(tmp_path / "out", form)
    db.annotations.undo(db.annotations.drawings()["uid"][0])
    drawn = db.annotations.read(tmp_path / "out")
    assert {one.image for one in drawn} == {uid}
    mask = db.annotations.mask(uid)
    names = np.array([*mask.classes, ""])[mask.labels]
    assert names.tolist() == np.array([*CLASSES, ""])[labels()].tolist()


def test_all_masks_of_a_folder_or_none(db, uid, tmp_path):
    folder = tmp_path / "masks"
    folder.mkdir()
    np.save(folder / "steel-1.5kV_mask.npy", np.zeros((20, 30), int))
    np.save(folder / "steal-1.5kV.npy", np.zeros((20, 30), int))
    with pytest.raises(UsageError, match=r"steal-1.5kV.npy belongs to no image.* did you mean steel-1"):
        db.annotations.read(folder)
    assert db.annotations.drawings().empty
    (folder / "steal-1.5kV.npy").rename(folder / f"{uid}.npy")
    assert len(db.annotations.read(folder)) == 2


def test_masks_that_do_not_fit_are_refused(db, uid, tmp_path):
    with pytest.raises(UsageError, match=r"a mask of 30 x 19 pixels for steel-1.5kV, which has 30 x 20"):
        db.annotations.draw(uid, np.zeros((19, 30), int))
    with pytest.raises(UsageError, match="no image has the uid 'x'"):
        db.annotations.draw("x", labels())
    with pytest.raises(UsageError, match="frame 1 is none of the 1 of steel-1.5kV"):
        db.annotations.draw(uid, labels(), frame=1)
    with pytest.raises(UsageError, match="'grains' is no kind of drawing; expected phases or objects"):
        db.annotations.mask(uid, "grains")
    with pytest.raises(UsageError, match="there is no file or folder"):
        db.annotations.read(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="has no masks; expected label images"):
        db.annotations.read(tmp_path)
    with pytest.raises(UsageError, match="nothing is drawn"):
        db.annotations.write(tmp_path / "out")
    with pytest.raises(UsageError, match="no form 'pgn' to write masks in; did you mean png"):
        db.annotations.draw(uid, labels(), classes=CLASSES)
        db.annotations.write(tmp_path / "out", "pgn")


def test_two_images_of_one_name_are_told_apart_by_uid(db, uid, tmp_path):
    from PIL import Image

    (tmp_path / "more").mkdir()
    Image.fromarray(np.arange(600, dtype=np.uint8).reshape(20, 30)).save(tmp_path / "more/other.png")
    db.ingest(tmp_path / "more")
    np.save(tmp_path / "other.npy", np.zeros((20, 30), int))
    with pytest.raises(UsageError, match=r"2 images are called 'other'; name the file after a uid"):
        db.annotations.read(tmp_path / "other.npy")
    for one in db.images[db.images.name == "other"].to_pandas()["uid"]:
        db.annotations.draw(one, np.ones((20, 30), int))
    written = db.annotations.write(tmp_path / "out")
    assert len(written) == 3  # the second under its uid, and the legend
    assert len(db.annotations.read(tmp_path / "out" / written[1].name)) == 1


def test_drawings_are_in_the_audit_log(db, uid):
    from micdb.catalog.engine import reading
    from micdb.catalog.tables import event

    db.annotations.draw(uid, labels(), classes=CLASSES)
    with reading(db.engine) as connection:
        last = connection.execute(event.select().order_by(event.c.seq.desc())).first()
    assert (last.verb, last.entity, last.uid) == ("draw", "micrograph", uid)
    assert json.dumps(last.detail)


def test_corrections_of_defects_are_another_matter(db, uid):
    db.annotations.draw(uid, labels(), classes=CLASSES)
    assert db.corrections.history().empty
