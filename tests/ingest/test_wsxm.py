"""WSxM images: orientation, what the numbers mean, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from runpy import run_path

import numpy as np
import pytest

from micdb.errors import DamagedFileError, NotAnImageError
from micdb.ingest.readers.wsxm import Wsxm
from micdb.ingest.sniff import open_scans
from micdb.testing import ReaderContract

make = run_path(str(Path(__file__).parents[1] / "data" / "wsxm" / "make.py"))
write_wsxm = make["write_wsxm"]

COUNTS = np.arange(12, dtype="i2").reshape(3, 4) - 5  # -5 .. 6: 11 counts are 4.4 nm
VALUES = np.linspace(-80, -21, 12).reshape(3, 4)


class TestContract(ReaderContract):
    reader = Wsxm

    @pytest.fixture
    def files(self, tmp_path):
        return [
            write_wsxm(tmp_path / "counts.top", COUNTS),
            write_wsxm(tmp_path / "values.stp", VALUES, newline="\n"),
            write_wsxm(tmp_path / "raw.tom", COUNTS, Z_Amplitude="0 nm"),
            write_wsxm(tmp_path / "single.stp", VALUES.astype("f4"), padding=7),
        ]


def test_counts_span_the_amplitude_and_zero_is_zero(tmp_path):
    (scan,) = open_scans(write_wsxm(tmp_path / "a.top", COUNTS))
    np.testing.assert_allclose(scan.pixels.read(), COUNTS * 0.4, rtol=1e-12)
    assert scan.intensity_unit == "nm"
    assert scan.problems == ()


@pytest.mark.parametrize("more", [{}, {"newline": "\n"}, {"padding": 9}])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_floating_point_values_stand_as_they_are(tmp_path, dtype, more):
    (scan,) = open_scans(write_wsxm(tmp_path / "a.stp", VALUES.astype(dtype), Z_Amplitude="1 pA", **more))
    np.testing.assert_array_equal(scan.pixels.read(), VALUES.astype(dtype))
    assert (scan.pixels.dtype, scan.intensity_unit) == (f"float{8 * int(dtype[1:])}", "pA")


def test_scale_settings_and_date(tmp_path):
    (scan,) = open_scans(write_wsxm(tmp_path / "a.top", COUNTS))
    assert [(axis.name, axis.size, axis.step, axis.unit) for axis in scan.axes] == [
        ("y", 3, 10.0, "angstrom"),
        ("x", 4, 0.5, "um"),
    ]
    assert {name: quantity.value for name, quantity in scan.settings.items()} == {
        "bias": -1.5,
        "setpoint_current": 2.5e-10,
        "offset_x": -100.0,
        "comment": "a: first try",
    }
    assert (scan.channel, scan.modality) == ("Topography backward", "STM")
    assert (scan.acquired, scan.acquired_raw) == ("2025-05-14T16:30:58", "14/05/2025, 16:30:58.167")


def test_a_date_that_reads_two_ways_stays_raw(tmp_path):
    (scan,) = open_scans(write_wsxm(tmp_path / "a.top", COUNTS, Acquisition_time="04/05/2025, 1:02:03"))
    assert (scan.acquired, scan.acquired_raw) == (None, "04/05/2025, 1:02:03")


@pytest.mark.parametrize("amplitude", ["0 nm", "-1 nm", "nm", "", "inf nm"])
def test_counts_without_an_amplitude_stay_counts(tmp_path, amplitude):
    (scan,) = open_scans(write_wsxm(tmp_path / "a.top", COUNTS, Z_Amplitude=amplitude))
    np.testing.assert_array_equal(scan.pixels.read(), COUNTS)
    assert scan.intensity_unit is None
    assert "raw counts" in scan.problems[-1]


def test_equal_counts_with_a_range_are_refused(tmp_path):
    (scan,) = open_scans(write_wsxm(tmp_path / "a.top", np.full((3, 4), 7, "i2")))
    with pytest.raises(DamagedFileError, match=r"every pixel is 7, .* range of 4.4"):
        scan.pixels.read()


@pytest.mark.parametrize(("unit", "said"), [("a.u.", 0), ("", 0), ("Pi", 1)])
def test_units_that_are_none(tmp_path, unit, said):
    (scan,) = open_scans(write_wsxm(tmp_path / "a.top", COUNTS, Z_Amplitude=f"11 {unit}"))
    np.testing.assert_allclose(scan.pixels.read(), COUNTS)
    assert scan.intensity_unit is None
    assert len(scan.problems) == said


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"first": "IV curve file"}, "WSxM 'IV curve file'"),
        ({"first": "WSxM ASCII XYZ file"}, "ASCII XYZ"),
        ({"Number_of_Frames": "12"}, "a WSxM movie .*Number of Frames is 12"),
        ({"Number_of_points_per_ramp": "64"}, "map of spectra"),
    ],
)
def test_curves_movies_and_text_are_refused(tmp_path, more, says):
    with pytest.raises(NotAnImageError, match=says):
        open_scans(write_wsxm(tmp_path / "a.top", COUNTS, **more))


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"Image_Data_Type": "byte"}, "Image Data Type is 'byte', expected short"),
        ({"Number_of_rows": "-3"}, "Number of rows is -3"),
        ({"Number_of_rows": "99"}, "promises 792 bytes of numbers, there are 24"),
    ],
)
def test_wrong_headers_are_refused(tmp_path, more, says):
    with pytest.raises(DamagedFileError, match=says):
        open_scans(write_wsxm(tmp_path / "a.top", COUNTS, **more))


def test_a_header_cut_short_is_refused(tmp_path):
    path = write_wsxm(tmp_path / "a.top", COUNTS)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(DamagedFileError, match="no .Header end."):
        open_scans(path)


def test_real_files_equal_the_manifest(shared):
    formats = shared / "data" / "formats"
    items = json.loads((formats / "manifest.json").read_text())["items"]
    for item in (item for item in items if item["format"] == "wsxm"):
        (scan,) = open_scans(formats / item["open"])
        (image,) = item["expected"]["gwyddion"]["images"]
        pixels = scan.pixels.read() * 1e-9
        assert scan.intensity_unit == "nm"
        assert list(pixels.shape) == image["shape"]
        for name, value in image["stats"].items():
            if name in ("min", "max", "mean", "std"):
                assert getattr(pixels, name)() == pytest.approx(value, rel=2e-6)
        expected = item["expected"]["facts"]["pixel_size"]
        for name in ("x", "y"):
            assert scan.axis(name).step_in("m") == pytest.approx(expected[name]["si"], rel=1e-6)
