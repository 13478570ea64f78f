"""The TIFF family."""

from __future__ import annotations

import struct
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tifffile

from micdb.errors import DamagedFileError, UnknownFormatError
from micdb.ingest.readers.tiff import Tiff
from micdb.ingest.sniff import open_scans
from micdb.records import Scan
from micdb.testing import ReaderContract

make = SimpleNamespace(**run_path(str(Path(__file__).parents[1] / "data" / "tiff" / "make.py")))
GREY = np.arange(6 * 8, dtype=np.uint8).reshape(6, 8)
STACK = np.arange(3 * 6 * 8, dtype=np.uint16).reshape(3, 6, 8)


class TestContract(ReaderContract):
    reader = Tiff

    @pytest.fixture
    def files(self, tmp_path: Path) -> list[Path]:
        return [
            make.write(tmp_path / "fei.tif", GREY, tags={34682: make.FEI}),
            make.write(tmp_path / "zeiss.tif", GREY, tags={34118: make.ZEISS}),
            make.write(tmp_path / "big.tif", STACK, bigtiff=True, compression="zlib"),
            make.write(tmp_path / "tiled.tif", GREY.astype(np.float32), tile=(16, 16), byteorder=">"),
            make.write(tmp_path / "j.tif", STACK, imagej=True, resolution=(4, 4), metadata={"unit": "um"}),
        ]


def one(path: Path) -> Scan:
    (scan,) = open_scans(path)
    return scan


def values(scan: Scan) -> dict[str, Any]:
    return {name: quantity.value for name, quantity in scan.settings.items()}


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float32", "float64", "int8", "float16"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_pixels_come_back(tmp_path: Path, dtype: str, byteorder: str) -> None:
    pixels = GREY.astype(dtype)
    scan = one(make.write(tmp_path / "a.tif", pixels, byteorder=byteorder))
    assert scan.pixels.dtype == dtype
    np.testing.assert_array_equal(scan.pixels.read(), pixels)


@pytest.mark.parametrize("dpi", [72, 96, 150, 300])
def test_print_resolution_is_no_calibration(tmp_path: Path, dpi: int) -> None:
    scan = one(make.write(tmp_path / "a.tif", GREY, resolution=(dpi, dpi), resolutionunit="INCH"))
    assert [(axis.step, axis.unit) for axis in scan.axes] == [(None, None)] * 2


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


def test_tescan_sidecar(tmp_path: Path) -> None:
    text = "[MAIN]\nPixelSizeX=1e-8\nPixelSizeY=1e-8\n[SEM]\nAcceleratorVoltage=5000\n"
    (tmp_path / "a-tif.hdr").write_text(text)
    scan = one(make.write(tmp_path / "a.tif", GREY))
    assert (scan.axis("x").step, scan.axis("x").origin) == (1e-8, "sidecar")
    assert scan.settings["accelerating_voltage"].origin == "sidecar"
    assert scan.source.parts == (str(tmp_path / "a-tif.hdr"),)


def test_digital_micrograph_export(tmp_path: Path) -> None:
    tags = {65003: "\xb5m", 65004: "\xb5m", 65006: 10.0, 65007: 0.0, 65009: 0.5, 65010: 0.25}
    scan = one(make.write(tmp_path / "a.tif", GREY.astype(np.int32), tags=tags))
    x, y = scan.axis("x"), scan.axis("y")
    assert (x.step, x.offset, x.unit, y.step, y.offset) == (0.5, -5.0, "um", 0.25, 0.0)


@pytest.mark.parametrize("unit", ["um", "\\u00B5m", "micron", "micrometer"])
def test_imagej_units(tmp_path: Path, unit: str) -> None:
    options: dict[str, Any] = {"imagej": True, "resolution": (4, 2)}
    path = make.write(
        tmp_path / "a.tif", STACK, metadata={"unit": unit, "spacing": 2.5, "axes": "ZYX"}, **options
    )
    scan = one(path)
    assert [(axis.name, axis.step, axis.unit) for axis in scan.axes] == [
        ("z", 2.5, "um"), ("y", 0.5, "um"), ("x", 0.25, "um"),
    ]  # fmt: skip


@pytest.mark.parametrize("unit", ["inch", "cm", "pixel", ""])
def test_imagej_print_units_are_unknown(tmp_path: Path, unit: str) -> None:
    scan = one(
        make.write(tmp_path / "a.tif", GREY, imagej=True, resolution=(72, 72), metadata={"unit": unit})
    )
    assert scan.axis("x").step is None


def test_ome_channels_are_scans(tmp_path: Path) -> None:
    metadata = {
        "axes": "CYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.25, "PhysicalSizeYUnit": "nm",
        "Channel": {"Name": ["DAPI", "GFP", "RFP"]},
    }  # fmt: skip
    scans = open_scans(make.write(tmp_path / "a.ome.tif", STACK, ome=True, metadata=metadata))
    assert [scan.channel for scan in scans] == ["DAPI", "GFP", "RFP"]
    np.testing.assert_array_equal(scans[1].pixels.read(), STACK[1])
    x, y = scans[0].axis("x"), scans[0].axis("y")
    assert (x.step, x.unit, y.step, y.unit) == (0.5, "um", 0.25, "nm")


def test_equal_pages_are_a_stack_and_others_are_scans(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as file:
        file.write(np.zeros((4, 4, 3), np.uint8), photometric="rgb", metadata=None)
        for page in STACK:
            file.write(page, metadata=None)
    preview, stack = open_scans(path)
    assert preview.pixels.shape == (4, 4, 3)
    assert [axis.name for axis in stack.axes] == ["frame", "y", "x"]
    np.testing.assert_array_equal(stack.pixels.read(), STACK)


@pytest.mark.parametrize("samples", [3, 4])
@pytest.mark.parametrize("planarconfig", ["contig", "separate"])
def test_colour_is_the_last_axis(tmp_path: Path, samples: int, planarconfig: str) -> None:
    pixels = np.arange(6 * 8 * samples, dtype=np.uint8).reshape(6, 8, samples)
    stored = pixels if planarconfig == "contig" else np.moveaxis(pixels, -1, 0).copy()
    extra = ["unassalpha"] if samples == 4 else []
    path = make.write(
        tmp_path / "a.tif", stored, photometric="rgb", planarconfig=planarconfig, extrasamples=extra
    )
    scan = one(path)
    assert scan.colour
    np.testing.assert_array_equal(scan.pixels.read(), pixels)


def test_grey_palette_is_kept_and_a_coloured_one_is_applied(tmp_path: Path) -> None:
    ramp = np.tile(np.arange(256, dtype=np.uint16) * 257, (3, 1))
    grey = one(make.write(tmp_path / "g.tif", GREY, photometric="palette", colormap=ramp))
    np.testing.assert_array_equal(grey.pixels.read(), GREY)
    ramp[1] = 0
    colour = one(make.write(tmp_path / "c.tif", GREY, photometric="palette", colormap=ramp))
    np.testing.assert_array_equal(colour.pixels.read()[..., 0], GREY)
    assert (colour.pixels.read()[..., 1] == 0).all()


def test_thumbnails_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as file:
        file.write(GREY, metadata=None)
        file.write(GREY[::2, ::2].copy(), subfiletype=1, metadata=None)
    assert one(path).pixels.shape == GREY.shape


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_cut_strips_are_damage(tmp_path: Path, compression: str | None) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
    path = make.write(tmp_path / "a.tif", noise, compression=compression, rowsperstrip=8)
    path.write_bytes(path.read_bytes()[:-1500])
    with pytest.raises(DamagedFileError, match=r"at byte \d+: the pixels are cut off"):
        open_scans(path)


def test_orientation_is_named_and_not_applied(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, GREY, metadata=None, extratags=[(274, "H", 1, 6, True)])
    scan = one(path)
    assert scan.pixels.shape == GREY.shape
    assert scan.problems == ("the orientation tag asks for display 6; pixels are as stored",)


@pytest.mark.parametrize(("tag", "maker"), [(32832, "JPK"), (50432, "Park Systems")])
def test_probe_files_in_tiff_are_refused(tmp_path: Path, tag: int, maker: str) -> None:
    path = make.write(tmp_path / "a.tif", GREY, tags={tag: 1.0})
    with pytest.raises(UnknownFormatError, match=f"a {maker} scanning-probe file inside a TIFF"):
        open_scans(path)


@pytest.mark.parametrize(("tag", "value"), [(256, 0), (257, 60000), (277, 65000)])
def test_sizes_no_file_can_hold_are_damage(tmp_path: Path, tag: int, value: int) -> None:
    """Width 0, a height beyond any compression of these bytes, and absurd samples per pixel."""
    path = make.write(tmp_path / "a.tif", GREY, compression="zlib")
    with tifffile.TiffFile(path) as file:
        entry = file.pages.first.tags[tag]
        offset, code = entry.valueoffset, "<I" if entry.dtype == 4 else "<H"
    content = bytearray(path.read_bytes())
    struct.pack_into(code, content, offset, value)
    path.write_bytes(bytes(content))
    with pytest.raises(DamagedFileError):
        open_scans(path)[0].pixels.read()
