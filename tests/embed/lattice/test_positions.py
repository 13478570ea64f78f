"""Lattices of atom positions and their strain: exact where the truth is exact."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from micdb.embed.lattice.basis import Basis
from micdb.embed.lattice.bravais import TYPES
from micdb.embed.lattice.positions import displacements, fit_positions
from micdb.embed.lattice.reciprocal import image_lattice
from micdb.embed.lattice.strain import Strain, atom_strain, phase_strain
from micdb.embed.simulate.plane_lattices import blobs, lattice_points, random_cell
from micdb.errors import UsageError

FIELD = (160, 160)
HONEYCOMB = ((0.0, 0.0), (1 / 3, 2 / 3))
SMALL = st.floats(-0.02, 0.02)


def points(kind="hexagonal", *, seed=1, sites=((0.0, 0.0),), **keywords):
    vectors = random_cell(kind, seed=seed, spacing=(12.0, 13.0))
    xy, site = lattice_points(vectors, FIELD, seed=seed, sites=sites, **keywords)
    return xy, site, Basis(vectors).reduced()


@pytest.mark.parametrize("kind", TYPES)
def test_a_perfect_lattice_leaves_no_residual(kind):
    xy, _, truth = points(kind)
    fit = fit_positions(xy)
    np.testing.assert_allclose(fit.residual, 0, atol=1e-9)
    assert fit.basis.lengths == pytest.approx(truth.lengths)
    assert fit.basis.gamma_deg == pytest.approx(truth.gamma_deg)
    np.testing.assert_allclose(fit.places(), xy, atol=1e-9)
    assert len(fit.sites) == 1


def test_sublattices_are_told_apart():
    xy, site, truth = points(sites=HONEYCOMB, jitter=0.02, vacancies=0.1)
    fit = fit_positions(xy)
    assert len(fit.sites) == 2
    assert fit.basis.lengths[0] == pytest.approx(truth.lengths[0], rel=0.01)
    same = fit.site == site
    assert same.all() or not same.any()  # which one is called 0 depends on the middle atom


def test_standard_deviations_hold_for_jitter():
    off = []
    for seed in range(12):
        xy, _, truth = points("square", seed=seed, jitter=0.03)
        basis = fit_positions(xy).basis
        off += [(basis.lengths[k] - np.sort(truth.lengths)[k]) / basis.sds[k] for k in (0, 1)]
    assert 0.5 < np.sqrt(np.mean(np.square(off))) < 1.8


def test_an_interstitial_is_on_no_site():
    xy, _, truth = points("square")
    middle = xy[np.argmin(np.hypot(*(xy - 80).T))] + truth.vectors.sum(axis=0) / 2
    fit = fit_positions(np.vstack((xy, middle)))
    assert fit.site[-1] == -1
    assert np.isnan(fit.residual[-1]).all()
    assert np.isnan(fit.places()[-1]).all()
    assert (fit.site[:-1] == 0).all()


@settings(deadline=None, max_examples=8)
@given(SMALL, SMALL, SMALL, st.floats(-0.05, 0.05))
def test_strain_of_an_affinely_strained_lattice_is_exact(exx, eyy, exy, turn):
    xy, _, truth = points(sites=HONEYCOMB)
    rotation = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    change = np.array([[1 + exx, exy], [exy, 1 + eyy]]) @ rotation
    moved = xy @ change.T
    found = atom_strain(moved, fit_positions(moved), reference=truth)
    for name, value in (("exx", exx), ("eyy", eyy), ("exy", exy), ("rotation_deg", math.degrees(turn))):
        np.testing.assert_allclose(getattr(found, name), value, atol=1e-8, err_msg=name)


def test_indices_survive_more_than_half_a_cell_of_strain():
    def bend(xy):
        return np.column_stack((0.0008 * (xy[:, 0] - 80) ** 2, np.zeros(len(xy))))

    xy, _, truth = points("square", displacement=bend)
    fit = fit_positions(xy)
    assert len(fit.sites) == 1
    strain = atom_strain(xy, fit, reference=truth, radius=30)
    inside = ((xy > 30) & (xy < 130)).all(axis=1)
    # u = c (x - 80)**2 stretches by 2 c (x - 80), taken at the place before
    before = 80 + (np.sqrt(1 + 4 * 0.0008 * (xy[:, 0] - 80)) - 1) / (2 * 0.0008)
    np.testing.assert_allclose(strain.exx[inside], 0.0016 * (before[inside] - 80), atol=0.004)
    np.testing.assert_allclose(strain.eyy[inside], 0, atol=1e-3)


def test_polarisation_of_a_sublattice():
    xy, site, truth = points("square", sites=((0.0, 0.0), (0.5, 0.5)), jitter=0.0)
    shift = np.array([0.6, -0.3])
    moved = xy + np.where(site[:, None] == 1, shift, 0)
    of, among = np.flatnonzero(site == 1), np.flatnonzero(site == 0)
    found = displacements(moved, of, among, neighbours=4)
    inner = ((xy[of] > 20) & (xy[of] < 140)).all(axis=1)
    np.testing.assert_allclose(found[inner], np.broadcast_to(shift, (inner.sum(), 2)), atol=1e-9)
    assert np.isnan(displacements(moved, of, among[::3], neighbours=4)).any()  # shells with holes
    assert truth.area > 0


def test_phase_analysis_of_a_strained_image():
    change = np.array([[1.01, 0.004], [0.004, 0.995]])
    xy, _, truth = points("square", displacement=lambda p: (p - 80) @ (change - np.eye(2)).T)
    image = blobs(xy, FIELD, sigma=2.5)
    found = phase_strain(image, image_lattice(image), reference=truth)
    inside = np.s_[40:-40, 40:-40]
    for name, value in (("exx", 0.01), ("eyy", -0.005), ("exy", 0.004), ("rotation_deg", 0.0)):
        error = getattr(found, name)[inside] - value
        assert np.sqrt(np.square(error).mean()) < (0.1 if name == "rotation_deg" else 0.001), name


def test_strain_is_the_stretch_after_the_rotation():
    turn = 0.3
    rotation = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    found = Strain.of(np.array([[1.02, 0.01], [0.01, 0.97]]) @ rotation)
    assert (found.exx, found.eyy, found.exy) == pytest.approx((0.02, -0.03, 0.01))
    assert found.rotation_deg == pytest.approx(math.degrees(turn))


@pytest.mark.parametrize(
    ("xy", "message"),
    [
        (np.zeros((3, 3)), r"shape \(3, 3\); finite ones of the shape \(n, 2\) are needed"),
        (np.zeros((5, 2)), "5 positions; a lattice needs at least 12"),
        (np.zeros((20, 2)), "given twice"),
        (np.random.default_rng(0).uniform(0, 100, (200, 2)), "show no lattice in two directions"),
    ],
)
def test_positions_without_a_lattice_are_refused(xy, message):
    with pytest.raises(UsageError, match=message):
        fit_positions(xy)


def test_a_foreign_reference_is_refused():
    xy, _, truth = points("square")
    fit = fit_positions(xy)
    with pytest.raises(UsageError, match="but for a strain: give it in the same unit"):
        atom_strain(xy, fit, reference=truth.scaled((2.0, 2.0)))
    with pytest.raises(UsageError, match="radius is -1"):
        atom_strain(xy, fit, radius=-1)
    with pytest.raises(UsageError, match="1 neighbours among 5 atoms"):
        displacements(xy, np.arange(3), np.arange(5), neighbours=1)
