"""Distances within images, against the plain definition over all pairs."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from micdb.query.spatial.near import Points, near, nearest, pairs


@st.composite
def scenes(draw):
    """Points on a coarse grid, so that many distances are equal, in a few groups; some are missing."""
    n = draw(st.integers(0, 25))
    number = st.integers(0, 6).map(float) | st.just(np.nan)
    xy = np.array(draw(st.lists(st.tuples(number, number), min_size=n, max_size=n)), float).reshape(n, 2)
    group = np.array(draw(st.lists(st.integers(0, 2**40), min_size=n, max_size=n)), np.int64) % 3 * 2**38
    return Points(xy, group, np.arange(n))


def distances(a, b):
    with np.errstate(invalid="ignore"):
        d = np.hypot(*(a.xy[:, None] - b.xy[None]).transpose(2, 0, 1))
    d[a.group[:, None] != b.group[None]] = np.nan
    return d


@given(scenes(), st.integers(0, 25), st.sampled_from([0.5, 1.0, 2.0, 5.0]))
def test_near_is_any_other_within_the_radius(all_, cut, radius):
    some = Points(*(part[:cut] for part in all_))
    d = distances(all_, some)
    d[all_.row[:, None] == some.row[None]] = np.nan
    assert near(all_, some, radius=radius).tolist() == (d <= radius).any(axis=1).tolist()


@given(scenes(), st.sampled_from([1.0, 2.0]))
def test_pairs_are_all_pairs(all_, radius):
    d = distances(all_, all_)
    expected = np.argwhere(np.triu(d <= radius, 1))
    assert pairs(all_.xy, all_.group, radius=radius).tolist() == expected.tolist()


@given(scenes(), st.integers(1, 4))
def test_nearest_are_the_smallest_distances(all_, k):
    indices, found = nearest(all_.xy, all_.group, k)
    d = distances(all_, all_)
    np.fill_diagonal(d, np.nan)
    for row in range(len(d)):
        known = np.sort(d[row][np.isfinite(d[row])])[:k]
        assert found[row][: len(known)].tolist() == known.tolist()
        assert np.isnan(found[row][len(known) :]).all()
        there = indices[row][: len(known)]
        assert (there >= 0).all()
        assert d[row][there].tolist() == known.tolist()
        assert len(set(there.tolist())) == len(there)
        assert (indices[row][len(known) :] == -1).all()
