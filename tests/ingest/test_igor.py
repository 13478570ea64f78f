"""Igor waves: orientation, channels, scale, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from runpy import run_path

import numpy as np
import pytest

from micdb.errors import DamagedFileError, NotAnImageError
from micdb.ingest.readers.igor import IgorBinaryWave
from micdb.ingest.sniff import open_scans
from micdb.testing import ReaderContract

write_ibw = run_path(str(Path(__file__).parents[1] / "data" / "igor" / "make.py"))["write_ibw"]

LAYERS = np.arange(24, dtype="f4").reshape(4, 3, 2)  # x, y, channel
NAMES = (b"HeightRetrace", b"PhaseRetrace\0ce")  # the second one with what a longer name left behind
NOTE = (
    "ScanSize: 2e-06\rScanAngle: 45\rScanSpeed: 5e-06\rXOffset: 1e-07\rImagingMode:AC Mode\r"
    "MicroscopeModel:Cypher\rStartHeaterTemp:NaN °C\rDate:2020-11-25\rTime:7:09:19 PM\rScanAngle: 99\r"
)


def asylum(path: Path, **more) -> Path:
    return write_ibw(path, LAYERS, step=5e-9, unit="m", data_unit="m", note=NOTE, labels=(2, NAMES), **more)


class TestContract(ReaderContract):
    reader = IgorBinaryWave

    @pytest.fixture
    def files(self, tmp_path):
        return [
            asylum(tmp_path / "asylum.ibw"),
            asylum(tmp_path / "big endian.ibw", order=">"),
            write_ibw(tmp_path / "frames.ibw", LAYERS),
            write_ibw(tmp_path / "complex.ibw", (LAYERS[:, :, 0] + 1j).astype("c8"), step=0.5, unit="nm"),
            write_ibw(tmp_path / "counts.ibw", LAYERS[:, :, 0].astype("u2")),
        ]


@pytest.mark.parametrize("order", ["<", ">"])
def test_layers_are_channels_with_row_zero_on_top(tmp_path, order):
    scans = open_scans(asylum(tmp_path / "a.ibw", order=order))
    assert [scan.channel for scan in scans] == ["HeightRetrace", "PhaseRetrace"]
    for layer, scan in enumerate(scans):
        np.testing.assert_array_equal(scan.pixels.read(), LAYERS[:, ::-1, layer].T)


def test_values_equal_igor2(tmp_path):
    from igor2.binarywave import load

    path = asylum(tmp_path / "a.ibw")
    wave = load(str(path))["wave"]["wData"]
    np.testing.assert_array_equal(np.flipud(wave[:, :, 1].T), open_scans(path)[1].pixels.read())


def test_scale_settings_units_and_date(tmp_path):
    height, phase = open_scans(asylum(tmp_path / "a.ibw"))
    assert [(axis.name, axis.size, axis.step, axis.unit) for axis in height.axes] == [
        ("y", 3, 5e-9, "m"),
        ("x", 4, 5e-9, "m"),
    ]
    assert (height.intensity_unit, phase.intensity_unit) == ("m", "deg")
    assert height.settings["scan_angle"].value == 45
    assert height.settings["offset_x"].value == pytest.approx(100)
    assert height.settings["instrument"].value == "Cypher"
    assert height.modality == "AFM"
    assert height.acquired == "2020-11-25T19:09:19"
    assert "StartHeaterTemp:NaN °C" in height.original["note"]


@pytest.mark.parametrize(("stated", "unit", "problems"), [("pA", "pA", 0), ("°", "deg", 0), ("foo", None, 1)])
def test_the_note_says_what_the_inputs_of_users_hold(tmp_path, stated, unit, problems):
    note = f"{NOTE}UserIn0Unit: {stated}\r"
    names = (2, (b"UserIn0Trace", b"UserIn1Retrace"))
    first, second = open_scans(write_ibw(tmp_path / "a.ibw", LAYERS, unit="m", note=note, labels=names))
    assert (first.intensity_unit, len(first.problems)) == (unit, problems)
    assert (second.intensity_unit, second.problems) == ("V", ())


def test_a_channel_in_volts_is_not_in_metres(tmp_path):
    names = (2, (b"AmplitudeVoltsTrace", b"Amplitude1Trace"))
    scans = open_scans(write_ibw(tmp_path / "a.ibw", LAYERS, unit="m", note=NOTE, labels=names))
    assert [scan.intensity_unit for scan in scans] == ["V", "m"]


def test_a_wave_of_another_program_keeps_its_own_unit_and_no_fake_step(tmp_path):
    (scan,) = open_scans(write_ibw(tmp_path / "a.ibw", LAYERS[:, :, 0], data_unit="V"))
    assert scan.intensity_unit == "V"
    assert scan.axis("x").step is None  # the header's 1.0 without a unit is Igor's default
    assert (scan.channel, scan.modality, scan.acquired) == (None, None, None)


def test_layers_without_names_are_frames(tmp_path):
    (scan,) = open_scans(write_ibw(tmp_path / "a.ibw", LAYERS))
    assert [axis.name for axis in scan.axes] == ["frame", "y", "x"]
    np.testing.assert_array_equal(scan.pixels.read(), LAYERS[:, ::-1].T)


def test_frames_are_read_one_by_one(tmp_path):
    (scan,) = open_scans(write_ibw(tmp_path / "a.ibw", LAYERS))
    np.testing.assert_array_equal(scan.pixels.load_frame(1), LAYERS[:, ::-1, 1].T)


def test_hundreds_of_named_layers_are_frames(tmp_path):
    names = [f"frame {number}".encode() for number in range(300)]
    (scan,) = open_scans(write_ibw(tmp_path / "a.ibw", np.zeros((2, 2, 300), "u1"), labels=(2, names)))
    assert scan.axes[0].name == "frame"


@pytest.mark.parametrize(
    ("wave", "more", "says"),
    [
        (np.zeros(5, "f4"), {}, "wave of 5 numbers, a curve"),
        (np.zeros((5, 1), "f4"), {}, "5 x 1 numbers"),
        (np.zeros((2, 2, 2, 2), "f4"), {}, "2 x 2 x 2 x 2 numbers"),
        (np.zeros((5, 2), "f4"), {"labels": (1, (b"Raw", b"Defl"))}, "columns Raw, Defl"),
        (np.zeros((5, 2), "f4"), {"unit": "mV"}, "spectra: one of its axes is a voltage"),
        (np.zeros((4, 4), "u1"), {"kind": 0}, "text wave of 16 entries"),
        (np.zeros((4, 4), "u1"), {"kind": 0x4000}, "number type 16384"),
    ],
)
def test_curves_and_text_are_refused(tmp_path, wave, more, says):
    with pytest.raises(NotAnImageError, match=says):
        open_scans(write_ibw(tmp_path / "a.ibw", wave, **more))


def test_old_versions_have_one_dimension(tmp_path):
    path = tmp_path / "a.ibw"
    path.write_bytes(b"\x02\0" + bytes(300))
    with pytest.raises(NotAnImageError, match="version 2 has one dimension"):
        open_scans(path)


def test_cut_numbers_are_refused(tmp_path):
    path = write_ibw(tmp_path / "a.ibw", LAYERS)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(DamagedFileError, match="promises 96 bytes of numbers, there are 92"):
        open_scans(path)


def test_real_files_equal_the_manifest(shared):
    formats = shared / "data" / "formats"
    items = json.loads((formats / "manifest.json").read_text())["items"]
    for item in (item for item in items if item["format"] == "igor_ibw" and item["content"] == "real"):
        facts, seen = item["expected"]["facts"], item["expected"]["gwyddion"]["images"]
        scans = open_scans(formats / item["open"])
        assert [(scan.channel, scan.intensity_unit) for scan in scans] == [
            (i["title"], i["z_unit"]) for i in seen
        ]
        for scan, image in zip(scans, facts["images"], strict=True):
            pixels = scan.pixels.read()
            assert (list(pixels.shape), str(pixels.dtype)) == (image["shape"], image["dtype"])
            assert scan.axis("x").step == pytest.approx(facts["pixel_size"]["x"]["si"], rel=1e-5)
            assert pixels.min() == pytest.approx(image["stats"]["min"], rel=1e-5)
            assert pixels.max() == pytest.approx(image["stats"]["max"], rel=1e-5)
