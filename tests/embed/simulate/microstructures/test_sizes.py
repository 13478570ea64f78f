"""What is drawn has the sizes, spacings and fractions that the truth tells, measured from the pixels."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from micdb.embed.simulate.microstructures.cells import laguerre, voronoi
from micdb.embed.simulate.microstructures.composite import ULTRAHIGH_CARBON, mixture, ultrahigh_carbon
from micdb.embed.simulate.microstructures.cuboids import cuboids
from micdb.embed.simulate.microstructures.fields import porous, two_phase
from micdb.embed.simulate.microstructures.grains import polycrystal
from micdb.embed.simulate.microstructures.lamellae import pearlite
from micdb.embed.simulate.microstructures.needles import bainite, martensite, widmanstatten
from micdb.embed.simulate.microstructures.particles import FORMS, deposited, spheroidite
from micdb.embed.simulate.microstructures.strands import strands
from micdb.embed.simulate.microstructures.surfaces import PATTERNS, device, film, patterned, tip
from micdb.embed.simulate.microstructures.view import View

seeds = st.integers(0, 10_000)
QUICK = settings(max_examples=8, deadline=None, derandomize=True)


def crossings_per_nm(number, pixel_size):
    """Changes from pixel to pixel over the length of all rows and columns."""
    changes = (np.diff(number, axis=0) != 0).sum() + (np.diff(number, axis=1) != 0).sum()
    return changes / (2 * number.size * pixel_size)


class TestCells:
    @QUICK
    @given(seeds, st.sampled_from(["voronoi", "laguerre"]))
    def test_the_distance_leads_to_the_boundary(self, seed, kind):
        view, rng = View((160, 160), 1.0), np.random.default_rng(seed)
        if kind == "voronoi":
            cells = voronoi(view, size=50.0, rng=rng, exact=True)
        else:
            cells = laguerre(view, size=50.0, spread=0.4, rng=rng)
        same = np.ones(view.shape, dtype=bool)
        for shift in ((0, 1), (1, 0), (0, -1), (-1, 0)):
            same &= np.roll(cells.index, shift, (0, 1)) == cells.index
        measured = ndimage.distance_transform_edt(same)
        middle = np.s_[40:120, 40:120]  # boundaries outside the field count too
        far = np.minimum(measured, 30)[middle]
        assert np.abs(np.minimum(cells.boundary, 30)[middle] - far).max() < 1.1  # [pixel]

    def test_points_are_where_pixels_are(self):
        view = View((60, 80), 2.0)
        cells = laguerre(view, size=30.0, spread=0.3, rng=np.random.default_rng(3))
        index, boundary = cells.at(view.points())
        np.testing.assert_array_equal(index.reshape(view.shape), cells.index)
        np.testing.assert_array_equal(boundary.reshape(view.shape), cells.boundary)


class TestGrains:
    def test_boundary_length_by_crofton(self):
        scene = polycrystal(View((500, 500), 10.0), grain=700.0, seed=1, twins=0.0)
        measured = math.pi / 2 * crossings_per_nm(scene.instance, 10.0)
        assert measured == pytest.approx(scene.truth["boundary_per_nm"], rel=0.08)

    def test_sizes_spread_as_asked_and_fill_the_field(self):
        view = View((400, 400), 10.0)
        for spread in (0.05, 0.25, 0.4):
            scene = polycrystal(view, grain=300.0, seed=2, spread=spread)
            objects = scene.objects
            assert (math.pi / 4 * objects.diameter**2).sum() == pytest.approx(view.area)
            whole = objects.diameter[~objects.cut]
            assert np.sqrt(np.mean(math.pi / 4 * whole**2)) == pytest.approx(300, rel=0.15)
            assert np.log(whole).std() == pytest.approx(spread, abs=0.05)

    def test_twins_have_two_straight_sides(self):
        scene = polycrystal(View((300, 300), 10.0), grain=1500.0, seed=3, twins=1.0, groove=0.0)
        assert scene.truth["twin_fraction"] == pytest.approx(scene.fractions()["twin"])
        assert scene.truth["twin_fraction"] > 0.05
        bright = scene.relief[scene.instance == np.bincount(scene.instance.ravel())[1:].argmax() + 1]
        assert len(np.unique(bright)) == 2  # a twin is another orientation of the same grain


class TestLamellae:
    @pytest.mark.parametrize("fraction", [0.15, 0.35])
    def test_spacing_by_crofton_and_fraction(self, fraction):
        scene = pearlite(View((600, 600), 10.0), spacing=250.0, seed=4, fraction=fraction)
        assert scene.fractions()["cementite"] == pytest.approx(fraction, abs=0.01)
        lines = math.pi / 2 * crossings_per_nm(scene.label, 10.0)  # [1/nm] edges; two to a lamella
        assert 2 / lines == pytest.approx(scene.truth["mean_spacing_nm"], rel=0.12)  # bent: a little longer

    def test_broken_lamellae_are_missing_in_part(self):
        view = View((300, 300), 10.0)
        whole, broken = (pearlite(view, spacing=200.0, seed=1, broken=share) for share in (0.0, 0.4))
        assert broken.truth["fraction"] == pytest.approx(0.6 * whole.truth["fraction"], rel=0.1)
        assert not ((broken.label == 1) & (whole.label == 0)).any()


class TestLaths:
    def test_width_by_crofton(self):
        widths = []
        for seed in range(4):
            scene = martensite(View((300, 300), 20.0), lath=200.0, seed=seed, laths_per_block=1.0)
            widths.append(2 / math.pi / crossings_per_nm(scene.instance, 20.0))
        # the mean of a log-normal is above its median; packets' boundaries and bends add crossings
        assert np.mean(widths) == pytest.approx(200 * math.exp(0.4**2 / 2), rel=0.2)

    def test_carbides_and_films(self):
        scene = martensite(View((256, 256), 20.0), lath=300.0, seed=1, carbides=0.1)
        assert scene.fractions()["carbide"] == pytest.approx(0.1, abs=0.03)
        films = [bainite(View((256, 256), 20.0), lath=300.0, seed=s).truth["fraction"] for s in range(4)]
        assert np.mean(films) == pytest.approx(0.12, rel=0.4)

    def test_needles_keep_to_their_grain_and_directions(self):
        view = View((300, 300), 20.0)
        scene = widmanstatten(view, length=2000.0, seed=2)
        whole = ~scene.objects.cut
        for row in np.flatnonzero(whole):
            area = scene.objects.whole(row, view.shape).sum() * 20.0**2
            assert area == pytest.approx(math.pi / 4 * scene.objects.diameter[row] ** 2, rel=0.15)
        length, width = scene.objects.axes[:, 0], scene.objects.axes[:, 1]
        assert np.median(length) == pytest.approx(2000, rel=0.25)
        assert np.median(length / width) == pytest.approx(14, rel=0.15)


class TestFields:
    @QUICK
    @given(seeds, st.floats(0.05, 0.95), st.booleans())
    def test_the_fraction_is_exact(self, seed, fraction, cubic):
        scene = two_phase(View((128, 128), 10.0), length=200.0, seed=seed, fraction=fraction, cubic=cubic)
        assert scene.fractions()["second phase"] == pytest.approx(fraction, abs=1e-3)

    def test_the_wavelength(self):
        scene = porous(View((512, 512), 10.0), length=400.0, seed=1)
        power = np.abs(np.fft.rfft2(scene.coverage - scene.coverage.mean())) ** 2
        k = np.hypot(np.fft.fftfreq(512, 10.0)[:, None], np.fft.rfftfreq(512, 10.0))
        ring = np.bincount((k * 5120).astype(int).ravel(), power.ravel())
        assert 5120 / (ring.argmax() + 0.5) == pytest.approx(400, rel=0.12)

    def test_cuboids(self):
        scene = cuboids(View((300, 300), 5.0), spacing=200.0, seed=1, fraction=0.55)
        assert scene.fractions()["gamma prime"] == pytest.approx(0.55, abs=0.001)
        whole = scene.objects.diameter[~scene.objects.cut]
        assert len(whole) / (1500 / 200) ** 2 > 0.5
        assert np.median(whole) == pytest.approx(math.sqrt(4 / math.pi * 0.55 / 0.93) * 200, rel=0.1)


class TestParticles:
    @QUICK
    @given(seeds, st.sampled_from(FORMS), st.floats(150, 400))
    def test_masks_have_the_area_of_the_diameter(self, seed, form, diameter):
        view = View((200, 200), 8.0)
        scene = deposited(view, diameter=diameter, seed=seed, form=form, spread=0.2)
        for row in np.flatnonzero(~scene.objects.cut):
            area = scene.objects.whole(row, view.shape).sum() * 8.0**2
            assert area == pytest.approx(math.pi / 4 * scene.objects.diameter[row] ** 2, rel=0.04)

    def test_sizes_are_log_normal(self):
        scene = deposited(View((1000, 1000), 10.0), diameter=150.0, seed=2, spread=0.4, cover=0.2)
        size = np.log(scene.objects.diameter[~scene.objects.cut])
        assert np.exp(np.median(size)) == pytest.approx(150, rel=0.1)
        assert size.std() == pytest.approx(0.4, rel=0.1)

    def test_stuck_spheres_touch_and_do_not_overlap(self):
        scene = deposited(
            View((400, 400), 10.0), diameter=300.0, seed=5, spread=0.0, clustering=1.0, overlap=0.0
        )
        offset = scene.objects.xy[:, None] - scene.objects.xy[None]
        gap = np.hypot(offset[..., 0], offset[..., 1]) - 300
        np.fill_diagonal(gap, np.inf)
        assert np.median(np.abs(gap).min(axis=1)) < 1e-6

    def test_cover_and_height(self):
        scene = deposited(View((400, 400), 10.0), diameter=250.0, seed=1, clustering=0.0, cover=0.5)
        assert scene.truth["fraction"] == pytest.approx(1 - math.exp(-0.5), abs=0.06)  # Boolean model
        alone = scene.objects.diameter[~scene.objects.cut].max()
        assert scene.height.max() > 0.9 * alone and scene.thickness.max() > 0.9 * alone
        assert np.all((scene.height > 0) == (scene.instance > 0))

    def test_spheroids_have_the_size_asked_for(self):
        scene = spheroidite(View((1000, 1000), 16.0), diameter=300.0, seed=2, fraction=0.04)
        label, count = ndimage.label(scene.coverage > 0.5)
        border = np.concatenate((label[0], label[-1], label[:, 0], label[:, -1]))
        whole = np.setdiff1d(np.arange(1, count + 1), border)
        area = ndimage.sum_labels(scene.coverage, label, whole) * 16.0**2
        assert np.median(2 * np.sqrt(area / np.pi)) == pytest.approx(300, rel=0.12)
        assert np.median(scene.objects.diameter) == pytest.approx(300, rel=0.12)


class TestComposites:
    def test_the_denuded_zone_is_as_wide_as_told(self):
        view = View((400, 400), 20.0)
        scene = ultrahigh_carbon(view, grain=5000.0, seed=3, film=0.02, denuded=0.08, needles=0.0)
        film, spheroids = (scene.label == ULTRAHIGH_CARBON.index(name) for name in ("network", "spheroidite"))
        distance = 20.0 * ndimage.distance_transform_edt(~film)
        assert distance[scene.instance > 0].min() > 0.85 * scene.truth["denuded_nm"]
        rim = spheroids & ~ndimage.binary_erosion(spheroids, border_value=1)
        inside = np.zeros_like(rim)
        inside[40:-40, 40:-40] = True
        assert np.median(distance[rim & inside]) == pytest.approx(scene.truth["denuded_nm"], rel=0.1)

    def test_the_film_is_as_thick_as_told(self):
        view = View((500, 500), 10.0)
        cells = voronoi(view, size=2500.0, rng=np.random.default_rng(6), exact=True)
        length = (cells.boundary < 50).mean() / 100  # [1/nm]
        scene = ultrahigh_carbon(view, grain=2500.0, seed=6, film=0.06)
        assert scene.fractions()["network"] / length == pytest.approx(scene.truth["film_nm"], rel=0.1)

    def test_a_constituent_looks_as_it_does_alone(self):
        scene = mixture(View((256, 256), 20.0), colony=2500.0, seed=1, constituents=("ferrite", "pearlite"))
        ferrite, pearlitic = (scene.label == number for number in (0, 1))
        assert scene.coverage[ferrite].max() == 0
        assert scene.coverage[pearlitic].mean() == pytest.approx(0.3, abs=0.04)
        kinds = scene.objects.kind[scene.instance[pearlitic] - 1]
        assert np.all(kinds == 1)


class TestStrands:
    def test_a_wire_is_as_wide_and_long_as_told(self):
        view = View((400, 400), 5.0)
        scene = strands(view, diameter=60.0, seed=1, slenderness=10.0, cover=0.3, spread=0.2)
        whole = np.flatnonzero(~scene.objects.cut)
        assert len(whole) > 12
        for row in whole:
            area = scene.objects.whole(row, view.shape).sum() * 5.0**2
            assert area == pytest.approx(math.pi / 4 * scene.objects.diameter[row] ** 2, rel=0.1)
        assert np.median(scene.objects.axes[:, 1]) == pytest.approx(60, rel=0.1)

    def test_fibres_bend_and_pile_up(self):
        straight, bent = (
            strands(View((200, 200), 10.0), diameter=80.0, seed=2, waviness=one, cover=1.5) for one in (0, 1)
        )
        assert (straight.label != bent.label).mean() > 0.1
        assert bent.height.max() > 1.4 * bent.objects.axes[:, 1].max()  # one over the other


class TestSurfaces:
    @pytest.mark.parametrize("pattern", PATTERNS)
    @pytest.mark.parametrize("hexagonal", [False, True])
    def test_arrays_have_their_pitch_and_size(self, pattern, hexagonal):
        view = View((400, 400), 5.0)
        scene = patterned(view, pitch=150.0, seed=1, pattern=pattern, duty=0.5, hexagonal=hexagonal)
        whole = ~scene.objects.cut
        if pattern == "lines":
            assert scene.truth["fraction"] == pytest.approx(0.5, abs=0.03)
            return
        assert np.median(scene.objects.diameter[whole]) == pytest.approx(75, rel=0.03)
        cell = 150**2 * (math.sqrt(3) / 2 if hexagonal else 1)
        assert scene.truth["fraction"] == pytest.approx(math.pi / 4 * 75**2 / cell, rel=0.06)
        offset = scene.objects.xy[whole][:, None] - scene.objects.xy[whole][None]
        gap = np.hypot(offset[..., 0], offset[..., 1])
        np.fill_diagonal(gap, np.inf)
        near = (np.abs(gap - 150) < 8).sum(axis=1)
        assert near.max() == (6 if hexagonal else 4)
        top = scene.height[scene.label == 1].mean() > scene.height[scene.label == 0].mean()
        assert top == (pattern == "pillars")

    def test_a_film_is_lower_in_its_cracks(self):
        scene = film(View((256, 256), 10.0), length=100.0, seed=1)
        assert scene.height[scene.label == 1].mean() < 0.4 * scene.height[scene.label == 0].mean()
        assert film(View((256, 256), 10.0), length=100.0, seed=1, cracks=0.0).truth["fraction"] == 0

    def test_a_tip_opens_as_told(self):
        scene = tip(View((400, 400), 5.0), length=10.0, seed=1, opening=40.0)
        wide = np.sort([part.sum() for axis in (0, 1) for part in np.split(scene.label == 1, 400, axis)])
        area, longest = (scene.label == 1).sum(), scene.objects.axes[0]
        assert area > 1000 and wide[-1] > 20
        triangle = math.tan(math.radians(20)) * (longest[0] / 5) ** 2
        assert 0.3 < area / triangle < 1.2

    def test_a_device_has_steps_along_two_axes(self):
        scene = device(View((200, 200), 10.0), length=200.0, seed=2)
        assert 0.1 < scene.truth["fraction"] < 0.95
        assert np.all(scene.height[scene.label == 1] > 0)
        assert (scene.height[scene.label == 0] > 0).mean() < 0.1  # the half pixel of an edge
