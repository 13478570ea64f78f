"""Simulated images of particles, and how what was found is matched with what is there."""

from __future__ import annotations

import numpy as np
import pytest

from micdb.embed.simulate.microstructures.lettering import lettered
from micdb.embed.simulate.microstructures.particles import spheroidite
from micdb.embed.simulate.microstructures.varied_particles import KINDS, random_particles
from micdb.embed.simulate.microstructures.view import View
from micdb.embed.train.particle_scores import f1, matched


@pytest.mark.parametrize("kind", KINDS)
def test_images_of_every_kind(kind):
    one, again = (random_particles(View((96, 112), 2.0), seed=4, kind=kind) for _ in range(2))
    assert one.kind == kind
    assert one.image.shape == (96, 112)
    assert np.isfinite(one.image).all()
    np.testing.assert_array_equal(one.image, again.image)
    objects = one.scene.objects
    assert len(objects) == len(objects.outlines)
    assert one.scene.instance.max() <= len(objects)
    assert (len(objects) == 0) == (kind == "none")


def test_a_layer_hardly_overlaps():
    far = []
    for kind in ("layer", "powder"):
        one = random_particles(View((200, 200), 1.0), seed=2, kind=kind, diameter=18.0)
        whole = np.array([outline.mask.sum() for outline in one.scene.objects.outlines])
        seen = np.bincount(one.scene.instance.ravel(), minlength=len(whole) + 1)[1:]
        far.append(1 - seen.sum() / whole.sum())
    assert far[0] < 0.05 < far[1]


def test_carbides_of_a_section_do_not_lie_in_one_another():
    told = {"diameter": 14.0, "seed": 5, "fraction": 0.3, "spread": 0.5}
    hidden = []
    for parted in (False, True):
        scene = spheroidite(View((200, 200), 1.0), **told, parted=parted)
        whole = np.array([outline.mask.sum() for outline in scene.objects.outlines])
        seen = np.bincount(scene.instance.ravel(), minlength=len(whole) + 1)[1:]
        hidden.append(1 - seen.sum() / whole.sum())
    assert hidden[1] < 0.04 < hidden[0]


def test_letters_change_few_pixels_and_hide_only_boxes():
    image = np.random.default_rng(0).normal(size=(200, 240))
    written, hidden = lettered(image, np.random.default_rng(3))
    changed = written != image
    assert 0.002 < changed.mean() < 0.4
    assert (changed | ~hidden).all()


def test_instances_are_matched_once():
    there, said = np.zeros((2, 30, 30), int)
    there[2:10, 2:10], there[2:10, 12:20], there[20:24, 20:24] = 1, 2, 3
    said[2:10, 3:11], said[2:10, 12:16], said[20:24, 20:24], said[26:29, 2:9] = 4, 2, 1, 3
    found = matched(there, said)
    assert dict(zip(found.truth, found.found, strict=True)) == {1: 4, 3: 1}
    assert sorted(found.false) == [2, 3]
    assert found.best == pytest.approx([7 / 9, 0.5, 1.0])
    assert f1([found]) == pytest.approx((2 / 4, 2 / 3, 4 / 7))
    without = matched(there, said, np.array([2]))
    assert sorted(without.false) == [3]
    assert f1([without]) == pytest.approx((2 / 3, 1.0, 4 / 5))
    hidden = matched(there, said, np.array([2, 5]))  # a particle that others hide has no pixel
    assert f1([hidden]) == f1([without])
    nothing = matched(there, np.zeros_like(said))
    assert f1([nothing]) == (0.0, 0.0, 0.0)
