"""What lies in Parquet parts comes back into the one statement: atoms, bonds and similarity."""

from __future__ import annotations

from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sqlalchemy.dialects import postgresql

from micdb.catalog.engine import reading, writing
from micdb.catalog.results import run_item
from micdb.errors import UsageError
from micdb.query.compile import compile_frame
from micdb.query.frame import Frame
from micdb.query.search import similar

make = SimpleNamespace(**run_path(str(Path(__file__).parents[2] / "data" / "planted" / "make.py")))
SPACE = "halves@1nm"


@pytest.fixture
def home(tmp_path):
    return make.database(tmp_path / "db")


@pytest.fixture
def images(home):
    """Plant five images: atoms of the first three, none found in the fourth, the fifth never analysed."""
    images = make.images(home, 5)
    run = make.add_run(home, "peaks")
    rows = [(images[0], 1, 5), (images[0], 2, None), (images[1], 3, 7), (images[2], 4, 9)]
    make.add_part(home, run, "atoms", rows=make.atoms(rows))
    with writing(home.engine) as connection:
        for image in images[:4]:
            connection.execute(
                run_item.insert().values(run_pk=run, micrograph_pk=image, status="done", attempt=1)
            )
    vectors = make.add_run(home, "halves", spaces=[(SPACE, 2, 1.0, "cosine")])
    rows = [(image, SPACE, vector) for image, vector in zip(images, ([1, 0], [1, 1], [0, 1]), strict=False)]
    make.add_part(home, vectors, "embeddings", rows=make.embeddings(rows))
    return images


def column(frame, name):
    return frame.to_arrow()[name].to_pylist()


def test_atoms_are_counted_where_a_run_looked(home, images):
    im = Frame(home, "images")
    near = im.atoms[im.atoms.x_nm < "2.5 nm"]
    made = im.assign(n=im.atoms.count(), near=near.count(), x=im.atoms.mean("x_nm"))
    assert column(made, "n") == [2, 1, 1, 0, None]
    assert column(made, "near") == [2, 0, 0, 0, None]
    assert column(made, "x") == [1.5, 3.0, 4.0, None, None]
    assert made.units["x"] == "nm"


def test_conditions_on_atoms_filter_and_survive_a_limit(home, images):
    im = Frame(home, "images")
    assert im.query("count(atoms) >= 1").pks().tolist() == images[:3]
    assert im.query("count(atoms) == 0").pks().tolist() == images[3:4]
    q = im.assign(n=im.atoms.count()).sort_values("n", ascending=False).head(3)
    assert q[q.n < 2].assign(again=im.atoms.count()).pks().tolist() == images[1:3]
    told = im.query("count(atoms) >= 1").explain()
    assert "5 images from the catalog go to DuckDB" in told
    assert "atoms: DuckDB reads 1 of 1 parts, 1 of 1 row groups" in told


def test_a_pin_does_not_answer_with_what_was_fetched_before_it(home, images):
    older = make.add_run(home, "peaks", version="0", current=False)
    make.add_part(home, older, "atoms", rows=make.atoms([(images[0], 1, 5)]))
    im = Frame(home, "images").head(1)
    pinned = im.assign(n=im.atoms.count()).using("peaks@0").assign(before=im.atoms.count())
    assert (column(pinned, "n"), column(pinned, "before")) == ([2], [1])


def test_atoms_are_rows_too(home, images):
    im = Frame(home, "images")
    assert len(im.explode("atoms")) == 4
    found = im[im.atoms.count() == 2].atoms.to_pandas()
    assert found["x_nm"].tolist() == [1.0, 2.0]
    assert im.explode("atoms").groupby("uid").agg(far=("x_nm", "max")).to_arrow()["far"].to_pylist() == [
        2,
        3,
        4,
    ]


def test_the_most_similar_come_first_and_verbs_follow(home, images):
    im = Frame(home, "images")
    found = im.similar_to(np.array([1.0, 0.0]), k=2, by=SPACE)
    assert found.pks().tolist() == images[:2]
    assert column(found, "similarity") == pytest.approx([1.0, 0.5**0.5])
    assert len(found[found.similarity > 0.9]) == 1
    assert "similarity: " in found.explain()
    assert found.to_pandas().attrs["query"] is None  # an array cannot be written down
    with pytest.raises(UsageError, match="a search by ndarray cannot be saved"):
        found.to_json()


def test_a_filter_before_the_search_keeps_k(home, images):
    im = Frame(home, "images")
    rest = im[im.atoms.max("x_nm") > "2.5 nm"].similar_to(np.array([1.0, 0.0]), k=2, by=SPACE)
    assert rest.pks().tolist() == images[1:3]


def test_a_second_search_replaces_the_first(home, images):
    im = Frame(home, "images")
    first = im.similar_to(np.array([1.0, 0.0]), k=1, by=SPACE)
    second = first.sort_values("similarity").similar_to(np.array([0.0, 1.0]), k=2, by=SPACE)
    assert second.pks().tolist() == [images[2], images[1]]
    used = first[first.similarity > 0.5]
    with pytest.raises(UsageError, match="replaces the first, whose similarity is used in between"):
        used.similar_to(np.array([0.0, 1.0]), by=SPACE)


def test_one_search_serves_count_and_rows(home, images, monkeypatch):
    asked = []
    rank = similar.rank
    monkeypatch.setattr(similar, "rank", lambda *args, **named: asked.append(1) or rank(*args, **named))
    found = Frame(home, "images").similar_to(np.array([1.0, 0.0]), k=2, by=SPACE)
    assert len(found) == len(found.to_pandas()) == found.head(9).count() == 2
    assert len(asked) == 1


def test_the_statement_is_postgresql_too(home, images):
    im = Frame(home, "images")
    q = im[im.name.str.contains("a") & im.lab.isin(["A"]) & (im.name > "b")].assign(n=im.defects.count())
    q = q.sort_values("name").head(3).groupby("lab").agg(m=("width", "median"), s=("area", "std"))
    with reading(home.engine) as connection:
        made = compile_frame(home, q.base, q.steps, vocabulary=q.vocabulary, connection=connection)
    text = str(made.select().compile(dialect=postgresql.dialect()))
    for word in ("strpos(", 'COLLATE "C"', "jsonb_array_elements", "percentile_cont(0.5)", "stddev_samp"):
        assert word in text
    for word in ("json_each", "instr(", "micdb_"):
        assert word not in text


def test_local_rows_are_indexed_before_they_are_joined(home, images):
    im = Frame(home, "images")
    q = im.merge(pd.DataFrame({"name": ["image 1"], "grain": [3.0]}), on="name")
    with reading(home.engine) as connection:
        made = compile_frame(home, q.base, q.steps, vocabulary=q.vocabulary, connection=connection).select()
        text = made.compile(connection, compile_kwargs={"literal_binds": True})
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}").all()
    assert any("AUTOMATIC" in row[3] for row in plan), plan
