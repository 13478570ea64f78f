"""RHK SM4: orientation by the signs of the scales, values, and what is refused."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from runpy import run_path

import numpy as np
import pytest

from micdb.errors import DamagedFileError, NotAnImageError
from micdb.ingest.readers.rhk import Rhk
from micdb.ingest.sniff import open_scans
from micdb.testing import ReaderContract

write_sm4 = run_path(str(Path(__file__).parents[1] / "data" / "rhk" / "make.py"))["write_sm4"]

STORED = np.arange(12).reshape(3, 4) * 100 - 500
SPECTRA = (np.zeros((2, 5)), {"kind": 1, "line_type": 7})


def spym_pages(path: Path) -> list:
    """Read with spym's own parser; the package itself wants hvplot."""
    package = importlib.util.find_spec("spym")
    if package is None:
        pytest.skip("spym is not installed")
    file = Path(package.submodule_search_locations[0]) / "io" / "rhksm4" / "_sm4.py"
    spec = importlib.util.spec_from_file_location("spym_sm4", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return list(module.RHKsm4(str(path)))


class TestContract(ReaderContract):
    reader = Rhk

    @pytest.fixture
    def files(self, tmp_path):
        both = [(STORED, {}), (STORED + 1, {"scan_type": 1})]
        return [
            write_sm4(tmp_path / "both.sm4", both),
            write_sm4(tmp_path / "mixed pages.sm4", [SPECTRA, (STORED, {"y_scale": 1e-9})]),
        ]


@pytest.mark.parametrize(
    ("scales", "seen"),
    [
        ((-2e-9, -1e-9), STORED[:, ::-1]),
        ((2e-9, -1e-9), STORED),
        ((-2e-9, 1e-9), STORED[::-1, ::-1]),
        ((2e-9, 1e-9), STORED[::-1]),
    ],
)
def test_signs_of_the_scales_turn_the_image(tmp_path, scales, seen):
    page = {"x_scale": scales[0], "y_scale": scales[1]}
    scan = open_scans(write_sm4(tmp_path / "a.sm4", [(STORED, page)]))[0]
    np.testing.assert_allclose(scan.pixels.read(), seen * 1e-12 + 5e-8, rtol=1e-6)
    assert scan.axis("x").step == pytest.approx(2e-9)
    assert scan.axis("y").step == pytest.approx(1e-9)
    assert scan.axis("x").unit == "m"


def test_settings_date_channel(tmp_path):
    backward = {"scan_type": 1, "strings": {0: "LIA Current", 9: "A"}}
    forward, back = open_scans(write_sm4(tmp_path / "a.sm4", [(STORED, {}), (STORED, backward)]))
    assert [forward.channel, back.channel] == ["Topography forward", "LIA Current backward"]
    assert [forward.intensity_unit, back.intensity_unit] == ["m", "A"]
    values = {name: quantity.value for name, quantity in forward.settings.items()}
    assert values == {
        "bias": 0.075,
        "setpoint_current": 7e-11,
        "dwell_time": 0.01,
        "scan_angle": 30.0,
        "comment": "a note",
    }
    assert forward.acquired == "2021-08-23T15:18:44"  # RHK writes month/day/year
    assert forward.original["file_name"] == "C:\\x.sm4"
    assert forward.problems == ()


def test_a_stopped_scan_is_said(tmp_path):
    scan = open_scans(write_sm4(tmp_path / "a.sm4", [(STORED, {"strings": {13: "0002"}})]))[0]
    assert scan.problems == ("the scan was stopped after 2 of 3 lines",)


def test_unknown_scales_leave_the_step_unknown_and_the_values_raw(tmp_path):
    page = {"x_scale": 0.0, "z_scale": float("nan"), "strings": {9: "quux"}}
    scan = open_scans(write_sm4(tmp_path / "a.sm4", [(STORED, page)]))[0]
    assert scan.axis("x").step is None
    assert scan.pixels.dtype == "int32"
    assert scan.intensity_unit is None
    said = " ".join(scan.problems)
    assert "raw counts" in said
    assert "unknown unit 'quux'" in said
    assert "step of x unknown" in said
    np.testing.assert_array_equal(scan.pixels.read(), STORED)


def test_spectra_are_left_out_and_files_of_spectra_refused(tmp_path):
    scans = open_scans(write_sm4(tmp_path / "mixed.sm4", [SPECTRA, (STORED, {})]))
    assert [scan.channel for scan in scans] == ["Topography forward"]
    with pytest.raises(NotAnImageError, match="the file holds spectra or curves, but no image"):
        open_scans(write_sm4(tmp_path / "spectra.sm4", [SPECTRA, SPECTRA]))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"\xaa\0" + "STiMage 004.001 1".encode("utf-16le") + bytes(200), "RHK SM3"),
        (b"STiMage 3.1  0 0" + bytes(2000), "RHK SM2"),
    ],
)
def test_older_formats_are_refused_by_name(tmp_path, content, says):
    path = tmp_path / "a.sm3"
    path.write_bytes(content)
    with pytest.raises(NotAnImageError, match=says):
        open_scans(path)


def test_cut_data_and_wrong_sizes_are_refused(tmp_path):
    path = write_sm4(tmp_path / "a.sm4", [(STORED, {})])
    content = path.read_bytes()
    path.write_bytes(content[:-4])
    with pytest.raises(DamagedFileError, match="data of page 1 ends behind the end of the file"):
        open_scans(path)
    place = content.index(np.array([4, 3], "<u4").tobytes())  # x_size, y_size
    path.write_bytes(content[:place] + b"\xff\xff\xff\x7f" + content[place + 4 :])
    with pytest.raises(DamagedFileError, match=r"2147483647 x 3 pixels takes \d+ bytes, its data has 48"):
        open_scans(path)


def test_a_blown_up_page_count_is_refused(tmp_path):
    path = write_sm4(tmp_path / "a.sm4", [(STORED, {})])
    content = bytearray(path.read_bytes())
    content[70:74] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    with pytest.raises(DamagedFileError, match="claims 4294967295 pages"):
        open_scans(path)


def test_real_images_equal_spym_and_the_manifest(shared):
    formats = shared / "data" / "formats"
    items = json.loads((formats / "manifest.json").read_text())["items"]
    item = next(item for item in items if item["id"] == "dev-130")
    scans, pages = open_scans(formats / item["open"]), spym_pages(formats / item["open"])
    facts = item["expected"]["facts"]
    for scan, page, image in zip(scans, pages, facts["images"], strict=True):
        pixels = scan.pixels.read()
        scale = page.attrs["RHK_Zscale"].astype(float)
        np.testing.assert_allclose(pixels, page.data * scale, rtol=1e-12)
        assert pixels.min() == pytest.approx(image["stats"]["min"], rel=1e-5)
        assert pixels.mean() == pytest.approx(image["stats"]["mean"], rel=1e-5)
        assert scan.intensity_unit == image["unit"]
        assert scan.axis("x").step == pytest.approx(facts["pixel_size"]["x"]["si"], rel=1e-5)
    assert scans[0].settings["bias"].value == facts["bias_V"]
    assert scans[0].acquired == facts["date"].removesuffix(".000")


def test_real_forward_and_backward_show_the_same_surface(shared):
    folder = shared / "data" / "formats" / "rhk_sm4"
    scans = open_scans(next(folder.glob("lia_image*")))
    backward, forward = (scan.pixels.read().ravel() for scan in scans[4:])
    assert np.corrcoef(forward, backward)[0, 1] > 0.95


def test_real_file_of_spectra_is_refused(shared):
    folder = shared / "data" / "formats" / "rhk_sm4"
    with pytest.raises(NotAnImageError, match="spectra or curves"):
        open_scans(next(folder.glob("dI-dV_incomplete*")))
