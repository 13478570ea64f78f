"""No update is ever lost: the first promise of the catalog."""

from __future__ import annotations

import multiprocessing

import pytest
import sqlalchemy as sa

from micdb.catalog import sqlite as engines
from micdb.catalog.engine import open_engine, reading, sqlite_engine, writing
from micdb.errors import CatalogError, ForeignDatabaseError, NetworkFilesystemError

PROCESSES, ROUNDS = 8, 100


def count_up(catalog: sa.URL, barrier) -> int:
    engine = open_engine(catalog)
    barrier.wait()
    committed = 0
    for _ in range(ROUNDS):
        with writing(engine) as connection:
            value = connection.exec_driver_sql("SELECT value FROM counter").scalar_one()
            connection.execute(sa.text("UPDATE counter SET value = :value"), {"value": value + 1})
        committed += 1
    return committed


@pytest.fixture
def engine(tmp_path, new_catalog):
    engine = new_catalog(tmp_path)
    with writing(engine) as connection:
        connection.exec_driver_sql("CREATE TABLE counter (value INTEGER)")
    return engine


def test_eight_processes_lose_no_update(engine):
    with writing(engine) as connection:
        connection.exec_driver_sql("INSERT INTO counter VALUES (0)")
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, context.Pool(PROCESSES) as pool:
        barrier = manager.Barrier(PROCESSES)
        committed = pool.starmap(count_up, [(engine.url, barrier)] * PROCESSES)
    with reading(engine) as connection:
        total = connection.exec_driver_sql("SELECT value FROM counter").scalar_one()
    assert sum(committed) == total == PROCESSES * ROUNDS


def rows(engine) -> int:
    with reading(engine) as connection:
        return connection.exec_driver_sql("SELECT count(*) FROM counter").scalar_one()


def test_a_failed_transaction_leaves_nothing(engine):
    with pytest.raises(RuntimeError), writing(engine) as connection:
        connection.exec_driver_sql("INSERT INTO counter VALUES (1)")
        raise RuntimeError
    assert rows(engine) == 0


def test_a_reader_sees_one_state(engine):
    with reading(engine) as reader:
        assert reader.exec_driver_sql("SELECT count(*) FROM counter").scalar_one() == 0
        with writing(engine) as writer:
            writer.exec_driver_sql("INSERT INTO counter VALUES (1)")
        assert reader.exec_driver_sql("SELECT count(*) FROM counter").scalar_one() == 0
    assert rows(engine) == 1


def test_a_reader_writes_nothing(engine):
    with reading(engine) as connection:
        connection.exec_driver_sql("CREATE TEMPORARY TABLE mine (value INTEGER)")
        connection.exec_driver_sql("INSERT INTO mine VALUES (1)")
        assert connection.exec_driver_sql("SELECT count(*) FROM mine").scalar_one() == 1
        connection.exec_driver_sql("INSERT INTO counter VALUES (1)")
    assert rows(engine) == 0
    with reading(engine) as connection:
        connection.exec_driver_sql("CREATE TEMPORARY TABLE mine (value INTEGER)")


def test_a_network_file_system_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(engines, "filesystem", lambda _: "nfs4")
    with pytest.raises(
        NetworkFilesystemError, match=r"network file system \(nfs4\).*move .* to a local disk"
    ):
        sqlite_engine(tmp_path / "catalog.sqlite")


def test_what_the_disk_does_to_a_catalog_is_told_in_one_line(tmp_path):
    engine = sqlite_engine(tmp_path / "catalog.sqlite")
    with writing(engine) as connection:
        connection.exec_driver_sql("CREATE TABLE t (a INTEGER UNIQUE)")
        size = connection.exec_driver_sql("PRAGMA page_count").scalar()
    with pytest.raises(CatalogError, match="is full; nothing was committed: look at the disk"):  # noqa: SIM117
        with writing(engine) as connection:
            connection.exec_driver_sql(f"PRAGMA max_page_count = {size}")
            for number in range(10_000):
                connection.exec_driver_sql(f"INSERT INTO t VALUES ({number})")
    with pytest.raises(sa.exc.IntegrityError), writing(engine) as connection:  # a bug is no mishap
        connection.exec_driver_sql("INSERT INTO t VALUES (1), (1)")
    engine.dispose()
    (tmp_path / "catalog.sqlite").write_text("not a catalog" * 100)
    with pytest.raises(ForeignDatabaseError, match="or it is damaged: .*restore it"), reading(engine):
        pass
