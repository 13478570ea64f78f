"""The classifier: messages know no direction, probabilities are whole, what no class wants is unknown."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from micdb.embed.defects.classes import CLASSES, KINDS, REGULAR
from micdb.embed.defects.detect import kind_probabilities
from micdb.embed.defects.local_graph import EDGE, NODE, RADII, WHOLE, LocalGraph
from micdb.embed.defects.network import DefectNet, ask, probabilities


def graph(seed=0, n=12):
    rng = np.random.default_rng(seed)
    start, end = np.nonzero(~np.eye(n, dtype=bool))
    return LocalGraph(
        rng.normal(size=(n, NODE)).astype(np.float32), rng.random(n) < 0.3, start, end,
        rng.random((len(start), EDGE)).astype(np.float32), rng.normal(size=WHOLE).astype(np.float32),
        rng.random((RADII, 24)).astype(np.float32),
    )  # fmt: skip


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(1)
    return DefectNet().eval()


def test_the_order_of_nodes_and_the_turn_of_the_patch_do_not_matter(network):
    one = graph()
    order = np.random.default_rng(1).permutation(len(one.node))
    place = np.argsort(order)
    for patch in (np.roll(one.patch, 7, axis=1), one.patch[:, ::-1].copy()):
        other = LocalGraph(
            one.node[order], one.seed[order], place[one.start], place[one.end], one.edge, one.whole, patch
        )
        for a, b in zip(ask(network, [one]), ask(network, [other]), strict=True):
            assert a == pytest.approx(b, abs=1e-4)


def test_a_candidate_is_judged_alone(network):
    alone = ask(network, [graph(2)])[0]
    among = ask(network, [graph(1), graph(2), graph(3)])[0]
    assert among[1] == pytest.approx(alone[0], abs=1e-5)
    assert len(ask(network, [])[0]) == 0


def test_probabilities_of_kinds_are_whole():
    network = DefectNet()
    logits = np.random.default_rng(0).normal(size=(5, len(CLASSES))) * 3
    kinds, value = kind_probabilities(probabilities(network, logits))
    assert set(kinds) == set(KINDS.values())
    assert value.sum(axis=1) == pytest.approx(np.ones(5))


def test_a_temperature_softens_without_changing_the_order():
    network = DefectNet()
    logits = np.random.default_rng(1).normal(size=(4, len(CLASSES))) * 3
    sharp = probabilities(network, logits)
    network.temperature.fill_(3.0)
    soft = probabilities(network, logits)
    assert (soft.max(axis=1) < sharp.max(axis=1)).all()
    assert (soft.argmax(axis=1) == sharp.argmax(axis=1)).all()


def test_the_first_class_is_no_defect():
    assert CLASSES[0] == REGULAR
    assert KINDS[REGULAR] == REGULAR
