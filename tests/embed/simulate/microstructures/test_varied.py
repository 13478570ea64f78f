"""Scenes and foils at random: every kind, seeded, within the ranges."""

from __future__ import annotations

import numpy as np
import pytest

from micdb.embed.simulate.many import seeds_of, simulate_many
from micdb.embed.simulate.microstructures.varied_foils import FoilRanges, random_defects
from micdb.embed.simulate.microstructures.varied_images import (
    SemRanges,
    random_detector,
    random_micrograph,
    random_transmission,
)
from micdb.embed.simulate.microstructures.varied_scenes import KINDS, random_scene
from micdb.embed.simulate.microstructures.view import View
from micdb.errors import UsageError

VIEW = View((96, 96), 15.0)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_drawn(kind):
    named, one = random_micrograph(VIEW, seed=11, kinds=[kind])
    assert named == kind
    assert one.image.shape == VIEW.shape and one.image.std() > 0
    assert np.isfinite(one.clean).all()
    assert one.scene.label.max() < len(one.scene.classes)


def test_seeded_and_unlike():
    pairs = [random_micrograph(VIEW, seed=seed) for seed in (1, 1, 2, 3, 4, 5)]
    np.testing.assert_array_equal(pairs[0][1].image, pairs[1][1].image)
    assert len({kind for kind, _ in pairs}) >= 3


def test_the_length_asked_for():
    one = random_scene(VIEW, "pearlite", seed=1, length=150.0)
    assert one.truth["spacing_nm"] == 150.0
    for seed in range(20):
        drawn = random_scene(VIEW, "porous", seed=seed).truth["length_nm"] / 15
        assert 6 <= drawn <= 0.4 * 96


def test_detectors_keep_to_their_ranges():
    ranges = SemRanges(electrons=(50.0, 60.0), blur=(0.5, 0.6), fault=(0.0, 1.0), inverted=0.0)
    for seed in range(10):
        one = random_detector(15.0, seed=seed, ranges=ranges)
        assert 50 <= one.electrons <= 60 and 7.5 <= one.blur <= 9 and one.contrast > 0
        assert one.charging == one.curtaining == one.scratches == one.roughness == one.jitter == 0


def test_an_unknown_kind_is_told():
    with pytest.raises(UsageError, match="no scene is called 'perlite'; expected one of bainite, "):
        random_scene(VIEW, "perlite", seed=1)


def defects(seed):
    return random_defects(View((96, 96), 1.0), seed=seed)


def test_foils_differ_and_repeat():
    images = list(simulate_many(defects, seeds_of(3, 8)))
    assert len({image.truth["line_density_nm-2"] > 0 for image in images}) == 2
    np.testing.assert_array_equal(images[0].image, defects(seeds_of(3, 8)[0]).image)
    dark = random_defects(View((96, 96), 1.0), seed=1, ranges=FoilRanges(present=0.0))
    assert not dark.masks.any() and dark.truth["line_length_nm"] == 0


def test_particles_looked_through_shine_in_the_dark_field():
    signs = []
    for seed in range(6):
        for dark in (True, False):
            scene, image, expected = random_transmission(VIEW, seed=seed, dark=dark)
            assert image.mean() == pytest.approx(expected.mean(), rel=0.05)
            here = scene.instance > 0
            if 0.02 < here.mean() < 0.9:
                signs.append((expected[here].mean() > expected[~here].mean()) == dark)
    assert len(signs) >= 6 and all(signs)
