"""Densities: what counting leaves, corrected by what the detector misses and invents."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import gamma

from micdb.analysis.library.density import Counted, Rates, density
from micdb.errors import UsageError

SURE = Rates(found=1e7, missed=0, false=0, area_nm2=1e12)


def test_a_perfect_detector_leaves_what_counting_leaves():
    found = density(Counted(25, 100.0), SURE)
    expected = gamma.ppf([0.5, 0.025, 0.975], 25.5) / 100
    assert [found.value, found.low, found.high] == pytest.approx(expected, rel=0.02)
    assert found.corrected
    plain = density(Counted(25, 100.0), None)
    assert plain.value == pytest.approx(found.value, rel=0.02)
    assert not plain.corrected


def test_misses_raise_and_false_ones_lower_it():
    blind = density(Counted(50, 100.0), Rates(500, 500, 0, 1e9))
    inventive = density(Counted(50, 100.0), Rates(1e6, 0, 1000, 4000.0))  # 25 of the 50
    assert blind.value == pytest.approx(1.0, rel=0.05)
    assert inventive.value == pytest.approx(0.25, rel=0.06)


def test_little_truth_means_a_wide_interval():
    many, few = (density(Counted(50, 100.0), Rates(90 * n, 10 * n, 0, 1e6)) for n in (100.0, 0.1))
    assert few.high - few.low > 1.3 * (many.high - many.low)


def test_nothing_found_has_an_upper_bound():
    found = density(Counted(0, 100.0), SURE)
    assert found.low < 1e-4
    assert 0.02 < found.high < 0.03


def test_what_people_went_through_needs_no_correction():
    blind = Rates(50, 50, 0, 1e9)
    truth = density(Counted(0, 0.0), blind, reviewed=Counted(40, 100.0))
    assert truth.value == pytest.approx(0.4, rel=0.03)
    both = density(Counted(20, 100.0), blind, reviewed=Counted(40, 100.0))
    assert both.value == pytest.approx(0.4, rel=0.1)


def test_the_rejected_ones_were_the_false_ones():
    rates = Rates(1e6, 0, 1000, 4000.0)
    all_rejected = density(Counted(25, 100.0, kept=0.0), rates)
    assert all_rejected.value == pytest.approx(0.25, rel=0.03)


def test_simulation_is_worth_two_hundred_defects_beside_what_people_said():
    planted = Rates.planted({"planted": 4000, "found": 3600, "false": 40, "area_nm2": 1e5})
    assert (planted.found, planted.missed, planted.false, planted.area_nm2) == (180, 20, 2, 5000)
    few = Rates.planted({"planted": 100, "found": 90, "false": 1, "area_nm2": 1e3})
    assert (few.found, few.missed) == (90, 10)
    assert (few + Rates(10, 90, 0, 0)).recall == pytest.approx(0.5)


def test_the_interval_holds_the_truth_as_often_as_it_says():
    """Planted densities, a detector known from its own truth: 400 materials."""
    rng = np.random.default_rng(7)
    held = 0
    for _ in range(400):
        truth, area = rng.uniform(0.002, 0.05), 3000.0
        recall, invented = rng.uniform(0.7, 1.0), rng.uniform(0, 0.003)
        found = rng.binomial(rng.poisson(truth * area), recall) + rng.poisson(invented * area)
        hits = rng.binomial(150, recall)
        rates = Rates(hits, 150 - hits, rng.poisson(invented * 5000), 5000.0)
        answer = density(Counted(found, area), rates)
        held += answer.low <= truth <= answer.high
    assert 0.93 <= held / 400 <= 0.985


def test_no_area_no_density():
    with pytest.raises(UsageError, match=r"a density needs an area: 3 and 0 defects in 0 and 0 nm\*\*2"):
        density(Counted(3, 0.0), None)
