"""Stored micrographs as extractors see them."""

from __future__ import annotations

import warnings
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import numpy as np
import pytest

from micdb import opening
from micdb.populate.pictures import as_grey_stack, load_pictures

DATA = Path(__file__).parents[2] / "data"
dm, emd, tiff = (SimpleNamespace(**run_path(str(DATA / name / "make.py"))) for name in ("dm", "emd", "tiff"))
IMAGE = np.arange(5 * 6, dtype=np.int16).reshape(5, 6)


@pytest.fixture
def empty(tmp_path):
    with opening.init(tmp_path / "empty.micdb") as opened:
        yield opened


def load(db, images):
    return list(load_pictures(db.engine, db.root, images))


def test_pictures_come_in_the_order_asked_for_as_float32_stacks(db):
    pictures = load(db, [4, 1])
    assert [picture.image for picture in pictures] == [4, 1]
    assert [picture.name for picture in pictures] == ["image003", "image000"]
    assert [picture.pixels.shape for picture in pictures] == [(1, 6, 9), (1, 12, 10)]
    assert {picture.pixels.dtype for picture in pictures} == {np.dtype(np.float32)}
    assert pictures[0].pixel_size == (0.5, 0.5)


def test_an_unknown_scale_is_none_and_never_one(empty, tmp_path):
    empty.ingest(tiff.write(tmp_path / "a.tif", IMAGE))
    assert load(empty, [1])[0].pixel_size is None


def test_the_scale_is_y_before_x(empty, tmp_path):
    axes = [("y", "[n_m]", np.arange(5) * 0.5), ("x", "[n_m]", np.arange(6) * 0.25)]
    empty.ingest(emd.write_ncem(tmp_path / "a.emd", {"one": (IMAGE, axes)}))
    assert load(empty, [1])[0].pixel_size == (0.5, 0.25)


def test_a_diffraction_pattern_has_no_length_scale(empty, tmp_path):
    axes = [dm.axis(0.5, "1/nm"), dm.axis(0.5, "1/nm")]
    empty.ingest(dm.write(tmp_path / "a.dm3", dm.image(IMAGE, axes=axes)))
    (picture,) = load(empty, [1])
    assert (picture.modality, picture.pixel_size) == ("diffraction", None)


def test_colour_becomes_luminance(empty, tmp_path):
    rgb = np.zeros((5, 6, 3), np.uint8)
    rgb[0, 0], rgb[0, 1], rgb[0, 2], rgb[0, 3] = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
    empty.ingest(tiff.write(tmp_path / "a.tif", rgb, photometric="rgb"))
    pixels = load(empty, [1])[0].pixels
    assert pixels.shape == (1, 5, 6)
    np.testing.assert_allclose(pixels[0, 0, :4], 255 * np.array([0.299, 0.587, 0.114, 1]), rtol=1e-6)


def test_leading_axes_become_frames_and_nan_is_kept():
    stack = np.arange(2 * 3 * 4 * 5, dtype=np.float64).reshape(2, 3, 4, 5)
    stack[1, 2, 0, 0] = np.nan
    grey = as_grey_stack(stack, colour=False)
    assert grey.shape == (6, 4, 5)
    assert np.isnan(grey[5, 0, 0])
    np.testing.assert_array_equal(grey[0], stack[0, 0])


def test_complex_numbers_become_magnitudes():
    np.testing.assert_array_equal(as_grey_stack(np.array([[3 + 4j, 1j]]), colour=False), [[[5, 1]]])


def test_beyond_float32_is_infinite_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stack = as_grey_stack(np.array([[1e300, 1.0]]), colour=False)
    np.testing.assert_array_equal(stack, np.array([[[np.inf, 1.0]]], dtype=np.float32))
