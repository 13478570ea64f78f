"""Labs that image alike are comparable; a lab with another detector is not, and is told so."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from micdb import opening
from micdb.analysis.comparable import unlike
from micdb.analysis.gather import Vectors
from micdb.analysis.harmonise import harmonised
from micdb.analysis.linking.design import build_design
from micdb.analysis.linking.link import fit_link
from micdb.analysis.two_samples import discrepancy, told_apart
from micdb.embed.simulate.microstructures.fields import two_phase
from micdb.embed.simulate.microstructures.sem import Detector, scan
from micdb.embed.simulate.microstructures.view import View
from micdb.errors import UnknownColumnError, UsageError

SAMPLES, IMAGES = 24, 4
EACH = np.repeat(np.arange(SAMPLES), IMAGES)
SECOND = EACH % 2 == 1


def vectors(seed, shift=0.0):
    """Return vectors of samples that differ from one another, those of the second lab shifted."""
    rng = np.random.default_rng(seed)
    made = rng.normal(size=(SAMPLES, 8))[EACH] + 0.3 * rng.normal(size=(len(EACH), 8))
    made[SECOND, 0] += shift
    return made


def test_a_shift_is_seen_and_none_is_not():
    apart = discrepancy(vectors(0, 3.0), SECOND, EACH, seed=0)
    assert apart.p <= 0.01
    assert apart.mmd > 0.05
    auc, p = told_apart(vectors(0, 3.0), SECOND, EACH)
    assert auc > 0.85
    assert p < 0.01


def test_samples_are_no_replicates():
    """Without a shift p is below a tenth in about a tenth of draws, though samples differ."""
    small = [
        discrepancy(vectors(seed), SECOND, EACH, permutations=99, seed=seed).p <= 0.1 for seed in range(60)
    ]
    assert sum(small) <= 13  # 6 are expected; more than 13 has a chance of 0.3 %
    told = [told_apart(vectors(seed), SECOND, EACH, seed=seed)[1] <= 0.1 for seed in range(20)]
    assert sum(told) <= 6


def test_strata_are_kept_apart():
    """A lab that imaged more of another material is not another lab where materials are compared alone."""
    rng = np.random.default_rng(1)
    material = np.where(rng.random(SAMPLES) < np.where(np.arange(SAMPLES) % 2, 0.9, 0.1), 1, 0)[EACH]
    seen = vectors(1)
    seen[:, 1] += 4 * material
    assert discrepancy(seen, SECOND, EACH, seed=0).p < 0.02
    assert discrepancy(seen, SECOND, EACH, strata=material, seed=0).p > 0.05


def test_harmonised_labels_have_one_mean_and_spread():
    labels = np.where(SECOND, "Jena", "Delft").astype(object)
    made = harmonised(vectors(2, 5.0), labels)
    for label in ("Delft", "Jena"):
        np.testing.assert_allclose(made[labels == label].mean(axis=0), vectors(2, 5.0).mean(axis=0))
        np.testing.assert_allclose(made[labels == label].std(axis=0), vectors(2, 5.0).std(axis=0))
    labels[:3] = "Oslo"
    assert np.isnan(harmonised(vectors(2), labels)[:3]).all()


def planted(shift):
    rng = np.random.default_rng(3)
    seen = vectors(3, shift)
    table = pd.DataFrame({
        "uid": np.arange(len(EACH)).astype(str), "sample": EACH.astype(str),
        "lab": np.where(SECOND, "Jena", "Delft"),
        "hardness": (seen[:, 1].reshape(SAMPLES, IMAGES).mean(1) + 0.2 * rng.normal(size=SAMPLES))[EACH],
    })  # fmt: skip
    return table, {"texture": Vectors("texture", table["uid"], seen)}


def test_a_link_warns_and_can_harmonise():
    table, found = planted(4.0)

    def fit(**options):
        design = build_design(table, 'hardness ~ embedding("texture")', embeddings=found, **options)
        return fit_link(design, chosen=["ridge"], hold_out="lab", level=0.5)

    warned, harmonised_ = fit(), fit(harmonise="lab")
    (note,) = [one for one in warned.notes if "not comparable" in one]
    assert note.startswith("not comparable in texture: Delft and Jena (MMD 0.")
    assert "db.comparable(by='lab') tells in what, harmonise='lab' takes it away" in note
    assert not [one for one in harmonised_.notes if "not comparable" in one]
    assert "embeddings harmonised within lab" in " ".join(harmonised_.notes)
    assert harmonised_.predictor.harmonise == "lab"
    assert not [one for one in planted_link(0.0).notes if "not comparable" in one]


def planted_link(shift):
    table, found = planted(shift)
    design = build_design(table, 'hardness ~ embedding("texture")', embeddings=found)
    return fit_link(design, chosen=["ridge"], hold_out="lab", level=0.5)


def test_a_warning_sees_both_labs_of_many_images(monkeypatch):
    monkeypatch.setattr("micdb.analysis.comparable._MOST", 60)
    order = np.argsort(SECOND, kind="stable")  # one lab after the other, as they came in
    labels = np.where(SECOND, "Jena", "Delft").astype(object)[order]
    (found,) = unlike(vectors(5, 4.0)[order], labels, EACH[order], seed=0)
    assert found.startswith("Delft and Jena (MMD 0.")
    assert not unlike(vectors(5)[order], labels, EACH[order], seed=0)


@pytest.fixture(scope="module")
def labs(tmp_path_factory):
    """Three labs with six samples of one steel each; the third has a noisy, dark detector."""
    home = tmp_path_factory.mktemp("labs")
    rows = []
    for number, lab in enumerate(("Delft", "Jena", "Oslo")):
        detector = Detector(electrons=4.0 if lab == "Oslo" else 60.0)
        for sample in range(6):
            for image in range(2):
                made = two_phase(View((96, 96), 10.0), length=150.0, seed=number * 100 + sample, fraction=0.3)
                name = f"{lab}-{sample}-{image}.png"
                pixels = scan(made, detector, seed=number * 100 + sample * 2 + image)
                (home / lab).mkdir(exist_ok=True)
                Image.fromarray(pixels).save(home / lab / name)
                rows.append((name, f"{lab}{sample}", lab, "steel"))
    sheet = pd.DataFrame(rows, columns=["file", "sample", "lab", "material"])
    sheet.to_csv(home / "samples.csv", index=False)
    (home / "map.toml").write_text('file = "file"\nsample = "sample"\nmaterial = "material"\n')
    with opening.init(home / "lab.micdb") as db:
        for lab in ("Delft", "Jena", "Oslo"):
            db.ingest(home / lab, lab=lab, sheet=home / "samples.csv", map=home / "map.toml")
        db.populate("texture")
        yield db


def test_labs_in_a_database(labs):
    found = labs.comparable(by="lab", embedding="texture@px", measures=("width",))
    pairs = found.pairs.set_index(["first", "second"])
    assert pairs["different"].to_dict() == {
        ("Delft", "Jena"): False, ("Delft", "Oslo"): True, ("Jena", "Oslo"): True,
    }  # fmt: skip
    assert (pairs["within"] == "steel").all()
    assert (pairs["samples"] == 12).all()
    noise = found.labels.set_index("lab")["noise"]
    assert noise["Oslo"] > 1.5 * noise["Delft"]
    assert noise["Jena"] == pytest.approx(noise["Delft"], rel=0.3)
    assert found.calibration[["measure", "labels", "spread"]].to_dict("records") == [
        {"measure": "width", "labels": 3, "spread": 0.0}
    ]
    assert found.verdict == ("Not comparable as they are, in texture@px: Delft and Oslo, Jena and Oslo.")
    assert json.loads(json.dumps(found.as_json(), allow_nan=False))["space"] == "texture@px"
    assert "Not comparable" in repr(found)


def test_a_lab_whose_pixels_are_not_here_is_compared_by_its_vectors(labs, tmp_path):
    """As after the import of a bundle without micrograph files."""
    labs.export(labs.images.query('lab == "Oslo"'), tmp_path / "oslo", as_="bundle", level="derived")
    labs.export(labs.images.query('lab == "Jena"'), tmp_path / "jena", as_="bundle", level="full")
    with opening.init(tmp_path / "both.micdb") as both:
        for lab in ("oslo", "jena"):
            both.import_bundle(tmp_path / lab)
        found = both.comparable(by="lab", embedding="texture@px")
    assert found.pairs["different"].tolist() == [True]
    seen = found.labels.set_index("lab")
    assert seen["images"].to_dict() == labs.comparable().labels.set_index("lab")["images"][1:].to_dict()
    assert seen["noise"].notna().to_dict() == {"Jena": True, "Oslo": False}


def test_what_cannot_be_compared_is_refused(labs):
    with pytest.raises(UnknownColumnError, match="no column 'labb'"):
        labs.comparable(by="labb")
    few = labs.images.query('lab == "Delft"')
    with pytest.raises(
        UsageError, match="two labels of lab with 4 images each are needed, with vectors of texture"
    ):
        few.comparable(embedding="texture@px")
