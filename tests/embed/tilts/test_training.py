"""The recipe learns from a bank, and its intervals are calibrated on crystals it never saw."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from micdb.embed.nets.whitened import WhitenedNet
from micdb.embed.tilts import cells
from micdb.embed.tilts.angles import ANSWERS, measure
from micdb.embed.tilts.cells import NUMBERS, spectrum
from micdb.embed.train import recipe, tilts
from micdb.embed.train.loop import Schedule
from micdb.errors import UsageError


@pytest.fixture
def folder(crystal, tmp_path, monkeypatch):
    """Return a bank of copies of one crystal, in thicknesses that teach and that do not."""
    monkeypatch.setattr(tilts, "_EXAMPLES", 3)
    thick = replace(crystal, thickness=np.array([5.0, 9.0, 12.0, 15.0, 18.0, 19.0]))
    for name, count in (("train", 2), ("held", 2), ("LaFeO3", 1), ("NdGaO3", 1)):
        for number in range(count):
            thick.save(tmp_path / f"{name}-{number:05d}.npz")
    return tmp_path


def test_a_batch_is_that_of_its_seed_and_leaves_thicknesses_out(folder):
    numbers, truth = tilts.batch(3, folder=folder)
    np.testing.assert_array_equal(numbers, tilts.batch(3, folder=folder)[0])
    assert numbers.shape == (tilts.BATCH, NUMBERS)
    assert truth.shape == (tilts.BATCH, ANSWERS)
    assert tilts.cells(folder, "train").held.tolist() == [False, True, False, True, False, False] * 2
    assert len(np.unique(np.abs(truth[:, 3]))) == 4  # of six images two are held out


def test_a_mirror_image_has_the_same_rotations_and_the_other_mistilt(crystal):
    torch.manual_seed(0)
    network = WhitenedNet(NUMBERS, ANSWERS, magnitudes=3, hidden=(8,)).eval()
    seen, noise = crystal.images.astype(float), np.full(6, 1e-3)
    value, sd = measure(network, seen, noise)
    flipped, _ = measure(network, seen[:, :, ::-1], noise)
    np.testing.assert_allclose(flipped, value * [1, 1, 1, -1, 1], atol=1e-4)
    assert (value[:, :3] >= 0).all()
    assert (sd > 0).all()


def test_training_sees_what_an_image_gives(crystal, monkeypatch):
    seen, constant = crystal.images.astype(float), np.full(6, crystal.kind.constant)
    none = np.zeros(6)
    monkeypatch.setattr(cells, "_SOURCE", (0.033, 0.033))
    monkeypatch.setattr(cells, "_SMEAR", 0.0)
    monkeypatch.setattr(cells, "_COUNTS", (1e8, 1e8))
    drawn = cells.imaged(cells.waves(seen), seen.mean(axis=(1, 2)), constant, np.random.default_rng(0))
    moved = cells.blurred(
        seen, constant, source=none + 0.033, smear=none, way=none, shift=np.full((6, 2), 0.3)
    )
    expected = spectrum(moved, moved.mean(axis=(1, 2)) * 1e-4)
    np.testing.assert_allclose(np.abs(drawn), np.abs(expected), atol=0.02)


def test_noise_of_training_is_that_of_shared_pixels(crystal, monkeypatch):
    seen, constant = (
        np.repeat(crystal.images[:1].astype(float), 400, axis=0),
        np.full(400, crystal.kind.constant),
    )
    none = np.zeros(400)
    monkeypatch.setattr(cells, "_SOURCE", (0.03, 0.03))
    monkeypatch.setattr(cells, "_SMEAR", 0.0)
    monkeypatch.setattr(cells, "_COUNTS", (3000.0, 3000.0))
    rng = np.random.default_rng(0)
    drawn = cells.imaged(cells.waves(seen), seen.mean(axis=(1, 2)), constant, rng)
    moved = cells.blurred(seen, constant, source=none + 0.03, smear=none, way=none, shift=np.zeros((400, 2)))
    real = spectrum(*cells.noisy(moved, none + 3000.0, rng))
    spread, expected = (np.abs(one[:, :-1]).std(axis=0).mean() for one in (drawn, real))
    assert spread == pytest.approx(expected, rel=0.05)
    assert drawn[:, -1].mean() == pytest.approx(real[:, -1].mean(), abs=0.02)


@pytest.mark.parametrize("flip", [(True, False), (False, True), (True, True)])
def test_waves_are_mirrored_as_their_cells(crystal, flip):
    seen = crystal.images.astype(float)
    turned = cells.mirrored(cells.waves(seen), *(np.full(6, one) for one in flip))
    other = np.flip(seen, [axis for axis, one in zip((1, 2), flip, strict=True) if one])
    np.testing.assert_allclose(np.abs(turned), np.abs(cells.waves(other)), atol=1e-9)


def test_where_a_cell_begins_changes_no_more_than_the_sign_of_what_alternates(crystal):
    seen, noise = crystal.images.astype(float), np.full(6, 1e-3)
    here, there = spectrum(seen, noise), spectrum(np.roll(seen, (7, 11), axis=(1, 2)), noise)
    np.testing.assert_allclose(np.abs(here), np.abs(there), atol=1e-4)


def test_intervals_hold_for_half_of_the_held_out_crystals(folder):
    torch.manual_seed(0)
    network = WhitenedNet(NUMBERS, ANSWERS, magnitudes=3, hidden=(8,)).eval()
    tilts.begin(network, folder=folder)
    network.eval()
    told = tilts.measure(network, folder=folder)
    assert len(told) == 12
    first = tilts.cells(folder, "held")
    first = first.kept(first.crystal < 1)
    value, sd = measure(network, *first.seen(tilts.DOSES[0], seed=0))
    inside = np.abs(value - first.truth) <= 1.645 * sd
    assert inside.mean() > 0.6
    assert network.scale.min() > 0


def test_the_recipe_wants_a_bank_and_says_what_it_costs(folder, monkeypatch, tmp_path):
    with pytest.raises(
        UsageError, match=r"abf-tilts learns from a bank that is simulated once \(.*processor.*\)"
    ):
        recipe.follow("abf-tilts")
    plain = recipe.RECIPES["abf-tilts"]
    still = replace(plain.bank, build=lambda folder, watch: 0)
    quick = replace(plain, schedule=Schedule(2), bank=still)
    monkeypatch.setitem(recipe.RECIPES, "abf-tilts", quick)
    made = recipe.follow("abf-tilts", folder=tmp_path / "out", bank=folder, workers=0)
    assert (tmp_path / "out" / "abf-tilts.safetensors").is_file()
    assert made.recipe["simulator"] == "micdb.embed.train.tilts"
    assert any("LaFeO3" in key for key in made.measured)
