"""From images to latent variables in a formula: taught by the command, filled, asked, drawn."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from micdb import opening
from micdb.analysis.latents import latent_figure, traversal
from micdb.errors import UnknownColumnError, UsageError


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """Six images of stripes, two of each of three samples, whose hardness goes with the stripes' width."""
    home = tmp_path_factory.mktemp("stripes")
    (home / "images").mkdir()
    rng, rows = np.random.default_rng(0), []
    x = np.arange(96)
    for sample in range(6):
        for number in range(2):
            wave = np.sin(2 * np.pi * (x + rng.uniform(0, 50)) / (6 + 3 * sample))
            pixels = 120 + 60 * np.repeat(wave[None], 96, axis=0) + rng.normal(0, 5, (96, 96))
            name = f"s{sample}-{number}.png"
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(home / "images" / name)
            rows.append((name, f"s{sample}", 2.0 + sample))
    pd.DataFrame(rows, columns=["file", "sample", "hv"]).to_csv(home / "samples.csv", index=False)
    (home / "map.toml").write_text(
        'file = "file"\nsample = "sample"\n[property.hardness]\ncolumn = "hv"\nunit = "GPa"\n'
    )
    with opening.init(home / "lab.micdb") as db:
        db.ingest(home / "images", sheet=home / "samples.csv", map=home / "map.toml")
    return home


@pytest.fixture
def run(run, lab, monkeypatch):
    monkeypatch.chdir(lab)
    monkeypatch.setenv("MICDB_DB", str(lab / "lab.micdb"))
    return run


def test_from_images_to_a_formula(lab, run):
    code, said, told = run(
        "train", "vae", "--from-images", "width > 1", "--latent", 2, "--invariant", "--condition", "hardness",
        "--steps", 20, "--out", "own", "--json",
    )  # fmt: skip
    assert code == 0, told
    made = json.loads(said)
    assert made["recipe"]["conditions"]["hardness"] == pytest.approx([4.5, np.std([2, 3, 4, 5, 6, 7])])
    code, said, told = run("populate", "vae", "--set", "weights=own/vae.safetensors", "--json")
    assert code == 0, told
    with opening.open(lab / "lab.micdb") as db:
        latents = db.images.latents.to_pandas()
        assert sorted(latents["name"].unique()) == ["crvae 0", "crvae 1"]
        assert len(latents) == 24
        fit = db.images.link('hardness ~ latent("crvae", 2)', models=["ridge"], level=0.5)
        assert (fit.n_rows, fit.n_groups) == (12, 6)
        first = fit.design.features.columns['mean(latents, value, name == "crvae 0")']
        shown = latents[latents["name"] == "crvae 0"]["value"]
        assert sorted(first) == pytest.approx(sorted(shown))
        figure = latent_figure(db.images, "crvae 1", "hardness")
        assert figure.axes[0].get_ylabel() == "hardness [GPa]"
        assert len(figure.micdb_data) == 12
        with pytest.raises(UsageError, match="no image has both 'rvae 0' and hardness: fill latents"):
            latent_figure(db.images, "rvae 0", "hardness")
        with pytest.raises(UsageError, match="sample holds 's0'; a latent variable is drawn against numbers"):
            latent_figure(db.images, "crvae 0", "sample")
    drawn = traversal(lab / "own" / "vae.safetensors", conditions={"hardness": 3.0})
    assert len(drawn.axes) == 2 * 9
    assert drawn.get_suptitle() == "windows 32 pixels wide; hardness 3"
    middle, corner = (drawn.axes[0].images[0].get_array()[at] for at in ((16, 16), (0, 0)))
    assert np.isfinite(middle)
    assert np.ma.is_masked(corner)
    assert drawn.micdb_data["latent"].nunique() == 2
    with pytest.raises(UnknownColumnError, match="no column 'hard'.*what the autoencoder was told"):
        traversal(lab / "own" / "vae.safetensors", conditions={"hard": 3.0})


def test_mistakes_say_how_to_mend_them(lab, run):
    code, _, told = run("train", "vae", "--from-images", "width > 1", "--nm-per-pixel", 10, "--out", "other")
    assert code == 2
    assert "no image to learn from: 12 in the query" in told
    code, _, told = run("train", "vae", "--out", "other")
    assert code == 2
    assert "there is no recipe 'vae'" in told
    with pytest.raises(UsageError, match="expected a file vae.safetensors"):
        traversal(lab / "nothing")
