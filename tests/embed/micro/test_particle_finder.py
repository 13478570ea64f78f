"""What a network that is right about every pixel says becomes the particles that are there."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from micdb.embed.micro.outlines import DIRECTIONS, Outlines
from micdb.embed.micro.particle_finder import Particles, find
from micdb.embed.micro.particle_maps import DEEP, INSIDE, MAPS, OFFSET, RADII, UNIT
from micdb.embed.micro.particle_sizes import measured, whole
from micdb.embed.simulate.microstructures.canvas import Canvas
from micdb.embed.simulate.microstructures.shapes import ellipse
from micdb.embed.simulate.microstructures.varied_particles import ParticleImage
from micdb.embed.simulate.microstructures.view import Scene, View, labelled
from micdb.embed.train.particles import targets


class Oracle(torch.nn.Module):
    """Says the truth of an image of a shape, and nothing of others."""

    multiple = 8

    def __init__(self, made):
        super().__init__()
        deep, labels, _, table = targets(made)
        number = labels.astype(int)
        self.maps = np.full((MAPS, *number.shape), 0, np.float32)
        share = np.clip(deep, 1e-4, 1 - 1e-4)
        self.maps[DEEP], self.maps[INSIDE] = np.log(share / (1 - share)), np.where(number > 0, 9, -9)
        y, x = np.nonzero(number)
        mine = table[number[y, x] - 1]
        way = np.column_stack((x, y)) - mine[:, :2]
        self.maps[OFFSET, y, x] = way.T / UNIT
        self.maps[RADII, y, x] = (mine[:, 4:] - way @ DIRECTIONS.T).T / UNIT

    def forward(self, image):
        if image.shape[-2:] == self.maps.shape[1:]:
            return torch.from_numpy(self.maps)[None]
        said = torch.zeros((1, MAPS, *image.shape[-2:]))
        said[:, [DEEP, INSIDE]] = -9
        return said


def discs(*circles, shape=(96, 96)):
    """An image of discs x, y, radius [pixel], later ones on earlier ones."""
    view = View(shape, 1.0)
    canvas = Canvas(view)
    for x, y, radius in circles:
        canvas.add(ellipse(radius, 1.0, 0.0), np.array([x + 0.5, y + 0.5]))
    scene = Scene(
        canvas.coverage, np.zeros(shape), 1.0, labelled(canvas.instance > 0), ("none", "particle"),
        canvas.instance, canvas.objects(),
    )  # fmt: skip
    return ParticleImage("deposited", canvas.coverage, scene, np.zeros(shape, bool))


def found(made):
    return find(made.image, Oracle(made), [0.0, 1.0, 0.0, 0.0, 0.0], 0.5)


def test_discs_that_touch_are_parted():
    made = discs((25, 30, 12), (49, 30, 12), (37, 51, 12), (70, 70, 5.3))
    one = found(made)
    assert len(one.score) == 4
    objects, visible = measured(one, (1.0, 1.0))
    assert sorted(objects.diameter) == pytest.approx([10.6, 24, 24, 24], rel=0.03)
    assert visible == pytest.approx(1.0)
    assert (one.labels > 0) == pytest.approx(made.scene.instance > 0)


def test_what_lies_on_another_leaves_that_one_whole():
    made = discs((40, 40, 15), (54, 40, 12))
    one = found(made)
    assert len(one.score) == 2
    objects, visible = measured(one, (1.0, 1.0))
    assert objects.diameter == pytest.approx([30, 24], rel=0.02)
    assert objects.x == pytest.approx([40, 54], abs=0.3)
    assert visible[1] == pytest.approx(1.0, abs=0.03)
    assert visible[0] == pytest.approx((made.scene.instance == 1).sum() / (np.pi * 225), abs=0.04)
    layers = whole(one)
    assert len(layers) == 2
    assert sum(len(np.unique(layer[layer > 0])) for layer in layers) == 2


def test_what_is_not_hidden_by_a_particle_is_not_there():
    """The outline of a half disc whose other half nothing covers ends at its pixels."""
    labels = np.zeros((40, 40), np.int32)
    y, x = np.mgrid[:40, :40]
    labels[(np.hypot(y - 20, x - 20) < 10) & (x < 20)] = 1
    one = Particles(
        Outlines(np.array([[20.0, 20.0]]), np.full((1, len(DIRECTIONS)), 10.0)), np.ones(1), labels
    )
    assert measured(one, (1.0, 1.0))[0].area_px[0] == (labels == 1).sum()


def test_particles_are_numbered_down_the_image():
    one = found(discs((70, 70, 10), (20, 20, 10), (70, 20, 8)))
    assert one.labels[20, 20] == 1
    assert one.labels[20, 70] == 2
    assert one.labels[70, 70] == 3


def test_an_image_without_particles_has_none():
    one = found(discs(shape=(64, 80)))
    assert len(one.score) == 0
    assert not one.labels.any()
    assert len(measured(one, (1.0, 1.0))[0].label) == 0
