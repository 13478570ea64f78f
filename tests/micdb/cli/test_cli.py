"""The command line as a person meets it: answers, and one clear line for every mistake."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from micdb import database, opening
from micdb.catalog.engine import CATALOG, sqlite_engine, writing


@pytest.fixture
def run(run, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MICDB_DB", raising=False)
    return run


def texture(seed, size=160):
    rng = np.random.default_rng(seed)
    rough = rng.normal(size=(size // 8, size // 8))
    image = np.kron(rough, np.ones((8, 8))) + 0.1 * rng.normal(size=(size, size))
    return (128 + 40 * np.clip(image, -3, 3)).astype(np.uint8)


def write_tiff(path, seed, pixel_size_um=0.2):
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = {"unit": "um"}
    scale = 1 / pixel_size_um
    tifffile.imwrite(path, texture(seed), imagej=True, resolution=(scale, scale), metadata=metadata)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with files of six images of three samples, and a database of them."""
    home = tmp_path_factory.mktemp("cli")
    for number in range(6):
        write_tiff(home / "scans" / f"im{number}.tif", number)
    rows = [f"im{n}.tif,S{n // 2},{800 + 50 * (n // 2)}" for n in range(6)]
    sheet, map_ = home / "samples.csv", home / "map.toml"
    sheet.write_text("file,sample,anneal_C\n" + "\n".join(rows) + "\n")
    map_.write_text(
        'file = "file"\nsample = "sample"\nmaterial = { value = "UHCS" }\n'
        '[[step]]\nkind = "anneal"\ntemperature = { column = "anneal_C", unit = "degC" }\n'
    )
    with opening.init(home / "lab.micdb") as db:
        db.ingest(home / "scans", lab="Lab A", sheet=sheet, map=map_)
    return home


@pytest.fixture
def lab(place, tmp_path):
    """The database in a copy of that folder."""
    shutil.copytree(place, tmp_path, dirs_exist_ok=True)
    return tmp_path / "lab.micdb"


def test_the_whole_path(run, place):
    for name in ("scans", "samples.csv", "map.toml"):
        Path(name).symlink_to(place / name)
    lab = "new.micdb"
    assert run("init", lab)[0] == 0
    sheet = ["--sheet", "samples.csv", "--map", "map.toml"]
    code, out, err = run("ingest", "scans", "--db", lab, "--lab", "Lab A", *sheet)
    assert code == 0, err
    assert "6 new images" in out
    code, out, _ = run("populate", "texture", "--db", lab, "--workers", 1, "--json")
    assert code == 0
    assert json.loads(out)[0]["progress"]["done"] == 6
    text = 'material == "UHCS" and pixel_size < 0.5 um'
    columns = ["--columns", "name,pixel_size,anneal_temperature", "--format", "csv"]
    code, out, err = run("query", text, *columns, "--db", lab)
    assert code == 0, err
    rows = list(csv.DictReader(io.StringIO(out)))
    assert len(rows) == 6
    assert float(rows[0]["pixel_size [nm]"]) == pytest.approx(200)
    assert {float(row["anneal_temperature [degC]"]) for row in rows} == {800, 850, 900}
    code, out, err = run(
        "similar", "scans/im3.tif", "-k", 3, "--where", 'lab == "Lab A"', "--db", lab, "--json"
    )
    assert code == 0, err
    found = json.loads(out)["rows"]
    assert found[0]["name"] == "im3"
    assert found[0]["similarity"] == pytest.approx(1, abs=1e-5)
    assert len(found) == 3
    code, out, _ = run("fsck", "--deep", "--db", lab)
    assert code == 0


def test_ingest_twice_adds_nothing_and_says_so(run, lab):
    code, out, _ = run("ingest", "scans", "--db", lab, "--json")
    counts = json.loads(out)
    assert code == 0
    assert counts["new_images"] == 0
    assert counts["known"] == 6


def test_query_as_json_carries_units(run, lab):
    code, out, _ = run("query", "width > 0", "--columns", "name,pixel_size", "--db", lab, "--json")
    answer = json.loads(out)
    assert code == 0
    assert answer["units"]["pixel_size"] == "nm"
    assert len(answer["rows"]) == 6


def test_a_table_shows_units_and_cuts_nothing(run, lab):
    name = "x" * 120
    write_tiff(lab.parent / "more" / f"{name}.tif", 99)
    assert run("ingest", "more", "--db", lab)[0] == 0
    code, out, err = run("query", "width > 0", "--columns", "name,pixel_size", "--db", lab)
    assert code == 0, err
    assert "pixel_size [nm]" in out
    assert name in out
    assert "7 rows" in out


def test_fsck_says_what_it_looked_at(run, lab):
    code, out, _ = run("fsck", "--db", lab)
    assert code == 0
    assert out.startswith("clean (looked at ")
    next((lab / "objects").rglob("*.nxs")).unlink()
    code, out, _ = run("fsck", "--db", lab)
    assert code == 1
    assert "error: object-missing" in out
    assert "1 findings left" in out


def test_sort_limit_and_the_environment(run, lab, monkeypatch):
    monkeypatch.setenv("MICDB_DB", str(lab))
    code, out, err = run(
        "query", "pixel_size < 1 um", "--sort", "-name", "--limit", 2, "--columns", "name", "--format", "csv"
    )
    assert code == 0, err
    assert out.split() == ["name", "im5", "im4"]


def test_doctor_names_what_is_missing(run):
    code, out, _ = run("doctor", "--json")
    facts = json.loads(out)
    assert code == 0
    assert "texture" in facts["micdb"]["extractors"]
    torch = facts["extras"]["torch"]
    assert torch == "installed" or "pip install 'micdb[embed]'" in torch


# Every mistake: the command, and what its one line must say.
MISTAKES = {
    "no database named": (["query", "width > 0"], r"which database\? add --db"),
    "missing database": (
        ["query", "width > 0", "--db", "no.micdb"],
        "make one with: micdb init no.micdb",
    ),
    "init over something": (["init", "lab.micdb"], "already; give a new name"),
    "missing file": (["ingest", "nothing.tif", "--db", "lab.micdb"], "nothing.tif does not exist"),
    "empty file": (["ingest", "empty.tif", "--db", "lab.micdb"], "empty"),
    "no images": (
        ["ingest", "texts", "--db", "lab.micdb"],
        "texts holds no image micdb can read, among 1 file; the first, a.txt: ",
    ),
    "empty folder": (["ingest", "void", "--db", "lab.micdb"], "void holds no file"),
    "sheet without map": (
        ["ingest", "scans", "--sheet", "samples.csv", "--db", "lab.micdb"],
        "--map is missing",
    ),
    "missing sheet": (
        ["ingest", "scans", "--sheet", "no.csv", "--map", "map.toml", "--db", "lab.micdb"],
        "no.csv",
    ),
    "unknown column": (["query", "pixel_sise < 1 um", "--db", "lab.micdb"], "did you mean pixel_size"),
    "unknown column to print": (
        ["query", "width > 0", "--columns", "nam", "--db", "lab.micdb"],
        "did you mean name",
    ),
    "unit typo": (["query", "pixel_size < 1 nn", "--db", "lab.micdb"], "unknown unit 'nn'"),
    "wrong dimension": (["query", "pixel_size < 1 kg", "--db", "lab.micdb"], r"kg"),
    "no unit": (["query", "pixel_size < 1", "--db", "lab.micdb"], "nm"),
    "unfinished query": (["query", "pixel_size <", "--db", "lab.micdb"], "expected"),
    "unknown format": (
        ["query", "width > 0", "--format", "xml", "--db", "lab.micdb"],
        "table, csv, json",
    ),
    "unknown extractor": (["populate", "textur", "--db", "lab.micdb"], "did you mean texture"),
    "unknown parameter": (["populate", "texture", "--set", "x=1", "--db", "lab.micdb"], "no parameter 'x'"),
    "parameter without value": (
        ["populate", "texture", "--set", "x", "--db", "lab.micdb"],
        "write name=value",
    ),
    "negative workers": (["populate", "texture", "--workers", "-1", "--db", "lab.micdb"], "workers is -1"),
    "negative k": (["similar", "scans/im0.tif", "-k", "-3", "--db", "lab.micdb"], "k is -3|-3"),
    "not populated": (["similar", "scans/im0.tif", "--db", "lab.micdb"], "micdb populate texture"),
    "missing example": (["similar", "no.tif", "--db", "lab.micdb"], "no.tif"),
    "box is no box": (
        ["similar", "scans/im0.tif", "--box", "1,2,3", "--db", "lab.micdb"],
        "x,y,width,height",
    ),
    "formula without target": (["link", "embedding('texture')", "--db", "lab.micdb"], "~"),
    "unknown target": (["link", "hardnes ~ width", "--db", "lab.micdb"], "hardnes"),
    "unknown option": (["query", "width > 0", "--frob"], "--frob.*micdb query --help"),
    "missing argument": (["query"], "(?i)missing argument.*micdb query --help"),
    "unknown command": (["qeury"], "qeury"),
    "number that is none": (["similar", "scans/im0.tif", "-k", "three"], "valid integer"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_gives_one_line_and_exit_code_2(name, run, lab, tmp_path):
    (tmp_path / "empty.tif").touch()
    (tmp_path / "void").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("hello, world")
    arguments, message = MISTAKES[name]
    code, out, err = run(*arguments)
    assert code == 2
    assert out == ""
    assert err.startswith("micdb: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    import re

    assert re.search(message, err), err


def test_a_box_outside_the_image(run, lab):
    run("populate", "texture", "--db", lab, "--workers", 1)
    code, _, err = run("similar", "scans/im0.tif", "--box", "100,100,128,128", "--db", lab)
    assert code == 2
    assert "160" in err
    assert "box" in err


def test_too_few_groups(run, lab):
    run("populate", "texture", "--db", lab, "--workers", 1)
    code, _, err = run("link", 'anneal_temperature ~ embedding("texture")', "--groups", "sample", "--db", lab)
    assert code == 2
    assert "3 independent groups" in err


def test_a_newer_database(run, lab):
    with writing(sqlite_engine(lab / CATALOG)) as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    code, _, err = run("query", "width > 0", "--db", lab)
    assert code == 2
    assert "pip install --upgrade micdb" in err


def test_a_real_process_prints_no_traceback_and_no_progress_in_a_pipe(lab, tmp_path):
    command = [sys.executable, "-m", "micdb", "ingest", "nothing.tif", "--db", str(lab)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "micdb: nothing.tif does not exist; give a file or a folder with micrographs\n"
    command = [sys.executable, "-m", "micdb", "ingest", "scans", "--db", str(lab)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stderr == ""


@pytest.mark.parametrize("command", ["upgrade", "query", "fsck"])
def test_a_damaged_catalog(command, run, lab):
    (lab / "catalog.sqlite").write_bytes(b"no catalog" * 1000)
    code, out, err = run(command, *(["width > 1"] if command == "query" else []), "--db", lab)
    assert (code, out) == (2, "")
    assert "restore it from a backup" in err
    assert err.count("\n") == 1


def test_what_the_disk_refuses_is_one_line(run, tmp_path):
    (tmp_path / "file").touch()
    code, out, err = run("init", "file/lab.micdb")
    assert (code, out) == (2, "")
    assert err.startswith("micdb: file/lab.micdb")
    assert err.endswith("Not a directory; mend that and run the same command again\n")


def test_an_interrupt_is_one_line_and_exit_code_130(run, lab, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(database.Database, "ingest", interrupted)
    code, out, err = run("ingest", "scans", "--db", lab)
    assert (code, out) == (130, "")
    assert err == "micdb: interrupted; what was finished is kept, and the same command goes on from there\n"


def test_a_demo_on_images_without_atoms_writes_its_report(run, tmp_path):
    write_tiff(tmp_path / "own" / "one.tif", 0)
    code, _, err = run("demo", "--data", "own")
    assert (code, err) == (0, "")
    assert (tmp_path / "report.html").is_file()
