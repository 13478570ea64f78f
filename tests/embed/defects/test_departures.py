"""What is planted departs, a perfect lattice does not; formulas and keys say what it is made of."""

from __future__ import annotations

import numpy as np
import pytest

from micdb.embed.atoms.find import find
from micdb.embed.atoms.species import candidates
from micdb.embed.defects.candidates import departures
from micdb.embed.defects.local_graph import EDGE, NODE, WHOLE, batched, local_graphs
from micdb.embed.defects.sites import sites, species_of
from micdb.embed.defects.topology import Topology
from micdb.embed.nets import weights
from micdb.embed.simulate.defect_scenes import Imaging, planted_scene
from micdb.embed.simulate.stem import Probe

HOW = Imaging(counts=60.0, side=128, contamination=0.0, drift=(0.0, 0.0))


def looked(name, *, seed=3, material="graphene", species="C Si", turn=0, count=1):
    scene = planted_scene(material, {name: count} if name else {}, seed=seed, imaging=HOW, rotation=17.0)
    image = np.asarray(scene.simulated.image, float)
    image = np.rot90(image, turn % 4)[:: -1 if turn > 3 else 1].copy()
    columns = find(image, 0.016, weights.unet("stem-atoms"), 0.5)
    seen = sites(image, columns)
    found = departures(seen, image.shape)
    return scene, image, seen, found, Topology(seen, species_of(seen, candidates(species)), found.void)


def clear(found, seen, image):
    """Clear departures away from the edge of the view, where columns are cut."""
    far = np.array(image.shape[::-1]) - 1
    room = np.minimum(seen.xy, far - seen.xy).min(axis=1)
    return [one for one in found.candidates if one.clear and room[one.nodes].min() > seen.spacing]


def largest(found, seen, image):
    return max(clear(found, seen, image), key=lambda one: len(one.nodes))


@pytest.mark.parametrize(
    ("name", "kind", "formula"),
    [
        ("Si1C3", "substitution", "Si1C3"),
        ("Si1C4", "substitution", "Si1C4"),
        ("Si2C4", "substitution", "Si2C4"),
        ("Si2C5", "substitution", "Si2C5"),
        ("Si2C6", "substitution", "Si2C6"),
        ("Si3C6", "substitution", "Si3C6"),
        ("vacancy", "vacancy", "V1"),
        ("divacancy", "divacancy", "V2"),
        ("stone-wales", "ring", "5577"),
    ],
)
def test_formulas_are_those_of_what_was_planted(name, kind, formula):
    _, image, seen, found, topology = looked(name)
    assert topology.formula(topology.makeup(largest(found, seen, image)), kind) == formula


@pytest.mark.parametrize("turn", [1, 4, 6])
def test_a_key_does_not_change_when_the_image_is_turned_or_mirrored(turn):
    keys = set()
    for one in (0, turn):
        _, image, seen, found, topology = looked("Si2C5", turn=one)
        keys.add(topology.key(topology.makeup(largest(found, seen, image)), "substitution"))
    assert len(keys) == 1
    assert keys.pop().startswith("Si2C5-")


def test_what_a_column_lacks_is_told_by_its_species():
    _, image, seen, found, topology = looked("chalcogen-vacancy", material="MoS2", species="Mo S2 S")
    assert topology.formula(topology.makeup(largest(found, seen, image)), "vacancy") == "V1"
    _, image, seen, found, topology = looked("chalcogen-vacancy", material="MoS2", species="")
    assert topology.formula(topology.makeup(largest(found, seen, image)), "vacancy") is None


@pytest.mark.parametrize("material", ["graphene", "MoS2", "SrTiO3"])
def test_a_perfect_lattice_has_no_clear_departure(material):
    _, image, seen, found, _ = looked(None, material=material, species="")
    assert not clear(found, seen, image)
    assert not found.void.any()
    assert seen.columns > 60


def test_a_hole_is_void_and_its_rim_departs():
    scene, _, seen, found, _ = looked("pore", seed=5)
    (centre,) = [np.array(one.xy) / 0.016 for one in scene.simulated.defects]
    inside = np.hypot(*(seen.xy[found.void] - centre).T)
    assert found.void.sum() > 12
    assert inside.max() < 0.9 / 0.016  # pixel: pores reach 0.7 nm
    assert found.rim.sum() > 5


def test_graphs_are_the_same_however_the_image_is_turned():
    numbers = []
    for turn in (0, 1, 5):
        _, image, seen, found, _ = looked("Si1C4", turn=turn)
        one = largest(found, seen, image)
        (graph,) = [
            graph
            for graph, other in zip(local_graphs(image, seen, found), found.candidates, strict=True)
            if other is one
        ]
        numbers.append((len(graph.node), len(graph.start), np.sort(graph.patch.mean(axis=1))))
    for nodes, edges, patch in numbers[1:]:
        assert (nodes, edges) == numbers[0][:2]
        assert patch == pytest.approx(numbers[0][2], abs=0.05)


def test_graphs_join_without_mixing():
    _, image, seen, found, _ = looked("vacancy", count=2)
    graphs = local_graphs(image, seen, found)
    node, seed, start, end, edge, graph, whole, patch = batched(graphs)
    assert node.shape == (sum(len(one.node) for one in graphs), NODE)
    assert edge.shape == (len(start), EDGE)
    assert whole.shape == (len(graphs), WHOLE)
    assert (graph[start] == graph[end]).all()
    assert seed.sum() == sum(one.seed.sum() for one in graphs)
    assert len(patch) == len(graphs)


@pytest.mark.parametrize("seed", [0, 4, 7, 8])
def test_four_fold_silicon_is_not_read_as_three_fold_where_counts_are_few(seed):
    how = Imaging(0.0125, 176, counts=1.2, background=1.0, contamination=0.5, probe=Probe(0.055, 0.3, 0.13))
    scene = planted_scene("graphene", {"Si1C4": 1}, seed=seed, imaging=how, rotation=17.0)
    image = np.asarray(scene.simulated.image, float)
    seen = sites(image, find(image, 0.0125, weights.unet("stem-atoms"), 0.5))
    found = departures(seen, image.shape)
    topology = Topology(seen, species_of(seen, candidates("C Si")), found.void)
    place = np.array(scene.simulated.defects[0].xy) / 0.0125
    made = [topology.makeup(one) for one in found.candidates]
    there = [one for one in made if len(one.foreign)]
    nearest = min(there, key=lambda one: np.hypot(*(seen.xy[one.foreign].mean(axis=0) - place)))
    assert topology.formula(nearest, "substitution") == "Si1C4"
