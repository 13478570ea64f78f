"""What a frame hands out piece by piece: pages, rows, images, vectors, and itself as a file."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
import sqlalchemy as sa

from micdb.catalog import tables as t
from micdb.catalog.engine import writing
from micdb.errors import MissingExtraError, NotFoundError, UsageError
from micdb.query import answers, saving
from micdb.query.context import Context
from micdb.query.frame import Frame

make = SimpleNamespace(**run_path(str(Path(__file__).parents[2] / "data" / "planted" / "make.py")))


def names(frame: Frame) -> list[str]:
    return frame.to_arrow()["name"].to_pylist()


def add_image(engine: sa.Engine, like: str, **values: object) -> None:
    with writing(engine) as connection:
        found = (
            connection.execute(sa.select(t.micrograph).where(t.micrograph.c.name == like)).mappings().one()
        )
        last = connection.execute(sa.select(sa.func.max(t.micrograph.c.pk))).scalar_one()
        connection.execute(t.micrograph.insert().values(**{**found, "pk": last + 1, **values}))


def remove_image(engine: sa.Engine, name: str) -> None:
    with writing(engine) as connection:
        connection.execute(
            t.micrograph.update().where(t.micrograph.c.name == name).values(deleted_at="2024-06-01T00:00:00Z")
        )


# ---------------------------------------------------------------------- pages


def test_pages_neither_skip_nor_repeat_while_images_come_and_go(im):
    q = im.sort_values("pixel_size", ascending=False)[["name", "pixel_size"]]
    assert names(q) == ["four", "three", "one", "six", "two", "five"]
    page, after = q.page(size=2)
    assert page["name"].to_pylist() == ["four", "three"]
    add_image(im.context.engine, "four", name="before", uid="0", pixel_size=900.0)
    add_image(im.context.engine, "one", name="behind", uid="0b", pixel_size=0.4)
    remove_image(im.context.engine, "three")  # the very row the place speaks of
    page, after = q.page(after, size=2)
    assert page["name"].to_pylist() == ["one", "six"]
    assert json.loads(json.dumps(after)) == after
    page, after = q.page(after, size=3)
    assert page["name"].to_pylist() == ["behind", "two", "five"]
    assert after is None


@pytest.mark.parametrize(
    "make",
    [
        lambda im: im[["name"]],
        lambda im: im.sort_values(["lab", "pixel_size"], ascending=[False, True])[["name"]],
        lambda im: im.sort_values("acquired")[["name"]],  # all missing
        lambda im: im.sort_values("colour", ascending=False)[["name"]],
        lambda im: im.explode("defects")[["name", "defect_uid"]].sort_values("name"),
        lambda im: im.groupby(["lab", "sample"], dropna=False).agg(n=("area", "sum")),
        lambda im: im.groupby("colour").size(),
        lambda im: im.head(5).sample(4, seed=2).sort_values("area")[["name"]],
        lambda im: im[im.name == "nobody"],
    ],
)
@pytest.mark.parametrize("size", [1, 2, 5])
def test_pages_together_are_the_whole(im, make, size):
    frame = make(im)
    pages = list(frame.pages(size))
    assert all(len(page) == size for page in pages[:-1])
    assert pa.concat_tables(pages).equals(frame.to_arrow())


def test_a_place_in_another_query_is_refused(im):
    _, after = im.page(size=2)
    with pytest.raises(UsageError, match="is a place in another query"):
        im.head(4).page(after)
    for wrong in ("x", "", 7, "bm90IGpzb24"):
        with pytest.raises(UsageError, match="is no place in a query: pass what page"):
            im.page(wrong)
    for size in (0, True, 2.5):
        with pytest.raises(UsageError, match="a page has at least 1 row"):
            im.page(size=size)


# ---------------------------------------------------------------------- rows, images, vectors


def test_rows_come_one_by_one_from_one_moment(im, monkeypatch):
    monkeypatch.setattr(answers, "BATCH", 2)
    rows = im[["name", "sample", "colour"]].iter_rows()
    assert next(rows) == {"name": "one", "sample": "S1", "colour": False}
    add_image(im.context.engine, "one", name="late", uid="zzz")
    remove_image(im.context.engine, "six")
    assert [row["name"] for row in rows] == ["two", "three", "four", "five", "six"]
    assert [row["name"] for row in im.iter_rows()][-1] == "late"
    assert [row["kind"] for row in im.defects[im.defects.kind == "loop"].iter_rows()] == ["loop"]


def test_only_some_rows_are_in_memory(im, monkeypatch):
    seen = []
    monkeypatch.setattr(answers, "BATCH", 2)
    plain = answers.Query.batches
    monkeypatch.setattr(
        answers.Query, "batches", lambda self, rows: (seen.append(len(x)) or x for x in plain(self, rows))
    )
    assert len(list(im.iter_rows())) == 6
    assert seen == [2, 2, 2]


def test_images_come_in_row_order_each_once(im, planted):
    def load(_engine, _root, keys):
        return iter(keys)

    context = Context(im.context.engine, im.context.root, im.context.read_picture, None, load)
    frame = Frame(context, "images").sort_values("name")
    assert list(frame.images()) == [planted.images[name] for name in sorted(planted.images)]
    assert list(frame.explode("defects").images()) == [planted.images["one"], planted.images["three"]]
    with pytest.raises(UsageError, match="needs rows that are images"):
        frame.groupby("lab").size().images()
    with pytest.raises(UsageError, match=r"open the database with micdb.open\(\) to read images"):
        im.images()


def test_vectors_come_in_row_order_and_images_without_one_are_told(tmp_path):
    context = make.database(tmp_path / "db")
    images = make.images(context, 4)
    fine, coarse = ("tex@1nm", 2, 1.0, "cosine"), ("tex@4nm", 3, 4.0, "cosine")
    run = make.add_run(context, "tex", spaces=[fine, coarse])
    old = make.add_run(context, "tex", spaces=[fine], current=False, version="0")
    entries = [(image, "tex@1nm", [image, 0.5]) for image in images[:3]]
    entries.append((images[0], "tex@4nm", [1.0, 2.0, 3.0]))
    make.add_part(context, run, "embeddings", rows=make.embeddings(entries))
    make.add_part(context, old, "embeddings", rows=make.embeddings([(images[3], "tex@1nm", [7.0, 7.0])]))
    frame = Frame(context, "images").sort_values("name", ascending=False)
    uids, vectors = found = frame.embeddings()
    assert uids == [make.uid(context, image) for image in reversed(images[:3])]
    assert vectors.dtype == np.float32
    assert vectors.tolist() == [[image, 0.5] for image in reversed(images[:3])]
    assert found.missing == [make.uid(context, images[3])]
    assert found.space == "tex@1nm"
    assert frame.embeddings("tex@4nm").vectors.tolist() == [[1.0, 2.0, 3.0]]
    assert frame.using("tex@0").embeddings().uids == found.missing
    nobody = frame[frame.name == "nobody"].embeddings()
    assert nobody.uids == nobody.missing == []
    assert nobody.vectors.shape == (0, 2)
    with pytest.raises(UsageError, match="no vectors are called 'vit'"):
        frame.embeddings("vit")
    with pytest.raises(UsageError, match="needs rows that are images"):
        frame.groupby("name").size().embeddings()


def test_frames_become_polars_frames(im, monkeypatch):
    polars = pytest.importorskip("polars")
    made = im[["name", "pixel_size", "colour"]].to_polars()
    assert made.schema == {"name": polars.String, "pixel_size": polars.Float64, "colour": polars.Boolean}
    assert made["pixel_size"].to_list() == [0.5, 0.25, 2.0, 500.0, None, 0.5]
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'micdb\[polars\]'"):
        im.to_polars()


# ---------------------------------------------------------------------- files


def test_a_query_is_saved_and_loaded(im, tmp_path):
    q = im[(im.lab == "Lab A") & (im.defects.count() >= 0)].sort_values("name").sample(2, seed=3)
    path = q.save(tmp_path / "q.json")
    kept = json.loads(path.read_text())
    assert kept["format"] == "micdb query"
    assert kept["version"] == 1
    again = Frame.from_json(im.context, saving.read(path))
    assert again.hash() == q.hash() != im.hash()
    assert again.to_arrow().equals(q.to_arrow())
    assert Frame.from_json(im.context, saving.read(q.to_json())).hash() == q.hash()
    im.save(path)
    assert saving.read(path) == im.to_json()
    assert [one.name for one in tmp_path.iterdir() if "json" in one.name] == ["q.json"]


def test_what_is_no_saved_query_is_refused(im, tmp_path):
    path = tmp_path / "q.json"
    with pytest.raises(NotFoundError, match=r"no file .*q.json; save a query with: frame.save"):
        saving.read(path)
    with pytest.raises(NotFoundError, match="no folder .*nowhere to save the query in; make it first"):
        im.save(tmp_path / "nowhere" / "q.json")
    for text, message in (
        ("{", "is no JSON"),
        ("[]", "holds no query, which has base and verbs"),
        ('{"base": "images", "verbs": [], "version": 2}', "version 2 and this micdb reads up to 1: upgrade"),
        ('{"base": "images", "verbs": [], "format": "x"}', "says that it is 'x', not 'micdb query'"),
    ):
        path.write_text(text)
        with pytest.raises(UsageError, match=message):
            saving.read(path)


def test_a_search_by_an_array_cannot_be_saved_and_leaves_no_file(im, tmp_path, monkeypatch):
    step = SimpleNamespace()
    monkeypatch.setattr(
        type(im), "to_json", lambda self: (_ for _ in ()).throw(UsageError(f"cannot be saved {step}"))
    )
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UsageError, match="cannot be saved"):
        im.save(tmp_path / "q.json")
    assert sorted(tmp_path.iterdir()) == before
