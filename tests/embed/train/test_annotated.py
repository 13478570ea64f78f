"""Fine-tuning learns what a user marks, names it as the user does, and leaves the shipped weights alone."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from micdb.embed.extractors.stm_defects import StmDefects
from micdb.embed.nets import weights
from micdb.embed.nets.unet import UNet
from micdb.embed.simulate.graphene import graphene
from micdb.embed.simulate.stem import adf_image
from micdb.embed.train.annotated import Example, Mark, fine_tune
from micdb.errors import StoreError, UsageError
from micdb.records import Picture

PIXEL = 0.2  # [nm]


def marked(seed, kinds=("spot", "pit")):
    """Return a terrace with peaks and troughs, each marked by a box."""
    rng = np.random.default_rng(seed)
    image = rng.normal(0, 1, (160, 160))
    rows, columns = np.mgrid[:160, :160]
    marks = []
    for number, (x, y) in enumerate([(30, 40), (100, 30), (60, 110), (130, 120)]):
        place = np.array([x, y]) + rng.uniform(-8, 8, 2)
        sign = 1 if number % 2 else -1
        image += 12 * sign * np.exp(-((columns - place[0]) ** 2 + (rows - place[1]) ** 2) / (2 * 3.5**2))
        box = (*(place - 6.5), 14.0, 14.0)
        marks.append(Mark(*place, kinds[number % 2], box))
    return Example(image, PIXEL, marks)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tuned")
    made = fine_tune("stm-defects", [marked(1), marked(2)], folder, steps=30, seed=0)
    return folder / "stm-defects.safetensors", made


def test_kinds_of_the_user_are_found_on_another_image(tuned):
    file, made = tuned
    assert made.recipe["kinds"] == ["pit", "spot"]
    unseen = marked(3)
    picture = Picture(1, unseen.pixels[None].astype(np.float32), (PIXEL, PIXEL), "STM", None, "unseen")
    (answer,) = StmDefects(weights=str(file), least_probability=0.3).extract([picture])
    found = answer.tables["defects"].to_pandas()
    for mark in unseen.marks:
        off = np.hypot(found.x_px - mark.x_px, found.y_px - mark.y_px)
        assert off.min() < 4
        assert found.kind[off.idxmin()] == mark.kind
    assert len(found) <= len(unseen.marks) + 1


def test_other_weights_are_another_model(tuned):
    file, made = tuned
    own = StmDefects(weights=str(file))
    assert own.card.weights_hash == made.sha256 != StmDefects().card.weights_hash
    assert StmDefects.card.weights_hash == weights.card("stm-defects").sha256
    assert own.card.planted == {}  # measured with the shipped ones only


def test_the_same_seed_makes_the_same_weights(tmp_path):
    first, again, other = (
        fine_tune("stm-defects", [marked(1)], tmp_path / name, steps=2, seed=seed).sha256
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    assert first == again != other


def test_a_changed_file_is_refused(tuned, tmp_path):
    file, _ = tuned
    for name in (file.name, "stm-defects.json"):
        (tmp_path / name).write_bytes((file.parent / name).read_bytes())
    (tmp_path / file.name).write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(StoreError, match="is not the file its card was written for: train again"):
        weights.load_arrays("stm-defects", tmp_path)


def test_what_was_taught_for_another_network_is_refused(tuned, tmp_path):
    file, made = tuned
    (tmp_path / file.name).write_bytes(file.read_bytes())
    card = {**made.as_json(), "recipe": {**made.recipe, "from": "0" * 64}}
    (tmp_path / "stm-defects.json").write_text(json.dumps(card))
    with pytest.raises(UsageError, match="another version of the network: train it again"):
        StmDefects(weights=str(tmp_path / file.name))


def test_atom_columns_can_be_taught_from_points(tmp_path):
    sheet = graphene((2.0, 2.0), seed=1)
    simulated = adf_image(sheet, (128, 128), pixel_size=0.016, seed=1, counts=40.0)
    marks = [Mark(x / 0.016, y / 0.016, "C") for x, y in simulated.xy]
    losses = []
    example = Example(simulated.image, 0.016, marks)
    made = fine_tune("stem-atoms", [example], tmp_path, steps=1, watch=lambda *seen: losses.append(seen))
    assert made.recipe["marks"] == len(marks)
    assert weights.load("stem-atoms", UNet, tmp_path).head.out_channels == 1


@pytest.mark.parametrize(("name", "examples", "message"), [
    ("texture", [marked(1)], "texture cannot be fine-tuned; there are stem-atoms, stm-defects"),
    ("stm-defects", [], "stm-defects: 0 images without a mark; at least one mark is needed"),
])  # fmt: skip
def test_what_cannot_be_taught_is_refused(tmp_path, name, examples, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        fine_tune(name, examples, tmp_path)


def test_the_shipped_weights_are_not_overwritten():
    with pytest.raises(UsageError, match="holds the weights that micdb ships; choose a folder of your own"):
        fine_tune("stm-defects", [marked(1)], weights.FOLDER)
