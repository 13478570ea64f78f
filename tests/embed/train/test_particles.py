"""What `particles` learns from: depths and boxes that fit the particles, turned with them; and its card."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from micdb.embed.micro.particle_maps import BOX, DEEP, INSIDE, LARGEST, MAPS, UNIT
from micdb.embed.nets import weights
from micdb.embed.simulate.microstructures.varied_particles import random_particles
from micdb.embed.simulate.microstructures.view import View
from micdb.embed.train.particle_measures import FEW, calibrated, few, images
from micdb.embed.train.particles import BATCH, SIDE, batch, boxes, loss, targets, turned


@pytest.fixture(scope="module")
def made():
    return random_particles(View((128, 128), 1.0), seed=3, kind="deposited", diameter=18.0)


def answer_of(arrays):
    """Return what a network says that knows all."""
    _, deep, _, labels, table = arrays
    depth = deep.clamp(1e-4, 1 - 1e-4)
    y, x = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    rows = torch.cat((torch.zeros(len(table), 1, table.shape[2]), table), dim=1)
    mine = torch.stack([one[label.long()] for one, label in zip(rows, labels, strict=True)])
    sides = torch.stack((x - mine[..., 0], y - mine[..., 1], mine[..., 2] - x, mine[..., 3] - y), dim=1)
    answer = torch.empty(len(deep), MAPS, SIDE, SIDE)
    answer[:, DEEP], answer[:, INSIDE] = torch.logit(depth), 16.0 * (labels > 0) - 8
    answer[:, BOX] = sides / UNIT
    return answer


class Says(nn.Module):
    """Answers what it was given."""

    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def forward(self, image):
        return self.answer


@pytest.fixture(scope="module")
def arrays():
    return tuple(torch.from_numpy(one) for one in batch(4))


def test_a_batch_is_that_of_its_seed(arrays):
    images, deep, weight, labels, table = arrays
    assert images.shape == (BATCH, 1, SIDE, SIDE)
    assert deep.shape == weight.shape == labels.shape == (BATCH, SIDE, SIDE)
    assert table.shape[::2] == (BATCH, 6)
    assert labels.max() <= table.shape[1]
    assert all(np.array_equal(one, other) for one, other in zip(arrays, batch(4), strict=True))


def test_pixels_lie_in_the_box_of_their_particle(made):
    deep, _, labels, table = targets(made)
    for number in np.unique(labels[labels > 0]):
        y, x = np.nonzero(labels == number)
        left, top, right, bottom = boxes(made)[number - 1]
        assert left <= x.min() <= x.max() <= right
        assert top <= y.min() <= y.max() <= bottom
        known = deep[labels == number].max() > 0
        assert deep[labels == number].max() == pytest.approx(1.0 if known else 0.0)
    assert (deep[labels == 0] == 0).all()
    assert 0 < table[:, 4].sum() < len(table)  # boxes that the edge cuts are not known


def test_particles_too_large_for_the_network_are_none():
    large = random_particles(View((192, 192), 1.0), seed=1, kind="layer", diameter=2 * LARGEST)
    deep, weight, labels, table = targets(large)
    far = np.append(False, table[:, 5] > 1.4 * LARGEST)[labels]
    assert far.any()
    assert (deep[far] == 0).all()
    assert (weight[far] == 1).all()


def test_the_loss_is_least_for_the_truth(arrays):
    best = answer_of(arrays)
    right = loss(Says(best).eval(), arrays)
    for part, other in ((DEEP, -best[:, DEEP]), (INSIDE, -best[:, INSIDE]), (BOX, best[:, BOX] + 0.5)):
        wrong = best.clone()
        wrong[:, part] = other
        assert loss(Says(wrong).eval(), arrays) > right + 0.05


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("quarters", range(4))
def test_boxes_are_turned_with_their_particles(arrays, quarters, mirrored):
    there = turned(arrays, quarters, mirrored=mirrored)
    assert loss(Says(answer_of(there)).eval(), there) == pytest.approx(
        float(loss(Says(answer_of(arrays)).eval(), arrays)), rel=1e-3
    )
    labels, table = there[3][0].numpy().astype(int), there[4][0].numpy()
    for number in np.unique(labels[labels > 0]):
        y, x = np.nonzero(labels == number)
        left, top, right, bottom = table[number - 1, :4]
        assert left <= x.min() <= x.max() <= right
        assert top <= y.min() <= y.max() <= bottom


def test_a_network_that_learnt_nothing_has_scores():
    class Nothing(nn.Module):
        multiple = 8

        def forward(self, image):
            return torch.zeros(1, MAPS, *image.shape[2:])

    from micdb.embed.micro.particle_finder import look

    one = next(iter(images(7, 1)))
    assert calibrated([(*look(one.image, Nothing()), replace(one, hidden=~one.hidden))])[1] == 1.0


def test_the_shipped_weights_reach_what_their_card_says():
    known = weights.card("particles")
    found = few(weights.unet("particles"), known.measured["score"])
    assert found == pytest.approx(known.measured["f1_of_few"], abs=0.02), FEW
