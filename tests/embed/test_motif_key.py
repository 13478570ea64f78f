"""Keys of bond graphs: the same for the same graph, another for another one."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from micdb.embed.motif_key import motif_key
from micdb.errors import UsageError


def key(species, bonds, core):
    i, j = np.array(bonds, dtype=int).reshape(-1, 2).T
    return motif_key(species, i, j, core)


STAR3 = (["Si", "C", "C", "C"], [(0, 1), (0, 2), (0, 3)], [True, False, False, False])
STAR4 = (["Si", "C", "C", "C", "C"], [(0, 1), (0, 2), (0, 3), (0, 4)], [True] + 4 * [False])


def test_a_key_reads_as_the_defect_and_what_is_bonded_to_it():
    assert key(*STAR3).startswith("Si1C3-")
    assert key(*STAR4).startswith("Si1C4-")
    assert key(*STAR3) == "Si1C3-" + key(*STAR3)[-8:]


def test_keys_stay_the_same_from_version_to_version():
    assert key(*STAR3) == "Si1C3-edbedd31"


@st.composite
def graphs(draw):
    n = draw(st.integers(1, 7))
    pairs = [(a, b) for a in range(n) for b in range(a)]
    bonds = draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []
    species = draw(st.lists(st.sampled_from(["C", "Si"]), min_size=n, max_size=n))
    core = draw(st.lists(st.booleans(), min_size=n, max_size=n))
    return species, bonds, core


def as_networkx(species, bonds, core):
    graph = nx.Graph(bonds)
    graph.add_nodes_from((k, {"label": (species[k], core[k])}) for k in range(len(species)))
    return graph


@given(graphs(), st.randoms())
def test_the_order_of_atoms_and_bonds_changes_nothing(graph, random):
    species, bonds, core = graph
    order = list(range(len(species)))
    random.shuffle(order)
    place = {old: new for new, old in enumerate(order)}
    turned = [(place[b], place[a]) for a, b in bonds]
    random.shuffle(turned)
    assert key(*graph) == key([species[k] for k in order], turned, [core[k] for k in order])


@given(graphs(), graphs())
@settings(max_examples=300)
def test_keys_agree_exactly_when_the_graphs_are_isomorphic(one, other):
    match = nx.algorithms.isomorphism.categorical_node_match("label", None)
    same = nx.is_isomorphic(as_networkx(*one), as_networkx(*other), node_match=match)
    assert (key(*one) == key(*other)) is same


def test_refinement_alone_would_take_two_triangles_for_a_hexagon():
    ring = [(k, (k + 1) % 6) for k in range(6)]
    triangles = [(0, 1), (1, 2), (2, 0), (3, 4), (4, 5), (5, 3)]
    assert key(["C"] * 6, ring, [True] * 6) != key(["C"] * 6, triangles, [True] * 6)


def test_a_large_symmetric_graph_is_quick():
    leaves = [(0, k) for k in range(1, 40)]
    assert key(["Mo"] + ["S"] * 39, leaves, [True] + [False] * 39).startswith("Mo1S39-")


@pytest.mark.parametrize(
    ("species", "core", "message"),
    [
        ([], [], "0 species, 0 core flags"),
        (["C"] * 65, [True] * 65, "65 species, 65 .* bonds; expected 1 to 64 atoms"),
        (["C"], [], "1 species, 0 core flags"),
    ],
)
def test_what_is_no_graph_is_refused(species, core, message):
    with pytest.raises(UsageError, match=message):
        motif_key(species, np.array([], int), np.array([], int), core)
