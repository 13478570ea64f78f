from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from micdb.store.thumbnail import thumbnail


def opened(pixels, colour=False):
    image = Image.open(io.BytesIO(thumbnail(pixels, colour=colour)))
    assert image.format == "PNG"
    return np.asarray(image)


@pytest.mark.parametrize(
    ("shape", "side"), [((300, 600), (64, 128)), ((20, 30), (20, 30)), ((5000, 1), (128, 1))]
)
def test_it_fits_and_is_never_enlarged(shape, side):
    assert opened(np.zeros(shape, np.uint16)).shape == side


def test_hot_pixels_do_not_darken_the_rest():
    pixels = np.tile(np.linspace(0, 100, 100), (100, 1))
    pixels[0, 0] = 1e12
    shown = opened(pixels)
    assert shown[50, 95] > 230
    assert shown[50, 5] < 25


def test_nan_is_black_and_all_nan_is_a_picture():
    pixels = np.full((10, 10), 5.0)
    pixels[:5] = 9.0
    pixels[0, 0] = np.nan
    assert opened(pixels)[0, 0] == 0
    assert not opened(np.full((4, 4), np.nan)).any()


def test_a_stack_shows_its_first_frame_and_complex_its_magnitude():
    ramp = np.tile(np.arange(32.0), (32, 1))
    stack = np.stack([ramp, np.zeros((32, 32))])
    np.testing.assert_array_equal(opened(stack), opened(ramp))
    np.testing.assert_array_equal(opened(ramp * 1j), opened(ramp))


def test_colour_is_shown_as_it_is():
    pixels = np.zeros((8, 9, 4), np.uint8)
    pixels[..., 1] = 77
    shown = opened(pixels, colour=True)
    assert shown.shape == (8, 9, 3)
    assert (shown == [0, 77, 0]).all()
