"""TEM cameras' TIFF tags: DigitalMicrograph, Olympus SIS, TVIPS, JEOL SightX; Park Systems."""

from __future__ import annotations

from pathlib import Path
from runpy import run_path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tifffile

from micdb.errors import DamagedFileError, NotAnImageError, UnknownFormatError
from micdb.ingest.sniff import open_scans
from micdb.records import Scan

make = SimpleNamespace(**run_path(str(Path(__file__).parents[1] / "data" / "tiff" / "make.py")))
GREY = np.arange(6 * 8, dtype=np.uint8).reshape(6, 8)


def one(path: Path) -> Scan:
    (scan,) = open_scans(path)
    return scan


def values(scan: Scan) -> dict[str, Any]:
    return {name: quantity.value for name, quantity in scan.settings.items()}


def test_digital_micrograph_export(tmp_path: Path) -> None:
    tags = {65003: "\xb5m", 65004: "\xb5m", 65006: 10.0, 65007: 0.0, 65009: 0.5, 65010: 0.25}
    scan = one(make.write(tmp_path / "a.tif", GREY.astype(np.int32), tags=tags))
    x, y = scan.axis("x"), scan.axis("y")
    assert (x.step, x.offset, x.unit, y.step, y.offset) == (0.5, 10.0, "um", 0.25, 0.0)


def test_digital_micrograph_places_the_first_pixel_of_a_cropped_image(shared: Path) -> None:
    """The image was cut out of a larger one, from a whole pixel on."""
    scan = one(shared / "data" / "formats" / "tif_dm" / "test_loading_image_saved_with_DM.tif")
    x, y = scan.axis("x"), scan.axis("y")
    assert (x.offset / x.step, y.offset / y.step) == (pytest.approx(828), pytest.approx(760))


def test_hyperspy_writes_what_imagej_and_digital_micrograph_read(tmp_path: Path) -> None:
    """ImageJ's text has one unit for both axes; the tags of DigitalMicrograph have each its own."""
    file_writer = pytest.importorskip("rsciio.tiff").file_writer
    axes = [
        {"size": size, "scale": step, "offset": offset, "units": unit, "navigate": size == 5}
        for size, step, offset, unit in ((5, 2.5, 0.0, "s"), (10, 0.25, 3.0, "nm"), (15, 0.5, -2.0, "µm"))
    ]
    data = np.arange(750, dtype=np.uint16).reshape(5, 10, 15)
    file_writer(str(tmp_path / "a.tif"), {"data": data, "axes": axes, "metadata": {}})
    scan = one(tmp_path / "a.tif")
    assert [(axis.step, axis.unit, axis.offset) for axis in scan.axes] == [
        (2.5, "s", 0.0), (0.25, "nm", 3.0), (0.5, "um", -2.0),
    ]  # fmt: skip
    assert np.array_equal(scan.pixels.read(), data)


def test_olympus_sis(tmp_path: Path) -> None:
    scan = one(make.olympus(tmp_path / "a.tif", GREY))
    x, y = scan.axis("x"), scan.axis("y")
    assert (x.step, y.step, x.unit) == (pytest.approx(2.4e-11), pytest.approx(2.5e-11), "m")
    assert values(scan) == {"magnification": 6e5, "detector": "Quemesa", "comment": "a name"}
    assert scan.acquired == "2018-11-15T19:42"  # the structure has no seconds


def test_tvips_version_2(tmp_path: Path) -> None:
    path = make.tvips(
        tmp_path / "a.tif", GREY, PixelSizeX=1.5, PixelSizeY=2.5, TemHighTension=2e5, TemMagnification=5e4,
        Date=132187148, Time=32477, CameraType="F416", ExposureTime=400,
    )  # fmt: skip
    scan = one(path)
    assert (scan.axis("x").step, scan.axis("y").step, scan.axis("x").unit) == (1.5, 2.5, "nm")
    assert values(scan) == {
        "accelerating_voltage": 2e5, "magnification": 5e4, "exposure_time": 0.4, "detector": "F416",
    }  # fmt: skip
    assert (scan.modality, scan.acquired) == ("TEM", "2017-04-12T09:01:17")


def test_tvips_version_1_is_in_fixed_point(tmp_path: Path) -> None:
    """kV, thousands and ms with four decimals; the pixel size stands in the resolution tags."""
    path = make.tvips(
        tmp_path / "a.tif", GREY, version=1, HighTension=2_000_000, Magnification=500_000, DateV1=132187148,
        TimeV1=32477, ExposureTimeV1=4_000_000,
    )  # fmt: skip
    assert values(one(path)) == {"accelerating_voltage": 2e5, "magnification": 5e4, "exposure_time": 0.4}
    assert one(path).acquired == "2017-04-12T09:01:17"


@pytest.mark.parametrize(("mode", "modality"), [(3, "diffraction"), (1, "TEM")])
def test_tvips_modes_other_than_imaging_have_no_pixel_size(tmp_path: Path, mode: int, modality: str) -> None:
    scan = one(make.tvips(tmp_path / "a.tif", GREY, PixelSizeX=1.5, TemMagnification=500, TemMode=mode))
    assert (scan.axis("x").step, scan.modality) == (None, modality)
    assert f"camera mode {mode} is not imaging" in scan.problems[0]
    assert ("magnification" in scan.settings) == (mode == 1)  # in diffraction it is the camera length


@pytest.mark.parametrize(
    ("mode", "value", "unit"), [("MAG", "10000", "X"), ("DIFF", "25", "cm"), ("DIFF", "250", "mm")]
)
def test_sightx_equals_rosettasciio(tmp_path: Path, mode: str, value: str, unit: str) -> None:
    file_reader = pytest.importorskip("rsciio.tiff").file_reader
    report = make.SIGHTX.replace("MODE", mode).replace("VALUE", value).replace("UNIT", unit)
    path = tmp_path / "a.tif"
    maker = [(271, "s", 0, "JEOL Ltd.", True)]
    options: dict[str, Any] = {"resolution": (2000, 1000), "resolutionunit": "CENTIMETER", "extratags": maker}
    tifffile.imwrite(path, GREY, metadata=None, description=report, **options)
    scan = one(path)
    for axis, theirs in zip(("y", "x"), file_reader(str(path))[0]["axes"], strict=True):
        assert scan.axis(axis).step == pytest.approx(theirs["scale"])
        assert scan.axis(axis).unit == theirs["units"].replace(" ", "")
        assert scan.axis(axis).origin == "derived"
    assert scan.acquired == "2021-06-15T10:20:30.123456+09:00"
    assert scan.settings["accelerating_voltage"].value == 2e5
    assert scan.modality == ("TEM" if mode == "MAG" else "diffraction")


# Park Systems


@pytest.mark.parametrize("dtype", ["int16", "int32", "float32"])
def test_park_values_are_scaled_and_turned(tmp_path: Path, dtype: str) -> None:
    stored = GREY.astype(dtype) * 100
    scan = one(make.park(tmp_path / "a.tiff", stored))
    np.testing.assert_array_equal(scan.pixels.read(), stored[::-1] * 0.5)
    assert (scan.intensity_unit, scan.channel, scan.modality) == ("nm", "Topography forward", "AFM")
    assert scan.axis("x").step_in("um") == pytest.approx(5 / 8)
    assert scan.axis("y").step_in("um") == pytest.approx(2.5 / 6)
    assert scan.settings["bias"].value == -1.5


@pytest.mark.parametrize("field", ["scale", "offset", "logarithmic", "square"])
def test_park_scalings_that_readers_disagree_about_are_refused(tmp_path: Path, field: str) -> None:
    path = make.park(tmp_path / "a.tiff", GREY.astype(np.int16), **{field: 3})
    with pytest.raises(UnknownFormatError, match="in a way no reader knows; export it as .gwy"):
        open_scans(path)


def test_park_spectroscopy_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(NotAnImageError, match="this is Park Systems spectroscopy, not an image"):
        open_scans(make.park(tmp_path / "a.tiff", GREY.astype(np.int16), type=2))


def test_park_sizes_must_be_those_of_the_data(tmp_path: Path) -> None:
    with pytest.raises(DamagedFileError, match=r"promises \(6, 9\) <i2, the data tag has 96 bytes"):
        open_scans(make.park(tmp_path / "a.tiff", GREY.astype(np.int16), width=9))


def test_park_of_an_unknown_version_is_refused(tmp_path: Path) -> None:
    path = make.write(tmp_path / "a.tif", GREY, tags={50432: 1.0})
    with pytest.raises(
        UnknownFormatError, match="a Park Systems scanning-probe file inside a TIFF, of unknown"
    ):
        open_scans(path)
