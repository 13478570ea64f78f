"""Vectors in PostgreSQL: the answers are those of the files, at every selectivity, and no row is missing."""

from __future__ import annotations

import shutil
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import numpy as np
import pytest
import sqlalchemy as sa

from micdb.catalog.engine import writing
from micdb.errors import CatalogError, StoreError, UsageError
from micdb.query.context import Context
from micdb.query.frame import Frame
from micdb.query.search import indexing, pgvector, pgvector_table, scan, vectors

make = SimpleNamespace(**run_path(str(Path(__file__).parents[1] / "data" / "planted" / "make.py")))
DIM, COUNT = 16, 1500


@pytest.fixture
def context(pg_engine, tmp_path):
    made = Context(pg_engine, tmp_path, lambda _path: None, lambda *_, **__: None)
    with pg_engine.connect() as connection:
        if (
            connection.execute(
                sa.text("SELECT count(*) FROM pg_available_extensions WHERE name = 'vector'")
            ).scalar()
            == 0
        ):
            pytest.skip("this server has no pgvector")
    return made


def plant(context, metric="cosine", count=COUNT, dim=DIM, seed=0):
    """Return one space with clustered vectors in three parts, its vectors by image, and the run."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(20, dim))
    matrix = (centres[rng.integers(0, 20, count)] + 0.4 * rng.normal(size=(count, dim))).astype(np.float32)
    images = np.arange(1, count + 1)  # no statement here looks at the images themselves
    name = f"toy-{metric}@1nm"
    run = make.add_run(context, f"toy-{metric}", spaces=[(name, dim, 1.0, metric)])
    for some in np.array_split(np.arange(count), 3):
        rows = make.embeddings([(int(images[i]), name, matrix[i]) for i in some])
        make.add_part(context, run, "embeddings", rows=rows)
    (space,) = vectors.spaces(context, name)
    return SimpleNamespace(space=space, images=images, matrix=matrix, run=run, name=name)


def best(planted, query, images, k):
    like = scan.similarity(planted.space.metric, query, planted.matrix)
    inside = np.isin(planted.images, images)
    order = np.lexsort((planted.images, -like))
    return [int(planted.images[i]) for i in order if inside[i]][:k], like


def filters(planted, query, shares=(1.0, 0.5, 0.05, 0.005, 0.0)):
    """Yield images that match: spread at random, and those farthest from the query."""
    rng = np.random.default_rng(1)
    far = np.argsort(scan.similarity(planted.space.metric, query, planted.matrix))
    for share in shares:
        m = round(share * len(planted.images))
        yield np.sort(planted.images[rng.permutation(len(planted.images))[:m]])
        yield np.sort(planted.images[far[:m]])


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_all_matches_compared_is_exact(context, metric):
    planted = plant(context, metric)
    filled = pgvector_table.fill(context, planted.space)
    assert (filled.added, filled.removed, filled.rows, filled.indexed) == (COUNT, 0, COUNT, False)
    query = np.random.default_rng(7).normal(size=DIM).astype(np.float32)
    for images in filters(planted, query):
        answer = pgvector.search(context, planted.space, query, images, k=10)
        expected, like = best(planted, query, images, 10)
        assert answer.images.tolist() == expected
        assert len(answer.images) == min(10, len(images))
        assert answer.similarity.tolist() == [like[np.searchsorted(planted.images, i)] for i in expected]
        assert answer.path == "pgvector (exact)"
        assert answer.inside.tolist() == images.tolist()


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_the_graph_loses_no_row_and_hardly_any_neighbour(context, metric, monkeypatch):
    monkeypatch.setattr(pgvector, "FEW", 0)
    planted = plant(context, metric)
    assert pgvector_table.fill(context, planted.space).indexed
    held = pgvector.mark(context, planted.space)
    recall, paths = [], set()
    for seed in range(4):
        query = planted.matrix[seed] + np.random.default_rng(seed).normal(size=DIM).astype(np.float32)
        for images in filters(planted, query):
            answer = pgvector.ask(context.engine, planted.space, held, query, images, k=10, few=0)
            expected, like = best(planted, query, images, 10)
            assert len(answer.images) == min(10, len(images))
            assert set(answer.images.tolist()) <= set(images.tolist())
            found = [like[np.searchsorted(planted.images, i)] for i in answer.images]
            assert answer.similarity.tolist() == found == sorted(found, reverse=True)
            recall += [len(set(expected) & set(answer.images.tolist())) / max(1, len(expected))] * bool(
                expected
            )
            paths.add(answer.path)
    assert np.mean(recall) >= 0.99
    assert paths == {"pgvector (exact)", "pgvector (HNSW, iterative scan)"}


def test_a_walk_that_ends_early_is_made_good(context, monkeypatch):
    """Few matches far from the query, and the server told to give up after a handful of rows."""
    monkeypatch.setattr(pgvector, "FEW", 0)
    planted = plant(context)
    pgvector_table.fill(context, planted.space)
    held = pgvector.mark(context, planted.space)
    monkeypatch.setattr(pgvector, "_walk", lambda *_args, **_named: [])
    query = planted.matrix[0]
    answer = pgvector.ask(context.engine, planted.space, held, query, planted.images[700:760], k=10, few=0)
    assert answer.images.tolist() == best(planted, query, planted.images[700:760], 10)[0]
    assert answer.path == "pgvector (exact)"


def test_in_step_by_the_water_mark(context):
    planted = plant(context)
    query = planted.matrix[3]
    assert pgvector.search(context, planted.space, query, planted.images, k=3) is None  # no table yet
    pgvector_table.fill(context, planted.space)
    assert pgvector.search(context, planted.space, query, planted.images, k=3) is not None
    new = 10_000
    make.add_part(context, planted.run, "embeddings", rows=make.embeddings([(new, planted.name, query)]))
    assert pgvector.search(context, planted.space, query, np.array([new]), k=3) is None  # not in step
    again = pgvector_table.fill(context, planted.space)
    assert (again.added, again.removed, again.rows) == (1, 0, COUNT + 1)
    answer = pgvector.search(context, planted.space, query, np.array([*planted.images, new]), k=2)
    assert answer.images.tolist() == [planted.images[3], new]
    assert pgvector_table.fill(context, planted.space).added == 0


def test_rows_of_a_part_that_is_gone_are_removed_and_compacted_ones_stay(context):
    planted = plant(context, count=90)
    pgvector_table.fill(context, planted.space)
    with writing(context.engine) as connection:
        connection.execute(
            sa.text(
                "UPDATE object SET state = 'quarantined' WHERE pk IN "
                "(SELECT object_pk FROM part ORDER BY pk LIMIT 2)"
            )
        )
    rows = make.embeddings([(int(planted.images[i]), planted.name, planted.matrix[i]) for i in range(20)])
    make.add_part(context, planted.run, "embeddings", rows=rows)  # what compaction left of the two
    again = pgvector_table.fill(context, planted.space)
    assert (again.added, again.removed, again.rows) == (0, 40, 50)
    answer = pgvector.search(context, planted.space, planted.matrix[0], planted.images, k=90)
    assert sorted(answer.images.tolist()) == planted.images[[*range(20), *range(60, 90)]].tolist()
    assert len(answer.inside) == 50


def test_vectors_come_back_as_they_went_in(context):
    planted = plant(context, count=30)
    pgvector_table.fill(context, planted.space)
    images, matrix = pgvector.load(context, planted.space, planted.images[[4, 9]])
    assert images.tolist() == planted.images[[4, 9]].tolist()
    np.testing.assert_array_equal(matrix, planted.matrix[[4, 9]])


def test_a_zero_vector_is_like_nothing(context):
    images = [1, 2, 3]
    run = make.add_run(context, "zero", spaces=[("zero@1nm", 2, 1.0, "cosine")])
    rows = make.embeddings(
        [(image, "zero@1nm", v) for image, v in zip(images, [[-1, 0], [0, 0], [1, 0]], strict=True)]
    )
    make.add_part(context, run, "embeddings", rows=rows)
    (space,) = vectors.spaces(context, "zero@1nm")
    pgvector_table.fill(context, space)
    answer = pgvector.search(context, space, np.array([1, 0], np.float32), np.array(images), k=3)
    assert answer.images.tolist() == [images[2], images[1], images[0]]
    assert answer.similarity.tolist() == [1, 0, -1]


def test_numbers_too_large_for_half_precision_are_compared_one_by_one(context, monkeypatch):
    monkeypatch.setattr(pgvector, "FEW", 10)
    planted = plant(context, "euclidean", count=60)
    assert pgvector_table.fill(context, planted.space).indexed
    huge = np.full(DIM, 1e6, np.float32)
    for new, vector in ((10_000, huge), (10_001, planted.matrix[0])):  # the first stays in the way
        rows = make.embeddings([(new, planted.name, vector)])
        make.add_part(context, planted.run, "embeddings", rows=rows)
        assert not pgvector_table.fill(context, planted.space).indexed
    answer = pgvector.search(context, planted.space, huge, np.array([*planted.images, 10_000]), k=1)
    assert answer.images.tolist() == [10_000]


def test_the_graph_is_made_when_there_are_enough_rows(context, monkeypatch):
    planted = plant(context, count=60)
    assert not pgvector_table.fill(context, planted.space).indexed
    monkeypatch.setattr(pgvector, "FEW", 10)
    assert pgvector_table.fill(context, planted.space).indexed


def test_a_vector_that_is_not_finite_changes_nothing(context):
    planted = plant(context, count=30)
    pgvector_table.fill(context, planted.space)
    new = 10_000
    rows = make.embeddings([(new, planted.name, np.full(DIM, np.nan))])
    make.add_part(context, planted.run, "embeddings", rows=rows)
    with pytest.raises(StoreError, match="holds a vector that is not finite"):
        pgvector_table.fill(context, planted.space)
    assert len(pgvector.mark(context, planted.space).parts) == 3


def test_an_old_extension_is_never_searched(context, monkeypatch):
    planted = plant(context, count=30)
    pgvector_table.fill(context, planted.space)
    monkeypatch.setattr(pgvector, "OLDEST", (99, 0))
    assert pgvector.search(context, planted.space, planted.matrix[0], planted.images, k=3) is None
    with pytest.raises(
        UsageError, match=r"has pgvector 0\.\d+\.\d+, micdb needs .*lose matches.*ALTER EXTENSION"
    ):
        pgvector_table.fill(context, planted.space)


def test_tables_are_apart_from_the_catalog_and_can_be_dropped(context):
    planted = plant(context, count=30)
    pgvector_table.fill(context, planted.space)
    names = set(sa.inspect(context.engine).get_table_names())
    assert not {name for name in names if name.startswith("vector")}
    pgvector_table.drop(context.engine)
    assert pgvector.mark(context, planted.space) is None


def test_a_sqlite_catalog_has_none(tmp_path):
    other = make.database(tmp_path / "db")
    images = make.images(other, 1)
    run = make.add_run(other, "toy", spaces=[("toy@1nm", 2, 1.0, "cosine")])
    make.add_part(other, run, "embeddings", rows=make.embeddings([(images[0], "toy@1nm", [1, 0])]))
    (space,) = vectors.spaces(other, "toy@1nm")
    assert pgvector.search(other, space, np.ones(2), np.array(images), k=1) is None
    with pytest.raises(
        UsageError, match="pgvector is an extension of PostgreSQL; this catalog is a SQLite file"
    ):
        pgvector_table.fill(other, space)


def test_without_the_right_to_make_tables_nothing_changes(context, pg_server, pg_url):
    planted = plant(context, count=5)
    from micdb.catalog.engine import postgres_engine

    pg_server.say("CREATE ROLE reader LOGIN PASSWORD 'reader'")
    try:
        with context.engine.begin() as connection:
            connection.execute(sa.text("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader"))
        engine = postgres_engine(pg_url.set(username="reader", password="reader"))
        try:
            other = Context(engine, context.root, context.read_picture, context.link)
            with pytest.raises(
                CatalogError, match="cannot keep vectors: .*permission.*CREATE EXTENSION vector"
            ):
                pgvector_table.fill(other, planted.space)
        finally:
            engine.dispose()
    finally:
        with context.engine.begin() as connection:
            connection.execute(sa.text("DROP OWNED BY reader"))
        pg_server.say("DROP ROLE reader")


class TestWhenItIsUsed:
    @pytest.fixture
    def planted(self, context):
        """Return 40 images with vectors on the server, and a frame."""
        images = np.array(make.images(context, 40))
        matrix = np.random.default_rng(2).normal(size=(40, DIM)).astype(np.float32)
        run = make.add_run(context, "toy", spaces=[("toy@1nm", DIM, 1.0, "cosine")])
        entries = [(int(image), "toy@1nm", vector) for image, vector in zip(images, matrix, strict=True)]
        make.add_part(context, run, "embeddings", rows=make.embeddings(entries))
        (space,) = vectors.spaces(context, "toy@1nm")
        pgvector_table.fill(context, space)
        uids = [make.uid(context, image) for image in images]
        return SimpleNamespace(space=space, uids=uids, matrix=matrix, run=run, frame=Frame(context))

    def answers(self, planted, frame):
        table = frame.to_pandas()
        return [planted.uids.index(uid) for uid in table["uid"]], table["similarity"].tolist()

    def test_files_that_are_here_are_searched(self, planted):
        assert "pgvector" not in planted.frame.similar_to(planted.uids[3], k=4).explain()

    def test_by_name_with_the_same_answer(self, planted):
        named = planted.frame.similar_to(planted.uids[3], k=4, index="pgvector")
        plain = planted.frame.similar_to(planted.uids[3], k=4)
        assert self.answers(planted, named) == self.answers(planted, plain)
        assert "similarity: pgvector (exact) over 40 vectors in toy@1nm" in named.explain()

    def test_without_the_files(self, planted, context):
        plain = self.answers(planted, planted.frame.similar_to(planted.uids[3], k=50))
        shutil.rmtree(context.root / "parts")
        frame = Frame(context).similar_to(planted.uids[3], k=50)
        assert self.answers(planted, frame) == plain
        assert len(plain[0]) == 40
        several = Frame(context).similar_to(planted.uids[:2], negative=planted.uids[5], k=50)
        assert several.count() == 40
        assert "pgvector (exact) over 40 vectors in toy@1nm" in several.explain()

    def test_without_the_files_and_out_of_step(self, planted, context):
        rows = make.embeddings([(make.images(context, 1)[0], "toy@1nm", np.ones(DIM))])
        make.add_part(context, planted.run, "embeddings", rows=rows)
        shutil.rmtree(context.root / "parts")
        for query in (planted.uids[3], np.ones(DIM)):
            with pytest.raises(
                UsageError, match="on the server are not those of today: bring them in step with"
            ):
                Frame(context).similar_to(query, by="toy@1nm").count()

    def test_the_command_fills_it(self, planted, context):
        pgvector_table.drop(context.engine)
        with pytest.raises(UsageError, match="no vectors are called 'texture'"):
            indexing.index(context, "texture", kind="pgvector")
        (made,) = indexing.index(context, kind="pgvector")
        assert (made.space, made.kind, made.vectors, made.recall) == ("toy@1nm", "pgvector", 40, 1.0)
        assert made.size > 40 * DIM * 4
        assert planted.frame.similar_to(planted.uids[3], index="pgvector", k=99).count() == 40

    def test_by_name_without_a_table(self, planted, context):
        pgvector_table.drop(context.engine)
        with pytest.raises(UsageError, match="micdb index --kind pgvector"):
            planted.frame.similar_to(planted.uids[3], index="pgvector").count()
