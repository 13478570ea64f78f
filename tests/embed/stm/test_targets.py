"""What the network is taught: every defect at one level at least, with its size and kind."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from micdb.embed.stm.levels import LEVELS, NOMINAL
from micdb.embed.stm.targets import Marks, draw, strength


def marks(*rows):
    table = np.array(rows, dtype=float).reshape(-1, 4)
    return Marks(table[:, :2], table[:, 2], table[:, 3].astype(np.int64))


@given(st.floats(0.3, 80.0))
def test_every_defect_is_looked_for_somewhere(diameter):
    shares = []
    for number, level in enumerate(LEVELS):
        ends = (number == 0, number == len(LEVELS) - 1)
        shares += strength(marks((0, 0, diameter / level, 0)), ends).tolist()
    assert max(shares) == 1
    assert sum(share == 1 for share in shares) <= 2


def test_presence_size_and_kind_are_drawn_at_the_defect_alone():
    maps = draw(marks((20, 10, NOMINAL, 3), (45, 30, 2 * NOMINAL, 5)), (48, 64), (False, True))
    assert maps[:, 10, 20] == pytest.approx([1, 0, 3])
    assert maps[:, 30, 45] == pytest.approx([1, 1, 5])
    assert maps[:, 40, 5] == pytest.approx([0, -9, -9])


def test_a_defect_of_another_level_is_not_drawn():
    maps = draw(marks((20, 10, NOMINAL / 4, 3)), (48, 64), (False, True))
    assert maps[0].max() == 0
    assert draw(marks((20, 10, NOMINAL / 4, 3)), (48, 64), (True, True))[0].max() == 1


def test_marks_outside_leave_no_trace_and_those_at_the_rim_do():
    maps = draw(marks((-30, 10, NOMINAL, 0), (0, 0, NOMINAL, 1)), (32, 32), (False, False))
    assert maps[0, 0, 0] == 1
    assert maps[0, 10:, :].max() < 0.1
