"""Neighbour graphs against a direct count."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from micdb.embed import graph
from micdb.embed.simulate.lattices import crystal
from micdb.errors import UsageError

POINTS = hnp.arrays(
    np.float64, st.tuples(st.integers(0, 25), st.just(2)), elements=st.integers(0, 40).map(float)
)


@given(POINTS, st.floats(0.5, 20.3))
def test_neighbours_are_all_pairs_within_reach(xy, cutoff):
    i, j, length = graph.neighbours(xy, cutoff)
    direct = [
        (a, b) for a in range(len(xy)) for b in range(a + 1, len(xy)) if np.hypot(*(xy[a] - xy[b])) <= cutoff
    ]
    assert list(zip(i.tolist(), j.tolist(), strict=True)) == direct
    np.testing.assert_allclose(length, [np.hypot(*(xy[a] - xy[b])) for a, b in direct])
    degree = graph.coordination(len(xy), i, j)
    assert len(degree) == len(xy)
    assert degree.sum() == 2 * len(direct)


def test_nearest_distances():
    np.testing.assert_allclose(graph.nearest_distances(np.array([[0, 0], [3, 4], [3, 5.0]])), [5, 1, 1])
    assert np.isnan(graph.nearest_distances(np.zeros((1, 2)))).all()


def test_to_networkx_keeps_columns_and_images_apart():
    atoms = pa.table({"image": [1, 1, 2], "frame": [0, 0, 0], "idx": [0, 1, 0], "x_nm": [0.0, 0.1, 0.0]})
    bonds = pa.table({"image": [1], "frame": [0], "i": [0], "j": [1], "length_nm": [0.1]})
    view = graph.to_networkx(atoms, bonds)
    assert isinstance(view, nx.Graph)
    assert sorted(view) == [(1, 0, 0), (1, 0, 1), (2, 0, 0)]
    assert view.edges[(1, 0, 0), (1, 0, 1)]["length_nm"] == 0.1
    assert view.nodes[1, 0, 1]["x_nm"] == 0.1


def honeycomb(side=2.2, *, seed=0, jitter=0.003):
    """Return graphene and its two sub-lattices."""
    columns = crystal("graphene", (side, side), seed=seed, rotation=7, jitter=jitter)
    return columns.xy


def test_cutoffs_are_the_first_minimum():
    (cutoff,) = graph.pair_cutoffs(honeycomb()).values()
    assert 0.16 < cutoff < 0.23  # [nm] between the first shell, 0.142, and the second, 0.246
    square = crystal("Au[001]", (4, 4), seed=1, jitter=0.005).xy
    (cutoff,) = graph.pair_cutoffs(square).values()
    assert 0.31 < cutoff < 0.39  # 0.288 and 0.408


def test_cutoffs_know_species():
    columns = crystal("MoS2", (4, 4), seed=1, jitter=0.003)
    species = np.where(columns.number == 42, "Mo", "S")
    cutoffs = graph.pair_cutoffs(columns.xy, species)
    assert cutoffs["Mo", "Mo"] == cutoffs["S", "S"] == 0.0  # second neighbours
    assert 0.2 < cutoffs["Mo", "S"] < 0.3
    i, j, _ = graph.bonds(columns.xy, species)
    assert (species[i] != species[j]).all()
    assert np.bincount(graph.coordination(len(species), i, j)).argmax() == 3


def test_rare_species_take_the_cutoff_of_all():
    xy = honeycomb()
    species = np.full(len(xy), "C")
    species[0] = "N"
    cutoffs = graph.pair_cutoffs(xy, species)
    assert cutoffs["N", "N"] == pytest.approx(cutoffs["C", "C"], rel=0.1)


@given(POINTS, st.floats(2.5, 12.3))
def test_angles_around_an_atom_add_up_to_a_turn(xy, cutoff):
    i, j, length = graph.neighbours(xy, cutoff)
    i, j = i[length > 0], j[length > 0]
    atom, first, second, degrees = graph.angles(xy, i, j)
    count = graph.coordination(len(xy), i, j)
    total = np.bincount(atom, degrees, minlength=len(xy))
    # bonds in one direction leave no angle between them, and no turn where there is no other
    one_way = np.isclose(total, 0)
    np.testing.assert_allclose(total[(count > 1) & ~one_way], 360)
    assert (total[count < 2] == 0).all()
    linked = set(zip(i.tolist(), j.tolist(), strict=True))
    for end in (first, second):
        assert all((min(p), max(p)) in linked for p in zip(atom.tolist(), end.tolist(), strict=True))


def test_angles_coordination_and_rings_of_graphene():
    xy = honeycomb(jitter=0.0)
    i, j, _ = graph.bonds(xy)
    _, _, _, degrees = graph.angles(xy, i, j)
    assert np.median(degrees) == pytest.approx(120)
    found = graph.ring_faces(xy, i, j)
    assert (found.size == 6).all()
    np.testing.assert_allclose(found.area, 1.5 * np.sqrt(3) * 0.142**2, rtol=0.01)
    assert len(found.member) == found.size.sum()


def test_a_vacancy_is_a_face_of_twelve_and_a_pair_a_hole():
    xy = honeycomb(jitter=0.0)
    middle = np.argmin(np.hypot(*(xy - 1.1).T))
    i, j, _ = graph.bonds(xy)
    beside = int(np.concatenate((j[i == middle], i[j == middle]))[0])
    for gone, sizes in (([middle], {6, 12}), ([middle, beside], {6})):  # 14 atoms around a divacancy
        left = np.delete(xy, gone, axis=0)
        i, j, _ = graph.bonds(left, cutoffs={(0, 0): 0.18})
        assert set(graph.ring_faces(left, i, j).size.tolist()) == sizes
    assert 14 in graph.ring_faces(left, i, j, largest=20).size


def test_sites_of_a_species_by_their_bonds():
    xy = honeycomb(jitter=0.0)
    i, j, _ = graph.bonds(xy)
    species = np.full(len(xy), "C", dtype=object)
    full = np.flatnonzero(graph.coordination(len(xy), i, j) == 3)
    species[full[:4]] = "Si"
    np.testing.assert_array_equal(graph.sites(species, i, j, of="Si", bonds_each=3), full[:4])
    assert len(graph.sites(species, i, j, of="Si", bonds_each=4)) == 0


def test_cutoffs_refuse_too_little():
    with pytest.raises(UsageError, match="3 positions and 2 species"):
        graph.pair_cutoffs(np.zeros((3, 2)), np.array(["C", "C"]))
