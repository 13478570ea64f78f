"""Phase maps and boundaries against the regions that were drawn."""

from __future__ import annotations

import numpy as np
import pytest

from micdb.embed.lattice.boundaries import boundaries
from micdb.embed.lattice.phases import NO_LATTICE, phase_map
from micdb.embed.simulate.plane_lattices import blobs, lattice_points, random_cell, with_noise

SHAPE = (160, 192)


def two(first, second, *, side, snr=2.0, seed=0):
    """Return an image of one lattice where `side` is false and of another, or nothing, where it is true."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(float)
    truth = side(x, y)
    shown = []
    for vectors, where in ((first, False), (second, True)):
        if vectors is not None:
            xy, _ = lattice_points(vectors, SHAPE, seed=seed, jitter=0.02)
            shown.append(xy[side(xy[:, 0], xy[:, 1]) == where])
    return with_noise(blobs(np.concatenate(shown), SHAPE, sigma=2.0), snr=snr, seed=seed), truth


def curved(x, y):
    return x > 100 + 15 * np.sin(y / 25)


def iou(one, other):
    return (one & other).sum() / (one | other).sum()


SQUARE = random_cell("square", seed=0, spacing=(10.0, 10.5))
HEXAGONAL = random_cell("hexagonal", seed=1, spacing=(10.0, 10.5))
TURN = np.radians(15.0)
TURNED = SQUARE @ np.array([[np.cos(TURN), np.sin(TURN)], [-np.sin(TURN), np.cos(TURN)]])


@pytest.mark.parametrize("second", [HEXAGONAL, TURNED, None], ids=["phases", "grains", "vacuum"])
def test_two_regions(second):
    image, truth = two(SQUARE, second, side=curved)
    labels, phases = phase_map(image)
    assert len(phases) == (2 if second is not None else 1)
    left = labels[80, 20]
    assert iou(labels == left, ~truth) > 0.9
    assert (labels[80, 170] == NO_LATTICE) == (second is None)
    types = phases[left].lattice.types()
    assert max(types, key=types.__getitem__) == "square"
    for number, phase in enumerate(phases):
        np.testing.assert_array_equal(labels == number, phase.mask)


def test_the_boundary_follows_the_curve():
    image, truth = two(SQUARE, TURNED, side=curved)
    labels, _ = phase_map(image)
    (curve,) = boundaries(labels, (0.02, 0.02))
    x, y = curve.xy.T / 0.02
    assert np.abs(x - (100 + 15 * np.sin(y / 25))).mean() < 5  # [pixel] half a cell
    assert 160 * 0.02 < curve.length < 1.6 * 160 * 0.02
    assert (curve.first, curve.second) == (0, 1)
    assert truth.any()


def test_boundaries_of_a_drawn_map():
    labels = np.zeros((60, 80), dtype=int)
    labels[:, 40:] = 2
    (curve,) = boundaries(labels, (2.0, 0.5))
    np.testing.assert_allclose(curve.xy[:, 0], 39.5 * 0.5, atol=0.01)
    assert np.ptp(curve.xy[:, 1]) == pytest.approx(59 * 2.0)
    assert boundaries(np.zeros((20, 20), dtype=int)) == []


def test_one_crystal_is_one_region():
    xy, _ = lattice_points(HEXAGONAL, SHAPE, seed=3, jitter=0.03, vacancies=0.1)
    labels, phases = phase_map(with_noise(blobs(xy, SHAPE, sigma=2.0), snr=1.0, seed=3))
    assert len(phases) == 1
    assert (labels == 0).mean() > 0.95


def test_noise_has_no_phase():
    labels, phases = phase_map(np.random.default_rng(0).normal(size=SHAPE))
    assert phases == []
    assert (labels == NO_LATTICE).all()
