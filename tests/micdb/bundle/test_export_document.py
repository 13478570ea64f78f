"""docs/export.md: its blocks do what it says."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest

from micdb import cli
from micdb.bundle.export import FORMS
from micdb.ingest.sheet import read_map
from micdb.records import Quantity

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "export.md").read_text(encoding="utf-8")


def block(language):
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return found


def test_the_python_block_runs(lab, ramp):
    pytest.importorskip("xarray")
    pytest.importorskip("hyperspy.api")
    uid = lab.add(ramp((4, 5)), settings={"magnification": Quantity(100.0)})
    namespace = {"db": lab.db, "uid": uid}
    exec(block("python"), namespace)
    assert namespace["image"].uid == uid


def test_the_map_is_a_map(tmp_path):
    (tmp_path / "m.toml").write_text('file = "file"\nsample = "sample"\n' + block("toml"))
    names = {entry.name for entry in read_map(tmp_path / "m.toml").properties}
    assert names == {"atom_types", "is_simulation", "preparation_date"}


def test_the_command_exports(lab, ramp, tmp_path, monkeypatch, capsys):
    lab.add(ramp((4, 5)), acquired="2024-06-01T10:00:00")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MICDB_DB", str(lab.db.root))
    words = shlex.split(block("sh").replace("\\\n", " ").replace('material == "UHCS"', "width == 5"))
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 0, capsys.readouterr().err
    assert len(list((tmp_path / "strict").glob("*.nxs"))) == 1


def test_every_format_is_described():
    assert re.findall(r"^\| `([\w-]+)` \|", PAGE, re.MULTILINE)[1:] == list(FORMS)
