"""SQLite's statistics follow the size of the catalog, and asking for them costs next to nothing."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from micdb.catalog import schema, statistics
from micdb.catalog.engine import reading, sqlite_engine, writing
from micdb.catalog.tables import acquisition, lab, material, micrograph


@pytest.fixture
def engine(tmp_path):
    made = sqlite_engine(tmp_path / "catalog.sqlite")
    schema.create(made)
    yield made
    made.dispose()


def fill(engine, first, last):
    rows = [{"uid": f"u{n}", "name": f"lab {n}"} for n in range(first, last)]
    with writing(engine) as connection:
        connection.execute(sa.insert(lab), rows)


def known(engine):
    with reading(engine) as connection:
        text = "SELECT max(CAST(stat AS INTEGER)) FROM sqlite_stat1 WHERE tbl = 'lab'"
        return connection.exec_driver_sql(text).scalar()


def test_small_tables_need_none(engine):
    fill(engine, 0, statistics.FEW - 1)
    assert statistics.refresh(engine) == []


def test_a_table_is_counted_when_it_is_large_and_again_when_it_has_doubled(engine):
    fill(engine, 0, statistics.FEW)
    assert statistics.refresh(engine) == ["lab"]
    assert known(engine) == statistics.FEW
    fill(engine, statistics.FEW, 2 * statistics.FEW - 1)
    assert statistics.refresh(engine) == []
    fill(engine, 2 * statistics.FEW, 2 * statistics.FEW + 1)
    assert statistics.refresh(engine) == ["lab"]
    assert known(engine) == 2 * statistics.FEW


def test_a_very_large_table_is_only_sampled(engine, monkeypatch):
    monkeypatch.setattr(statistics, "MANY", 100)
    fill(engine, 0, 5000)
    seen = []
    sa.event.listen(engine, "before_cursor_execute", lambda *given: seen.append(given[2]))
    statistics.refresh(engine)
    assert f"PRAGMA analysis_limit = {statistics.SAMPLE}" in seen


def test_the_indexes_of_a_sampled_table_agree_on_its_size(engine, monkeypatch):
    monkeypatch.setattr(statistics, "MANY", 1000)
    monkeypatch.setattr(statistics, "SAMPLE", 10)
    rows = [{"uid": f"u{n}", "name": f"material {n:05d}"[: 9 + n % 6] + f"{n}"} for n in range(5000)]
    with writing(engine) as connection:
        connection.execute(sa.insert(material), rows)
    assert statistics.refresh(engine) == ["material"]
    with reading(engine) as connection:
        found = (
            connection.exec_driver_sql("SELECT stat FROM sqlite_stat1 WHERE tbl = 'material'").scalars().all()
        )
    assert len(found) == 2
    assert {int(stat.split()[0]) for stat in found} == {5000}
    assert all(int(stat.split()[1]) < 100 for stat in found)  # every value is another one
    assert statistics.refresh(engine) == []


def test_a_server_counts_by_itself(pg_engine):
    assert statistics.refresh(pg_engine) == []


def test_few_values_of_a_sampled_table_are_counted(engine, monkeypatch):
    monkeypatch.setattr(statistics, "MANY", 1000)
    monkeypatch.setattr(statistics, "SAMPLE", 50)
    with writing(engine) as connection:
        connection.execute(sa.insert(acquisition), {"pk": 1, "uid": "a"})
        connection.execute(sa.insert(lab), [{"pk": n, "uid": f"l{n}", "name": f"lab {n}"} for n in (1, 2, 3)])
        plain = {
            "acquisition_pk": 1, "height": 1, "width": 1, "n_frames": 1, "colour": False, "dtype": "uint8",
            "axes": [], "settings": {}, "problems": [],
        }  # fmt: skip
        rows = [
            {
                "uid": f"u{n}", "name": f"image {n}", "lab_pk": 1 + n % 3, "created_at": f"{n:05d}",
                "deleted_at": "now" if n % 100 == 0 else None, **plain,
            }
            for n in range(3000)
        ]  # fmt: skip
        connection.execute(sa.insert(micrograph), rows)
    statistics.refresh(engine)
    with reading(engine) as connection:
        text = "SELECT idx, stat FROM sqlite_stat1 WHERE tbl = 'micrograph'"
        found = {row.idx: [int(n) for n in row.stat.split()] for row in connection.exec_driver_sql(text)}
    assert found["ix_micrograph_lab_pk"] == [3000, 1000]
    assert found["ix_micrograph_object_pk"] == [3000, 3000]  # nothing but NULL
    assert found["ix_micrograph_created_at"][0] == 3000
    assert found["ix_micrograph_created_at"][1] < 10
    assert found["ix_micrograph_deleted_at"][0] < 100  # holds those alone
