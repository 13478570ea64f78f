"""`classify` names images by a head and the embedder it was taught with."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from micdb.embed.extractors.classify import Classify, uncertainty
from micdb.embed.extractors.texture import Texture
from micdb.embed.micro import head
from micdb.embed.micro.classifier import Source, write
from micdb.embed.nets import weights
from micdb.embed.simulate.microstructures.scenes import SCENES
from micdb.embed.simulate.microstructures.sem import Detector, scan
from micdb.embed.simulate.microstructures.view import View
from micdb.errors import UsageError
from micdb.records import Picture, Refusal
from micdb.testing.extractors import ExtractorContract

CLASSES = ("pearlite", "spheroidite")


def picture(kind, seed, **changed):
    length = {"pearlite": 90.0, "spheroidite": 150.0, "network": 500.0}[kind]
    pixels = scan(SCENES[kind](View((128, 128), 10.0), length, seed), Detector(electrons=80.0), seed=seed)
    return replace(Picture(1, pixels.astype(np.float32)[None], (10.0, 10.0), "SEM", None, kind), **changed)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("taught")
    shown = [(picture(kind, seed), number) for number, kind in enumerate(CLASSES) for seed in range(12)]
    answers = list(Texture().extract(one for one, _ in shown))
    rows = [{row["space"]: row["vector"] for row in one.tables["embeddings"].to_pylist()} for one in answers]
    vectors = np.array([row["texture@px"] for row in rows])
    labels = np.array([number for _, number in shown])
    card = Texture.card
    source = Source("texture", card.version, None, {"nm_per_pixel": None}, "texture@px")
    write(
        head.fit(vectors, labels, np.arange(len(labels)) // 2), path, classes=CLASSES, sources=[source],
        told={"label": "constituent"}, measured={"macro-F1": 0.9},
    )  # fmt: skip
    return path


def answer(folder, asked, **parameters):
    (given,) = Classify(weights=str(folder / "classify.safetensors"), **parameters).extract([asked])
    return given


class TestContract(ExtractorContract):
    extractor = Classify

    @pytest.fixture(autouse=True)
    def taught(self, folder, monkeypatch):
        monkeypatch.setattr(type(self), "parameters", {"weights": str(folder / "classify.safetensors")})

    @pytest.fixture
    def picture(self):
        return picture("pearlite", 50)


@pytest.mark.parametrize("kind", CLASSES)
def test_new_images_are_named(folder, kind):
    given = [answer(folder, picture(kind, 70 + seed)) for seed in range(4)]
    firsts = [one.tables["classes"].to_pylist()[0] for one in given]
    assert [row["label"] for row in firsts].count(kind) >= 3
    rows = given[0].tables["classes"].to_pylist()
    assert [row["rank"] for row in rows] == list(range(1, len(rows) + 1))
    known = [row["probability"] for row in rows if row["label"] != "unknown"]
    assert sum(known) == pytest.approx(1)
    assert known == sorted(known, reverse=True)


def test_what_is_far_from_all_is_unknown(folder):
    lattice = np.kron(np.indices((64, 64)).sum(axis=0) % 2, np.ones((2, 2)))[None].astype(np.float32)
    asked = picture("pearlite", 1, pixels=lattice)
    given = answer(folder, asked)
    first = given.tables["classes"].to_pylist()[0]
    assert (first["label"], first["probability"]) == ("unknown", None)
    assert first["novelty"] > 0.95
    assert given.rollups["classify_uncertainty"][0] == 1
    assert given.rollups["classify_novelty"][0] == first["novelty"]
    forced = answer(folder, asked, unknown=0.0).tables["classes"].to_pylist()
    assert {row["label"] for row in forced} == set(CLASSES)


def test_an_image_its_embedder_refuses_is_refused_with_that_reason(folder):
    given = answer(folder, picture("pearlite", 1, pixels=np.zeros((1, 8, 8), np.float32)))
    assert isinstance(given, Refusal)
    assert "blank" in given.reason


def test_without_weights_it_says_how_to_get_some():
    with pytest.raises(UsageError, match="knows no classes yet.*micdb train classify --label"):
        list(Classify().extract([picture("pearlite", 1)]))
    with pytest.raises(UsageError, match="expected a file classify.safetensors that micdb train classify"):
        Classify(weights="nowhere.safetensors")
    with pytest.raises(UsageError, match="unknown is 1.5; expected a share from 0 to below 1"):
        Classify(unknown=1.5)


def test_another_embedder_than_it_was_taught_with_is_refused(folder, tmp_path):
    for name in ("classify.json", "classify.safetensors"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    card = json.loads((tmp_path / "classify.json").read_text())
    card["recipe"]["sources"][0]["version"] = "0"
    (tmp_path / "classify.json").write_text(json.dumps(card))
    with pytest.raises(UsageError, match=r"taught with texture@0, and here is another \(texture@1\)"):
        Classify(weights=str(tmp_path / "classify.safetensors"))


def test_the_folder_of_shipped_weights_is_not_written_to(folder):
    made = head.fit(np.eye(4), np.array([0, 0, 1, 1]), np.arange(4))
    with pytest.raises(UsageError, match="holds the weights that micdb ships"):
        write(made, weights.FOLDER, classes=CLASSES, sources=[], told={}, measured={})


def test_uncertainty_goes_from_sure_to_all_alike():
    assert uncertainty(np.array([1.0, 0.0])) == 0
    assert uncertainty(np.full(5, 0.2)) == pytest.approx(1)
    assert uncertainty(np.array([0.9, 0.1])) < uncertainty(np.array([0.6, 0.4]))
