"""Sparse windows: the noise they estimate, what they keep, and when they are asked."""

from __future__ import annotations

import numpy as np
import pytest

from micdb.embed.restore.denoised import is_white
from micdb.embed.restore.sparse import SIZES, Strength, refined, sparse
from micdb.embed.simulate.exposure import Exposure, expose
from micdb.embed.train.noiseless import noiseless

SIDE = 128


def ramp():
    return np.tile(np.linspace(0.2, 1.0, SIDE), (SIDE, 1))


@pytest.mark.parametrize("counts", [5.0, 50.0, 500.0])
def test_the_noise_of_counted_electrons_follows_the_grey_value(counts):
    found = Strength.of(expose(ramp(), Exposure(counts), seed=0).astype(np.float64))
    assert found.slope == pytest.approx(1 / counts, rel=0.25)
    seen = found.stabilised(expose(ramp(), Exposure(counts), seed=1).astype(np.float64))
    assert np.diff(seen, axis=0).std() / np.sqrt(2) == pytest.approx(1.0, abs=0.12)


def test_even_noise_is_told_to_be_even():
    noisy = ramp() + np.random.default_rng(0).normal(0, 0.1, (SIDE, SIDE))
    found = Strength.of(noisy)
    assert found.slope * 0.8 < 0.3 * 0.01
    assert found.offset == pytest.approx(0.01, rel=0.2)


def test_the_deviation_of_the_noise_is_known_at_each_pixel():
    _, deviation = sparse(expose(ramp(), Exposure(50.0), seed=0))
    assert deviation == pytest.approx(np.sqrt(ramp() / 50.0), rel=0.2)


def test_stabilised_values_go_back():
    value = ramp()
    found = Strength(0.01, 0.002, 0.2, 1.0)
    assert found.back(found.stabilised(value)) == pytest.approx(value, abs=0.006)


def test_a_lattice_comes_out_of_its_noise():
    y, x = np.mgrid[:SIDE, :SIDE]
    lattice = 1 + 0.5 * (np.cos(2 * np.pi * x / 6) + np.cos(2 * np.pi * (y + x / 2) / 6.5))
    noisy = lattice + np.random.default_rng(0).normal(0, 1.0, lattice.shape)
    left = np.square(sparse(noisy)[0] - lattice).mean(axis=(1, 2)) / np.square(noisy - lattice).mean()
    assert left[0] < 0.3  # windows of 8 pixels hold one period
    assert (left[1:] < 0.05).all()


def test_the_better_the_pilot_the_better_the_image():
    truth = noiseless(128, seed=11)
    noisy = expose(truth, Exposure(8.0), seed=0)
    estimates, _ = sparse(noisy)
    left = [
        np.square(refined(noisy, pilot) - truth).mean() for pilot in (truth, estimates.mean(axis=0), noisy)
    ]
    assert left[0] < 0.8 * left[1] < 0.8 * left[2]


def test_every_size_of_windows_sees_the_whole_image():
    """Where there is no noise nothing is taken away, at the rims and in images smaller than the windows."""
    for shape in ((40, 150), (33, 32)):
        noise = 0.01 * np.random.default_rng(0).normal(size=shape)
        value = noiseless(160, seed=11)[: shape[0], : shape[1]] + noise
        made, deviation = sparse(value)
        assert made.shape == (len(SIZES), *shape)
        assert deviation == pytest.approx(np.full(shape, 0.01), rel=0.5)
        assert np.abs(made - value).max() < 0.08


@pytest.mark.parametrize(
    ("exposure", "white"),
    [
        (Exposure(20.0), True),
        (Exposure(20.0, spread=(0.0, 0.6)), False),
        (Exposure(20.0, lines=0.1), False),
    ],
)
def test_noise_that_hangs_together_is_not_white(exposure, white):
    flat = np.full((SIDE, SIDE), 0.5)
    assert is_white(expose(flat, exposure, seed=0) - flat) == white
