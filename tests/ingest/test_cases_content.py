"""The hard cases, continued: what else is in a file, scanning probes, stacks."""

from __future__ import annotations

from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import numpy as np
import pytest

from micdb.catalog import tables
from micdb.errors import NotAnImageError
from micdb.ingest.sniff import open_scans

DATA = Path(__file__).parents[1] / "data"
createc, dm, igor, matrix, mrc, nanonis, tia, tiff = (
    SimpleNamespace(**run_path(str(DATA / name / "make.py")))
    for name in ("createc", "dm", "igor", "matrix", "mrc", "nanonis", "tia", "tiff")
)
IMAGE = np.arange(12 * 16, dtype=np.int16).reshape(12, 16)
COUNTS = np.arange(12, dtype=np.int32).reshape(3, 4)  # the size that the MATRIX generator names
HEIGHTS = np.linspace(0, 1e-9, 12 * 16, dtype=np.float32).reshape(12, 16)


# ------------------------------------------------------------------ 9, 10, 11: what else is in a file


def spectral(folder):
    """Write files that hold no image but a curve, or a map with a spectrum in every point."""
    energies = np.zeros((4, 5, 20), np.float32)
    grid = folder / "grid.3ds"
    grid.write_bytes(b'Grid dim="30 x 30"\r\nChannels="Current (A)"\r\n:HEADER_END:\r\n' + bytes(400))
    curve = folder / "curve.dat"
    curve.write_text("Experiment\tbias spectroscopy\t\nDate\t04.08.2015\n\n[DATA]\nBias (V)\n1\t2\n")
    axes = [dm.axis(0.2, "eV"), dm.axis(1.0, "nm"), dm.axis(1.0, "nm")]
    return [
        dm.write(folder / "plot.dm3", dm.image(np.arange(9, dtype=np.float32))),
        dm.write(folder / "map.dm3", dm.image(energies, axes=axes)),
        tia.write_ser(folder / "line_1.ser", [np.arange(8, dtype=np.int32)] * 3),
        igor.write_ibw(folder / "curve.ibw", np.arange(5, dtype=np.float32)),
        grid,
        curve,
    ]


def test_spectra_and_maps_are_refused_by_name(tmp_path):
    for path in spectral(tmp_path):
        with pytest.raises(NotAnImageError, match="spectr|curve|plot") as caught:
            open_scans(path)
        assert path.name in str(caught.value)


def test_a_folder_of_spectra_brings_in_its_one_image(lab, tmp_path):
    folder = tmp_path / "day"
    folder.mkdir()
    spectral(folder)
    mrc.write(folder / "image.mrc", IMAGE)
    result = lab.ingest(folder)
    assert (result.counts["added"], result.counts["refused"] + result.counts["skipped"]) == (1, 6)
    assert all(file.reason for file in [*result.of("refused"), *result.of("skipped")])


def test_several_signals_in_one_file(ingested, tmp_path):
    detector = {"DataBar": {"Device Name": "DigiScan"}}
    path = dm.write(
        tmp_path / "a.dm3",
        dm.image(IMAGE, axes=[dm.axis(2.0, "nm")] * 2, name="HAADF", tags=detector),
        dm.image(np.arange(9, dtype=np.float32), name="Plot"),
        dm.image(IMAGE[:6] + 7, axes=[dm.axis(3.0, "nm")] * 2, name="BF", tags=detector),
    )
    images = ingested(path)
    assert [(image.name, image.height, image.pixel_size) for image in images] == [
        ("HAADF", 12, 2),
        ("BF", 6, 3),
    ]
    assert images[0].acquisition_pk == images[1].acquisition_pk


@pytest.mark.parametrize("direction", ["up", "down"])
def test_forward_and_backward_show_the_surface_the_same_way(lab, ingested, tmp_path, direction):
    both = {("Z", "m", "both"): [HEIGHTS, HEIGHTS + 1]}
    images = ingested(nanonis.write_sxm(tmp_path / "a.sxm", both, SCAN_DIR=direction))
    assert [image.channel for image in images] == ["Z forward", "Z backward"]
    for image, seen in zip(images, (HEIGHTS, HEIGHTS + 1), strict=True):
        np.testing.assert_array_equal(lab.image(image.uid).pixels(), seen)


def test_up_and_down_show_the_surface_the_same_way(ingested, tmp_path):
    path = matrix.write_session(tmp_path, matrix.acquired(COUNTS, COUNTS + 7))
    images = ingested(path)
    assert [image.channel for image in images] == [
        "Z forward/up", "Z backward/up", "Z forward/down", "Z backward/down",
    ]  # fmt: skip
    first, *others = (scan.pixels.read() for scan in open_scans(path))
    for other in others:  # nothing is mirrored
        np.testing.assert_allclose(other - other.mean(), first - first.mean(), atol=1e-15)


# ------------------------------------------------------------------ 12, 13: scanning probes


def test_a_scan_stopped_half_way_says_so(ingested, tmp_path):
    stopped = HEIGHTS.copy()
    stopped[5:] = np.nan
    counts = np.ones((8, 8), np.float32)
    counts[3:] = 0
    images = ingested(
        nanonis.write_sxm(tmp_path / "a.sxm", {("Z", "m", "forward"): [stopped]}),
        createc.write_dat(tmp_path / "A210203.140506.dat", [counts] * 4, ImageYPosMax="4"),
    )
    assert "stopped after 5 of 12 lines" in images[0].problems[0]
    assert images[0].intensity_max == pytest.approx(float(np.nanmax(stopped)))  # NaN is no value
    assert "stopped after 3 of 8 lines" in images[1].problems[0]


def nearly_flat():
    """Return a constant-height image: 10 nm with a corrugation of 1e-4 of that."""
    ramp = np.linspace(0, 1e-12, 12 * 16).reshape(12, 16)
    return (1e-8 + ramp).astype(np.float32)


def test_constant_height_survives_ingest_and_statistics(lab, ingested, tmp_path):
    flat = nearly_flat()
    (image,) = ingested(nanonis.write_sxm(tmp_path / "a.sxm", {("Z", "m", "forward"): [flat]}))
    exact = flat.astype(np.float64)
    assert 0.9e-12 < np.ptp(exact) < 1.1e-12
    assert image.intensity_max - image.intensity_min == pytest.approx(np.ptp(exact), rel=1e-9)
    assert image.intensity_sd == pytest.approx(exact.std(), rel=1e-3)
    assert image.intensity_mean == pytest.approx(exact.mean(), rel=1e-12)
    assert (lab.image(image.uid).pixels() == flat).all()
    (picture,) = lab.pictures([image.uid])
    assert np.ptp(picture.pixels.astype(np.float64)) == np.ptp(exact)


def test_constant_height_survives_the_scaling_of_a_reader(tmp_path):
    counts = (np.float32(230_000) + np.linspace(0, 23, 64, dtype=np.float32)).reshape(8, 8)
    scan = open_scans(createc.write_dat(tmp_path / "a.dat", [counts] * 4))[0]
    heights = scan.pixels.read().astype(np.float64)
    factor = heights.mean() / counts.astype(np.float64).mean()
    assert scan.intensity_unit == "m"
    assert np.ptp(heights) == pytest.approx(factor * 23, rel=2e-3)
    assert len(np.unique(heights)) == 64


# ------------------------------------------------------------------ 14: stacks


@pytest.mark.parametrize("count", [30, 300, 1000])
@pytest.mark.parametrize("extension", [".mrcs", ".tif", ".dm4"])
def test_stacks_of_many_frames(lab, ingested, rows_of, tmp_path, *, count, extension):
    stack = np.arange(count * 4 * 5, dtype=np.int32).reshape(count, 4, 5).astype(np.float32)
    path = tmp_path / f"a{extension}"
    if extension == ".mrcs":
        mrc.write(path, stack)
    elif extension == ".tif":
        tiff.write(path, stack)
    else:
        dm.write(path, dm.image(stack), version=4)
    (image,) = ingested(path)
    assert (image.n_frames, image.height, image.width) == (count, 4, 5)
    assert len(rows_of(tables.frame)) == count
    stored = lab.image(image.uid)
    np.testing.assert_array_equal(stored.frame(count - 1), stack[-1])
    assert (image.intensity_min, image.intensity_max) == (0, stack.max())
