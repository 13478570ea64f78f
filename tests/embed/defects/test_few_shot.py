"""A class from five examples, and clusters without any, on descriptors whose classes are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score

from micdb.embed.defects.discover import discover
from micdb.embed.defects.few_shot import membership
from micdb.errors import UsageError


def clouds(counts, *, apart=6.0, seed=0, d=16):
    rng = np.random.default_rng(seed)
    middle = rng.normal(0, apart / np.sqrt(2 * d), (len(counts), d))
    label = np.repeat(np.arange(len(counts)), counts)
    return middle[label] + rng.normal(0, 1 / np.sqrt(d), (len(label), d)), label


def names(label, *, wrong=0.1, seed=0):
    """What a detector calls them: one in ten another name, one in ten unknown with the right graph."""
    rng = np.random.default_rng((seed, 1))
    said = np.where(rng.random(len(label)) < wrong, rng.permutation(label), label)
    unsure = rng.random(len(label)) < wrong
    return [("unknown" if so else "substitution", f"Si1C{one}") for one, so in zip(said, unsure, strict=True)]


def from_five(points, called):
    return membership(points[:5], points, (called[:5], called))


def f1(said, truth):
    return 2 * (said & truth).sum() / (said.sum() + truth.sum())


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("counts", [(30, 200, 60), (150, 150, 150), (12, 400, 20)])
def test_members_are_told_from_the_rest(counts, seed):
    points, label = clouds(counts, seed=seed)
    likely = from_five(points, names(label, seed=seed))
    assert f1(likely[5:] >= 0.5, label[5:] == 0) >= 0.9


def test_noise_in_many_numbers_does_not_hide_a_difference_in_one():
    label = np.repeat([0, 1, 2], (40, 120, 40))
    points = np.random.default_rng(0).normal(0, 1, (len(label), 12)) * np.r_[0.2, np.full(11, 5.0)]
    points[:, 0] += 2.0 * label
    called = names(label, wrong=0.05)
    assert f1(from_five(points, called)[5:] >= 0.5, label[5:] == 0) >= 0.95


def test_the_name_is_evidence_but_not_all_of_it():
    points, label = clouds((60,) * 6, apart=3.0)
    right = names(label, wrong=0.0)
    wrong = [*right[:30], *[("substitution", "Si1C1")] * 5, *right[35:]]
    assert (from_five(points, wrong)[30:35] < from_five(points, right)[30:35]).all()
    points, label = clouds((60,) * 6, apart=30.0)
    assert from_five(points, wrong)[30:35].min() > 0.5


def test_probabilities_add_up_to_the_number_of_members():
    said, right = 0.0, 0
    for seed in range(40):
        points, label = clouds((40, 120, 40), apart=3.0, seed=seed)
        said += from_five(points, names(label, seed=seed))[5:].sum()
        right += (label[5:] == 0).sum()
    assert said == pytest.approx(right, rel=0.15)


@settings(max_examples=20, deadline=None)
@given(factor=st.floats(0.01, 100.0), shift=st.floats(-10.0, 10.0), seed=st.integers(0, 99))
def test_units_and_order_do_not_matter(factor, shift, seed):
    points, label = clouds((20, 40), seed=seed)
    called = names(label)
    likely = from_five(points, called)
    np.testing.assert_allclose(from_five(points * factor + shift, called), likely, atol=1e-6)
    order = np.r_[:5, 5 + np.random.default_rng(seed).permutation(len(points) - 5)]
    np.testing.assert_allclose(from_five(points[order], [called[k] for k in order]), likely[order], atol=1e-6)


def test_when_all_are_alike_all_belong():
    points, label = clouds((60,))
    assert (from_five(points, names(label, wrong=0.0)) > 0.5).mean() > 0.9


def test_none_belongs_where_none_is_near():
    points, label = clouds((5, 200), apart=12.0)
    called = names(label, wrong=0.0)
    assert membership(points[:5], points[5:], (called[:5], called[5:])).max() < 0.05


def test_clusters_are_found_without_names():
    points, label = clouds((80, 40, 20, 10), apart=8.0)
    found = discover(points)
    assert adjusted_rand_score(label, found) > 0.95
    sizes = np.bincount(found[found >= 0])
    assert (np.diff(sizes) <= 0).all()


def test_few_or_scattered_points_are_no_cluster():
    points, _ = clouds((4, 4))
    assert (discover(points) == -1).all()
    assert discover(np.empty((0, 16))).shape == (0,)


def test_what_cannot_be_judged_is_refused():
    one, three = [("vacancy", None)], [("vacancy", None)] * 3
    with pytest.raises(
        UsageError, match=r"examples have the shape \(1, 4\) and the others \(3, 4\); expected two"
    ):
        membership(np.zeros((1, 4)), np.zeros((3, 4)), (one, three))
    with pytest.raises(UsageError, match="not finite: leave that defect out"):
        membership(np.full((2, 4), np.nan), np.zeros((3, 4)), (2 * one, three))
    with pytest.raises(UsageError, match="1 and 3 names of 2 examples and 3 others; expected one of each"):
        membership(np.zeros((2, 4)), np.zeros((3, 4)), (one, three))
    assert membership(np.zeros((2, 4)), np.zeros((0, 4)), (2 * one, [])).shape == (0,)
    with pytest.raises(UsageError, match="fewest is 1; a cluster has two members or more"):
        discover(np.zeros((9, 2)), fewest=1)
    with pytest.raises(UsageError, match=r"descriptors have the shape \(9,\)"):
        discover(np.zeros(9))
