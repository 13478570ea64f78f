"""Structures and pictures find their way onto one another, turned, mirrored and shifted."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from micdb.analysis.library.align import Pose, Structure, lay, mean_sites, turn_of, turned

STAR = Structure(
    np.array([[0, 0], [0.17, 0], [-0.085, 0.147], [-0.085, -0.147], [0.26, 0.13], [0.31, -0.05]]),
    ("Si", "C", "C", "C", "C", None),
)


def moved(structure, angle, mirror, shift=(0.0, 0.0), *, noise=0.0, seed=0):
    c, s = math.cos(angle), math.sin(angle)
    matrix = np.array([[c, -s], [s, c]]) @ np.diag([1.0, mirror])
    jitter = np.random.default_rng(seed).normal(0, noise, structure.xy.shape) if noise else 0.0
    return Structure(structure.xy @ matrix.T + np.array(shift) + jitter, structure.species)


@given(st.floats(0, 2 * math.pi), st.sampled_from([1.0, -1.0]), st.floats(-0.015, 0.015))
def test_a_copy_is_laid_exactly(angle, mirror, shift):
    copy = moved(STAR, angle, mirror, (shift, -shift))
    pose, misfit = lay(copy, STAR)
    assert misfit < 1e-6
    assert pose(copy.xy) == pytest.approx(STAR.xy, abs=1e-6)
    assert np.linalg.det(pose.matrix) == pytest.approx(mirror)


def test_atoms_of_another_species_never_meet():
    other = Structure(STAR.xy, ("C", "Si", "C", "C", "C", None))
    _, misfit = lay(other, STAR)
    assert misfit > 0.02


def test_mean_positions_and_their_spread():
    members = [moved(STAR, 0.7 * n, (-1.0) ** n, noise=0.005, seed=n) for n in range(200)]
    poses = [lay(one, STAR)[0] for one in members]
    sites = mean_sites(members, poses, STAR)
    assert len(sites) == 6
    for site, (x, y), species in zip(sites, STAR.xy, STAR.species, strict=True):
        assert math.hypot(site.x_nm - x, site.y_nm - y) < 0.002
        assert 0.003 < site.sd_nm < 0.006  # the fit of the pose takes up a part
        assert (site.species, site.share) == (species, 1.0)


def test_an_atom_most_members_lack_is_left_out_and_a_share_is_told():
    short = Structure(STAR.xy[:4], STAR.species[:4])
    members = [STAR, short, short, short]
    still = Pose(np.eye(2), np.zeros(2))
    assert len(mean_sites(members, [still] * 4, STAR)) == 4
    half = mean_sites([STAR, short], [still] * 2, STAR)
    assert [site.share for site in half] == [1, 1, 1, 1, 0.5, 0.5]
    assert math.isnan(half[5].sd_nm)


def test_pictures_are_turned_back():
    y, x = np.mgrid[-1:1:41j, -1:1:41j]
    picture = np.exp(-((x - 0.4) ** 2 + y**2) / 0.05) + 0.5 * np.exp(-(x**2 + (y - 0.5) ** 2) / 0.03)
    angle = math.radians(50)
    matrix = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    other = turned(picture, matrix)
    # A point at x = 0.4 on the right goes by 50 deg from x towards y, as positions do.
    row, column = np.unravel_index(np.argmax(other), other.shape)
    assert (column - 20) / 20 == pytest.approx(0.4 * math.cos(angle), abs=0.06)
    assert (row - 20) / 20 == pytest.approx(0.4 * math.sin(angle), abs=0.06)
    back, correlation = turn_of(other, picture)
    assert correlation > 0.97
    assert back @ matrix == pytest.approx(np.eye(2), abs=0.06)
