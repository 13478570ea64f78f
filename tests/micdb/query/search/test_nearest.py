"""Whatever way is planned: the true nearest, and as many as there are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from micdb.errors import StoreError
from micdb.query.search import clustering, decode, indexing, lists, matrices, nearest
from micdb.query.search.matrix import Matrix, Segment
from micdb.query.search.tuning import Tuning
from micdb.query.search.vectors import Space
from micdb.store.indexes import IndexFile

planted = SimpleNamespace(**run_path(str(Path(__file__).parents[3] / "data" / "planted" / "vectors.py")))
COUNT, DIM, K, QUERIES = 6000, 24, 10, 40
SHARES = (1.0, 0.5, 0.05, 0.005, 0.0005)


@pytest.fixture(scope="module", params=["cosine", "euclidean"])
def indexed(request, tmp_path_factory):
    """Return a database of 6,000 vectors with lists, and queries that are not in it."""
    every = planted.clustered(COUNT + QUERIES, DIM)
    context, space = planted.database(tmp_path_factory.mktemp("lists"), every[:COUNT], metric=request.param)
    indexing.index(context, kind="lists")
    matrix = matrices.open_matrix(context, space)
    return SimpleNamespace(
        context=context, space=space, matrix=matrix, stored=every[:COUNT], queries=every[COUNT:]
    )


def chosen(share, like, *, far, seed=0):
    """Return images, ascending, that a filter of some share leaves: at random, or the least alike."""
    count = max(1, round(share * COUNT))
    if far:
        return np.sort(np.argsort(like)[:count] + 1)
    return np.sort(np.random.default_rng(seed).choice(COUNT, count, replace=False) + 1)


@pytest.mark.parametrize("far", [False, True], ids=["random", "far"])
@pytest.mark.parametrize("share", SHARES)  # the two ways to leave all of them are one
@pytest.mark.parametrize("kind", [None, "lists"])
def test_recall_and_counts_at_every_selectivity(indexed, share, far, kind):
    hits = wanted = 0
    for number, query in enumerate(indexed.queries):
        like = planted.truth(indexed.space.metric, query, indexed.stored)
        images = chosen(share, like, far=far, seed=number)
        rows = indexed.matrix.rows(images)
        found = nearest.nearest(indexed.matrix, query, rows, k=K, kind=kind)
        got = indexed.matrix.images[found.rows]
        assert len(got) == min(K, len(images))
        assert np.isin(got, images).all()
        assert len(np.unique(got)) == len(got)
        np.testing.assert_allclose(found.similarity, like[got - 1], rtol=1e-12)
        assert (np.diff(found.similarity) <= 0).all()
        true = images[np.lexsort((images, -like[images - 1]))[:K]]
        hits, wanted = hits + len(np.intersect1d(got, true)), wanted + len(true)
        assert found.path.kind == (kind or ("exact" if len(rows) <= crossover(indexed) else "lists"))
        if found.path.kind == "exact":
            assert got.tolist() == true.tolist()
    assert hits >= 0.99 * wanted


def crossover(indexed):
    return max(nearest.tuning(indexed.matrix).crossover, 8 * K)


def test_lists_do_not_read_everything_and_say_what_they_read(indexed):
    found = nearest.nearest(indexed.matrix, indexed.queries[0], indexed.matrix.all_rows, k=K, kind="lists")
    assert 0 < found.path.compared < COUNT / 2
    assert 0 < found.path.read < found.path.lists == 120
    text = str(found.path)
    assert text.startswith(f"lists ({found.path.compared:,} compared, {found.path.read} of 120 lists")


def test_a_filter_that_leaves_what_is_far_widens_by_itself(indexed):
    query = indexed.queries[0]
    like = planted.truth(indexed.space.metric, query, indexed.stored)
    near = nearest.nearest(indexed.matrix, query, indexed.matrix.all_rows, k=K, kind="lists").path
    rows = indexed.matrix.rows(chosen(0.5, like, far=True))
    far = nearest.nearest(indexed.matrix, query, rows, k=K, kind="lists").path
    assert far.compared > near.compared
    assert far.widened >= 1


def test_newer_vectors_are_found_among_those_in_lists(tmp_path):
    stored = planted.clustered(3000, DIM, seed=4)
    context, space = planted.database(tmp_path / "db", stored)
    indexing.index(context, kind="lists")
    query = stored[10]
    planted.add(context, space.run, [5001, 5002], np.stack([query, -query]))
    matrix = matrices.open_matrix(context, space)
    found = nearest.nearest(matrix, query, matrix.all_rows, k=2, kind="lists")
    assert matrix.images[found.rows].tolist() == [11, 5001]  # equal: the smaller image first
    assert found.similarity[0] == found.similarity[1]
    assert found.path.newer == 2
    found = nearest.nearest(matrix, query, matrix.rows(np.array([5002])), k=5, kind="lists")
    assert (matrix.images[found.rows].tolist(), found.path.newer) == ([5002], 1)


def test_nothing_matches(indexed):
    for kind in ("exact", "lists"):
        found = nearest.nearest(indexed.matrix, indexed.queries[0], np.empty(0, np.int64), k=3, kind=kind)
        assert len(found.rows) == 0


def test_more_wanted_than_there_are(indexed):
    rows = indexed.matrix.rows(np.arange(1, 8))
    for kind in ("exact", "lists"):
        found = nearest.nearest(indexed.matrix, indexed.queries[0], rows, k=50, kind=kind)
        assert sorted(found.rows.tolist()) == sorted(rows.tolist())


def in_memory(metric, vectors, *, listed, careful):
    """Return a matrix with lists over all rows but the last ones, which are newer."""
    base, tail = vectors[:listed], vectors[listed:]
    scale, odd = decode.scales(metric, base)
    sequence, index = clustering.build(base, scale, odd, metric, lists=4)
    order = np.empty(listed, np.int64)
    order[sequence] = np.arange(listed)
    about = {"caution": ((1.0, 1e6, 1),), "crossover": 0} if careful else {"crossover": 0}
    new, strange = decode.scales(metric, tail)
    images = np.concatenate([sequence, np.arange(listed, len(vectors))])
    return Matrix(
        Space(1, "x", "x@1nm", vectors.shape[1], 1.0, metric), "embeddings", images,
        np.empty((len(images), 0)), (Segment(base[sequence], scale[sequence]), Segment(tail, new)),
        np.concatenate([np.sort(order[odd]), listed + strange]), np.argsort(images, kind="stable"),
        None, IndexFile(Path("x"), {}, index), about,
    )  # fmt: skip


NUMBERS = st.floats(-4, 4, width=16) | st.integers(-2, 2).map(float)
ANY_SIZE = NUMBERS | st.sampled_from([1e-30, 1e-14, 3e12, 1e30])


@settings(max_examples=60, deadline=None)
@given(data=st.data(), metric=st.sampled_from(["cosine", "euclidean"]), k=st.integers(1, 12))
def test_lists_read_with_all_caution_are_the_exact_search(data, metric, k):
    vectors = data.draw(arrays(np.float32, st.tuples(st.integers(8, 60), st.just(3)), elements=ANY_SIZE))
    query = data.draw(arrays(np.float32, 3, elements=ANY_SIZE).filter(np.any))
    listed = data.draw(st.integers(6, len(vectors)))
    images = np.array(sorted(data.draw(st.sets(st.integers(0, len(vectors) + 3)))), np.int64)
    matrix = in_memory(metric, vectors, listed=listed, careful=True)
    rows = matrix.rows(images)
    images = images[images < len(vectors)]
    like = matrix.similarity(query, matrix.rows(np.arange(len(vectors))))
    by_image = np.empty(len(vectors))
    by_image[matrix.images[matrix.all_rows]] = like
    expected = sorted(zip(-by_image[images], images.tolist(), strict=True))[:k]
    for kind in ("exact", "lists", None):
        found = nearest.nearest(matrix, query, rows, k=k, kind=kind)
        assert matrix.images[found.rows].tolist() == [image for _, image in expected]
        assert found.similarity.tolist() == [-value for value, _ in expected]


@settings(max_examples=40, deadline=None)
@given(data=st.data(), metric=st.sampled_from(["cosine", "euclidean"]), k=st.integers(1, 30))
def test_there_are_never_fewer_rows_however_careless(data, metric, k):
    vectors = data.draw(arrays(np.float32, (40, 3), elements=NUMBERS))
    query = data.draw(arrays(np.float32, 3, elements=NUMBERS).filter(np.any))
    images = np.array(sorted(data.draw(st.sets(st.integers(0, 39)))), np.int64)
    matrix = in_memory(metric, vectors, listed=36, careful=False)
    matrix.indexes["tuning"] = replace(Tuning(), caution=((1.0, -50.0, 1),), crossover=0)
    found = nearest.nearest(matrix, query, matrix.rows(images), k=k, kind="lists")
    assert len(found.rows) == min(k, len(images))


def test_codes_find_what_reading_finds(indexed):
    """Codes are looked at when reading a row is dear; what they find is read and compared like the rest."""
    dear = replace(nearest.tuning(indexed.matrix), quick=(), row=1e9, span=1e9, code=1.0, start=0.0)
    held = lists.open_lists(indexed.matrix)
    hits = coded = 0
    for query in indexed.queries:
        like = planted.truth(indexed.space.metric, query, indexed.stored)
        quick = nearest.unit(indexed.matrix, query)
        work = lists.search(held, indexed.matrix, quick, indexed.matrix.all_rows, k=K, tuning=dear)
        best = work.rows[np.argsort(-work.scores, kind="stable")[:K]]
        true = np.argsort(-like, kind="stable")[:K] + 1
        hits, coded = hits + len(np.intersect1d(indexed.matrix.images[best], true)), coded + (work.coded > 0)
        assert len(np.unique(work.rows)) == len(work.rows)
    assert coded > 0
    assert hits >= 0.99 * K * len(indexed.queries)


def test_zero_vectors_are_like_nothing_and_are_found_all_the_same(tmp_path):
    stored = planted.clustered(400, DIM, seed=5)
    stored[::2] = 0
    context, space = planted.database(tmp_path / "db", stored)
    indexing.index(context, kind="lists")
    matrix = matrices.open_matrix(context, space)
    found = nearest.nearest(matrix, stored[1], matrix.all_rows, k=400, kind="lists")
    assert len(found.rows) == 400
    assert (found.similarity == 0).sum() == 200
    alone = nearest.nearest(matrix, stored[1], matrix.rows(np.arange(1, 401, 2)), k=3, kind="lists")
    assert matrix.images[alone.rows].tolist() == [1, 3, 5]


def test_a_vector_that_is_not_finite_is_an_error_on_every_path(tmp_path):
    stored = planted.clustered(400, DIM, seed=5)
    stored[7] = np.nan
    context, space = planted.database(tmp_path / "db", stored)
    indexing.index(context, kind="lists")
    matrix = matrices.open_matrix(context, space)
    for kind in ("exact", "lists"):
        with pytest.raises(StoreError, match="holds a vector that is not finite; recompute it"):
            nearest.nearest(matrix, stored[1], matrix.all_rows, k=3, kind=kind)
        found = nearest.nearest(matrix, stored[1], matrix.rows(np.array([1, 2, 3])), k=3, kind=kind)
        assert len(found.rows) == 3
