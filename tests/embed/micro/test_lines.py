"""The length of lines from their mask is that which was drawn, in any direction, at any width."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from micdb.embed.micro.lines import lines


def stripe(turn, length, width, centre=(75.0, 75.0), side=150):
    y, x = np.mgrid[:side, :side]
    along = (x - centre[0]) * math.cos(turn) + (y - centre[1]) * math.sin(turn)
    across = (y - centre[1]) * math.cos(turn) - (x - centre[0]) * math.sin(turn)
    return (np.abs(along) <= length / 2) & (np.abs(across) <= width / 2)


@settings(max_examples=25, deadline=None)
@given(st.floats(0, math.pi), st.floats(40, 120), st.floats(2, 9))
def test_a_stripe_is_as_long_as_it_was_drawn(turn, length, width):
    assert lines(stripe(turn, length, width)).length == pytest.approx(length, rel=0.1)


def test_lengths_are_unbiased_over_directions():
    """A staircase counted by its pixels would be 10 % short, by its diagonals 5 % long."""
    share = [lines(stripe(turn, 100, 4)).length / 100 for turn in np.linspace(0, math.pi, 40, endpoint=False)]
    assert np.mean(share) == pytest.approx(1.0, abs=0.015)


def test_lines_that_leave_the_image_count_up_to_its_edge():
    assert lines(stripe(0.0, 1000, 5)).length == pytest.approx(150, rel=0.06)


def test_two_lines_that_cross_are_both_counted_and_a_ragged_edge_adds_none():
    mask = stripe(0.3, 120, 5) | stripe(0.3 + math.pi / 2, 120, 5)
    assert lines(mask).length == pytest.approx(240, rel=0.06)
    rough = stripe(0.0, 100, 7)
    rough[70, 30:120:6] = True  # bumps of a pixel
    assert lines(rough).length == pytest.approx(100, rel=0.06)


def test_what_is_as_wide_as_long_is_no_line():
    y, x = np.mgrid[:150, :150]
    assert lines((x - 75) ** 2 + (y - 75) ** 2 < 200).length == 0
    assert not lines(np.zeros((20, 20), dtype=bool)).skeleton.any()


def test_the_skeleton_is_the_middle_of_the_line():
    skeleton = lines(stripe(0.0, 100, 5)).skeleton
    assert set(np.nonzero(skeleton)[0]) <= {74, 75, 76}
