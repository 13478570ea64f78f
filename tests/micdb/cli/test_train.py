"""`micdb train`: weights and their card in a folder, or one line of what is wrong."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import pytest
import tifffile

from micdb import cli, opening
from micdb.embed.simulate.stm_defects import defect_topograph

pytest.importorskip("torch")


@pytest.fixture
def micdb(capsys, monkeypatch, tmp_path):
    """Run `micdb train` in this process, in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["micdb", "train", *arguments])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        out, err = capsys.readouterr()
        return SimpleNamespace(returncode=stop.value.code, stdout=out, stderr=err)

    return call


def test_a_short_training_leaves_weights_with_a_card(micdb, tmp_path):
    run = micdb("stem-atoms", "--steps", "2", "--seed", "7", "--json")
    assert run.returncode == 0, run.stderr
    card = json.loads(run.stdout)
    assert card == json.loads((tmp_path / "stem-atoms.json").read_text(encoding="utf-8"))
    assert card["recipe"]["steps"] == 2
    assert card["recipe"]["seed"] == 7
    assert any("F1" in value for value in card["measured"].values())
    assert (tmp_path / "stem-atoms.safetensors").stat().st_size > 1000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["stem-atoms.json", "stem-atoms.safetensors"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["stem-atom"], "micdb: there is no recipe 'stem-atom'; did you mean stem-atoms?"),
        (["stem-atoms", "--steps", "0"], "micdb: steps is 0; at least 1 is needed"),
        (
            ["abf-tilts"],
            "micdb: abf-tilts learns from a bank that is simulated once (1,575 crystals, about 10 minutes of "
            "one processor and 80 MB): name a folder for it, bank= or --bank; one that is there already is "
            "used, one that is not finished goes on",
        ),
    ],
)
def test_mistakes_are_one_line(micdb, tmp_path, arguments, said):
    run = micdb(*arguments)
    assert run.returncode == 2
    assert run.stderr.strip() == said
    assert not list(tmp_path.iterdir())


def test_corrected_images_teach_a_detector(micdb, tmp_path):
    """From a topograph to corrections to weights to answers in the words of the person."""
    made = defect_topograph((192, 192), pixel_size=0.2, seed=3, diameter=3.0, contrast=30.0)
    resolution = (1 / 0.2, 1 / 0.2)
    tifffile.imwrite(
        tmp_path / "scan.tif", made.image, imagej=True, resolution=resolution, metadata={"unit": "nm"}
    )
    with opening.init(tmp_path / "lab.micdb") as db:
        db.ingest(tmp_path / "scan.tif")
        db.populate("stm-defects")
        found = db.defects.to_pandas()["uid"].tolist()
        assert len(found) >= 3
        asked = ("stm-defects", "--from-annotations", "--db", "lab.micdb", "--out", "mine", "--steps", "20")
        early = micdb(*asked)
        db.corrections.relabel(found, "Se vacancy")
        run = micdb(*asked)
        assert run.returncode == 0, run.stderr
        db.populate("stm-defects", parameters={"weights": str(tmp_path / "mine" / "stm-defects.safetensors")})
        assert set(db.defects.to_pandas()["kind"]) == {"Se vacancy"}
    assert early.returncode == 2
    assert (
        "no image of known scale in which every answer of stm-defects is judged; 0 are begun" in early.stderr
    )
