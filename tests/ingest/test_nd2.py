"""NIS-Elements files, written here chunk by chunk and opened by the nd2 package as well."""

from __future__ import annotations

import struct
import sys
import zlib
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import nd2
import numpy as np
import pytest

from micdb.errors import DamagedFileError, MissingExtraError, ReadError
from micdb.ingest.readers.nd2 import Nd2
from micdb.ingest.sniff import open_scans
from micdb.testing import ReaderContract

make = SimpleNamespace(**run_path(str(Path(__file__).parents[1] / "data" / "nd2" / "make.py")))

RNG = np.random.default_rng(3)
ONE = RNG.integers(0, 60000, (1, 5, 7, 1), dtype=np.uint16)
TWELVE = RNG.integers(0, 60000, (12, 5, 7, 2), dtype=np.uint16)
CHANNELS = [make.plane("DAPI"), make.plane("GFP")]
LOOPS = [make.time_loop(2), make.position_loop((10.0, 20.0, "A"), (30.0, 40.0, "")), make.z_loop(3, 0.5)]


def twelve(path, **more):
    """Write 2 times, 2 positions, 3 planes, 2 channels."""
    return make.write(path, TWELVE, **{"loops": LOOPS, "planes": CHANNELS, **more})


class TestContract(ReaderContract):
    reader = Nd2

    @pytest.fixture
    def files(self, tmp_path):
        return [
            twelve(tmp_path / "all.nd2", times=range(12)),
            twelve(tmp_path / "packed.nd2", compressed=True, packed_metadata=True),
            twelve(tmp_path / "version 2.nd2", version="Ver2.1"),
            make.write(tmp_path / "rgb.nd2", RNG.integers(0, 255, (1, 4, 6, 3), dtype=np.uint8)),
            make.write(tmp_path / "float.nd2", RNG.random((1, 4, 6, 1)).astype(np.float32)),
        ]


@pytest.mark.parametrize("version", ["Ver3.0", "Ver2.1"])
@pytest.mark.parametrize("storage", [{}, {"compressed": True}, {"packed_metadata": True}])
def test_positions_and_channels_are_scans_and_time_and_z_are_axes(tmp_path, version, storage):
    path = twelve(tmp_path / "a.nd2", version=version, **storage)
    expected = nd2.imread(path)
    assert expected.shape == (2, 2, 3, 2, 5, 7)  # time, position, z, channel, y, x
    scans = open_scans(path)
    assert [(scan.name, scan.channel) for scan in scans] == [
        ("a A", "DAPI"), ("a A", "GFP"), ("a position 2", "DAPI"), ("a position 2", "GFP"),
    ]  # fmt: skip
    for number, scan in enumerate(scans):
        pixels = expected[:, number // 2, :, number % 2]
        assert [axis.name for axis in scan.axes] == ["time", "z", "y", "x"]
        np.testing.assert_array_equal(scan.pixels.read(), pixels)
        np.testing.assert_array_equal(scan.pixels.load_frame(4), pixels[1, 1])
        assert scan.source.index == number


def test_colours_stand_as_blue_green_red_in_the_file(tmp_path):
    stored = RNG.integers(0, 255, (1, 4, 6, 3), dtype=np.uint8)
    (scan,) = open_scans(make.write(tmp_path / "rgb.nd2", stored))
    assert scan.colour
    assert scan.channel == "RGB"
    np.testing.assert_array_equal(scan.pixels.read(), stored[0, :, :, ::-1])


def test_a_colour_channel_beside_a_grey_one(tmp_path):
    stored = RNG.integers(0, 255, (1, 4, 6, 4), dtype=np.uint8)
    planes = [make.plane("Camera", 3), make.plane("Fluo")]
    colour, grey = open_scans(make.write(tmp_path / "a.nd2", stored, planes=planes))
    np.testing.assert_array_equal(colour.pixels.read(), stored[0, :, :, 2::-1])
    np.testing.assert_array_equal(grey.pixels.read(), stored[0, :, :, 3])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_rows_are_padded_to_four_bytes(tmp_path, dtype):
    stored = RNG.integers(0, 255, (1, 3, 5, 1)).astype(dtype)
    (scan,) = open_scans(make.write(tmp_path / "a.nd2", stored))
    assert scan.pixels.dtype == np.dtype(dtype).name
    np.testing.assert_array_equal(scan.pixels.read(), stored[0, :, :, 0])


def test_scale_settings_and_names(tmp_path):
    text = {"3": "steel 7", "4": "Ann", "9": "9/28/2021  9:41:27 AM"}
    first, *_ = open_scans(twelve(tmp_path / "a.nd2", text=text))
    for name in "yx":
        assert (first.axis(name).step, first.axis(name).unit) == (0.65, "um")
    assert (first.axis("z").step, first.axis("z").unit) == (0.5, "um")
    assert {name: quantity.value for name, quantity in first.settings.items()} == {
        "magnification": 10.0,
        "exposure_time": pytest.approx(0.1),
        "detector": "Flash4.0, SN:101412",
        "instrument": "Ti2 Microscope",
        "stage_x": pytest.approx(0.01),  # of this position, not of the first picture
        "stage_y": pytest.approx(0.02),
        "stage_z": pytest.approx(0.4943),
        "sample": "steel 7",
        "operator": "Ann",
    }
    assert first.modality == "optical"
    assert (
        first.original["ImageMetadataSeqLV|0"]["dTemperK"] == 293.0
    )  # a constant of the program, no setting


def test_the_moment_is_utc_by_the_julian_day_and_that_of_the_first_image_of_each_scan(tmp_path):
    times = [3_600_000.0 * number for number in range(12)]  # [ms] an hour each
    scans = open_scans(twelve(tmp_path / "a.nd2", times=times, text={"9": "28.9.2021  15:38:18"}))
    assert scans[0].acquired == "2021-09-28T13:38:19Z"
    assert scans[2].acquired == "2021-09-28T16:38:19Z"  # image 3 is the first one of the second position
    assert scans[0].acquired_raw == "28.9.2021  15:38:18"


@pytest.mark.parametrize(
    ("written", "expected"),
    [("9/28/2021  9:41:27 AM", "2021-09-28T09:41:27"), ("9/8/2021  9:41:27 AM", None), ("", None)],
)
def test_without_julian_day_the_text_counts_where_it_is_certain(tmp_path, written, expected):
    path = make.write(tmp_path / "a.nd2", ONE, picture={"dTimeAbsolute": -1.0}, text={"9": written})
    (scan,) = open_scans(path)
    assert scan.acquired == expected
    assert scan.acquired_raw == (written or None)


@pytest.mark.parametrize(
    "picture",
    [{"bCalibrated": False}, {"dCalibration": -1.0}, {"dCalibration": 0.0}, {"dCalibration": float("nan")}],
)
def test_without_calibration_there_is_no_scale(tmp_path, picture):
    (scan,) = open_scans(make.write(tmp_path / "a.nd2", ONE, picture=picture))
    assert scan.axis("x").step is scan.axis("y").step is None
    assert scan.axis("x").unit is None


def test_the_y_axis_of_a_line_scan_is_no_length(tmp_path):
    (scan,) = open_scans(make.write(tmp_path / "a.nd2", ONE, picture={"ePictureYAxis": 2}))
    assert scan.axis("x").step == 0.65
    assert scan.axis("y").step is None
    assert "pixel size of y unknown" in scan.problems[0]


def test_zeros_and_minus_ones_of_the_vendor_are_unknown(tmp_path):
    planes = [make.plane("Mono", uiSampleIndex=5)]
    picture = {"dObjectiveMag": -1.0, "dXPos": 0.0, "dYPos": 0.0, "dZPos": 0.0}
    (scan,) = open_scans(make.write(tmp_path / "a.nd2", ONE, picture=picture, planes=planes))
    assert scan.settings == {}


@pytest.mark.parametrize(("kind", "step"), [(2, 0.5), (6, -0.5)])
def test_stacks_from_the_top_down_have_a_negative_step(tmp_path, kind, step):
    path = make.write(tmp_path / "a.nd2", TWELVE[:3, ..., :1], loops=[make.z_loop(3, 0.5, kind)])
    assert open_scans(path)[0].axis("z").step == step


def time_axis(path, times):
    stored = TWELVE[: len(times), ..., :1]
    (scan,) = open_scans(make.write(path, stored, loops=[make.time_loop(len(times))], times=times))
    return scan.axis("time"), scan.problems


def test_time_step_is_measured_and_not_the_plan(tmp_path):
    axis, problems = time_axis(tmp_path / "a.nd2", [12.0, 2012.5, 4011.0, 6012.0])
    assert (axis.step, axis.unit) == (2.0, "s")  # the plan says 1 s
    assert problems == ()


def test_uneven_times_have_no_step(tmp_path):
    axis, problems = time_axis(tmp_path / "a.nd2", [0.0, 1000.0, 2000.0, 3500.0])
    assert axis.step is None
    assert problems == ("time step unknown: images are 1 to 1.5 s apart",)


def test_without_times_there_is_no_step(tmp_path):
    scan = open_scans(twelve(tmp_path / "a.nd2"))[0]
    assert scan.axis("time").step is None
    assert "time step unknown: the file holds no times of its images" in scan.problems


def test_a_stopped_experiment_gives_its_complete_rounds(tmp_path):
    path = make.write(
        tmp_path / "a.nd2", TWELVE[:8], loops=[make.time_loop(5), make.z_loop(3, 0.5)], planes=CHANNELS
    )
    assert not nd2.imread(path)[3:].any()  # the package shows what was never taken as zeros
    first, _ = open_scans(path)
    assert first.pixels.shape == (2, 3, 5, 7)
    np.testing.assert_array_equal(first.pixels.read(), TWELVE[:6, ..., 0].reshape(2, 3, 5, 7))
    assert first.problems[0] == (
        "the experiment was stopped: 2 of 5 rounds (time) are complete, 8 of 15 images"
    )


def test_images_that_no_loop_explains_are_a_row_of_frames(tmp_path):
    path = make.write(tmp_path / "a.nd2", TWELVE, loops=[make.time_loop(5)], planes=CHANNELS)
    first, _ = open_scans(path)
    assert [(axis.name, axis.size) for axis in first.axes[:1]] == [("frame", 12)]
    assert first.axes[0].step is None
    assert (
        first.problems[0] == "which image is which is unknown: there are 12, the experiment describes 5 time"
    )


def test_a_lost_image_is_an_error_and_not_black(tmp_path):
    path = twelve(tmp_path / "a.nd2", skip=[4])
    assert not nd2.imread(path)[0, 1, 1].any()
    with pytest.raises(DamagedFileError, match=r"a\.nd2 \[nd2\]: image 4 is not in the map of chunks"):
        open_scans(path)


def test_a_wrong_place_in_the_map_is_an_error_and_not_noise(tmp_path):
    path = twelve(tmp_path / "a.nd2")
    content = bytearray(path.read_bytes())
    entry = content.rindex(b"ImageDataSeq|7!") + len("ImageDataSeq|7!")
    (place,) = struct.unpack_from("<Q", content, entry)
    struct.pack_into("<Q", content, entry, place + 64)
    path.write_bytes(content)
    nd2.imread(path)  # which takes any bytes for pixels
    with pytest.raises(DamagedFileError, match=rf"at byte {place + 64}: there is no chunk ImageDataSeq\|7"):
        open_scans(path)


def test_a_file_cut_short_is_named(tmp_path):
    path = twelve(tmp_path / "a.nd2")
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(DamagedFileError, match="no map of chunks at its end: the file is cut short"):
        open_scans(path)


def test_fewer_bytes_than_promised_are_refused(tmp_path):
    path = make.write(tmp_path / "a.nd2", ONE, attributes={"uiHeight": 6})
    with pytest.raises(DamagedFileError, match=r"image 0 has 80 bytes, its attributes promise 94"):
        open_scans(path)
    path = make.write(tmp_path / "b.nd2", ONE, attributes={"uiHeight": 6}, compressed=True)
    (scan,) = open_scans(path)
    with pytest.raises(DamagedFileError, match="image 0 has 80 of 94 bytes"):
        scan.pixels.read()


@pytest.mark.parametrize(
    ("attributes", "says"),
    [
        ({"uiWidth": 0}, "describe no image: 5 x 0 pixels"),
        ({"uiBpcInMemory": 12}, "of 1 x 12 bits"),
        ({"uiWidthBytes": 4}, "in rows of 4 bytes"),
        ({"uiComp": 0}, "of 0 x 16 bits"),
    ],
)
def test_attributes_that_describe_no_image_are_refused(tmp_path, attributes, says):
    with pytest.raises(DamagedFileError, match=says):
        open_scans(make.write(tmp_path / "a.nd2", ONE, attributes=attributes))


def test_lossy_compression_is_refused(tmp_path):
    with pytest.raises(ReadError, match="compressed with loss, which cannot be read"):
        open_scans(make.write(tmp_path / "a.nd2", ONE, attributes={"eCompression": 1}))


def test_pixels_survive_broken_metadata(tmp_path):
    path = make.write(tmp_path / "a.nd2", TWELVE[:2], planes=CHANNELS, loops=[make.time_loop(2)])
    content = path.read_bytes()
    start = content.index(b"ImageMetadataSeqLV|0!") + 64
    path.write_bytes(content[:start] + b"\x00" * 40 + content[start + 40 :])
    first, second = open_scans(path)
    np.testing.assert_array_equal(first.pixels.read(), TWELVE[:2, ..., 0])
    np.testing.assert_array_equal(second.pixels.read(), TWELVE[:2, ..., 1])
    assert first.channel is None
    assert first.axis("x").step is None
    assert any("ImageMetadataSeqLV|0 could not be read" in problem for problem in first.problems)
    assert any("channels unknown: the images have 2 components" in problem for problem in first.problems)


def test_bombs_in_the_metadata_are_not_unpacked(tmp_path):
    bomb = b"L\0" + bytes(10) + zlib.compress(bytes(1 << 27))
    path = make.write(tmp_path / "a.nd2", ONE, more={"ImageTextInfoLV": bomb})
    (scan,) = open_scans(path)
    np.testing.assert_array_equal(scan.pixels.read(), ONE[0, :, :, 0])
    assert (
        "ImageTextInfoLV could not be read (ValueError: it unpacks to more than 67108864" in scan.problems[0]
    )


def test_files_of_before_2008_are_refused_by_name(tmp_path):
    path = tmp_path / "old.nd2"
    path.write_bytes(b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(100))
    with pytest.raises(ReadError, match=r"an ND2 file of before 2008 \(JPEG 2000\); convert it to TIFF"):
        open_scans(path)
    assert Nd2.sniff(tmp_path / "a.jp2", path.read_bytes()) == 0


def test_without_the_package_the_error_is_the_install_line(tmp_path, monkeypatch):
    path = make.write(tmp_path / "a.nd2", ONE)
    monkeypatch.setitem(sys.modules, "nd2", None)
    with pytest.raises(MissingExtraError, match=r"a\.nd2: .* pip install 'micdb\[nd2\]'"):
        open_scans(path)
