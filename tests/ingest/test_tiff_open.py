"""Open dialects of TIFF: ImageJ and OME."""

from __future__ import annotations

from pathlib import Path
from runpy import run_path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from micdb.ingest.sniff import open_scans
from micdb.records import Scan

make = SimpleNamespace(**run_path(str(Path(__file__).parents[1] / "data" / "tiff" / "make.py")))
GREY = np.arange(6 * 8, dtype=np.uint8).reshape(6, 8)
STACK = np.arange(3 * 6 * 8, dtype=np.uint16).reshape(3, 6, 8)
HYPER = np.arange(4 * 3 * 6 * 8, dtype=np.uint16).reshape(4, 3, 6, 8)


def one(path: Path) -> Scan:
    (scan,) = open_scans(path)
    return scan


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


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}])
def test_imagej_hyperstack_channels_are_scans_in_time(tmp_path: Path, options: dict[str, Any]) -> None:
    metadata = {"axes": "TCYX", "unit": "nm", "finterval": 0.5, "Labels": [f"slice {n}" for n in range(12)]}
    path = make.write(tmp_path / "a.tif", HYPER, imagej=True, resolution=(2, 2), metadata=metadata, **options)
    scans = open_scans(path)
    assert [scan.channel for scan in scans] == ["slice 0", "slice 1", "slice 2"]
    for number, scan in enumerate(scans):
        np.testing.assert_array_equal(scan.pixels.read(), HYPER[:, number])
        np.testing.assert_array_equal(scan.pixels.load_frame(3), HYPER[3, number])
        time = scan.axis("time")
        assert (time.step, time.unit, scan.axis("x").step_in("nm")) == (0.5, "s", 0.5)


def test_imagej_origin_is_counted_in_pixels(tmp_path: Path) -> None:
    metadata = {"unit": "um", "xorigin": 2.0, "yorigin": 4.0}
    scan = one(make.write(tmp_path / "a.tif", GREY, imagej=True, resolution=(4, 2), metadata=metadata))
    assert (scan.axis("x").offset, scan.axis("y").offset) == (-0.5, -2.0)


def test_ome_stack_settings_and_date(tmp_path: Path) -> None:
    from tifffile import TiffFile

    metadata = {
        "axes": "TYX", "TimeIncrement": 2, "TimeIncrementUnit": "min", "PhysicalSizeX": 3,
        "PhysicalSizeXUnit": "\u00c5", "SignificantBits": 12, "AcquisitionDate": "2020-01-02T03:04:05",
    }  # fmt: skip
    path = make.write(tmp_path / "a.ome.tif", STACK, ome=True, metadata=metadata, compression="lzw")
    with TiffFile(path) as file:
        xml = str(file.ome_metadata)
    rich = xml.replace('<Image ID', (
        '<Instrument ID="Instrument:0"><Microscope Model="BX51" Manufacturer="Olympus"/>'
        '<Objective ID="Objective:0" NominalMagnification="20"/></Instrument><Image ID'
    ), 1).replace("<Pixels", '<ObjectiveSettings ID="Objective:0"/><Pixels', 1)  # fmt: skip
    rich = rich.replace("<Channel ", '<Channel AcquisitionMode="WideField" ', 1)
    make.write(path, STACK, description=rich.encode(), compression="lzw")
    scan = one(path)
    time = scan.axis("time")
    assert (time.step, time.unit) == (2, "min")
    assert scan.axis("x").step_in("nm") == pytest.approx(0.3)
    assert scan.axis("y").step is None
    assert (scan.modality, scan.acquired) == ("optical", "2020-01-02T03:04:05")
    assert scan.settings["magnification"].value == 20
    assert scan.settings["instrument"].value == "BX51"
    np.testing.assert_array_equal(scan.pixels.read(), STACK)


def test_ome_image_in_several_files_is_read_in_part_and_says_so(tmp_path: Path) -> None:
    xml = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
        'UUID="urn:uuid:a">'
        '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" SizeX="8" SizeY="6" '
        'SizeZ="2" SizeC="1" SizeT="1" PhysicalSizeX="0.5" PhysicalSizeY="0.5"><Channel ID="C:0"/>'
        '<TiffData IFD="0" FirstZ="0" PlaneCount="1"><UUID FileName="a.ome.tif">urn:uuid:a</UUID></TiffData>'
        '<TiffData IFD="0" FirstZ="1" PlaneCount="1"><UUID FileName="b.ome.tif">urn:uuid:b</UUID></TiffData>'
        "</Pixels></Image></OME>"
    )
    scan = one(make.write(tmp_path / "a.ome.tif", GREY, description=xml))
    assert scan.pixels.shape == (6, 8)
    assert scan.axis("x").step == 0.5
    assert scan.problems == (
        "only the planes in this file are read: the OME image goes on in 1 other files, 'b.ome.tif' for one",
    )
