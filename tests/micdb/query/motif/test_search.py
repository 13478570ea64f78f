"""Motif search against a search that tries everything, against planted defects, and against its laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from micdb.errors import UsageError
from micdb.query.motif.motif import Motif

SEEDS = st.integers(0, 2**32 - 1)
RULES = st.fixed_dictionaries(
    {"max_rmsd": st.sampled_from([0.01, 0.02, 0.03]), "mirror": st.booleans(), "extra": st.booleans()}
)
# The same cases every time: at a limit two ways to compute may differ in the last digit.
SOME = settings(max_examples=25, deadline=None, derandomize=True)


def scene(plane, rng, *, noise, side=1.5):
    """Return graphene without three atoms, turned, with noise as a share of the bond length."""
    xy, _ = plane.honeycomb(2 * side)
    xy = plane.turned(xy, rng.uniform(0, 360), mirror=rng.random() < 0.5, shift=rng.uniform(-0.1, 0.1, 2))
    xy = xy[(np.abs(xy) < side / 2).all(axis=1)]
    xy = np.delete(xy, rng.choice(len(xy), 3, replace=False), axis=0)
    return xy + rng.normal(0, noise * plane.BOND, xy.shape) + side


def region(rng, xy, count):
    """Return the atoms nearest to a random place, turned."""
    where = xy[rng.integers(len(xy))] + rng.normal(0, 0.05, 2)
    near = xy[np.argsort(np.hypot(*(xy - where).T))[:count]]
    try:
        return Motif(near - near.mean(axis=0))
    except UsageError:
        assume(False)
    raise AssertionError


@SOME
@given(seed=SEEDS, count=st.integers(5, 7), rule=RULES)
@pytest.mark.parametrize("noise", [0.0, 0.03])
def test_it_finds_what_trying_everything_finds(plane, noise, seed, count, rule):
    rng = np.random.default_rng(seed)
    xy = scene(plane, rng, noise=noise, side=1.1)
    motif = region(rng, xy if rng.random() < 0.5 else plane.honeycomb(1.5)[0], count)
    motif = Motif(plane.turned(motif.xy, rng.uniform(0, 360), mirror=rng.random() < 0.5))
    found, expected = plane.search(xy, motif, **rule), plane.exhaustive(xy, motif, **rule)
    assert found.keys() == expected.keys()
    assert found == pytest.approx(expected, abs=2e-6)


@SOME
@given(seed=SEEDS, count=st.integers(5, 14))
def test_turning_mirroring_and_renumbering_change_nothing(plane, seed, count):
    rng = np.random.default_rng(seed)
    xy = scene(plane, rng, noise=0.03)
    motif = region(rng, xy, count)
    before = plane.search(xy, motif)
    shuffle = rng.permutation(count)
    other = plane.turned(motif.xy[shuffle], rng.uniform(0, 360), mirror=rng.random() < 0.5, shift=(3, -2))
    order = rng.permutation(len(xy))
    moved = plane.turned(xy[order], rng.uniform(0, 360), mirror=rng.random() < 0.5, shift=(5, 1))
    after = plane.search(moved, Motif(other))
    renumbered = {tuple(sorted(order[list(one)].tolist())): rmsd for one, rmsd in after.items()}
    assert renumbered.keys() == before.keys()
    assert renumbered == pytest.approx(before, abs=2e-6)


@SOME
@given(seed=SEEDS, count=st.integers(5, 30))
def test_a_region_finds_itself_first(plane, seed, count):
    rng = np.random.default_rng(seed)
    xy = np.float32(scene(plane, rng, noise=0.03, side=2.0)).astype(float)
    motif = region(rng, xy, count)
    own = [int(np.argmin(np.hypot(*(xy - one).T))) for one in motif.xy + _offset(xy, motif)]
    found = plane.search(xy, motif, extra=True)
    assert next(iter(found)) == tuple(sorted(own))
    assert found[tuple(sorted(own))] < 1e-6


def _offset(xy, motif):
    """Return where in the scene a motif was cut out."""
    for place in xy:
        moved = motif.xy + (place - motif.xy[0])
        if all(np.hypot(*(xy - one).T).min() < 1e-6 for one in moved):
            return place - motif.xy[0]
    raise AssertionError("it is not from here")


def ring(plane, radii):
    """Return the atoms about an atom of graphene within two distances."""
    xy, _ = plane.honeycomb(2.0)
    far = np.hypot(*xy.T)
    return xy[(far > radii[0]) & (far < radii[1])]


def test_a_vacancy_is_found_where_an_atom_is_missing_and_nowhere_else(plane):
    xy, _ = plane.honeycomb(6.0)
    inner = np.flatnonzero(np.hypot(*xy.T) < 2.0)
    gone = inner[[5, 60, 110]]
    left = np.delete(xy, gone, axis=0)
    vacancy = Motif(ring(plane, (0.01, 0.3)))
    found = plane.search(left + 4, vacancy)
    assert len(found) == 3
    centres = np.array([left[list(one)].mean(axis=0) for one in found])
    assert sorted(map(tuple, centres.round(3))) == sorted(map(tuple, xy[gone].round(3)))
    everywhere = plane.search(left + 4, vacancy, extra=True)
    assert len(everywhere) > 700
    assert set(found) <= set(everywhere)


def test_a_place_of_a_symmetric_motif_is_one_place(plane):
    """A hexagon lies on itself in twelve ways; in the lattice there is one for each two atoms inside."""
    xy, _ = plane.honeycomb(3.0)
    turned = plane.turned(xy, 17)
    angles = np.radians(range(0, 360, 60))
    hexagon = Motif(0.246 / 3**0.5 * np.column_stack((np.cos(angles), np.sin(angles))))
    found = plane.search(turned, hexagon)
    assert max(found.values()) < 1e-6
    corners = {index for one in found for index in one}
    inner = np.flatnonzero((np.abs(xy) < 1.2).all(axis=1))
    assert set(inner.tolist()) <= corners
    counts = np.bincount([index for one in found for index in one], minlength=len(xy))
    assert (counts[inner] == 3).all()  # every inner atom is a corner of three hexagons


def test_a_motif_partly_out_of_view_is_none(plane):
    xy, _ = plane.honeycomb(3.0)
    star = Motif(ring(plane, (-1, 0.25)))
    found = plane.search(xy, star)
    centres = np.array([xy[list(one)].mean(axis=0) for one in found])
    assert len(found) == sum((np.hypot(*(xy - atom).T) < 0.25).sum() == 10 for atom in xy)
    assert np.abs(centres).max() < 1.4


def test_mirror_images_of_a_chiral_motif(plane):
    rng = np.random.default_rng(3)
    chiral = np.array([(0, 0), (0.15, 0), (0.3, 0.02), (0.31, 0.17), (0.1, 0.2), (-0.05, 0.33)])
    right = plane.turned(chiral, 40, shift=(2, 2))
    left = plane.turned(chiral, 200, mirror=True, shift=(4, 2))
    xy = np.concatenate((right, left)) + rng.normal(0, 0.001, (12, 2))
    both = plane.search(xy, Motif(chiral))
    assert set(both) == {tuple(range(6)), tuple(range(6, 12))}
    assert set(plane.search(xy, Motif(chiral), mirror=False)) == {tuple(range(6))}


def test_species_must_agree_where_both_are_known(plane):
    xy, sublattice = plane.honeycomb(2.5, constant=0.316)
    kinds = np.where(sublattice == 0, "Mo", "S").astype(object)
    far = np.hypot(*xy.T)
    near = far < 0.33
    assert near.sum() == 10
    given = Motif(xy[near], list(kinds[near]))
    found = plane.search(xy, given, species=kinds)
    about = np.array([xy[list(one)].mean(axis=0) for one in found])
    centres = [int(np.argmin(np.hypot(*(xy - one).T))) for one in about]
    assert set(kinds[centres]) == {"Mo"}
    blind = plane.search(xy, given, species=[None] * len(xy))
    assert len(blind) > 1.7 * len(found)
    dopant = kinds.copy()
    dopant[centres[0]] = "W"
    doped = Motif(xy[near], np.where(far[near] < 0.01, "W", kinds[near]).tolist())
    assert list(plane.search(xy, doped, species=dopant)) == [next(iter(found))]
    expected = {one for one in found if centres[0] not in one}
    assert 0 < len(expected) < len(found)
    assert set(plane.search(xy, given, species=dopant)) == expected
    unknown = Motif(xy[near], ["Xe"] * 10)
    assert not plane.search(xy, unknown, species=kinds)
    some = dopant.copy()
    some[list(list(found)[1])] = None
    assert list(plane.search(xy, unknown, species=some)) == [list(found)[1]]


def test_only_the_best_are_kept_and_all_are_counted(plane):
    rng = np.random.default_rng(5)
    xy = scene(plane, rng, noise=0.03, side=3.0)
    star = Motif(ring(plane, (-1, 0.25)))
    everything = plane.search(xy, star)
    best = plane.search(xy, star, k=7)
    assert list(best) == list(everything)[:7]
    assert list(everything.values()) == sorted(everything.values())


def test_atoms_that_are_off_are_found_up_to_the_limit(plane):
    """One atom is moved by more and more: it is a place while its RMSD allows, never beyond."""
    star = ring(plane, (-1, 0.25))
    xy, _ = plane.honeycomb(3.0)
    (centre,) = np.flatnonzero(np.hypot(*xy.T) < 0.01)
    own = tuple(np.flatnonzero(np.hypot(*xy.T) < 0.25).tolist())
    seen = []
    for shift in np.linspace(0, 0.065, 14):
        moved = xy.copy()
        moved[centre] += [shift, 0.0]
        found = plane.search(moved, Motif(star), max_rmsd=0.015)
        expected = np.sqrt(shift**2 * 0.9 / 10)  # the others move by a tenth: 0.9 of the square is left
        assert (own in found) == (expected <= 0.015)
        if own in found:
            assert found[own] == pytest.approx(expected, abs=1e-6)
        seen.append(own in found)
    assert True in seen and False in seen


@pytest.mark.parametrize("extra", [True, False])
def test_motifs_wider_than_the_listed_neighbours(plane, extra):
    """Atoms of one kind far apart in a dense lattice: their partners are not among the nearest twelve."""
    xy, _ = plane.honeycomb(3.0)
    kinds = np.full(len(xy), "C", object)
    steps = np.array([(0, 0), (0.492, 0), (0.246, 0.426), (0.738, 0.426), (0.492, 0.852)])
    chosen = [int(np.argmin(np.hypot(*(xy - step).T))) for step in steps]
    kinds[chosen] = "N"
    motif = Motif(xy[chosen], ["N"] * 5)
    found = plane.search(plane.turned(xy, 33), motif, species=kinds, extra=extra)
    assert list(found) == ([tuple(sorted(chosen))] if extra else [])


def test_doubly_detected_atoms_are_further_atoms(plane):
    xy, _ = plane.honeycomb(3.0)
    star = Motif(ring(plane, (-1, 0.25)))
    (centre,) = np.flatnonzero(np.hypot(*xy.T) < 0.01)
    twice = np.concatenate((xy, xy[[centre]] + [0.02, 0.01]))
    before, after = plane.search(xy, star), plane.search(twice, star)
    own = tuple(np.flatnonzero(np.hypot(*xy.T) < 0.25).tolist())
    assert own in before
    assert own not in after
    assert own in plane.search(twice, star, extra=True)
    assert set(after) < set(before)
