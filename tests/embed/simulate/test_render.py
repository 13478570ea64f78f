"""Drawing against the exact sum, and sub-pixel positions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from micdb.embed.simulate.lattices import crystal
from micdb.embed.simulate.render import draw
from micdb.embed.simulate.stem import Probe


def exact(xy, weight, shape, *, pixel_size, probe):
    y, x = np.mgrid[: shape[0], : shape[1]] * pixel_size
    return sum(w * probe.profile(np.hypot(x - a, y - b)) for (a, b), w in zip(xy, weight, strict=True))


@pytest.mark.parametrize("pixel_size", [0.008, 0.016, 0.06])  # [nm]; at 0.06 the probe is undersampled
@pytest.mark.parametrize("probe", [Probe(), Probe(0.02, 0.1, 0.12), Probe(0.05, tail=0.0)])
def test_the_exact_sum(pixel_size, probe):
    shape = (48, 60)
    columns = crystal("WS2", (48 * pixel_size, 60 * pixel_size), seed=1, rotation=7.0)
    weight = columns.weight / columns.weight.max()
    drawn = draw(columns.xy, weight, shape, pixel_size=pixel_size, probe=probe)
    true = exact(columns.xy, weight, shape, pixel_size=pixel_size, probe=probe)
    assert np.abs(drawn - true).max() < 1.2e-3  # of the peak: an even haze of far Airy tails
    assert np.std(drawn - true) < 1.2e-4


def test_the_transform_is_that_of_the_profile():
    probe, pitch = Probe(0.03, 0.2, 0.09), 0.01
    axis = (np.arange(512) - 256) * pitch
    profile = probe.profile(np.hypot(axis[:, None], axis[None]))
    numeric = np.fft.rfft2(np.fft.ifftshift(profile)) * pitch**2
    given_ = probe.transfer((512, 512), pitch)
    assert np.abs(numeric - given_).max() < 0.02 * given_.max()  # the window cuts the Airy tails
    assert given_[0, 0] == pytest.approx(2 * np.pi * 0.03**2 * 0.8 + 0.2 * 4 * np.pi * (0.09 / 3.8317) ** 2)


@settings(max_examples=20, deadline=None)
@given(st.floats(0.3, 0.6), st.floats(0.3, 0.6), st.floats(0.008, 0.03))
def test_the_centroid_is_where_the_atom_is(x, y, pixel_size):
    shape = (round(0.9 / pixel_size), round(0.9 / pixel_size))
    image = draw(np.array([[x, y]]), np.ones(1), shape, pixel_size=pixel_size, probe=Probe(0.03, tail=0.0))
    rows, columns = np.mgrid[: shape[0], : shape[1]] * pixel_size
    assert abs((image * columns).sum() / image.sum() - x) < 0.001  # [nm]
    assert abs((image * rows).sum() / image.sum() - y) < 0.001


def test_the_sum_is_the_probe_times_the_weights():
    probe = Probe(0.03, tail=0.0)
    image = draw(
        np.array([[0.5, 0.5], [0.8, 0.7]]), np.array([1.0, 0.4]), (90, 110), pixel_size=0.012, probe=probe
    )
    assert image.sum() * 0.012**2 == pytest.approx(1.4 * 2 * np.pi * 0.03**2, rel=1e-4)


def test_lines_are_shifted_without_blur():
    shift = np.zeros(40)
    shift[20] = 0.0123  # [nm]
    xy, weight = np.array([[0.4, 0.32]]), np.ones(1)
    plain = draw(xy, weight, (40, 50), pixel_size=0.016, probe=Probe())
    jittered = draw(xy, weight, (40, 50), pixel_size=0.016, probe=Probe(), line_shift=shift)
    moved = draw(xy + np.array([0.0123, 0.0]), weight, (40, 50), pixel_size=0.016, probe=Probe())
    np.testing.assert_allclose(jittered[20], moved[20], atol=1e-4)
    np.testing.assert_allclose(np.delete(jittered, 20, 0), np.delete(plain, 20, 0), atol=1e-12)


def test_atoms_outside_reach_in_and_far_ones_do_not_wrap():
    near = draw(np.array([[-0.03, 0.4]]), np.ones(1), (50, 50), pixel_size=0.016, probe=Probe())
    assert near[25, 0] == pytest.approx(Probe().profile(np.array([0.03]))[0], abs=1e-3)
    assert near[:, 30:].max() < 1e-3
    far = draw(np.array([[-2.0, 0.4], [3.0, 9.0]]), np.ones(2), (50, 50), pixel_size=0.016, probe=Probe())
    assert np.abs(far).max() < 1e-12
