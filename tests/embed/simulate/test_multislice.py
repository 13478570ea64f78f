"""Multislice by families of waves, against direct propagation of a probe and against what theory says."""

from __future__ import annotations

import math
from itertools import islice

import numpy as np
import pytest

from micdb.embed.simulate.multislice import Period, annular_image, mesh, scatter
from micdb.embed.simulate.probe import Optics, wavelength
from micdb.embed.simulate.scattering_factors import diffuse, elastic, mass_ratio
from micdb.errors import UsageError

CELL = (0.39, 0.39, 0.39)
VOLTAGE = 200.0
SITES = np.array([[0.05, 0.02, 0.0], [0.245, 0.215, 0.195], [0.245, 0.02, 0.195]])
NUMBER = np.array([38, 22, 8])


def period(*, sites=SITES, number=NUMBER, thermal=0.008, cutoff=10.0, absorption=0.0):
    vibration = np.full(len(number), thermal)
    return Period.of(
        sites, number, vibration, CELL, slices=2, cutoff=cutoff, voltage=VOLTAGE, absorption=absorption
    )


def at(crystal, periods, *, field=0.7, aperture=8.0, cutoff=10.0):
    return [
        next(scatter(crystal, offset, aperture=aperture, cutoff=cutoff, first=periods))
        for offset in mesh(crystal.cell, field)
    ]


def test_nothing_happens_in_vacuum():
    empty = period(sites=np.empty((0, 3)), number=np.empty(0, int))
    (part,) = at(empty, 7, field=0.1)
    np.testing.assert_allclose(np.abs(part.amplitude), np.eye(len(part.waves.q)), atol=1e-5)
    image = annular_image([part], Optics(VOLTAGE, 18.0, source=0.0), (9.0, 18.0), shape=(20, 20), edge=0.1)
    assert np.ptp(image) < 1e-5
    angle = np.hypot(*part.waves.q.T) * wavelength(VOLTAGE) * 1e3
    expected = ((angle > 9) & (angle < 18)).sum() / (angle < 18).sum()
    assert image.mean() == pytest.approx(expected, abs=1e-5)


def test_electrons_are_kept_unless_absorbed():
    wide = {"aperture": 28.0, "cutoff": 28.0, "field": 0.1}
    (kept,) = at(period(cutoff=28.0), 4, **wide)
    (lost,) = at(period(cutoff=28.0, absorption=1.0), 4, **wide)
    slow = np.hypot(*kept.waves.q.T) < 5  # waves near the cutoff are scattered beyond it
    flux = np.square(np.abs(kept.amplitude[:, slow])).sum(axis=0)
    np.testing.assert_allclose(flux, 1.0, atol=0.01)
    assert (np.square(np.abs(lost.amplitude[:, slow])).sum(axis=0) < flux - 0.005).all()


def test_a_single_light_atom_scatters_as_its_factor():
    place, thermal = np.array([[0.1, 0.3, 0.0]]), 0.008
    (part,) = at(period(sites=place, number=np.array([8]), thermal=thermal), 1, field=0.1)
    q = part.waves.q[:, None] - part.waves.q[None, :]
    size = np.hypot(q[..., 0], q[..., 1])
    factor = elastic(8, size) * np.exp(-2 * (math.pi * thermal * size) ** 2)
    strength = wavelength(VOLTAGE) * mass_ratio(VOLTAGE) * factor / (CELL[0] * CELL[1])
    turn = np.exp(-2j * math.pi * (q[..., 0] * place[0, 1] + q[..., 1] * place[0, 0]))
    glide = np.exp(-1j * math.pi * wavelength(VOLTAGE) * CELL[2] * np.square(part.waves.q).sum(axis=1))
    aside = ~np.eye(len(size), dtype=bool)
    expected = (1j * strength * turn * glide[:, None])[aside]
    assert np.abs(part.amplitude[aside] - expected).max() < 0.05 * np.abs(expected).max()


def direct(crystal, periods, optics, detector, place, *, tilt, edge, cutoff, steps):
    """Propagate one probe on a grid of several cells, wave by wave of an offset mesh."""
    grid = np.tile(crystal.transmission, (1, steps[0], steps[1]))
    shape, size = grid.shape[1:], [side * n for side, n in zip(crystal.cell, steps, strict=True)]
    y, x = ((np.fft.fftfreq(n, 1 / n) + 0.5) / side for n, side in zip(shape, size, strict=True))
    q = np.stack(np.meshgrid(y, x, indexing="ij"), axis=-1)
    off = q * optics.wavelength - 1e-3 * np.array(tilt)
    angle, azimuth = np.hypot(off[..., 0], off[..., 1]), np.arctan2(off[..., 0], off[..., 1])

    def below(limit):
        return np.clip((limit - 1e3 * angle) / edge + 0.5, 0, 1)

    lens = below(optics.convergence)
    wave = lens * np.exp(-1j * optics.phase(angle, azimuth, defocus=optics.defocus))
    wave = wave * np.exp(-2j * math.pi * (q @ np.array(place)))
    inside = np.hypot(q[..., 0], q[..., 1]) <= cutoff
    path = -math.pi * wavelength(VOLTAGE) * crystal.depth / len(crystal.transmission)
    glide = inside * np.exp(1j * path * np.square(q).sum(axis=-1))
    for _ in range(periods):
        for slice_ in grid:
            wave = glide * np.fft.fft2(slice_ * np.fft.ifft2(wave))
    seen = below(detector[1]) - below(detector[0])
    return (seen * np.abs(wave) ** 2).sum() / np.square(lens).sum()


def test_families_give_the_image_of_a_probe_on_many_cells():
    crystal = period(absorption=0.5)
    optics = Optics(VOLTAGE, 15.0, defocus=3.0, c3=20.0, source=0.0)
    tilt, edge, detector = (1.0, -2.0), 2.0, (7.0, 15.0)
    parts = at(crystal, 5)
    image = annular_image(parts, optics, detector, shape=(24, 24), tilt=tilt, edge=edge)
    for row, column in ((0, 0), (5, 17), (12, 3)):
        place = (row / 24 * CELL[0], column / 24 * CELL[1])
        expected = direct(
            crystal, 5, optics, detector, place, tilt=tilt, edge=edge, cutoff=10.0, steps=(2, 2)
        )
        assert image[row, column] == pytest.approx(expected, rel=2e-4)
    assert image.std() > 0.02


def test_strides_lead_to_the_same_exits():
    crystal = period()
    offset = (0.5, 0.25)
    one_by_one = list(islice(scatter(crystal, offset, aperture=8.0, cutoff=10.0), 11))
    strided = list(islice(scatter(crystal, offset, aperture=8.0, cutoff=10.0, first=5, stride=3), 3))
    for number, part in zip((5, 8, 11), strided, strict=True):
        np.testing.assert_allclose(part.amplitude, one_by_one[number - 1].amplitude, atol=1e-4)


def test_diffuse_scattering_is_what_the_optical_theorem_says():
    thermal = 0.01
    motion = 8 * math.pi**2 * thermal**2
    s = np.linspace(0, 60, 20001)  # [1/nm]
    lost = elastic(38, 2 * s) ** 2 * (1 - np.exp(-2 * motion * s**2)) * 2 * math.pi * s
    expected = 2 * mass_ratio(VOLTAGE) * wavelength(VOLTAGE) * np.trapezoid(lost, s)
    found = diffuse(38, np.zeros(1), thermal=thermal, voltage=VOLTAGE)[0]
    assert found == pytest.approx(expected, rel=1e-3)
    assert np.abs(diffuse(38, s, thermal=1e-6, voltage=VOLTAGE)).max() < 1e-6


def test_elements_without_factors_are_refused():
    with pytest.raises(
        UsageError, match="no electron scattering factor for atomic number 1; expected one of 6, 8"
    ):
        elastic(1, np.zeros(1))
    assert elastic(8, np.zeros(1))[0] == pytest.approx(0.19834)  # [nm] the sum of Peng's amplitudes
