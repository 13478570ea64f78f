"""Neighbour graphs against a direct count."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from micdb.embed import graph

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
