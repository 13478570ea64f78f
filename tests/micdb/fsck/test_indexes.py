"""Indexes against the catalog: what is damaged, foreign, ahead or miscounted is told and removed."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import numpy as np
import pytest

from micdb import fsck
from micdb.catalog import results, schema
from micdb.catalog.engine import sqlite_engine, writing
from micdb.catalog.rows import record
from micdb.fsck.indexes import check_indexes
from micdb.fsck.report import Scope
from micdb.query.search import indexing, matrices
from micdb.store.indexes import read_index, write_index

planted = SimpleNamespace(**run_path(str(Path(__file__).parents[2] / "data" / "planted" / "vectors.py")))
STORED = planted.clustered(60, 4)


@pytest.fixture
def base(tmp_path):
    context, space = planted.database(tmp_path / "db", STORED)
    with writing(context.engine) as connection:
        record(connection, "populate", "run")
    indexing.index(context, kind="hnsw")
    path = matrices.open_matrix(context, space).file.path
    return SimpleNamespace(context=context, space=space, path=path)


def found(base, *, deep=False, repair=False):
    scope = Scope(base.context.engine, base.context.root, deep, repair, timedelta(days=14))
    return list(check_indexes(scope))


def rewritten(base, about=None, arrays=None):
    old = read_index(base.path)
    write_index(
        base.context.root, base.path, {**old.about, **(about or {})}, {**old.arrays, **(arrays or {})}
    )


def told(base, **options):
    (one,) = found(base, **options)
    assert one.severity == "warning"
    assert one.subject == f"indexes/{base.path.name}"
    assert "micdb fsck --repair" in one.message
    assert "micdb index" in one.message
    return one.code, one.message


@pytest.mark.parametrize("deep", [False, True])
def test_whole_indexes_are_in_order_also_with_newer_and_compacted_parts(base, deep):
    assert found(base, deep=deep) == []
    planted.add(base.context, base.space.run, [61], STORED[:1])
    with writing(base.context.engine) as connection:  # the first part became part of another one
        connection.execute(results.part.delete().where(results.part.c.pk == 1))
    assert found(base, deep=deep) == []


def test_damage(base):
    whole = base.path.read_bytes()
    base.path.write_bytes(whole[:-5])
    code, message = told(base)
    assert code == "index-damaged"
    assert "it was cut; searches leave it aside" in message
    at = whole.index(STORED[17].tobytes())
    base.path.write_bytes(whole[:at] + b"\0\0" + whole[at + 2 :])
    assert found(base) == []  # only a deep check reads every vector
    assert told(base, deep=True)[0] == "index-damaged"


@pytest.mark.parametrize(
    ("about", "code", "message"),
    [
        (
            {"run": "another"},
            "index-foreign",
            "planted@1nm' of a run that is not in this database",
        ),
        ({"space": "x@1nm"}, "index-foreign", "of the space 'x@1nm' of a run"),
        ({"dim": 5}, "index-foreign", "its vectors have length 5, the space planted@1nm has 4"),
        ({"seq": 2}, "index-ahead", "it contains event 2 and the newest here is 1: the catalog is older"),
    ],
)
def test_what_is_not_of_this_catalog(base, about, code, message):
    rewritten(base, about)
    assert told(base)[0] == code
    assert message in told(base)[1]


def test_counts_that_do_not_fit_the_parts(base):
    part = read_index(base.path).arrays["part"]
    rewritten(base, arrays={"part": np.zeros_like(part)})
    code, message = told(base)
    assert code == "index-count"
    assert "it has 60 vectors of the part" in message
    assert "which has 20" in message
    rewritten(base, arrays={"part": np.full_like(part, 7)})
    assert "not in its water-mark" in told(base)[1]


def test_rows_that_are_missing_are_found_by_a_deep_check(base):
    part = read_index(base.path).arrays["part"].copy()
    rewritten(base, arrays={"part": part[part != 1]})
    assert found(base) == []
    code, message = told(base, deep=True)
    assert code == "index-count"
    assert "it has 0 vectors of the part" in message


def test_repair_removes_what_is_wrong_and_nothing_else(base):
    others = {path.name for path in base.path.parent.iterdir()} - {base.path.name}
    rewritten(base, {"seq": 99})
    (one,) = found(base, repair=True)
    assert one.repaired
    assert {path.name for path in base.path.parent.iterdir()} == others
    assert found(base, deep=True) == []


def test_the_whole_check_knows_these_files(tmp_path):
    root = tmp_path / "db"
    root.mkdir()
    engine = sqlite_engine(root / "catalog.sqlite")
    schema.create(engine)
    report = fsck.check(engine, root)
    assert report.clean
    (root / "indexes").mkdir()
    (root / "indexes" / "x.vectors.idx").write_bytes(b"not an index")
    assert [one.code for one in fsck.check(engine, root).findings] == ["index-damaged"]
    assert fsck.check(engine, root, repair=True).clean
    assert fsck.check(engine, root).findings == ()
    engine.dispose()
