"""Lattices of images: type, basis and standard deviations against what was drawn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from micdb.embed.lattice.basis import Basis
from micdb.embed.lattice.bravais import TYPES
from micdb.embed.lattice.reciprocal import image_lattice
from micdb.embed.simulate.plane_lattices import blobs, lattice_points, random_cell, with_noise
from micdb.errors import UsageError

SHAPE = (128, 128)
NOISE = np.random.default_rng(5).normal(size=SHAPE)


def picture(kind, *, seed=0, snr=2.0, shape=SHAPE, sites=((0.0, 0.0),), **defects):
    vectors = random_cell(kind, seed=seed)
    xy, _ = lattice_points(vectors, shape, seed=seed, sites=sites, **defects)
    image = blobs(xy, shape, sigma=0.2 * np.hypot(*vectors.T).min())
    return with_noise(image, snr=snr, seed=seed), Basis(vectors).reduced()


def best(types):
    return max(types, key=types.__getitem__)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("snr", [0.3, 2.0])
def test_types_in_noise_with_jitter_and_vacancies(kind, snr):
    right = 0
    for seed in range(4):
        image, _ = picture(kind, seed=seed, snr=snr, jitter=0.03, vacancies=0.1)
        found = image_lattice(image)
        right += found is not None and best(found.types()) == kind
    assert right >= 3


@pytest.mark.parametrize("kind", TYPES)
def test_basis_agrees_within_its_standard_deviations(kind):
    off = []
    for seed in range(5):
        image, truth = picture(kind, seed=seed, snr=1.0)
        basis = image_lattice(image).basis
        off += [(basis.lengths[axis] - truth.lengths[axis]) / basis.sds[axis] for axis in (0, 1)]
    assert np.sqrt(np.mean(np.square(off))) < 2.5
    assert np.abs(off).max() > 0.1  # nor are they too wide to mean anything


def test_a_second_site_adds_no_lattice():
    image, truth = picture("hexagonal", sites=((0.0, 0.0), (1 / 3, 2 / 3)))
    basis = image_lattice(image).basis
    assert basis.lengths[0] == pytest.approx(truth.lengths[0], rel=0.01)
    assert basis.gamma_deg == pytest.approx(120, abs=1)


def test_transposed_mirrored_scaled_images_have_the_same_type():
    image, _ = picture("oblique", seed=3)
    one = image_lattice(image)
    for other in (image.T, image[::-1], 1e-9 * image + 3, image[:, ::-1].T):
        found = image_lattice(np.ascontiguousarray(other))
        assert found.basis.lengths == pytest.approx(one.basis.lengths, rel=1e-3)
        assert found.types() == pytest.approx(one.types(), abs=0.02)


def test_pixels_that_are_not_square():
    image, _ = picture("square", seed=1)
    found = image_lattice(image)
    assert best(found.types()) == "square"
    assert best(found.types((2.0, 1.0))) != "square"  # ten pixels down are twice as long as ten across


def test_a_bright_dopant_does_not_hide_the_lattice():
    vectors = random_cell("hexagonal", seed=4, spacing=(14.0, 15.0))
    xy, _ = lattice_points(vectors, SHAPE, seed=4, sites=((0.0, 0.0), (1 / 3, 2 / 3)))
    height = np.ones(len(xy))
    height[np.argsort(np.hypot(*(xy - 64).T))[:2]] = 12.0
    image = blobs(xy, SHAPE, sigma=3.0, height=height) + 0.6 * NOISE
    assert best(image_lattice(image).types()) == "hexagonal"


def test_a_window_shows_only_its_part():
    image, truth = picture("square", seed=2, snr=5.0)
    noise = np.random.default_rng(0).normal(size=SHAPE)
    image[:, 64:] = noise[:, 64:]
    mask = np.zeros(SHAPE)
    mask[8:-8, 8:56] = 1
    window = ndimage.gaussian_filter(mask, 5)
    found = image_lattice(image, window)
    assert found.basis.lengths == pytest.approx(truth.lengths, rel=0.02)
    beside = image_lattice(image, np.ascontiguousarray(window[:, ::-1]))
    assert beside is None or best(beside.types()) == "none"


@pytest.mark.parametrize("kind", ["white", "smooth", "liquid", "fringes"])
def test_what_has_no_lattice_has_none(kind):
    wrong = 0
    for seed in range(6):
        rng = np.random.default_rng(seed)
        image = rng.normal(size=SHAPE)
        if kind == "smooth":
            image = ndimage.gaussian_filter(image, 2)
        elif kind == "liquid":
            image += 3 * blobs(rng.uniform(0, 128, (150, 2)), SHAPE, sigma=2.5)
        elif kind == "fringes":
            image += np.cos(2 * np.pi * (0.071 * np.arange(128) + 0.043 * np.arange(128)[:, None]))
        found = image_lattice(image)
        wrong += found is not None and found.probability > 0.5
    assert wrong <= 1


def test_an_unknown_type_is_refused():
    with pytest.raises(UsageError, match="'cubic' is no Bravais type of the plane"):
        random_cell("cubic", seed=0)


@settings(deadline=None, max_examples=12)
@given(st.sampled_from(TYPES), st.floats(0.7, 1.4), st.floats(0, np.pi))
def test_lengths_go_with_the_scale_and_directions_with_the_rotation(kind, scale, turn):
    vectors = random_cell(kind, seed=7, spacing=(11.0, 11.0))
    rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    moved = scale * vectors @ rotation
    xy, _ = lattice_points(moved, SHAPE, seed=0)
    found = image_lattice(blobs(xy, SHAPE, sigma=2.2 * scale) + 0.01 * NOISE)
    assert found.basis.lengths == pytest.approx(
        np.multiply(scale, Basis(vectors).reduced().lengths), rel=0.005
    )
    assert best(found.types()) == kind
