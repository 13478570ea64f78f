"""Layers MX2: every label is checked from the positions themselves."""

from __future__ import annotations

import numpy as np
import pytest

from micdb.embed.simulate.dichalcogenides import DEFECTS, LAYERS, dichalcogenide
from micdb.embed.simulate.lattices import inside_field
from micdb.errors import UsageError

FIELD = (4.0, 4.0)


def layer(name=None, *, material="MoS2", seed=2, **keywords):
    defects = {} if name is None else {name: 1}
    return dichalcogenide(material, FIELD, seed=seed, rotation=17.0, defects=defects, **keywords)


def column(columns, planted):
    return int(np.hypot(*(columns.xy - planted.xy).T).argmin())


@pytest.mark.parametrize("material", LAYERS)
def test_a_layer_has_its_distances_and_columns(material):
    structure, (metal, chalcogen, constant, height) = layer(material=material), LAYERS[material]
    bonds = structure.bonds()
    inner = np.flatnonzero(inside_field(structure.xyz[:, :2], FIELD))
    coordination = np.bincount(bonds.ravel(), minlength=len(structure.number))[inner]
    assert (coordination == np.where(structure.number[inner] == metal, 6, 3)).all()
    length = np.linalg.norm(structure.xyz[bonds[:, 0]] - structure.xyz[bonds[:, 1]], axis=1)
    np.testing.assert_allclose(length, np.hypot(constant / np.sqrt(3), height / 2), rtol=1e-6)
    columns = structure.columns()
    assert set(columns.number) == {metal, chalcogen}
    assert (columns.atoms == np.where(columns.number == metal, 1, 2)).all()
    density = inside_field(columns.xy, FIELD).sum() / 16
    assert density == pytest.approx(2 / (constant**2 * np.sqrt(3) / 2), rel=0.04)


def test_one_missing_chalcogen_halves_its_column():
    structure = layer("chalcogen-vacancy")
    (planted,) = structure.defects
    columns = structure.columns()
    hit = column(columns, planted)
    assert planted.kind == "vacancy"
    assert columns.atoms[hit] == 1
    assert columns.weight[hit] == pytest.approx(16**1.7)
    assert (columns.atoms[columns.number == 16] == 1).sum() == 1
    assert (structure.number[list(planted.atoms)] == 42).all()
    assert len(planted.atoms) == 3
    np.testing.assert_allclose(columns.vacancies, [planted.xy])


@pytest.mark.parametrize(
    ("name", "kind", "around"), [("chalcogen-divacancy", "divacancy", 3), ("metal-vacancy", "vacancy", 6)]
)
def test_whole_columns_missing(name, kind, around):
    structure = layer(name)
    (planted,) = structure.defects
    assert planted.kind == kind
    assert len(planted.atoms) == around
    assert np.hypot(*(structure.xyz[:, :2] - planted.xy).T).min() > 0.15  # [nm]
    assert len(layer().columns().xy) - len(structure.columns().xy) == 1


@pytest.mark.parametrize(
    ("name", "number", "atoms"),
    [("metal-dopant", 74, 1), ("chalcogen-dopant", 34, 2), ("metal-antisite", 42, 1)],
)
def test_foreign_atoms(name, number, atoms):
    structure = layer(name)
    (planted,) = structure.defects
    assert planted.kind == "substitution"
    assert structure.number[list(planted.atoms)].tolist() == [number]
    columns = structure.columns()
    hit = column(columns, planted)
    assert columns.number[hit] == number
    assert columns.atoms[hit] == atoms
    if name == "metal-antisite":
        whole = layer().columns()
        assert whole.number[column(whole, planted)] == 16


def test_dopants_are_what_is_asked_for():
    assert 75 in layer("metal-dopant", metal_dopant=75).number
    assert 8 in layer("chalcogen-dopant", chalcogen_dopant=8).number


@pytest.mark.parametrize(("name", "number", "atoms"), [("chalcogen-adatom", 16, 3), ("metal-adatom", 42, 2)])
def test_adatoms_make_a_column_higher(name, number, atoms):
    structure = layer(name)
    (planted,) = structure.defects
    columns = structure.columns()
    hit = column(columns, planted)
    assert planted.kind == "adatom"
    assert columns.number[hit] == number
    assert columns.atoms[hit] == atoms
    assert structure.xyz[planted.atoms[0], 2] == structure.xyz[:, 2].max()


@pytest.mark.parametrize("seed", range(3))
def test_a_twin_boundary_is_a_mirror(seed):
    structure = layer(seed=seed, boundary=True)
    (planted,) = structure.defects
    assert planted.kind == "boundary"
    xyz, number = structure.xyz, structure.number
    near = np.array(planted.atoms)
    on_line = near[number[near] == 16]
    along = np.linalg.svd(xyz[on_line, :2] - planted.xy)[2]
    place = (xyz[:, :2] - planted.xy) @ along.T
    np.testing.assert_allclose(place[on_line, 1], 0.0, atol=1e-9)
    inner = np.hypot(*(xyz[:, :2] - planted.xy).T) < 1.0  # [nm] its mirror image is in the view too
    image = np.column_stack((place[inner] * [1, -1], xyz[inner, 2]))
    whole = np.column_stack((place, xyz[:, 2]))
    distance = np.linalg.norm(image[:, None] - whole[None], axis=-1)
    assert distance.min(axis=1).max() < 1e-9
    assert (number[distance.argmin(axis=1)] == number[inner]).all()
    pairs = np.linalg.norm(xyz[:, None] - xyz[None], axis=-1) + 9 * np.eye(len(xyz))
    assert pairs.min() > 0.23  # [nm] no two atoms closer than a bond
    metals = near[number[near] == 42]
    coordination = np.bincount(structure.bonds().ravel(), minlength=len(number))
    middle = on_line[np.abs(place[on_line, 0]) < 0.5]
    assert (coordination[middle] == 4).all()  # four metals around each chalcogen of the line
    assert len(metals) > 10


def test_seed_decides_and_mistakes_are_told():
    plan = dict.fromkeys(DEFECTS, 1)
    one, same, other = (dichalcogenide("WSe2", FIELD, seed=s, defects=plan) for s in (1, 1, 2))
    np.testing.assert_array_equal(one.xyz, same.xyz)
    assert one.defects == same.defects
    assert one.defects != other.defects
    assert len(one.defects) == len(DEFECTS)
    with pytest.raises(UsageError, match="no layer 'MoS3'; expected one of MoS2"):
        dichalcogenide("MoS3", FIELD, seed=1)
    with pytest.raises(UsageError, match="WS2 has no defect 'vacancy'; expected one of metal-vacancy"):
        dichalcogenide("WS2", FIELD, seed=1, defects={"vacancy": 1})
