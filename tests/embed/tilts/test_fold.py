"""Cells found in an image are those it was made of."""

from __future__ import annotations

import math

import numpy as np
import pytest

from micdb.embed.simulate.perovskites import perovskite
from micdb.embed.simulate.stem import adf_image
from micdb.embed.tilts.cells import spectrum
from micdb.embed.tilts.fold import Axes, axes_of, regions, unlike
from micdb.embed.tilts.scene import scene

PIXEL = 0.02


def image_of(crystal, index=0, *, counts=400.0, rotation=31.0, side=300, **options):
    return scene(
        crystal.images[index], crystal.kind.constant, (side, side),
        pixel_size=PIXEL, seed=1, counts=counts, rotation=rotation, **options,
    ).astype(float)  # fmt: skip


@pytest.mark.parametrize("rotation", [-77.0, 4.0, 45.0])
def test_the_lattice_lies_as_it_was_laid(crystal, rotation):
    axes = axes_of(image_of(crystal, rotation=rotation, counts=30.0), PIXEL)
    assert isinstance(axes, Axes)
    assert axes.angle_deg == pytest.approx(rotation, abs=0.3)
    assert axes.constant * PIXEL == pytest.approx(crystal.kind.constant, rel=0.01)


def test_the_mean_cell_is_the_crystal_s_through_drift_and_lag(crystal):
    smooth = image_of(crystal, counts=1e7, readout=0.0)
    image = image_of(crystal, counts=200.0, drift=(0.05, -0.08), flyback=(0.02, 0.4), line_jitter=0.002)
    numbers = []
    for one in (smooth, image):
        (region,) = regions(one, axes_of(one, PIXEL), 1e4)
        numbers.append(np.abs(spectrum(region.cell[None], np.array([region.noise]))[0, :-1]))
    # signs of what alternates depend on where one begins
    assert np.corrcoef(*numbers)[0, 1] > 0.99


def test_noise_is_what_counting_leaves(crystal):
    image = image_of(crystal, counts=50.0, readout=0.0)
    region = regions(image, axes_of(image, PIXEL), 1e4)[0]
    counted = (
        math.sqrt(50.0 / (image.size / region.cell.size)) * 2 / 3
    )  # linear shares: 4 / 9 of the variance
    assert region.noise == pytest.approx(counted, rel=0.15)


def test_regions_cover_the_image(crystal):
    image = image_of(crystal, side=320)
    found = regions(image, axes_of(image, PIXEL), 160.0)
    assert sorted((one.x, one.y) for one in found) == [
        (79.5, 79.5),
        (79.5, 239.5),
        (239.5, 79.5),
        (239.5, 239.5),
    ]
    assert regions(image, axes_of(image, PIXEL), 40.0) == []  # too few pixels for a cell


def test_what_is_no_perovskite_says_what_it_is(crystal):
    image = image_of(crystal)
    wrong = axes_of(image, 2 * PIXEL)
    assert isinstance(wrong, str)
    assert "by its pixel size the lattice constant would be" in wrong
    assert "expected 0.355 to 0.435 nm; correct the pixel size" in wrong
    other = perovskite("SrTiO3", (6.0, 6.0), seed=1)  # along [001]: a square
    square = -adf_image(other, (300, 300), pixel_size=PIXEL, seed=1).image.astype(float)
    reason = axes_of(square, PIXEL)
    assert isinstance(reason, str)
    assert "no perovskite along [110], whose lattice is a rectangle of sides 1 to root 2" in reason
    noise = np.random.default_rng(0).normal(size=(200, 200))
    assert "no lattice: no two directions of the power spectrum have spots" in axes_of(noise, PIXEL)


def test_dark_field_is_told_from_annular_bright_field(crystal):
    image = image_of(crystal)
    assert unlike(regions(image, axes_of(image, PIXEL), 1e4)[0]) is None
    structure = perovskite("SrTiO3", (6.0, 6.0), seed=1, axis=(1, 1, 0))
    dark = adf_image(structure, (300, 300), pixel_size=PIXEL, seed=1, counts=200.0).image.astype(float)
    reason = unlike(regions(dark, axes_of(dark, PIXEL), 1e4)[0])
    assert reason is not None
    assert "its columns are bright" in reason
    assert "where columns are dark" in reason
