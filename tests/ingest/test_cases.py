"""The hard cases that files of microscopes are known for, through real readers: scales, units, pixels.

Where a case is about what people find again, it goes through ``ingest`` to the database. The other cases
are in ``test_cases_content.py`` and ``test_cases_files.py``.
"""

from __future__ import annotations

from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import numpy as np
import pytest

from micdb.catalog import tables
from micdb.ingest.sniff import open_scans
from micdb.store.places import opened_hdf5

DATA = Path(__file__).parents[1] / "data"
dm, emd, igor, mrc, nanonis, raster, tiff = (
    SimpleNamespace(**run_path(str(DATA / name / "make.py")))
    for name in ("dm", "emd", "igor", "mrc", "nanonis", "raster", "tiff")
)
IMAGE = np.arange(12 * 16, dtype=np.int16).reshape(12, 16)
HEIGHTS = np.linspace(0, 1e-9, 12 * 16, dtype=np.float32).reshape(12, 16)


def imagej(path, unit, *, pixels=IMAGE, per_unit=(2.0, 2.0)):
    return tiff.write(path, pixels, imagej=True, resolution=per_unit, metadata={"unit": unit})


def calibrated(path, *axes, pixels=IMAGE, **more):
    """Write a DM3 image; axes are (step, unit) of x and y."""
    return dm.write(path, dm.image(pixels, axes=[dm.axis(*axis) for axis in axes], **more))


# ------------------------------------------------------------------ 1, 2, 3: scales


def test_diffraction_stands_next_to_real_space(lab, ingested, tmp_path):
    pattern = (IMAGE[..., None] + 1, emd.velox_metadata(mode="1", unit="1/m", step=5e7))
    picture = (IMAGE[..., None], emd.velox_metadata(step=2e-10))
    images = {
        image.modality: image
        for image in ingested(emd.write_velox(tmp_path / "a.emd", {"1": picture, "2": pattern}))
    }
    real, reciprocal = images["STEM"], images["diffraction"]
    assert (real.pixel_size_x, real.reciprocal_pixel_size_x) == (pytest.approx(0.2), None)
    assert (reciprocal.pixel_size, reciprocal.area) == (None, None)
    assert reciprocal.reciprocal_pixel_size_x == pytest.approx(0.05)
    assert reciprocal.reciprocal_pixel_size_y == pytest.approx(0.1)
    assert lab.images.query("pixel_size < 1 m").count() == 1
    assert lab.images.query("reciprocal_pixel_size_x < 0.1 1/nm").count() == 1


def test_x_and_y_in_units_and_sizes_of_their_own(ingested, tmp_path):
    axes = [("y", "[n_m]", np.arange(12) * 4.0), ("x", "[u_m]", np.arange(16) * 0.002)]
    (image,) = ingested(emd.write_ncem(tmp_path / "a.emd", {"one": (IMAGE, axes)}))
    assert (image.pixel_size_x, image.pixel_size_y) == (pytest.approx(2), pytest.approx(4))
    assert image.pixel_size == pytest.approx(4)
    assert [axis["unit"] for axis in image.axes] == ["nm", "um"]


def test_a_length_along_x_and_an_angle_along_y(ingested, tmp_path):
    (image,) = ingested(calibrated(tmp_path / "a.dm3", (0.5, "nm"), (2.0, "mrad")))
    assert (image.pixel_size_x, image.pixel_size_y, image.pixel_size, image.area) == (0.5, None, None, None)
    assert [(axis["step"], axis["unit"]) for axis in image.axes] == [(2.0, "mrad"), (0.5, "nm")]


def test_pixels_that_are_not_square(lab, ingested, tmp_path):
    (image,) = ingested(tiff.write(tmp_path / "a.tif", IMAGE.astype(np.uint16), tags={50431: tiff.tescan()}))
    assert (image.pixel_size_x, image.pixel_size_y) == (pytest.approx(2500), pytest.approx(2600))
    assert image.pixel_size == pytest.approx(2600)  # the coarser one: what can be resolved
    assert image.area == pytest.approx(2500 * 16 * 2600 * 12)
    stored = lab.image(image.uid)
    assert (stored.axis("x").step_in("um"), stored.axis("y").step_in("um")) == (2.5, 2.6)


# ------------------------------------------------------------------ 4, 5: no scale


@pytest.mark.parametrize(
    "write",
    [
        lambda folder: tiff.write(folder / "a.tif", IMAGE),
        lambda folder: imagej(folder / "a.tif", ""),
        lambda folder: imagej(folder / "a.tif", "pixel"),
        lambda folder: raster.write(folder / "a.png", IMAGE.astype(np.uint8)),
        lambda folder: mrc.write(folder / "a.mrc", IMAGE, voxel=None),
        lambda folder: calibrated(folder / "a.dm3", (1.0, ""), (1.0, "")),
        lambda folder: emd.write_ncem(
            folder / "a.emd",
            {"one": (IMAGE, [("y", "[]", np.arange(12.0)), ("x", "pixels", np.arange(16.0))])},
        ),
        lambda folder: nanonis.write_sxm(
            folder / "a.sxm", {("Z", "m", "forward"): [HEIGHTS]}, SCAN_RANGE=None
        ),
        lambda folder: igor.write_ibw(folder / "a.ibw", HEIGHTS.T),
    ],
)  # fmt: skip
def test_no_calibration_at_all_stays_null(lab, ingested, tmp_path, write):
    (image,) = ingested(write(tmp_path))
    names = [column.name for column in tables.micrograph.c if "pixel_size" in column.name]
    assert len(names) == 6
    assert {getattr(image, name) for name in (*names, "area")} == {None}
    assert [axis["step"] for axis in image.axes] == [None, None]
    stored = lab.image(image.uid)
    assert [(axis.step, axis.unit) for axis in stored.axes] == [(None, None)] * 2
    with opened_hdf5(stored.object) as file:
        assert "units" not in file["entry/image/x"].attrs
    assert lab.images.query("pixel_size < 1 km").count() == 0


PRINTED = {"resolution": (300, 300)}
NAVCAM = "[User]\r\nUserText=x\r\n[System]\r\nSystemType=Helios\r\n[Detectors]\r\nName=Nav-Cam\r\n"


@pytest.mark.parametrize(
    "write",
    [
        lambda folder: tiff.write(folder / "a.tif", IMAGE, **PRINTED, resolutionunit="INCH"),
        lambda folder: tiff.write(folder / "a.tif", IMAGE, **PRINTED, resolutionunit="CENTIMETER"),
        lambda folder: tiff.write(folder / "a.tif", IMAGE.astype(np.uint8), **PRINTED, tags={34682: NAVCAM}),
        lambda folder: imagej(folder / "a.tif", "inch", per_unit=(72, 72)),
        lambda folder: raster.write(folder / "a.png", IMAGE.astype(np.uint8), dpi=(300, 300)),
        lambda folder: raster.write(folder / "a.jpg", IMAGE.astype(np.uint8), dpi=(300, 300)),
    ],
    ids=["tiff inch", "tiff cm", "fei navcam", "imagej inch", "png", "jpeg"],
)
def test_print_resolution_is_no_calibration(ingested, tmp_path, write):
    (image,) = ingested(write(tmp_path))
    assert (image.pixel_size, image.pixel_size_x, image.pixel_size_origin) == (None, None, None)


# ------------------------------------------------------------------ 6: spellings of units

LENGTHS = [
    ("um", 500.0), ("µm", 500.0), ("μm", 500.0), ("micron", 500.0), ("\\u00B5m", 500.0), ("nm", 0.5),
    ("A", 0.05), ("Å", 0.05), ("", None),
]  # fmt: skip


def step(path):
    """Return the step along x and its unit, checked to be that along y."""
    (scan,) = open_scans(path)
    x, y = scan.axis("x"), scan.axis("y")
    assert (x.step, x.unit) == (y.step, y.unit)
    return x


@pytest.mark.parametrize(("written", "nanometres"), [*LENGTHS, ("[n_m]", 0.5)])
def test_every_spelling_of_a_unit_in_a_dm_file(tmp_path, written, nanometres):
    found = step(calibrated(tmp_path / "a.dm3", (0.5, written), (0.5, written)))
    assert found.step_in("nm") == (nanometres and pytest.approx(nanometres))
    assert found.step is not None or nanometres is None


@pytest.mark.parametrize("written", ["1/nm", "1 / nm", "nm^-1"])
def test_every_spelling_of_a_reciprocal_unit_in_a_dm_file(tmp_path, written):
    assert step(calibrated(tmp_path / "a.dm3", (0.5, written), (0.5, written))).step_in("1/nm") == 0.5


@pytest.mark.parametrize(
    ("written", "nanometres"), [length for length in LENGTHS if length[0] != "\u03bcm"]
)  # ImageJ's description is Latin-1
def test_every_spelling_of_a_unit_in_an_imagej_file(tmp_path, written, nanometres):
    stand_in = "?" * len(written)
    path = imagej(tmp_path / "a.tif", stand_in)
    path.write_bytes(
        path.read_bytes().replace(f"unit={stand_in}".encode(), f"unit={written}".encode("latin-1"))
    )
    assert step(path).step_in("nm") == (nanometres and pytest.approx(nanometres))


@pytest.mark.parametrize(
    ("written", "nanometres"), [*LENGTHS, ("[n_m]", 0.5), ("[u_m]", 500.0), ("n_m", 0.5), ("[A]", 0.05)]
)
def test_every_spelling_of_a_unit_in_an_emd_file(tmp_path, written, nanometres):
    axes = [(name, written, np.arange(float(size)) / 2) for name, size in (("y", 12), ("x", 16))]
    path = emd.write_ncem(tmp_path / "a.emd", {"one": (IMAGE, axes)})
    assert step(path).step_in("nm") == (nanometres and pytest.approx(nanometres))


@pytest.mark.parametrize("written", ["furlongs per fortnight", "nn", "?"])
def test_a_unit_that_nobody_knows_leaves_the_scale_unknown(ingested, tmp_path, written):
    (image,) = ingested(calibrated(tmp_path / "a.dm3", (0.5, written), (0.5, written)))
    assert (image.pixel_size, image.pixel_size_x, image.area) == (None, None, None)
    assert "unit" in image.problems[0]


# ------------------------------------------------------------------ 7, 8: colour and complex pixels


@pytest.mark.parametrize("samples", [3, 4])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("extension", [".tif", ".png"])
def test_colours_with_and_without_alpha(lab, ingested, tmp_path, *, samples, dtype, extension):
    limit = np.iinfo(dtype).max
    colours = np.linspace(0, limit, 12 * 16 * samples).astype(dtype).reshape(12, 16, samples)
    path = tmp_path / f"a{extension}"
    if extension == ".tif":
        tiff.write(path, colours, photometric="rgb", extrasamples=["unassalpha"] * (samples - 3))
    elif dtype == "uint16":
        raster.write_deep_png(path, colours)
    else:
        raster.write(path, colours)
    (image,) = ingested(path)
    assert (image.colour, image.dtype, image.height, image.width, image.n_frames) == (True, dtype, 12, 16, 1)
    np.testing.assert_array_equal(lab.image(image.uid).pixels(), colours)
    (picture,) = lab.pictures([image.uid])
    assert picture.pixels.shape == (1, 12, 16)  # luminance, for extractors


def test_a_complex_fourier_transform_is_two_real_fields(lab, ingested, tmp_path):
    plane = np.fft.fftshift(np.fft.fft2(IMAGE)).astype(np.complex64)
    (image,) = ingested(dm.write(tmp_path / "a.dm3", dm.image(plane)))
    stored = lab.image(image.uid)
    np.testing.assert_array_equal(stored.pixels(), plane)
    with opened_hdf5(stored.object) as file:
        np.testing.assert_array_equal(file["entry/image/data"][()], plane.real)
        np.testing.assert_array_equal(file["entry/image/imaginary"][()], plane.imag)
        assert {file[f"entry/image/{name}"].dtype.kind for name in ("data", "imaginary")} == {"f"}
    assert image.dtype == "complex64"
    assert image.intensity_max == pytest.approx(np.abs(plane).max())  # of the magnitude
