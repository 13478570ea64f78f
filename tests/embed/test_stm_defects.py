"""`stm-defects`: planted defects come back with their kind, extent and place; its refusals say why."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from micdb.embed.extractors.stm_defects import StmDefects
from micdb.embed.simulate.stm_defects import defect_topograph
from micdb.embed.stm.describe import LENGTH
from micdb.embed.stm.kinds import KINDS
from micdb.errors import UsageError
from micdb.populate.extractor import Extraction
from micdb.records import Picture, Refusal
from micdb.testing.extractors import ExtractorContract


def terrace(side=300, seed=0):
    return np.random.default_rng(seed).normal(0, 1, (side, side)).astype(np.float32)


def add(image, x, y, sigma, height):
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
    image += (height * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * sigma**2))).astype(np.float32)


def picture(image, pixel=0.2, modality="STM"):
    size = None if pixel is None else (pixel, pixel) if np.isscalar(pixel) else pixel
    return Picture(1, image[None], size, modality, None, "terrace")


def answer(asked, **parameters):
    (given,) = StmDefects(**parameters).extract([asked])
    return given


def rows(extraction):
    return extraction.tables["defects"].to_pandas()


@pytest.fixture(scope="module")
def planted():
    """Two small defects and two large ones on a tilted terrace beside a step."""
    image = terrace()
    for x, y, sigma, height in [
        (60, 70, 3.5, 15),
        (150, 60, 3.5, -15),
        (80, 200, 15, 12),
        (180, 220, 15, -12),
    ]:
        add(image, x, y, sigma, height)
    image += 0.05 * np.arange(300)[:, None].astype(np.float32)
    image[:, 240:] += 60
    return image


class TestContract(ExtractorContract):
    extractor = StmDefects

    @pytest.fixture
    def picture(self, planted):
        return picture(planted[:128, :200])


def test_planted_defects_come_back(planted):
    found = rows(answer(picture(planted)))
    for x, y, size, sign in [(60, 70, "small", "peak"), (150, 60, "small", "trough"),
                             (80, 200, "large", "peak"), (180, 220, "large", "trough")]:  # fmt: skip
        off = np.hypot(found.x_px - x, found.y_px - y)
        one = found.loc[off.idxmin()]
        assert off.min() < 4
        assert one.kind in KINDS
        assert one.kind.startswith(size)
        assert one.kind.endswith(sign)
        assert one.x_nm == pytest.approx(one.x_px * 0.2)
        left, top, width, height = one.box
        assert left < x < left + width
        assert top < y < top + height
        assert 0 < one.score <= 1
    assert len(found) <= 6


def test_the_size_follows_the_pixel_size(planted):
    found = rows(answer(picture(planted[:140, :220], pixel=0.8)))
    assert set(found.kind.str.partition("-")[0]) == {"large"}


def test_rollups_and_descriptor(planted):
    given = answer(picture(planted))
    assert given.rollups["n_defects"] == (len(rows(given)), None)
    assert given.rollups["analysed_area"] == (pytest.approx(60.0**2), "nm**2")
    assert all(len(one) == LENGTH for one in rows(given).descriptor)
    assert rows(given)[["formula", "key", "structure", "atoms"]].isna().all().all()


def test_a_descriptor_does_not_change_when_the_image_is_mirrored(planted):
    image = planted[:, :220]
    first, second = (rows(answer(picture(np.ascontiguousarray(one)))) for one in (image, image[:, ::-1]))
    at = (np.hypot(first.x_px - 60, first.y_px - 70)).idxmin()
    to = (np.hypot(219 - second.x_px - 60, second.y_px - 70)).idxmin()
    assert first.kind[at] == second.kind[to]
    np.testing.assert_allclose(first.descriptor[at], second.descriptor[to], atol=0.15)


def test_part_of_a_scan_keeps_its_places(planted):
    image = np.full((400, 300), np.nan, dtype=np.float32)
    image[100:] = planted
    found = rows(answer(picture(image)))
    assert np.hypot(found.x_px - 60, found.y_px - 170).min() < 4


def test_noise_holds_few_defects():
    area, false = 0.0, 0
    for seed in range(3):
        given = answer(picture(terrace(200, seed + 10)))
        false += len(rows(given))
        area += given.rollups["analysed_area"][0]
    assert false / area < 1 / 1000  # [nm**-2]


def test_simulated_topographs_are_those_of_their_seed():
    first = defect_topograph((96, 128), pixel_size=0.2, seed=4, diameter=3.0)
    again = defect_topograph((96, 128), pixel_size=0.2, seed=4, diameter=3.0)
    np.testing.assert_array_equal(first.image, again.image)
    assert first.image.shape == (96, 128)
    assert len(first.xy) == len(first.diameter) == len(first.height)
    assert first.image.min() >= 0
    assert first.image.max() <= 255


@pytest.mark.parametrize(("change", "reason"), [
    ({"pixel_size": None}, "no pixel size: without one small defects cannot be told from large ones"),
    ({"pixel_size": (3.0, 3.0)}, "pixel size 3 nm; defects need 2.5 nm or finer"),
    ({"pixel_size": (0.2, 0.3)}, "pixels of 0.3 x 0.2 nm; square ones are needed"),
    ({"pixel_size": (0.005, 0.005)}, "a field of 1.5 nm; at least 2 nm are needed"),
    ({"modality": "STEM"}, "modality STEM; defects are sought in STM and AFM topographs"),
    ({"pixels": np.ones((1, 64, 64), np.float32)}, "the image is blank"),
])  # fmt: skip
def test_refusals_say_why(planted, change, reason):
    refused = answer(replace(picture(planted), **change))
    assert isinstance(refused, Refusal)
    assert refused.reason.startswith(reason)


def test_an_unknown_modality_is_measured(planted):
    assert isinstance(answer(replace(picture(planted[:128, :128]), modality=None)), Extraction)


@pytest.mark.parametrize(("parameters", "message"), [
    ({"least_probability": 1.5}, "stm-defects: least_probability is 1.5; expected one between 0 and 1"),
    ({"weights": "mine.pt"}, "stm-defects: weights is 'mine.pt'; expected a file stm-defects.safetensors"),
])  # fmt: skip
def test_wrong_parameters_are_refused(parameters, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        StmDefects(**parameters)
