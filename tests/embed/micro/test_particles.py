"""`particles`: those that touch are parted, counted and measured; edges are weighed; refusals say why."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from micdb.analysis.sizes import size_distribution
from micdb.embed.extractors.particles import Particles
from micdb.embed.simulate.microstructures.mass_thickness import Transmission, look_through
from micdb.embed.simulate.microstructures.particles import deposited, spheroidite
from micdb.embed.simulate.microstructures.sem import Detector, scan
from micdb.embed.simulate.microstructures.view import View
from micdb.embed.train.particle_scores import f1, matched
from micdb.errors import UsageError
from micdb.masks import Mask
from micdb.records import Picture, Refusal
from micdb.testing.extractors import ExtractorContract

DETECTOR = Detector(electrons=100.0, blur=8.0, topography=0.0, shadow=0.0)
PIXEL = 10.0  # [nm]


def deposit(seed, shape=(192, 224), **given):
    told = {"diameter": 220.0, "cover": 0.3, "spread": 0.15, "clustering": 0.2, "layer": True, **given}
    return deposited(View(shape, PIXEL), seed=seed, **told)


def picture(pixels, **changed):
    plain = Picture(1, np.asarray(pixels, np.float32)[None], (PIXEL, PIXEL), "SEM", None, "particles")
    return replace(plain, **changed)


def answer(asked, **parameters):
    (given,) = Particles(**parameters).extract([asked])
    return given


def by_threshold(asked, **parameters):
    return answer(asked, method="threshold", **parameters)


def table(given):
    return given.tables["particles"].to_pandas()


def labels_of(given):
    (mask,) = given.tables["masks"].to_pylist()
    return Mask.of_runs(mask["labels"], mask["lengths"], (mask["height_px"], mask["width_px"])).labels


@pytest.fixture(scope="module")
def touching():
    made = deposit(3)
    return made, by_threshold(picture(scan(made, DETECTOR, seed=1)))


class TestContract(ExtractorContract):
    extractor = Particles

    @pytest.fixture
    def picture(self):
        return picture(scan(deposit(2, (96, 112)), DETECTOR, seed=0))


@pytest.fixture(scope="module")
def crowded():
    """Return particles that overlap on an uneven support, and what the network says of them."""
    made = deposit(5, diameter=160.0, cover=0.5, clustering=0.7, overlap=0.25, layer=False)
    through = Transmission(dark=True, mean_free_path=150.0, support=0.3, uneven=0.6, support_length=500.0,
                           counts=200.0, blur=8.0)  # fmt: skip
    image = look_through(made, through, seed=3)[0]
    return made, image, answer(picture(image, modality="STEM"))


def test_the_network_finds_what_a_threshold_does_not(crowded):
    made, image, given = crowded
    plain = by_threshold(picture(image, modality="STEM"))
    ours, theirs = (f1([matched(made.instance, labels_of(one))])[2] for one in (given, plain))
    assert ours > theirs + 0.2


def test_particles_have_a_score(crowded):
    _, image, given = crowded
    score = table(given).score
    assert score.between(0.3, 1).all()
    sure = answer(picture(image, modality="STEM"), least_score=0.8)
    assert len(table(sure)) == (score >= 0.8).sum()
    np.testing.assert_array_equal(np.bincount(labels_of(given).ravel())[1:], table(given).area_px)


def test_the_size_in_pixels_need_not_be_known(crowded):
    _, image, given = crowded
    larger = np.kron(image, np.ones((2, 2)))
    found = answer(picture(larger, pixel_size=(PIXEL / 2, PIXEL / 2), modality="STEM"))
    assert len(table(found)) == pytest.approx(len(table(given)), rel=0.3)
    whole = [one[~one.on_edge].diameter_nm.median() for one in map(table, (found, given))]
    assert whole[0] == pytest.approx(whole[1], rel=0.15)


def test_noise_shows_no_particles():
    noise = np.random.default_rng(0).poisson(50.0, (192, 192))
    assert answer(picture(noise)).rollups["n_particles"][0] <= 3
    assert by_threshold(picture(noise)).rollups["n_particles"][0] > 10


def test_methods_that_are_none_are_named():
    with pytest.raises(UsageError, match="method is 'otsu'; expected network or threshold"):
        Particles(method="otsu")
    with pytest.raises(UsageError, match="least_score is 1.5; expected one between 0 and 1"):
        Particles(least_score=1.5)
    with pytest.raises(UsageError, match="weights and method='threshold' exclude one another"):
        Particles(method="threshold", weights="segment.safetensors", phase="particle")


def test_particles_that_touch_are_parted_counted_and_measured(touching):
    made, given = touching
    rows, objects = table(given), made.objects
    hits = matched(made.instance, labels_of(given))
    assert f1([hits])[2] > 0.8
    assert len(rows) == pytest.approx(len(objects), rel=0.2)
    whole = rows[~rows.on_edge]
    assert whole.diameter_nm.median() == pytest.approx(np.median(objects.diameter[~objects.cut]), rel=0.1)
    assert whole.diameter_nm.to_numpy() == pytest.approx(PIXEL * whole.diameter_px.to_numpy())
    off = rows.x_nm.to_numpy()[hits.found - 1] - objects.xy[hits.truth - 1, 0]
    assert np.median(np.abs(off[~objects.cut[hits.truth - 1]])) < PIXEL


def test_rows_masks_and_rollups_tell_the_same(touching):
    _, given = touching
    rows, labels = table(given), labels_of(given)
    assert rows.idx.tolist() == list(range(len(rows)))
    np.testing.assert_array_equal(np.bincount(labels.ravel())[1:], rows.area_px)
    assert (rows.weight[rows.on_edge] == 0).all()
    assert (rows.weight[~rows.on_edge] > 1).all()
    assert rows.score.isna().all()
    assert given.rollups["n_particles"] == (len(rows), None)
    area = labels.size * PIXEL**2
    assert given.rollups["particle_density"] == (pytest.approx(rows.weight.sum() / area), "1/nm**2")
    assert given.rollups["particle_cover"][0] == pytest.approx((labels > 0).mean())
    found = size_distribution(rows, area_nm2={1: area}, draws=20)
    assert found["median"] == pytest.approx(given.rollups["particle_diameter"][0], rel=0.02)
    assert found["density"] == pytest.approx(given.rollups["particle_density"][0])


@pytest.mark.parametrize("dark", [True, False])
def test_particles_that_are_looked_through(dark):
    made = deposit(7)
    through = Transmission(dark=dark, mean_free_path=150.0, support=0.1, support_length=900.0, counts=300.0,
                           blur=6.0)  # fmt: skip
    given = by_threshold(picture(look_through(made, through, seed=3)[0], modality="STEM"))
    assert f1([matched(made.instance, labels_of(given))])[2] > 0.75


def test_what_is_a_particle_can_be_said(touching):
    made, given = touching
    image = scan(made, DETECTOR, seed=1).astype(np.float64)
    np.testing.assert_array_equal(labels_of(by_threshold(picture(image), bright=True)), labels_of(given))
    dark = labels_of(by_threshold(picture(1e4 - 7 * image), bright=False))
    assert ((dark > 0) == (labels_of(given) > 0)).mean() > 0.98  # the histogram has other bins
    between = by_threshold(picture(image), bright=False).rollups["particle_cover"][0]
    assert between > 1.2 * given.rollups["particle_cover"][0]
    large = by_threshold(picture(image), least_px=500)
    assert table(large).area_px.min() >= 500


def test_without_a_scale_there_are_pixels_only(touching):
    made, given = touching
    rows = table(by_threshold(picture(scan(made, DETECTOR, seed=1), pixel_size=None)))
    np.testing.assert_allclose(rows.diameter_px, table(given).diameter_px)
    assert rows[["diameter_nm", "area_nm2", "x_nm", "major_nm"]].isna().all(axis=None)
    assert rows.weight.sum() == pytest.approx(table(given).weight.sum())


def test_what_was_not_scanned_has_no_particles(touching):
    made, _ = touching
    pixels = scan(made, DETECTOR, seed=1).astype(np.float64)
    pixels[150:] = np.nan
    given = by_threshold(picture(pixels))
    assert (labels_of(given)[150:] == -1).all()
    assert table(given).y_px.max() < 150


def test_refusals_say_why():
    pixels = scan(deposit(2, (96, 112)), DETECTOR, seed=0)
    for changed, told in [
        ({"modality": "diffraction"}, "a diffraction pattern shows no particles in real space"),
        ({"modality": "STM"}, "modality STM; particles are sought in SEM, TEM, STEM, optical images"),
        ({"pixel_size": (math.nan, 1.0)}, "positive numbers are needed"),
        ({"pixel_size": (0.01, 0.01)}, "nm across: atoms, which `stem-atoms` and `lattice` measure"),
    ]:
        given = answer(picture(pixels, **changed))
        assert isinstance(given, Refusal), changed
        assert told in given.reason
    assert "the image is blank" in by_threshold(picture(np.ones((64, 64)))).reason
    with pytest.raises(UsageError, match="blur_px is -1; expected a length in pixels"):
        Particles(blur_px=-1)
    with pytest.raises(UsageError, match="least_px is 0; expected an area in pixels"):
        Particles(least_px=0)
    with pytest.raises(UsageError, match="bright is 'dark'; expected true, false or none"):
        Particles(bright="dark")


def test_sizes_of_spheroids_come_back():
    made = spheroidite(View((384, 384), PIXEL), diameter=200.0, seed=4, fraction=0.1, spread=0.3)
    rows = table(by_threshold(picture(scan(made, replace(DETECTOR, edge=0.0), seed=2)), least_px=60))
    found = size_distribution(rows, draws=50)
    there = made.objects.diameter[~made.objects.cut]
    assert found["median"] == pytest.approx(np.median(there), rel=0.1)
