"""Slabs along zone axes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from micdb.embed.simulate.slabs import beam_frame, cubic, slab

AXES = st.tuples(*[st.integers(-2, 2)] * 3).filter(any)
SIMPLE = cubic(0.4, (0.0, 0.0, 0.0, 26))


@given(AXES)
def test_the_frame_is_right_handed_with_z_along_the_axis(axis):
    frame = beam_frame(0.4 * np.eye(3), axis)
    np.testing.assert_allclose(frame @ frame.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(frame) == pytest.approx(1.0)
    np.testing.assert_allclose(frame @ axis, [0.0, 0.0, np.linalg.norm(axis)], atol=1e-12)


@settings(max_examples=20, deadline=None)
@given(AXES, st.floats(0.0, 90.0))
def test_a_slab_is_full_in_any_direction(axis, rotation):
    structure = slab(SIMPLE, (5.0, 5.0), axis=axis, thickness=6.0, rotation=rotation, margin=0.3)
    distance = cKDTree(structure.xyz).query(structure.xyz, k=2)[0][:, 1]
    np.testing.assert_allclose(distance, 0.4, rtol=1e-9)
    assert len(structure.number) == pytest.approx(5.6 * 5.6 * 6.0 / 0.4**3, rel=0.2)
    assert structure.xyz[:, :2].min() >= -0.3 - 1e-6
    assert structure.xyz[:, :2].max() <= 5.3
    assert structure.xyz[:, 2].min() >= -1e-6
    assert structure.xyz[:, 2].max() < 6.0


def test_a_whole_number_of_cells_is_periodic():
    structure = slab(SIMPLE, (1.6, 1.6), thickness=0.8, margin=0.0)
    assert len(structure.number) == 4 * 4 * 2


def test_the_origin_moves_the_net():
    one, other = (
        slab(SIMPLE, (2.0, 2.0), thickness=0.4, origin=origin).xyz for origin in ((0.0, 0.0), (0.1, 0.05))
    )
    inner = one[np.abs(one[:, :2] - 1.0).max(axis=1) < 0.9]
    distance = cKDTree(other).query(inner + np.array([0.1, 0.05, 0.0]))[0]
    np.testing.assert_allclose(distance, 0.0, atol=1e-9)
