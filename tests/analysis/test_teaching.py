"""Corrections as examples to learn from: only images in which every answer was judged."""

from __future__ import annotations

import numpy as np
import pytest

from micdb.analysis.teaching import examples
from micdb.errors import UsageError


def uids(db, name):
    (image,) = db.images[db.images.name == name].to_pandas()["uid"]
    rows = db.defects.sort_values("uid").to_pandas()
    return image, rows[rows["image"] == image]["uid"].tolist()


def test_images_that_are_begun_are_no_examples(planted):
    with pytest.raises(
        UsageError, match="no image of known scale in which every answer of planted is judged; 0 are"
    ):
        examples(planted.context, "planted")
    _, first = uids(planted, "sheet000")
    planted.corrections.accept(first[0])
    with pytest.raises(UsageError, match="1 are begun: accept or reject the other answers in them"):
        examples(planted.context, "planted")


def test_what_stands_is_taught(planted):
    image, (one, two, three) = uids(planted, "sheet000")
    planted.corrections.accept(one)
    planted.corrections.reject(two)
    new = planted.corrections.relabel(three, "adatom")[0].defect
    planted.corrections.move(new, 40.0, 50.0)
    planted.corrections.add(image, "ring", 10.0, 20.0)
    (shown,) = examples(planted.context, "planted")
    assert shown.pixel_size == pytest.approx(0.02)
    np.testing.assert_array_equal(shown.pixels, planted.image(image).pixels())
    accepted = planted.defects[planted.defects.uid == one].to_pandas().iloc[0]
    assert sorted((mark.kind, mark.x_px, mark.y_px) for mark in shown.marks) == [
        ("adatom", 40.0, 50.0),
        ("ring", 10.0, 20.0),
        (accepted["kind"], accepted["x_px"], accepted["y_px"]),
    ]
    boxes = {mark.kind: mark.box for mark in shown.marks}
    assert boxes["ring"] is None
    assert boxes["adatom"] == pytest.approx((28.0, 38.0, 24.0, 24.0))


def test_an_image_whose_answers_were_all_wrong_teaches_that_there_is_nothing(planted):
    planted.corrections.reject(uids(planted, "sheet001")[1])
    (shown,) = examples(planted.context, "planted")
    assert shown.marks == []
