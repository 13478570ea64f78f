"""Row numbers of images, and what rows hold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from micdb.errors import StoreError
from micdb.query.search import decode
from micdb.query.search.matrix import Matrix, Segment, ranges
from micdb.query.search.vectors import Space


def made(images, *, filed=None, gone=None, metric="cosine", vectors=None):
    """Return a matrix whose rows belong to these images, the first of them in its file."""
    images = np.asarray(images, np.int64)
    filed = len(images) if filed is None else filed
    vectors = (
        np.arange(1, 2 * len(images) + 1, dtype=np.float32).reshape(-1, 2) if vectors is None else vectors
    )
    scale, odd = decode.scales(metric, vectors)
    segments = tuple(Segment(vectors[part], scale[part]) for part in (slice(filed), slice(filed, None)))
    order = np.argsort(images, kind="stable").astype(np.int32)
    gone = None if gone is None else np.asarray(gone, bool)
    space = Space(1, "x", "x@1nm", 2, 1.0, metric)
    return Matrix(space, "embeddings", images, np.empty((len(images), 0)), segments, odd, order, gone)


@settings(max_examples=200, deadline=None)
@given(
    images=st.lists(st.integers(1, 60) | st.integers(10**6, 10**6 + 9), min_size=0, max_size=60),
    asked=st.sets(st.integers(-2, 70) | st.integers(10**6 - 1, 10**6 + 12)),
    gone=st.sets(st.integers(1, 60)),
)
def test_rows_are_those_of_the_images_in_ascending_order(images, asked, gone):
    lost = [image in gone for image in images]
    matrix = made(images, gone=lost if any(lost) else None)
    asked = np.array(sorted(asked), np.int64)
    expected = [row for row, image in enumerate(images) if image in asked and image not in gone]
    assert matrix.rows(asked).tolist() == expected
    assert matrix.rows(asked).dtype == np.int64
    held = set(images) - gone
    assert matrix.holds(asked).tolist() == [image in held for image in asked.tolist()]


def test_all_images_are_all_rows():
    matrix = made([3, 1, 2])
    assert matrix.rows(np.array([1, 2, 3])) is matrix.all_rows
    assert made([3, 1, 2], gone=[0, 1, 0]).all_rows.tolist() == [0, 2]


@pytest.mark.parametrize("filed", [0, 2, 5])
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_vectors_and_scores_of_file_and_newer_parts(filed, metric):
    matrix = made([1, 2, 3, 4, 5], filed=filed, metric=metric)
    whole = np.arange(1, 11, dtype=np.float32).reshape(-1, 2)
    rows, query = np.array([0, 1, 3, 4]), np.array([0.6, 0.8], np.float32)
    assert matrix.newer == 5 - filed
    np.testing.assert_array_equal(matrix.take(rows), whole[rows])
    exact = whole.astype(float) @ query
    squares = (whole.astype(float) ** 2).sum(axis=1)
    expected = exact / np.sqrt(squares) if metric == "cosine" else exact - squares / 2
    for chosen in (rows, None):
        part = slice(None) if chosen is None else chosen
        off = np.broadcast_to(matrix.off(query, chosen), expected[part].shape)
        assert (np.abs(matrix.scores(query, chosen) - expected[part]) <= off).all()


def test_lengths_that_float32_cannot_hold_are_odd():
    rows = np.array([[1, 0], [0, 0], [1e-20, 0], [1e20, 0], [np.nan, 0], [np.inf, 0]], np.float32)
    scale, odd = decode.scales("cosine", rows)
    assert odd.tolist() == [2, 3, 4, 5]
    assert scale.tolist() == [1, 0, 0, 0, 0, 0]
    assert decode.scales("euclidean", rows)[0].tolist() == [0.5, 0, 0, 0, 0, 0]


def test_a_vector_that_is_not_finite_is_an_error():
    matrix = made([1, 2], vectors=np.array([[1, 0], [np.nan, 0]], np.float32))
    with pytest.raises(StoreError, match="x@1nm holds a vector that is not finite"):
        matrix.similarity(np.array([1, 0], np.float32), np.array([0, 1]))


def test_ranges():
    found = ranges(np.array([5, 0, 7]), np.array([2, 0, 3]))
    assert found.tolist() == [5, 6, 7, 8, 9]
    assert ranges(np.empty(0, np.int64), np.empty(0, np.int64)).tolist() == []
