"""Blockfiles: order of the patterns, units of the header, the image of the scan, and damage."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from runpy import run_path

import numpy as np
import pytest

from micdb.errors import DamagedFileError
from micdb.ingest.readers.blockfile import Blockfile
from micdb.ingest.sniff import candidates, open_scans
from micdb.testing import ReaderContract

write_blo = run_path(str(Path(__file__).parents[1] / "data" / "blockfile" / "make.py"))["write_blo"]

PATTERNS = (np.arange(2 * 3 * 16) % 251).astype("u1").reshape(2, 3, 4, 4)
SCAN = np.array([[9, 8, 7], [6, 5, 4]], "u1")
ANY = np.zeros((2, 2, 4, 4), "u1")


class TestContract(ReaderContract):
    reader = Blockfile

    @pytest.fixture
    def files(self, tmp_path):
        return [
            write_blo(tmp_path / "map.blo", PATTERNS, SCAN),
            write_blo(tmp_path / "line.blo", PATTERNS[:1]),
            write_blo(tmp_path / "one.blo", PATTERNS[:1, :1]),
        ]


def test_patterns_and_image_of_the_scan(tmp_path):
    patterns, image = open_scans(write_blo(tmp_path / "a.blo", PATTERNS, SCAN))
    np.testing.assert_array_equal(patterns.pixels.read(), PATTERNS)
    np.testing.assert_array_equal(patterns.pixels.load_frame(4), PATTERNS[1, 1])
    np.testing.assert_array_equal(image.pixels.read(), SCAN)
    assert (patterns.modality, image.modality, image.channel) == (
        "diffraction",
        "STEM",
        "virtual bright field",
    )


def test_patterns_equal_rosettasciio(tmp_path):
    from rsciio.blockfile import file_reader

    path = write_blo(tmp_path / "a.blo", PATTERNS, SCAN)
    (theirs,), scan = file_reader(str(path)), open_scans(path)[0]
    np.testing.assert_array_equal(scan.pixels.read(), theirs["data"])
    assert [axis.step for axis in scan.axes] == pytest.approx([axis["scale"] for axis in theirs["axes"]])


def test_units_settings_and_date(tmp_path):
    patterns, image = open_scans(write_blo(tmp_path / "a.blo", PATTERNS, SCAN))
    assert [(axis.name, axis.step, axis.unit) for axis in patterns.axes] == [
        ("scan_y", 25.0, "nm"), ("scan_x", 12.5, "nm"), ("y", 0.02, "cm"), ("x", 0.02, "cm"),
    ]  # fmt: skip
    assert [(axis.name, axis.step, axis.unit) for axis in image.axes] == [
        ("y", 25.0, "nm"),
        ("x", 12.5, "nm"),
    ]
    assert {name: quantity.value for name, quantity in patterns.settings.items()} == {
        "accelerating_voltage": 300000.0,
        "camera_length": 123.0,
        "scan_angle": 25.0,
        "comment": "Precession angle : 0.8°\r\nCamera gamma : on",
    }
    assert patterns.acquired == "2015-12-01T15:40:59.812"
    assert patterns.acquired_raw == "Acquisition_time = 42339.653470046294"


def test_what_is_not_recorded_is_unknown(tmp_path):
    zeros = {"sx": 0.0, "sy": float("nan"), "density": 0, "voltage": 0, "camera_length": 0, "date": 0.0}
    scan = open_scans(write_blo(tmp_path / "a.blo", PATTERNS, **zeros))[0]
    assert [axis.step for axis in scan.axes] == [None] * 4
    assert set(scan.settings) == {"scan_angle", "comment"}
    assert (scan.acquired, scan.acquired_raw) == (None, None)


@pytest.mark.parametrize("days", [25570.0, -1.0, 1e300, float("nan"), float("inf")])
def test_dates_that_are_none(tmp_path, days):
    assert open_scans(write_blo(tmp_path / "a.blo", PATTERNS, date=days))[0].acquired is None


def test_line_and_point_have_fewer_axes(tmp_path):
    (line,) = open_scans(write_blo(tmp_path / "line.blo", PATTERNS[:1]))
    (point,) = open_scans(write_blo(tmp_path / "one.blo", PATTERNS[:1, :1]))
    assert [axis.name for axis in line.axes] == ["scan_x", "y", "x"]
    assert [axis.name for axis in point.axes] == ["y", "x"]
    np.testing.assert_array_equal(point.pixels.read(), PATTERNS[0, 0])


def test_missing_patterns_are_refused(tmp_path):
    path = write_blo(tmp_path / "a.blo", PATTERNS)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DamagedFileError, match=r"the file ends after 4 of 6 patterns: 30 bytes are missing"):
        open_scans(path)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"version": 0x0103}, "version 0x0103, expected 0x0102"),
        ({"side": 0}, "promises 3 x 2 patterns of 0 pixels"),
        ({"rows": 0}, "promises 3 x 0 patterns"),
        ({"columns": 65535, "rows": 65535, "side": 65535}, "ends after 0 of 4294836225 patterns"),
        ({"first": 0x1012}, "the mark AA 55 is missing"),
        ({"first": 0xFFFFFFFF}, "ends after 0 of 6 patterns"),
    ],
)
def test_headers_that_do_not_fit_are_damage(tmp_path, changed, says):
    path = write_blo(tmp_path / "a.blo", PATTERNS, **changed)
    path.write_bytes(path.read_bytes() + bytes(64))
    with pytest.raises(DamagedFileError, match=says):
        open_scans(path)


def test_image_that_would_reach_into_the_patterns_is_left_out(tmp_path):
    assert len(open_scans(write_blo(tmp_path / "a.blo", PATTERNS, image=None))) == 2
    path = write_blo(tmp_path / "b.blo", PATTERNS)
    content = bytearray(path.read_bytes())
    struct.pack_into("<I", content, 8, 0x100C)  # 12 bytes on: 4 left of the 6 needed
    path.write_bytes(content)
    assert len(open_scans(path)) == 1


def test_this_reader_is_surer_than_the_extra(tmp_path):
    assert candidates(write_blo(tmp_path / "a.blo", ANY))[0][:2] == (3, "blockfile")


def test_real_file_equals_the_manifest(shared):
    formats = shared / "data" / "formats"
    items = json.loads((formats / "manifest.json").read_text())["items"]
    (item,) = (item for item in items if item["format"] == "blo")
    facts = item["expected"]["facts"]
    scan, image = open_scans(formats / item["open"])
    expected = facts["images"][0]
    pixels = scan.pixels.read()
    assert list(pixels.shape) == expected["shape"]
    assert scan.n_frames == facts["n_frames"]
    for axis, theirs in zip(scan.axes, expected["axes"], strict=True):
        assert axis.step == pytest.approx(theirs["scale"], rel=1e-5)
        assert axis.unit == theirs["units"]
    for name in ("min", "max", "mean"):
        assert getattr(pixels.astype(float), name)() == pytest.approx(expected["stats"][name], rel=1e-5)
    assert scan.settings["accelerating_voltage"].value == facts["accelerating_voltage_V"]
    assert scan.settings["camera_length"].to("m") == pytest.approx(0.2)
    assert scan.acquired == f"{facts['date']}T{facts['time'][:12]}"
    # The stored image of the scan follows the brightness of the patterns, point by point.
    brightness = pixels.mean(axis=(2, 3)).ravel()
    assert np.corrcoef(brightness, image.pixels.read().ravel())[0, 1] > 0.9
