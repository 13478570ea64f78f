"""What is suggested covers what there is, then what a model is unsure of: fewer labels than by chance."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from micdb.analysis.suggest import choose
from micdb.embed.micro import head

SIZES = (100, 50, 20, 10, 5)
NONE = np.empty(0, np.int64)


def blobs(seed, sizes=SIZES, apart=6.0, dim=5):
    rng = np.random.default_rng(seed)
    kind = np.repeat(np.arange(len(sizes)), sizes)
    centres = apart * np.eye(len(sizes), dim)
    return centres[kind] + rng.normal(size=(len(kind), dim)), kind


def test_the_first_five_of_five_kinds_are_all_kinds():
    points, kind = blobs(0, apart=15.0)
    chosen, sizes = choose(points, NONE, np.ones(len(points)), 5)
    assert sorted(kind[chosen]) == [0, 1, 2, 3, 4]
    assert kind[chosen].tolist() == [0, 1, 2, 3, 4]  # the heaviest first
    assert sizes.tolist() == list(SIZES)


def test_kinds_that_are_annotated_already_come_last():
    points, kind = blobs(1, apart=15.0)
    known = np.array([3, 120])  # of the two largest
    chosen, _ = choose(points, known, np.ones(len(points)), 3)
    assert set(kind[chosen]) == {2, 3, 4}
    assert not set(known) & set(chosen)


def test_of_two_alike_the_uncertain_one_comes_first():
    points, kind = blobs(2, sizes=(40, 40), apart=15.0)
    doubt = np.where(kind == 1, 0.9, 0.1)
    chosen, _ = choose(points, NONE, doubt, 2)
    assert kind[chosen].tolist() == [1, 0]


@settings(max_examples=25, deadline=None)
@given(
    m=st.integers(1, 30), n=st.integers(1, 40), known=st.integers(0, 29), levels=st.integers(1, 3),
    seed=st.integers(0, 5),
)  # fmt: skip
def test_each_is_new_and_none_is_missing(m, n, known, levels, seed):
    rng = np.random.default_rng(seed)
    points = rng.integers(0, levels, (m, 2)).astype(float)  # many of them coincide
    held = np.arange(min(known, m - 1))
    chosen, sizes = choose(points, held, rng.random(m), n, seed=seed)
    again, _ = choose(points, held, np.random.default_rng(seed).random(m), n, seed=seed)
    assert len(set(chosen)) == len(chosen) == len(sizes) == min(n, m - len(held))
    assert not set(chosen) & set(held)
    assert len(again) == len(chosen)
    assert (sizes >= 1).all()


def test_the_same_seed_suggests_the_same():
    points, _ = blobs(3)
    first, second = (choose(points, np.arange(4), np.ones(len(points)), 9, seed=7)[0] for _ in range(2))
    assert first.tolist() == second.tolist()


def recall(points, kind, known):
    """Return the mean recall of a head taught with some points."""
    classes, number = np.unique(kind[known], return_inverse=True)
    if len(classes) < 2:
        return 0.0
    made = head.fit(points[known], number, np.arange(len(known)))
    named = classes[made.probabilities(points).argmax(axis=1)]
    return float(np.mean([(named[kind == one] == one).mean() for one in np.unique(kind)]))


def test_half_of_the_labels_do_more_than_random_ones():
    suggested, random = [], []
    for seed in range(5):
        points, kind = blobs(seed, apart=3.5)
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(points))
        random.append([recall(points, kind, order[:n]) for n in (10, 20)])
        known = np.empty(0, np.int64)
        row = []
        for _ in range(4):
            doubt = np.ones(len(points))
            if len(set(kind[known])) > 1:
                _, number = np.unique(kind[known], return_inverse=True)
                shares = head.fit(points[known], number, np.arange(len(known))).probabilities(points)
                doubt = -(shares * np.log(np.maximum(shares, 1e-12))).sum(axis=1) / np.log(shares.shape[1])
            known = np.concatenate([known, choose(points, known, doubt, 5, seed=seed)[0]])
            row.append(recall(points, kind, known))
        suggested.append(row)
    ours, theirs = np.median(suggested, axis=0), np.median(random, axis=0)
    assert ours[1] > theirs[1]  # 10 suggested against 20 drawn
    assert ours[3] > theirs[1] + 0.05
    assert ours[3] > 0.9
