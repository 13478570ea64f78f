"""Species by brightness: right where Poisson statistics allow it, and sure only then."""

from __future__ import annotations

import numpy as np
import pytest

from micdb.embed.atoms.species import NUMBERS, assign, candidates
from micdb.errors import UsageError


def heights(text, shares, *, n=2000, gain=3.7, spread=0.08, seed=0):
    rng = np.random.default_rng(seed)
    possible = candidates(text)
    truth = rng.choice(len(possible), size=n, p=shares)
    mean = gain * np.array([one.strength for one in possible])[truth]
    return truth, mean * (1 + rng.normal(0, spread, n)), possible


@pytest.mark.parametrize(
    ("text", "shares"),
    [
        ("C Si", [0.98, 0.02]),
        ("Si C", [0.02, 0.98]),
        ("W S2 S", [0.5, 0.45, 0.05]),
        ("B N", [0.5, 0.5]),
        ("Mo W S2", [0.4, 0.1, 0.5]),
    ],
)
def test_planted_species_come_back_whatever_the_gain(text, shares):
    for gain in (1e-4, 3.7, 1e5):
        truth, height, possible = heights(text, shares, gain=gain)
        index, sure = assign(height, np.zeros(len(height)), possible)
        assert (index == truth).mean() > 0.985
        assert ((sure > 0) & (sure <= 1)).all()


def test_probabilities_are_honest():
    truth, height, possible = heights("B N", [0.5, 0.5], n=6000, spread=0.18)
    index, sure = assign(height, np.zeros(len(height)), possible)
    assert sure.mean() == pytest.approx((index == truth).mean(), abs=0.02)


def test_noise_of_the_fit_is_taken_into_account():
    rng = np.random.default_rng(1)
    truth, height, possible = heights("C Si", [0.9, 0.1], spread=0.05)
    carbon, silicon = np.median(height[truth == 0]), np.median(height[truth == 1])
    noisy = height + rng.normal(0, (silicon - carbon) / 3, len(height))
    index, sure = assign(noisy, np.full(len(height), (silicon - carbon) / 3), possible)
    assert sure.mean() == pytest.approx((index == truth).mean(), abs=0.03)


def test_one_candidate_takes_all():
    index, sure = assign(np.array([1.0, 2.0, 3.0]), np.array([0.1, np.nan, 0.1]), candidates("Au"))
    assert index.tolist() == [0, 0, 0]
    np.testing.assert_allclose(sure, 1.0)


def test_no_candidates_is_no_text():
    assert candidates("") == ()
    assert NUMBERS["U"] == 92 and NUMBERS["W"] == 74 and NUMBERS["C"] == 6


@pytest.mark.parametrize("text", ["C Xx", "C, Si", "Si0", "c", "C-Si"])
def test_what_is_no_species_is_said(text):
    with pytest.raises(
        UsageError, match="is no element with the atoms in a column; write for example 'C Si'"
    ):
        candidates(text)


def test_twice_the_same_is_a_mistake():
    with pytest.raises(UsageError, match="'S2 W S2' names a species twice"):
        candidates("S2 W S2")
