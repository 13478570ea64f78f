"""PNG: contrast for eyes, exact values on request, and a bar that is as long as it says."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from micdb.bundle.png import scale_bar
from micdb.records import Axis


def exported(lab, tmp_path, **options):
    done = lab.db.export(lab.db.images, tmp_path / "out", as_="png", **options)
    return [tmp_path / "out" / name for image in done.images for name in image.files], done


def test_grey_values_run_from_the_1st_to_the_99th_percentile(lab, tmp_path):
    pixels = np.linspace(-5, 5, 10_000, dtype=np.float32).reshape(100, 100)
    pixels[0, 0] = np.nan
    lab.add(pixels)
    (path,), _ = exported(lab, tmp_path)
    picture = np.asarray(Image.open(path))
    low, high = np.nanpercentile(pixels, (1, 99))
    expected = np.clip((pixels - low) / (high - low), 0, 1) * 255
    assert picture.dtype == np.uint8
    assert picture[0, 0] == 0
    assert np.abs(picture - np.nan_to_num(expected, nan=0)).max() <= 1


def test_one_file_per_frame(lab, ramp, tmp_path):
    uid = lab.add(ramp((2, 6, 8, 9), "uint8"), leading=("frame", "frame_1"))
    paths, _ = exported(lab, tmp_path, raw=True)
    assert [path.name for path in paths] == [f"grain_boundary-{uid[-8:]}_{i:02d}.png" for i in range(12)]
    pixels = lab.db.image(uid).pixels().reshape(12, 8, 9)
    for path, frame in zip(paths, pixels, strict=True):
        assert np.array_equal(np.asarray(Image.open(path)), frame)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("samples", [0, 3, 4])
def test_raw_values_are_exact(lab, ramp, tmp_path, dtype, samples):
    import imagecodecs

    shape = (9, 7, samples) if samples else (9, 7)
    pixels = (ramp(shape).astype(np.uint32) * 331).astype(dtype)
    lab.add(pixels, colour=bool(samples))
    (path,), _ = exported(lab, tmp_path, raw=True)
    stored = imagecodecs.png_decode(path.read_bytes())
    assert (stored.dtype, stored.tolist()) == (np.dtype(dtype), pixels.tolist())


def test_raw_truth_is_black_and_white(lab, tmp_path):
    lab.add(np.array([[True, False], [False, False]]))
    (path,), _ = exported(lab, tmp_path, raw=True)
    assert np.asarray(Image.open(path)).tolist() == [[255, 0], [0, 0]]


@pytest.mark.parametrize("dtype", ["float32", "int16", "complex64"])
def test_raw_refuses_what_png_cannot_hold(lab, ramp, tmp_path, dtype):
    lab.add(ramp((4, 5), dtype), name="no")
    lab.add(ramp((4, 5)))
    _, done = exported(lab, tmp_path, raw=True)
    assert [(one.name, one.reason) for one in done.refused] == [
        ("no", f"PNG cannot hold {dtype} exactly; leave out --raw, or export as ome-tiff or nexus")
    ]


def test_complex_pixels_show_their_magnitude_and_8_bit_colours_stay(lab, ramp, tmp_path):
    lab.add(ramp((40, 50), "complex64"), name="a")
    colours = ramp((6, 7, 3), "uint8")
    lab.add(colours, colour=True, name="b")
    (grey, rgb), _ = exported(lab, tmp_path)
    assert Image.open(grey).mode == "L"
    assert np.array_equal(np.asarray(Image.open(rgb)), colours)


@pytest.mark.parametrize(
    ("step", "unit", "width", "label", "length"),
    [
        (0.5, "nm", 1000, "100 nm", 100 / 0.5),
        (0.21, "nm", 768, "20 nm", 20 / 0.21),
        (2.1, "nm", 1000, "500 nm", 500 / 2.1),
        (200.0, "nm", 2048, "100 µm", 100_000 / 200),
        (0.004, "nm", 1000, "1 nm", 250),
        (0.0003, "nm", 1000, "50 pm", 0.05 / 0.0003),
        (5e6, "nm", 1000, "1000 mm", 200),
        (0.02, "1/nm", 768, "2 1/nm", 100),
        (0.0001, "1/nm", 1024, "20 1/µm", 200),
    ],
)
def test_lengths_are_of_the_series_1_2_5_and_at_most_a_quarter(step, unit, width, label, length):
    bar = scale_bar(step, unit, width)
    assert bar.label == label
    assert bar.pixels == pytest.approx(length)
    assert 0.09 * width < bar.pixels <= 0.2500001 * width


def test_the_bar_in_the_picture_is_as_long_as_it_says(lab, tmp_path):
    axes = Axis("y", 300, 0.4, 0.0, "nm"), Axis("x", 400, 0.2, 0.0, "nm")
    rng = np.random.default_rng(0)
    lab.add(rng.normal(size=(300, 400)).astype(np.float32), axes=axes)
    (path,), done = exported(lab, tmp_path, scale_bar=True)
    assert done.images[0].notes == ()
    picture = np.asarray(Image.open(path))
    runs = [longest_run(row) for row in picture[200:]]
    assert max(runs) == 20 / 0.2  # the bar says 20 nm: the longest of the series within 80 nm / 4


def longest_run(row):
    edges = np.flatnonzero(np.diff(np.concatenate([[0], (row == 255).astype(int), [0]])))
    return int((edges[1::2] - edges[::2]).max(initial=0))


def test_an_image_without_scale_or_too_small_says_why_it_has_no_bar(lab, ramp, nm, tmp_path):
    lab.add(ramp((80, 80), "float32"), name="a")
    lab.add(ramp((20, 80), "float32"), axes=nm(20, 80), name="b")
    _, done = exported(lab, tmp_path, scale_bar=True)
    assert [one.notes for one in done.images] == [
        ("no scale bar: the pixel size is unknown",),
        ("no scale bar: the image is smaller than 64 pixels",),
    ]


@pytest.mark.parametrize(
    "pixels",
    [
        np.full((5, 6), np.nan, np.float32),
        np.full((5, 6), 7, np.uint8),
        np.array([[np.finfo(np.float64).max, -np.finfo(np.float64).max], [0, np.inf]]),
    ],
)
def test_hostile_values_give_a_picture(lab, tmp_path, pixels):
    lab.add(pixels)
    (path,), _ = exported(lab, tmp_path)
    assert np.asarray(Image.open(path)).dtype == np.uint8
