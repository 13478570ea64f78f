"""Touching objects come apart; whole ones stay whole."""

from __future__ import annotations

import numpy as np
import pytest

from micdb.embed.micro.instances import instances


def disc(x, y, radius, shape=(60, 90)):
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return (columns - x) ** 2 + (rows - y) ** 2 <= radius**2


@pytest.mark.parametrize("radius", [5, 8, 12])
def test_two_discs_that_overlap_are_two(radius):
    parts = instances(disc(35, 30, radius) | disc(35 + 1.6 * radius, 30, radius))
    areas = np.bincount(parts.ravel())[1:]
    assert len(areas) == 2
    assert areas[0] == pytest.approx(areas[1], rel=0.1)


def test_a_long_object_and_one_cut_by_the_edge_stay_whole():
    y, x = np.mgrid[:60, :90]
    ellipse = ((x - 45) / 30) ** 2 + ((y - 30) / 8) ** 2 <= 1
    assert instances(ellipse).max() == 1
    assert instances(disc(0, 30, 12)).max() == 1


def test_a_ring_is_an_object_with_its_middle_and_specks_are_none():
    ring = disc(45, 30, 12) & ~disc(45, 30, 8)
    parts = instances(ring)
    assert parts.max() == 1
    assert parts[30, 45] == 1
    speck = np.zeros((20, 20), dtype=bool)
    speck[10, 9:12] = True
    assert not instances(speck).any()
    assert not instances(np.zeros((20, 20), dtype=bool)).any()
