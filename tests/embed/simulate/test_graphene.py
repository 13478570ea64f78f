"""Graphene: every label is checked from the positions themselves."""

from __future__ import annotations

from collections import Counter

import networkx as nx
import numpy as np
import pytest

from micdb.embed.simulate.graphene import DEFECTS, graphene
from micdb.embed.simulate.lattices import inside_field
from micdb.errors import UsageError

FIELD = (4.0, 4.0)


def sheet(name, *, seed=3, **keywords):
    return graphene(FIELD, seed=seed, rotation=11.0, defects={name: 1}, **keywords)


def within(structure, atom, distance):
    near = np.linalg.norm(structure.xyz - structure.xyz[atom], axis=1) <= distance
    near[atom] = False
    return np.flatnonzero(near)


def coordination(structure):
    return np.bincount(structure.bonds().ravel(), minlength=len(structure.number))


def seen(structure, border=0.0):
    return inside_field(structure.xyz[:, :2], FIELD, border=border)


def rings(structure):
    """Faces of the flat network: from each directed bond, always turn most to the left."""
    bonds, xy = structure.bonds(), structure.xyz
    graph = nx.PlanarEmbedding()
    near = {}
    for i, j in bonds:
        near.setdefault(int(i), []).append(int(j))
        near.setdefault(int(j), []).append(int(i))
    for i, others in near.items():
        order = sorted(others, key=lambda j: np.arctan2(*(xy[j] - xy[i])[1::-1]))
        before = None
        for j in order:
            graph.add_half_edge(i, j, **({} if before is None else {"ccw": before}))
            before = j
    marked, faces = set(), []
    for i, j in graph.edges:
        if (i, j) not in marked:
            faces.append(graph.traverse_face(i, j, mark_half_edges=marked))
    return [face for face in faces if len(face) < 30]  # the outer face is no ring


def test_a_sheet_is_hexagons_of_the_natural_bond():
    structure = graphene(FIELD, seed=1, rotation=5.0)
    bonds = structure.bonds()
    length = np.linalg.norm(structure.xyz[bonds[:, 0]] - structure.xyz[bonds[:, 1]], axis=1)
    np.testing.assert_allclose(length, 0.142, atol=0.0005)
    assert (coordination(structure)[seen(structure)] == 3).all()
    assert set(map(len, rings(structure))) == {6}
    assert seen(structure).sum() / 16 == pytest.approx(38.2, rel=0.03)
    assert structure.defects == ()


@pytest.mark.parametrize(("name", "lost", "rim"), [("vacancy", 1, 3), ("divacancy", 2, 4)])
def test_vacancies(name, lost, rim):
    whole, structure = graphene(FIELD, seed=3, rotation=11.0), sheet(name)
    (planted,) = structure.defects
    assert planted.kind == name
    assert len(whole.number) - len(structure.number) == lost
    assert len(planted.atoms) == rim
    distance = np.hypot(*(structure.xyz[:, :2] - planted.xy).T)
    assert distance.min() > 0.1  # [nm] nothing is there
    bound = coordination(structure)[list(planted.atoms)]
    assert (bound == (2 if name == "vacancy" else 3)).all()
    np.testing.assert_allclose(structure.columns().vacancies, [planted.xy])


def test_the_divacancy_closes_to_two_pentagons_and_an_octagon():
    sizes = Counter(map(len, rings(sheet("divacancy"))))
    assert sizes[5] == 2
    assert sizes[8] == 1
    assert set(sizes) == {5, 6, 8}


@pytest.mark.parametrize("seed", range(4))
def test_vacancy_clusters_and_pores(seed):
    whole = graphene(FIELD, seed=seed, rotation=11.0)
    cluster, pore = sheet("vacancy-cluster", seed=seed), sheet("pore", seed=seed)
    assert 3 <= len(whole.number) - len(cluster.number) <= 20
    for structure, kind in ((cluster, "vacancy-cluster"), (pore, "edge")):
        (planted,) = structure.defects
        assert planted.kind == kind
        assert (coordination(structure)[seen(structure)] >= 2).all()  # nothing dangles
        under = np.flatnonzero((coordination(structure) == 2) & seen(structure))
        assert set(under) <= set(planted.atoms)
    assert np.hypot(*(pore.xyz[:, :2] - pore.defects[0].xy).T).min() > 0.3  # [nm]


@pytest.mark.parametrize(("name", "fold"), [("Si1C3", 3), ("Si1C4", 4)])
@pytest.mark.parametrize("seed", range(3))
def test_single_silicon(name, fold, seed):
    structure = sheet(name, seed=seed)
    (planted,) = structure.defects
    (silicon,) = planted.atoms
    assert planted.kind == "substitution"
    assert structure.number[silicon] == 14
    near = within(structure, silicon, 0.21)
    assert len(near) == fold
    assert (structure.number[near] == 6).all()
    distance = np.linalg.norm(structure.xyz[near] - structure.xyz[silicon], axis=1)
    assert (distance > 0.175).all()
    assert (distance < 0.195).all()
    projected = np.hypot(*(structure.xyz[near, :2] - structure.xyz[silicon, :2]).T)
    assert (projected > 0.14).all()
    assert (projected < 0.20).all()  # [nm] what an image shows


@pytest.mark.parametrize("name", [name for name in DEFECTS if name[:2] == "Si"])
def test_clusters_are_what_their_name_says(name):
    structure = sheet(name)
    (planted,) = structure.defects
    silicon, carbon = int(name[2]), int(name[4])
    assert len(planted.atoms) == silicon == (structure.number == 14).sum()
    bonds = structure.bonds()
    touching = bonds[np.isin(bonds, planted.atoms).any(axis=1)]
    around = np.setdiff1d(touching, planted.atoms)
    assert len(around) == carbon
    inner = touching[np.isin(touching, planted.atoms).all(axis=1)]
    graph = nx.Graph(inner.tolist())
    assert silicon == 1 or (nx.is_connected(graph) and len(graph) == silicon)


def test_stone_wales_makes_two_pentagons_and_two_heptagons():
    structure = sheet("stone-wales")
    sizes = Counter(map(len, rings(structure)))
    assert {size: count for size, count in sizes.items() if size != 6} == {5: 2, 7: 2}
    (planted,) = structure.defects
    assert planted.kind == "ring"
    i, j = planted.atoms
    assert 0.13 < np.linalg.norm(structure.xyz[i] - structure.xyz[j]) < 0.145  # [nm]
    assert len(structure.number) == len(graphene(FIELD, seed=3, rotation=11.0).number)


@pytest.mark.parametrize(("name", "number"), [("adatom", 6), ("silicon-adatom", 14)])
def test_adatoms_sit_over_a_bond(name, number):
    structure = sheet(name)
    (planted,) = structure.defects
    (atom,) = planted.atoms
    assert planted.kind == "adatom"
    assert structure.number[atom] == number
    assert structure.xyz[atom, 2] > 0.18  # [nm]
    near = np.sort(np.hypot(*(structure.xyz[:, :2] - planted.xy).T))[1:3]
    np.testing.assert_allclose(near, 0.071, atol=0.001)


def test_an_edge_is_all_on_one_side():
    structure = sheet("edge")
    (planted,) = structure.defects
    rim = structure.xyz[list(planted.atoms), :2]
    along = np.linalg.svd(rim - rim.mean(axis=0))[2]
    across = (structure.xyz[:, :2] - rim.mean(axis=0)) @ along[1]
    assert min((across > 0.3).sum(), (across < -0.3).sum()) == 0  # [nm]
    assert np.abs((rim - rim.mean(axis=0)) @ along[1]).max() < 0.3


@pytest.mark.parametrize(("count", "seed"), [(2, 0), (2, 2), (4, 1)])
def test_grain_boundaries_are_pentagons_and_heptagons(count, seed):
    structure = graphene(FIELD, seed=seed, grain_count=count)
    inner = seen(structure)
    assert set(np.unique(coordination(structure)[inner])) == {3}
    sizes = Counter(len(ring) for ring in rings(structure) if inner[ring].all())
    assert set(sizes) <= {5, 6, 7}
    assert sizes[5] >= 2
    assert sizes[7] >= 2
    odd = {i for ring in rings(structure) if len(ring) != 6 and inner[ring].all() for i in ring}
    labelled = {i for one in structure.defects for i in one.atoms}
    assert {one.kind for one in structure.defects} == {"boundary"}
    assert odd <= labelled


def test_grains_are_turned_against_one_another():
    structure = graphene(FIELD, seed=5, grain_count=2)
    bonds = structure.bonds()
    dx, dy = (structure.xyz[bonds[:, 1]] - structure.xyz[bonds[:, 0]])[:, :2].T
    turn = np.degrees(np.arctan2(dy, dx)) % 60
    phase = np.exp(1j * np.radians(turn * 6))
    assert abs(phase.mean()) < 0.99
    single = graphene(FIELD, seed=5)
    pairs = single.bonds()
    dx, dy = (single.xyz[pairs[:, 1]] - single.xyz[pairs[:, 0]])[:, :2].T
    assert abs(np.exp(6j * np.arctan2(dy, dx)).mean()) > 0.999


def test_defects_keep_apart_and_the_seed_decides():
    plan = {"vacancy": 2, "Si1C3": 2, "Si1C4": 1, "stone-wales": 1}
    one, same, other = (graphene((5.0, 5.0), seed=s, defects=plan) for s in (1, 1, 2))
    assert Counter(one_.kind for one_ in one.defects) == {"vacancy": 2, "substitution": 3, "ring": 1}
    places = np.array([one_.xy for one_ in one.defects])
    distance = np.linalg.norm(places[:, None] - places[None], axis=-1) + 9 * np.eye(len(places))
    assert distance.min() > 0.7  # [nm]
    np.testing.assert_array_equal(one.xyz, same.xyz)
    assert one.defects == same.defects
    assert one.defects != other.defects


def test_mistakes_are_told():
    with pytest.raises(UsageError, match="graphene has no defect 'hole'; expected one of edge, pore"):
        graphene(FIELD, seed=1, defects={"hole": 1})
    with pytest.raises(UsageError, match="no room for another vacancy in 1 x 1 nm with 1 defects 0.8 nm"):
        graphene((1.0, 1.0), seed=1, defects={"vacancy": 9})
