"""A head names what it was taught, says how likely, and knows what it was not taught."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from micdb.embed.micro import head

DIM = 12


def specimens(counts, *, seed, images=6, apart=3.0):
    """Return vectors, labels and groups: specimens stray about their class, images about their specimen."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(1).normal(size=(len(counts), DIM)) * apart / np.sqrt(DIM)
    labels = np.repeat(np.arange(len(counts)), counts)
    own = centres[labels] + 0.5 * rng.normal(size=(len(labels), DIM))
    groups = np.repeat(np.arange(len(labels)), images)
    return own[groups] + 0.5 * rng.normal(size=(len(groups), DIM)), labels[groups], groups


@pytest.fixture(scope="module")
def taught():
    return head.fit(*specimens((9, 9, 3), seed=2))


def test_new_specimens_are_named_and_probabilities_are_honest(taught):
    vectors, labels, _ = specimens((100, 100, 100), seed=3, images=2)
    shares = taught.probabilities(vectors)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    right = shares.argmax(axis=1) == labels
    recall = [right[labels == one].mean() for one in range(3)]
    assert min(recall) > 0.75  # also of the class of three specimens
    assert shares.max(axis=1).mean() == pytest.approx(right.mean(), abs=0.06)


def test_few_images_of_what_was_taught_are_strange_and_all_from_far_away(taught):
    vectors, _, _ = specimens((100, 100, 100), seed=4, images=2)
    assert (taught.novelty(vectors) > 0.95).mean() < 0.1
    assert (taught.novelty(vectors + 40) > 0.95).all()
    assert (taught.novelty(vectors) > 0.5).mean() == pytest.approx(0.5, abs=0.2)


def test_units_of_the_vectors_do_not_matter(taught):
    vectors, labels, groups = specimens((9, 9, 3), seed=2)
    scale, offset = np.geomspace(0.01, 100, DIM), np.linspace(-5, 5, DIM)
    other = head.fit(vectors * scale + offset, labels, groups)
    asked, _, _ = specimens((2, 2, 2), seed=5)
    np.testing.assert_allclose(
        other.probabilities(asked * scale + offset), taught.probabilities(asked), rtol=1e-6, atol=1e-9
    )


def test_more_numbers_than_images_and_one_specimen_a_class_still_teach():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 4)
    vectors = rng.normal(size=(8, 60)) + 3 * labels[:, None]
    made = head.fit(vectors, labels, labels)
    assert (made.probabilities(vectors).argmax(axis=1) == labels).all()
    assert np.isfinite(made.power).all()


@settings(max_examples=40, deadline=None)
@given(
    groups=st.lists(st.tuples(st.integers(0, 3), st.integers(1, 5)), min_size=2, max_size=30),
    k=st.integers(2, 6),
    seed=st.integers(0, 9),
)
def test_folds_keep_groups_whole_and_are_none_empty(groups, k, seed):
    k = min(k, len(groups))
    group = np.repeat(np.arange(len(groups)), [size for _, size in groups])
    labels = np.repeat([label for label, _ in groups], [size for _, size in groups])
    fold = head.folds(labels, group, k, seed=seed)
    assert set(fold) == set(range(k))
    assert all(len(set(fold[group == one])) == 1 for one in range(len(groups)))


def test_folds_spread_the_groups_of_a_class():
    labels = np.repeat([0, 1, 2], [10, 4, 2])
    fold = head.folds(labels, np.arange(16), 2, seed=0)
    assert [np.bincount(fold[labels == one]).tolist() for one in range(3)] == [[5, 5], [2, 2], [1, 1]]
