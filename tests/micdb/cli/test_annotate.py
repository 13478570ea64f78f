"""`micdb annotate`: each command once, and what people get wrong."""

from __future__ import annotations

import json

import numpy as np
import pytest

from micdb import opening


@pytest.fixture
def run(run, tmp_path, monkeypatch):
    from PIL import Image

    Image.fromarray(np.random.default_rng(0).integers(0, 255, (20, 30), np.uint8)).save(
        tmp_path / "steel.png"
    )
    with opening.init(tmp_path / "lab.micdb") as db:
        db.ingest(tmp_path / "steel.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MICDB_DB", str(tmp_path / "lab.micdb"))
    return run


def test_in_and_out(run, tmp_path):
    np.save(tmp_path / "steel_mask.npy", np.arange(600).reshape(20, 30) % 2 * 128)
    read = run("annotate", "read", "steel_mask.npy", "--classes", "0=ferrite, 128=pearlite", "--by", "Ada")
    assert read.out.strip() == "1 masks of 1 images"
    (row,) = json.loads(run("annotate", "list", "--format", "json").out)["rows"]
    assert (row["name"], row["classes"], row["by"]) == ("steel", "ferrite, pearlite", "Ada")
    assert run("annotate", "write", "out", "--format", "labelme").out.strip() == "1 files in out"
    again = json.loads(run("annotate", "read", "out", "--json").out)
    assert [one["kind"] for one in again] == ["phases"]
    assert run("annotate", "undo", again[0]["uid"]).code == 0
    assert json.loads(run("annotate", "list", "--format", "json").out)["rows"] == [row]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["read", "nowhere"], "there is no file or folder nowhere"),
        (["read", "steel.png", "--classes", "a=ferrite"], "--classes is 'a=ferrite'; write names in order"),
        (["write", "out"], "nothing is drawn"),
        (["undo", "x"], "there is no drawing 'x'"),
    ],
)
def test_what_goes_wrong_is_said(run, arguments, said):
    failed = run("annotate", *arguments)
    assert failed.code == 2
    assert said in " ".join(failed.err.split())
