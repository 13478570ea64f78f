r"""NanoScope images: integers of 16 and 32 bits, scales, steps, orientation, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from runpy import run_path

import numpy as np
import pytest

from micdb.errors import DamagedFileError, NotAnImageError
from micdb.ingest.readers.nanoscope import Nanoscope
from micdb.ingest.sniff import open_scans
from micdb.testing import ReaderContract

write_spm = run_path(str(Path(__file__).parents[1] / "data" / "nanoscope" / "make.py"))["write_spm"]

SHORT = (np.arange(16, dtype=np.int16) * 100 - 700).reshape(4, 4)
LONG = SHORT.astype(np.int32) * 65536

HEIGHT = 440 / 65536 * 10  # nm of one unit: 440 V for 2^16 units, 10 nm/V
NEWER = {"Version": "0x09700105"}


def one(path, stored=SHORT, *, frame=None, file=None, scanner=None, **fields):
    """Write a file of one image and return its scan."""
    image = {key.replace("_", " "): value for key, value in fields.items()}
    lists = {"scan": frame or {}, "file": file or {}, "scanner": scanner or {}}
    return open_scans(write_spm(path, [(stored, image)], **lists))[0]


class TestContract(ReaderContract):
    reader = Nanoscope

    @pytest.fixture
    def files(self, tmp_path):
        retrace = {"Line direction": "Retrace", "@2:Image Data": 'S [Phase] "Phase"'}
        return [
            write_spm(tmp_path / "a.001", [(SHORT, {}), (SHORT + 1, retrace)]),
            write_spm(tmp_path / "b.spm", [(LONG, {})], file=NEWER),
        ]


def test_the_bottom_row_is_stored_first(tmp_path):
    for direction in ("Up", "Down"):
        scan = one(tmp_path / "a.spm", Frame_direction=direction)
        np.testing.assert_allclose(scan.pixels.read(), SHORT * HEIGHT, rtol=1e-9)


def test_settings_date_and_channels(tmp_path):
    named = {
        "Line direction": "Retrace",
        "Scan line": "Interleave",
        "@2:Image Data": 'S [ZSensor] "Height Sensor"',
    }
    first, second = open_scans(write_spm(tmp_path / "a.spm", [(SHORT, {"Note": "gold"}), (SHORT, named)]))
    assert [first.channel, second.channel] == ["Height Trace", "Height Sensor Interleave Retrace"]
    values = {name: quantity.value for name, quantity in first.settings.items()}
    assert values == {
        "instrument": "D3100",
        "scan_angle": 45.0,
        "offset_x": 120.0,
        "offset_y": -3.0,
        "scan_speed": pytest.approx(4e-6),
        "comment": "gold",
    }
    assert first.acquired == "2019-07-30T13:02:03"
    assert first.modality == "AFM"
    assert first.intensity_unit == "nm"
    assert first.problems == second.problems == ()
    assert first.original["Ciao image list"]["Note"] == "gold"
    assert second.original["Equipment list"]["Microscope"] == "D3100"


def test_speed_is_left_out_where_it_is_not_the_way_there_and_back(tmp_path):
    assert "scan_speed" not in one(tmp_path / "a.spm", frame={"Tip velocity": "7"}).settings


def test_bias_and_current_of_an_stm(tmp_path):
    scan = one(tmp_path / "a.spm", Data_type="STM")
    assert scan.modality == "STM"
    assert scan.settings["bias"].value == pytest.approx(0.1)
    assert scan.settings["setpoint_current"].value == pytest.approx(2e-9)  # 0.2 V at 10 nA/V


def test_integers_of_32_bits(tmp_path):
    scale = {"Bytes/pixel": "4", "@2:Z scale": "V [Sens. Zscan] (0.0000001024455 V/LSB) 440.0000 V"}
    scan = one(tmp_path / "a.spm", LONG, file=NEWER, **scale)
    np.testing.assert_allclose(scan.pixels.read(), LONG * (440 / 2**32 * 10), rtol=1e-9)


def test_integers_of_32_bits_with_a_scale_of_16(tmp_path):
    """Newer files always hold 32 bits; Bytes/pixel says only of which range the scale is the whole."""
    scan = one(tmp_path / "a.spm", SHORT.astype(np.int32), file=NEWER)
    np.testing.assert_allclose(scan.pixels.read(), SHORT * HEIGHT, rtol=1e-9)


@pytest.mark.parametrize(
    ("z_scale", "unit", "per_unit"),
    [
        ("V [Sens. Amplitude] (0.0003051758 V/LSB) 20.00000 V", "V", 20 / 65536),
        ("V [Sens. Phase] (0.005493164 \xba/LSB) 360.0000 \xba", "deg", 360 / 65536),
        ("V [Sens. AmplSens] (0.01525879 mV/LSB) 1000.000 mV", "nm", 1 / 65536 * 50),
        ("V (0.005493164 \xba/LSB) 360.0000 \xba", "deg", 360 / 65536),
        ("V [Sens. Arb] (0.06250000 Arb/LSB) 4096.000 Arb", None, 4096 / 65536),
        ("V [Sens. Log] (0.0004882813 log(Arb)/LSB) 32.00000 log(Arb)", None, 32 / 65536),
        ("V [Sens. Missing] (0.0003051758 V/LSB) 20.00000 V", "V", 20 / 65536),
    ],
)
def test_units_of_the_values(tmp_path, z_scale, unit, per_unit):
    more = {
        "@Sens. Arb": "V 1.000000 ",
        "@Sens. Log": "V 1.000000 log(Pa)/log(Arb)",
        "@Sens. Phase": "V 1.000000 ",
    }
    scan = one(tmp_path / "a.spm", scanner=more, **{"@2:Z scale": z_scale})
    assert scan.intensity_unit == unit
    np.testing.assert_allclose(scan.pixels.read(), SHORT * per_unit, rtol=1e-9)
    assert bool(scan.problems) == ("Missing" in z_scale)


@pytest.mark.parametrize(
    "fields",
    [
        {"@2:Z scale": None},
        {"@2:Z scale": "V [Sens. Zscan] (0.006713867 V/LSB) 220.0000 V"},
        {"@2:Z scale": "V [Sens. Zscan] (0.006713867 V/LSB) 0.0 V"},
        {"@2:Z scale": "V [Sens. Odd] (0.006713867 V/LSB) 440.0000 V"},
        {"Bytes/pixel": "999999999"},
        {"@2:Z scale": None, "Z scale": "47.0512 nm (1234)"},
    ],
)
def test_a_scale_that_is_not_certain_leaves_raw_counts(tmp_path, fields):
    scan = one(tmp_path / "a.spm", scanner={"@Sens. Odd": "V 3 N/m*Arb"}, **fields)
    assert scan.intensity_unit is None
    assert "raw counts" in scan.problems[0]
    np.testing.assert_array_equal(scan.pixels.read(), SHORT)


@pytest.mark.parametrize("written", ["800 nm", "800 nm (65535)", "0.8 ~m (65536)"])
def test_scales_of_version_4_and_before(tmp_path, written):
    fields = {"@2:Z scale": None, "@2:Image Data": None, "Image data": "Height", "Z scale": written}
    path = write_spm(tmp_path / "a.001", [(SHORT, fields)], image_list="NCAFM image list")
    scan = open_scans(path)[0]
    assert scan.channel == "Height Trace"
    values = scan.pixels.read() * {"nm": 1, "um": 1000}[scan.intensity_unit]
    np.testing.assert_allclose(values, SHORT * (800 / 65536), rtol=1e-9)


WIDE = np.zeros((2, 4), np.int16)


@pytest.mark.parametrize(
    ("stored", "image", "frame", "step"),
    [
        (SHORT, {"Scan size": "1 1 ~m"}, {}, 0.25),
        (SHORT, {"Scan size": "1000 nm"}, {}, 250.0),
        # non-square pixels: half the lines over the same height
        (WIDE, {"Scan size": "1 1 ~m"}, {}, 0.5),
        # half the height; the second size repeats the width
        (WIDE, {"Aspect ratio": "2:1"}, {"Aspect ratio": "2:1"}, 0.25),
        (WIDE, {"Aspect ratio": "2:1"}, {"Aspect ratio": "2:1", "Lines": "4"}, 0.25),
        # half the height, and the second size says so
        (WIDE, {"Aspect ratio": "2:1", "Scan size": "1 0.5 ~m"}, {"Aspect ratio": "2:1"}, 0.25),
        # a scan stopped after half of its lines
        (WIDE, {"Aspect ratio": "0.516184"}, {"Lines": "4"}, 0.25),
        (WIDE, {}, {"Lines": "4"}, None),
        # half the height in as many lines: nothing tells which of the two was meant
        (SHORT, {"Aspect ratio": "2:1"}, {"Aspect ratio": "2:1"}, None),
        (SHORT, {"Scan size": "1 1 V"}, {}, None),
    ],
)
def test_step_between_lines(tmp_path, stored, image, frame, step):
    scan = open_scans(write_spm(tmp_path / "a.spm", [(stored, image)], scan=frame))[0]
    assert scan.axis("y").step == (step and pytest.approx(step))
    assert bool(step) == (scan.problems == ())


def test_sizes_of_the_scan_are_taken_where_those_of_the_image_are_bogus(tmp_path):
    scan = one(tmp_path / "a.spm", **{"Number of lines": "3"})
    assert scan.pixels.shape == (4, 4)
    assert scan.axis("x").step is None


def test_integers_have_the_bytes_that_the_header_says_before_version_9_2(tmp_path):
    """A file of 8 lines of 16 bits whose lists say 16 and 4 lines is none of 4 lines of 32 bits."""
    stored = np.zeros((8, 4), np.int16)
    fields = {"Number of lines": "16", "Valid data len Y": "8"}
    path = write_spm(tmp_path / "a.001", [(stored, fields)], scan={"Lines": "4"})
    with pytest.raises(DamagedFileError, match="has 64 bytes for 4 x 16 pixels of 2 bytes"):
        open_scans(path)
    path = write_spm(tmp_path / "b.001", [(stored, fields)], scan={"Lines": "4"}, file=NEWER)
    assert open_scans(path)[0].pixels.shape == (4, 4)


def test_lines_without_data_are_said(tmp_path):
    scan = one(tmp_path / "a.spm", **{"Valid data len Y": "3"})
    assert scan.problems == ("only 3 of 4 lines hold data of the scan",)


@pytest.mark.parametrize(
    ("first", "file", "frame", "says"),
    [
        ("\\*Force file list", {}, {}, "a NanoScope file of force curves"),
        ("?*File list", {}, {}, "numbers as text"),
        ("?*Force file list", {}, {}, "numbers as text"),
        ("\\*File list", {"Start context": "FVOL"}, {}, "a force volume"),
        ("\\*File list", {"Start context": "FOL"}, {}, "force curves"),
        ("\\*File list", {"Start context": "OLVAR"}, {}, "profiles of uneven length"),
        ("\\*File list", {}, {"Operating mode": "Force Volume"}, "a force volume"),
    ],
)
def test_curves_are_refused_by_name(tmp_path, first, file, frame, says):
    path = write_spm(tmp_path / "a.spm", [(SHORT, {})], first=first, file=file, scan=frame)
    with pytest.raises(NotAnImageError, match=says):
        open_scans(path)


def test_a_header_without_images_is_refused(tmp_path):
    path = write_spm(tmp_path / "a.spm", [(SHORT, {})], image_list="Some list")
    with pytest.raises(NotAnImageError, match="lists no image"):
        open_scans(path)


def test_missing_numbers_are_named(tmp_path):
    path = write_spm(tmp_path / "a.spm", [(SHORT, {}), (SHORT, {"Line direction": "Retrace"})])
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DamagedFileError, match=r"numbers of Height Retrace are missing: bytes 4128 to 4160"):
        open_scans(path)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"Data offset": "40"}, "inside the header"),
        ({"Data length": "99999999999"}, "inside the header"),
        ({"Data length": "30"}, "has 30 bytes for 4 x 4 pixels"),
        ({"Samps/line": "0", "Number of lines": "9999999999"}, "0 x 9999999999 pixels of 2 bytes"),
    ],
)
def test_places_and_sizes_that_cannot_be_are_refused(tmp_path, fields, says):
    path = write_spm(tmp_path / "a.spm", [(SHORT, fields)], scan={"Lines": "7"})
    with pytest.raises(DamagedFileError, match=says):
        open_scans(path)


def test_changed_line_ends_are_refused(tmp_path):
    path = write_spm(tmp_path / "a.spm", [(SHORT, {})], newline="\n")
    with pytest.raises(DamagedFileError, match="text transfer changed the line ends"):
        open_scans(path)


def test_a_cut_header_is_refused(tmp_path):
    path = write_spm(tmp_path / "a.spm", [(SHORT, {})])
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(DamagedFileError, match="no .*File list end"):
        open_scans(path)


def test_a_real_file_equals_the_manifest(shared):
    formats = shared / "data" / "formats"
    items = json.loads((formats / "manifest.json").read_text())["items"]
    facts = next(item["expected"]["facts"] for item in items if item["open"].endswith("old_bruker.002"))
    scan = open_scans(formats / "bruker_nanoscope" / "old_bruker.002")[0]
    pixels, image = scan.pixels.read(), facts["images"][0]
    for found, name in ((pixels.min(), "min"), (pixels.max(), "max"), (pixels.mean(), "mean")):
        assert found == pytest.approx(image["stats"][name], rel=1e-5)
    assert scan.pixels.dtype == image["dtype"]
    assert scan.intensity_unit == image["unit"]
    for name in ("x", "y"):
        assert scan.axis(name).step_in("m") == pytest.approx(facts["pixel_size"][name]["si"], rel=1e-5)
    assert scan.acquired == "2019-07-30T12:34:38"


@pytest.mark.parametrize("name", ["bruker_data_header.000", "bruker_data_header.002"])
def test_real_headers_without_data_say_what_is_missing(shared, name):
    with pytest.raises(DamagedFileError, match="numbers of Height Sensor Retrace are missing"):
        open_scans(shared / "data" / "formats" / "bruker_nanoscope" / name)
