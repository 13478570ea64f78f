"""Atoms are counted right where counting statistics allow it, and the probability says where they do."""

from __future__ import annotations

import numpy as np
import pytest

from micdb.embed import graph
from micdb.embed.atoms.heights import count, one_atom
from micdb.embed.atoms.scattering import scattering
from micdb.embed.simulate.metals import nanoparticle
from micdb.embed.simulate.stem import Probe, adf_image

NONE = np.empty(0, dtype=np.int64)


def comb(atoms, step, noise, seed=0):
    rng = np.random.default_rng(seed)
    sd = noise * step * np.sqrt(atoms)
    return step * atoms + rng.normal(0, 1, len(atoms)) * sd, sd


@pytest.mark.parametrize("step", [0.01, 1.0, 3e4])
def test_the_step_is_found_in_any_unit(step):
    atoms = np.random.default_rng(1).integers(1, 9, 300)
    value, sd = comb(atoms, step, 0.08)
    assert one_atom(value, sd, NONE, NONE)[0][0] == pytest.approx(step, rel=0.02)
    heights = count(value, sd, NONE, NONE)
    assert (heights.atoms == atoms).mean() > 0.97
    assert heights.step == pytest.approx(step, rel=0.02)
    assert heights.coupling == 0


def test_a_known_step_is_taken_as_it_is():
    atoms = np.full(60, 4)  # all alike: nothing tells the step
    value, sd = comb(atoms, 2.0, 0.05)
    assert (count(value, sd, NONE, NONE, step=2.0).atoms == 4).all()


def test_probabilities_are_low_where_the_steps_do_not_tell():
    atoms = np.random.default_rng(1).integers(8, 14, 60)
    value, sd = comb(atoms, 1.0, 0.2)
    unsure = count(value, sd, NONE, NONE)
    assert unsure.probability.mean() < 0.5
    known = count(value, sd, NONE, NONE, step=1.0)
    assert known.probability.mean() == pytest.approx((known.atoms == atoms).mean(), abs=0.15)
    assert known.probability.mean() > unsure.probability.mean()


def test_what_is_expected_of_the_tallest_decides_between_steps_that_fit():
    atoms = np.random.default_rng(1).integers(8, 14, 60)
    value, sd = comb(atoms, 1.0, 0.2)
    small, large = (count(value, sd, NONE, NONE, tallest=tallest).step for tallest in (26, 4))
    assert small < 1.0 < large
    clear, deviation = comb(np.random.default_rng(1).integers(1, 9, 300), 1.0, 0.08)
    for tallest in (4, 16):  # where the steps tell, expectation changes nothing
        assert count(clear, deviation, NONE, NONE, tallest=tallest).step == pytest.approx(1.0, rel=0.02)


def terrace(seed):
    """Heights that change by one atom between wide terraces of a square net, and its neighbours."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:20, :20]
    atoms = 6 + np.floor(2.5 * np.sin(x / 6 + rng.uniform(0, 6)) + 1.5 * np.cos(y / 7)).astype(int)
    xy = np.column_stack((x.ravel(), y.ravel())).astype(float)
    i, j, _ = graph.neighbours(xy, 1.2)
    return np.maximum(atoms, 1).ravel(), i, j


def test_neighbours_settle_what_counting_leaves_open():
    gains = []
    for seed in range(4):
        atoms, i, j = terrace(seed)
        value, sd = comb(atoms, 1.0, 0.2, seed)
        together, alone = count(value, sd, i, j, step=1.0), count(value, sd, NONE, NONE, step=1.0)
        gains.append((together.atoms == atoms).mean() - (alone.atoms == atoms).mean())
        assert together.coupling > 0
    assert np.mean(gains) > 0.05


def test_columns_that_know_nothing_of_one_another_are_not_smoothed():
    atoms = np.random.default_rng(3).integers(1, 9, 400)
    _, i, j = terrace(0)
    value, sd = comb(atoms, 1.0, 0.15)
    together, alone = count(value, sd, i, j, step=1.0), count(value, sd, NONE, NONE, step=1.0)
    assert together.coupling <= 0.25
    assert (together.atoms == atoms).mean() > (alone.atoms == atoms).mean() - 0.01


@pytest.fixture(scope="module")
def particle():
    made = nanoparticle("Pt", (4.1, 4.1), seed=2, diameter=2.6, axis=(0, 0, 1), rotation=20)
    return adf_image(made, (256, 256), pixel_size=0.016, seed=2, counts=30.0, probe=Probe(0.04, 0.15, 0.085))


def test_all_columns_are_solved_for_at_once(particle):
    xy = particle.xy / 0.016
    found = scattering(particle.image.astype(float), xy, 2.6)
    assert found.value.shape == found.sd.shape == (len(xy),)
    one = np.median(found.value / particle.atoms)
    off = found.value / one - particle.atoms
    assert np.abs(np.mean(off[particle.atoms <= 2])) < 0.2  # tails of thick neighbours are not counted
    assert np.std(off) == pytest.approx(np.sqrt(np.mean((found.sd / one) ** 2)), rel=0.35)
    scaled = scattering(7 * particle.image.astype(float) + 100, xy, 2.6)
    np.testing.assert_allclose(scaled.value, 7 * found.value, rtol=1e-3, atol=1e-3 * found.value.max())
