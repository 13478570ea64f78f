"""Gwyddion files of both versions."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from runpy import run_path

import numpy as np
import pytest

from micdb.errors import DamagedFileError, NotAnImageError
from micdb.ingest.readers.gwyddion import Gwyddion
from micdb.ingest.sniff import open_scans
from micdb.testing import ReaderContract

make = run_path(str(Path(__file__).parents[1] / "data" / "gwyddion" / "make.py"))
data_field, write_gwy, write_version_1 = make["data_field"], make["write_gwy"], make["write_version_1"]

IMAGE = np.arange(12, dtype=float).reshape(3, 4)


def two_channels(path: Path, meta: dict[str, str] | None = None) -> Path:
    height = data_field(IMAGE, size=(8e-9, 3e-9))
    height["xoff"] = 5e-9
    return write_gwy(
        path, {"Height": height, "Phase": data_field(-IMAGE, size=(8e-9, 3e-9), z_unit="deg")}, meta
    )


VOLUME = np.arange(24, dtype=float).reshape(2, 3, 4)


def write_volume(path: Path, *bricks) -> Path:
    from gwyfile.objects import GwyContainer

    tree = GwyContainer({"/0/data": data_field(IMAGE, size=(8e-9, 3e-9)), "/0/data/title": "Height"})
    for number, item in enumerate(bricks):
        tree |= {f"/brick/{number}": item, f"/brick/{number}/title": f"Volume {number}"}
        tree[f"/brick/{number}/meta"] = GwyContainer({"Bias": f"{number} V"})
    with path.open("wb") as stream:
        GwyContainer(tree).tofile(stream)
    return path


class TestContract(ReaderContract):
    reader = Gwyddion

    @pytest.fixture
    def files(self, tmp_path):
        old = write_version_1(tmp_path / "old.gwy", IMAGE, size=4e-6, unit="µm", z_unit="nm")
        volume = write_volume(tmp_path / "volume.gwy", make["brick"](VOLUME, step=2e-9))
        return [two_channels(tmp_path / "new.gwy", {"Bias": "0.5 V"}), old, volume]


def test_every_data_channel_is_a_scan(tmp_path):
    height, phase = open_scans(two_channels(tmp_path / "a.gwy"))
    np.testing.assert_array_equal(height.pixels.read(), IMAGE)
    np.testing.assert_array_equal(phase.pixels.read(), -IMAGE)
    assert (height.channel, height.intensity_unit) == ("Height", "m")
    assert (phase.channel, phase.intensity_unit) == ("Phase", "deg")
    x, y = height.axis("x"), height.axis("y")
    assert (x.step, x.offset, x.unit) == (2e-9, 5e-9, "m")
    assert (y.step, y.offset, y.unit) == (1e-9, 0.0, "m")


def test_channels_come_in_the_order_of_their_numbers(tmp_path):
    fields = {f"channel {number}": data_field(IMAGE + number, size=(1.0, 1.0)) for number in range(12)}
    assert [scan.channel for scan in open_scans(write_gwy(tmp_path / "a.gwy", fields))] == list(fields)


def test_keys_without_their_first_slash_are_read(tmp_path):
    from gwyfile.objects import GwyContainer

    tree = {"0/data": data_field(IMAGE, size=(8e-9, 3e-9)), "0/data/title": "Height"}
    tree |= {"1/data": data_field(-IMAGE, size=(8e-9, 3e-9)), "1/meta": GwyContainer({"Bias": "0.5 V"})}
    with (tmp_path / "a.gwy").open("wb") as stream:
        GwyContainer(tree).tofile(stream)
    height, second = open_scans(tmp_path / "a.gwy")
    assert (height.channel, second.channel) == ("Height", None)
    assert "bias" not in height.settings
    assert second.settings["bias"].value == 0.5
    np.testing.assert_array_equal(second.pixels.read(), -IMAGE)


def test_metadata_with_a_unit_becomes_settings(tmp_path):
    meta = {
        "Bias": "0.25 V",
        "Z controller Setpoint": "3.000E-11 A",
        "Scan::speed forw. (m/s)": "5E-9",
        "Date": "16.12.2015",
        "Time": "11:39:44",
        "ScanAngle": "30",
    }
    scan = open_scans(two_channels(tmp_path / "a.gwy", meta))[0]
    assert {name: quantity.value for name, quantity in scan.settings.items()} == {
        "bias": 0.25,
        "setpoint_current": 3e-11,
        "scan_speed": 5e-9,
    }
    assert scan.acquired == "2015-12-16T11:39:44"
    assert scan.original["meta"] == meta


def test_a_bare_number_is_not_given_a_unit(tmp_path):
    scan = open_scans(two_channels(tmp_path / "a.gwy", {"Bias": "0.25"}))[0]
    assert "bias" not in scan.settings
    assert "bias unknown" in scan.problems[0]


@pytest.mark.parametrize(
    ("unit", "says"), [("", None), ("px", None), ("furlongish", "furlongish"), ("nm", "no base")]
)
def test_unknown_units_leave_the_scale_unknown(tmp_path, unit, says):
    field = data_field(IMAGE, size=(4.0, 3.0), unit=unit)
    (scan,) = open_scans(write_gwy(tmp_path / "a.gwy", {"Height": field}))
    assert scan.axis("x").step is None
    assert bool(scan.problems) == bool(says)
    assert not says or says in scan.problems[0]


def test_version_1_holds_base_units_whatever_prefix_it_showed(tmp_path):
    (scan,) = open_scans(write_version_1(tmp_path / "a.gwy", IMAGE, size=4e-6, unit="µm", z_unit="nm"))
    np.testing.assert_array_equal(scan.pixels.read(), IMAGE)
    assert (scan.axis("x").step, scan.axis("x").unit) == (1e-6, "m")
    assert scan.intensity_unit == "m"


def test_version_1_with_an_unknown_type_says_how_to_mend_it(tmp_path):
    path = write_version_1(tmp_path / "a.gwy", IMAGE, size=1.0, unit="m", z_unit="m")
    path.write_bytes(
        path.read_bytes().replace(struct.pack("<I", 64) + b"/0/base", struct.pack("<I", 72) + b"/0/base")
    )
    with pytest.raises(DamagedFileError, match="type number 72 .* save it again with Gwyddion 2"):
        open_scans(path)


def test_a_file_without_channels_says_what_it_holds(tmp_path):
    from gwyfile.objects import GwyContainer, GwyObject

    path = tmp_path / "a.gwy"
    with path.open("wb") as stream:
        GwyContainer({"/0/graph/graph/1": GwyObject("GwyGraphModel")}).tofile(stream)
    with pytest.raises(NotAnImageError, match="holds no image, but 1 x graph"):
        open_scans(path)


def test_volumes_in_space_and_time_are_stacks(tmp_path):
    brick = make["brick"]
    path = write_volume(tmp_path / "a.gwy", brick(VOLUME, step=2e-9), brick(VOLUME, step=0.5, unit="s"))
    height, space, time = open_scans(path)
    assert (height.channel, space.channel, time.channel) == ("Height", "Volume 0", "Volume 1")
    assert [(axis.name, axis.size, axis.step, axis.unit) for axis in space.axes] == [
        ("z", 2, 2e-9, "m"),
        ("y", 3, pytest.approx(2e-9), "m"),
        ("x", 4, 2e-9, "m"),
    ]
    np.testing.assert_array_equal(space.pixels.load_frame(1), VOLUME[1])
    assert (space.intensity_unit, space.settings["bias"].value) == ("A", 0)
    assert (time.axes[0].name, time.axes[0].step) == ("time", 0.5)


def test_volumes_of_spectra_are_left_out(tmp_path):
    (height,) = open_scans(write_volume(tmp_path / "a.gwy", make["brick"](VOLUME, step=0.1, unit="V")))
    assert height.channel == "Height"


def test_a_volume_with_uneven_planes_has_no_step(tmp_path):
    from gwyfile.objects import GwyObject

    uneven = make["brick"](VOLUME, step=1e-9, calibration=GwyObject("GwyDataLine"))
    scan = open_scans(write_volume(tmp_path / "a.gwy", uneven))[1]
    assert (scan.axes[0].step, scan.axes[1].unit) == (None, "m")
    assert "not evenly spaced" in scan.problems[0]


@pytest.mark.parametrize(
    ("key", "value", "setting"),
    [
        ("Bias::Bias (V)", "268.799E-3", ("bias", 0.268799)),
        ("Control::Topography Bias", "-250 mV", ("bias", -0.25)),
        ("EEPA:GapVoltageControl.Voltage [Volt]", "1.000000e-01", ("bias", 0.1)),
        ("EEPA:Regulator.Setpoint_1 [Ampere]", "1e-11", ("setpoint_current", 1e-11)),
        ("Control::Set Point", "0.5 nA", ("setpoint_current", 5e-10)),
    ],
)
def test_metadata_that_import_modules_leave(tmp_path, key, value, setting):
    scan = open_scans(two_channels(tmp_path / "a.gwy", {key: value}))[0]
    assert scan.settings[setting[0]].value == pytest.approx(setting[1])


def test_damage_is_named_with_its_place(tmp_path):
    path = two_channels(tmp_path / "a.gwy")
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DamagedFileError, match=r"\[gwyddion\] at byte \d+: GwyContainer claims"):
        open_scans(path)


def test_real_files_equal_the_manifest(shared):
    formats = shared / "data" / "formats"
    items = json.loads((formats / "manifest.json").read_text())["items"]
    for item in (item for item in items if item["format"] == "gwy" and item["content"] in ("real", "legacy")):
        scans = open_scans(formats / item["open"])
        for scan, image in zip(scans, item["expected"]["gwyddion"]["images"], strict=True):
            pixels = scan.pixels.read()
            assert (scan.channel, scan.intensity_unit) == (image["title"], image["z_unit"])
            assert scan.axis("x").unit == image["unit"]
            assert [scan.axis("x").step, scan.axis("y").step] == pytest.approx(image["pixel_size"], rel=1e-5)
            assert list(pixels.shape) == image["shape"]
            assert pixels.min() == pytest.approx(image["stats"]["min"], rel=1e-5)
            assert pixels.max() == pytest.approx(image["stats"]["max"], rel=1e-5)
