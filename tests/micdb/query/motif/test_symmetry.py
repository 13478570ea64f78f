"""The symmetry group of a motif, against groups known from geometry."""

from __future__ import annotations

import numpy as np
import pytest

from micdb.query.motif.symmetry import align, symmetry


def polygon(n, radius=0.142):
    return radius * np.exp(2j * np.pi * np.arange(n) / n)


def group(points, kinds=None, tolerance=0.02):
    return symmetry(points, np.zeros(len(points), int) if kinds is None else kinds, tolerance=tolerance)


@pytest.mark.parametrize("n", [5, 6, 8])
def test_a_regular_polygon_has_its_dihedral_group(n):
    found = group(polygon(n))
    assert len(found) == 2 * n
    assert sum(one.mirrored for one in found) == n
    assert found[0].onto == tuple(range(n))
    assert max(one.deviation for one in found) < 1e-12


def test_species_break_symmetry():
    kinds = np.array([1, 0, 0, 0, 0, 0])
    assert [one.mirrored for one in group(polygon(6), kinds)] == [False, True]


def test_a_chiral_motif_has_no_mirror():
    pinwheel = np.concatenate([polygon(3), 2 * polygon(3) * np.exp(0.4j)])
    found = group(pinwheel)
    assert len(found) == 3
    assert not any(one.mirrored for one in found)


def test_a_nearly_symmetric_motif_gets_a_group_all_the_same():
    """Whatever the noise, what is left is closed under composition and says how far atoms are off."""
    rng = np.random.default_rng(0)
    sizes = set()
    for spread in (0.002, 0.01, 0.02):
        for _ in range(20):
            points = polygon(6) + rng.normal(0, spread, 6) + 1j * rng.normal(0, spread, 6)
            found = group(points)
            members = {one.onto for one in found}
            assert all(tuple(a.onto[i] for i in b.onto) in members for a in found for b in found)
            for one in found:
                given = points.conj() if one.mirrored else points
                laid = align(given, points[list(one.onto)])
                assert np.abs(laid - points[list(one.onto)]).max() == pytest.approx(one.deviation, abs=1e-12)
                assert one.deviation <= 0.02
            sizes.add(len(found))
    assert {1, 12} <= sizes


def test_alignment_is_the_least_squares_one():
    rng = np.random.default_rng(1)
    given, found = (rng.normal(size=7) + 1j * rng.normal(size=7) for _ in range(2))
    squares = (np.abs(align(given, found) - found) ** 2).sum()
    for angle in np.linspace(0, 2 * np.pi, 721):
        laid = np.exp(1j * angle) * (given - given.mean()) + found.mean()
        assert squares <= (np.abs(laid - found) ** 2).sum() + 1e-12
