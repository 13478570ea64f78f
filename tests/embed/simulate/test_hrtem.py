"""High-resolution TEM by multislice: electrons are kept, limits that theory knows, the same for a seed."""

from __future__ import annotations

import math

import numpy as np
import pytest

from micdb.embed.simulate.hrtem import LENS, exit_wave, hrtem_image, intensity
from micdb.embed.simulate.metals import nanoparticle
from micdb.embed.simulate.probe import Optics, wavelength
from micdb.embed.simulate.scattering_factors import elastic, mass_ratio

PIXEL, SHAPE = 0.02, (128, 128)


def particle(seed=0, metal="Au"):
    return nanoparticle(metal, (128 * PIXEL,) * 2, seed=seed, diameter=1.6, axis=(0, 0, 1))


def test_nothing_in_the_beam_leaves_it_as_it_is():
    wave = exit_wave(np.empty((0, 3)), np.empty(0, int), SHAPE, pixel_size=PIXEL, voltage=300.0)
    assert (wave == 1).all()
    assert intensity(wave, PIXEL, LENS) == pytest.approx(np.ones(SHAPE))


def test_electrons_are_neither_made_nor_lost_but_beyond_the_band():
    made = particle()
    wave = exit_wave(made.xyz, made.number, SHAPE, pixel_size=PIXEL, voltage=300.0)
    assert np.mean(np.abs(wave) ** 2) == pytest.approx(1.0, abs=0.03)


def test_a_light_atom_is_a_weak_phase_object():
    """Behind one carbon atom the wave is 1 + i phase: its transform is that of the scattering factor."""
    at = np.array([[1.28, 1.28, 0.0]])
    wave = exit_wave(at, np.array([6]), SHAPE, pixel_size=PIXEL, voltage=300.0)
    phase = np.fft.fft2(wave - 1)[0, 1:20] * PIXEL**2 / 1j
    q = np.fft.fftfreq(128, PIXEL)[1:20]
    expected = wavelength(300.0) * mass_ratio(300.0) * elastic(6, q)
    expected = expected * np.exp(-2 * (math.pi * 0.008 * q) ** 2)
    assert np.abs(phase) == pytest.approx(expected, rel=0.02)


def test_gaussian_focus_shows_no_phase_and_opposite_foci_turn_contrast_over():
    at = np.array([[1.28, 1.28, 0.0]])
    wave = exit_wave(at, np.array([6]), SHAPE, pixel_size=PIXEL, voltage=300.0)
    lens = Optics(300.0, 25.0, source=0.0)
    contrast = {
        focus: intensity(wave, PIXEL, Optics(300.0, 25.0, defocus=focus, source=0.0))[64, 64] - 1
        for focus in (-3.0, 3.0)
    }
    assert intensity(wave, PIXEL, lens).std() < 0.1 * abs(contrast[3.0])
    assert contrast[3.0] * contrast[-3.0] < 0
    assert contrast[3.0] < 0  # underfocus, no spherical aberration: atoms are dark


def test_two_slices_of_the_same_atoms_are_twice_the_phase():
    one = np.array([[1.28, 1.28, 0.0]])
    two = np.array([[1.28, 1.28, 0.0], [1.28, 1.28, 0.1]])  # in one slice
    waves = [
        exit_wave(xyz, np.full(len(xyz), 6), SHAPE, pixel_size=PIXEL, voltage=300.0) for xyz in (one, two)
    ]
    single, double = (np.abs(np.fft.fft2(wave - 1)[0, 5]) for wave in waves)
    assert double == pytest.approx(2 * single, rel=0.02)


def test_a_seed_is_an_image():
    made = particle()
    first, again, other = (
        hrtem_image(made, SHAPE, pixel_size=PIXEL, seed=seed, support=1.0) for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first.image, again.image)
    assert (first.image != other.image).any()
    assert first.image.mean() == pytest.approx(30, rel=0.05)


def test_truth_is_that_of_the_structure():
    made = particle()
    columns = made.columns()
    simulated = hrtem_image(made, SHAPE, pixel_size=PIXEL, seed=0)
    np.testing.assert_allclose(simulated.xy, columns.xy)
    np.testing.assert_array_equal(simulated.atoms, columns.atoms)
