"""Omicron MATRIX: directions, scale, what the log says of one image, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import numpy as np
import pytest

from micdb.errors import DamagedFileError, NotAnImageError
from micdb.ingest.readers.matrix import Matrix
from micdb.ingest.sniff import open_scans
from micdb.testing import ReaderContract

make = SimpleNamespace(**run_path(str(Path(__file__).parents[1] / "data" / "matrix" / "make.py")))

UP = np.arange(12).reshape(3, 4) * 1000
DOWN = UP + 50
FOUR = make.acquired(UP, DOWN)


def metres(counts):
    return (counts - 5) / 1e9


class TestContract(ReaderContract):
    reader = Matrix

    @pytest.fixture
    def files(self, tmp_path):
        (tmp_path / "stopped").mkdir()
        return [
            make.write_session(tmp_path, FOUR),
            make.write_session(tmp_path / "stopped", FOUR[:30], channel="I", asked=48),
        ]


def test_four_directions_are_turned_as_seen(tmp_path):
    scans = open_scans(make.write_session(tmp_path, FOUR))
    seen = {
        "Z forward/up": UP,
        "Z backward/up": UP + 100,
        "Z forward/down": DOWN,
        "Z backward/down": DOWN + 100,
    }
    assert [scan.channel for scan in scans] == list(seen)
    for scan in scans:
        np.testing.assert_allclose(scan.pixels.read(), metres(seen[scan.channel]), rtol=1e-14)
        assert (scan.intensity_unit, scan.problems) == ("m", ())


@pytest.mark.parametrize(
    ("x", "y", "constraint", "channels"),
    [
        (True, False, 0, ["Z forward/up", "Z backward/up"]),
        (False, True, 0, ["Z forward/up", "Z forward/down"]),
        (False, False, 0, ["Z forward/up"]),
        (True, True, 1, ["Z forward/up", "Z backward/up"]),
        (True, True, 2, ["Z forward/up"]),
    ],
)
def test_fewer_directions(tmp_path, x, y, constraint, channels):
    blocks = b"".join(
        make.change(f"XYScanner.{key}", value, "--")
        for key, value in {"X_Retrace": x, "Y_Retrace": y, "Scan_Constraint": constraint}.items()
    )
    back, down = any("back" in name for name in channels), any("down" in name for name in channels)
    counts = make.acquired(UP, DOWN if down else None, retrace=back)
    scans = open_scans(make.write_session(tmp_path, counts, blocks=blocks))
    assert [scan.channel for scan in scans] == channels
    np.testing.assert_allclose(scans[-1].pixels.read(), metres((DOWN if down else UP) + (100 if back else 0)))


def test_values_equal_access2thematrix(tmp_path):
    from access2thematrix import MtrxData

    path = make.write_session(tmp_path, FOUR, channel="I")
    other = MtrxData()
    traces, _ = other.open(str(path))
    for scan, trace in zip(open_scans(path), traces.values(), strict=True):
        image = other.select_image(trace)[0]
        np.testing.assert_allclose(scan.pixels.read(), image.data[::-1], rtol=1e-14)
        assert scan.channel == f"I {trace}"
        assert scan.intensity_unit == image.channel_name_and_unit[1] == "A"


def test_multilinear_transfer_by_hand(tmp_path):
    scan = open_scans(make.write_session(tmp_path, FOUR, channel="I"))[0]
    # (Raw_1 - PreOffset) * (count - Offset) / (NeutralFactor * PreFactor) = 2.5 * (count - 3) / 5e12
    np.testing.assert_allclose(scan.pixels.read(), (UP - 3) * 5e-13)


def test_scale_settings_and_date(tmp_path):
    scan = open_scans(make.write_session(tmp_path, FOUR))[0]
    assert [(axis.name, axis.size, axis.step, axis.unit) for axis in scan.axes] == [
        ("y", 3, pytest.approx(1e-8), "m"),
        ("x", 4, pytest.approx(5e-9), "m"),
    ]
    assert {name: quantity.value for name, quantity in scan.settings.items()} == {
        "bias": -1.5,
        "setpoint_current": 3e-11,
        "scan_angle": 30.0,
        "offset_x": pytest.approx(100.0),
        "offset_y": pytest.approx(-25.0),
        "dwell_time": 0.01,
        "scan_speed": pytest.approx(5e-7),
        "sample": "Au(111)",
        "operator": "ana",
    }
    assert scan.settings["scan_speed"].origin == "derived"
    assert scan.acquired == "2021-02-03T14:05:06Z"
    assert scan.modality == "STM"
    assert scan.source.parts == (str(tmp_path / f"{make.NAME}_0001.mtrx"),)
    assert scan.original["XYScanner.Width"] == [2e-8, "Meter"]


def test_what_was_said_before_the_file_counts_and_nothing_later(tmp_path):
    path = make.write_data(tmp_path / f"{make.NAME}--1_2.Z_mtrx", FOUR)
    log = make.change("GapVoltageControl.Voltage", 0.25, "Volt") + make.reference(f"{make.NAME}--1_1.Z_mtrx")
    log += make.change("XYScanner.Width", 8e-8, "Meter") + make.channels(
        {"Z": ("m", ("TFF_Linear1D", {"Factor": 2.0, "Offset": 0.0}))}
    )
    log += make.reference(path.name) + make.change("XYScanner.Width", 1.0, "Meter")
    make.write_parameters(tmp_path / f"{make.NAME}_0001.mtrx", log)
    scan = open_scans(path)[0]
    assert scan.settings["bias"].value == 0.25
    assert scan.axis("x").step == pytest.approx(2e-8)
    np.testing.assert_array_equal(scan.pixels.read(), UP / 2)


def test_the_log_goes_on_in_further_parameter_files(tmp_path):
    path = make.write_session(tmp_path, FOUR, blocks=make.change("Regulator.Setpoint_1", -5.0, "Hertz"))
    first = tmp_path / f"{make.NAME}_0001.mtrx"
    make.write_parameters(first, make.change("GapVoltageControl.Voltage", 0.5, "Volt"))
    make.write_parameters(
        tmp_path / f"{make.NAME}_0002.mtrx",
        make.change("Regulator.Setpoint_1", -5.0, "Hertz") + make.reference(path.name),
        start=b"",
    )
    scan = open_scans(path)[0]
    assert scan.settings["bias"].value == 0.5
    assert "setpoint_current" not in scan.settings  # the regulator held a frequency
    assert [Path(part).name[-9:-5] for part in scan.source.parts] == ["0001", "0002"]


def test_a_renamed_session_is_read(tmp_path):
    path = make.write_session(tmp_path, FOUR)
    moved = path.rename(tmp_path / "mine--7_12.Z_mtrx")
    (tmp_path / f"{make.NAME}_0001.mtrx").rename(tmp_path / "mine_0001.mtrx")
    assert len(open_scans(moved)) == 4


@pytest.mark.parametrize(("taken", "images"), [(6, 1), (9, 2), (24, 2), (30, 4), (47, 4)])
def test_a_scan_that_was_stopped_is_nan_where_it_did_not_come(tmp_path, taken, images):
    scans = open_scans(make.write_session(tmp_path, FOUR[:taken], asked=48))
    whole = [UP, UP + 100, DOWN, DOWN + 100]
    found = 0
    for scan, expected in zip(scans, whole, strict=False):
        pixels = scan.pixels.read()
        there = np.isfinite(pixels)
        np.testing.assert_allclose(pixels[there], metres(expected)[there])
        found += there.sum()
        stopped = f"the scan stopped early: {there.sum()} of 12 points were taken, the rest is NaN"
        assert scan.problems == (() if there.all() else (stopped,))
    assert found == taken
    assert len(scans) == (2 if 4 < taken <= 24 else images)


def test_the_first_line_of_an_upward_scan_is_the_lowest(tmp_path):
    scan = open_scans(make.write_session(tmp_path, FOUR[:4], asked=48))[0]
    np.testing.assert_array_equal(np.isfinite(scan.pixels.read()).all(axis=1), [False, False, True])


def test_names_of_the_oldest_version(tmp_path):
    scanner = {"X_Points": (4, "--"), "Y_Points": (3, "--"), "Zoom": (2, "--"), "Grid_Mode": (1, "--")}
    scanner |= {"Width": (2e-8, "Meter"), "Height": (3e-8, "Meter")}
    start = make.elements({"XYScanner": scanner}) + make.channels(make.CHANNELS)
    scans = open_scans(make.write_session(tmp_path, make.acquired(UP), start=start))
    assert [scan.channel for scan in scans] == ["Z forward/up", "Z backward/up"]
    assert scans[0].axis("x").step == pytest.approx(2.5e-9)


def test_an_unknown_transfer_function_leaves_counts(tmp_path):
    blocks = make.channels({"Z": ("m", ("TFF_Cubic", {"A": 1.0}))})
    scan = open_scans(make.write_session(tmp_path, FOUR, blocks=blocks))[0]
    np.testing.assert_array_equal(scan.pixels.read(), UP)
    assert scan.intensity_unit is None
    assert "TFF_Cubic" in scan.problems[0]


def test_a_changed_value_that_cannot_be_read_is_unknown_not_old(tmp_path):
    broken = make.change("GapVoltageControl.Voltage", 0.5, "Volt").replace(b"BUOD", b"????")
    scan = open_scans(make.write_session(tmp_path, FOUR, blocks=broken))[0]
    assert "bias" not in scan.settings
    assert "PMOD at byte" in scan.problems[0]


def test_without_its_parameter_file_it_is_refused_by_name(tmp_path):
    path = make.write_session(tmp_path, FOUR)
    (tmp_path / f"{make.NAME}_0001.mtrx").unlink()
    with pytest.raises(NotAnImageError, match=f"its parameter file {make.NAME}_0001.mtrx is missing"):
        open_scans(path)


def test_a_name_that_leads_nowhere_is_refused(tmp_path):
    path = make.write_data(tmp_path / "surface.mtrx", FOUR)
    with pytest.raises(NotAnImageError, match="NAME--RUN_CYCLE.CHANNEL_mtrx"):
        open_scans(path)


def test_spectra_are_refused_by_name(tmp_path):
    with pytest.raises(NotAnImageError, match=r"spectra I\(V\) of Omicron MATRIX"):
        open_scans(make.write_session(tmp_path, FOUR, channel="I(V)"))


def test_a_parameter_file_is_refused_with_its_data_files(tmp_path):
    make.write_session(tmp_path, FOUR)
    with pytest.raises(NotAnImageError, match="open its data files .*--7_12.Z_mtrx"):
        open_scans(tmp_path / f"{make.NAME}_0001.mtrx")


def test_a_parameter_file_that_does_not_name_it(tmp_path):
    path = make.write_session(tmp_path, FOUR)
    make.write_parameters(tmp_path / f"{make.NAME}_0001.mtrx", b"")
    with pytest.raises(DamagedFileError, match="does not name it"):
        open_scans(path)


def test_a_grid_that_does_not_fit_is_refused(tmp_path):
    blocks = make.change("XYScanner.Points", 5, "Count")
    with pytest.raises(DamagedFileError, match=r"48 points .* 4 image\(s\) of 3 lines of 5 points"):
        open_scans(make.write_session(tmp_path, FOUR, blocks=blocks))


def test_a_cut_data_file_is_refused(tmp_path):
    path = make.write_session(tmp_path, FOUR)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(DamagedFileError, match="promises 48 of 48 points, 192 bytes; there are 187"):
        open_scans(path)


def test_real_files_equal_the_manifest(shared):
    formats = shared / "data" / "formats"
    items = json.loads((formats / "manifest.json").read_text())["items"]
    for item in (item for item in items if item["format"] == "omicron_mtrx"):
        facts = item["expected"]["facts"]
        scans = open_scans(formats / item["open"])
        assert [scan.channel for scan in scans] == facts["channels"]
        for scan, image in zip(scans, facts["images"], strict=True):
            pixels = scan.pixels.read()
            assert (list(pixels.shape), str(pixels.dtype)) == (image["shape"], image["dtype"])
            assert scan.intensity_unit == image["unit"]
            assert scan.axis("x").step == pytest.approx(facts["pixel_size"]["x"]["si"], rel=1e-5)
            for name in ("min", "max", "mean", "std"):
                assert getattr(pixels, name)() == pytest.approx(image["stats"][name], rel=1e-5)
