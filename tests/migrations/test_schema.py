"""The migrations build exactly the tables the code declares, and the page describes them."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect
from sqlalchemy.exc import ProgrammingError

from micdb import opening
from micdb.catalog import results, schema, tables
from micdb.catalog.columns import metadata
from micdb.catalog.describe import describe
from micdb.catalog.engine import postgres_engine, reading, sqlite_engine, writing
from micdb.errors import (
    CatalogError,
    ForeignDatabaseError,
    NewSchemaError,
    NotFoundError,
    OldSchemaError,
    UsageError,
)

ROOT = Path(__file__).resolve().parents[2]


def differences(engine):
    """Return where tables, columns, types, keys and indexes are not those the code declares."""
    with reading(engine) as connection:
        return compare_metadata(MigrationContext.configure(connection), metadata)


def test_migrations_give_the_declared_tables(tmp_path, new_catalog):
    assert tables and results
    assert differences(new_catalog(tmp_path)) == []


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
    opening.init(path)
    set_revision(path, "9999")
    with pytest.raises(NewSchemaError, match=r"has schema 9999, newer than .* pip install --upgrade micdb"):
        opening.open(path)
    with pytest.raises(NewSchemaError):
        opening.upgrade(path)
    assert not list(path.glob("*.bak"))


def test_an_older_database_is_refused_with_the_command(tmp_path):
    path = tmp_path / "lab.micdb"
    opening.init(path)
    set_revision(path, "0001")
    with pytest.raises(
        OldSchemaError,
        match=rf"has schema 0001, this micdb .* needs {schema.HEAD}; .* micdb upgrade --db .*lab",
    ):
        opening.open(path)


def test_a_foreign_database_is_refused(tmp_path):
    folder = tmp_path / "other"
    folder.mkdir()
    with pytest.raises(ForeignDatabaseError, match="it has no catalog.sqlite"):
        opening.open(folder)
    engine = sqlite_engine(folder / "catalog.sqlite")
    with writing(engine) as connection:
        connection.exec_driver_sql("CREATE TABLE wine (pk INTEGER)")
    with pytest.raises(ForeignDatabaseError, match="it holds the tables wine; make one with: micdb init"):
        opening.open(folder)


def test_a_file_that_is_no_database_is_refused(tmp_path):
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "catalog.sqlite").write_bytes(b"not a database at all, but long enough to be read as one" * 20)
    with pytest.raises(ForeignDatabaseError, match="is not a micdb database"):
        opening.open(folder)


def test_a_missing_database_names_the_command(tmp_path):
    with pytest.raises(NotFoundError, match=r"no database .*; make one with: micdb init"):
        opening.open(tmp_path / "nowhere.micdb")


def test_upgrade_of_a_current_database_changes_nothing(tmp_path):
    path = tmp_path / "lab.micdb"
    opening.init(path)
    assert opening.upgrade(path) is None
    assert not list(path.glob("*.bak"))


def old_database(path):
    """Make a database of the first schema, with one stack, its frames, its source and a finished run."""
    opening.init(path).close()
    (path / "catalog.sqlite").unlink()
    engine = sqlite_engine(path / "catalog.sqlite")
    fill_with_the_first_schema(engine)
    engine.dispose()


def fill_with_the_first_schema(engine):
    with writing(engine) as connection:
        config = schema._config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        for statement in OLD_ROWS:
            connection.exec_driver_sql(statement)


OLD_ROWS = (
    "INSERT INTO object VALUES (1, 'aa', 'objects/aa/aa.nxs', 10, 'application/x-hdf5', 'live', 'now', NULL)",
    "INSERT INTO acquisition VALUES (1, 'u1', 'f00d', '2020-01-01')",
    "INSERT INTO micrograph (pk, uid, name, acquisition_pk, object_pk, pixel_hash, height, width, n_frames,"
    " colour, dtype, axes, settings, problems, created_at)"
    " VALUES (1, 'u2', 'old', 1, 1, 'beef', 4, 5, 2, FALSE, 'uint8', '[]', '{}', '[]', 'now')",
    "INSERT INTO frame VALUES (1, 0, NULL), (1, 1, NULL)",
    "INSERT INTO source (pk, uid, micrograph_pk, sha256, position, file_name, path, size, format, reader,"
    " reader_version, ingested_at)"
    " VALUES (1, 'u3', 1, 'f00d', 0, 'a.dm3', '/x/a.dm3', 10, 'dm3', 'dm', '1', 'now')",
)


def test_an_old_database_is_upgraded_with_every_row(tmp_path):
    path = tmp_path / "lab.micdb"
    old_database(path)
    with pytest.raises(OldSchemaError):
        opening.open(path)
    assert opening.upgrade(path) is not None
    with opening.open(path) as db, reading(db.engine) as connection:
        assert differences(db.engine) == []
        assert connection.exec_driver_sql("SELECT count(*) FROM frame").scalar() == 2
        assert connection.exec_driver_sql("SELECT sha256, modified_ns FROM source").one() == ("f00d", None)
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
        assert db.images.to_pandas()["name"].tolist() == ["old"]


def test_an_upgrade_that_would_break_a_reference_changes_nothing(tmp_path):
    path = tmp_path / "lab.micdb"
    old_database(path)
    with sqlite3.connect(path / "catalog.sqlite") as connection:  # without foreign keys
        connection.execute("INSERT INTO frame VALUES (7, 0, NULL)")
    with pytest.raises(CatalogError, match="a row of frame refers to a row of micrograph that is not there"):
        opening.upgrade(path)
    with pytest.raises(OldSchemaError):
        opening.open(path)
    assert not list(path.glob("*.bak"))


def test_a_killed_init_is_no_hindrance(tmp_path):
    path = tmp_path / "lab.micdb"
    for name in ("objects", "parts", "indexes", "staging"):
        (path / name).mkdir(parents=True)
    (path / "staging" / "half.sqlite").write_bytes(b"")
    opening.init(path).close()
    (tmp_path / "other" / "objects").mkdir(parents=True)
    (tmp_path / "other" / "objects" / "mine").write_text("precious")
    with pytest.raises(UsageError, match="is a folder with files in it already"):
        opening.init(tmp_path / "other")


@pytest.fixture
def old_server(pg_server):
    """Return the address of a catalog of the first schema on a server, with the same rows."""
    url = pg_server.empty()
    engine = postgres_engine(url)
    fill_with_the_first_schema(engine)
    engine.dispose()
    yield url.render_as_string(hide_password=False)
    pg_server.drop(url)


def test_an_old_catalog_on_a_server_is_upgraded_with_every_row(old_server):
    with pytest.raises(OldSchemaError, match=r"has schema 0001, .* \(make a backup first: pg_dump\)"):
        opening.open(old_server)
    done = opening.upgrade(old_server)
    assert (done.before, done.after, done.backup) == ("0001", schema.HEAD, None)
    assert opening.upgrade(old_server) is None
    engine = postgres_engine(old_server)
    assert differences(engine) == []
    with reading(engine) as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM frame").scalar() == 2
        assert connection.exec_driver_sql("SELECT sha256, modified_ns FROM source").one() == ("f00d", None)
        old = connection.exec_driver_sql("SELECT name, colour, axes FROM micrograph").one()
        assert old == ("old", False, [])
    engine.dispose()


@pytest.mark.parametrize("kind", ["folder", "server"])
def test_an_upgrade_that_fails_half_way_leaves_nothing(kind, tmp_path, request):
    """The last revision finds its table there already: what the one before it did is undone as well."""
    if kind == "folder":
        address = tmp_path / "lab.micdb"
        old_database(address)
        engine = sqlite_engine(address / "catalog.sqlite")
    else:
        address = request.getfixturevalue("old_server")
        engine = postgres_engine(address)
    with writing(engine) as connection:
        connection.exec_driver_sql("CREATE TABLE setting (mine integer)")
    before = described(engine)
    with pytest.raises((CatalogError, ProgrammingError), match="setting"):
        opening.upgrade(address)
    assert described(engine) == before
    engine.dispose()


def described(engine):
    """Return every table with its columns, and the revision."""
    with reading(engine) as connection:
        inspector = inspect(connection)
        return schema.revision(connection), {
            name: [(column["name"], str(column["type"])) for column in inspector.get_columns(name)]
            for name in sorted(inspector.get_table_names())
        }


def test_two_that_make_the_schema_at_once_make_one(pg_server):
    """The second finds the work of the first done, and says so; it does not fail half-way."""
    url = pg_server.empty()
    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(schema.create, postgres_engine(url)) for _ in range(2)]
        errors = [one.exception() for one in asked]
    assert sorted(map(type, errors), key=str) == [type(None), UsageError]
    engine = postgres_engine(url)
    assert differences(engine) == []
    engine.dispose()
    pg_server.drop(url)
