"""Quick products, and what may be among the best given how far they may be off."""

from __future__ import annotations

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from micdb.query.search import scan

SCORES = arrays(np.float32, st.integers(1, 600), elements=st.floats(-2, 2, width=32))


@pytest.fixture(params=[1, 3], ids=["one thread", "three"])
def shared(request, monkeypatch):
    """Let rows be shared among threads, however few there are."""
    monkeypatch.setattr(scan, "SHARE", 4 * 8 * 10)
    monkeypatch.setattr(scan, "threads", lambda: request.param)


def test_products_of_all_rows_and_of_some(shared):
    random = np.random.default_rng(0)
    matrix, query = random.standard_normal((101, 8)).astype(np.float32), np.arange(8, dtype=np.float32)
    expected = matrix.astype(float) @ query
    np.testing.assert_allclose(scan.products(matrix, query), expected, rtol=1e-5, atol=1e-5)
    rows = np.sort(random.choice(101, 60, replace=False))
    np.testing.assert_allclose(scan.products(matrix, query, rows), expected[rows], rtol=1e-5, atol=1e-5)
    assert scan.products(matrix, query, rows[:0]).shape == (0,)
    matrix.flags.writeable = False  # as a mapped file is
    assert scan.products(matrix, query).shape == (101,)


def test_an_error_in_a_thread_is_raised(shared):
    with pytest.raises(ZeroDivisionError):
        scan._shared(lambda start, stop: 1 // start, 100, 10)


@settings(max_examples=200, deadline=None)
@given(score=SCORES, k=st.integers(1, 20))
def test_the_floor_is_reached_by_k_and_is_no_better_than_the_kth(score, k):
    k = min(k, len(score))
    floor = scan.floor(score, k)
    assert (score >= floor).sum() >= k
    assert floor <= np.sort(score)[-k]


@settings(max_examples=200, deadline=None)
@given(data=st.data(), true=SCORES, k=st.integers(1, 20))
def test_nothing_that_may_be_among_the_best_is_left_out(data, true, k):
    off = data.draw(st.floats(0.0, 0.3))
    seed = data.draw(st.integers(0, 99))
    wrong = np.random.default_rng(seed).uniform(-off, off, len(true))
    best = set(np.argsort(-true, kind="stable")[:k].tolist())
    kept = scan.likely((true + wrong).astype(np.float64), off + 1e-6, k)
    assert best <= set(kept.tolist()) or np.sort(true[kept])[-k:].tolist() == np.sort(true)[-k:].tolist()
    each = np.abs(wrong) + 1e-6
    kept = scan.likely((true + wrong).astype(np.float64), each, k)
    assert np.sort(true[kept])[-k:].tolist() == np.sort(true)[-k:].tolist()


def test_few_are_kept_where_the_scores_are_told_apart():
    score = np.linspace(0, 1, 10_000)
    assert len(scan.likely(score, 1e-6, 10)) <= 11 * scan.BUCKET


def test_the_number_of_threads_is_restored():
    before = faiss.omp_get_max_threads()
    try:
        faiss.omp_set_num_threads(2)
        with scan.one_thread():
            assert faiss.omp_get_max_threads() == 1
        assert faiss.omp_get_max_threads() == 2
        with pytest.raises(ValueError, match="x"), scan.one_thread():
            raise ValueError("x")
        assert faiss.omp_get_max_threads() == 2
    finally:
        faiss.omp_set_num_threads(before)
