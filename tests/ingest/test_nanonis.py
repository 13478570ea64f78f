"""Nanonis scans: orientation, scale, settings, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from runpy import run_path

import numpy as np
import pytest

from micdb.errors import DamagedFileError, NotAnImageError
from micdb.ingest.readers.nanonis import NanonisSxm
from micdb.ingest.sniff import open_scans
from micdb.testing import ReaderContract

write_sxm = run_path(str(Path(__file__).parents[1] / "data" / "nanonis" / "make.py"))["write_sxm"]

FORWARD = np.arange(12, dtype=np.float32).reshape(3, 4)
BACKWARD = FORWARD + 100
BOTH = {("Z", "m", "both"): [FORWARD, BACKWARD]}


class TestContract(ReaderContract):
    reader = NanonisSxm

    @pytest.fixture
    def files(self, tmp_path):
        one_way = {("Current", "A", "forward"): [FORWARD], ("Phase", "deg", "backward"): [BACKWARD]}
        return [
            write_sxm(tmp_path / "both.sxm", BOTH),
            write_sxm(tmp_path / "one way.sxm", one_way, SCAN_DIR="up"),
        ]


@pytest.mark.parametrize("direction", ["down", "up"])
def test_every_channel_and_direction_is_turned_as_seen(tmp_path, direction):
    scans = open_scans(write_sxm(tmp_path / "a.sxm", BOTH, SCAN_DIR=direction))
    assert [scan.channel for scan in scans] == ["Z forward", "Z backward"]
    np.testing.assert_array_equal(scans[0].pixels.read(), FORWARD)
    np.testing.assert_array_equal(scans[1].pixels.read(), BACKWARD)


def test_stored_values_equal_nanonispy2(tmp_path):
    from nanonispy2.read import Scan

    path = write_sxm(tmp_path / "a.sxm", BOTH, SCAN_DIR="up")
    stored = Scan(str(path)).signals["Z"]
    forward, backward = open_scans(path)
    np.testing.assert_array_equal(forward.pixels.read()[::-1], stored["forward"])
    np.testing.assert_array_equal(backward.pixels.read()[::-1, ::-1], stored["backward"])


def test_scale_settings_and_date(tmp_path):
    forward, backward = open_scans(write_sxm(tmp_path / "a.sxm", BOTH))
    assert forward.axis("x").step == pytest.approx(5e-9)
    assert forward.axis("y").step == pytest.approx(1e-8 / 3)
    assert forward.axis("x").unit == "m"
    assert forward.intensity_unit == "m"
    values = {name: quantity.value for name, quantity in forward.settings.items()}
    assert values == {
        "bias": -1.5,
        "setpoint_current": 3e-11,
        "scan_angle": 30.0,
        "offset_x": pytest.approx(150.0),
        "offset_y": pytest.approx(-25.0),
        "comment": "first line\nsecond line",
        "scan_speed": 2e-8,
    }
    assert backward.settings["scan_speed"].value == 4e-8
    assert forward.acquired == "2021-02-03T14:05:06"
    assert forward.modality is None  # the header does not say whether this was STM or AFM
    assert forward.problems == ()


def test_recorded_temperature_is_a_constant_of_the_program_and_no_measurement(tmp_path):
    scan = open_scans(write_sxm(tmp_path / "a.sxm", BOTH))[0]
    assert "temperature" not in scan.settings
    assert scan.original["REC_TEMP"].strip() == "290.0000000000"


def test_decimal_commas_are_read(tmp_path):
    scan = open_scans(write_sxm(tmp_path / "a.sxm", BOTH, BIAS="1,25E-1", SCAN_RANGE="2,0E-8 1,5E-8"))[0]
    assert scan.settings["bias"].value == 0.125
    assert scan.axis("y").step == pytest.approx(5e-9)


def test_a_setpoint_that_is_no_current_is_left_out(tmp_path):
    header = {"Z-Controller>Setpoint": "-5", "Z-Controller>Setpoint unit": "Hz"}
    assert "setpoint_current" not in open_scans(write_sxm(tmp_path / "a.sxm", BOTH, **header))[0].settings


def test_lines_never_reached_stay_nan(tmp_path):
    image = FORWARD.copy()
    image[2] = np.nan
    scan = open_scans(write_sxm(tmp_path / "a.sxm", {("Z", "m", "forward"): [image]}))[0]
    np.testing.assert_array_equal(scan.pixels.read(), image)


@pytest.mark.parametrize("direction", ["down", "up"])
@pytest.mark.parametrize("reached", [0, 1, 2, 3])
def test_a_stopped_scan_says_after_how_many_lines(tmp_path, direction, reached):
    image = FORWARD.copy()
    image[reached:] = np.nan
    seen = image if direction == "down" else image[::-1]
    channels = {("Z", "m", "both"): [seen, seen]}
    said = () if reached == 3 else (f"the scan was stopped after {reached} of 3 lines, the rest is NaN",)
    for scan in open_scans(write_sxm(tmp_path / "a.sxm", channels, SCAN_DIR=direction)):
        np.testing.assert_array_equal(scan.pixels.read(), seen)
        assert scan.problems == said


def test_pixels_without_a_value_are_no_stop(tmp_path):
    image = FORWARD.copy()
    image[0, 0] = image[2, 0] = np.nan
    assert open_scans(write_sxm(tmp_path / "a.sxm", {("Z", "m", "forward"): [image]}))[0].problems == ()


PASSES = "\n".join(
    [
        "\tPlayback\tBias_override\tBias_override_value\tZ_Setp_override\tZ_Setp_override_value\tSpeed_factor",
        "\tFALSE\tFALSE\t0.000E+0\tFALSE\t0.000E+0\t1.000",
        "\tFALSE\tTRUE\t-2.000E-2\tFALSE\t0.000E+0\t1.000",
        "\tTRUE\tTRUE\t4.000E-1\tTRUE\t5.000E-10\t2.000",
    ]
)


def test_each_pass_has_its_own_bias_and_set_point(tmp_path):
    channels = {(f"[P{number}]_Z", "m", "both"): [FORWARD, BACKWARD] for number in (1, 2)}
    scans = open_scans(write_sxm(tmp_path / "a.sxm", channels, **{"Multipass-Config": PASSES}))
    assert [scan.channel for scan in scans][:2] == ["[P1]_Z forward", "[P1]_Z backward"]

    def of(name):
        return [scan.settings[name].value if name in scan.settings else None for scan in scans]

    assert of("bias") == [-1.5, -0.02, 0.4, None]  # the table has no line for the last one
    assert of("setpoint_current") == [3e-11, 3e-11, 5e-10, None]
    assert of("scan_speed") == [2e-8, 4e-8, None, None]
    assert scans[3].problems[0].startswith("bias, set point and speed unknown: Multipass-Config")


@pytest.mark.parametrize(
    ("written", "kelvin"), [("4.92997E+0", 4.92997), ("4,5E+0", 4.5), ("NaN", None), ("0", None)]
)
def test_a_measured_temperature(tmp_path, written, kelvin):
    header = {"Temperature 1>Temperature 1 (K)": written}
    scan = open_scans(write_sxm(tmp_path / "a.sxm", BOTH, **header))[0]
    found = scan.settings.get("temperature")
    assert (found and found.value) == kelvin
    assert scan.problems == ()


def test_a_comment_may_hold_colons(tmp_path):
    scan = open_scans(write_sxm(tmp_path / "a.sxm", BOTH, COMMENT="Au: clean\n:tip: 3\n: :"))[0]
    assert scan.settings["comment"].value == "Au: clean\n:tip: 3\n: :"


@pytest.mark.parametrize("extent", [None, "0 0", "NaN 1E-8", "1E-8"])
def test_unknown_range_leaves_the_scale_unknown(tmp_path, extent):
    scan = open_scans(write_sxm(tmp_path / "a.sxm", BOTH, SCAN_RANGE=extent))[0]
    assert scan.axis("x").step is None
    assert "pixel size unknown" in scan.problems[0]
    np.testing.assert_array_equal(scan.pixels.read(), FORWARD)


def test_unknown_direction_is_said(tmp_path):
    scan = open_scans(write_sxm(tmp_path / "a.sxm", BOTH, SCAN_DIR=None))[0]
    assert "top and bottom" in scan.problems[0]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b'Grid dim="30 x 30"\r\nChannels="Current (A)"\r\n:HEADER_END:\r\n\0\0', "grid of spectra"),
        (b"Experiment\tbias spectroscopy\t\nDate\t04.08.2015\n[DATA]\n1\t2\n", "bias spectroscopy"),
        (b"\xef\xbb\xbfExperiment\tLongTerm Data\t\n", "LongTerm Data"),
        (b"Saved Date\t04.08.2015\t\r\nUser\t\r\n\r\n[DATA]\r\nBias (V)\t\r\n", "spectrum or time trace"),
        (b'Filetype=Linear\r\nGrid dim="9 x 1"\r\nChannels="Z (m)"\r\n:HEADER_END:\r\n\0', "grid of spectra"),
    ],
)
def test_spectra_under_the_name_of_a_scan_are_refused_by_content(tmp_path, content, says):
    path = tmp_path / "misnamed.sxm"
    path.write_bytes(content)
    with pytest.raises(NotAnImageError, match=says):
        open_scans(path)


def test_missing_and_surplus_blocks_are_refused(tmp_path):
    path = write_sxm(tmp_path / "a.sxm", BOTH)
    content = path.read_bytes()
    for damaged in (content[:-4], content + FORWARD.tobytes()):
        path.write_bytes(damaged)
        with pytest.raises(DamagedFileError, match=r"promises 2 images of \(3, 4\) float32, 96 bytes"):
            open_scans(path)


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ({"SCANIT_TYPE": "INT MSBFIRST"}, "SCANIT_TYPE is INT MSBFIRST"),
        ({"SCANIT_TYPE": None}, "SCANIT_TYPE is missing"),
    ],
)
def test_unknown_number_types_are_refused(tmp_path, header, says):
    with pytest.raises(DamagedFileError, match=says):
        open_scans(write_sxm(tmp_path / "a.sxm", BOTH, **header))


def test_header_cut_before_its_end_is_refused(tmp_path):
    path = write_sxm(tmp_path / "a.sxm", BOTH)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DamagedFileError, match="SCANIT_END"):
        open_scans(path)


def test_real_files_equal_the_manifest(shared):
    formats = shared / "data" / "formats"
    items = json.loads((formats / "manifest.json").read_text())["items"]
    for item in (item for item in items if item["format"] == "nanonis_sxm" and item["content"] == "real"):
        facts = item["expected"]["facts"]
        scans = open_scans(formats / item["open"])
        assert [scan.channel for scan in scans] == facts["channels"]
        assert scans[0].settings["bias"].value == pytest.approx(facts["bias_V"], rel=1e-5)
        for scan, image in zip(scans, facts["images"], strict=True):
            pixels = scan.pixels.read()
            assert list(pixels.shape) == image["shape"]
            assert scan.axis("x").step == pytest.approx(facts["pixel_size"]["x"]["si"], rel=1e-5)
            assert pixels.min() == pytest.approx(image["stats"]["min"], rel=1e-5)
            assert pixels.max() == pytest.approx(image["stats"]["max"], rel=1e-5)


def test_real_forward_and_backward_show_the_same_surface(shared):
    scans = open_scans(shared / "data" / "formats" / "nanonis_sxm" / "nanonis.sxm")
    forward, backward = (scan.pixels.read().ravel() for scan in scans[:2])
    assert np.corrcoef(forward, backward)[0, 1] > 0.8  # -0.14 where the backward block is not turned
