"""Createc images: generations, channels, what a DAC unit is worth, and what is refused."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path
from runpy import run_path

import numpy as np
import pytest

from micdb.errors import DamagedFileError, NotAnImageError
from micdb.ingest.readers.createc import Createc
from micdb.ingest.sniff import open_scans
from micdb.testing import ReaderContract

write_dat = run_path(str(Path(__file__).parents[1] / "data" / "createc" / "make.py"))["write_dat"]

IMAGE = np.arange(12, dtype=np.float32).reshape(3, 4) - 5
FOUR = [IMAGE, IMAGE + 100, IMAGE + 200, IMAGE + 300]

VOLT = 20 / 2**20  # of one DAC unit
Z = VOLT * 10 * 20e-10  # GainZ, ZPiezoconst [m/V]
CURRENT = VOLT / 1e9  # preamplifier 10^9 V/A


class TestContract(ReaderContract):
    reader = Createc

    @pytest.fixture
    def files(self, tmp_path):
        sixteen = {"DAC-Type": None, "Dacto[A]z": "0.0061"}
        return [
            write_dat(tmp_path / "A250320.191933.dat", FOUR),
            write_dat(tmp_path / "B250320.191933.dat", FOUR, kind="[Paramet32]"),
            write_dat(tmp_path / "C250320.191933.dat", FOUR, kind="[Parameter]", **sixteen),
        ]


def test_channels_directions_and_physical_values(tmp_path):
    scans = open_scans(write_dat(tmp_path / "A250320.191933.dat", FOUR))
    assert [scan.channel for scan in scans] == [
        "Topography forward", "Current forward", "Topography backward", "Current backward",
    ]  # fmt: skip
    assert [scan.intensity_unit for scan in scans] == ["m", "A", "m", "A"]
    for scan, stored, factor in zip(scans, FOUR, (Z, CURRENT, Z, CURRENT), strict=True):
        np.testing.assert_allclose(scan.pixels.read(), stored * factor, rtol=1e-6)
        assert scan.problems == ()


def test_scale_settings_and_date(tmp_path):
    scan = open_scans(write_dat(tmp_path / "A250320.191933.dat", FOUR))[0]
    assert (scan.axis("x").step, scan.axis("y").step) == pytest.approx((2e-9, 1e-9))
    assert scan.axis("x").unit == "m"
    values = {name: quantity.value for name, quantity in scan.settings.items()}
    assert values == {
        "bias": -0.25,
        "setpoint_current": 1.57e-10,
        "scan_angle": 12.5,
        "operator": "Ada",
        "comment": "a note",
    }
    assert scan.acquired == "2025-03-20T19:19:33"  # local time of the instrument's computer
    assert scan.acquired_raw == "A250320.191933.dat"
    assert scan.modality == "STM"


@pytest.mark.parametrize("name", ["renamed.dat", "A251399.191933.dat", "A2503201.191933.dat"])
def test_a_file_that_was_renamed_has_no_date(tmp_path, name):
    scan = open_scans(write_dat(tmp_path / name, FOUR))[0]
    assert scan.acquired is None
    assert scan.acquired_raw is None
    assert "date is in the file name only" in scan.problems[0]


def test_one_direction_only(tmp_path):
    scans = open_scans(write_dat(tmp_path / "a.dat", FOUR[:2], Scanmode="1"))
    assert [scan.channel for scan in scans] == ["Topography forward", "Current forward"]


def test_int16_generation_has_a_16_bit_converter(tmp_path):
    fields = {"DAC-Type": None, "Dacto[A]z": "0.0061"}
    scan = open_scans(write_dat(tmp_path / "a.dat", FOUR, kind="[Parameter]", **fields))[0]
    np.testing.assert_allclose(scan.pixels.read(), IMAGE * 20 / 2**16 * 10 * 20e-10, rtol=1e-6)


@pytest.mark.parametrize(
    "fields",
    [{"Dacto[A]z": "0.00041"}, {"Dacto[A]z": None}, {"ZPiezoconst": None}, {"DAC-Type": "18bit"}],
)
def test_a_header_that_contradicts_itself_leaves_dac_units(tmp_path, fields):
    scans = open_scans(write_dat(tmp_path / "a.dat", FOUR, **fields))
    assert scans[0].intensity_unit is None
    assert "Topography is in DAC units" in scans[0].problems[0]
    np.testing.assert_array_equal(scans[1].pixels.read(), FOUR[1])


def test_constant_height_scans_have_their_own_bias_and_gain(tmp_path):
    current = open_scans(write_dat(tmp_path / "a.dat", FOUR, CHMode="1"))[1]
    assert current.intensity_unit is None
    assert "bias" not in current.settings
    said = " ".join(current.problems)
    assert "gain of the preamplifier is 9.0 or 6.0" in said
    assert "-250.0 mV and CHModeBias 1000.0 mV" in said


def test_further_channels_stay_dac_units(tmp_path):
    scans = open_scans(write_dat(tmp_path / "a.dat", FOUR[:3], Scanmode="1", Channelselectval="19"))
    assert [scan.channel for scan in scans][2] == "channel bit 4 forward"
    assert scans[2].intensity_unit is None
    np.testing.assert_array_equal(scans[2].pixels.read(), FOUR[2])


def test_each_voltage_of_a_multi_voltage_scan_has_its_bias(tmp_path):
    eight = [IMAGE + number for number in range(8)]
    fields = {"Scantype": "2", "MVoltnumber11": "2"}
    scans = open_scans(write_dat(tmp_path / "a.dat", eight, **fields))
    assert [scan.settings["bias"].value for scan in scans] == [-0.1] * 4 + [0.2] * 4
    assert scans[5].channel == "Current forward at 0.2 V"
    np.testing.assert_allclose(scans[5].pixels.read(), eight[5] * CURRENT, rtol=1e-6)


def test_channels_that_do_not_fit_are_numbered_and_raw(tmp_path):
    scans = open_scans(write_dat(tmp_path / "a.dat", FOUR[:3]))
    assert [scan.channel for scan in scans] == ["channel 0", "channel 1", "channel 2"]
    assert all(scan.intensity_unit is None for scan in scans)
    assert "3 channels do not fit" in scans[0].problems[0]


def test_a_stopped_scan_and_an_upward_scan_are_said(tmp_path):
    fields = {"ImageYPosMax": "3", "ScanYDirec": "0"}
    said = " ".join(open_scans(write_dat(tmp_path / "a.dat", FOUR, **fields))[0].problems)
    assert "stopped after 2 of 3 lines" in said
    assert "may be upside down" in said


def test_a_sine_scan_and_a_missing_length_leave_the_step_unknown(tmp_path):
    for fields in ({"ScanmodeSine": "1"}, {"Length x[A]": None, "Length y[A]": "0"}):
        scan = open_scans(write_dat(tmp_path / "a.dat", FOUR, **fields))[0]
        assert scan.axis("x").step is None
        assert scan.axis("y").step is None
        assert "step of y unknown" in " ".join(scan.problems)


@pytest.mark.parametrize("size", [9000, 16268, 20001])
def test_the_mark_is_found_where_the_header_was_edited(tmp_path, size):
    scans = open_scans(write_dat(tmp_path / "a.dat", FOUR, size=size))
    np.testing.assert_allclose(scans[3].pixels.read(), FOUR[3] * CURRENT, rtol=1e-6)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"[ParVERT32]\r\nDAC-Type=20bit\r\n", r"a Createc spectrum \(\.VERT\)"),
        (b"[ParVERT30]\r\nDAC-Type=20bit\r\n", r"a Createc spectrum \(\.VERT\)"),
        (b"[ParLAT30]\r\nDAC-Type=20bit\r\n", r"a Createc spectrum \(\.LAT\)"),
        (b"[Parameter]\r\nNum.X=4\r\n".ljust(16380, b"\0") + b"DATA" + b"\t1.5\t-3\r\n" * 30, "as text"),
    ],
)  # fmt: skip
def test_spectra_are_refused_by_name(tmp_path, content, says):
    path = tmp_path / "misnamed.dat"
    path.write_bytes(content)
    with pytest.raises(NotAnImageError, match=says):
        open_scans(path)


def test_a_cut_block_gives_the_images_before_the_cut(tmp_path):
    noise = np.random.default_rng(0).normal(size=(4, 30, 40)).astype(np.float32)
    path = write_dat(tmp_path / "a.dat", list(noise))
    path.write_bytes(path.read_bytes()[:-6000])
    scans = open_scans(path)
    np.testing.assert_allclose(scans[0].pixels.read(), noise[0] * Z, rtol=1e-6)
    with pytest.raises(DamagedFileError, match="the image ends after"):
        scans[3].pixels.read()


def test_a_broken_block_is_refused_with_its_place(tmp_path):
    path = write_dat(tmp_path / "a.dat", FOUR)
    content = bytearray(path.read_bytes())
    content[16390:16400] = b"\xff" * 10
    path.write_bytes(content)
    with pytest.raises(DamagedFileError, match=r"at byte \d+.*compressed block is broken"):
        open_scans(path)[0].pixels.read()


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"Num.X": "2000000000"}, "cannot hold them"),
        ({"Channels": "1000000"}, "promises 1000000 channels"),
        ({"Num.Y": "0"}, "of 4 x 0 pixels"),
        ({"Channels": None}, "promises 0 channels"),
    ],
)
def test_counts_that_cannot_be_are_refused(tmp_path, fields, says):
    with pytest.raises(DamagedFileError, match=says):
        open_scans(write_dat(tmp_path / "a.dat", FOUR, **fields))


def test_a_bomb_is_inflated_only_as_far_as_its_image(tmp_path):
    path = write_dat(tmp_path / "a.dat", FOUR)
    path.write_bytes(path.read_bytes()[:16384] + zlib.compress(bytes(1 << 26), 9))
    assert open_scans(path)[3].pixels.read().shape == (3, 4)


def test_a_broken_block_names_file_reader_and_byte(tmp_path):
    path = write_dat(tmp_path / "a.dat", FOUR)
    whole = bytearray(path.read_bytes())
    whole[16390:16400] = bytes(10)
    path.write_bytes(bytes(whole))
    with pytest.raises(
        DamagedFileError, match=r"a\.dat \[createc\] at byte \d+: the compressed block is broken"
    ):
        open_scans(path)[0].pixels.read()
    path.write_bytes(bytes(whole[:16384]) + zlib.compress(bytes(9)))
    with pytest.raises(DamagedFileError, match=r"\[createc\] at byte \d+: the image ends after"):
        open_scans(path)[3].pixels.read()


def test_a_header_without_mark_is_refused(tmp_path):
    path = write_dat(tmp_path / "a.dat", FOUR)
    path.write_bytes(path.read_bytes()[:16380])
    with pytest.raises(DamagedFileError, match="no mark DATA"):
        open_scans(path)


@pytest.mark.parametrize("name", ["A250320.191933.dat", "A260211.102135.dat"])
def test_real_files_equal_createc_and_the_manifest(shared, name):
    createc = pytest.importorskip("createc")
    formats = shared / "data" / "formats"
    path = formats / "createc_dat" / name
    items = json.loads((formats / "manifest.json").read_text())["items"]
    expected = next(item["expected"] for item in items if item["open"].endswith(name))
    raw, scans = createc.DAT_IMG(str(path)).img_array_list, open_scans(path)
    piezo = float(scans[0].original["ZPiezoconst / ZPiezoconst"])
    for number, (scan, stored) in enumerate(zip(scans, raw, strict=True)):
        factor = VOLT / 1e9 if number % 2 else VOLT * 10 * piezo * 1e-10
        np.testing.assert_allclose(scan.pixels.read(), stored * factor, rtol=1e-6)
        assert scan.acquired == expected["facts"]["date"].removesuffix("+00:00")
        assert scan.settings["bias"].value == pytest.approx(expected["facts"]["bias_V"])
        assert scan.settings["setpoint_current"].value == expected["facts"]["current_A"]
        assert scan.axis("x").step == pytest.approx(expected["facts"]["pixel_size"]["x"]["si"], rel=1e-5)
    topography = expected["gwyddion"]["images"][0]["stats"]  # its currents are scaled as if they were heights
    assert scans[0].pixels.read().astype(float).mean() == pytest.approx(topography["mean"], rel=1e-5)


def test_real_current_is_the_one_the_feedback_held(shared):
    scans = open_scans(shared / "data" / "formats" / "createc_dat" / "A260211.102135.dat")
    assert np.median(scans[1].pixels.read()) == pytest.approx(51.8e-12, rel=0.02)


def test_real_stopped_scan_is_said(shared):
    scan = open_scans(shared / "data" / "formats" / "createc_dat" / "A250320.191933.dat")[0]
    assert scan.problems == ("the scan was stopped after 60 of 512 lines: the rest are zeros",)
    assert not scan.pixels.read()[60:].any()


def test_real_file_with_a_moved_mark_gives_all_forty_images(shared):
    path = shared / "data" / "formats" / "createc_dat" / "createc_scan_preview_120nm.dat"
    scans = open_scans(path)
    assert len(scans) == 40
    content = path.read_bytes()
    block = zlib.decompress(content[content.index(b"DATAx") + 4 :])
    stored = struct.unpack_from("<4096f", block, 4 + 39 * 4 * 4096)
    np.testing.assert_allclose(scans[39].pixels.read().ravel(), np.array(stored) * VOLT / 1e9, rtol=1e-6)
    for scan in scans[1::2]:  # the current changes its sign with the voltage of each image
        assert np.sign(np.median(scan.pixels.read())) == np.sign(scan.settings["bias"].value)


def test_real_spectrum_is_refused(shared):
    path = shared / "data" / "formats" / "createc_vert" / "createc_vert_didz_image_state.VERT"
    with pytest.raises(NotAnImageError, match=r"a Createc spectrum \(\.VERT\)"):
        open_scans(path)
