"""Perovskites: tilts and polar displacements come back from the positions."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from micdb.embed.simulate.perovskites import PEROVSKITES, perovskite, tilted_cell
from micdb.embed.simulate.slabs import beam_frame
from micdb.errors import UsageError

FIELD = (2.0, 2.0)
ANGLES = st.floats(-9.0, 9.0)


@settings(max_examples=25, deadline=None)
@given(st.tuples(ANGLES, ANGLES, ANGLES), st.sampled_from(["".join(p) for p in product("+-", repeat=3)]))
def test_tilts_and_phases_come_back_from_the_oxygens(tilts, phases):
    kind = PEROVSKITES["SrTiO3"]
    cell = tilted_cell(kind, tilts=tilts, phases=phases)
    a = kind.constant
    xyz = cell.sites @ cell.cell
    oxygen, middles = xyz[cell.number == 8], xyz[cell.number == 22]
    turned = {}
    for middle in middles:
        arms = (oxygen - middle + a) % (2 * a) - a  # the nearest image
        near = arms[np.argsort(np.linalg.norm(arms, axis=1))[:6]]
        opposite = np.linalg.norm(near[:, None] + near[None], axis=-1).min(axis=1)
        np.testing.assert_allclose(opposite, 0.0, atol=1e-9)  # an octahedron stays centred
        right = near[near[:, 0].argmax()], near[near[:, 1].argmax()]
        about_z, about_y = np.arctan(right[0][1] / right[0][0]), np.arctan(-right[0][2] / right[0][0])
        about_x = np.arctan(right[1][2] / right[1][1])
        turned[tuple(np.rint(middle / a).astype(int))] = np.degrees([about_x, about_y, about_z])
    first = turned[0, 0, 0]
    np.testing.assert_allclose(first, tilts, atol=1e-6)
    for axis in range(3):
        step = tuple(int(k == axis) for k in range(3))
        same = 1 if phases[axis] == "+" else -1
        np.testing.assert_allclose(turned[step][axis], same * tilts[axis], atol=1e-6)
        across = tuple(int(k == (axis + 1) % 3) for k in range(3))
        np.testing.assert_allclose(turned[across][axis], -tilts[axis], atol=1e-6)


@pytest.mark.parametrize("material", PEROVSKITES)
@pytest.mark.parametrize("axis", [(0, 0, 1), (1, 1, 0)])
def test_columns_along_the_zone_axes(material, axis):
    a_site, b_site, constant = PEROVSKITES[material]
    structure = perovskite(material, FIELD, seed=1, axis=axis, thickness=8 * constant * np.linalg.norm(axis))
    columns = structure.columns()
    assert set(columns.number) == {a_site, b_site, 8}
    if axis == (0, 0, 1):  # A; B and O; O
        assert set(columns.atoms[columns.number == a_site]) == {8}
        assert set(columns.atoms[columns.number == b_site]) == {16}
    else:  # A and O; B; O
        assert set(columns.atoms[columns.number == a_site]) == {16}
        assert set(columns.atoms[columns.number == b_site]) == {8}
    distance = cKDTree(columns.xy).query(columns.xy, k=2)[0][:, 1]
    shortest = constant / 2 if axis == (0, 0, 1) else constant / np.sqrt(8)
    np.testing.assert_allclose(np.median(distance), shortest, rtol=1e-6)


def test_alternating_tilts_split_oxygen_columns_and_repeated_ones_move_them():
    thick = 8 * 0.3905
    still = perovskite("SrTiO3", FIELD, seed=1, thickness=thick)
    spread = {}
    for phases in ("--+", "---"):
        structure = perovskite("SrTiO3", FIELD, seed=1, thickness=thick, tilts=(0, 0, 6.0), phases=phases)
        columns = still.columns()
        oxygen = structure.xyz[structure.number == 8]
        distance, owner = cKDTree(columns.xy[columns.number == 8]).query(oxygen[:, :2])
        near = distance < 0.05
        assert distance[near].max() == pytest.approx(0.3905 / 2 * np.tan(np.radians(6.0)), rel=1e-6)
        spread[phases] = max(np.ptp(oxygen[near][owner[near] == k, :2], axis=0).max() for k in range(4))
    assert spread["--+"] < 1e-9
    assert spread["---"] > 0.03  # [nm] twice the displacement


def test_polar_displacement_is_that_of_b_against_a():
    moved = (0.01, 0.0, 0.02)
    still, polar = (
        perovskite("BaTiO3", FIELD, seed=2, axis=(1, 1, 0), rotation=30.0, polar=p)
        for p in ((0, 0, 0), moved)
    )
    titanium = still.number == 22
    frame = beam_frame(np.eye(3), (1, 1, 0))
    expected = frame @ moved
    turn = np.radians(30.0)
    x, y = expected[:2]
    expected[:2] = np.cos(turn) * x - np.sin(turn) * y, np.sin(turn) * x + np.cos(turn) * y
    distance, nearest = cKDTree(polar.xyz[polar.number == 22]).query(still.xyz[titanium])
    shift = polar.xyz[polar.number == 22][nearest[distance < 0.05]] - still.xyz[titanium][distance < 0.05]
    np.testing.assert_allclose(shift, np.broadcast_to(expected, shift.shape), atol=1e-9)


def test_defects_are_in_their_sublattice():
    thick = 8 * 0.3905
    whole = perovskite("SrTiO3", FIELD, seed=3, thickness=thick)
    for name, number, dopant in (("A-substitution", 38, 57), ("B-substitution", 22, 41)):
        structure = perovskite("SrTiO3", FIELD, seed=3, thickness=thick, defects={name: 1}, share=0.25)
        (planted,) = structure.defects
        assert (structure.number[list(planted.atoms)] == dopant).all()
        assert len(planted.atoms) == 2
        assert (whole.number == number).sum() - (structure.number == number).sum() == 2
    for name, number in (("A-vacancy", 38), ("B-vacancy", 22), ("O-vacancy", 8)):
        structure = perovskite("SrTiO3", FIELD, seed=3, thickness=thick, defects={name: 1}, share=0.5)
        (planted,) = structure.defects
        lost = (whole.number == number).sum() - (structure.number == number).sum()
        assert lost == (4 if number != 8 or lost == 4 else 8)
        assert planted.kind == "vacancy"
        assert set(structure.number[list(planted.atoms)]) & {8, 22, 38}


def test_mistakes_are_told():
    with pytest.raises(UsageError, match="no perovskite 'KTaO3'; expected one of SrTiO3"):
        perovskite("KTaO3", FIELD, seed=1)
    with pytest.raises(UsageError, match=r"phases are '\+-0'; expected three of \+ and -"):
        perovskite("SrTiO3", FIELD, seed=1, phases="+-0")
