"""The migrations build exactly the tables the code declares, and the page describes them."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from micdb import database
from micdb.catalog import results, schema, tables
from micdb.catalog.columns import metadata
from micdb.catalog.describe import describe
from micdb.catalog.engine import reading, sqlite_engine, writing
from micdb.errors import ForeignDatabaseError, NewSchemaError, NotFoundError, OldSchemaError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def engine(tmp_path):
    engine = sqlite_engine(tmp_path / "catalog.sqlite")
    schema.create(engine)
    return engine


def test_migrations_give_the_declared_tables(engine):
    assert tables and results
    with reading(engine) as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_known_revisions_are_the_revisions_on_disk():
    script = ScriptDirectory(str(ROOT / "migrations"))
    assert tuple(revision.revision for revision in script.walk_revisions())[::-1] == schema.REVISIONS


def test_the_page_is_the_code():
    assert (ROOT / "docs" / "schema.md").read_text() == describe(), "run: make docs"


def test_every_column_has_a_meaning():
    for table in metadata.tables.values():
        assert table.comment
        for column in table.columns:
            assert column.comment, f"{table.name}.{column.name}"


def set_revision(path, revision):
    with writing(sqlite_engine(path / "catalog.sqlite")) as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = ?", (revision,))


def test_a_newer_database_is_refused_with_the_mend(tmp_path):
    path = tmp_path / "lab.micdb"
    database.init(path)
    set_revision(path, "9999")
    with pytest.raises(NewSchemaError, match=r"has schema 9999, newer than .* pip install --upgrade micdb"):
        database.open(path)
    with pytest.raises(NewSchemaError):
        database.upgrade(path)
    assert not list(path.glob("*.bak"))


def test_an_older_database_is_refused_with_the_command(tmp_path, monkeypatch):
    path = tmp_path / "lab.micdb"
    database.init(path)
    monkeypatch.setattr(schema, "REVISIONS", ("0001", "0002"))
    monkeypatch.setattr(schema, "HEAD", "0002")
    with pytest.raises(
        OldSchemaError, match=r"has schema 0001, this micdb .* needs 0002; .* micdb upgrade --db .*lab"
    ):
        database.open(path)


def test_a_foreign_database_is_refused(tmp_path):
    folder = tmp_path / "other"
    folder.mkdir()
    with pytest.raises(ForeignDatabaseError, match="it has no catalog.sqlite"):
        database.open(folder)
    engine = sqlite_engine(folder / "catalog.sqlite")
    with writing(engine) as connection:
        connection.exec_driver_sql("CREATE TABLE wine (pk INTEGER)")
    with pytest.raises(ForeignDatabaseError, match="it holds the tables wine; make one with: micdb init"):
        database.open(folder)


def test_a_file_that_is_no_database_is_refused(tmp_path):
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "catalog.sqlite").write_bytes(b"not a database at all, but long enough to be read as one" * 20)
    with pytest.raises(ForeignDatabaseError, match="is not a micdb database"):
        database.open(folder)


def test_a_missing_database_names_the_command(tmp_path):
    with pytest.raises(NotFoundError, match=r"no database .*; make one with: micdb init"):
        database.open(tmp_path / "nowhere.micdb")


def test_upgrade_of_a_current_database_changes_nothing(tmp_path):
    path = tmp_path / "lab.micdb"
    database.init(path)
    assert database.upgrade(path) is None
    assert not list(path.glob("*.bak"))
