"""The cell along [110] holds what the definitions of its rotations say."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from micdb.embed.simulate.perovskites import PEROVSKITES
from micdb.embed.tilts.view import cubic_tilts, view

KIND = PEROVSKITES["SrTiO3"]
A = KIND.constant


def oxygen_columns(tilts, **options):
    """Return the four columns of oxygen alone: site without rotation, and the shifts of both atoms."""
    still, moved = view(KIND, (0.0, 0.0, 0.0)), view(KIND, tilts, **options)
    between = (still.number == 8) & (np.abs(np.mod(still.xyz[:, 1] / A + 0.25, 1.0) - 0.25) < 0.01)
    box = np.array(still.cell)[[1, 0, 2]]
    shift = np.mod(moved.xyz - still.xyz + box / 2, box) - box / 2
    columns = {}
    for place, change in zip(still.xyz[between], shift[between], strict=True):
        columns.setdefault((round(place[0] / A, 2), round(place[1] / A, 2)), []).append(change[:2] / A)
    return {place: np.array(both) for place, both in columns.items()}


def test_a_rotation_about_the_beam_moves_columns_up_and_down_in_turn():
    columns = oxygen_columns((6.0, 0.0, 0.0))
    assert len(columns) == 4
    assert all(len(both) == 2 for both in columns.values())
    up = {place: both.mean(axis=0) for place, both in columns.items()}
    step = math.tan(math.radians(6.0)) / math.sqrt(8)
    for (x, y), (dx, dy) in up.items():
        sign = (-1) ** (round((x - min(up)[0]) * math.sqrt(2)) + round(y))
        assert dx == pytest.approx(0.0, abs=1e-9)
        assert dy * sign == pytest.approx(up[min(up)][1])
        assert abs(dy) == pytest.approx(step)


@pytest.mark.parametrize(("tilts", "axis"), [((0.0, 6.0, 0.0), 1), ((0.0, 0.0, 6.0), 0)])
@pytest.mark.parametrize("in_phase", [False, True])
def test_rotations_across_the_beam_part_the_atoms_of_a_column(tilts, axis, in_phase):
    for both in oxygen_columns(tilts, in_phase=in_phase).values():
        np.testing.assert_allclose(both.mean(axis=0), 0.0, atol=1e-9)
        apart = np.abs(both[0] - both[1])
        assert apart[axis] == pytest.approx(math.tan(math.radians(6.0)) / math.sqrt(2))
        assert apart[1 - axis] == pytest.approx(0.0, abs=1e-9)


@settings(max_examples=20, deadline=None)
@given(st.tuples(*[st.floats(-13, 13)] * 3), st.booleans())
def test_the_cell_holds_four_formula_units_whose_bonds_stay_right(tilts, in_phase):
    cell = view(KIND, tilts, in_phase=in_phase)
    assert sorted(cell.number.tolist()) == [8] * 12 + [22] * 4 + [38] * 4
    box = np.array(cell.cell)[[1, 0, 2]]
    assert ((cell.xyz >= 0) & (cell.xyz <= box)).all()
    away = cell.xyz[cell.number == 8][:, None] - cell.xyz[cell.number == 22][None]
    length = np.sort(np.linalg.norm(np.mod(away + box / 2, box) - box / 2, axis=2), axis=1)
    # each oxygen is shared by two octahedra; a tangent moves it across the bond
    np.testing.assert_allclose(length[:, 0], length[:, 1], atol=1e-9)
    assert (length[:, :2] >= A / 2 - 1e-9).all()
    assert (length[:, 1] <= A / 2 * math.sqrt(1 + 0.41**2)).all()


@given(st.floats(-13, 13), st.floats(-13, 13), st.floats(-13, 13))
def test_rotations_keep_their_length_in_cubic_axes(beam, cross, c):
    slope = np.tan(np.radians([beam, cross, c]))
    cubic = np.tan(np.radians(cubic_tilts(beam, cross, c)))
    assert np.linalg.norm(cubic) == pytest.approx(np.linalg.norm(slope), abs=1e-12)


def test_a_is_displaced_the_other_way_in_the_next_layer():
    cell = view(KIND, (0.0, 0.0, 0.0), antipolar=0.01)
    a = cell.xyz[cell.number == 38]
    sign = np.where(np.rint(a[:, 1] / A - 0.5) % 2 == 0, 1, -1)
    off = np.mod(a[:, 0] + A / math.sqrt(8), A / math.sqrt(2)) - A / math.sqrt(8)
    assert len(set((off * sign).round(6))) == 1
    assert np.abs(off) == pytest.approx(0.01)
