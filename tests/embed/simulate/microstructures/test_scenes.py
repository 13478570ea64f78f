"""Every scene: the same objects at any pixel size, and labels, instances and masks that fit together."""

from __future__ import annotations

import numpy as np
import pytest

from micdb.embed.simulate.microstructures.scenes import SCENES
from micdb.embed.simulate.microstructures.view import View

#: [nm] lengths at which every part of a scene is drawn by several pixels of 20 nm.
LENGTHS = dict.fromkeys(SCENES, 400.0) | {
    "network": 1600.0,
    "polycrystal": 1200.0,
    "widmanstatten": 2500.0,
    "ultrahigh carbon": 6000.0,
    "mixture": 4000.0,
    "tip": 150.0,
    "pillars": 800.0,
    "holes": 800.0,
}
COARSE, FINE = View((120, 160), 20.0), View((240, 320), 10.0)


@pytest.fixture(scope="module", params=SCENES)
def pair(request):
    kind = request.param
    return SCENES[kind](COARSE, LENGTHS[kind], 5), SCENES[kind](FINE, LENGTHS[kind], 5)


def test_the_same_field_at_any_pixel_size(pair):
    coarse, fine = pair
    binned = fine.coverage.reshape(120, 2, 160, 2).mean(axis=(1, 3))
    assert np.corrcoef(binned.ravel(), coarse.coverage.ravel())[0, 1] > 0.97
    for one, other in zip(coarse.fractions().values(), fine.fractions().values(), strict=True):
        assert one == pytest.approx(other, abs=0.01)


def test_the_same_objects_at_any_pixel_size(pair):
    coarse, fine = pair
    assert abs(len(coarse.objects) - len(fine.objects)) <= 0.1 * len(fine.objects)
    if coarse.objects.outlines and len(coarse.objects) == len(fine.objects):
        np.testing.assert_array_equal(coarse.objects.diameter, fine.objects.diameter)
        np.testing.assert_allclose(coarse.objects.xy + 10, fine.objects.xy + 5)  # pixel centres differ


def test_labels_and_instances_fit_the_objects(pair):
    for scene in pair:
        assert scene.label.max() < len(scene.classes)
        assert scene.label.shape == scene.instance.shape == scene.coverage.shape
        assert scene.instance.min() >= 0 and scene.instance.max() <= len(scene.objects)
        assert scene.coverage.min() >= 0 and scene.coverage.max() <= 1
        assert set(scene.objects.kind) <= set(range(len(scene.classes)))
        shares = scene.fractions()
        assert sum(shares.values()) == pytest.approx(1)
        if "fraction" in scene.truth and len(scene.classes) == 2:
            assert scene.truth["fraction"] == pytest.approx(shares[scene.classes[1]], abs=0.01)


def test_what_lies_on_top_hides_what_lies_below(pair):
    scene = pair[0]
    seen = np.zeros(scene.label.shape, dtype=bool)
    for row in range(len(scene.objects.outlines)):
        whole = scene.objects.whole(row, scene.label.shape)
        seen |= whole
        assert not ((scene.instance == row + 1) & ~whole).any()
        above = scene.instance[whole]
        assert np.all((above == 0) | (above >= row + 1))
    if scene.objects.outlines:
        assert not ((scene.instance > 0) & ~seen).any()


def test_the_seed_decides():
    for kind in ("martensite", "particles", "ultrahigh carbon"):
        one, same, other = (SCENES[kind](COARSE, LENGTHS[kind], seed) for seed in (1, 1, 2))
        np.testing.assert_array_equal(one.coverage, same.coverage)
        np.testing.assert_array_equal(one.instance, same.instance)
        assert np.abs(one.coverage - other.coverage).max() > 0.5
