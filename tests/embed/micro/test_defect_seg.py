"""`defect-seg`: planted lines and objects come back with their length, number and size; refusals say why."""

from __future__ import annotations

import math

import numpy as np
import pytest

from micdb.embed.extractors.defect_seg import DefectSeg, probabilities
from micdb.embed.micro.foil_defects import weighted_median
from micdb.embed.micro.foil_maps import Calibration
from micdb.embed.nets import weights
from micdb.embed.simulate.microstructures.diffraction_contrast import Camera, Content, defect_image
from micdb.embed.simulate.microstructures.foil import Foil
from micdb.embed.simulate.microstructures.inclusions import Population
from micdb.embed.simulate.microstructures.view import View
from micdb.embed.train.foil_defects import FEW, HELD_OUT, scores
from micdb.errors import UsageError
from micdb.masks import Mask
from micdb.populate.extractor import Extraction
from micdb.records import Picture, Refusal
from micdb.testing.extractors import ExtractorContract

NONE = Population(0.0, 10.0)
FOIL = Foil(bending=0.3, wedge=0.1, buckle=0.1)
CAMERA = Camera(counts=2000.0, defocus=1000.0, mottle=0.02)


def foil(seed, side=256, **content):
    empty = {"lines": 0.0, "loops": NONE, "precipitates": NONE, "voids": NONE}
    return defect_image(
        View((side, side), 1.0), seed=seed, foil=FOIL, content=Content(**{**empty, **content}), camera=CAMERA
    )


def picture(image, pixel=1.0, modality="TEM"):
    size = None if pixel is None else (pixel, pixel) if np.isscalar(pixel) else pixel
    return Picture(1, np.asarray(image)[None], size, modality, None, "foil")


def answer(asked, **parameters):
    (given,) = DefectSeg(**parameters).extract([asked])
    return given


def particles(extraction):
    return extraction.tables["particles"].to_pandas()


@pytest.fixture(scope="module")
def crowded():
    return foil(
        3, 192, lines=5e-5, loops=Population(3e-4, 14.0), precipitates=Population(2e-4, 14.0, 0.2, (0.6, 0.8))
    )


class TestContract(ExtractorContract):
    extractor = DefectSeg

    @pytest.fixture
    def picture(self, crowded):
        return picture(crowded.image[:96, :128])


def test_the_length_of_lines_comes_back_with_its_density_in_the_foil():
    made = foil(1, 384, lines=8e-5)
    given = answer(picture(made.image), thickness_nm=100.0)
    length = made.truth["line_length_nm"]
    assert given.rollups["line_length"] == (pytest.approx(length, rel=0.2), "nm")
    per_area, unit = given.rollups["line_length_per_area"]
    assert unit == "1/nm"
    assert per_area == pytest.approx(given.rollups["line_length"][0] / 384**2)
    assert given.rollups["line_density"] == (pytest.approx(per_area * 4 / math.pi / 100), "1/nm**2")
    assert 0 < given.rollups["line_length_per_area_sd"][0] < per_area
    without = answer(picture(made.image)).rollups
    assert without["line_density"] == (None, "1/nm**2")


@pytest.mark.parametrize(("kind", "content"), [
    ("void", {"voids": Population(4e-4, 18.0, 0.1, (0.3, 0.4))}),
    ("precipitate", {"precipitates": Population(3e-4, 20.0, 0.1, (0.6, 0.8))}),
])  # fmt: skip
def test_objects_come_back_with_number_and_size(kind, content):
    made = foil(2, **content)
    given = answer(picture(made.image))
    rows = particles(given)
    mine = rows[rows["kind"] == kind]
    assert len(mine) > 0.8 * len(rows)
    whole = (made.objects.diameter / made.pixel_size)[~made.objects.cut]
    assert len(mine) == pytest.approx(len(made.objects), rel=0.25)
    assert given.rollups[f"{kind}_diameter"] == (pytest.approx(np.median(whole), rel=0.1), "nm")
    assert given.rollups[f"n_{kind}s"] == (len(mine), None)
    assert given.rollups[f"{kind}_density"][0] == pytest.approx(mine["weight"].sum() / 256**2)
    off = np.hypot(mine["x_nm"].to_numpy()[:, None] - made.objects.xy[:, 0],
                   mine["y_nm"].to_numpy()[:, None] - made.objects.xy[:, 1])  # fmt: skip
    assert np.median(off.min(axis=1)) < 1.5  # [nm], a twelfth of their size
    phases = given.tables["phases"].to_pandas().set_index("phase")["fraction"]
    assert phases[kind] == pytest.approx(made.masks[{"precipitate": 2, "void": 3}[kind]].mean(), rel=0.2)
    assert phases.sum() == pytest.approx(1.0, abs=0.01)


def test_a_foil_without_defects_shows_few():
    made = foil(5)
    given = answer(picture(made.image))
    assert given.rollups["line_length_per_area"][0] < 2e-4  # [1/nm], a hundredth of the one above
    assert len(particles(given)) <= 2


def test_the_mask_is_that_of_the_objects_and_unscanned_rows_are_unknown(crowded):
    image = np.full((220, 192), np.nan, dtype=np.float32)
    image[28:] = crowded.image
    given = answer(picture(image))
    (row,) = given.tables["masks"].to_pylist()
    mask = Mask.of_runs(row["labels"], row["lengths"], (220, 192), row["classes"])
    assert row["kind"] == "defects"
    assert mask.classes == ("none", "line", "loop", "precipitate", "void")
    assert (mask.labels[:28] == -1).all()
    assert (mask.labels[28:] >= 0).all()
    rows, plain = particles(given), particles(answer(picture(crowded.image)))
    np.testing.assert_allclose(rows["y_px"], plain["y_px"] + 28, atol=1e-3)
    for one in rows.itertuples():
        x, y, width, height = one.box
        kind = mask.classes.index(one.kind)
        assert (mask.labels[y : y + height, x : x + width] == kind).any()


def test_without_a_pixel_size_lengths_are_in_pixels(crowded):
    known, unknown = (answer(picture(crowded.image, pixel=one)) for one in (1.0, None))
    assert unknown.rollups["line_length"] == (None, "nm")
    assert unknown.rollups["line_length_px"] == known.rollups["line_length_px"]
    assert unknown.tables["particles"]["diameter_nm"].null_count == unknown.tables["particles"].num_rows
    np.testing.assert_array_equal(particles(known)["diameter_px"], particles(unknown)["diameter_px"])


def test_fine_pixels_are_brought_to_the_sampling_of_the_network(crowded):
    fine = np.repeat(np.repeat(crowded.image[:128, :128], 2, axis=0), 2, axis=1)
    probability = probabilities(fine, 0.15)
    assert probability.shape == (4, 256, 256)
    same = probabilities(crowded.image[:128, :128], 0.3)
    assert np.abs(probability[:, ::2, ::2] - same).mean() < 0.02


def test_a_dark_field_is_a_bright_field_turned_over(crowded):
    turned = crowded.image.max() - crowded.image
    expected = probabilities(crowded.image, 1.0)
    np.testing.assert_allclose(probabilities(turned, 1.0, dark_field=True), expected, atol=1e-3)
    assert np.abs(probabilities(turned, 1.0) - expected).max() > 0.5
    plain, dark = answer(picture(crowded.image)), answer(picture(turned), dark_field=True)
    assert dark.rollups["n_loops"] == plain.rollups["n_loops"]


def test_binning_finds_what_is_wide(crowded):
    wide = np.repeat(np.repeat(crowded.image, 3, axis=0), 3, axis=1)
    binned, plain = answer(picture(wide, pixel=1 / 3), binning=3), answer(picture(crowded.image))
    assert binned.rollups["n_loops"][0] == pytest.approx(plain.rollups["n_loops"][0], rel=0.2)
    assert binned.rollups["loop_diameter"][0] == pytest.approx(plain.rollups["loop_diameter"][0], rel=0.15)
    assert binned.rollups["line_length"][0] == pytest.approx(plain.rollups["line_length"][0], rel=0.1)


def lattice(side=128, period=7.3):
    y, x = np.mgrid[:side, :side] * 2 * math.pi / period
    noise = np.random.default_rng(0).normal(0, 0.3, (side, side))
    return np.cos(x) + np.cos(0.5 * x + 0.87 * y) + noise


@pytest.mark.parametrize(("asked", "reason"), [
    (picture(np.eye(96), modality="SEM"), "modality SEM; defects in foils show in TEM and STEM images"),
    (picture(np.eye(96), modality="diffraction"), "a diffraction pattern shows no defects in real space"),
    (picture(np.eye(96), pixel=0.02), "pixel size 0.02 nm, where atoms show: `stem-defects` finds point"),
    (picture(np.eye(96), pixel=8.0), "pixel size 8 nm; defects in foils need 5 nm or finer"),
    (picture(np.eye(96), pixel=(1.0, 2.0)), "pixels of 2 x 1 nm; square ones are needed"),
    (picture(np.eye(96), pixel=(-1.0, 1.0)), "pixel size (-1.0, 1.0) nm; positive numbers are needed"),
    (picture(lattice(), pixel=None), "a lattice with a period of 7."),
    (picture(np.eye(40)), "40 x 40 pixels; at least 64 are needed each way"),
    (picture(np.ones((96, 96))), "the image is blank: every pixel has the same value"),
])  # fmt: skip
def test_refusals_say_why(asked, reason):
    refused = answer(asked)
    assert isinstance(refused, Refusal)
    assert refused.reason.startswith(reason)


@pytest.mark.parametrize(("parameters", "message"), [
    ({"least_probability": 1.0}, "defect-seg: least_probability is 1.0; expected one between 0 and 1"),
    ({"binning": 0}, "defect-seg: binning is 0; expected a whole number of pixels, 1 or more"),
    ({"thickness_nm": -5.0}, "defect-seg: parameter thickness_nm is -5.0; expected the thickness"),
])  # fmt: skip
def test_wrong_parameters_are_refused(parameters, message):
    with pytest.raises(UsageError, match=message):
        DefectSeg(**parameters)


def test_what_does_not_fit_into_memory_is_refused(monkeypatch):
    monkeypatch.setattr("micdb.embed.extractors.defect_seg._MOST", 8000)
    noise = np.random.default_rng(0).normal(size=(160, 160))
    reason = "160 x 160 pixels, more than fit into memory: crop it, or say binning=2"
    assert answer(picture(noise)).reason == reason
    assert isinstance(answer(picture(noise), binning=2), Extraction)


def test_frames_are_measured_one_by_one(crowded):
    film = Picture(1, np.stack([crowded.image, crowded.image]), (1.0, 1.0), "TEM", None, "film")
    one, two = answer(picture(crowded.image)), answer(film)
    assert isinstance(two, Extraction)
    assert two.tables["masks"].num_rows == 2
    for name in ("line_length", "line_length_per_area", "n_loops", "loop_density", "loop_diameter"):
        assert two.rollups[name][0] == pytest.approx(one.rollups[name][0], rel=0.01)
    assert two.rollups["loop_density_sd"][0] < one.rollups["loop_density_sd"][0]


def test_a_median_counts_what_each_stands_for():
    values, weight = np.arange(1.0, 10.0), np.ones(9)
    assert weighted_median(values, weight)[0] == pytest.approx(5.0)
    weight[6:] = 9.0  # large ones are cut off by the edge more often
    assert weighted_median(values, weight)[0] > 7.0
    assert weighted_median(values[:3], weight[:3])[1] is None
    assert weighted_median(values[:0], weight[:0]) == (None, None)


def test_the_shipped_file_reaches_what_its_card_says():
    card = weights.card("defect-seg")
    calibration = Calibration(*(tuple(card.measured["calibration"][one]) for one in ("slope", "offset")))
    overlap, off = scores(weights.unet("defect-seg"), calibration, range(HELD_OUT, HELD_OUT + FEW))
    np.testing.assert_allclose(overlap, card.measured["iou_of_few"], atol=0.005)
    assert (off < 0.2).all()
