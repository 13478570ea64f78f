"""Defects in a foil: lengths, numbers and diameters are those drawn; contrast follows the theory."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from micdb.embed.simulate.microstructures.diffraction_contrast import (
    DEFECTS,
    Camera,
    Content,
    defect_image,
)
from micdb.embed.simulate.microstructures.dislocations import Line, shade
from micdb.embed.simulate.microstructures.foil import Foil, beams
from micdb.embed.simulate.microstructures.inclusions import Population
from micdb.embed.simulate.microstructures.view import View

VIEW = View((256, 256), 1.5)
NONE = Population(0.0, 10.0)
LINES = Content(lines=3e-4, loops=NONE, precipitates=NONE, voids=NONE)
EVEN = Foil(wedge=0.0, bending=0.0, buckle=0.0, deviation=0.0)
QUICK = settings(max_examples=6, deadline=None, derandomize=True)


class TestLines:
    @QUICK
    @given(st.integers(0, 10_000))
    def test_the_length_is_that_of_the_lines_drawn(self, seed):
        one = defect_image(VIEW, seed=seed, content=LINES)
        drawn = sum(np.hypot(*np.diff(line, axis=0).T).sum() for line in one.lines if len(line) > 1)
        assert drawn == pytest.approx(one.truth["line_length_nm"], rel=0.05)
        assert one.truth["line_length_3d_nm"] > one.truth["line_length_nm"]
        volume = VIEW.area * Foil().thickness
        assert one.truth["line_density_nm-2"] == pytest.approx(one.truth["line_length_3d_nm"] / volume)

    def test_the_mask_is_the_line_as_wide_as_its_image(self):
        content = replace(LINES, lines=5e-5, waviness=0.1)
        area = length = 0.0
        for seed in range(6):
            one = defect_image(VIEW, seed=seed, foil=EVEN, content=content)
            area += one.masks[0].sum() * VIEW.pixel_size**2
            length += one.truth["line_length_nm"]
        assert area / length == pytest.approx(EVEN.image_width, rel=0.12)

    def test_the_density_asked_for_on_average(self):
        view = View((96, 96), 4.0)
        density = [defect_image(view, seed=s, content=LINES).truth["line_density_nm-2"] for s in range(24)]
        assert np.mean(density) == pytest.approx(3e-4, rel=0.15)

    def test_lines_are_dark_in_bright_field_and_bright_in_dark_field(self):
        for dark, sign in ((False, -1), (True, 1)):
            one = defect_image(VIEW, seed=2, foil=EVEN, content=LINES, camera=Camera(dark_field=dark))
            inside, outside = one.clean[one.masks[0]].mean(), one.clean[~one.masks[0]].mean()
            assert sign * (inside - outside) > 0.15 * outside

    def test_an_inclined_line_beats_with_the_extinction_distance(self):
        """Along one line from surface to surface, minima of contrast lie an extinction distance apart."""
        foil = replace(EVEN, thickness=105.0, extinction=35.0)
        view, xy = View((60, 500), 1.0), np.column_stack((np.arange(50.0, 450.0), np.full(400, 30.0)))
        line = Line(xy, 1.0, math.atan(105 / 400), strength=0.8, double=False, phase=0.0)
        intensity, mask = np.ones(view.shape), np.zeros(view.shape, dtype=bool)
        shade(intensity, mask, line, view=view, foil=foil, excited=np.ones(view.shape))
        contrast = 1 - intensity.min(axis=0)[52:448]
        (weakest,) = signal.argrelmin(contrast, order=40)
        assert np.median(np.diff(np.concatenate(([-2], weakest, [398])))) == pytest.approx(400 / 3, rel=0.06)
        middle = intensity.argmin(axis=0)[52:448]
        assert set(middle) >= {28, 29, 31, 32}  # from side to side: a zig-zag
        assert mask.any(axis=0).sum() == pytest.approx(400, abs=2)


class TestObjects:
    def test_diameters_and_numbers(self):
        content = Content(
            lines=0.0, loops=Population(2e-4, 30.0), precipitates=Population(1e-4, 24.0),
            voids=Population(3e-4, 15.0, 0.3),
        )  # fmt: skip
        view = View((400, 400), 1.5)
        one = defect_image(view, seed=1, content=content)
        for number, (name, density, diameter) in enumerate(
            [("loop", 2e-4, 30.0), ("precipitate", 1e-4, 24.0), ("void", 3e-4, 15.0)], start=1
        ):
            assert one.truth[f"{name}s"] == (one.objects.kind == number).sum()
            assert one.truth[f"{name}s"] == pytest.approx(density * view.area, rel=0.35)
            assert one.truth[f"{name}_diameter_nm"] == pytest.approx(diameter, rel=0.15)
            assert DEFECTS[number] == name

    def test_masks_are_the_objects(self):
        one = defect_image(VIEW, seed=4)
        for row, kind in enumerate(one.objects.kind):
            whole = one.objects.whole(row, VIEW.shape)
            assert one.masks[kind][whole].all()
            if not one.objects.cut[row] and one.objects.diameter[row] > 9:
                area = whole.sum() * VIEW.pixel_size**2
                assert area == pytest.approx(math.pi / 4 * one.objects.diameter[row] ** 2, rel=0.12)
        np.testing.assert_array_equal(one.masks[1:].any(axis=0), one.instance > 0)

    @pytest.mark.parametrize("defocus", [1000.0, -1000.0])
    def test_voids_have_a_rim_that_turns_with_the_focus(self, defocus):
        content = Content(
            lines=0.0, loops=NONE, precipitates=NONE, voids=Population(5e-5, 20.0, 0.05, (0.4, 0.4))
        )
        camera = Camera(defocus=defocus, blur=0.1, mottle=0.0)
        assert abs(camera.fringe) == pytest.approx(math.sqrt(2.508e-3 * 1000), rel=0.01)  # [nm]
        view = View((400, 400), 0.5)
        plain, rimmed = (
            defect_image(view, seed=3, foil=EVEN, content=content, camera=one).clean
            for one in (replace(camera, defocus=0.0), camera)
        )
        mask = defect_image(view, seed=3, foil=EVEN, content=content, camera=camera).masks[3]
        gain = rimmed / plain
        assert (gain[mask].mean() > 1.02) == (defocus > 0)
        assert (gain[mask].max() > 1.2) == (defocus > 0)
        assert (gain[~mask].min() < 0.8) == (defocus > 0)


class TestFoil:
    def test_fringes_repeat_with_the_extinction_distance(self):
        foil = Foil(
            thickness=100.0, wedge=1.0, extinction=20.0, deviation=0.0, bending=0.0, buckle=0.0, spread=0.0
        )
        beam = beams(View((300, 300), 1.0), foil, np.random.default_rng(1))
        order = beam.thickness / 20
        bright = np.abs(order - 3.5) < 0.03
        dark = np.abs(order - 3.0) < 0.03
        left = np.exp(-beam.thickness / foil.absorption)
        fringe = np.exp(-math.pi * 0.05 * order)
        np.testing.assert_allclose(
            (beam.dark / left)[bright], (0.5 * (1 - fringe) + fringe)[bright], atol=0.02
        )
        np.testing.assert_allclose((beam.dark / left)[dark], (0.5 * (1 - fringe))[dark], atol=0.02)

    @QUICK
    @given(st.integers(0, 1000), st.floats(20, 300), st.floats(15, 60), st.floats(-3, 3))
    def test_no_beam_is_more_than_what_came(self, seed, thickness, extinction, deviation):
        foil = Foil(thickness=thickness, extinction=extinction, deviation=deviation, bending=5.0)
        beam = beams(View((48, 48), 4.0), foil, np.random.default_rng(seed))
        assert min(beam.bright.min(), beam.dark.min()) >= -1e-9
        assert (beam.bright + beam.dark).max() <= 1
        assert foil.image_width == pytest.approx(extinction / 3 / math.sqrt(1 + deviation**2))


def test_the_same_defects_at_any_pixel_size():
    coarse, fine = (defect_image(view, seed=5) for view in (View((128, 128), 3.0), VIEW))
    for name, value in coarse.truth.items():
        assert value == pytest.approx(fine.truth[name], rel=0.03, abs=1.5), name
    binned = fine.masks.reshape(4, 128, 2, 128, 2).mean(axis=(2, 4)) >= 0.5
    overlap = (binned & coarse.masks).sum((1, 2)) / (binned | coarse.masks).sum((1, 2))
    assert overlap.min() > 0.7


def test_seeded_and_counted():
    one, same, other = (defect_image(VIEW, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.image, same.image)
    assert np.abs(one.clean - other.clean).max() > 10
    noise = (one.image - one.clean) / np.sqrt(one.clean)
    assert noise.std() == pytest.approx(1, abs=0.02) and abs(noise.mean()) < 0.02
