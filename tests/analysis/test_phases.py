"""From strokes that an expert drew to fractions that are asked for: the whole way."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from micdb import cli, opening
from micdb.embed.simulate.microstructures.fields import two_phase
from micdb.embed.simulate.microstructures.sem import Detector, scan
from micdb.embed.simulate.microstructures.view import View
from micdb.errors import UsageError

FRACTIONS = (0.2, 0.35, 0.5)


@pytest.fixture
def run(run):
    def call(*arguments):
        said = run(*arguments)
        assert said.code == 0, said.err
        return said.out

    return call


def test_from_strokes_to_fractions(tmp_path, monkeypatch, run):
    (tmp_path / "images").mkdir()
    scenes = [
        two_phase(View((128, 160), 10.0), length=200.0, seed=one, fraction=share)
        for one, share in enumerate(FRACTIONS)
    ]
    for number, made in enumerate(scenes):
        pixels = scan(made, Detector(electrons=60.0), seed=number)
        Image.fromarray(pixels).save(tmp_path / "images" / f"steel{number}.png")
    with opening.init(tmp_path / "lab.micdb") as db:
        db.ingest(tmp_path / "images")
        uids = db.images.sort_values("name").to_pandas()["uid"].tolist()
        for one in (0, 2):
            strokes = np.full(scenes[one].label.shape, -1)
            strokes[::12] = scenes[one].label[::12]
            db.annotations.draw(uids[one], strokes, classes=("ferrite", "pearlite"))
    monkeypatch.setattr("micdb.embed.train.segment.SIDE", 64)  # a quarter of the time
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MICDB_DB", str(tmp_path / "lab.micdb"))
    assert "segment.safetensors" in run(
        "train", "segment", "--from-annotations", "--out", "own", "--steps", 40
    )
    (told,) = json.loads(run("populate", "segment", "--set", "weights=own/segment.safetensors", "--json"))
    assert told["progress"]["done"] == 3, told
    with opening.open(tmp_path / "lab.micdb") as db:
        im = db.images
        pearlite = im.phases[im.phases.phase == "pearlite"]
        found = im.assign(share=pearlite.mean("fraction")).sort_values("name").to_pandas()["share"]
        truth = [made.fractions()["second phase"] for made in scenes]
        assert found.tolist() == pytest.approx(truth, abs=0.08)
        assert im[pearlite.mean("fraction") > 0.48].count() == 1
        assert (db.mask(uids[1]).labels == scenes[1].label).mean() > 0.9
        with pytest.raises(UsageError, match=f"no run drew particles on frame 0 of {uids[1]}: see db.masks"):
            db.mask(uids[1], "particles")


def test_without_drawings_there_is_nothing_to_learn(tmp_path, monkeypatch, capsys):
    opening.init(tmp_path / "lab.micdb").close()
    monkeypatch.setenv("MICDB_DB", str(tmp_path / "lab.micdb"))
    monkeypatch.setattr(
        "sys.argv", ["micdb", "train", "segment", "--from-annotations", "--out", str(tmp_path)]
    )
    with pytest.raises(SystemExit):
        cli.main()
    assert "nobody has drawn phases: bring masks in with micdb annotate read" in capsys.readouterr().err
