"""Structures: columns, bonds, and what moving and cropping does to the labels."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from micdb.embed.simulate.structure import Planted, Structure, covalent_radii, merged
from micdb.errors import MissingExtraError, UsageError

# a dimer along the beam, a lone heavy atom, and a light one that leans on it
FEW = Structure(
    np.array([[1.0, 1.0, 0.0], [1.01, 1.0, 0.3], [2.0, 1.0, 0.0], [2.0, 1.02, 0.4], [3.0, 2.0, 0.0]]),
    np.array([16, 16, 42, 8, 6]),
    (Planted("vacancy", (1.0, 1.0), (0,)), Planted("substitution", (2.0, 1.0), (2, 3))),
)


def test_columns_are_seen_along_the_beam():
    columns = FEW.columns()
    assert columns.atoms.tolist() == [2, 2, 1]
    assert columns.number.tolist() == [16, 42, 6]
    np.testing.assert_allclose(columns.weight, [2 * 16**1.7, 42**1.7 + 8**1.7, 6**1.7])
    np.testing.assert_allclose(columns.xy[0], [1.005, 1.0])
    heavy, light = 42**1.7, 8**1.7
    assert columns.xy[1, 1] == pytest.approx((heavy * 1.0 + light * 1.02) / (heavy + light))
    assert [one.atoms for one in columns.defects] == [(0,), (1,)]
    np.testing.assert_allclose(columns.vacancies, [[1.0, 1.0]])
    assert FEW.columns(tolerance=0.001).atoms.tolist() == [1, 1, 1, 1, 1]


def test_bonds_are_by_covalent_radii():
    pair = Structure(np.array([[0, 0, 0], [0.18, 0, 0], [0.0, 0.19, 0], [1, 1, 0]]), np.array([6, 6, 6, 6]))
    assert pair.bonds().tolist() == [[0, 1]]
    silicon = Structure(pair.xyz, np.array([14, 6, 6, 6]))
    assert silicon.bonds().tolist() == [[0, 1], [0, 2]]
    with pytest.raises(UsageError, match="no covalent radius for atomic number 2; expected one of 1, 5, 6"):
        covalent_radii(np.array([6, 2]))


def test_labels_follow_the_atoms():
    part = FEW.kept(np.array([False, True, True, False, True]))
    assert part.number.tolist() == [16, 42, 6]
    assert part.defects == (Planted("substitution", (2.0, 1.0), (1,)),)  # the other lost its only atom
    both = merged((part, FEW))
    assert both.defects[-1].atoms == (5, 6)
    np.testing.assert_array_equal(both.number[[5, 6]], [42, 8])


def test_field_of_view():
    near = FEW.inside((1.5, 2.0), margin=0.1)
    assert near.number.tolist() == [16, 16, 42, 8]


@given(st.floats(-180, 180), st.floats(-5, 5), st.floats(-5, 5))
def test_rotation_keeps_distances_and_moves_labels(angle, x, y):
    turned = FEW.rotated(angle, about=(x, y)).shifted(x, y)
    distances = [np.linalg.norm(one.xyz[:, None] - one.xyz[None], axis=-1) for one in (FEW, turned)]
    np.testing.assert_allclose(*distances, atol=1e-9)
    np.testing.assert_allclose(turned.defects[0].xy, turned.xyz[0, :2], atol=1e-9)


def test_strain_and_mistilt_are_what_they_say():
    strained = FEW.strained(0.01, -0.02, about=(1.0, 1.0))
    np.testing.assert_allclose(strained.xyz[4, :2], [1 + 2 * 1.01, 1 + 0.98])
    np.testing.assert_allclose(strained.defects[1].xy, [2.01, 1.0])
    leaned = FEW.mistilted(10.0, 0.0)
    np.testing.assert_allclose(leaned.xyz[1, 0] - 1.01, 0.3 * 0.010, rtol=1e-3)
    np.testing.assert_array_equal(leaned.xyz[:, 1:], FEW.xyz[:, 1:])


def test_jitter_has_its_standard_deviation_and_seed():
    many = Structure(np.zeros((4000, 3)), np.full(4000, 6))
    moved = many.jittered(0.005, seed=3)
    assert moved.xyz.std() == pytest.approx(0.005, rel=0.03)
    np.testing.assert_array_equal(moved.xyz, many.jittered(0.005, seed=3).xyz)
    assert (moved.xyz != many.jittered(0.005, seed=4).xyz).all()


def test_ase_has_the_same_atoms_in_angstrom():
    atoms = FEW.to_ase()
    assert atoms.get_chemical_symbols() == ["S", "S", "Mo", "O", "C"]
    np.testing.assert_allclose(atoms.positions, FEW.xyz * 10)


def test_without_ase_there_is_the_install_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "ase", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'micdb\[simulate\]'"):
        FEW.to_ase()


def test_nothing_is_no_column():
    empty = Structure(np.empty((0, 3)), np.empty(0, np.int64))
    assert len(empty.columns().xy) == len(empty.bonds()) == 0


def test_metals_are_bonded_only_among_themselves():
    near = np.array([[0.0, 0.0, 0.0], [0.27, 0.0, 0.0], [0.13, 0.13, 0.0]])
    assert Structure(near, np.array([42, 42, 42])).bonds().tolist() == [[0, 1], [0, 2], [1, 2]]
    assert Structure(near, np.array([42, 42, 16])).bonds().tolist() == [[0, 2], [1, 2]]


def test_scattering_grows_with_the_atoms_in_a_column():
    heights = np.array([1, 2, 5, 9])
    xyz = np.concatenate([[(k * 0.3, 0.0, 0.4 * n) for n in range(h)] for k, h in enumerate(heights)])
    shuffled = np.random.default_rng(1).permutation(len(xyz))
    structure = Structure(xyz[shuffled], np.full(len(xyz), 79))
    columns = structure.columns(exponent=1.5, growth=1.2)
    order = np.argsort(columns.xy[:, 0])
    assert columns.atoms[order].tolist() == heights.tolist()
    np.testing.assert_allclose(columns.weight[order], 79**1.5 * heights**1.2)
    weight = structure.scattering(exponent=1.5, growth=1.2)
    first, last = weight[structure.xyz[:, 2] < 0.1], weight[structure.xyz[:, 2] > 3.1]
    np.testing.assert_allclose(first, 79**1.5)
    np.testing.assert_allclose(last, 79**1.5 * (9**1.2 - 8**1.2))


def test_columns_are_bonded_where_their_atoms_are():
    layer = Structure(  # a chalcogen pair between two metals, and one beyond reach
        np.array([[0.0, 0.0, 0.0], [0.18, 0.0, 0.16], [0.18, 0.0, -0.16], [0.36, 0.0, 0.0], [0.9, 0.0, 0.0]]),
        np.array([42, 16, 16, 42, 42]),
    )
    assert layer.column_bonds().tolist() == [[0, 1], [1, 2]]
    assert len(layer.bonds()) == 4
