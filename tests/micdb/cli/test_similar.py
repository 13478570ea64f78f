"""``micdb similar``: one example, several, unwanted ones, and places in images."""

from __future__ import annotations

import json
import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile

import micdb as mdb
from micdb import cli
from micdb.embed.extractors.texture_patches import TexturePatches
from micdb.populate.extractor import extractors

KINDS = ("stripes", "checks", "dots")


def texture(kind, seed, size=160):
    y, x = np.mgrid[:size, :size] + 3 * np.random.default_rng(seed).random((2, 1, 1))
    wave = {
        "stripes": np.sin(x / 2),
        "checks": np.sign(np.sin(x / 4)) * np.sign(np.sin(y / 4)),
        "dots": np.maximum(np.sin(x / 1.5) * np.sin(y / 1.5), 0) ** 4,
    }[kind]
    noise = np.random.default_rng(seed).normal(size=(size, size))
    return np.clip(128 + 60 * wave + 6 * noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """Return a database of two images of each of three textures, with vectors and patches."""
    if "texture-patches" not in extractors().names():
        extractors().register(TexturePatches, name="texture-patches")
    work = tmp_path_factory.mktemp("similar")
    (work / "scans").mkdir()
    for number, kind in enumerate(KINDS * 2):
        image = texture(kind, number)
        path = work / "scans" / f"{kind}{number // 3}.tif"
        tifffile.imwrite(path, image, imagej=True, resolution=(62.5, 62.5), metadata={"unit": "um"})  # 16 nm
    base = mdb.init(work / "lab.micdb")
    assert base.ingest(work / "scans").counts["new_images"] == 6
    base.populate("texture")
    base.populate("texture-patches")
    base.close()
    return SimpleNamespace(work=work, db=work / "lab.micdb", scans=work / "scans")


@pytest.fixture
def run(capsys, monkeypatch, lab):
    """Run ``micdb similar``; return exit code, rows or standard output, standard error."""
    monkeypatch.chdir(lab.scans)
    monkeypatch.delenv("MICDB_DB", raising=False)

    def call(*arguments):
        words = ["micdb", "similar", *map(str, arguments), "--db", str(lab.db), "--json"]
        monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as stop:
            cli.main()
        out, err = capsys.readouterr()
        return stop.value.code, json.loads(out)["rows"] if out else out, err

    return call


def test_several_examples_and_unwanted_ones(run):
    code, rows, err = run("stripes0.tif", "checks0.tif", "-k", 4)
    assert code == 0, err
    assert {row["name"][:-1] for row in rows} == {"stripes", "checks"}
    code, rows, _ = run("stripes0.tif", "checks0.tif", "--not", "checks1.tif", "-k", 6)
    assert code == 0
    assert {row["name"] for row in rows[:2]} == {"stripes0", "stripes1"}


def test_a_box_for_each(run):
    box = "0,0,128,128"
    code, rows, err = run("stripes0.tif", "checks0.tif", "--box", box, "--box", "-", "-k", 1)
    assert code == 0, err
    assert len(rows) == 1
    code, _, err = run("stripes0.tif", "checks0.tif", "--box", box)
    assert code == 2
    assert "1 boxes for 2 examples: give one for each" in err


def test_places(run):
    code, rows, err = run("dots0.tif", "--box", "8,8,64,64", "--places", "-k", 6)
    assert code == 0, err
    assert len(rows) == 6
    assert {row["name"] for row in rows} == {"dots0", "dots1"}
    assert all(re.fullmatch(r"\d+,\d+,\d+,\d+", row["match_box"]) for row in rows)
    assert {row["match_frame"] for row in rows} == {0}
    code, rows, _ = run("dots0.tif", "--box", "8,8,64,64", "--places", "--per-image", 1, "-k", 9)
    assert code == 0
    assert len(rows) == 6
    assert len({row["name"] for row in rows}) == 6


def test_places_of_one_image_need_places(run):
    code, _, err = run("dots0.tif", "--per-image", 2)
    assert code == 2
    assert err == "micdb: --per-image counts places: add --places\n"


def test_a_person_says_whether_size_counts(run):
    code, rows, err = run("stripes0.tif", "--scale", "free", "-k", 2)
    assert code == 0, err
    assert {row["name"] for row in rows} == {"stripes0", "stripes1"}
    code, _, err = run("stripes0.tif", "--scale", "physical")
    assert code == 2
    assert "texture has not both: compute them with micdb populate micro" in err
    code, _, err = run("stripes0.tif", "--scale", "large")
    assert code == 2
    assert "scale is 'large'; it is 'free', 'physical', 'same' or None" in err
