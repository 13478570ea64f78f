"""The joint fit: exact on noise-free columns, honest about its error, near the Cramer-Rao bound."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from micdb.embed.atoms.fit import fit_gaussians

SIGMA = 2.2  # [pixel]


def draw(xy, heights, shape, sigma=SIGMA):
    y, x = np.mgrid[: shape[0], : shape[1]]
    return sum(
        h * np.exp(-0.5 * ((x - cx) ** 2 + (y - cy) ** 2) / sigma**2)
        for (cx, cy), h in zip(xy, heights, strict=True)
    )


def grid(step, shape, seed=0, jitter=0.0):
    y, x = np.mgrid[step : shape[0] - step : step, step : shape[1] - step : step]
    xy = np.column_stack((x.ravel(), y.ravel())).astype(float)
    return xy + np.random.default_rng(seed).uniform(-jitter, jitter, xy.shape)


@settings(max_examples=25, deadline=None)
@given(
    shift=st.tuples(st.floats(-0.45, 0.45), st.floats(-0.45, 0.45)),
    height=st.floats(0.1, 1e4),
    sigma=st.floats(1.8, 2.8),
    offset=st.floats(-0.5, 0.5),
)
def test_an_isolated_column_comes_back_exactly(shift, height, sigma, offset):
    truth = np.array([[20.0, 21.0]]) + shift
    image = draw(truth, [height], (41, 41), sigma) + offset * height
    fit = fit_gaussians(image - offset * height, np.rint(truth), sigma=SIGMA, radius=7.0)
    assert fit.x[0] == pytest.approx(truth[0, 0], abs=0.01)
    assert fit.y[0] == pytest.approx(truth[0, 1], abs=0.01)
    assert fit.height[0] == pytest.approx(height, rel=1e-2)
    assert fit.sigma[0] == pytest.approx(sigma, rel=1e-2)


def test_overlapping_neighbours_do_not_pull_one_another():
    truth = np.array([[20.0, 20.0], [25.2, 20.0], [20.0, 25.0]])  # under 2.4 widths apart
    image = draw(truth, [1.0, 0.4, 2.0], (45, 45))
    fit = fit_gaussians(image, truth + 0.4, sigma=SIGMA, radius=4.5)
    np.testing.assert_allclose(np.column_stack((fit.x, fit.y)), truth, atol=0.03)
    np.testing.assert_allclose(fit.height, [1.0, 0.4, 2.0], rtol=0.03)


def poisson(counts, seed, background=0.1):
    shape = (160, 160)
    truth = grid(12, shape, seed, jitter=0.5)
    expected = counts * (draw(truth, np.ones(len(truth)), shape) + background)
    return truth, np.random.default_rng(seed).poisson(expected).astype(float)


def bound(counts, background=0.1):
    """Cramer-Rao bound of one coordinate [pixel]."""
    y, x = np.mgrid[-15:16, -15:16]
    g = np.exp(-0.5 * (x**2 + y**2) / SIGMA**2)
    return float(((counts * g * x / SIGMA**2) ** 2 / (counts * (g + background))).sum() ** -0.5)


@pytest.mark.parametrize("counts", [10, 100])
def test_errors_are_near_the_bound_and_as_large_as_it_says(counts):
    errors, said = [], []
    for seed in range(4):
        truth, image = poisson(counts, seed)
        level = np.full(image.shape, 0.1 * counts)
        fit = fit_gaussians(image - level, np.rint(truth), sigma=SIGMA, radius=5.5, background=level)
        errors.append(np.column_stack((fit.x, fit.y)) - truth)
        said.append(fit.sd)
    error = float(np.sqrt(np.mean(np.square(np.concatenate(errors)))))
    assert error < 1.15 * bound(counts)
    assert float(np.sqrt(np.mean(np.square(np.concatenate(said))))) == pytest.approx(error, rel=0.12)


def test_weights_beat_an_even_sum_of_squares(monkeypatch):
    from micdb.embed.atoms import fit as module

    def rms():
        errors = []
        for seed in range(4):
            truth, image = poisson(30, seed, background=0.01)
            level = np.full(image.shape, 0.3)
            fit = fit_gaussians(image - level, np.rint(truth), sigma=SIGMA, radius=5.5, background=level)
            errors.append(np.column_stack((fit.x, fit.y)) - truth)
        return float(np.sqrt(np.mean(np.square(np.concatenate(errors)))))

    weighted = rms()
    monkeypatch.setattr(module, "_variance", lambda level, *_: np.ones_like(level))
    assert weighted < 0.9 * rms()


def test_gain_and_offset_of_the_detector_change_nothing():
    truth, image = poisson(50, 1)
    level = np.full(image.shape, 5.0)
    plain = fit_gaussians(image - level, np.rint(truth), sigma=SIGMA, radius=5.5, background=level)
    scaled = fit_gaussians(
        37 * (image - level), np.rint(truth), sigma=SIGMA, radius=5.5, background=37 * level + 1000
    )
    np.testing.assert_allclose(scaled.x, plain.x, atol=1e-3)
    np.testing.assert_allclose(scaled.sd, plain.sd, rtol=1e-2)
    np.testing.assert_allclose(scaled.height, 37 * plain.height, rtol=1e-3)


def test_where_there_is_no_column_the_error_is_unknown_and_nothing_breaks():
    truth = np.array([[20.0, 20.0]])
    image = draw(truth, [1.0], (60, 60)) + np.random.default_rng(0).normal(0, 0.01, (60, 60))
    start = np.array([[20.0, 20.0], [45.0, 45.0], [0.0, 0.0], [59.0, 30.0]])
    fit = fit_gaussians(image, start, sigma=SIGMA, radius=4.0)
    assert np.isfinite(fit.x).all() and np.isfinite(fit.y).all()
    assert abs(fit.x[0] - 20) < 0.05
    empty = fit_gaussians(image, np.empty((0, 2)), sigma=SIGMA, radius=4.0)
    assert empty.x.shape == (0,)
