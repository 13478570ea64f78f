"""Rings against lattices that everybody can count, and against a walk around every face."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import Delaunay, cKDTree

from micdb.rings import rings

BOND = 0.142  # [nm] graphene


def graphene(columns, rows):
    """Return the atoms of a sheet of `columns` x `rows` cells of four atoms [nm]."""
    cell = np.array([[0, 0], [0, 1], [np.sqrt(3) / 2, 1.5], [np.sqrt(3) / 2, 2.5]])
    moves = [(np.sqrt(3) * x, 3 * y) for y in range(rows) for x in range(columns)]
    return BOND * np.concatenate([cell + move for move in moves])


def bonds(xy, cutoff=1.3 * BOND):
    i, j = cKDTree(xy).query_pairs(cutoff, output_type="ndarray").T
    return i, j


def sizes(found):
    return dict(zip(*np.unique(found.size, return_counts=True), strict=True))


def test_a_sheet_is_hexagons():
    xy = graphene(6, 5)
    found = rings(xy, *bonds(xy))
    graph = nx.Graph(zip(*bonds(xy), strict=True))
    graph = nx.k_core(graph, 2)
    # Euler: faces = edges - vertices + components, without the outside
    assert sizes(found) == {6: graph.number_of_edges() - graph.number_of_nodes() + 1}
    assert found.area == pytest.approx(np.full(len(found.size), 1.5 * np.sqrt(3) * BOND**2))
    inside = np.hypot(*(xy[found.member] - np.repeat(found.centre, found.size, axis=0)).T)
    assert inside == pytest.approx(np.full(len(inside), BOND))


def test_a_stone_wales_defect_is_two_pentagons_and_two_heptagons():
    xy = graphene(9, 6)
    before = sizes(rings(xy, *bonds(xy)))
    i, j = bonds(xy)
    middle = np.argmin(np.hypot(*(xy[i] + xy[j] - xy.min(0) - xy.max(0)).T))
    pair = [i[middle], j[middle]]
    centre = xy[pair].mean(axis=0)
    turned = xy.copy()
    turned[pair] = centre + (xy[pair] - centre) @ np.array([[0, 1], [-1, 0]])
    # turning the bond hands one neighbour of each atom over to the other
    graph = nx.Graph(zip(i, j, strict=True))
    for mine, other in (pair, pair[::-1]):
        for near in set(graph[mine]) - {other}:
            if np.hypot(*(turned[near] - turned[mine])) > np.hypot(*(turned[near] - turned[other])):
                graph.remove_edge(mine, near)
                graph.add_edge(other, near)
    after = sizes(rings(turned, *np.array(graph.edges).T))
    assert after == {5: 2, 6: before[6] - 4, 7: 2}


def test_a_vacancy_is_a_ring_of_twelve():
    xy = graphene(9, 6)
    gone = np.argmin(np.hypot(*(xy - (xy.min(0) + xy.max(0)) / 2).T))
    before = sizes(rings(xy, *bonds(xy)))
    rest = np.delete(xy, gone, axis=0)
    assert sizes(rings(rest, *bonds(rest))) == {6: before[6] - 3, 12: 1}


def test_dead_ends_doubled_bonds_and_nothing():
    square = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0.5, 0.5], [0.6, 0.6], [9, 9]], float)
    i, j = np.array([0, 1, 2, 3, 0, 4, 2, 1]), np.array([1, 2, 3, 0, 4, 5, 1, 1])
    found = rings(square, i, j)
    assert (found.size.tolist(), found.area.tolist(), found.member.tolist()) == ([4], [1.0], [0, 1, 2, 3])
    assert not len(rings(square, np.empty(0, int), np.empty(0, int)).size)
    assert not len(rings(square, np.array([0, 1]), np.array([1, 2])).size)


@given(st.integers(0, 10_000), st.integers(4, 40), st.floats(0, 0.6))
def test_a_random_drawing_has_the_faces_a_walk_finds(seed, n, missing):
    random = np.random.default_rng(seed)
    xy = random.normal(size=(n, 2))
    triangles = Delaunay(xy).simplices
    edges = np.unique(np.sort(triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1), axis=0)
    edges = edges[random.random(len(edges)) >= missing]
    found = rings(xy, *edges.T)
    assert sorted(found.size.tolist()) == sorted(map(len, walk(xy, edges)))
    graph = nx.k_core(nx.Graph(edges.tolist()), 2)
    outside = nx.number_connected_components(graph)
    assert len(found.size) == graph.number_of_edges() - graph.number_of_nodes() + outside
    assert (found.area > 0).all()


def walk(xy, edges):
    """Return the inner faces, each as its vertices, by walking from every half-edge."""
    graph = nx.k_core(nx.Graph(edges.tolist()), 2)
    around = {a: sorted(graph[a], key=lambda b, a=a: np.arctan2(*(xy[b] - xy[a])[::-1])) for a in graph}
    seen, faces = set(), []
    for half in [(a, b) for a, b in graph.edges] + [(b, a) for a, b in graph.edges]:
        face, (a, b) = [], half
        while (a, b) not in seen:
            seen.add((a, b))
            face.append(a)
            ring = around[b]
            a, b = b, ring[ring.index(a) - 1]
        if face:
            x, y = xy[face].T
            if np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)) > 0:
                faces.append(face)
    return faces
