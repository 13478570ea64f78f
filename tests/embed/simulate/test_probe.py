"""The probe against what optics says of it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special

from micdb.embed.simulate.graphene import graphene
from micdb.embed.simulate.probe import Optics, wavelength
from micdb.embed.simulate.stem import adf_image

SHAPE, PITCH = (256, 256), 0.01  # [nm]


def radius(shape=SHAPE, pitch=PITCH):
    y, x = (np.fft.fftfreq(size, 1 / size) * pitch for size in shape)
    return np.hypot(y[:, None], x[None, :])


def spread(optics, shape=SHAPE, pitch=PITCH):
    """Radius of the circle that holds half of the intensity [nm]."""
    intensity = optics.intensity(shape, pitch).ravel()
    order = np.argsort(radius(shape, pitch).ravel())
    held = np.cumsum(intensity[order]) / intensity.sum()
    return radius(shape, pitch).ravel()[order][np.searchsorted(held, 0.5)]


@pytest.mark.parametrize(("voltage", "length"), [(60, 4.866), (80, 4.176), (200, 2.508), (300, 1.969)])
def test_wavelengths_are_those_of_the_tables(voltage, length):
    assert wavelength(voltage) * 1e3 == pytest.approx(length, abs=1e-3)  # [pm] Kirkland, table 2.2


def test_a_perfect_lens_makes_an_airy_pattern():
    optics = Optics(80, 31, source=0.0)
    argument = 2 * np.pi * radius() * 0.031 / optics.wavelength
    airy = (2 * special.j1(np.maximum(argument, 1e-9)) / np.maximum(argument, 1e-9)) ** 2
    assert np.abs(optics.intensity(SHAPE, PITCH) - airy).max() < 0.01
    ring = optics.intensity(SHAPE, PITCH)[0, :13]
    assert ring.argmin() * PITCH == pytest.approx(0.61 * optics.wavelength / 0.031, abs=PITCH)


def test_nothing_is_transferred_beyond_the_cutoff():
    optics = Optics(200, 25, source=0.0)
    frequency = np.hypot(np.fft.fftfreq(256, PITCH)[:, None], np.fft.rfftfreq(256, PITCH)[None])
    transfer = np.abs(optics.transfer(SHAPE, PITCH))
    assert transfer[frequency > optics.cutoff + 1.5 / (256 * PITCH)].max() < 1e-12 * transfer.max()


def test_the_source_adds_its_variance():
    sharp, blurred = (Optics(200, 25, source=source).transfer(SHAPE, PITCH) for source in (0.0, 0.04))
    ratio = np.abs(blurred[0, 1:8] / blurred[0, 0]) / np.abs(sharp[0, 1:8] / sharp[0, 0])
    frequency = np.fft.rfftfreq(256, PITCH)[1:8]
    np.testing.assert_allclose(ratio, np.exp(-2 * (np.pi * 0.04 * frequency) ** 2), rtol=1e-9)


@pytest.mark.parametrize(
    "worse", [{"defocus": 8.0}, {"astigmatism": 6.0}, {"c3": 15.0}, {"c5": 20.0}, {"focal_spread": 8.0}]
)
def test_every_aberration_spreads_the_probe(worse):
    assert spread(Optics(80, 31, source=0.02, **worse)) > 1.1 * spread(Optics(80, 31, source=0.02))


def test_underfocus_makes_up_for_spherical_aberration():
    """At the least confusion, defocus c3 angle**2 * 3/4 to 1 (Kirkland, section 2.5)."""
    c3, angle = 10.0, 0.031
    at = [spread(Optics(80, 31, c3=c3, defocus=share * c3 * 1e3 * angle**2)) for share in (-0.75, 0.0, 0.75)]
    assert at[2] < at[1] < at[0]


def test_astigmatism_turns_with_its_angle():
    along, turned = (
        Optics(80, 31, defocus=5.0, astigmatism=5.0, astigmatism_angle=angle).intensity(SHAPE, PITCH)
        for angle in (0.0, 90.0)
    )
    np.testing.assert_allclose(along, turned.T, atol=1e-9)
    y, x = (np.fft.fftfreq(256, 1 / 256) * PITCH for _ in range(2))
    width = (along.sum(axis=0) * x**2).sum() / (along.sum(axis=1) * y**2).sum()
    assert width > 1.3 or width < 0.75


def test_images_take_it():
    structure = graphene((2.0, 2.0), seed=1)
    image = adf_image(
        structure, (125, 125), pixel_size=0.016, seed=1, counts=1e6, background=0.0, readout=0.0,
        probe=Optics(80, 31, source=0.03),
    )  # fmt: skip
    x, y = np.rint(image.xy[len(image.xy) // 2] / 0.016).astype(int)
    window = image.image[y - 2 : y + 3, x - 2 : x + 3]
    assert window.max() == pytest.approx(1e6, rel=0.35)  # neighbours' tails add to it
    sick = Optics(80, 31, source=0.03, defocus=12.0)
    blurred = adf_image(structure, (125, 125), pixel_size=0.016, seed=1, counts=1e6, probe=sick).image
    assert blurred.std() / blurred.mean() < 0.2 * image.image.std() / image.image.mean()


def test_a_thick_crystal_blurs_by_the_root_of_its_thickness():
    optics = Optics(200, 25, source=0.03)
    assert optics.broadened(0.0) == optics
    assert optics.broadened(9.0).source == pytest.approx(np.hypot(0.03, 0.027))
