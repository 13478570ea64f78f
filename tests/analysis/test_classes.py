"""From a handful of labels to classes that are asked for, and to what to label next: the whole way."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from micdb import opening
from micdb.embed.simulate.microstructures.scenes import SCENES
from micdb.embed.simulate.microstructures.sem import Detector, scan
from micdb.embed.simulate.microstructures.view import View
from micdb.errors import UnknownColumnError, UsageError

LENGTH = {"pearlite": 90.0, "spheroidite": 150.0}  # [nm]
SPECIMENS, IMAGES, UNLABELLED = 4, 2, 4
MAP = """
file = "file"
sample = "sample"
[pixel_size]
value = 10
unit = "nm"
[label.constituent]
column = "constituent"
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """Eight specimens of two images each, labelled, and four images that nobody labelled."""
    folder = tmp_path_factory.mktemp("classes")
    (folder / "images").mkdir()
    rows = ["file,sample,constituent"]
    for number, kind in enumerate(LENGTH):
        for one in range(SPECIMENS * IMAGES + UNLABELLED // 2):
            name, seed = f"{kind}{one}.png", 100 * number + one
            scene = SCENES[kind](View((128, 128), 10.0), LENGTH[kind], seed)
            Image.fromarray(scan(scene, Detector(electrons=80.0), seed=seed)).save(folder / "images" / name)
            labelled = one < SPECIMENS * IMAGES
            rows.append(f"{name},{kind}-{one // IMAGES},{kind if labelled else ''}")
    (folder / "sheet.csv").write_text("\n".join(rows))
    (folder / "map.toml").write_text(MAP)
    with opening.init(folder / "lab.micdb") as db:
        db.ingest(folder / "images", sheet=folder / "sheet.csv", map=folder / "map.toml")
        db.populate("texture")
    return folder


@pytest.fixture
def run(run, lab, monkeypatch):
    monkeypatch.chdir(lab)
    monkeypatch.setenv("MICDB_DB", str(lab / "lab.micdb"))

    def call(*arguments):
        said = run(*arguments)
        return said.out if said.code == 0 else said.err

    return call


def test_from_labels_to_classes(lab, run):
    said = run(
        "train", "classify", "--label", "constituent", "--embedding", "texture@px", "--out", "own", "--json"
    )
    told = json.loads(said)
    assert (told["n_rows"], told["n_groups"]) == (16, 8)
    assert told["dropped"] == {"constituent is missing": UNLABELLED}
    assert told["found"], told["verdict"]
    (made,) = json.loads(run("populate", "classify", "--set", "weights=own/classify.safetensors", "--json"))
    assert made["progress"]["done"] == 20
    with opening.open(lab / "lab.micdb") as db:
        im = db.images
        likeliest = im.classes[im.classes["rank"] == 1]
        named = im[likeliest[likeliest.label == "pearlite"].count() > 0]
        assert named[named.constituent.notna()].unique("constituent") == ["pearlite"]
        new = im[im.constituent.isna()]
        assert (new.to_pandas()["uid"].count(), new[new.classify_uncertainty >= 0].count()) == (4, 4)
        card = json.loads((lab / "own" / "classify.json").read_text())
        assert card["recipe"]["images of"] == {"pearlite": 8, "spheroidite": 8}
        assert card["measured"]["macro_f1"] == round(told["table"][0]["macro_f1"], 3)


def test_what_to_label_next(lab, run):
    said = run("suggest", "3", "--label", "constituent", "--embedding", "texture@px", "--json")
    rows = json.loads(said)["rows"]
    with opening.open(lab / "lab.micdb") as db:
        new = set(db.images[db.images.constituent.isna()].to_pandas()["uid"])
        assert {row["uid"] for row in rows} <= new
        assert all(0 <= row["uncertainty"] <= 1 and row["distance"] > 0 for row in rows)
        phases = db.images.suggest(2, embedding="texture@px")  # nobody drew any: all are candidates
        assert "NaN" not in run("suggest", "2", "--embedding", "texture@px", "--json")
        assert phases.attrs["candidates"] == 20
        assert phases.attrs["uncertainty"] is None
        assert phases["uncertainty"].tolist() == [1.0, 1.0]
        assert np.isnan(phases["distance"][0])
        db.annotations.draw(phases["uid"][0], np.zeros((128, 128), int), classes=("ferrite", "pearlite"))
        after = db.images.suggest(20, embedding="texture@px")
        assert after.attrs["annotated"] == 1
        assert len(after) == 19
        assert phases["uid"][0] not in set(after["uid"])


def test_places_to_annotate_next_are_windows_of_images_that_are_not(lab):
    with opening.open(lab / "lab.micdb") as db:
        db.populate("texture-patches")
        found = db.images.suggest(6, label="constituent", level="patch")
        new = set(db.images[db.images.constituent.isna()].to_pandas()["uid"])
        assert set(found["uid"]) <= new
        assert found.attrs["space"][0].startswith("texture-patches@")
        assert (found["x_px"] + found["width_px"] <= 128).all()
        assert (found["y_px"] + found["height_px"] <= 128).all()
        assert len(found[["uid", "x_px", "y_px"]].drop_duplicates()) == 6
        with pytest.raises(UsageError, match="places are compared in one space, not in 2"):
            db.images.suggest(level="patch", embedding=("texture-patches", "texture"))
        with pytest.raises(UsageError, match="level is 'pixel'; it is 'image' or 'patch'"):
            db.images.suggest(level="pixel")


def test_wrong_questions_are_told(lab, run):
    assert "name it with --label" in run("train", "classify")
    with opening.open(lab / "lab.micdb") as db:
        with pytest.raises(UsageError, match="no image is left: 16 have vectors, and all of them are annot"):
            db.images[db.images.constituent.notna()].suggest(label="constituent", embedding="texture@px")
        with pytest.raises(UsageError, match="n is 0; it is a whole number of at least 1"):
            db.images.suggest(0)
        with pytest.raises(UnknownColumnError, match="'constituency'"):
            db.images.suggest(label="constituency")
        with pytest.raises(UsageError, match="no vectors are called 'textur'; did you mean texture"):
            db.images.classify("constituent", embedding="textur")
        with pytest.raises(UsageError, match="unknown is 2; give a share"):
            db.images.classify("constituent", unknown=2)
        with pytest.raises(UsageError, match="image"):
            db.samples.classify("constituent")
