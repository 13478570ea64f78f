"""A database on a server is made, opened and used like a folder, and never mistaken for another."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import sqlalchemy as sa
import tifffile

import micdb
from micdb import opening
from micdb.catalog.engine import open_engine, place, writing
from micdb.errors import (
    CatalogError,
    ForeignDatabaseError,
    NotFoundError,
    OldSchemaError,
    StoreError,
    UsageError,
)
from micdb.store.folder import NOTE


@pytest.fixture
def empty(pg_server):
    """Return the address of a database without tables, as a user writes it."""
    url = pg_server.empty()
    yield url.set(drivername="postgresql").render_as_string(hide_password=False)
    pg_server.drop(url)


@pytest.fixture
def served(empty, tmp_path):
    """Make a database on a server; return its address."""
    micdb.init(empty, folder=tmp_path / "lab.files").close()
    return empty


def change(address, statement):
    engine = open_engine(sa.make_url(address))
    with writing(engine) as connection:
        connection.exec_driver_sql(statement)
    engine.dispose()


def test_it_is_made_and_opened_by_its_address(empty, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with micdb.init(empty, folder="lab.files") as db:
        assert db.images.count() == 0
    folder = tmp_path / "lab.files"
    assert sorted(path.name for path in folder.iterdir()) == [NOTE, "indexes", "objects", "parts", "staging"]
    monkeypatch.chdir("/")
    for how in (micdb.connect, micdb.open):
        with how(empty) as db:
            assert db.root == folder
            assert repr(db) == f"<micdb database {place(db.engine)!r}: 0 images>"


def test_it_is_not_made_twice(served, tmp_path):
    with pytest.raises(UsageError, match="is a micdb database already; give the name of an empty database"):
        micdb.init(served, folder=tmp_path / "other.files")
    assert not (tmp_path / "other.files").exists()
    with micdb.connect(served) as db:
        assert db.root == tmp_path / "lab.files"


def test_it_is_not_made_among_the_tables_of_others(empty, tmp_path):
    change(empty, "CREATE TABLE wine (pk integer)")
    with pytest.raises(UsageError, match="holds the tables wine; give the name of an empty database"):
        micdb.init(empty, folder=tmp_path / "lab.files")
    assert not (tmp_path / "lab.files").exists()
    with pytest.raises(
        ForeignDatabaseError, match="holds the tables wine; make one with: micdb init ADDRESS"
    ):
        micdb.open(empty)


def test_it_is_not_made_in_a_folder_with_files(empty, tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(UsageError, match="is a folder with files in it already"):
        micdb.init(empty, folder=tmp_path)
    with pytest.raises(UsageError, match=r'say where they go with folder="DIR" \(micdb init: --folder DIR\)'):
        micdb.init(empty)
    with pytest.raises(
        ForeignDatabaseError, match="it is empty; make one with: micdb init ADDRESS --folder DIR"
    ):
        micdb.open(empty)
    with pytest.raises(UsageError, match="folder= is for a catalog on a server"):
        micdb.init(tmp_path / "x.micdb", folder=tmp_path)


def test_a_server_that_is_not_there_leaves_no_folder(pg_server, tmp_path):
    address = pg_server.empty()
    pg_server.drop(address)
    with pytest.raises(CatalogError, match="no such database"):
        micdb.init(address.render_as_string(hide_password=False), folder=tmp_path / "lab.files")
    assert not (tmp_path / "lab.files").exists()


def test_files_may_be_mounted_elsewhere(served, tmp_path, monkeypatch):
    moved = (tmp_path / "lab.files").rename(tmp_path / "mounted")
    with pytest.raises(
        NotFoundError, match=r"keeps its files in .*lab\.files, which is not there: mount it, or say"
    ):
        micdb.connect(served)
    with micdb.connect(served, folder=moved) as db:
        assert db.root == moved
    monkeypatch.setenv("MICDB_FOLDER", str(moved))
    with micdb.open(served) as db:
        assert db.root == moved


def test_the_files_of_another_are_refused(served, pg_server, tmp_path):
    other = pg_server.empty()
    micdb.init(other.render_as_string(hide_password=False), folder=tmp_path / "other.files").close()
    with pytest.raises(UsageError, match=r"other\.files holds the files of postgresql://.*, not those of"):
        micdb.connect(served, folder=tmp_path / "other.files")
    pg_server.drop(other)
    with pytest.raises(UsageError, match=f"does not hold the files of .*: there is no {NOTE} in it"):
        micdb.connect(served, folder=tmp_path)
    (tmp_path / "other.files" / NOTE).write_text("{}")
    with pytest.raises(StoreError, match=f"{NOTE} cannot be read"):
        micdb.connect(served, folder=tmp_path / "other.files")


def test_the_folder_says_whose_it_is(served, tmp_path):
    with pytest.raises(UsageError, match=r"lab\.files holds the files of postgresql://.*; open that instead"):
        micdb.open(tmp_path / "lab.files")


def test_a_catalog_without_its_settings_is_refused(served):
    change(served, "DELETE FROM setting WHERE name = 'folder'")
    with pytest.raises(ForeignDatabaseError, match="does not know the folder of its files"):
        micdb.connect(served)


def test_an_old_one_is_refused_with_the_command_and_never_shows_a_password(served):
    change(served, "UPDATE alembic_version SET version_num = '0001'")
    address = sa.make_url(served).set(password="s3cret").render_as_string(hide_password=False)
    with pytest.raises(
        OldSchemaError, match=r"make a backup first: pg_dump\) with: micdb upgrade --db postgresql://"
    ) as e:
        micdb.connect(address)
    assert "s3cret" not in str(e.value)


def test_upgrade_of_a_current_one_does_nothing(served):
    assert opening.upgrade(served) is None


# ---------------------------------------------------------------------- the command line


@pytest.fixture
def run(run, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    return run


def test_the_commands_take_an_address(run, empty, tmp_path, monkeypatch):
    """The whole path: forty files, two processes each time, and the folder is not taken for data."""
    random = np.random.default_rng(0)
    scans = tmp_path / "scans"
    scans.mkdir()
    for number in range(40):
        pixels = random.integers(0, 255, (96, 96)).astype(np.uint8)
        tifffile.imwrite(
            scans / f"im{number}.tif", pixels, imagej=True, resolution=(5, 5), metadata={"unit": "um"}
        )
    code, out, _ = run("init", empty, "--folder", scans / "lab.files")
    assert (code, out.startswith("made postgresql://")) == (0, True)
    monkeypatch.setenv("MICDB_DB", empty)
    code, out, _ = run("ingest", scans, "--workers", 2, "--json")
    assert code == 0
    assert json.loads(out)["new_images"] == 40
    code, out, _ = run("ingest", scans, "--json")
    assert (json.loads(out)["new_images"], json.loads(out)["files"]) == (0, 40)
    code, out, _ = run("populate", "texture", "--workers", 2, "--json")
    assert json.loads(out)[0]["added"] == 40
    assert json.loads(out)[0]["progress"]["done"] == 40
    code, out, _ = run("query", "pixel_size < 1 um", "--columns", "uid,name", "--sort", "name", "--json")
    rows = json.loads(out)["rows"]
    assert [row["name"] for row in rows] == sorted(f"im{number}" for number in range(40))
    code, out, _ = run("similar", rows[7]["uid"], "-k", 3, "--columns", "name", "--json")
    found = json.loads(out)["rows"]
    assert (found[0]["name"], len(found)) == (rows[7]["name"], 3)
    code, out, _ = run("fsck", "--deep", "--json")
    assert (code, json.loads(out)["findings"]) == (0, [])
    assert run("upgrade")[1].endswith("is up to date\n")
    assert run("doctor")[0] == 0


def test_a_mistake_is_one_line_without_the_password(run, empty):
    secret = sa.make_url(empty).set(password="s3cret").render_as_string(hide_password=False)
    for arguments in (
        ("query", "width > 1", "--db", secret),
        ("init", secret),
        ("fsck", "--db", "postgresql://ada:s3cret@127.0.0.1:1/lab"),
        ("query", "x", "--db", "postgresql://ada:s3cret@127.0.0.1"),
    ):
        code, out, err = run(*arguments)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert "s3cret" not in err


def test_a_copied_folder_goes_with_its_copied_catalog(served, pg_server, tmp_path):
    """A backup of both, brought back under other names, is opened by saying where the folder is."""
    shutil.copytree(tmp_path / "lab.files", tmp_path / "backup.files")
    copy = f"{sa.make_url(served).database}_copy"
    pg_server.say(f'CREATE DATABASE "{copy}" TEMPLATE "{sa.make_url(served).database}"')
    address = sa.make_url(served).set(database=copy)
    with micdb.connect(address.render_as_string(hide_password=False), folder=tmp_path / "backup.files") as db:
        assert db.root == tmp_path / "backup.files"
    pg_server.drop(address)
