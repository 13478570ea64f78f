"""The law of coarsening is found again, and its exponent's interval holds the truth as often as it says."""

from __future__ import annotations

import numpy as np
import pytest

from micdb.analysis.kinetics import coarsening
from micdb.errors import UsageError

TIMES = np.array([1.0, 3, 8, 24, 85, 300])


@pytest.mark.parametrize("n", [2.0, 3.0, 4.0])
def test_an_exact_law_comes_back(n):
    size = (0.2**n + 0.01 * TIMES) ** (1 / n)
    found = coarsening(TIMES, size, 0.01 * size)
    assert found.exponent == pytest.approx(n, abs=0.02)
    assert found.rate == pytest.approx(0.01, rel=0.05)
    assert found.start == pytest.approx(0.2, rel=0.1)
    np.testing.assert_allclose(found(TIMES), size, rtol=1e-3)
    assert found.low < n < found.high


def test_the_unit_of_the_sizes_and_times_does_not_matter():
    size = np.array([0.3, 0.4, 0.6, 0.83, 1.1, 1.9])
    one, other = coarsening(TIMES, size, 0.05 * size), coarsening(TIMES * 60, size * 1000, 50 * size)
    assert (one.exponent, one.low, one.high) == (other.exponent, other.low, other.high)
    assert other.start == pytest.approx(1000 * one.start, rel=1e-6, abs=1e-6)


def test_the_interval_holds_the_truth_as_often_as_it_says():
    rng, held = np.random.default_rng(0), 0
    truth = (0.2**3 + 0.01 * TIMES) ** (1 / 3)
    for _ in range(100):
        found = coarsening(TIMES, truth * (1 + 0.04 * rng.normal(size=len(TIMES))), 0.04 * truth)
        low, high = np.nan_to_num(found.low, nan=0.0), np.nan_to_num(found.high, nan=99.0)
        held += low <= 3 <= high
    assert held >= 89


def test_a_held_exponent_has_no_interval():
    size = (0.2**3 + 0.01 * TIMES) ** (1 / 3)
    found = coarsening(TIMES[:2], size[:2], 0.01 * size[:2], exponent=3)
    assert (found.exponent, found.low, found.high) == (3, 3, 3)
    assert np.isnan(found.misfit)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (([1, 2], [1, 2], [1, 1]), "2 different times; the law needs 3"),
        (([1, 2, 3], [1, 2], [1, 1, 1]), "there are 3 times, 2 sizes and 3 deviations"),
        (([1, 2, 3], [1, 0, 2], [1, 1, 1]), "sizes and their deviations must be above 0"),
    ],
)
def test_what_is_no_law(wrong, message):
    with pytest.raises(UsageError, match=message):
        coarsening(*wrong)
    with pytest.raises(UsageError, match=r"level is 95; give the coverage wanted, between 0 and 1"):
        coarsening(TIMES, TIMES, TIMES, level=95)
