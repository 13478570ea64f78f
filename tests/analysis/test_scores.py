"""Scores of links and their intervals over groups."""

from __future__ import annotations

import numpy as np
import pytest

from micdb.analysis import scores


def planted(seed: int, groups: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return observed, predicted and groups where 80 % of the variance of groups is explained."""
    random = np.random.default_rng(seed)
    group = np.repeat(np.arange(groups), 3)
    predicted = 2 * random.normal(size=groups)[group]
    return predicted + random.normal(size=groups)[group], predicted, group


def test_the_interval_of_r2_over_groups_holds_the_truth_as_often_as_it_says():
    held = []
    for seed in range(200):
        low, high = scores.r2_interval(*planted(seed, 60), level=0.9, seed=seed)
        held.append(low <= 0.8 <= high)
    assert 0.82 <= np.mean(held) <= 0.96  # a percentile bootstrap of 60 groups is a little short of 0.9


def test_the_interval_of_r2_is_about_it_and_does_not_depend_on_the_zero():
    observed, predicted, group = planted(1, 40)
    low, high = scores.r2_interval(observed, predicted, group, level=0.95, seed=0)
    assert low < scores.r2(observed, predicted) < high
    far = scores.r2_interval(observed + 1e9, predicted + 1e9, group, level=0.95, seed=0)
    assert far == pytest.approx((low, high), rel=1e-4)
