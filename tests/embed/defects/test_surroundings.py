"""How the surroundings of a place look: symmetry is told, turning and mirroring are not."""

from __future__ import annotations

import numpy as np
import pytest

from micdb.embed.atoms.find import find
from micdb.embed.defects.sites import sites
from micdb.embed.defects.surroundings import SURROUNDINGS, surroundings
from micdb.embed.nets import weights
from micdb.embed.simulate.defect_scenes import Imaging, planted_scene


def looked(name):
    how = Imaging(counts=60.0, side=128, contamination=0.0, drift=(0.0, 0.0))
    scene = planted_scene("graphene", {name: 1}, seed=3, imaging=how, rotation=17.0)
    image = np.asarray(scene.simulated.image, float)
    place = np.array([scene.simulated.defects[0].xy]) / scene.simulated.pixel_size
    return image, sites(image, find(image, 0.016, weights.unet("stem-atoms"), 0.5)), place


@pytest.fixture(scope="module")
def silicon():
    return {name: looked(name) for name in ("Si1C3", "Si1C4")}


def orders(given):
    return surroundings(*given)[0].reshape(-1, 7)


def test_three_neighbours_are_threefold_and_four_fourfold(silicon):
    three, four = (orders(silicon[name])[5:].sum(axis=0) for name in ("Si1C3", "Si1C4"))
    assert three[3] > 2 * three[4]
    assert four[4] > 2 * four[3]


def test_nothing_changes_when_the_image_is_turned_mirrored_or_brighter(silicon):
    image, seen, place = silicon["Si1C4"]
    before = surroundings(image, seen, place)
    assert before.shape == (1, SURROUNDINGS)
    np.testing.assert_allclose(surroundings(3 * image + 100, seen, place), before, atol=1e-9)
    side = np.array([image.shape[1] - 1, 0])
    for turned, move in (
        (image[:, ::-1], lambda xy: side + xy * [-1, 1]),
        (np.rot90(image), lambda xy: np.column_stack((xy[:, 1], image.shape[1] - 1 - xy[:, 0]))),
    ):
        columns = find(turned.copy(), 0.016, weights.unet("stem-atoms"), 0.5)
        found = surroundings(turned.copy(), sites(turned.copy(), columns), move(place))
        np.testing.assert_allclose(found, before, atol=0.05)


def test_no_places_have_no_surroundings(silicon):
    image, seen, _ = silicon["Si1C3"]
    assert surroundings(image, seen, np.empty((0, 2))).shape == (0, SURROUNDINGS)
