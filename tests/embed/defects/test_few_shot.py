"""A class from five examples, and clusters without any, on descriptors whose classes are known."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from micdb.embed.defects.discover import discover
from micdb.embed.defects.few_shot import membership
from micdb.errors import UsageError


def clouds(counts, *, apart=6.0, seed=0, d=16):
    rng = np.random.default_rng(seed)
    middle = rng.normal(0, apart / np.sqrt(2 * d), (len(counts), d))
    label = np.repeat(np.arange(len(counts)), counts)
    return middle[label] + rng.normal(0, 1 / np.sqrt(d), (len(label), d)), label


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("counts", [(30, 200, 60), (150, 150, 150), (12, 400, 20)])
def test_members_are_told_from_the_rest(counts, seed):
    points, label = clouds(counts, seed=seed)
    likely = membership(points[:5], points)
    said = likely[5:] >= 0.5
    truth = label[5:] == 0
    assert 2 * (said & truth).sum() / (said.sum() + truth.sum()) >= 0.95


def test_the_probability_falls_with_the_distance():
    points, _ = clouds((30, 200))
    likely = membership(points[:5], points)
    near = np.linalg.norm(points - points[:5].mean(axis=0), axis=1)
    assert (np.diff(likely[np.argsort(near)]) <= 1e-12).all()


def test_when_all_are_alike_all_belong():
    points, _ = clouds((60,))
    assert (membership(points[:5], points) > 0.5).mean() > 0.9


def test_none_belongs_where_none_is_near():
    points, label = clouds((5, 200), apart=12.0)
    assert membership(points[:5], points[label == 1]).max() < 0.05


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
    with pytest.raises(
        UsageError, match=r"examples have the shape \(1, 4\) and the others \(3, 4\); expected two"
    ):
        membership(np.zeros((1, 4)), np.zeros((3, 4)))
    with pytest.raises(UsageError, match="not finite: leave that defect out"):
        membership(np.full((2, 4), np.nan), np.zeros((3, 4)))
    with pytest.raises(UsageError, match="fewest is 1; a cluster has two members or more"):
        discover(np.zeros((9, 2)), fewest=1)
    with pytest.raises(UsageError, match=r"descriptors have the shape \(9,\)"):
        discover(np.zeros(9))
