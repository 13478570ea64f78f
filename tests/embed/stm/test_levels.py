"""Terraces are flat, whatever their steps, tilt and lines; positions survive resampling."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from micdb.embed.stm.levels import LEVELS, NOMINAL, flatten, levels


def bump(shape, x, y, sigma, height):
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return height * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * sigma**2))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(-0.05, 0.05), st.floats(-0.05, 0.05))
def test_tilt_and_the_heights_of_rows_leave_no_trace(seed, along, across):
    rng = np.random.default_rng(seed)
    noise = rng.normal(0, 1, (48, 64))
    y, x = np.mgrid[:48, :64]
    disturbed = noise + along * y + across * x + rng.normal(0, 30, (48, 1)) + 7
    first, second = flatten(noise), flatten(disturbed)
    np.testing.assert_allclose(first, second, atol=1e-9)
    assert abs(np.median(second)) < 1e-9


def test_a_step_is_flattened_and_a_defect_beside_it_stays():
    rng = np.random.default_rng(2)
    image = rng.normal(0, 1, (220, 220))
    image[:, 120:] += 40  # 40 times the noise
    image += bump(image.shape, 60, 100, 3.5, 12)
    (level,) = [one for one in levels(image, 0.2) if one.nm_per_pixel == 0.2]
    assert level.height[100, 60] == pytest.approx(12, abs=3)
    away = np.concatenate((level.height[:, :55].ravel(), level.height[:, 130:].ravel()))
    assert np.abs(np.median(away)) < 0.3
    assert level.noise == pytest.approx(1.0, rel=0.25)


@pytest.mark.parametrize(("pixel", "side", "expected"), [
    (0.2, 512, (0.1, 0.2, 0.4, 0.8, 1.6)),
    (0.97, 514, (0.8, 1.6)),
    (1.95, 514, (1.6,)),
    (0.006, 512, (0.1,)),
])  # fmt: skip
def test_levels_are_those_that_show_something(pixel, side, expected):
    image = np.random.default_rng(0).normal(size=(side, side))
    made = levels(image, pixel)
    assert tuple(one.nm_per_pixel for one in made) == expected
    assert [one.first for one in made] == [True] + [False] * (len(made) - 1)
    assert [one.last for one in made] == [False] * (len(made) - 1) + [True]
    assert all(np.isfinite(one.values).all() for one in made)


def test_a_defect_is_where_it_was_at_every_level():
    image = bump((400, 300), 211.0, 97.0, 12.0, 50.0) + np.random.default_rng(0).normal(size=(400, 300))
    for level in levels(image, 0.1):
        y, x = np.unravel_index(level.height.argmax(), level.height.shape)
        ((found_x, found_y),) = level.sampled.original(np.array([[x, y]], dtype=float))
        assert np.hypot(found_x - 211, found_y - 97) < 1 + 1.5 * level.sampled.factor, level.nm_per_pixel
    assert NOMINAL * LEVELS[0] < 2 < NOMINAL * LEVELS[-1]  # [nm] small and large defects are both served
