"""Folds keep groups whole; intervals cover what they promise on new groups."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from micdb.analysis.folds import grouped_folds, image_folds
from micdb.analysis.linking.conformal import cv_plus, groups_needed


@settings(max_examples=100, deadline=None)
@given(
    groups=st.lists(st.integers(0, 30), min_size=5, max_size=200).filter(lambda drawn: len(set(drawn)) >= 5),
    seed=st.integers(0, 1000),
)
def test_folds_never_split_a_group_and_none_is_empty(groups, seed):
    numbers = np.array(groups)
    fold = grouped_folds(numbers, 5, seed=seed)
    assert all(len(set(fold[numbers == group])) == 1 for group in set(groups))
    assert set(fold) == set(range(5))


def test_folds_depend_on_the_seed_alone():
    groups = np.repeat(np.arange(20), 3)
    assert (grouped_folds(groups, 5, seed=3) == grouped_folds(groups, 5, seed=3)).all()
    assert (grouped_folds(groups, 5, seed=3) != grouped_folds(groups, 5, seed=4)).any()


def test_image_folds_do_split_groups():
    fold = image_folds(60, 5, seed=0)
    assert sorted(np.bincount(fold)) == [12] * 5
    assert len(set(fold[:10])) > 1


def test_groups_needed_is_the_split_conformal_bound():
    assert [groups_needed(level) for level in (0.5, 0.8, 0.9, 0.95)] == [1, 4, 9, 19]


def test_one_row_per_group_is_the_textbook_quantile():
    residuals = np.arange(1.0, 20.0)  # 19 groups: the 90 % quantile is the 18th of 19
    low, high = cv_plus(np.zeros((1, 1)), np.zeros(19, int), residuals, np.arange(19), level=0.9)
    assert [low[0], high[0]] == pytest.approx([-18.0, 18.0])


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    counts=st.tuples(st.integers(2, 60), st.integers(2, 30), st.integers(1, 5)),
    level=st.sampled_from([0.5, 0.8, 0.9]), scale=st.sampled_from([1e-9, 1.0, 1e9]),
)  # fmt: skip
def test_ends_are_the_weighted_quantiles_of_all_sums(seed, counts, level, scale):
    """By the definition: sort every centre plus error, add up the weights of the groups."""
    random, (n, groups, k) = np.random.default_rng(seed), counts
    part, group = random.integers(0, k, n), random.integers(0, groups, n)
    errors, centres = scale * random.exponential(size=n), scale * random.normal(size=(k, 3))
    errors[: n // 3] = errors[0]  # ties
    found = cv_plus(centres, part, errors, group, level=level)
    share = 1 / (np.bincount(group)[group] * (len(set(group)) + 1))
    for sign, ends in zip((-1, 1), found, strict=True):
        sums = sign * centres[part] + errors[:, None]
        for column, end in zip(sums.T, ends, strict=True):
            order = np.argsort(column)
            reached = np.cumsum(share[order]) >= level - 1e-9
            expected = column[order][reached.argmax()] if reached.any() else np.inf
            assert sign * end == pytest.approx(expected, rel=1e-9, abs=1e-10 * scale)


def test_too_few_groups_give_infinite_intervals_however_many_rows():
    low, high = cv_plus(
        np.zeros((1, 1)), np.zeros(400, int), np.ones(400), np.repeat(np.arange(8), 50), level=0.9
    )
    assert np.isinf([low[0], high[0]]).all()


@pytest.mark.parametrize("rows_per_group", [1, 7])
def test_coverage_on_new_groups_is_near_the_level(rows_per_group):
    random = np.random.default_rng(0)
    inside = []
    for _ in range(400):
        effect = np.repeat(random.normal(size=25), rows_per_group)
        residuals = np.abs(effect + 0.2 * random.normal(size=len(effect)))
        groups = np.repeat(np.arange(25), rows_per_group)
        part = np.zeros(len(effect), int)
        low, high = cv_plus(np.zeros((1, 1)), part, residuals, groups, level=0.9)
        new = random.normal() + 0.2 * random.normal()
        inside.append(low[0] <= new <= high[0])
    assert 0.86 <= np.mean(inside) <= 0.96
