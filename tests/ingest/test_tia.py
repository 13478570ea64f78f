"""TIA: orientation, scale, settings, series and maps, parts and orphans, and what is refused."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import numpy as np
import pytest

from micdb.errors import DamagedFileError, NotAnImageError
from micdb.ingest.readers.tia import Tia
from micdb.ingest.sniff import candidates, open_scans
from micdb.testing import ReaderContract

make = SimpleNamespace(**run_path(str(Path(__file__).parents[1] / "data" / "tia" / "make.py")))

IMAGE = np.arange(15, dtype="i4").reshape(3, 5)
SERIES = [IMAGE, IMAGE + 100, IMAGE + 200]
POSITION = "Position"


def pair(folder: Path, described=make.TEM, acquired=None, *, elements=SERIES[:1], name="a", **ser) -> Path:
    make.write_ser(folder / f"{name}_1.ser", elements, **ser)
    return make.write_emi(folder / f"{name}.emi", [(1, make.object_info(described, acquired))])


class TestContract(ReaderContract):
    reader = Tia

    @pytest.fixture
    def files(self, tmp_path):
        make.write_ser(tmp_path / "two_1.ser", SERIES, version=0x0220)
        make.write_ser(tmp_path / "two_2.SER", [IMAGE.astype("f4")])
        objects = [(1, make.object_info(make.TEM)), (2, make.object_info(make.STEM, make.DETECTOR))]
        return [
            make.write_emi(tmp_path / "two.emi", objects),
            make.write_ser(tmp_path / "alone.ser", SERIES),
            make.write_ser(tmp_path / "map.ser", *_map()[:1], **_map()[1]),
        ]


def _map(rows=2, columns=3, *, along_y=False):
    """Return the patterns of a scan, and what `write_ser` needs to know of it."""
    patterns = [IMAGE + 100 * number for number in range(rows * columns)]
    x, y = (columns, (1e-9, 2e-9, 0, POSITION, "meters")), (rows, (6e-9, -3e-9, 1, POSITION, "meters"))
    if along_y:
        positions = [(1e-9 + 2e-9 * i, 9e-9 - 3e-9 * j) for i in range(columns) for j in range(rows)]
        return patterns, {"dimensions": [y, x], "positions": positions, "step": (1e8, 1e8)}
    positions = [(1e-9 + 2e-9 * i, 9e-9 - 3e-9 * j) for j in range(rows) for i in range(columns)]
    return patterns, {"dimensions": [x, y], "positions": positions, "step": (1e8, 1e8)}


@pytest.mark.parametrize("version", [0x0210, 0x0220])
@pytest.mark.parametrize("dtype", sorted(make.NUMBERS))
def test_pixels_equal_ncempy_and_what_was_drawn(tmp_path, version, dtype):
    from ncempy.io.ser import fileSER

    path = make.write_ser(tmp_path / "a.ser", [IMAGE.astype(dtype)], version=version)
    (scan,) = open_scans(path)
    assert scan.pixels.dtype == np.dtype(dtype).name
    np.testing.assert_array_equal(scan.pixels.read(), IMAGE.astype(dtype))
    if dtype == "u1":
        return  # ncempy misspells this one
    with fileSER(path) as file:
        np.testing.assert_array_equal(file.getDataset(0)[0], scan.pixels.read())


def test_hyperspy_shows_the_same(tmp_path):
    from rsciio.tia import file_reader

    path = pair(tmp_path, elements=SERIES)
    (scan,), (signal,) = open_scans(path), file_reader(str(path))
    np.testing.assert_array_equal(scan.pixels.read(), signal["data"])
    for axis, theirs in zip(scan.axes[1:], signal["axes"][1:], strict=True):
        assert axis.step_in("nm") == pytest.approx(theirs["scale"])


def test_settings_and_date_of_a_camera_image(tmp_path):
    (scan,) = open_scans(pair(tmp_path))
    assert (scan.axis("x").step, scan.axis("y").step, scan.axis("x").unit) == (5e-9, 4e-9, "m")
    assert scan.axis("x").origin == "file"
    assert scan.axis("x").offset == pytest.approx(-12.5e-9)
    assert scan.axis("y").offset == pytest.approx(-2e-9)  # top row: TIA's y = -6 nm + 2 rows = +2 nm
    assert {name: quantity.value for name, quantity in scan.settings.items()} == {
        "accelerating_voltage": 200000.0,
        "magnification": 19500.0,
        "emission_current": pytest.approx(4.5e-6),
        "defocus": pytest.approx(-250.0),
        "spot_size": 2.0,
        "stage_x": pytest.approx(-0.1615),
        "stage_y": pytest.approx(1.8e-5),
        "stage_z": 0.0,
        "stage_tilt": -1.5,
        "stage_tilt_beta": 0.25,
        "instrument": "Tecnai 200 kV D2267 SuperTwin",
        "operator": "ERIC",
        "detector": "WA-Orius",
        "exposure_time": 0.0625,
    }
    assert scan.modality == "TEM"
    assert (scan.acquired, scan.acquired_raw) == ("2016-02-21T17:50:18", "Sun Feb 21 17:50:18 2016")
    assert scan.source.parts == (str(tmp_path / "a_1.ser"),)
    assert scan.original["emi"]["ExperimentalDescription"]["OBJ Aperture"] == "retracted"
    assert scan.problems == ()


def test_stem_image_is_a_length_though_its_mode_says_diffraction(tmp_path):
    (scan,) = open_scans(pair(tmp_path, make.STEM, make.DETECTOR))
    assert (scan.modality, scan.axis("x").unit) == ("STEM", "m")
    values = {name: quantity.value for name, quantity in scan.settings.items()}
    assert values["dwell_time"] == pytest.approx(1e-5)
    assert (values["magnification"], values["camera_length"], values["scan_angle"]) == (10000, 40, 12.5)
    assert "exposure_time" not in values


def test_diffraction_pattern_is_in_reciprocal_metres(tmp_path):
    (scan,) = open_scans(pair(tmp_path, make.DIFFRACTION, step=(1.01571e8, 1.01571e8)))
    assert scan.modality == "diffraction"
    assert scan.axis("x").step_in("1/nm") == pytest.approx(0.101571)
    assert scan.settings["camera_length"].value == pytest.approx(490)
    assert "magnification" not in scan.settings


@pytest.mark.parametrize(
    ("described", "step", "says"),
    [
        (make.TEM, (1.0, 1.0), "1 x 1 is neither metres nor 1/m"),
        (make.TEM, (5e-9, 0.0), "neither metres nor 1/m"),
        (make.TEM, (float("nan"), 5e-9), "neither metres nor 1/m"),
        (make.DIFFRACTION, (5e-9, 5e-9), "is a length, and the mode is 'TEM uP SA Zoom Diffraction'"),
    ],
)
def test_pixel_sizes_that_make_no_sense_are_unknown(tmp_path, described, step, says):
    (scan,) = open_scans(pair(tmp_path, described, step=step))
    assert [(axis.step, axis.unit) for axis in scan.axes] == [(None, None)] * 2
    assert says in scan.problems[0]
    np.testing.assert_array_equal(scan.pixels.read(), IMAGE)


@pytest.mark.parametrize(("step", "unit"), [(5e-9, "m"), (4e7, "1/m"), (1.0, None)])
def test_series_without_its_emi_tells_the_unit_by_the_magnitude(tmp_path, step, unit):
    (scan,) = open_scans(make.write_ser(tmp_path / "alone_1.ser", [IMAGE], step=(step, step)))
    assert scan.axis("x").unit == unit
    assert scan.axis("x").origin == ("derived" if unit else "file")
    assert scan.modality == ("diffraction" if unit == "1/m" else None)
    assert (scan.acquired, scan.acquired_raw) == ("2016-02-21T16:49:05Z", "Time = 1456073345")
    assert scan.settings == {}


def test_part_names_its_owner(tmp_path):
    pair(tmp_path)
    with pytest.raises(NotAnImageError, match=r"a_1\.ser \[tia\]: this is a part of a\.emi; open that"):
        open_scans(tmp_path / "a_1.ser")


def test_emi_without_its_series_is_refused(tmp_path):
    path = make.write_emi(tmp_path / "a.emi", [(1, make.object_info(make.TEM))])
    make.write_ser(tmp_path / "another_a_1.ser", [IMAGE])
    with pytest.raises(NotAnImageError, match=r"its pixels stand in a_1\.ser, \.\.\., which are missing"):
        open_scans(path)


def test_every_series_gets_its_own_description(tmp_path):
    for number in (1, 2, 10):
        make.write_ser(tmp_path / f"m_{number}.ser", [IMAGE + number])
    objects = [
        (None, make.object_info(make.STEM, make.DETECTOR)),
        (10, make.object_info(make.STEM | {"Spot size": ("9", "")}, make.DETECTOR)),
        (1, make.object_info(make.TEM)),
    ]
    scans = open_scans(make.write_emi(tmp_path / "m.emi", objects))
    assert [scan.name for scan in scans] == ["m_1", "m_2", "m_10"]
    assert [scan.modality for scan in scans] == ["TEM", None, "STEM"]
    assert scans[2].settings["spot_size"].value == 9
    assert scans[1].settings == {}
    assert "m.emi says nothing about m_2.ser" in scans[1].problems[0]
    np.testing.assert_array_equal(scans[2].pixels.read(), IMAGE + 10)


def test_description_far_inside_a_large_emi_is_found(tmp_path):
    make.write_ser(tmp_path / "a_1.ser", [IMAGE])
    for gap in range((1 << 20) - 60, (1 << 20) + 1, 5):  # the tag on every side of the end of a read
        path = make.write_emi(tmp_path / "a.emi", [(1, make.object_info(make.TEM))], gap=gap)
        assert open_scans(path)[0].settings["magnification"].value == 19500


def test_broken_description_costs_the_settings_and_not_the_pixels(tmp_path):
    make.write_ser(tmp_path / "a_1.ser", [IMAGE])
    for xml in (
        make.object_info(make.TEM).replace(b"</Root>", b""),
        b"<ObjectInfo><!ENTITY a 'b'></ObjectInfo>",
    ):
        (scan,) = open_scans(make.write_emi(tmp_path / "a.emi", [(1, xml)]))
        np.testing.assert_array_equal(scan.pixels.read(), IMAGE)
        assert scan.settings == {}
        assert "object information at byte" in scan.problems[0]


def test_missing_date_is_that_of_the_first_image(tmp_path):
    make.write_ser(tmp_path / "a_1.ser", [IMAGE])
    path = make.write_emi(tmp_path / "a.emi", [(1, make.object_info(make.TEM, date=None))])
    assert open_scans(path)[0].acquired == "2016-02-21T16:49:05Z"


@pytest.mark.parametrize(
    ("times", "name", "step"),
    [
        ([100, 160, 220], "time", 60.0),
        ([100, 160, 221], "frame", None),
        ([100, 101, 102], "frame", None),  # whole seconds: the step may be 1.4 s
        ([100, 100, 100], "frame", None),
    ],
)
def test_stack_has_a_time_axis_where_the_tags_are_even(tmp_path, times, name, step):
    (scan,) = open_scans(make.write_ser(tmp_path / "s.ser", SERIES, times=times))
    assert (scan.axes[0].name, scan.axes[0].step) == (name, step)
    np.testing.assert_array_equal(scan.pixels.read(), SERIES)
    np.testing.assert_array_equal(scan.pixels.load_frame(2), SERIES[2])


@pytest.mark.parametrize("along_y", [False, True])
def test_map_of_patterns_has_the_axes_of_its_scan(tmp_path, along_y):
    patterns, scanned = _map(along_y=along_y)
    (scan,) = open_scans(pair(tmp_path, make.STEM, make.CAMERA, elements=patterns, **scanned))
    names = ["scan_x", "scan_y"] if along_y else ["scan_y", "scan_x"]
    assert [axis.name for axis in scan.axes] == [*names, "y", "x"]
    assert scan.pixels.shape == ((3, 2, 3, 5) if along_y else (2, 3, 3, 5))
    assert (scan.axis("scan_x").step, scan.axis("scan_x").offset) == (2e-9, 1e-9)
    assert scan.axis("scan_y").step == -3e-9
    assert scan.axis("scan_y").offset == pytest.approx(9e-9)
    assert (scan.modality, scan.axis("x").unit) == ("diffraction", "1/m")
    np.testing.assert_array_equal(scan.pixels.read().reshape(-1, 3, 5), patterns)
    np.testing.assert_array_equal(scan.pixels.load_frame(4), patterns[4])


def test_map_agrees_with_rosettasciio(tmp_path):
    from rsciio.tia import file_reader

    patterns, scanned = _map()
    path = pair(tmp_path, make.STEM, make.CAMERA, elements=patterns, **scanned)
    (scan,), (signal,) = open_scans(path), file_reader(str(path))
    np.testing.assert_array_equal(scan.pixels.read(), signal["data"])
    steps = [axis["scale"] for axis in signal["axes"][:2]]
    assert steps == pytest.approx([-3.0, 2.0])  # nm, y before x
    assert [axis.step * 1e9 for axis in scan.axes[:2]] == pytest.approx(steps)


def test_line_of_patterns_keeps_its_step(tmp_path):
    line = {"dimensions": [(3, (0.0, 3.5e-9, 0, POSITION, "meters"))], "step": (1e8, 1e8)}
    (scan,) = open_scans(pair(tmp_path, make.STEM, make.CAMERA, elements=SERIES, **line))
    assert (scan.axes[0].name, scan.axes[0].step, scan.axes[0].unit) == ("scan", 3.5e-9, "m")


def test_stopped_scans_give_what_was_recorded(tmp_path):
    patterns, scanned = _map()
    path = make.write_ser(tmp_path / "map.ser", patterns[:4], **scanned, planned=6)
    (scan,) = open_scans(path)
    assert [axis.name for axis in scan.axes] == ["frame", "y", "x"]
    assert scan.pixels.shape == (4, 3, 5)
    assert "the scan of 2 x 3 points was stopped: its 4 images are a plain list" in scan.problems
    repeats = [(200, make.REPEATS)]
    (series,) = open_scans(make.write_ser(tmp_path / "s.ser", SERIES, dimensions=repeats, planned=200))
    assert series.pixels.shape == (3, 3, 5)
    (one,) = open_scans(make.write_ser(tmp_path / "o.ser", [IMAGE], dimensions=repeats, planned=200))
    assert one.pixels.shape == (3, 5)


def test_spectra_are_refused_and_images_beside_them_are_read(tmp_path):
    spectra = [np.arange(8, dtype="i4")] * 6
    dimensions = [(3, (0, 1e-9, 0, POSITION, "meters")), (2, (0, 1e-9, 0, POSITION, "meters"))]
    path = pair(tmp_path, make.STEM, elements=spectra, dimensions=dimensions)
    with pytest.raises(NotAnImageError, match=r"a_1\.ser: the file holds 6 spectra \(2 x 3\), no image"):
        open_scans(path)
    make.write_ser(tmp_path / "a_2.ser", [IMAGE])
    (scan,) = open_scans(path)
    assert (scan.name, scan.source.index) == ("a_2", 0)
    assert "left out: a_1.ser: the file holds 6 spectra (2 x 3), no image" in scan.problems
    with pytest.raises(NotAnImageError, match="the file holds a spectrum, no image"):
        open_scans(make.write_ser(tmp_path / "alone.ser", spectra[:1]))


def test_series_stopped_before_the_first_image_is_refused(tmp_path):
    path = make.write_ser(tmp_path / "none.ser", [], planned=5)
    with pytest.raises(NotAnImageError, match="holds no image: it was stopped before the first"):
        open_scans(path)


def test_unequal_images_are_refused(tmp_path):
    path = make.write_ser(tmp_path / "s.ser", [IMAGE, IMAGE[:2]])
    with pytest.raises(NotAnImageError, match=r"image 1 is \(2, 5\) <i4, the first \(3, 5\) <i4"):
        open_scans(path)


def test_changing_pixel_size_is_unknown(tmp_path):
    path = make.write_ser(tmp_path / "s.ser", SERIES)
    content = bytearray(path.read_bytes())
    second = struct.unpack_from("<I", content, 68 + 4)[0]
    struct.pack_into("<d", content, second + 8, 7e-9)
    path.write_bytes(content)
    (scan,) = open_scans(path)
    assert scan.axis("x").step is None
    assert "it changes within the series" in scan.problems[0]


@pytest.mark.parametrize(
    ("offset", "value", "says"),
    [
        (4, struct.pack("<H", 0x0330), "at byte 4: series version 0x0330"),
        (6, struct.pack("<I", 7), "elements of the kind 0x0007"),
        (18, struct.pack("<I", 1 << 30), "promises 1073741824 images"),
        (22, struct.pack("<I", 1 << 31), "ends in the middle of its header"),
        (26, struct.pack("<I", 1 << 31), "promises 2147483648 dimensions"),
        (54, struct.pack("<I", 1 << 31), "a text of 2147483648 bytes"),
        (92 + 40, struct.pack("<H", 11), "data type 11, expected 1 to 10"),
        (92 + 42, struct.pack("<I", 0), "an image of 0 x 3 pixels"),
        (92 + 42, struct.pack("<I", 1 << 19), "they do not fit"),
    ],
)
def test_damage_names_its_place(tmp_path, offset, value, says):
    path = make.write_ser(tmp_path / "s.ser", SERIES)
    content = bytearray(path.read_bytes())
    content[offset : offset + len(value)] = value
    path.write_bytes(content)
    with pytest.raises(DamagedFileError, match=says):
        open_scans(path)


def test_cut_pixels_are_refused(tmp_path):
    path = make.write_ser(tmp_path / "s.ser", SERIES)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DamagedFileError, match=r"the pixels of image 2 are cut off: 12 bytes are missing"):
        open_scans(path)


def test_this_reader_is_surer_than_the_extra(tmp_path):
    assert candidates(pair(tmp_path))[0][:2] == (3, "tia")


def test_real_files_equal_the_manifest(shared):
    formats = shared / "data" / "formats"
    items = json.loads((formats / "manifest.json").read_text())["items"]
    for item in (item for item in items if item["format"] == "tia"):
        facts = item["expected"]["facts"]
        if item["technique"] == "spectrum":
            with pytest.raises(NotAnImageError, match=r"25 spectra \(5 x 5\)"):
                open_scans(formats / item["open"])
            continue
        (scan,) = open_scans(formats / item["open"])
        pixels, (image,) = scan.pixels.read(), facts["images"]
        assert list(pixels.shape) == image["shape"]
        assert pixels.dtype == image["dtype"]
        assert scan.axis("x").step == pytest.approx(facts["pixel_size"]["x"]["si"], rel=1e-5)
        assert scan.axis("y").step == pytest.approx(facts["pixel_size"]["y"]["si"], rel=1e-5)
        for name in ("min", "max", "mean"):
            assert getattr(pixels.astype(float), name)() == pytest.approx(image["stats"][name], rel=1e-5)
        assert scan.settings["accelerating_voltage"].value == facts["accelerating_voltage_V"]
        assert scan.settings["magnification"].value == facts["magnification"]
        assert scan.acquired == f"{facts['date']}T{facts['time']}"
        assert scan.settings["stage_x"].to("um") == pytest.approx(facts["stage"]["Stage X_um"])


def test_real_orphan_series_reads(shared, tmp_path):
    orphan = tmp_path / "orphan_1.ser"
    orphan.write_bytes((shared / "data" / "formats" / "tia" / "64x64x5_TEM_preview_1.ser").read_bytes())
    (scan,) = open_scans(orphan)
    assert scan.axis("x").step_in("nm") == pytest.approx(6.281833616)
    assert scan.acquired == "2016-02-21T16:49:05Z"  # 17:49:06 by the clock of the microscope, in UTC+1
