"""`micdb formats`: the table of everything that can be read."""

from __future__ import annotations

import json
import sys

import pytest
from rich.console import Console

from micdb.cli import main, output
from micdb.ingest import known_formats
from micdb.ingest.known_formats import formats
from micdb.ingest.reader import Format, readers


@pytest.fixture
def run(capsys, monkeypatch):
    def call(*words):
        monkeypatch.setattr(sys, "argv", ["micdb", *words])
        with pytest.raises(SystemExit) as stop:
            main()
        return stop.value.code, *capsys.readouterr()

    return call


@pytest.fixture
def absent(monkeypatch):
    """Make optional packages look as if they were not installed."""

    def hide(*modules: str) -> None:
        find = known_formats.find_spec
        monkeypatch.setattr(known_formats, "find_spec", lambda name: None if name in modules else find(name))

    return hide


def test_every_format_of_every_reader_has_a_row():
    table = formats()
    expected = {(name, known.name) for name, reader in readers() for known in reader.formats}
    assert set(zip(table["reader"], table["format"], strict=True)) == expected
    assert len(table) == len(expected)
    assert table["title"].str.lower().is_monotonic_increasing
    row = table[table["format"] == "sxm"].iloc[0]
    assert row["extensions"] == ".sxm"
    assert row["ready"]
    assert row["tested"]


def test_names_of_formats_are_unique_within_a_reader():
    for name, reader in readers():
        assert len({known.name for known in reader.formats}) == len(reader.formats), name


def test_a_missing_extra_is_named_with_its_install_line(run, absent):
    absent("av")
    code, out, _ = run("formats")
    assert code == 0
    assert "video (movies missing)" in out
    assert "missing: pip install 'micdb[movies]'" in out
    assert "micdb[nd2]" not in out
    rows = {row["format"]: row for row in json.loads(run("formats", "--json")[1])}
    assert rows["avi"]["ready"] is False
    assert rows["avi"]["extra"] == "movies"
    assert rows["png"]["ready"] is True
    assert rows["png"]["extra"] is None


def test_json_is_the_same_table(run):
    code, out, _ = run("formats", "--json")
    assert code == 0
    rows = json.loads(out)
    assert list(rows[0]) == list(formats().columns)
    assert len(rows) == len(formats())


def test_table_fits_a_hundred_columns(run, monkeypatch):
    monkeypatch.setattr(output, "console", lambda: Console(width=100, force_terminal=True, color_system=None))
    _, out, _ = run("formats")
    assert max(len(line) for line in out.splitlines()) <= 100
    assert "Nanonis" in out


@pytest.mark.parametrize("said", [ImportError("no\nsuch thing"), ValueError("[red]odd[/red]")])
def test_a_reader_that_cannot_be_had_is_a_line(run, monkeypatch, said):
    registry = readers()
    get = type(registry).get

    def refuse(self, name):
        if name == "raster":
            raise said
        return get(self, name)

    monkeypatch.setattr(type(registry), "get", refuse)
    code, out, _ = run("formats")
    assert code == 0
    assert f"reader 'raster' cannot be used: {type(said).__name__}: {' '.join(str(said).split())}" in out
    assert "Nanonis" in out
    assert "PNG" not in out


def test_formats_that_are_no_formats_are_a_line(monkeypatch):
    monkeypatch.setattr(readers().get("nanonis"), "formats", (Format("a", "A", (".a",)), ("b", "B")))
    rows = formats()[lambda table: table["reader"] == "nanonis"]
    assert len(rows) == 1
    assert "AttributeError" in rows["trouble"].iloc[0]
