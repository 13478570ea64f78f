"""Grains, cells and local lattices: sites are predicted where they are, however the crystal is bent."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from micdb.embed.atoms.find import find
from micdb.embed.defects.brightness import classes, ratios
from micdb.embed.defects.cell import folded
from micdb.embed.defects.local_lattice import local_lattice
from micdb.embed.defects.orientation import NO_GRAIN, grains
from micdb.embed.defects.sites import sites
from micdb.embed.nets import weights
from micdb.embed.simulate.defect_scenes import Imaging, planted_scene
from micdb.embed.simulate.dichalcogenides import dichalcogenide
from micdb.embed.simulate.graphene import graphene

BOND = 0.142  # [nm]


def honeycomb(side=3.0, rotation=0.0):
    return graphene((side, side), seed=2, rotation=rotation, margin=0.0).columns().xy


@settings(max_examples=15, deadline=None)
@given(
    turn=st.floats(0, 60),
    strain=st.floats(-0.03, 0.03),
    matrix=st.sampled_from([((1, 0), (0, 1)), ((1, 1), (0, 1)), ((2, 1), (1, 1))]),
)
def test_a_honeycomb_has_two_sites_whatever_its_basis(turn, strain, matrix):
    xy = honeycomb(2.0, turn) * (1 + strain)
    cell = folded(xy, np.array(matrix) @ basis(turn) * (1 + strain), BOND)
    assert len(cell.sites) == 2
    assert cell.spacing == pytest.approx(BOND * (1 + strain), rel=0.01)


def basis(turn):
    angle = np.radians(turn + np.array([0, 120]))
    return 0.246 * np.column_stack((np.cos(angle), np.sin(angle)))


def test_second_order_spots_alone_do_not_make_a_honeycomb_triangular():
    vectors = np.array([[1, -1], [1, 2]]) @ basis(0.0) / 3  # a third of its sites are the hollows
    cell = folded(honeycomb(), vectors, BOND)
    assert len(cell.sites) == 2
    assert cell.area == pytest.approx(0.246**2 * np.sqrt(3) / 2, rel=0.01)


def test_columns_on_no_lattice_have_no_cell():
    xy = np.random.default_rng(0).random((150, 2)) * 3.0
    assert folded(xy, basis(0.0), BOND) is None


def test_a_missing_column_is_predicted_in_a_bent_sheet():
    xy = honeycomb()
    bent = xy + 0.02 * np.column_stack(
        (np.sin(xy[:, 1] * 2), np.cos(xy[:, 0] * 2))
    )  # 0.02 nm, 14 % of a bond
    gone = int(np.argmin(np.square(xy - 1.5).sum(axis=1)))
    rest = np.delete(bent, gone, axis=0)
    cell = folded(rest, basis(0.0), BOND)
    start = rest[np.argmin(np.square(rest - np.median(rest, axis=0)).sum(axis=1))]
    lattice = local_lattice(rest, np.arange(len(rest)), cell, (3.0, 3.0), start=start)
    assert sorted(lattice.column[lattice.column >= 0]) == list(range(len(rest)))
    empty = lattice.place[lattice.column < 0]
    assert np.hypot(*(empty - bent[gone]).T).min() < 0.01  # nm


def test_grains_are_told_by_their_direction_and_twins_by_their_polarity():
    sheet = graphene((3.0, 3.0), seed=3, grain_count=2).columns()
    label, fold = grains(sheet.xy, sheet.weight, BOND)
    assert fold == 6
    assert (np.bincount(label[label != NO_GRAIN]) > 100).sum() == 2
    layer = dichalcogenide("MoS2", (4.0, 4.0), seed=1, boundary=True).columns()
    label, fold = grains(layer.xy, layer.weight, 0.182)
    assert fold == 3
    assert (np.bincount(label[label != NO_GRAIN]) > 50).sum() == 2


def test_one_crystal_is_one_grain_even_when_its_columns_jitter():
    xy = honeycomb() + np.random.default_rng(1).normal(0, 0.012, honeycomb().shape)
    label, _ = grains(xy, np.ones(len(xy)), BOND)
    assert np.bincount(label + 1)[1:].tolist() == [len(xy) - (label == NO_GRAIN).sum()]


def test_columns_of_two_brightnesses_on_one_lattice_are_two_classes():
    cell = np.stack(np.meshgrid(np.arange(12), np.arange(12), indexing="ij"), -1).reshape(-1, 2)
    rng = np.random.default_rng(0)
    value = np.where(cell.sum(axis=1) % 2, 1.0, 2.0) * rng.normal(1, 0.03, len(cell))
    label = classes(cell, np.zeros(len(cell), np.int64), value)
    assert len(set(label)) == 2
    assert {len(set(label[cell.sum(axis=1) % 2 == k])) for k in (0, 1)} == {1}
    value[5] *= 0.5
    ratio, spread = ratios(cell.astype(float), label, value, np.ones(len(cell), bool))
    assert ratio[5] == pytest.approx(0.5, abs=0.05)
    assert spread[5] < 0.06


def test_columns_that_are_alike_are_one_class():
    cell = np.stack(np.meshgrid(np.arange(12), np.arange(12), indexing="ij"), -1).reshape(-1, 2)
    value = np.random.default_rng(0).normal(1, 0.1, len(cell))
    assert set(classes(cell, np.zeros(len(cell), np.int64), value)) == {0}


def seen(material, counts, seed=0, rotation=0.0):
    how = Imaging(counts=counts, side=192, pixel_size=0.015)
    scene = planted_scene(material, {}, seed=seed, imaging=how, rotation=rotation)
    image = np.asarray(scene.simulated.image, float)
    return sites(image, find(image, how.pixel_size, weights.unet("stem-atoms"), 0.5))


def test_the_lattice_of_a_crystal_is_the_same_at_every_dose():
    some, more = (seen("SrTiO3", counts, seed=101, rotation=13.0) for counts in (10.0, 50.0))
    assert more.columns > 1.2 * some.columns  # noise shows as much oxygen as the dose allows
    for one in (some, more):
        assert one.spacing * 0.015 == pytest.approx(0.276, rel=0.03)  # [nm] from strontium to titanium
        strength = [np.nanmedian(one.strength[one.kind == k]) for k in range(one.kind.max() + 1)]
        assert sorted(strength) == pytest.approx([0.46, 1.0], abs=0.1)


def test_sulphur_beside_tungsten_is_measured_as_well_as_counting_allows():
    ratios = []
    for seed in range(3):
        one = seen("WS2", 20.0, seed, rotation=13.0 * seed)
        strength = [np.nanmedian(one.strength[one.kind == k]) for k in range(one.kind.max() + 1)]
        room = np.minimum(one.xy, 191 - one.xy).min(axis=1)
        ratios.append(one.ratio[(one.kind == int(np.argmin(strength))) & (room > one.spacing)])
    found = np.concatenate(ratios)
    assert np.isfinite(found).mean() > 0.97  # noise beside a site does not hide it
    assert np.nanstd(found) < 1.15 * 0.2  # the bound of Cramer and Rao: benchmarks/defect_limits.py
