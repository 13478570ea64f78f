"""Metals: heights, terraces, twins and particles, checked from the positions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

from micdb.embed.simulate.lattices import inside_field
from micdb.embed.simulate.metals import METALS, metal_slab, nanoparticle, twin
from micdb.errors import UsageError

FIELD = (3.0, 3.0)


def nearest(structure):
    return cKDTree(structure.xyz).query(structure.xyz, k=2)[0][:, 1]


@pytest.mark.parametrize("metal", METALS)
@pytest.mark.parametrize("axis", [(0, 0, 1), (1, 1, 0), (1, 1, 1)])
def test_slabs_have_their_distances_and_density(metal, axis):
    number, constant, lattice = METALS[metal]
    structure = metal_slab(metal, FIELD, seed=1, axis=axis, rotation=12.0, thickness=2.0)
    bond = constant / np.sqrt(2) if lattice == "fcc" else constant * np.sqrt(3) / 2
    np.testing.assert_allclose(nearest(structure), bond, rtol=1e-6)
    assert (structure.number == number).all()
    inner = inside_field(structure.xyz[:, :2], FIELD) & (structure.xyz[:, 2] < 1.5)
    per_cell = 4 if lattice == "fcc" else 2
    assert inner.sum() / (9 * 1.5) == pytest.approx(per_cell / constant**3, rel=0.17)


def test_the_height_of_a_slab_is_its_layers():
    heights = metal_slab("Au", FIELD, seed=1, axis=(0, 0, 1), thickness=5 * 0.4078).columns().atoms
    assert set(heights) == {5}
    uneven = metal_slab("Au", FIELD, seed=1, axis=(0, 0, 1), thickness=5.1 * 0.4078).columns().atoms
    assert set(uneven) == {5, 6}


def test_terraces_take_atoms_off_the_exit_side_only():
    structure = metal_slab("Au", (4.0, 4.0), seed=2, thickness=4.0, roughness=2.5)
    columns = structure.columns()
    assert len(set(columns.atoms)) >= 5
    assert columns.atoms.sum() == len(structure.number)
    group = cKDTree(columns.xy).query(structure.xyz[:, :2])[1]
    for column in range(0, len(columns.xy), 7):
        z = np.sort(structure.xyz[group == column, 2])
        assert z[0] < 0.21  # [nm] it starts at the entrance side
        np.testing.assert_allclose(np.diff(z), 0.4078, rtol=1e-6)


def test_vacancies_substitutions_and_interstitials():
    whole = metal_slab("Au", FIELD, seed=3, thickness=8 * 0.4078)
    less = metal_slab("Au", FIELD, seed=3, thickness=8 * 0.4078, defects={"vacancy": 2}, share=0.5)
    assert [one.kind for one in less.defects] == ["vacancy", "vacancy"]
    assert len(whole.number) - len(less.number) == 8
    columns = less.columns()
    for one in less.defects:
        assert columns.atoms[np.hypot(*(columns.xy - one.xy).T).argmin()] == 4
        assert (np.linalg.norm(less.xyz[list(one.atoms), :2] - one.xy, axis=1) < 0.3).all()  # [nm] neighbours
    foreign = metal_slab(
        "Au", FIELD, seed=3, thickness=3.2, defects={"substitution": 1}, dopant=47, share=1.0
    )
    (planted,) = foreign.defects
    assert (foreign.number[list(planted.atoms)] == 47).all()
    assert foreign.columns().number.min() == 47
    extra = metal_slab("Fe", FIELD, seed=3, thickness=1.0, defects={"interstitial": 1}, rotation=20.0)
    (planted,) = extra.defects
    assert planted.kind == "interstitial"
    (atom,) = planted.atoms
    distance = np.sort(np.linalg.norm(extra.xyz - extra.xyz[atom], axis=1))[1]
    assert distance == pytest.approx(0.2866 * np.sqrt(5) / 4, rel=1e-6)  # the tetrahedral hole of bcc
    assert (
        len(extra.columns().xy)
        - len(metal_slab("Fe", FIELD, seed=3, thickness=1.0, rotation=20.0).columns().xy)
        == 1
    )


@pytest.mark.parametrize("seed", range(3))
def test_a_twin_is_a_mirror_and_nothing_is_too_close(seed):
    structure = twin("Au", FIELD, seed=seed, thickness=1.0, rotation=25.0)
    (planted,) = structure.defects
    np.testing.assert_allclose(nearest(structure), 0.4078 / np.sqrt(2), rtol=1e-6)
    place = structure.rotated(-25.0, about=planted.xy).xyz[:, :2] - planted.xy
    on_plane = np.zeros(len(place), bool)
    on_plane[list(planted.atoms)] = True
    np.testing.assert_allclose(place[on_plane, 1], 0.0, atol=1e-9)
    assert np.abs(place[~on_plane, 1]).min() > 0.2  # [nm] the next (111) plane
    # an atom of the crystal has its neighbours in opposite pairs, one of the boundary has not
    tree = cKDTree(structure.xyz)
    middle = np.flatnonzero(
        inside_field(structure.xyz[:, :2], FIELD, border=0.1) & (np.abs(structure.xyz[:, 2] - 0.45) < 0.2)
    )
    for atom in middle:
        near = structure.xyz[np.array(tree.query_ball_point(structure.xyz[atom], 0.3))] - structure.xyz[atom]
        near = near[np.linalg.norm(near, axis=1) > 0.1]
        assert len(near) == 12
        opposite = np.linalg.norm(near[:, None] + near[None], axis=-1).min(axis=1)
        assert (opposite.max() > 0.1) == on_plane[atom]


@pytest.mark.parametrize("metal", ["Au", "Pt", "Fe"])
@pytest.mark.parametrize("axis", [(1, 1, 0), (0, 0, 1)])
def test_particles(metal, axis):
    structure = nanoparticle(metal, (4.0, 4.0), seed=4, diameter=2.4, axis=axis, rotation=33.0)
    columns = structure.columns()
    assert columns.atoms.sum() == len(structure.number)
    assert columns.atoms.max() > 3 * columns.atoms.min()
    spread = structure.xyz[:, :2] - 2.0
    assert np.abs(spread).max() < 2.4 * 0.95
    bond = METALS[metal].constant / np.sqrt(2) if metal != "Fe" else METALS[metal].constant * np.sqrt(3) / 2
    assert nearest(structure).min() == pytest.approx(bond, rel=1e-6)
    inner = np.linalg.norm(structure.xyz - [2.0, 2.0, 0.0], axis=1) < 0.6
    density = inner.sum() / (4 / 3 * np.pi * 0.6**3)
    assert density == pytest.approx((4 if metal != "Fe" else 2) / METALS[metal].constant ** 3, rel=0.2)


def test_corners_go_missing_and_the_seed_decides():
    full = nanoparticle("Au", (4, 4), seed=1, diameter=2.5, missing=0.0)
    worn = nanoparticle("Au", (4, 4), seed=1, diameter=2.5, missing=0.5)
    assert 0 < len(full.number) - len(worn.number) < 0.2 * len(full.number)
    np.testing.assert_array_equal(worn.xyz, nanoparticle("Au", (4, 4), seed=1, diameter=2.5, missing=0.5).xyz)
    assert not np.isin(worn.xyz, nanoparticle("Au", (4, 4), seed=2, diameter=2.5, missing=0.5).xyz).any()


def test_mistakes_are_told():
    with pytest.raises(UsageError, match="no metal 'Xx'; expected one of Al, Ni"):
        metal_slab("Xx", FIELD, seed=1)
    with pytest.raises(UsageError, match="Fe is bcc; expected an fcc metal"):
        twin("Fe", FIELD, seed=1)
    with pytest.raises(UsageError, match="Au has no defect 'hole'; expected one of vacancy"):
        metal_slab("Au", FIELD, seed=1, defects={"hole": 1})
