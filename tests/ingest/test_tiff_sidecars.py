"""Texts that SEM programs write beside a picture: JEOL, Hitachi, TESCAN; beside TIFF, PNG, JPEG and BMP."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from micdb.errors import NotAnImageError
from micdb.ingest.sniff import open_scans
from micdb.records import Scan

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "formats" / "sem_tif_jeol" / "image000.txt"
WIDTH, HEIGHT = 1280, 960

HITACHI = {
    "InstructName": "SU8230", "SampleName": "steel", "ImageName": "a.tif", "Date": "03/25/2019",
    "Time": "10:22:13", "DataSize": "1280x960", "PixelSize": "9.921875", "SignalName": "SE(U)",
    "AcceleratingVoltage": "15000 Volt", "Magnification": "10000", "WorkingDistance": "8100 um",
    "EmissionCurrent": "9000 nA", "StagePositionX": "54450000",
}  # fmt: skip
JEOL = {
    "$CM_FORMAT": "JEOL-SEM", "$CM_DATE": "2019/03/12", "$CM_TIME": "10:21:55", "$CM_ACCEL_VOLT": "15.00",
    "$CM_MAG": "5000", "$CM_IMAGE_SIZE": "1280 960", "$$SM_WD": "10.0", "$CM_INSTRUMENT": "JSM-7800F",
}  # fmt: skip


def picture(path: Path, width: int = WIDTH, height: int = HEIGHT) -> Path:
    pixels = np.zeros((height, width), np.uint8)
    if path.suffix == ".tif":
        tifffile.imwrite(path, pixels, metadata=None, resolution=(96, 96))
    else:
        Image.fromarray(pixels).save(path)
    return path


def hitachi(path: Path, encoding: str = "ascii", **change: str | None) -> Path:
    lines = [f"{key}={value}" for key, value in (HITACHI | change).items() if value is not None]
    path.write_bytes("\r\n".join(["[SemImageFile]", *lines, ""]).encode(encoding))
    return path


def jeol(path: Path, encoding: str = "utf-8", **more: str) -> Path:
    lines = [
        f"{key} {value}" for key, value in (JEOL | {f"${key}": value for key, value in more.items()}).items()
    ]
    path.write_bytes("\r\n".join(lines).encode(encoding))
    return path


def one(path: Path) -> Scan:
    (scan,) = open_scans(path)
    return scan


def values(scan: Scan) -> dict[str, Any]:
    return {name: quantity.value for name, quantity in scan.settings.items()}


def steps(scan: Scan) -> tuple[float | None, float | None, str]:
    x, y = scan.axis("x"), scan.axis("y")
    return x.step_in("nm"), y.step_in("nm"), x.origin


@pytest.mark.skipif(not REAL.exists(), reason="real data (../shared/data) is not beside this checkout")
@pytest.mark.parametrize("height", [960, 1024], ids=["bare", "with data bar"])
def test_a_real_jeol_text_beside_a_picture_of_its_size(tmp_path: Path, height: int) -> None:
    """The size follows from its marker: 100 um are 101 pixels; by the magnification it would be 6 % more."""
    shutil.copy(REAL, tmp_path)
    scan = one(picture(tmp_path / "image000.tif", height=height))
    assert steps(scan) == (pytest.approx(100_000 / 101), pytest.approx(100_000 / 101), "derived")
    assert values(scan) == {
        "accelerating_voltage": 7000, "magnification": 95, "working_distance": 10.52, "scan_angle": 0,
        "stage_x": 30.6525, "stage_y": -2.6135, "stage_z": 10.5465, "detector": "SEI", "signal": "SEI",
        "instrument": "8530F", "operator": "UMNUser",
    }  # fmt: skip
    assert {quantity.origin for quantity in scan.settings.values()} == {"sidecar"}
    assert (scan.modality, scan.acquired) == ("SEM", "2020-08-31T15:32:31")
    assert scan.source.format == "tif_jeol"
    assert scan.source.parts == (str(tmp_path / "image000.txt"),)
    assert scan.problems == ()


@pytest.mark.parametrize(
    ("more", "expected", "origin"),
    [
        ({"CM_PIXEL_SIZE": "12.5nm 12.5nm"}, (12.5, 12.5), "sidecar"),
        ({"CM_FIELD_OF_VIEW": "25.600\u00b5m 19.200\u00b5m"}, (20, 20), "sidecar"),
        ({"CM_FIELD_OF_VIEW": "0.0256 0.0192"}, (20, 20), "sidecar"),
        ({"SM_MICRON_MARKER": "1um", "SM_MICRON_BAR": "50"}, (20, 20), "derived"),
        ({"SM_STANDARD_FIELD_SIZE": "120 90"}, (18.75, 18.75), "derived"),
    ],
    ids=["pixel", "field", "bare field", "marker", "standard field"],
)
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_jeol_pixel_size_by_what_is_surest(
    tmp_path: Path, more: dict[str, str], expected: tuple[float, float], origin: str, encoding: str
) -> None:
    jeol(tmp_path / "a.txt", encoding, **more)
    assert steps(one(picture(tmp_path / "a.tif"))) == (*(pytest.approx(size) for size in expected), origin)


@pytest.mark.parametrize(
    "more", [{}, {"SM_MICRON_MARKER": "500um"}, {"CM_FIELD_OF_VIEW": "25.6 19.2"}],
    ids=["magnification", "marker of unknown length", "field 1000 times as wide as by the magnification"],
)  # fmt: skip
def test_jeol_magnification_alone_is_no_pixel_size(tmp_path: Path, more: dict[str, str]) -> None:
    """It refers to a picture of 120 mm on one instrument, of 128 mm on another: a guess is 7 % wrong."""
    jeol(tmp_path / "a.txt", **more)
    scan = one(picture(tmp_path / "a.tif"))
    assert (scan.axis("x").step, scan.axis("y").step) == (None, None)
    assert values(scan)["magnification"] == 5000
    assert [said for said in scan.problems if "pixel size unknown" in said]


def test_jeol_field_without_unit_that_contradicts_the_magnification_is_not_used(tmp_path: Path) -> None:
    field = {"CM_FIELD_OF_VIEW": "25.6 19.2", "SM_STANDARD_FIELD_SIZE": "128 96"}
    jeol(tmp_path / "a.txt", **field)  # 1000 times as wide as the magnification says in mm
    assert steps(one(picture(tmp_path / "a.tif"))) == (pytest.approx(20), pytest.approx(20), "derived")


def test_jeol_transmission_microscopes_are_not_called_sem(tmp_path: Path) -> None:
    jeol(tmp_path / "a.txt", CM_INSTRUMENT="JEM-2200FS", SM_MICRON_MARKER="1um", SM_MICRON_BAR="50")
    assert one(picture(tmp_path / "a.tif")).modality is None


@pytest.mark.parametrize("encoding", ["ascii", "utf-16", "utf-16-le"])
def test_hitachi(tmp_path: Path, encoding: str) -> None:
    hitachi(tmp_path / "a.txt", encoding)
    scan = one(picture(tmp_path / "a.tif"))
    assert steps(scan) == (9.921875, 9.921875, "sidecar")
    assert values(scan) == pytest.approx({
        "accelerating_voltage": 15000, "magnification": 10000, "working_distance": 8.1, "detector": "SE(U)",
        "emission_current": 9e-6, "stage_x": 54.45, "instrument": "SU8230", "sample": "steel",
    })  # fmt: skip
    assert (scan.modality, scan.acquired) == ("SEM", "2019-03-25T10:22:13")
    assert scan.source.format == "tif_hitachi"
    assert scan.settings["accelerating_voltage"].raw == "AcceleratingVoltage = 15000 Volt"


def test_hitachi_date_that_can_be_read_in_two_ways_is_kept_raw(tmp_path: Path) -> None:
    hitachi(tmp_path / "a.txt", Date="03/04/2019")
    scan = one(picture(tmp_path / "a.tif"))
    assert (scan.acquired, scan.acquired_raw) == (None, "03/04/2019 10:22:13")


def test_hitachi_of_older_programs_derives_the_pixel_size(tmp_path: Path) -> None:
    """127 mm / magnification / width is what newer programs write: 9.921875 nm for 10 000 times."""
    hitachi(tmp_path / "a.txt", PixelSize=None)
    assert steps(one(picture(tmp_path / "a.tif"))) == (
        pytest.approx(9.921875), pytest.approx(9.921875), "derived",
    )  # fmt: skip


@pytest.mark.parametrize("extension", [".png", ".jpg", ".bmp"])
@pytest.mark.parametrize("maker", ["jeol", "hitachi", "tescan"])
def test_sidecars_of_other_pictures(tmp_path: Path, extension: str, maker: str) -> None:
    if maker == "tescan":
        text = "[MAIN]\nPixelSizeX=2e-8\nPixelSizeY=3e-8\nDate=2020-01-02\nTime=03:04:05\n[SEM]\nHV=5e3\n"
        (tmp_path / f"a-{extension[1:]}.hdr").write_text(text)
    elif maker == "jeol":
        jeol(tmp_path / "a.txt", SM_MICRON_MARKER="1um", SM_MICRON_BAR="50")
    else:
        hitachi(tmp_path / "a.txt")
    scan = one(picture(tmp_path / f"a{extension}"))
    expected = {"jeol": (20, 20), "hitachi": (9.921875, 9.921875), "tescan": (20, 30)}[maker]
    assert steps(scan)[:2] == tuple(pytest.approx(size) for size in expected)
    assert scan.settings["accelerating_voltage"].value == (5000 if maker == "tescan" else 15000)
    assert scan.modality == "SEM"
    assert scan.acquired is not None
    assert len(scan.source.parts) == 1
    assert scan.source.format == {".png": "png", ".jpg": "jpeg", ".bmp": "bmp"}[extension]


@pytest.mark.parametrize("name", ["a-tif.hdr", "a.hdr"])
def test_tescan_header(tmp_path: Path, name: str) -> None:
    main = "[MAIN]\nPixelSizeX=1e-8\nPixelSizeY=2e-8\nMagnification=5e3\n"
    (tmp_path / name).write_text(main + "[SEM]\nAcceleratorVoltage=5000\nWD=0.01\n")
    scan = one(picture(tmp_path / "a.tif"))
    assert steps(scan) == (pytest.approx(10), pytest.approx(20), "sidecar")
    assert values(scan) == {"accelerating_voltage": 5000, "magnification": 5000, "working_distance": 10}
    assert scan.settings["accelerating_voltage"].origin == "sidecar"
    assert scan.source.parts == (str(tmp_path / name),)


def test_tescan_ion_image_has_no_modality(tmp_path: Path) -> None:
    (tmp_path / "a-tif.hdr").write_text("[MAIN]\nPixelSizeX=1e-8\nPixelSizeY=1e-8\n[FIB]\nHV=30000\n")
    scan = one(picture(tmp_path / "a.tif"))
    assert (scan.modality, scan.settings["accelerating_voltage"].value) == (None, 30000)


@pytest.mark.parametrize("maker", [jeol, hitachi])
def test_a_text_of_another_size_of_picture_is_not_taken(tmp_path: Path, maker: Any) -> None:
    maker(tmp_path / "a.txt")
    scan = one(picture(tmp_path / "a.tif", width=640, height=480))
    assert (scan.axis("x").step, dict(scan.settings), scan.modality, scan.source.parts) == (
        None,
        {},
        None,
        (),
    )
    assert scan.problems == (
        "the sidecar a.txt was not taken: it says 1280 x 960 pixels, the picture has 640 x 480",
    )


@pytest.mark.parametrize("content", [b"ENVI\nsamples = 10\n", b"", b"\xff\xfe\x00", bytes(100), b"a note\n"])
def test_other_texts_of_the_same_name_are_left_alone(tmp_path: Path, content: bytes) -> None:
    for name in ("a.txt", "a.hdr", "a-tif.hdr"):
        (tmp_path / name).write_bytes(content)
    scan = one(picture(tmp_path / "a.tif"))
    assert (scan.source.parts, scan.problems, scan.source.format) == ((), (), "tif")


def test_the_text_alone_is_no_image(tmp_path: Path) -> None:
    with pytest.raises(NotAnImageError, match="a Hitachi SEM parameter text"):
        open_scans(hitachi(tmp_path / "a.txt"))
