"""Indexes made by name: exact similarities, full counts, and only where they are safe."""

from __future__ import annotations

from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import numpy as np
import pytest

from micdb.errors import UsageError
from micdb.query.search import calibration, indexing, kinds, lists, matrices, nearest
from micdb.query.search.kinds import KINDS
from micdb.store.indexes import beside

planted = SimpleNamespace(**run_path(str(Path(__file__).parents[3] / "data" / "planted" / "vectors.py")))
COUNT, DIM, K = 2000, 16, 10


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """Return a database with lists and every kind of index over the same rows."""
    every = planted.clustered(COUNT + 20, DIM, seed=2)
    context, space = planted.database(tmp_path_factory.mktemp("kinds"), every[:COUNT])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calibration, "QUERIES", 30)
        # What is quicker is measured; on a busy machine comparing half of 2,000 rows may seem so.
        patch.setattr(calibration, "_crossover", lambda *_: COUNT // 10)
        (made,) = indexing.index(context, kind="lists")
        maker = indexing._Maker(context, space, "embeddings")
        named = {kind: maker._named(kind, 0.99) for kind in KINDS}
    return SimpleNamespace(
        context=context, space=space, stored=every[:COUNT], queries=every[COUNT:], made=made, named=named
    )


def opened(base):
    return matrices.open_matrix(base.context, base.space)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [1.0, 0.5])
def test_recall_and_counts(base, kind, share):
    matrix = opened(base)
    images = np.sort(np.random.default_rng(1).choice(COUNT, round(share * COUNT), replace=False) + 1)
    hits, used = 0, set()
    for query in base.queries:
        like = planted.truth("cosine", query, base.stored)
        found = nearest.nearest(matrix, query, matrix.rows(images), k=K, kind=kind)
        got = matrix.images[found.rows]
        np.testing.assert_allclose(found.similarity, like[got - 1], rtol=1e-12)
        assert len(np.intersect1d(got, images)) == K
        hits += len(np.intersect1d(got, images[np.argsort(-like[images - 1])[:K]]))
        used.add(found.path.kind)
    assert hits >= 0.95 * K * len(base.queries)
    assert used == {kind if share == 1 or KINDS[kind].filters else "exact"}


@pytest.mark.parametrize("kind", [kind for kind in KINDS if KINDS[kind].filters])
def test_there_are_never_fewer_rows_than_match(base, kind):
    """A graph finds few of the matches that are far; what it lacks, lists find."""
    matrix = opened(base)
    like = planted.truth("cosine", base.queries[0], base.stored)
    for images in (np.sort(np.argsort(like)[:15] + 1), np.array([5, 9])):
        found = nearest.nearest(matrix, base.queries[0], matrix.rows(images), k=20, kind=kind)
        assert np.sort(matrix.images[found.rows]).tolist() == images.tolist()


def test_what_was_measured_is_told(base):
    for kind, made in base.named.items():
        assert (made.kind, made.vectors) == (kind, COUNT)
        assert made.recall >= 0.99, kind
        assert made.milliseconds > 0


def test_the_quickest_is_preferred_where_most_match_and_are_near(base):
    matrix = opened(base)
    query = nearest.unit(matrix, base.queries[0])
    index = kinds.open_index(matrix, "hnsw")
    matrix.tuning = {**matrix.tuning, "seconds": 1.0, "crossover": 100}
    matrix.indexes.update(dict.fromkeys(KINDS) | {"hnsw": index})
    matrix.indexes.pop("tuning", None)
    plan = lambda rows: nearest.plan(matrix, query, rows, K)  # noqa: E731
    like = planted.truth("cosine", base.queries[0], base.stored)
    near, far = np.argsort(-like)[: COUNT // 2] + 1, np.argsort(like)[: round(0.7 * COUNT)] + 1
    random = np.random.default_rng(0).choice(COUNT, round(0.7 * COUNT), replace=False) + 1
    assert plan(matrix.all_rows) == "hnsw"
    assert plan(matrix.rows(np.sort(random))) == "hnsw"
    assert plan(matrix.rows(np.sort(near))) == "hnsw"
    assert plan(matrix.rows(np.sort(far))) == "lists"
    assert plan(matrix.rows(np.sort(random[: COUNT // 4]))) == "lists"
    assert plan(matrix.rows(np.sort(random[:100]))) == "exact"
    matrix.tuning = {**matrix.tuning, "seconds": 0.0}
    assert plan(matrix.all_rows) == "lists"


def test_an_index_of_other_rows_or_damaged_is_left_aside(tmp_path):
    stored = planted.clustered(400, DIM)
    context, space = planted.database(tmp_path / "db", stored)
    indexing.index(context, kind="hnsw")
    path = matrices.open_matrix(context, space).file.path
    blob = beside(path, "hnsw").read_bytes()
    assert kinds.open_index(matrices.open_matrix(context, space), "hnsw") is not None
    beside(path, "hnsw").write_bytes(blob[:-100])
    assert kinds.open_index(matrices.open_matrix(context, space), "hnsw") is None
    indexing.index(context, kind="lists")
    assert not beside(path, "hnsw").exists()
    beside(path, "hnsw").write_bytes(blob)  # as a process does that was slower
    matrix = matrices.open_matrix(context, space)
    assert kinds.open_index(matrix, "hnsw") is None
    assert nearest.nearest(matrix, stored[3], matrix.all_rows, k=1).rows.tolist() == [
        matrix.rows(np.array([4]))[0]
    ]


def test_newer_vectors_and_those_in_no_list_are_compared_too(tmp_path):
    stored = planted.clustered(400, DIM, seed=3)
    stored[0] = 0
    context, space = planted.database(tmp_path / "db", stored)
    indexing.index(context, kind="hnsw")
    planted.add(context, space.run, [401], stored[9:10])
    matrix = matrices.open_matrix(context, space)
    found = nearest.nearest(matrix, stored[9], matrix.all_rows, k=401, kind="hnsw")
    assert matrix.images[found.rows[:2]].tolist() == [10, 401]
    assert len(found.rows) == 401
    assert found.path.newer == 1


def test_names_and_sizes_that_cannot_be(tmp_path):
    context, _ = planted.database(tmp_path / "db", planted.clustered(100, DIM))
    with pytest.raises(UsageError, match="no index 'hnws'; did you mean hnsw.* there are lists, flat-fp16"):
        indexing.index(context, kind="hnws")
    with pytest.raises(UsageError, match="ivf-pq learns from at least 256 vectors and there are 100"):
        indexing.index(context, kind="ivf-pq")


def test_pieces_of_product_codes_divide_the_dimension():
    for dim in (1, 2, 3, 7, 30, 59, 384):
        pieces = kinds._pieces(dim)
        assert dim % pieces == 0
        assert pieces == 1 or dim // pieces >= 4


def test_a_query_is_near_where_its_lists_hold_their_share(base):
    matrix = opened(base)
    held = lists.open_lists(matrix)
    query = nearest.unit(matrix, base.queries[0])
    order = np.argsort(-matrix.scores(query))
    assert kinds.is_near(held, query, matrix.all_rows)
    assert kinds.is_near(held, query, np.sort(order[: COUNT // 2]))
    assert not kinds.is_near(held, query, np.sort(order[COUNT // 2 :]))
