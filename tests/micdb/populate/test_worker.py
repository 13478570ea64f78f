"""One worker: a batch is published whole or not at all, and a plug-in's bug never becomes rows."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pytest
import sqlalchemy as sa

from micdb.catalog.engine import reading, writing
from micdb.catalog.results import defect, part, run_item
from micdb.errors import ContractError, MissingExtraError
from micdb.populate import jobs, worker
from micdb.populate.extractor import Extraction
from micdb.populate.facts import DEFECTS
from micdb.populate.runs import open_run
from micdb.populate.worker import Job, work
from micdb.records import Refusal
from micdb.testing.dump import dump
from micdb.testing.fakes import SPACE, FakeExtractor


def always():
    return True


def job_for(db, extractor, batch=4):
    with writing(db.engine) as connection:
        run = open_run(connection, extractor).pk
        jobs.plan(connection, run, None)
    return Job(db.root, run, extractor, None, batch)


@pytest.fixture
def job(db):
    return job_for(db, FakeExtractor())


def vectors(image, vector, space=SPACE):
    return {"embeddings": pa.table({"image": [image], "space": [space], "vector": [vector]})}


def test_a_worker_works_until_nothing_is_left_or_it_is_stopped(db, job):
    answers = iter([True, False])
    assert work(db.engine, job, lambda: next(answers)) == 4
    assert jobs.progress(db.engine, job.run_pk, None).waiting == 4
    assert work(db.engine, job, always) == 4
    assert work(db.engine, job, always) == 0


class Slow(FakeExtractor):
    """Lets others do something while it computes."""

    meanwhile = staticmethod(lambda: None)

    def extract(self, pictures):
        for picture in pictures:
            if picture.image == 2:
                type(self).meanwhile()
            yield from super().extract([picture])


def test_a_batch_whose_lease_ran_out_is_void(db, monkeypatch):
    job = job_for(db, Slow())

    def take_over():
        Slow.meanwhile = staticmethod(lambda: None)
        with monkeypatch.context() as patch:
            patch.setattr(jobs, "LEASE", timedelta(minutes=15))
            assert jobs.claim(db.engine, job.run_pk, worker="another", limit=2, images=None) == [1, 2]

    monkeypatch.setattr(jobs, "LEASE", timedelta(seconds=-1))
    Slow.meanwhile = staticmethod(take_over)
    assert work(db.engine, job, always) == 6  # all but what another holds now
    assert jobs.progress(db.engine, job.run_pk, None) == jobs.Progress(done=4, refused=2, claimed=2)
    monkeypatch.undo()
    jobs.hand_back(db.engine, job.run_pk, "another")
    assert work(db.engine, job, always) == 2
    assert len(dump(db.root, db.engine)["parts/embeddings"]) == 6


def test_what_was_not_taken_of_a_void_batch_is_free_at_once(db):
    job = job_for(db, Slow(), batch=8)

    def take_the_first():
        Slow.meanwhile = staticmethod(lambda: None)
        with writing(db.engine) as connection:
            first = run_item.update().where(run_item.c.micrograph_pk == 1)
            connection.execute(first.values(worker="another"))

    Slow.meanwhile = staticmethod(take_the_first)
    assert work(db.engine, job, always) == 7
    assert jobs.progress(db.engine, job.run_pk, None).claimed == 1


def test_a_late_worker_publishes_nothing_that_another_has_published(db, monkeypatch):
    job = job_for(db, Slow(), batch=8)
    other = Job(db.root, job.run_pk, FakeExtractor(), None, 8)

    def take_over():
        Slow.meanwhile = staticmethod(lambda: None)
        assert work(db.engine, other, always) == 8

    monkeypatch.setattr(jobs, "LEASE", timedelta(seconds=-1))
    Slow.meanwhile = staticmethod(take_over)
    assert work(db.engine, job, always) == 0
    facts = dump(db.root, db.engine)
    assert (len(facts["parts/embeddings"]), len(facts["parts/atoms"])) == (6, 18)
    assert len(list((db.root / "parts").rglob("*.parquet"))) == 2


def broken(answer):
    """Return an extractor that gives `answer(picture)`, a list, for every picture."""

    class Broken(FakeExtractor):
        def extract(self, pictures):
            for picture in pictures:
                yield from answer(picture)

    return Broken()


def atoms(picture, **changes):
    (extraction,) = FakeExtractor(smallest=2).extract([picture])
    table = extraction.tables["atoms"]
    for name, values in changes.items():
        table = table.set_column(table.column_names.index(name), name, values)
    return [Extraction(picture.image, {"atoms": table})]


BROKEN = {
    "no answer": (lambda p: [], r"gave 0 answers for image 'image000' \(pk 1\); it must yield exactly one"),
    "two answers": (lambda p: [Refusal(p.image, "no")] * 2, r"gave 2 answers for image 'image000'"),
    "something else": (lambda p: ["atoms"], r"must yield exactly one Extraction or Refusal per picture"),
    "wrong image": (
        lambda p: [Refusal(99, "no")],
        r"answered for image pk 99 when asked about image 'image000'",
    ),
    "undeclared table": (
        lambda p: [Extraction(p.image, {"defects": pa.table({"image": [p.image]})})],
        r"table 'defects': not declared in `schemas` .*; declared: atoms, embeddings",
    ),
    "missing column": (
        lambda p: [Extraction(p.image, {"atoms": pa.table({"image": [p.image]})})],
        r"table 'atoms': the rows do not fit the declared schema",
    ),
    "rows of another image": (
        lambda p: atoms(p, image=pa.array([p.image, p.image, 99])),
        r"rows of another image; the column 'image' must be 1 in every row",
    ),
    "nulls": (
        lambda p: atoms(p, x_px=pa.array([1.0, None, 2.0])),
        r"nulls in 'x_px', which|'x_px' with null values to non-nullable",
    ),
    "undeclared space": (
        lambda p: [Extraction(p.image, vectors(p.image, [1.0] * 4, "other"))],
        r"a vector of 4 numbers in 'other'; declared: fake@px of 4",
    ),
    "wrong length": (
        lambda p: [Extraction(p.image, vectors(p.image, [1.0] * 5))],
        r"a vector of 5 numbers in 'fake@px'; declared: fake@px of 4",
    ),
    "miscounted": (
        lambda p: [Extraction(p.image, {}, {"n_atoms": (3.0, None)})],
        r"says n_atoms is 3 for image .* and gave 0 rows; of one frame it must be their number",
    ),
    "not finite": (
        lambda p: [Extraction(p.image, vectors(p.image, [1.0, np.nan, 0.0, 0.0]))],
        r"a vector with numbers that are not finite; refuse such an image instead",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_contract_is_an_error_and_no_row(db, name):
    answer, message = BROKEN[name]
    job = job_for(db, broken(answer))
    with pytest.raises(ContractError, match=message):
        work(db.engine, job, always)
    assert jobs.progress(db.engine, job.run_pk, None) == jobs.Progress(waiting=8)
    assert not list((db.root / "parts").rglob("*.parquet"))


def test_an_error_of_ours_passes_as_it_is(db):
    def lacking(picture):
        raise MissingExtraError("this needs the package 'torch': pip install 'micdb[embed]'")

    job = job_for(db, broken(lacking))
    with pytest.raises(MissingExtraError, match="pip install"):
        work(db.engine, job, always)
    assert jobs.progress(db.engine, job.run_pk, None).waiting == 8


def test_an_extraction_without_rows_is_an_answer(db):
    job = job_for(db, broken(lambda p: [Extraction(p.image, {}, {"n_atoms": (0.0, None)})]))
    assert work(db.engine, job, always) == 8
    facts = dump(db.root, db.engine)
    assert len(facts["rollup"]) == 8
    assert not any(name.startswith("parts/") for name in facts)


class Finder(FakeExtractor):
    """Finds one defect in every image, and knows no more of it than its place."""

    card = replace(FakeExtractor.card, name="finder")
    schemas: ClassVar = {"defects": DEFECTS}
    spaces = ()
    found: ClassVar = {
        "kind": "vacancy",
        "x_px": 2.0,
        "y_px": 3.5,
        "box": [0.0, 1.0, 4.0, 5.0],
        "atoms": [3, 1],
    }

    def extract(self, pictures):
        for picture in pictures:
            row = {"image": picture.image, "frame": 0, **self.found}
            yield Extraction(
                picture.image, {"defects": pa.Table.from_pylist([row], schema=self.schemas["defects"])}
            )


def test_defects_become_rows_of_the_catalog(db):
    job = job_for(db, Finder())
    assert work(db.engine, job, always) == 8
    with reading(db.engine) as connection:
        rows = connection.execute(sa.select(defect).order_by(defect.c.micrograph_pk)).all()
        parts = connection.execute(sa.select(sa.func.count()).select_from(part)).scalar_one()
    assert parts == 0
    assert [(row.run_pk, row.micrograph_pk) for row in rows] == [(job.run_pk, n) for n in range(1, 9)]
    assert len({row.uid for row in rows}) == 8
    (row,) = {(r.frame, r.kind, r.x_px, r.y_px, r.x_nm, r.score, r.state) for r in rows}
    assert row == (0, "vacancy", 2.0, 3.5, None, None, "detected")
    assert (rows[0].box, rows[0].atoms) == ([0.0, 1.0, 4.0, 5.0], [3, 1])
    assert db.images.assign(n=db.images.defects.count()).to_pandas()["n"].tolist() == [1] * 8


def test_defects_of_a_batch_that_is_void_are_not_kept(db, monkeypatch):
    job = job_for(db, Finder())
    monkeypatch.setattr(
        worker, "_add_rollups", lambda *_: (_ for _ in ()).throw(RuntimeError("the disk is full"))
    )
    with pytest.raises(RuntimeError):
        work(db.engine, job, always)
    monkeypatch.undo()
    assert work(db.engine, job, always) == 8
    assert db.images.defects.frame.count() == 8


def test_defects_in_another_schema_are_refused(db):
    class Wider(Finder):
        schemas: ClassVar = {"defects": DEFECTS.append(pa.field("mood", pa.string()))}

    with pytest.raises(ContractError, match=r"its schema must be that of .*CATALOGUED\['defects'\]"):
        work(db.engine, job_for(db, Wider()), always)
