"""The network's map: drawn, tiled, resampled and read back without moving a column."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from micdb.embed.atoms.detect import Sampled, heat_map, peaks
from micdb.embed.atoms.heat_map import draw, standardise
from micdb.embed.nets import tiles


def some_columns(seed, shape, step=9):
    y, x = np.mgrid[6 : shape[0] - 6 : step, 6 : shape[1] - 6 : step]
    xy = np.column_stack((x.ravel(), y.ravel())).astype(float)
    return xy + np.random.default_rng(seed).uniform(-1.5, 1.5, xy.shape)


def matched(found, truth):
    return np.sort(np.hypot(*(found[:, None] - truth[None]).transpose(2, 0, 1)).min(axis=0))


def test_a_drawn_map_gives_its_columns_back():
    truth = some_columns(0, (80, 110))
    found, probability = peaks(draw(truth, (80, 110)), 0.5)
    assert len(found) == len(truth)
    assert matched(found, truth)[-1] < 0.05
    assert probability.min() > 0.9
    assert probability.max() <= 1


@pytest.mark.parametrize("place", [(0.2, 0.3), (-0.4, 20.0), (39.3, 29.4), (0.0, 29.0)])
def test_columns_at_the_rim_are_drawn_and_found(place):
    found, _ = peaks(draw(np.array([place]), (30, 40)), 0.4)
    assert len(found) == 1
    assert np.hypot(*(found[0] - place)) < 0.6


def test_columns_outside_are_not_drawn():
    assert not draw(np.array([[-30.0, 5.0], [90.0, 5.0]]), (30, 40)).any()
    assert not draw(np.empty((0, 2)), (30, 40)).any()
    assert peaks(np.zeros((30, 40), np.float32), 0.5)[0].shape == (0, 2)


def test_the_threshold_is_a_probability():
    map_ = 0.6 * draw(np.array([[15.0, 15.0]]), (30, 30))
    assert len(peaks(map_, 0.55)[0]) == 1
    assert len(peaks(map_, 0.65)[0]) == 0


@settings(max_examples=40, deadline=None)
@given(factor=st.floats(0.4, 4.0), height=st.integers(90, 140), width=st.integers(90, 140))
def test_resampling_keeps_places(factor, height, width):
    truth = np.array([[width * 0.6, height * 0.4]])
    y, x = np.mgrid[:height, :width]
    image = np.exp(-0.5 * ((x - truth[0, 0]) ** 2 + (y - truth[0, 1]) ** 2) / (2.2 * max(factor, 1)) ** 2)
    sampled = Sampled.of(image, factor)
    y, x = np.mgrid[: sampled.image.shape[0], : sampled.image.shape[1]]
    weight = np.maximum(sampled.image - 0.05, 0)
    centre = np.array([[(weight * x).sum(), (weight * y).sum()]]) / weight.sum()
    np.testing.assert_allclose(sampled.original(centre), truth, atol=0.05 * max(factor, 1))
    # nothing of the image is lost, and less than a pixel is made up
    assert -1e-6 < sampled.image.shape[0] * sampled.factor - height < max(sampled.factor, 1) + 1


class Local(torch.nn.Module):
    """A network whose answer depends on neighbours within 20 pixels only."""

    multiple = 4

    def forward(self, image):
        return torch.nn.functional.avg_pool2d(image, 41, stride=1, padding=20, count_include_pad=False)


def test_tiles_join_without_a_seam(monkeypatch):
    image = np.random.default_rng(0).normal(size=(130, 151)).astype(np.float32)
    whole = heat_map(image, Local())
    monkeypatch.setattr(tiles, "TILE", 64)
    np.testing.assert_allclose(heat_map(image, Local()), whole, atol=1e-6)
    assert whole.shape == image.shape


def test_the_network_s_picture_has_neither_offset_nor_scale_nor_slow_background():
    rng = np.random.default_rng(0)
    shape = (300, 120)
    image = draw(some_columns(0, shape), shape) + rng.normal(0, 0.1, shape)
    plain = standardise(image)
    np.testing.assert_allclose(standardise(1e4 * image - 300), plain, atol=2e-3)
    slope = np.add.outer(np.arange(300), np.arange(120)) / 120
    assert np.abs(standardise(image + slope) - plain)[30:-30, 30:-30].max() < 0.3
    image[50:54, 50:54] = 1e6  # a grain of dust outshines nothing far away
    assert np.abs(standardise(image) - plain)[180:].max() < 0.3
    assert np.isfinite(standardise(np.zeros((40, 40)))).all()
