"""Reduction and Bravais types: laws that any basis of any plane lattice obeys."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from micdb.embed.lattice.basis import Basis
from micdb.embed.lattice.bravais import TYPES, probabilities
from micdb.embed.simulate.plane_lattices import distorted, even_cell
from micdb.errors import UsageError

SHAPES = {
    "oblique": (1.3, 104.0),
    "rectangular": (1.3, 90.0),
    "centred rectangular": (1.0, 100.0),
    "square": (1.0, 90.0),
    "hexagonal": (1.0, 120.0),
}
NUMBERS = st.floats(-10, 10)
UNIMODULAR = st.tuples(st.integers(-3, 3), st.integers(-3, 3)).map(
    lambda n: np.array([[1, n[0]], [0, 1]]) @ np.array([[1, 0], [n[1], 1]])
)


def basis(ratio, gamma, *, scale=1.0, turn=0.0, mirror=False, sd=0.0):
    angle = math.radians(gamma)
    vectors = scale * np.array([[1.0, 0.0], [ratio * math.cos(angle), ratio * math.sin(angle)]])
    rotation = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    flip = np.diag([1.0, -1.0]) if mirror else np.eye(2)
    return Basis(vectors @ rotation @ flip, np.eye(4) * (sd * scale) ** 2)


@st.composite
def bases(draw):
    vectors = np.array(draw(st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS))).reshape(2, 2)
    assume(abs(np.linalg.det(vectors)) > 1e-3 * np.square(vectors).sum() and np.square(vectors).sum() > 1e-3)
    return vectors


@given(bases())
def test_reduction_gives_the_shortest_vectors(vectors):
    reduced = Basis(vectors).reduced()
    steps = np.stack(np.meshgrid(np.arange(-3, 4), np.arange(-3, 4)), -1).reshape(-1, 2)
    lengths = np.hypot(*(steps @ reduced.vectors).T)
    a, b = reduced.lengths
    assert a <= b * (1 + 1e-9)
    assert lengths[(steps != 0).any(axis=1)].min() >= a * (1 - 1e-6)
    assert lengths[steps[:, 1] != 0].min() >= b * (1 - 1e-6)
    assert 90 - 1e-6 <= reduced.gamma_deg <= 120 + 1e-4
    assert 0 <= reduced.angle_deg <= 180
    turned = reduced.vectors @ np.linalg.inv(vectors)  # the same lattice: whole numbers, determinant one
    np.testing.assert_allclose(turned, np.rint(turned), atol=1e-6)
    assert reduced.area == pytest.approx(Basis(vectors).area, rel=1e-9)


@given(bases(), UNIMODULAR)
def test_selling_parameters_belong_to_the_lattice_not_to_its_basis(vectors, change):
    one, other = Basis(vectors).selling()[0], Basis(change @ vectors).selling()[0]
    np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7 * np.square(vectors).sum())
    assert (np.diff(one) >= -1e-7 * one.sum()).all()


@given(st.sampled_from(TYPES), st.floats(0.01, 100), st.floats(0, 2 * math.pi), st.booleans(), UNIMODULAR)
def test_the_type_is_that_of_the_shape(kind, scale, turn, mirror, change):
    found = basis(*SHAPES[kind], scale=scale, turn=turn, mirror=mirror, sd=0.002)
    spread = np.kron(change, np.eye(2))
    other = Basis(change @ found.vectors, spread @ found.covariance @ spread.T)
    one, two = probabilities(found), probabilities(other)
    assert max(one, key=one.__getitem__) == kind
    assert sum(one.values()) == pytest.approx(1.0)
    assert one == pytest.approx(two, abs=1e-6)


@pytest.mark.parametrize("kind", TYPES)
def test_covariances_are_those_of_many_measurements(kind):
    exact = basis(*SHAPES[kind], turn=0.4, sd=1e-4)
    rng = np.random.default_rng(1)
    many = [Basis(exact.vectors + rng.normal(0, 1e-4, (2, 2))) for _ in range(3000)]
    actual = np.std([(*one.lengths, one.gamma_deg, one.angle_deg) for one in many], axis=0)
    np.testing.assert_allclose(actual, exact.sds, rtol=0.06)
    reciprocal = np.cov([one.reciprocal().vectors.ravel() for one in many], rowvar=False)
    np.testing.assert_allclose(np.diag(reciprocal), np.diag(exact.reciprocal().covariance), rtol=0.1)


def test_uncertain_measurements_leave_types_open():
    near = {sd: probabilities(basis(1.05, 90.0, sd=sd), distortion=0.001) for sd in (0.0, 0.05)}
    assert near[0.0]["rectangular"] > 0.9
    assert near[0.05]["square"] > near[0.05]["rectangular"] > 0.02


def test_scaling_keeps_directions_and_covariance_together():
    found = basis(1.3, 104.0, turn=0.3, sd=0.01).scaled((2.0, 2.0))
    assert found.lengths == pytest.approx((2.0, 2.6))
    assert found.sds[0] == pytest.approx(0.02)
    assert found.sds[2] == pytest.approx(basis(1.3, 104.0, turn=0.3, sd=0.01).sds[2])


@pytest.mark.parametrize("vectors", [[[1, 2], [2, 4]], [[0, 0], [1, 0]], [[math.nan, 0], [0, 1]]])
def test_parallel_vectors_are_refused(vectors):
    with pytest.raises(UsageError, match="no lattice vectors; two that are not parallel are needed"):
        Basis(np.array(vectors, float)).reduced()


@pytest.mark.parametrize("distortion", [0.0, -1, 1.0])
def test_a_distortion_that_is_none_is_refused(distortion):
    with pytest.raises(UsageError, match="expected a strain between 0 and 1"):
        probabilities(basis(1, 90), distortion=distortion)


def test_probabilities_are_as_often_right_as_they_say():
    sure, right = [], []
    for number, kind in enumerate(TYPES):
        for seed in range(150):
            vectors = even_cell(kind, seed=1000 * number + seed)
            found = probabilities(Basis(distorted(vectors, 0.02, seed=seed)), distortion=0.02)
            best = max(found, key=found.__getitem__)
            sure.append(found[best])
            right.append(best == kind)
    sure, right = np.array(sure), np.array(right)
    assert 0.7 < right.mean() < 0.95  # by design not all can be told apart
    assert sure.mean() == pytest.approx(right.mean(), abs=0.03)
    doubtful = sure < 0.8
    assert sure[doubtful].mean() == pytest.approx(right[doubtful].mean(), abs=0.08)
