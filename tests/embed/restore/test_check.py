"""What is said of a restored image is true: resolution, noise, structure made of noise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from micdb.embed.restore.check import check
from micdb.embed.restore.noise import Noise, sampled_back
from micdb.embed.restore.ring_correlation import agreement, data_resolution, ring_correlation
from micdb.embed.simulate.exposure import Exposure, expose
from micdb.embed.train.noiseless import noiseless

SIDE = 128


def scene(seed=3):
    return noiseless(SIDE, seed=seed)


def smooth(image):
    return ndimage.gaussian_filter(np.asarray(image, np.float32), 1.5)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000), gain=st.floats(0.01, 100.0), offset=st.floats(-10.0, 10.0))
def test_an_image_correlates_with_itself_whatever_its_grey_values(seed, gain, offset):
    image = np.random.default_rng(seed).normal(size=(40, 52))
    correlation, count = ring_correlation(image, gain * image + offset)
    assert correlation == pytest.approx(np.ones(20))
    assert (count > 0).all()


def test_independent_noise_has_no_resolution():
    one, other = np.random.default_rng(0).normal(size=(2, SIDE, SIDE))
    assert data_resolution(*ring_correlation(one, other)) is None


@pytest.mark.parametrize("period", [4.0, 8.0])
def test_the_resolution_of_what_is_cut_off_is_where_it_is_cut(period):
    rng = np.random.default_rng(1)
    frequency = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.rfftfreq(SIDE)[None, :])
    spectrum = np.fft.rfft2(rng.normal(size=(SIDE, SIDE)))
    image = np.fft.irfft2(spectrum * (frequency < 1 / period), s=(SIDE, SIDE))
    one, other = (image + 0.05 * image.std() * rng.normal(size=image.shape) for _ in range(2))
    assert data_resolution(*ring_correlation(one, other)) == pytest.approx(period, rel=0.15)


def test_a_lattice_is_resolved_beyond_the_gap_below_its_spots():
    y, x = np.mgrid[:SIDE, :SIDE]
    lattice = np.cos(2 * np.pi * x / 5) + np.cos(2 * np.pi * y / 5)
    assert agreement(lattice + 0.3 * np.random.default_rng(0).normal(size=lattice.shape), lattice) == (
        pytest.approx(5.0, rel=0.1)
    )


def test_halves_have_independent_noise_of_twice_the_variance():
    truth = scene()
    image = expose(truth, Exposure(20.0), seed=1)
    noise = Noise.of(image, truth)
    other = noise.again(seed=2)
    one, two = image + other - truth, image - other - truth
    assert one.var() == pytest.approx(2 * (image - truth).var(), rel=0.1)
    assert abs(np.corrcoef(one.ravel(), two.ravel())[0, 1]) < 0.05


def test_noise_follows_the_grey_value():
    truth = np.tile(np.linspace(0.1, 1.0, SIDE), (SIDE, 1))
    noise = Noise.of(expose(truth, Exposure(50.0), seed=0), truth)
    assert noise.deviation == pytest.approx(np.sqrt(truth / 50), rel=0.1)


@pytest.mark.parametrize(("spread", "least", "most"), [((0, 0), -0.05, 0.05), ((0.0, 0.8), 0.2, 0.6)])
def test_noise_that_spreads_is_told_from_white_noise(spread, least, most):
    truth = scene()
    correlation, chance = Noise.of(expose(truth, Exposure(20.0, spread=spread), seed=1), truth).correlation
    assert least < correlation < most
    assert chance == pytest.approx(1 / np.sqrt(2 * SIDE**2))


def test_a_finer_image_is_blurred_as_the_data_are():
    fine = scene()
    image = ndimage.gaussian_filter(fine, 1.2).reshape(SIDE // 2, 2, SIDE // 2, 2).mean(axis=(1, 3))
    back = sampled_back(fine, image, 2)
    assert (back - image).std() < 0.1 * image.std()


@pytest.mark.parametrize("seed", [0, 3, 5, 7])
def test_resolution_is_hardly_ever_said_to_be_finer_than_the_truth_has_it(seed):
    """A Gaussian takes structure away with the noise, which is then thought to be stronger than it is."""
    truth = noiseless(160, seed=seed)
    image = expose(truth, Exposure(16.0), seed=1)
    found = check(image, smooth(image), smooth)
    assert (found.data_resolution_px or np.inf) > 0.8 * agreement(image, truth)
    assert (found.resolution_px or np.inf) > 0.8 * agreement(smooth(image), truth)


def test_structure_in_pure_noise_is_called_invented():
    image = np.random.default_rng(0).poisson(5, (SIDE, SIDE)).astype(np.float32)
    found = check(image, smooth(image), smooth)
    assert found.invented.mean() > 0.7
    assert found.resolution_px is None


def test_structure_of_many_electrons_is_not():
    def sharp(image):
        return ndimage.gaussian_filter(np.asarray(image, np.float32), 0.6)

    image = expose(scene(), Exposure(1000.0), seed=0)
    assert check(image, sharp(image), sharp).invented.mean() < 0.02
