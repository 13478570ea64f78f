"""Digital Surf files: values, kinds of objects, and what is refused."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from runpy import run_path

import numpy as np
import pytest

from micdb.errors import DamagedFileError, NotAnImageError
from micdb.ingest.readers.digitalsurf import DigitalSurf
from micdb.ingest.sniff import open_scans
from micdb.testing import ReaderContract

make = run_path(str(Path(__file__).parents[1] / "data" / "digitalsurf" / "make.py"))
write_sur = make["write_sur"]

RAW = np.arange(12, dtype="i2").reshape(3, 4) - 100  # Zmin is -100
HEIGHTS = (RAW + 100) * 0.125 + 1000.0
COLOURS = [np.full((3, 4), value, "i4") for value in (10, 20, 255)]
PLAIN_COLOUR = {"zmin": 0, "zmax": 255, "dz": 1.0, "z0": 0.0, "zunit": ""}


class TestContract(ReaderContract):
    reader = DigitalSurf

    @pytest.fixture
    def files(self, tmp_path):
        return [
            write_sur(tmp_path / "plain.sur", [RAW]),
            write_sur(tmp_path / "packed.sur", [RAW.astype("i4")], streams=2, special=1),
            write_sur(tmp_path / "series.sur", [RAW] * 3, type=5, objects=3, dt=0.5, tunit="s"),
            write_sur(tmp_path / "colour.sur", COLOURS, type=12, channels=3, **PLAIN_COLOUR),
            write_sur(tmp_path / "binary.sur", [RAW], type=3),
        ]


@pytest.mark.parametrize("dtype", ["i2", "i4"])
@pytest.mark.parametrize("streams", [0, 1, 3])
def test_points_are_scaled_from_the_lowest(tmp_path, dtype, streams):
    path = write_sur(
        tmp_path / "a.sur", [RAW.astype(dtype)], streams=streams, comment="first try", private=b"\0" * 7
    )
    (scan,) = open_scans(path)
    np.testing.assert_array_equal(scan.pixels.read(), HEIGHTS)
    assert scan.pixels.dtype == "float64"
    assert scan.settings["comment"].value == "first try"


@pytest.mark.parametrize("streams", [0, 2])
def test_values_equal_rosettasciio(tmp_path, streams):
    from rsciio.digitalsurf import file_reader

    path = write_sur(tmp_path / "a.sur", [RAW.astype("i4") * 7], streams=streams, special=1, zmin=-698)
    (scan,) = open_scans(path)
    values = scan.pixels.read()
    assert np.isnan(values).sum() == 1  # -700 is Zmin - 2
    np.testing.assert_array_equal(values, file_reader(str(path))[0]["data"])


def test_lowest_minus_two_is_a_value_where_all_points_were_measured(tmp_path):
    (scan,) = open_scans(write_sur(tmp_path / "a.sur", [RAW], zmin=-98))
    assert scan.pixels.read()[0, 0] == 1000 - 2 * 0.125


def test_scale_settings_and_date(tmp_path):
    (scan,) = open_scans(write_sur(tmp_path / "a.sur", [RAW]))
    assert [(axis.name, axis.size, axis.step, axis.offset, axis.unit) for axis in scan.axes] == [
        ("y", 3, 0.25, 0.0, "mm"),
        ("x", 4, 0.5, 2.0, "um"),
    ]
    assert (scan.channel, scan.intensity_unit, scan.modality) == ("Height", "nm", "optical")
    assert (scan.name, scan.settings["operator"].value) == ("steel", "ana")
    assert (scan.acquired, scan.acquired_raw) == ("2021-02-03T14:05:06", "2021-02-03 14:05:06")


def test_without_a_date_it_is_unknown(tmp_path):
    (scan,) = open_scans(write_sur(tmp_path / "a.sur", [RAW], year=0, month=0, day=0))
    assert (scan.acquired, scan.acquired_raw) == (None, None)


def test_a_ratio_that_leaves_two_units_leaves_none(tmp_path):
    (scan,) = open_scans(write_sur(tmp_path / "a.sur", [RAW], zratio=1000.0, zlength="µm"))
    assert scan.intensity_unit is None
    assert "nm or µm, ratio 1000" in scan.problems[0]


def test_a_series_is_one_stack_read_frame_by_frame(tmp_path):
    path = write_sur(tmp_path / "a.sur", [RAW, RAW + 1, RAW + 2], type=5, objects=3, dt=0.5, tunit="s")
    (scan,) = open_scans(path)
    assert (scan.axes[0].name, scan.axes[0].size, scan.axes[0].step) == ("time", 3, 0.5)
    np.testing.assert_array_equal(scan.pixels.load_frame(2), HEIGHTS + 0.25)
    np.testing.assert_array_equal(scan.pixels.read()[2], HEIGHTS + 0.25)


def test_layers_are_scans_with_their_own_names_and_units(tmp_path):
    path = tmp_path / "a.sur"
    layers = [("Height", "nm"), ("Current", "pA")]
    path.write_bytes(
        b"".join(make["surf_object"](RAW, type=8, objects=2, zname=name, zunit=unit) for name, unit in layers)
    )
    assert [(scan.channel, scan.intensity_unit) for scan in open_scans(path)] == layers


@pytest.mark.parametrize(("peak", "dtype"), [(255, "uint8"), (4000, "uint16")])
def test_colour_images(tmp_path, peak, dtype):
    colours = [*COLOURS[:2], np.full((3, 4), peak, "i4")]
    path = write_sur(tmp_path / "a.sur", colours, type=12, channels=3, **(PLAIN_COLOUR | {"zmax": peak}))
    (scan,) = open_scans(path)
    assert scan.colour
    assert scan.pixels.dtype == dtype
    np.testing.assert_array_equal(scan.pixels.read()[1, 2], [10, 20, peak])


@pytest.mark.parametrize("images", [4, 5])
def test_a_surface_with_its_image(tmp_path, images):
    path = tmp_path / "a.sur"
    objects = [make["surf_object"](RAW, type=16, channels=images)]
    objects += [make["surf_object"](raw, type=16, **PLAIN_COLOUR) for raw in COLOURS]
    objects += [make["surf_object"](RAW, type=16, zname="Intensity", zunit="")] * (images - 4)
    path.write_bytes(b"".join(objects))
    scans = open_scans(path)
    assert [scan.channel for scan in scans] == ["Height", "RGB", "Intensity"][: images - 2]
    assert [scan.pixels.shape for scan in scans] == [(3, 4), (3, 4, 3), (3, 4)][: images - 2]


def test_a_series_of_colour_images(tmp_path):
    path = write_sur(tmp_path / "a.sur", COLOURS * 2, type=18, channels=3, objects=2, **PLAIN_COLOUR)
    assert [scan.channel for scan in open_scans(path)] == ["RGB 1", "RGB 2"]


def test_a_binary_image_is_zero_and_one(tmp_path):
    (scan,) = open_scans(write_sur(tmp_path / "a.sur", [np.array([[0, 1], [7, 0]], "i2")], type=3))
    np.testing.assert_array_equal(scan.pixels.read(), np.array([[0, 1], [1, 0]], "u1"))


def test_surfaces_by_gwyddion_call_themselves_profiles(tmp_path):
    fake = {"type": 1, "name": "SCRATCH", "operator": "csm", "year": 2001, "month": 1, "day": 5, "zmin": 0}
    (scan,) = open_scans(write_sur(tmp_path / "a.sur", [RAW], **fake))
    np.testing.assert_array_equal(scan.pixels.read(), RAW * 0.125 + 1000)
    assert (scan.name, scan.acquired, dict(scan.settings)) == ("a", None, {})


def test_the_code_of_a_material_is_no_count_of_channels(tmp_path):
    assert len(open_scans(write_sur(tmp_path / "a.sur", [RAW], channels=5))) == 1


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (1, "a profile"),
        (4, "series of profiles"),
        (14, "force curve"),
        (20, "a spectrum"),
        (21, "map of spectra"),
        (99, "unknown type 99"),
    ],
)
def test_other_objects_are_refused_by_name(tmp_path, kind, says):
    with pytest.raises(NotAnImageError, match=f"{says}.*not an image"):
        open_scans(write_sur(tmp_path / "a.pro", [RAW[:1]], type=kind))


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"format": 257}, "format 257, expected 0"),
        ({"bits": 8}, "3 lines of 4 points of 8 bits"),
        ({"lines": -3}, "-3 lines"),
        ({"lines": 300}, "object 1 of 1 should end at byte 2912"),
        ({"type": 8, "objects": 2}, "no header of 512 bytes"),
        ({"streams": 1, "lines": 4}, "unpack to 24, expected 32"),
    ],
)
def test_wrong_headers_are_refused(tmp_path, more, says):
    with pytest.raises(DamagedFileError, match=says):
        open_scans(write_sur(tmp_path / "a.sur", [RAW], **more))


def test_a_broken_stream_is_refused(tmp_path):
    path = write_sur(tmp_path / "a.sur", [RAW], streams=1)
    content = bytearray(path.read_bytes())
    content[-8] ^= 0xFF
    content[530] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(DamagedFileError, match="stream of points is broken|points end after"):
        open_scans(path)[0].pixels.read()


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path):
    path = write_sur(tmp_path / "a.sur", [RAW], streams=1, lines=1 << 15, points=1 << 15)
    content = path.read_bytes()
    path.write_bytes(content[:516] + struct.pack("<I", 1 << 31) + content[520:])
    told = "2147483648 bytes of points, packed into 32, are no measurement"
    with pytest.raises(DamagedFileError, match=told):
        open_scans(path)


def test_real_files_equal_the_manifest(shared):
    formats = shared / "data" / "formats"
    items = json.loads((formats / "manifest.json").read_text())["items"]
    for item in (item for item in items if item["format"] == "digitalsurf"):
        facts = item["expected"]["facts"]
        (scan,) = open_scans(formats / item["open"])
        pixels = scan.pixels.read()
        assert (list(pixels.shape), str(pixels.dtype)) == (facts["images"][0]["shape"], "float64")
        for name in ("min", "max", "mean", "std"):
            assert getattr(pixels, name)() == pytest.approx(facts["first_image_stats"][name], rel=1e-5)
        for name in ("x", "y"):
            assert scan.axis(name).step_in("m") == pytest.approx(facts["pixel_size"][name]["si"], rel=1e-5)
