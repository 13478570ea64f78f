"""Views of one specimen, and what the recipe of the pattern learns from them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from micdb.embed.extractors.micro_pattern import patterns
from micdb.embed.nets import weights
from micdb.embed.nets.projection import Projection
from micdb.embed.simulate.microstructures.varied_views import SPECIMENS, random_views
from micdb.embed.train import pattern
from micdb.embed.train.recipe import RECIPES


@pytest.mark.parametrize("kind", ["pearlite", "foil", "looked through", "atoms", "random field"])
def test_views_are_those_of_their_seed_and_differ_from_one_another(kind):
    views = random_views(kind, seed=3, count=2, side=64)
    assert views.shape == (2, 64, 64)
    assert np.isfinite(views).all()
    assert views.std(axis=(1, 2)).min() > 0
    np.testing.assert_array_equal(views, random_views(kind, seed=3, count=2, side=64))
    assert abs(np.corrcoef(views.reshape(2, -1))[0, 1]) < 0.9


def test_kinds_that_are_withheld_are_simulated_and_not_shown():
    assert set(pattern.WITHHELD) < set(SPECIMENS)
    assert set(pattern.SHOWN) == set(SPECIMENS) - set(pattern.WITHHELD)


def test_the_loss_falls_where_views_of_one_specimen_are_alike():
    rng = np.random.default_rng(0)
    kinds = torch.tensor([0.0, 0.0, 1.0, 1.0])
    own = rng.normal(size=(4, 1, 8))
    alike = torch.from_numpy((own + 0.01 * rng.normal(size=(4, 3, 8))).astype(np.float32))
    mixed = torch.from_numpy(rng.normal(size=(4, 3, 8)).astype(np.float32))

    def unit(value):
        return torch.nn.functional.normalize(value, dim=1)

    assert pattern.loss(unit, (alike, kinds)) < pattern.loss(unit, (mixed, kinds)) - 0.5


def test_numbers_become_unit_vectors_and_extremes_are_cut_off():
    network = Projection(6, hidden=8, outputs=4)
    network(torch.randn(50, 6))  # learns means and spreads
    network.eval()
    plain = torch.zeros(1, 6)
    far, farther = plain.clone(), plain.clone()
    far[0, 0], farther[0, 0] = 1e3, 1e6
    with torch.inference_mode():
        assert torch.equal(network(far), network(farther))
        assert torch.linalg.norm(network(plain)).item() == pytest.approx(1)


def test_shipped_weights_know_specimens_again():
    """What the card measures on many, on a few: views of one specimen are nearer than those of others."""
    kinds = ("pearlite", "porous", "particles", "wires", "polycrystal", "network")
    views = np.concatenate([random_views(kind, seed=2**43, count=2, side=192) for kind in kinds])
    found = patterns(list(views))
    likeness = found @ found.T - 9 * np.eye(len(found))
    assert np.mean(likeness.argmax(axis=1) == np.arange(len(found)) ^ 1) >= 0.75


def test_the_shipped_file_gives_the_numbers_of_its_card():
    """On few scenes, drawn anew; what the card says of all of them takes minutes."""
    measured = weights.card("micro-pattern").measured
    for name, share in pattern.few(weights.load("micro-pattern", Projection)).items():
        assert float(share) == pytest.approx(float(measured[name]), abs=0.02), name


def test_the_card_is_that_of_the_recipe():
    card, recipe = weights.card("micro-pattern"), RECIPES["micro-pattern"]
    assert card.network == dict(recipe.network)
    for name in ("steps", "rate", "seed", "decay", "epochs"):
        assert card.recipe[name] == getattr(recipe.schedule, name)
