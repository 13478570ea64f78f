"""Making a TEM image again: which crystal it is, where its columns are, and how tall."""

from __future__ import annotations

import numpy as np
import pytest

from micdb.embed.atoms.tem_fit import _apart, _whole, crystal, refine
from micdb.embed.atoms.tem_heights import beliefs
from micdb.embed.simulate.hrtem import exit_wave, hrtem_image
from micdb.embed.simulate.metals import METALS, nanoparticle

PIXEL = 0.02  # [nm]


def particle(metal="Ag", axis=(0, 0, 1), *, seed=5, side=150, counts=100.0, diameter=1.7):
    made = nanoparticle(metal, (side * PIXEL,) * 2, seed=seed, diameter=diameter, axis=axis, rotation=11)
    return hrtem_image(made, (side, side), pixel_size=PIXEL, seed=seed, counts=counts)


@pytest.mark.parametrize(("axis", "along"), [((0, 0, 1), 1.0), ((1, 1, 0), 0.5**0.5), ((1, 1, 1), 3**0.5)])
@pytest.mark.parametrize("metal", ["Au", "Ni"])
def test_the_axis_is_told_by_its_columns(metal, axis, along):
    truth = particle(metal, axis, diameter=2.0).xy
    off = np.random.default_rng(0).normal(0.0, 0.006, truth.shape)
    spacing, smooth = crystal(metal, truth + off)
    assert spacing == pytest.approx(along * METALS[metal].constant)
    assert np.sqrt(np.square(smooth - truth).mean()) < 0.6 * np.sqrt(np.square(off).mean())


def test_a_crystal_of_another_element_is_not_simulated():
    truth = particle("Ni", diameter=2.0)
    assert crystal("Au", truth.xy) is None
    assert crystal("Fe", truth.xy) is None  # bcc
    assert crystal("Ni", truth.xy[:3]) is None


@pytest.mark.parametrize("shift", [-1.0, 1.0])
def test_heights_that_are_all_wrong_by_one_are_found(shift):
    truth = particle()
    heights = truth.atoms.astype(float)
    prior = (np.maximum(heights + shift, 1.0), np.full(len(heights), 0.8))
    found = refine(truth.image.astype(float), PIXEL, truth.xy, prior, element="Ag", voltage=300.0)
    assert (np.rint(found.mean) == truth.atoms).mean() > 0.95
    assert found.lens.defocus == pytest.approx(5.0, abs=1.5)
    assert found.misfit < 1.1
    assert (found.sd < 0.4).mean() > 0.9
    sure = beliefs(found.mean, np.log(found.sd)).max(axis=1)
    assert sure.mean() > 0.9


@pytest.mark.parametrize("gain", [0.01, 40.0])
def test_the_unit_of_the_counts_does_not_matter(gain):
    truth = particle()
    prior = (truth.atoms + 1.0, np.full(len(truth.atoms), 0.8))
    image = gain * truth.image.astype(float)
    found = refine(image, PIXEL, truth.xy, prior, element="Ag", voltage=300.0)
    assert (np.rint(found.mean) == truth.atoms).mean() > 0.95
    assert found.misfit == pytest.approx(gain if gain < 1 else 1.0, rel=0.1)


def test_part_of_an_atom_is_part_of_its_phase():
    xyz, number = np.array([[1.0, 1.0, 0.0]]), np.array([47])

    def phase(share):
        wave = exit_wave(xyz, number, (100, 100), pixel_size=0.02, voltage=300.0, share=share)
        return np.angle(wave)[50, 50]

    assert phase(np.array([0.0])) == pytest.approx(0.0, abs=1e-12)
    assert phase(np.array([0.5])) == pytest.approx(phase(None) / 2, rel=0.1)
    assert phase(np.array([1.0])) == pytest.approx(phase(None), rel=1e-12)


def test_whole_numbers_settle_the_scale():
    truth = np.random.default_rng(0).integers(1, 9, 80)
    mean = truth * 0.93 + np.random.default_rng(1).normal(0, 0.1, 80)
    assert _whole(mean, np.full(80, 0.15), 0.06) == pytest.approx(1 / 0.93, abs=0.01)
    assert _whole(mean, np.full(80, 0.15), 1e-4) == pytest.approx(1.0, abs=0.001)  # the image knows better


def test_groups_keep_their_distance():
    xy = np.random.default_rng(2).uniform(0, 3, (120, 2))
    groups = _apart(xy, 0.5)
    assert sorted(one for group in groups for one in group) == list(range(120))
    for group in groups:
        off = np.linalg.norm(xy[group][:, None] - xy[group], axis=2)[~np.eye(len(group), dtype=bool)]
        assert off.size == 0 or off.min() > 0.5
