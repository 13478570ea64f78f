"""Candidates of several scales become particles: the best of each, and every pixel shows one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from micdb.embed.micro.particle_finder import SIGNS, Candidates, best, chosen, look, scores, shown
from micdb.embed.micro.particle_maps import BOX, DEEP, INSIDE, MAPS, UNIT

SURE = [0.0, 1.0, 0.0, 0.0, 0.0]  # coefficients: by the depth alone


def maps_of(shape, circles):
    """Return what a network says that knows circles x, y, radius; later ones lie on earlier ones."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(float)
    maps = np.zeros((MAPS, *shape), np.float32)
    maps[DEEP] = maps[INSIDE] = -6.0
    for left, top, radius in circles:
        far = np.hypot(x - left, y - top)
        here = far <= radius
        depth = np.clip(1 - far / radius, 0.02, 0.98)
        maps[DEEP][here], maps[INSIDE][here] = np.log(depth / (1 - depth))[here], 6.0
        sides = np.stack((x - left, y - top, left - x, top - y)) + radius
        maps[BOX][:, here] = sides[:, here] / UNIT
    return maps


class Knows(nn.Module):
    """Answers the maps it was given, for the image as it is; nothing for smaller ones."""

    multiple = 8

    def __init__(self, maps):
        super().__init__()
        self.maps = torch.from_numpy(maps)

    def forward(self, image):
        if image.shape[2:] == self.maps.shape[1:]:
            return self.maps[None]
        return torch.full((1, MAPS, *image.shape[2:]), -6.0)


def found_of(circles, shape=(96, 96)):
    noise = np.random.default_rng(0).normal(size=shape)
    return chosen(*look(noise, Knows(maps_of(shape, circles))), SURE, 0.5)


def test_particles_that_touch_and_overlap_are_told_apart():
    circles = [(20.0, 20.0, 8.0), (36.0, 20.0, 8.0), (60.0, 60.0, 12.0), (70.0, 66.0, 8.0), (94.0, 50.0, 8.0)]
    labels, score = found_of(circles)
    assert sorted(np.unique(labels)) == [0, 1, 2, 3, 4, 5]
    assert (score > 0.5).all()
    for x, y, radius in circles:
        number = labels[int(y), int(min(x, 95))]
        assert number > 0
        mine = np.argwhere(labels == number)
        assert np.hypot(mine[:, 1] - x, mine[:, 0] - y).max() <= radius + 1


def test_an_object_is_one_piece_without_holes():
    maps = maps_of((64, 64), [(30.0, 30.0, 14.0)])
    maps[INSIDE, 27:30, 26:29] = -6.0
    maps[INSIDE, :, 40:42] = -6.0
    noise = np.random.default_rng(0).normal(size=(64, 64))
    labels, _ = chosen(*look(noise, Knows(maps)), SURE, 0.5)
    assert labels.max() == 1
    assert (labels[27:30, 26:29] == 1).all()
    assert (labels[:, 40:] == 0).all()


def test_large_particles_are_found_in_smaller_images():
    small = maps_of((64, 64), [(30.0, 30.0, 14.0)]).astype(np.float16)
    nothing = np.full((MAPS, 256, 256), -6.0, np.float16)
    box = (np.array([[16.0, 16.0, 44.0, 44.0]]) + 0.5) * 4 - 0.5 + [[-1.5, -1.5, 1.5, 1.5]]
    labels = shown(Candidates(box, np.ones((1, len(SIGNS))), np.array([4])), {1: nothing, 4: small})
    y, x = np.nonzero(labels)
    assert len(y) == pytest.approx(np.pi * (14.0 * 4) ** 2, rel=0.08)
    assert (x.mean(), y.mean()) == pytest.approx((30.5 * 4 - 0.5, 30.5 * 4 - 0.5), abs=1.0)


def test_what_is_smaller_than_asked_does_not_show():
    labels, score = found_of([(20.0, 20.0, 4.0), (50.0, 50.0, 9.0)])
    assert labels.max() == len(score) == 2
    noise = np.random.default_rng(0).normal(size=(96, 96))
    seen = look(noise, Knows(maps_of((96, 96), [(20.0, 20.0, 4.0), (50.0, 50.0, 9.0)])))
    assert chosen(*seen, SURE, 0.5, least_px=100)[0].max() == 1
    assert chosen(*seen, SURE, 0.999)[0].max() == 0


@given(st.integers(0, 10**6), st.integers(0, 30))
def test_the_best_boxes_are_apart_and_the_rest_lies_on_them(seed, count):
    rng = np.random.default_rng(seed)
    corner, size = rng.uniform(0, 60, (count, 2)), rng.uniform(4, 30, (count, 2))
    box, score = np.hstack((corner, corner + size)), rng.random(count)
    kept = best(box, score)
    assert (np.diff(score[kept]) <= 0).all()
    assert len(set(kept.tolist())) == len(kept)
    again = best(box[kept], score[kept])
    assert again.tolist() == list(range(len(kept)))
    assert count == 0 or score.argmax() == kept[0]


def test_a_score_is_a_probability():
    signs = np.array([[1.0, 40.0, 0, 0, 0], [1.0, 0.0, 0, 0, 0], [1.0, -900.0, 0, 0, 0]])
    some = Candidates(np.zeros((3, 4)), signs, np.ones(3, np.int64))
    assert scores(some, SURE) == pytest.approx([1.0, 0.5, 0.0], abs=1e-12)
