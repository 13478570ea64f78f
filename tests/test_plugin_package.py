"""A reader in a package of its own: installed by pip, found by name, and unable to harm the others."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TOY = Path(__file__).parent / "plugins" / "micdb-toy"
IMAGE = "TOYIMG 1\nsize = 3 2\npixel_size = 0.5 um\nvoltage = 5 kV\ndata\n1 2 3\n4 5 6\n"


def call(*words, path, folder):
    """Run a module of Python in `folder`, with the packages at `path` installed."""
    run = subprocess.run(
        [sys.executable, "-m", *map(str, words)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(path)},
        capture_output=True,
        text=True,
    )
    return run.returncode, run.stdout + run.stderr


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Return the folder into which pip has installed the package."""
    folder = tmp_path_factory.mktemp("toy")
    shutil.copytree(TOY, folder / "source")  # building leaves files behind
    words = "pip install --quiet --no-deps --no-build-isolation --no-index --target"
    code, said = call(*words.split(), "site", "./source", path="", folder=folder)
    assert code == 0, said
    return folder / "site"


def formats(path, folder):
    code, said = call("micdb", "formats", "--json", path=path, folder=folder)
    assert code == 0, said
    return json.loads(said)


def test_it_is_listed_and_nothing_else_changes(installed, tmp_path):
    without, with_it = formats("", tmp_path), formats(installed, tmp_path)
    assert [row for row in with_it if row not in without] == [
        {
            "format": "toyimg",
            "title": "Toy microscope image",
            "extensions": ".toyimg",
            "reader": "toy",
            "extra": None,
            "ready": True,
            "tested": False,
            "trouble": None,
        }
    ]
    assert all(row in with_it for row in without)


def test_its_files_are_ingested(installed, tmp_path):
    (tmp_path / "a.toyimg").write_text(IMAGE)
    assert call("micdb", "init", "lab.micdb", path=installed, folder=tmp_path)[0] == 0
    code, said = call("micdb", "ingest", "a.toyimg", "--db", "lab.micdb", path=installed, folder=tmp_path)
    assert code == 0, said
    query = "pixel_size == 500 nm and accelerating_voltage == 5 kV"
    words = ("query", query, "--columns", "name,width,height", "--format", "csv", "--db", "lab.micdb")
    _, said = call("micdb", *words, path=installed, folder=tmp_path)
    assert said.splitlines()[1:] == ["a,3,2"], said


def test_its_contract_holds(installed, tmp_path):
    shutil.copy(TOY / "test_micdb_toy.py", tmp_path)
    code, said = call(
        "pytest", "-q", "-p", "no:cacheprovider", "test_micdb_toy.py", path=installed, folder=tmp_path
    )
    assert code == 0, said
    assert "passed" in said
    assert "skipped" not in said


@pytest.fixture
def broken(tmp_path):
    """Return a folder of plug-ins: one cannot be imported, one is no reader, one fails on every file."""
    site = tmp_path / "site"
    about = site / "broken-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(
        "[micdb.readers]\nlost = broken_lost:Reader\nwrong = broken_wrong:Wrong\nangry = broken_angry:Angry\n"
    )
    (site / "broken_lost.py").write_text("import a_package_that_is_not_there\n")
    (site / "broken_wrong.py").write_text("class Wrong:\n    pass\n")
    (site / "broken_angry.py").write_text(
        "from micdb.ingest.reader import Format, Reader\n"
        "class Angry(Reader):\n"
        "    name = 'angry'\n"
        "    formats = (Format('angry', 'Angry', ('.angry',)),)\n"
        "    @classmethod\n"
        "    def sniff(cls, path, head):\n"
        "        raise ValueError('no mood for this')\n"
        "    def read(self, path):\n"
        "        return []\n"
    )
    return site


def test_broken_plug_ins_stop_nobody_and_are_named(broken, tmp_path):
    from PIL import Image

    Image.new("L", (4, 3), 7).save(tmp_path / "a.png")
    (tmp_path / "strange.bin").write_bytes(b"\x01\x02strange")
    assert call("micdb", "init", "lab.micdb", path=broken, folder=tmp_path)[0] == 0
    ingest = ("micdb", "ingest", "--db", "lab.micdb")
    code, said = call(*ingest, "a.png", path=broken, folder=tmp_path)
    assert code == 0, said
    assert "1 new image" in said
    _, said = call(*ingest, "strange.bin", path=broken, folder=tmp_path)
    assert "reader 'angry' failed while looking at it (ValueError: no mood for this)" in said
    code, said = call("micdb", "formats", path=broken, folder=tmp_path)
    assert code == 0, said
    assert "reader 'lost' cannot be used: ModuleNotFoundError: No module named 'a_package_that_is_n" in said
    assert "reader 'wrong' cannot be used: ContractError: " in said
    assert "PNG" in said
    rows = {row["reader"]: row for row in formats(broken, tmp_path) if row["trouble"]}
    assert sorted(rows) == ["lost", "wrong"]
    assert "not a subclass of Reader" in rows["wrong"]["trouble"]
    assert rows["wrong"]["ready"] is False
