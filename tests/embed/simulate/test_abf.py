"""Bright-field images: dark columns, light ones seen."""

from __future__ import annotations

import numpy as np
import pytest

from micdb.embed.simulate.abf import ABF_EXPONENT, abf_image
from micdb.embed.simulate.perovskites import perovskite
from micdb.embed.simulate.probe import Optics
from micdb.embed.simulate.stem import adf_image
from micdb.embed.simulate.structure import Structure

PIXEL, SHAPE, FIELD = 0.0125, (160, 160), (2.0, 2.0)


def levels(image):
    y, x = np.rint(image.xy[:, ::-1].T / PIXEL).astype(int)
    return image.image[y, x] / np.median(image.image)


def test_oxygen_is_seen_dark_where_the_dark_field_hardly_shows_it():
    structure = perovskite("SrTiO3", FIELD, seed=1, axis=(1, 1, 0), thickness=5.0)
    settings = {"pixel_size": PIXEL, "seed": 1, "counts": 1e5, "readout": 0.0, "probe": Optics(200, 25)}
    bright, dark = abf_image(structure, SHAPE, **settings), adf_image(structure, SHAPE, **settings)
    oxygen = bright.number == 8
    np.testing.assert_allclose(bright.xy, dark.xy, atol=1e-9)
    assert levels(bright)[oxygen].max() < 0.97
    assert levels(bright)[~oxygen].max() < levels(bright)[oxygen].mean()
    depth = 1 - levels(bright)[oxygen].mean(), 1 - levels(bright)[~oxygen].mean()
    height = levels(dark)[oxygen].mean() - 1, levels(dark)[~oxygen].mean() - 1
    assert depth[0] / depth[1] > 2 * height[0] / height[1]


def test_the_depth_and_the_counts_are_what_is_asked_for():
    atom = Structure(np.array([[1.0, 1.0, 0.0]]), np.array([22]))
    image = abf_image(atom, SHAPE, pixel_size=PIXEL, seed=2, counts=1e6, depth=0.3, readout=0.0).image
    assert image[80, 80] == pytest.approx(0.7e6, rel=0.01)
    assert image[:30].mean() == pytest.approx(1e6, rel=0.005)
    assert image[:20].var() == pytest.approx(1e6, rel=0.1)  # Poisson


def test_columns_and_structure_make_the_same_image():
    structure = perovskite("SrTiO3", FIELD, seed=1, thickness=3.0)
    one = abf_image(structure, SHAPE, pixel_size=PIXEL, seed=3, counts=1e4)
    columns = structure.columns(exponent=ABF_EXPONENT)
    other = abf_image(columns, SHAPE, pixel_size=PIXEL, seed=3, counts=1e4)
    assert (np.abs(one.image - other.image) > 0.01).mean() < 1e-3
    assert (
        one.image.tobytes()
        == abf_image(structure, SHAPE, pixel_size=PIXEL, seed=3, counts=1e4).image.tobytes()
    )
