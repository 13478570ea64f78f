"""SEM makers' TIFF tags: FEI and Thermo Fisher, Phenom, Zeiss, TESCAN."""

from __future__ import annotations

from pathlib import Path
from runpy import run_path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tifffile

from micdb.ingest.sniff import open_scans
from micdb.records import Scan

make = SimpleNamespace(**run_path(str(Path(__file__).parents[1] / "data" / "tiff" / "make.py")))
GREY = np.arange(6 * 8, dtype=np.uint8).reshape(6, 8)


def one(path: Path) -> Scan:
    (scan,) = open_scans(path)
    return scan


def values(scan: Scan) -> dict[str, Any]:
    return {name: quantity.value for name, quantity in scan.settings.items()}


def test_fei(tmp_path: Path) -> None:
    scan = one(make.write(tmp_path / "a.tif", GREY, tags={34682: make.FEI}, resolution=(96, 96)))
    assert (scan.axis("x").step, scan.axis("y").step, scan.axis("x").unit) == (5.8e-7, 5.9e-7, "m")
    assert scan.modality == "SEM"
    assert scan.acquired == "2020-02-13T21:23:51"
    assert values(scan) == pytest.approx({
        "accelerating_voltage": 20000, "working_distance": 8.3, "beam_current": 4e-9, "dwell_time": 3e-5,
        "stage_x": -5, "stage_rotation": 90, "detector": "ETD", "instrument": "Quanta 3D FEG",
        "operator": "supervisor",
    })  # fmt: skip
    assert scan.source.format == "tif_fei"
    assert scan.original["Beam"] == {"HV": "20000", "Beam": "EBeam"}


def test_fei_without_scan_section_has_no_pixel_size(tmp_path: Path) -> None:
    header = make.FEI.replace("PixelWidth", "Other").replace("PixelHeight", "Another")
    scan = one(make.write(tmp_path / "a.tif", GREY, tags={34682: header}, resolution=(96, 96)))
    assert scan.axis("x").step is None


def test_fei_broken_numbers_are_problems_not_errors(tmp_path: Path) -> None:
    header = make.FEI.replace("HV=20000", "HV=notafloat").replace("5.8e-007", "inf")
    scan = one(make.write(tmp_path / "a.tif", GREY, tags={34682: header}))
    assert "accelerating_voltage" not in scan.settings
    assert scan.axis("x").step is None
    assert scan.axis("y").step == 5.9e-7
    assert any("cannot read Beam.HV = notafloat" in problem for problem in scan.problems)


def test_fei_resampled_by_an_editor_loses_its_pixel_size(tmp_path: Path) -> None:
    scan = one(make.write(tmp_path / "a.tif", GREY[:, ::2].copy(), tags={34682: make.FEI}))
    assert scan.axis("x").step is None
    assert "recorded 8 pixels wide, but the image now has 4" in scan.problems[0]


def test_zeiss_takes_the_pixel_size_of_the_image(tmp_path: Path) -> None:
    scan = one(make.write(tmp_path / "a.tif", GREY, tags={34118: make.ZEISS}))
    assert (scan.axis("x").step, scan.axis("x").unit) == (593.3, "nm")
    assert values(scan) == pytest.approx({
        "accelerating_voltage": 5000, "magnification": 10030, "working_distance": 5.2, "stage_tilt": 2,
        "detector": "InLens",
    })  # fmt: skip
    assert scan.acquired == "2023-04-11T08:40:47"
    assert scan.settings["accelerating_voltage"].raw == "AP_ACTUALKV = 5.00 kV"


def test_old_leo_numbers_refer_to_1024_pixels(tmp_path: Path) -> None:
    scan = one(
        make.write(tmp_path / "a.tif", np.zeros((4, 512), np.uint8), tags={34118: "0\r\n0\r\n0\r\n1e-08\r\n"})
    )
    assert (scan.axis("x").step, scan.axis("x").unit, scan.axis("x").origin) == (2e-8, "m", "derived")


def test_tescan_tag(tmp_path: Path) -> None:
    scan = one(make.write(tmp_path / "a.tif", GREY, tags={50431: make.tescan()}))
    assert (scan.axis("x").step, scan.axis("y").step, scan.axis("x").unit) == (2.5e-6, 2.6e-6, "m")
    assert scan.settings["accelerating_voltage"].value == 10000
    assert scan.settings["working_distance"].value == pytest.approx(13.25)
    assert scan.acquired == "2016-05-16T16:03:27"


def test_tescan_ion_image_has_no_modality(tmp_path: Path) -> None:
    ions = make.tescan().replace(b"\x03\0Detector=SE", b"\x05\0Detector=SE")
    scan = one(make.write(tmp_path / "a.tif", GREY, tags={50431: ions}))
    assert (scan.modality, scan.settings["accelerating_voltage"].value) == (None, 10000)


FIBSEM: dict[str, Any] = {
    "image": {"beam_type": "ELECTRON", "resolution": [8, 6], "dwell_time": 1e-6, "hfw": 1.5e-4},
    "pixel_size": {"x": 1e-8, "y": 2e-8},
    "microscope_state": {
        "timestamp": 1596041299.5,
        "stage_position": {"x": 0.001, "y": None, "z": 0.004, "r": 1.5707963267948966, "t": 0.0},
        "electron_beam": {"voltage": 2000, "beam_current": 1e-12, "working_distance": 4e-3},
        "ion_beam": {"voltage": 30000, "beam_current": 2e-11, "working_distance": None},
        "electron_detector": {"type": "ETD", "mode": "SecondaryElectrons"},
        "ion_detector": "Not defined",
    },
    "system": {"info": {"manufacturer": "Thermo", "model": "Aquilos", "fibsem_version": "0.4"}},
    "user": {"name": "null"},
}


def test_openfibsem(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", GREY, metadata=FIBSEM)
    scan = one(tmp_path / "a.tif")
    assert (scan.axis("x").step, scan.axis("y").step, scan.axis("x").unit) == (1e-8, 2e-8, "m")
    assert (scan.source.format, scan.modality, scan.problems) == ("tif_openfibsem", "SEM", ())
    assert scan.acquired == "2020-07-29T16:48:19.500000Z"
    assert values(scan) == pytest.approx({
        "accelerating_voltage": 2000, "beam_current": 1e-12, "working_distance": 4, "dwell_time": 1e-6,
        "stage_x": 1, "stage_z": 4, "stage_rotation": 90, "stage_tilt": 0, "detector": "ETD",
        "signal": "SecondaryElectrons", "vendor": "Thermo", "instrument": "Aquilos",
    })  # fmt: skip


def test_openfibsem_ion_image_and_other_json(tmp_path: Path) -> None:
    ions = FIBSEM | {"image": FIBSEM["image"] | {"beam_type": "ION", "resolution": [1536, 1024]}}
    tifffile.imwrite(tmp_path / "a.tif", GREY, metadata=ions)
    scan = one(tmp_path / "a.tif")
    assert (scan.modality, values(scan)["accelerating_voltage"]) == (None, 30000)
    assert scan.axis("x").step is None
    assert "recorded 1536 pixels wide, but the image now has 8" in scan.problems[0]
    for told in ({"shape of": "x"}, FIBSEM | {"image": []}, FIBSEM | {"microscope_state": None}):
        tifffile.imwrite(tmp_path / "b.tif", GREY, metadata=told)
        assert (one(tmp_path / "b.tif").source.format, one(tmp_path / "b.tif").problems) == ("tif", ())


def test_fei_magnification_is_derived_from_the_canvas(tmp_path: Path) -> None:
    header = make.FEI.replace("[Image]\r\n", "[Image]\r\nMagCanvasRealWidth=0.1492\r\n")
    header = header.replace("[Scan]\r\n", "[Scan]\r\nHorFieldsize=0.0005968\r\n")
    magnification = one(make.write(tmp_path / "a.tif", GREY, tags={34682: header})).settings["magnification"]
    assert (magnification.value, magnification.origin) == (250.0, "derived")


def test_fei_field_width_stands_in_for_the_pixel_size(tmp_path: Path) -> None:
    """The navigation camera has no [Scan], but may name its field."""
    header = (
        "[Beam]\r\nBeam=IRBeam\r\nHV=\r\n[IRBeam]\r\nHFW=0.0008\r\nVFW=0.0009\r\n"
        "[Image]\r\nResolutionX=8\r\nResolutionY=6\r\n[Detectors]\r\nName=Nav-Cam\r\n"
    )
    scan = one(make.write(tmp_path / "a.tif", GREY, tags={34682: header}, resolution=(96, 96)))
    x, y = scan.axis("x"), scan.axis("y")
    assert (x.step, y.step, x.unit, x.origin) == (pytest.approx(1e-4), pytest.approx(1.5e-4), "m", "derived")
    assert (scan.modality, scan.problems) == ("optical", ())


def test_fei_ion_image_has_the_ions_settings_and_no_modality(tmp_path: Path) -> None:
    header = make.FEI.replace("Beam=EBeam", "Beam=IBeam").replace("HV=20000", "HV=30000", 1)
    header += "[IBeam]\r\nHV=30000\r\nWD=0.0165\r\nBeamCurrent=9.3e-012\r\n"
    scan = one(make.write(tmp_path / "a.tif", GREY, tags={34682: header}))
    assert scan.modality is None
    found = values(scan)
    assert (found["accelerating_voltage"], found["working_distance"]) == (30000, pytest.approx(16.5))
    assert found["beam_current"] == 9.3e-12


def test_phenom(tmp_path: Path) -> None:
    scan = one(make.write(tmp_path / "a.tif", GREY, tags={34683: make.PHENOM}))
    x, y = scan.axis("x"), scan.axis("y")
    assert (x.step, y.step, x.unit, scan.source.format) == (975.5, 980.5, "nm", "tif_phenom")
    assert (scan.modality, scan.acquired) == ("SEM", "2019-08-07T09:37:31")
    assert values(scan) == pytest.approx({
        "accelerating_voltage": 15000, "dwell_time": 2e-7, "emission_current": 4.03e-5, "spot_size": 4.3,
        "working_distance": 8.14, "detector": "QBSD", "instrument": "G5 XL",
    })  # fmt: skip


def test_zeiss_ion_image(tmp_path: Path) -> None:
    """A crossbeam writes the settings of both columns; the ions' pixel size must agree to be believed."""
    ions = "DP_FIB_IMAGING\r\nFIB Imaging = FIB\r\nAP_FIB_EHT_ACTUAL\r\nEHT = 29.99 kV\r\n"
    ions += "AP_FIB_PIXEL_SIZE\r\nSize = {}\r\n"
    equal = one(make.write(tmp_path / "a.tif", GREY, tags={34118: make.ZEISS + ions.format("593.3 nm")}))
    assert (equal.modality, equal.axis("x").step) == (None, 593.3)
    assert equal.settings["accelerating_voltage"].value == pytest.approx(29990)
    assert "working_distance" not in equal.settings
    other = one(make.write(tmp_path / "b.tif", GREY, tags={34118: make.ZEISS + ions.format("10 nm")}))
    assert other.axis("x").step is None
    assert other.problems == ("pixel size unknown: 593.3 nm for electrons, 10 nm for ions, taken by FIB",)


def test_zeiss_without_the_key_uses_the_unnamed_pixel_size(tmp_path: Path) -> None:
    """AP_PIXEL_SIZE is the screen's: for an image of 512 pixels the true size is twice the unnamed one."""
    header = make.ZEISS.replace("AP_IMAGE_PIXEL_SIZE", "AP_OTHER")
    scan = one(make.write(tmp_path / "a.tif", np.zeros((4, 512), np.uint8), tags={34118: header}))
    assert (scan.axis("x").step, scan.axis("x").origin) == (pytest.approx(2 * 5.932882e-07), "derived")


def test_zeiss_equals_rosettasciio(tmp_path: Path) -> None:
    file_reader = pytest.importorskip("rsciio.tiff").file_reader
    path = make.write(
        tmp_path / "a.tif", np.zeros((4, 2048), np.uint8), tags={34118: "0\r\n0\r\n0\r\n1e-08\r\n"}
    )
    theirs = file_reader(str(path))[0]["axes"][1]
    assert one(path).axis("x").step == pytest.approx(theirs["scale"])


def test_tescan_tag_without_text_leaves_the_rest_to_the_sidecar(tmp_path: Path) -> None:
    (tmp_path / "a-tif.hdr").write_text("[MAIN]\nPixelSizeX=1e-8\nPixelSizeY=1e-8\n[SEM]\nHV=5000\n")
    scan = one(make.write(tmp_path / "a.tif", GREY, tags={50431: b"\x0b\0\0\0\x01\0thumbnail"}))
    assert (scan.axis("x").step, scan.source.format) == (1e-8, "tif_tescan")
