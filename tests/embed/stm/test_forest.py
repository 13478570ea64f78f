"""A forest kept as arrays says what the one that was grown says."""

from __future__ import annotations

import numpy as np
from sklearn.ensemble import ExtraTreesClassifier

from micdb.embed.stm.forest import Forest, grow


def data(seed, n=400):
    rng = np.random.default_rng(seed)
    names = rng.choice([0, 1, 3], n)
    return (rng.normal(size=(n, 6)) + names[:, None]).astype(np.float32), names


def test_it_agrees_with_scikit_learn():
    numbers, names = data(0)
    unseen, _ = data(1)
    known = ExtraTreesClassifier(20, min_samples_leaf=2, max_features=0.3, random_state=5).fit(numbers, names)
    ours = grow(numbers, names, classes=4, trees=20, seed=5).probabilities(unseen)
    np.testing.assert_allclose(ours[:, [0, 1, 3]], known.predict_proba(unseen), atol=1e-6)
    assert (ours[:, 2] == 0).all()  # no example of it


def test_it_learns_and_survives_being_kept():
    grown = grow(*data(0), classes=4, trees=40, seed=0)
    unseen, names = data(1, n=1200)
    again = Forest.of(grown.arrays()).probabilities(unseen)
    np.testing.assert_array_equal(again, grown.probabilities(unseen))
    np.testing.assert_allclose(again.sum(axis=1), 1, atol=1e-5)
    assert (again.argmax(axis=1) == names).mean() > 0.9
    assert grown.probabilities(unseen[:0]).shape == (0, 4)
