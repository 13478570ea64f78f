"""The made-up catalog that benchmarks ask is a catalog: references, schema, jobs and properties are right."""

from __future__ import annotations

import importlib
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

import micdb
from micdb.catalog.engine import reading
from micdb.fsck.report import Scope
from micdb.fsck.rows import check_catalog, check_leases, check_properties, check_references

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
IMAGES = 2000


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        million, samples = (importlib.import_module(name) for name in ("million", "million_samples"))
        root = tmp_path_factory.mktemp("made") / "made.micdb"
        million.create(str(root), IMAGES).dispose()
        with micdb.open(root) as db:
            yield db, million, samples


def test_it_passes_the_checks_of_the_catalog(made):
    db, *_ = made
    scope = Scope(db.engine, db.root, deep=True, repair=False, grace=timedelta(days=1))
    found = [one for check in (check_catalog, check_references, check_leases, check_properties)
             for one in check(scope)]  # fmt: skip
    assert found == []


def test_it_has_the_sizes_it_promises(made):
    db, _, samples = made
    with reading(db.engine) as connection:
        count = lambda text: connection.execute(sa.text(f"SELECT count(*) FROM {text}")).scalar()  # noqa: E731
        assert count("micrograph") == IMAGES
        assert count("sample") == IMAGES // 20
        assert count("defect WHERE run_pk = 2") == 3 * IMAGES
        assert 0 < count("micrograph WHERE deleted_at IS NOT NULL") < IMAGES / 20
        assert count("micrograph WHERE pixel_size IS NULL") > 0
        assert count("(SELECT 1 FROM property_value GROUP BY sample_pk, property_def_pk HAVING count(*) > 1)")
        project = f"name = '{samples.PROJECT}'"
        inside = f"SELECT pk FROM sample WHERE material_pk = (SELECT pk FROM material WHERE {project})"
        assert count(f"micrograph WHERE sample_pk IN ({inside})") > 300


def test_the_same_seed_gives_the_same_catalog(made, tmp_path):
    db, million, _ = made
    again = million.create(str(tmp_path / "again.micdb"), IMAGES)
    text = sa.text("SELECT pk, uid, name, sample_pk, pixel_size FROM micrograph ORDER BY pk")
    with reading(db.engine) as one, reading(again) as other:
        assert one.execute(text).all() == other.execute(text).all()
    again.dispose()


def test_both_sides_of_the_benchmark_give_the_same_rows(made):
    db, *_ = made
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        catalog = importlib.import_module("catalog")
        questions = importlib.import_module("catalog_sql")
    questions.KNOWN_UID[0] = db.images[7:8].to_pandas()["uid"][0]
    assert [catalog.check(db, question) >= 0 for question in questions.QUESTIONS]
