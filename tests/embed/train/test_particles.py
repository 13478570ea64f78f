"""Targets of the network of particles, and how right and sure it is."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from micdb.embed.micro.outlines import DIRECTIONS, Outlines
from micdb.embed.micro.particle_maps import DEEP, INSIDE, MAPS, OFFSET, RADII, UNIT
from micdb.embed.simulate.microstructures.lettering import lettered
from micdb.embed.simulate.microstructures.varied_particles import KINDS, random_particles
from micdb.embed.simulate.microstructures.view import View
from micdb.embed.train.particle_scores import calibration_error, f1, matched
from micdb.embed.train.particles import SIDE, batch, loss, targets, turned


@pytest.fixture(scope="module")
def arrays():
    return tuple(torch.from_numpy(one) for one in batch(5))


class Said(torch.nn.Module):
    def __init__(self, maps):
        super().__init__()
        self.maps = maps

    def forward(self, images):
        return self.maps


def true_maps(arrays):
    _, deep, labels, _, table = (one.numpy() for one in arrays)
    maps = np.zeros((len(deep), MAPS, SIDE, SIDE), np.float32)
    share = np.clip(deep, 1e-3, 1 - 1e-3)
    maps[:, DEEP], maps[:, INSIDE] = np.log(share / (1 - share)), np.where(labels > 0, 9, -9)
    image, y, x = np.nonzero(labels)
    mine = table[image, labels[image, y, x].astype(int) - 1]
    way = np.column_stack((x, y)) - mine[:, :2]
    maps[image, OFFSET, y, x] = way / UNIT
    maps[image, RADII, y, x] = (mine[:, 4:] - way @ DIRECTIONS.T) / UNIT
    return torch.from_numpy(maps)


def test_the_truth_has_the_least_loss_and_every_error_adds_to_it(arrays, monkeypatch):
    monkeypatch.setattr(torch, "randint", lambda *_: torch.zeros(1))  # not turned
    maps = true_maps(arrays)
    right = float(loss(Said(maps), arrays))
    for channel in (DEEP, INSIDE, OFFSET, RADII):
        wrong = maps.clone()
        wrong[:, channel] *= -1
        assert float(loss(Said(wrong), arrays)) > 2 * right


def test_a_turned_batch_is_the_batch_of_turned_images(arrays):
    four = arrays
    for _ in range(4):
        four = turned(four, 1)
    for one, other in zip(arrays, four, strict=True):
        assert torch.allclose(one, other, atol=1e-4)
    _, _, labels, _, table = (one.numpy() for one in turned(arrays, 1))
    checked = 0
    for image in range(len(labels)):
        for number, row in enumerate(table[image], start=1):
            if not row[2] or row[3] < 12:
                continue
            there = labels[image] == number
            box, drawn = Outlines(row[None, :2].astype(float), row[None, 4:].astype(float)).mask(
                0, there.shape
            )
            if there.sum() > 0.97 * drawn.sum() > 0:
                checked += 1
                assert (there[box] & drawn).sum() > 0.85 * (there[box] | drawn).sum()
    assert checked > 5


def test_a_hidden_particle_is_outlined_whole():
    made = random_particles(View((168, 168), 1.0), seed=1, kind="powder", diameter=30.0)
    _, labels, _, table = targets(made)
    seen = np.bincount(labels.astype(int).ravel(), minlength=len(table) + 1)[1:]
    hidden = (table[:, 2] > 0) & (seen < 0.7 * np.pi / 4 * table[:, 3] ** 2)
    assert hidden.sum() > 3
    outlines = Outlines(table[hidden, :2], table[hidden, 4:])
    assert np.sqrt(4 * outlines.area / np.pi) == pytest.approx(made.scene.objects.diameter[hidden], rel=0.05)


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
    nothing = matched(there, np.zeros_like(said))
    assert f1([nothing]) == (0.0, 0.0, 0.0)


def test_calibration_error():
    sure = np.full(100, 0.8)
    assert calibration_error(sure, np.arange(100) < 80) == pytest.approx(0)
    assert calibration_error(sure, np.arange(100) < 50) == pytest.approx(0.3)
