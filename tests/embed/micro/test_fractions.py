"""The standard deviation of a fraction is that of repeating the measurement elsewhere."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import ndimage
from scipy.stats import norm

from micdb.embed.micro.fractions import fraction


def field(rng, sigma, share, shape=(192, 240)):
    """Return a phase whose pixels are alike over some distance, cut from a larger field."""
    wide = rng.normal(size=tuple(size + 8 * sigma for size in shape))
    smooth = ndimage.gaussian_filter(wide, sigma, mode="wrap") if sigma else wide
    part = smooth[4 * sigma or None : -4 * sigma or None, 4 * sigma or None : -4 * sigma or None]
    width = 2 * math.sqrt(math.pi) * sigma if sigma else 1.0  # a smoothed field has this much less variance
    return part * width > norm.isf(share)


@pytest.mark.parametrize(("sigma", "share"), [(0, 0.3), (3, 0.05), (10, 0.3)])
def test_intervals_hold_at_their_rate(sigma, share):
    rng = np.random.default_rng(sigma)
    found = [fraction(field(rng, sigma, share)) for _ in range(80)]
    held = [low <= share <= high for low, high in (one.interval(0.95) for one in found)]
    assert 0.88 <= np.mean(held) <= 1.0
    assert np.median([one.sd for one in found]) == pytest.approx(
        np.std([one.value for one in found]), rel=0.3
    )


def test_pixels_of_their_own_vary_as_coins():
    found = fraction(np.random.default_rng(0).random((300, 300)) < 0.2)
    assert found.sd == pytest.approx(math.sqrt(0.2 * 0.8) / 300, rel=0.4)


def test_what_is_not_known_is_not_counted():
    inside = np.zeros((100, 100), bool)
    inside[:, 50:] = True
    known = np.ones((100, 100), bool)
    known[:, 60:] = False
    assert fraction(inside, known).value == pytest.approx(1 / 6)
    assert math.isnan(fraction(inside, known & False).value)


def test_all_or_nothing_and_small_images_tell_no_spread():
    whole = fraction(np.ones((50, 50), bool))
    assert (whole.value, whole.interval()) == (1.0, (0.0, 1.0))
    small = fraction(np.eye(5, dtype=bool))
    assert (small.value, small.interval()) == (0.2, (0.0, 1.0))


def test_an_interval_stays_between_nothing_and_all():
    rng = np.random.default_rng(1)
    low, high = fraction(field(rng, 10, 0.01)).interval()
    assert 0 <= low <= high <= 1
