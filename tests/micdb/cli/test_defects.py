"""`micdb correct`, `micdb scorecard` and `micdb library`: each command once, and what people get wrong."""

from __future__ import annotations

import json

import pytest

from micdb import opening


@pytest.fixture(scope="module")
def stored(tmp_path_factory, defects):
    folder = tmp_path_factory.mktemp("cli")
    with opening.init(folder / "lab.micdb") as db:
        defects.sheets(folder / "sheets.emd", [{"Si1C3": 3, "vacancy": 2}, {"Si1C4": 1}])
        db.ingest(folder / "sheets.emd")
        db.populate("planted")
    return folder / "lab.micdb"


@pytest.fixture
def run(run, stored, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MICDB_DB", str(stored))
    return run


@pytest.fixture
def uids(stored):
    with opening.open(stored) as db:
        return db.defects.sort_values("uid").to_pandas()


def test_corrections_and_the_scorecard(run, uids, stored):
    assert "nobody has corrected anything: micdb correct --help" in run("scorecard").out
    vacancy = uids[uids["kind"] == "vacancy"]["uid"].tolist()
    accepted = json.loads(run("correct", "accept", vacancy[0], "--by", "Ada", "--json").out)
    assert [one["verb"] for one in accepted] == ["accept"]
    rejected = run("correct", "reject", vacancy[1])
    assert rejected.out.startswith(f"reject {vacancy[1]}; undo with ")
    silicon = uids[uids["formula"] == "Si1C3"]["uid"].tolist()
    relabelled = json.loads(run("correct", "relabel", silicon[0], "--kind", "adatom", "--json").out)[0]
    moved = run("correct", "move", relabelled["defect"], "--at", "50.5,60")
    assert "; undo with " in moved.out
    image = uids["image"][0]
    assert run("correct", "add", image, "--kind", "ring", "--at", "9,9").code == 0
    card = json.loads(run("scorecard", "--format", "json").out)["rows"]
    assert {row["kind"]: (row["right"], row["false"], row["missed"]) for row in card} == {
        "vacancy": (1, 1, 0), "substitution": (0, 1, 0), "adatom": (0, 0, 1), "ring": (0, 0, 1),
    }  # fmt: skip
    told = json.loads(run("correct", "history", "--format", "json").out)["rows"]
    assert [row["verb"] for row in told] == ["accept", "reject", "relabel", "move", "add"]
    for row in reversed(told):
        assert run("correct", "undo", row["uid"]).code == 0
    with opening.open(stored) as db:
        assert db.defects.sort_values("uid").to_pandas().equals(uids)
    assert run("scorecard").out.count("planted") == 0


def test_the_library(run, uids, tmp_path):
    assert "the library is empty: micdb library build" in run("library", "list").out
    assert run("library", "build").out == "5 defects in motifs, 1 in none; 2 new: Si1C3, V1\n"
    assert json.loads(run("library", "build", "--rare", 1, "--json").out)["proposed"] == ["Si1C4"]
    table = run("library", "list").out
    assert "1/nm**2" in table
    assert "Si1C3" in table
    assert "<motif 'hole' (proposed): 2 defects in 1 images>" in run("library", "rename", "V1", "hole").out
    assert "(accepted)" in run("library", "accept", "hole").out
    merged = run("library", "merge", "Si1C3", "Si1C4", "--into", "silicon").out
    assert "<motif 'silicon' (accepted): 4 defects in 2 images>" in merged
    parts = run("library", "split", "silicon", "--rare", 1).out.splitlines()
    assert len(parts) == 2
    page = run("library", "page", "--where", 'name == "sheet000"', "--title", "One sheet")
    assert page.out == "library.html\n"
    assert "One sheet" in (tmp_path / "library.html").read_text()
    assert run("library", "export", "out").code == 0
    assert (tmp_path / "out" / "figure-1.pdf").exists()
    assert run("library", "retire", "hole").out == "hole is retired\n"
    examples = uids[uids["kind"] == "vacancy"]["uid"].tolist()
    assert "2 defects in 1 images" in run("library", "add", "mine", *examples).out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["correct", "accept", "x"], "there is no defect 'x': db.defects has the uids"),
        (["correct", "carry", "x"], "x has no run here"),
        (["correct", "move", "x", "--at", "3"], "--at is '3'; write x,y in pixels, for example 101.5,64"),
        (["correct", "undo", "x"], "there is no correction 'x': db.corrections.history() has their uids"),
        (["correct", "relabel", "x"], "Missing option '--kind'; see: micdb correct relabel --help"),
        (["library", "split", "nothing"], "there is no motif 'nothing'"),
        (["library", "merge", "x", "--into", "x"], "merging takes two motifs or more, not x"),
        (["scorecard", "--level", "95"], "--level is 95; expected a probability between 0 and 1"),
    ],
)
def test_mistakes_are_one_line(run, arguments, said):
    done = run(*arguments)
    assert done.code == 2
    assert done.err.startswith(f"micdb: {said}")
    assert done.err.count("\n") == 1
