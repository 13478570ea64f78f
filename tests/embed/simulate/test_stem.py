"""Images of structures: counts, noise, distortion and labels."""

from __future__ import annotations

import numpy as np
import pytest

from micdb.embed.simulate.dichalcogenides import dichalcogenide
from micdb.embed.simulate.distortion import Distortion
from micdb.embed.simulate.graphene import graphene
from micdb.embed.simulate.stem import Probe, adf_image
from micdb.embed.simulate.structure import Structure

PIXEL = 0.016  # [nm]
SHAPE = (160, 192)
FIELD = (SHAPE[0] * PIXEL, SHAPE[1] * PIXEL)


def test_atoms_and_columns_make_the_same_image_where_columns_are_straight():
    structure = dichalcogenide("MoS2", FIELD, seed=1, defects={"chalcogen-vacancy": 2})
    one = adf_image(structure, SHAPE, pixel_size=PIXEL, seed=1, counts=200.0)
    other = adf_image(structure.columns(), SHAPE, pixel_size=PIXEL, seed=1, counts=200.0)
    np.testing.assert_array_equal(one.xy, other.xy)
    assert (np.abs(one.image - other.image) > 0.01).mean() < 1e-3  # rounding may change a Poisson draw


def test_the_sum_of_counts_is_what_is_expected():
    probe = Probe(tail=0.0)
    structure = graphene(FIELD, seed=2)
    image = adf_image(
        structure, SHAPE, pixel_size=PIXEL, seed=3, counts=40.0, background=0.2, readout=1.0, probe=probe
    ).image
    area = SHAPE[0] * SHAPE[1] * PIXEL**2
    density = 2 / (0.246**2 * np.sqrt(3) / 2)  # [1/nm**2]
    expected = 40.0 * (0.2 * SHAPE[0] * SHAPE[1] + density * area * 2 * np.pi * probe.sigma**2 / PIXEL**2)
    assert image.sum() == pytest.approx(expected, rel=0.005)


def test_noise_is_poisson_and_read_out():
    dark = Structure(np.array([[0.2, 0.2, 0.0]]), np.array([6]))
    image = adf_image(
        dark, (200, 200), pixel_size=PIXEL, seed=5, counts=50.0, background=0.4, readout=2.0
    ).image[60:]
    assert image.mean() == pytest.approx(20.0, rel=0.01)
    assert image.var() == pytest.approx(20.0 + 4.0, rel=0.03)


def test_drift_and_flyback_move_the_truth_as_they_move_the_image():
    structure = Structure(
        np.array([[0.3, 0.5, 0.0], [1.5, 0.5, 0.0], [0.3, 2.0, 0.0], [1.5, 2.0, 0.0]]), np.full(4, 79)
    )
    image = adf_image(
        structure, SHAPE, pixel_size=PIXEL, seed=1, counts=1e7, background=0.0, probe=Probe(tail=0.0),
        drift=(0.05, -0.08), flyback=(0.06, 0.3), readout=0.0,
    )  # fmt: skip
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]] * PIXEL
    for place in image.xy:
        near = np.hypot(x - place[0], y - place[1]) < 0.14
        light = image.image * near
        found = np.array([(light * x).sum(), (light * y).sum()]) / light.sum()
        np.testing.assert_allclose(found, place, atol=0.001)
    shift = image.xy - structure.xyz[:, :2]
    np.testing.assert_allclose(shift[3], [-0.08 * 2.0 / FIELD[0], 0.05 * 2.0 / FIELD[0]], atol=2e-3)
    assert shift[0, 0] < shift[1, 0] - 0.02  # [nm] the start of the line lags


def test_the_lagging_beam_shows_what_it_is_at():
    scan = Distortion((0.0, 0.0), (0.08, 0.25), 3.0)
    sample = np.column_stack((np.linspace(0.1, 3.0, 30), np.ones(30)))
    shown = scan.seen(sample)[:, 0]
    np.testing.assert_allclose(shown + 0.08 * np.exp(-np.maximum(shown, 0) / 0.25), sample[:, 0], atol=1e-6)


def test_line_jitter_is_given():
    atom = Structure(np.array([[1.2, 1.28, 0.0]]), np.array([79]))
    image = adf_image(
        atom, SHAPE, pixel_size=PIXEL, seed=4, counts=1e7, background=0.0, readout=0.0, line_jitter=0.01,
        probe=Probe(tail=0.0),
    )  # fmt: skip
    assert image.line_shift.std() == pytest.approx(0.01, rel=0.2)
    x = np.arange(SHAPE[1]) * PIXEL
    for row in range(75, 86):
        line = image.image[row].astype(float)
        assert (line * x).sum() / line.sum() == pytest.approx(1.2 + image.line_shift[row], abs=5e-4)


def test_labels_are_those_of_the_columns_in_view():
    structure = graphene(FIELD, seed=7, defects={"Si1C3": 2, "vacancy": 1})
    image = adf_image(structure, SHAPE, pixel_size=PIXEL, seed=1, drift=(0.05, 0.1))
    silicon = [one for one in image.defects if one.kind == "substitution"]
    assert len(silicon) == 2
    for one in silicon:
        (column,) = one.atoms
        assert image.number[column] == 14
        np.testing.assert_allclose(one.xy, image.xy[column], atol=0.003)
    assert len(image.vacancies) == 1
    assert np.hypot(*(image.xy - image.vacancies[0]).T).min() > 0.1  # [nm]
    assert (image.number == 14).sum() == 2
    np.testing.assert_array_equal(structure.columns().number[image.column], image.number)


def test_same_seed_same_bits():
    structure = graphene(FIELD, seed=7)
    settings = {"pixel_size": PIXEL, "line_jitter": 0.003, "contamination": 0.3}
    one, same, other = (adf_image(structure, SHAPE, seed=s, **settings).image for s in (1, 1, 2))
    assert one.tobytes() == same.tobytes()
    assert (one != other).mean() > 0.5


def test_the_exponent_sets_the_contrast_of_elements():
    pair = Structure(np.array([[0.8, 1.2, 0.0], [2.16, 1.2, 0.0]]), np.array([16, 42]))
    for exponent in (1.5, 1.9):
        image = adf_image(
            pair, SHAPE, pixel_size=PIXEL, seed=1, counts=1e6, background=0.0, readout=0.0, exponent=exponent
        )
        level = [image.image[round(y / PIXEL), round(x / PIXEL)] for x, y in image.xy]
        assert level[0] / level[1] == pytest.approx((16 / 42) ** exponent, rel=0.02)
        np.testing.assert_allclose(image.weight, [16**exponent, 42**exponent])


def test_higher_columns_are_brighter_by_the_growth():
    xyz = np.array([[0.8, 1.2, 0.0]] + [[2.16, 1.2, 0.4 * n] for n in range(6)])
    image = adf_image(
        Structure(xyz, np.full(7, 79)), SHAPE, pixel_size=PIXEL, seed=1, counts=1e6, background=0.0,
        readout=0.0, growth=1.2,
    )  # fmt: skip
    level = [image.image[round(y / PIXEL), round(x / PIXEL)] for x, y in image.xy]
    assert level[1] / level[0] == pytest.approx(6**1.2, rel=0.02)
