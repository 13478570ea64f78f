"""Detectors: noise as counted, artefacts with their direction, and beams that look through."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from micdb.embed.simulate.microstructures.fields import two_phase
from micdb.embed.simulate.microstructures.mass_thickness import Transmission, look_through
from micdb.embed.simulate.microstructures.particles import deposited
from micdb.embed.simulate.microstructures.scenes import SCENES
from micdb.embed.simulate.microstructures.sem import Detector, record, scan
from micdb.embed.simulate.microstructures.view import View
from micdb.errors import UsageError

VIEW = View((160, 160), 20.0)
QUIET = Detector(electrons=1e5, shading=0.0)


@pytest.fixture(scope="module")
def scene():
    return two_phase(VIEW, length=500.0, seed=1)


def added(scene, **faults):
    return record(scene, replace(QUIET, **faults), seed=3).clean - record(scene, QUIET, seed=3).clean


def test_seeded_and_of_the_bits_asked_for(scene):
    one, same, other = (scan(scene, Detector(), seed=seed) for seed in (1, 1, 2))
    assert one.dtype == np.uint8
    np.testing.assert_array_equal(one, same)
    assert (one != other).mean() > 0.5
    deep = scan(scene, Detector(bits=16), seed=1)
    assert deep.dtype == np.uint16
    assert np.abs(deep / 257 - one).max() <= 0.51


def test_noise_is_that_of_counted_electrons(scene):
    detector = Detector(electrons=100.0, contrast=60.0, brightness=80.0, bits=16)
    image = record(scene, detector, seed=1)
    gain = 100 / 110  # electrons per grey level
    grey, noise = image.clean / 257, (image.image - image.clean) / 257
    assert abs(noise.mean()) < 0.2
    for low in (90, 120, 140):
        near = (grey > low) & (grey < low + 10)
        assert noise[near].var() == pytest.approx(grey[near].mean() / gain, rel=0.15)


def test_charging_runs_along_lines_and_curtains_across(scene):
    streaks, curtains = added(scene, charging=0.5), added(scene, curtaining=0.5)
    across = [np.abs(np.diff(streaks, axis=axis)).mean() for axis in (0, 1)]
    assert across[0] > 1.5 * across[1]
    down = [np.abs(np.diff(curtains, axis=axis)).mean() for axis in (0, 1)]
    assert down[1] > 2 * down[0]


def test_curtains_begin_below_hard_objects():
    scene = two_phase(VIEW, length=500.0, seed=1)
    coverage = np.zeros(VIEW.shape)
    coverage[40:60, 60:100] = 1.0
    block = replace(scene, coverage=coverage, relief=np.zeros(VIEW.shape))
    plain = replace(block, coverage=np.zeros(VIEW.shape))
    extra = np.abs(added(block, curtaining=0.5) - added(plain, curtaining=0.5))
    assert extra[64:90, 62:98].mean() > 10 * extra[5:35, 62:98].mean()


def test_scratches_roughness_and_jitter(scene):
    marks = added(scene, scratches=0.5)
    assert marks.min() < -5 and np.median(np.abs(marks)) < 2
    rough = added(scene, roughness=0.3)
    assert rough[scene.label == 0].std() > 2 * rough[scene.label == 1].std()
    shaken = record(scene, replace(QUIET, jitter=20.0), seed=3).clean
    still = record(scene, QUIET, seed=3).clean
    shifts = [
        np.argmax(np.correlate(a - a.mean(), b - b.mean(), "full"))
        for a, b in zip(shaken, still, strict=True)
    ]
    assert 0.5 < np.std(shifts) < 2  # [pixel]


def test_gamma_keeps_the_order_of_greys(scene):
    plain, curved = (record(scene, replace(QUIET, gamma=g), seed=1).clean for g in (1.0, 0.6))
    assert np.all(np.diff(curved.ravel()[np.argsort(plain.ravel())]) > -1e-3)
    assert curved.mean() > plain.mean()


def test_spheres_have_bright_edges_and_dark_surroundings():
    scene = deposited(View((200, 200), 10.0), diameter=700.0, seed=2, spread=0.0, clustering=0.0, cover=0.2)
    clean = record(scene, replace(QUIET, side=0.0, shadow=1.0), seed=1).clean
    depth = ndimage.distance_transform_edt(scene.instance > 0)
    away = ndimage.distance_transform_edt(scene.instance == 0)
    assert clean[(depth > 1) & (depth < 4)].mean() > clean[depth > 20].mean() + 10
    assert clean[(away > 3) & (away < 8)].mean() < clean[away > 40].mean() - 5


class TestLookThrough:
    def test_what_leaves_the_bright_field_is_in_the_dark_one(self):
        scene = deposited(View((128, 128), 0.5), diameter=8.0, seed=1)
        settings = Transmission(counts=100.0)
        dark = look_through(scene, settings, seed=2)[1]
        bright = look_through(scene, replace(settings, dark=False), seed=2)[1]
        np.testing.assert_allclose(dark + bright, 100.0, rtol=1e-5)

    def test_beer_and_lambert(self):
        scene = deposited(View((128, 128), 0.5), diameter=20.0, seed=1, spread=0.0, clustering=0.0, cover=0.1)
        settings = Transmission(dark=False, mean_free_path=30.0, support=0.0, blur=0.0, counts=500.0)
        image, expected = look_through(scene, settings, seed=1)
        thick = scene.thickness > 15
        logarithm = -np.log(expected[thick] / 500) * 30
        assert np.median(logarithm / scene.thickness[thick]) == pytest.approx(1, abs=0.03)
        assert image.mean() == pytest.approx(expected.mean(), rel=0.01)

    def test_a_scene_without_thickness_is_refused(self):
        scene = SCENES["porous"](View((32, 32), 10.0), 100.0, 1)
        with pytest.raises(UsageError, match="a scene of pore, solid has no thickness; expected one to look"):
            look_through(scene, Transmission(), seed=1)
