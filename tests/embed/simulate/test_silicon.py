"""Dumbbells: separations, sublattices and defects, checked from the positions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

from micdb.embed.simulate.lattices import inside_field
from micdb.embed.simulate.silicon import SEMICONDUCTORS, dumbbells, pairs
from micdb.errors import UsageError

FIELD = (3.0, 3.0)


@pytest.mark.parametrize("material", SEMICONDUCTORS)
def test_dumbbells_are_a_quarter_of_the_lattice_constant_long(material):
    first, second, constant = SEMICONDUCTORS[material]
    structure = dumbbells(material, FIELD, seed=1, rotation=20.0, thickness=2.0)
    distance = cKDTree(structure.xyz).query(structure.xyz, k=2)[0][:, 1]
    np.testing.assert_allclose(distance, constant * np.sqrt(3) / 4, rtol=1e-6)
    columns = structure.columns()
    both = pairs(columns, material)
    separation = columns.xy[both[:, 1]] - columns.xy[both[:, 0]]
    np.testing.assert_allclose(np.hypot(*separation.T), constant / 4, rtol=1e-6)
    turn = np.degrees(np.arctan2(separation[:, 1], separation[:, 0])) % 180
    np.testing.assert_allclose(turn, 110.0, atol=1e-6)
    assert (np.sort(columns.number[both], axis=1) == sorted((first, second))).all()
    inner = np.flatnonzero(inside_field(columns.xy, FIELD, border=0.2))
    assert (np.bincount(both.ravel(), minlength=len(columns.xy))[inner] == 1).all()


def test_defects():
    whole = dumbbells("Si", FIELD, seed=2, thickness=4.0)
    less = dumbbells("Si", FIELD, seed=2, thickness=4.0, defects={"vacancy": 1}, share=1.0)
    assert len(whole.columns().xy) - len(less.columns().xy) == 1
    assert np.hypot(*(less.columns().xy - less.defects[0].xy).T).min() == pytest.approx(0.5431 / 4, rel=1e-5)
    foreign = dumbbells("Si", FIELD, seed=2, thickness=4.0, defects={"substitution": 1}, share=0.5)
    (planted,) = foreign.defects
    assert (foreign.number[list(planted.atoms)] == 33).all()
    assert (foreign.columns().number == 33).sum() == 1


@pytest.mark.parametrize("rotation", [0.0, 70.0])
@pytest.mark.parametrize("seed", range(3))
def test_an_interstitial_column_is_in_the_middle_of_a_channel(rotation, seed):
    structure = dumbbells(
        "Si", FIELD, seed=seed, thickness=4.0, rotation=rotation, defects={"interstitial": 1}, share=1.0
    )
    (planted,) = structure.defects
    assert planted.kind == "interstitial"
    columns = structure.columns()
    distance = np.sort(np.hypot(*(columns.xy - planted.xy).T))
    assert distance[0] < 1e-9
    np.testing.assert_allclose(distance[1:7] / 0.5431, 0.375, atol=1e-5)  # six columns around it
    inner = [i for i in planted.atoms if 0.5 < structure.xyz[i, 2] < 3.5]
    reach = cKDTree(structure.xyz).query(structure.xyz[inner], k=2)[0][:, 1]
    np.testing.assert_allclose(reach, 0.5431 * np.sqrt(11) / 8, rtol=1e-5)  # the hexagonal site


def test_mistakes_are_told():
    with pytest.raises(UsageError, match="no semiconductor 'InP'; expected one of Si, Ge, GaAs"):
        dumbbells("InP", FIELD, seed=1)
