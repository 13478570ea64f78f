"""Spectra: what a band is, what is unknown, and that turning an image does not change it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from micdb.embed.micro.spectrum import BANDS_PER_OCTAVE, spectrum


def waves(period_px, *, side=256, angle=0.0, noise=0.0, seed=0):
    y, x = np.mgrid[:side, :side]
    phase = 2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / period_px
    return np.cos(phase) + noise * np.random.default_rng(seed).normal(size=(side, side))


def of(image, pixel_size=(2.0, 2.0)):
    answer = spectrum(image, pixel_size)
    assert not isinstance(answer, str), answer
    return answer


@settings(max_examples=25, deadline=None)
@given(st.floats(5, 60), st.floats(0.01, 1e4), st.floats(0, np.pi))
def test_the_peak_is_the_period_in_nm(period, pitch, angle):
    answer = of(waves(period, angle=angle, noise=0.1), (pitch, pitch))
    assert answer.peak == pytest.approx(period * pitch, rel=0.15)
    assert answer.power.sum() / BANDS_PER_OCTAVE == pytest.approx(1, abs=0.25)  # few frequencies in a band


def test_bands_that_the_image_cannot_know_are_missing():
    answer = of(np.random.default_rng(0).normal(size=(200, 256)), (2.0, 2.0))
    edges = 2.0 ** (np.array([answer.band[0], answer.band[-1] + 1]) / BANDS_PER_OCTAVE)
    assert edges[0] >= 2 / (200 * 2.0)  # two periods in the shorter side
    assert edges[1] <= 1 / (2 * 2.0)  # Nyquist
    assert edges[0] * 2 ** (-1 / BANDS_PER_OCTAVE) < 2 / (200 * 2.0)
    assert edges[1] * 2 ** (1 / BANDS_PER_OCTAVE) > 1 / (2 * 2.0)


def test_oblong_pixels_know_what_the_coarser_side_knows():
    image = waves(20.0)
    oblong = image.reshape(256, 128, 2).mean(axis=2)
    answer = of(oblong, (2.0, 4.0))
    assert answer.peak == pytest.approx(40.0, rel=0.1)
    assert 2.0 ** ((answer.band[-1] + 1) / BANDS_PER_OCTAVE) <= 1 / (2 * 4.0)


@pytest.mark.parametrize("turned", [np.rot90, np.flipud, np.transpose])
def test_turning_changes_nothing(turned):
    image = waves(12.0, angle=0.4, noise=1.0) + waves(30.0, angle=1.3)
    one, other = of(image), of(turned(image))
    np.testing.assert_allclose(one.power, other.power, atol=1e-9)
    np.testing.assert_allclose(one.orders, other.orders, atol=1e-6)


def test_orders_tell_lamellae_from_nets():
    lamellae = of(waves(12.0, noise=0.05))
    square = of(waves(12.0) + waves(12.0, angle=np.pi / 2))
    hexagons = of(sum(waves(12.0, angle=np.pi * n / 3) for n in range(3)))
    at = {
        name: one.orders[:, np.argmax(one.power)]
        for name, one in {"lamellae": lamellae, "square": square, "hexagons": hexagons}.items()
    }
    assert at["lamellae"].min() > 0.9
    assert at["square"][0] < 0.1
    assert at["square"][1] > 0.9
    assert at["hexagons"][:2].max() < 0.1
    assert at["hexagons"][2] > 0.8


def test_noise_of_counting_is_taken_away():
    quiet, noisy = of(waves(24.0, noise=0.01)), of(waves(24.0, noise=0.7))
    high = quiet.wavelength < 10.0
    assert noisy.power[high].max() < 0.1
    assert noisy.power[high].max() < 0.1 * noisy.power.max()


def test_large_images_are_seen_by_tiles_and_whole():
    fine = waves(8.0, side=1100) + waves(500.0, side=1100)
    answer = of(fine, (1.0, 1.0))
    two = answer.wavelength[np.argsort(answer.power)[-2:]]
    assert min(two) == pytest.approx(8.0, rel=0.2)
    assert answer.power[np.abs(np.log(answer.wavelength / 500)) < 0.3].sum() > 0.5


@pytest.mark.parametrize(("shape", "pixel_size"), [((7, 300), (1.0, 1.0)), ((64, 64), (1.0, 12.0))])
def test_what_is_too_small_says_so(shape, pixel_size):
    answer = spectrum(np.random.default_rng(0).normal(size=shape), pixel_size)
    assert answer == "fewer than 8 square pixels across: too few for a spectrum"
