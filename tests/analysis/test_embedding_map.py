"""The map: stable axes, others placed on them, and a picture with the numbers behind it."""

from __future__ import annotations

from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from micdb.analysis.embedding_map import _apart, embedding_map
from micdb.errors import UsageError
from micdb.query.frame import Frame

make = SimpleNamespace(**run_path(str(Path(__file__).parents[1] / "data" / "planted" / "make.py")))
SPACE = "shapes@px"


@pytest.fixture
def context(tmp_path):
    return make.database(tmp_path / "db", lambda path: path)


@pytest.fixture
def frame(context):
    """Return twelve images, the last without a vector: far apart along one direction, less along another."""
    images = make.images(context, 12)
    run = make.add_run(context, "shapes", spaces=[(SPACE, 4, None, "euclidean")])
    rng = np.random.default_rng(0)
    spread = rng.normal(size=(11, 4)) * [0.01, 5.0, 0.01, 1.0] + [3.0, 0.0, 0.0, 0.0]
    rows = [(image, SPACE, vector.tolist()) for image, vector in zip(images, spread, strict=False)]
    make.add_part(context, run, "embeddings", rows=make.embeddings(rows))
    return Frame(context, "images")


def test_the_axes_are_the_directions_along_which_images_differ(frame):
    made = embedding_map(frame)
    assert made.space == SPACE
    assert np.abs(made.axes[:, [1, 3]]).diagonal().min() > 0.99
    assert made.explained[0] > made.explained[1] > 0.01
    assert sum(made.explained) == pytest.approx(1, abs=1e-3)
    assert len(made.table) == 11
    assert len(made.missing) == 1
    np.testing.assert_allclose(made.table[["x", "y"]].mean(), 0, atol=1e-6)


def test_the_same_images_in_another_order_give_the_same_map(frame):
    one = embedding_map(frame).table.set_index("uid")
    other = embedding_map(frame.sort_values("name", ascending=False)).table.set_index("uid")
    np.testing.assert_array_equal(one, other.loc[one.index])


def test_other_images_are_placed_and_move_nothing(frame):
    few = frame.sort_values("name").head(5)
    made = embedding_map(few)
    before = made.table.copy()
    placed = made.place(frame).set_index("uid")
    np.testing.assert_allclose(placed.loc[before["uid"]], before[["x", "y"]])
    assert len(placed) == 11
    assert made.table.equals(before)


def test_the_picture_brings_its_numbers(frame):
    made = embedding_map(frame)
    drawn = made.figure(frame, most=3)
    assert drawn.micdb_data.equals(made.table)
    (axes,) = drawn.axes
    assert "of the variance" in axes.get_xlabel()
    assert axes.collections[0].get_offsets().shape == (11, 2)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(-9, 9), st.floats(-9, 9)), min_size=1, max_size=40), st.integers(1, 20))
def test_thumbnails_never_cover_one_another(points, most):
    xy = np.array(points)
    kept = _apart(xy, most)
    assert 1 <= len(kept) <= most
    assert kept[0] == 0
    places = xy[kept] / np.maximum(np.ptp(xy, axis=0), 1e-12) * (np.array([10.0, 8.0]) - 1.1)
    far = np.abs(places[:, None] - places[None]).max(axis=2) + 9 * np.eye(len(kept))
    assert far.min() >= 0.55 - 1e-9


def test_too_few_images_and_equal_ones_are_refused(frame, context):
    with pytest.raises(UsageError, match="2 images have a vector in shapes@px; a map needs at least 3"):
        embedding_map(frame.sort_values("name").head(2))
    images = make.images(context, 3)
    run = make.add_run(context, "flat", spaces=[("flat@px", 2, None, "cosine")])
    rows = [(image, "flat@px", [1.0, 0.0]) for image in images]
    make.add_part(context, run, "embeddings", rows=make.embeddings(rows))
    with pytest.raises(UsageError, match="all images have the same vector in flat@px"):
        embedding_map(frame, by="flat")
