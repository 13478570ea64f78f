"""DM3 and DM4: what the images are, what they say, what is refused, what is damage."""

from __future__ import annotations

import struct
import tracemalloc
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import numpy as np
import pytest

from micdb.errors import DamagedFileError, NotAnImageError
from micdb.ingest.readers.dm import DigitalMicrograph
from micdb.ingest.readers.dm_tags import TagArray, read_tags
from micdb.ingest.sniff import open_scans
from micdb.records import Scan
from micdb.testing import ReaderContract

make = SimpleNamespace(**run_path(str(Path(__file__).parents[1] / "data" / "dm" / "make.py")))
PIXELS = np.arange(5 * 7, dtype=np.uint16).reshape(5, 7)
TAGS = {"Microscope Info": make.MICROSCOPE, "DataBar": make.DATA_BAR}
AXES = [make.axis(0.25, "nm", -2.0), make.axis(0.5, "µm")]
REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "formats"
real_files = pytest.mark.skipif(not REAL.is_dir(), reason="no corpus of real files here")


def only(path: Path, *images: object, **more: object) -> Scan:
    (scan,) = open_scans(make.write(path, *images, **more))
    return scan


class TestContract(ReaderContract):
    reader = DigitalMicrograph

    @pytest.fixture
    def files(self, tmp_path: Path) -> list[Path]:
        stack = np.arange(3 * 4 * 5, dtype=np.float32).reshape(3, 4, 5)
        half = make.half_plane(stack[0])[1].astype(np.complex64)
        colours = np.arange(2 * 3 * 4 * 3, dtype=np.uint8).reshape(2, 3, 4, 3)
        return [
            make.write(tmp_path / "one.dm3", make.image(PIXELS, axes=AXES, tags=TAGS)),
            make.write(tmp_path / "four.dm4", make.image(PIXELS), make.image(stack), version=4),
            make.write(tmp_path / "mac.dm3", make.image(stack), make.colour(colours), order=">"),
            make.write(tmp_path / "fft.dm4", make.entry(half, 27, (5, 4)), version=4),
            make.write(tmp_path / "scan.dm4", make.image(np.zeros((2, 3, 4, 5), np.uint8)), version=4),
        ]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("version", [3, 4])
def test_image_with_its_own_unit_on_each_axis(tmp_path: Path, version: int, order: str) -> None:
    image = make.image(PIXELS, axes=AXES, tags=TAGS)
    scan = only(tmp_path / "a.dm", image, version=version, order=order)
    np.testing.assert_array_equal(scan.pixels.read(), PIXELS)
    y, x = scan.axes
    assert (y.step, y.unit, y.offset) == (0.5, "um", 0.0)
    assert (x.step, x.unit, x.offset) == (0.25, "nm", 0.5)
    assert scan.name == "HAADF"
    assert scan.modality == "STEM"
    assert scan.settings["accelerating_voltage"].value == 200000.0
    assert scan.settings["magnification"].value == 225000.0
    assert scan.settings["stage_x"].value == pytest.approx(0.0125)
    assert scan.settings["detector"].value == "DigiScan"
    assert scan.acquired == "2016-08-27T20:55:59"
    assert scan.acquired_raw == "27/08/2016 08:55:59 p.m."
    assert scan.original["ImageTags"]["DataBar"] == make.DATA_BAR


@pytest.mark.parametrize("version", [3, 4])
def test_two_other_readers_see_the_same(tmp_path: Path, version: int) -> None:
    rsciio = pytest.importorskip("rsciio.digitalmicrograph")
    ncempy = pytest.importorskip("ncempy.io.dm")
    path = make.write(tmp_path / f"a.dm{version}", make.image(PIXELS, axes=AXES), version=version)
    (scan,) = open_scans(path)
    (other,) = rsciio.file_reader(str(path))
    np.testing.assert_array_equal(scan.pixels.read(), other["data"])
    assert [axis.step for axis in scan.axes] == [axis["scale"] for axis in other["axes"]]
    assert [axis.offset for axis in scan.axes] == [axis["offset"] for axis in other["axes"]]
    with ncempy.fileDM(str(path)) as file:
        np.testing.assert_array_equal(scan.pixels.read(), file.getDataset(0)["data"])


@real_files
@pytest.mark.parametrize("name", ["dm3/multi_signal.dm3", "dm3/test_STEM_image.dm3", "dm3/test-13.dm3"])
def test_real_files_as_another_reader_sees_them(name: str) -> None:
    rsciio = pytest.importorskip("rsciio.digitalmicrograph")
    (scan,), other = open_scans(REAL / name), rsciio.file_reader(str(REAL / name))[0]
    np.testing.assert_array_equal(scan.pixels.read(), other["data"])
    for axis, theirs in zip(scan.axes, other["axes"], strict=True):
        assert axis.step is None or (axis.step, axis.offset) == (theirs["scale"], theirs["offset"])
    assert scan.source.format == "dm3"


def test_format_is_that_of_the_header(tmp_path: Path) -> None:
    assert only(tmp_path / "a.dm3", make.image(PIXELS), version=4).source.format == "dm4"
    assert only(tmp_path / "b.tif", make.image(PIXELS)).source.format == "dm3"


@pytest.mark.parametrize("dtype", sorted(make.DATA_TYPES))
@pytest.mark.parametrize("order", ["<", ">"])
def test_every_data_type(tmp_path: Path, dtype: str, order: str) -> None:
    pixels = (np.arange(-6, 6).reshape(3, 4) % 100).astype(dtype)
    scan = only(tmp_path / "a.dm4", make.image(pixels), version=4, order=order)
    assert scan.pixels.dtype == dtype
    np.testing.assert_array_equal(scan.pixels.read(), pixels)


@pytest.mark.parametrize("shape", [(4, 4), (5, 5), (4, 6), (6, 4), (5, 6), (6, 5), (1, 8)])
@pytest.mark.parametrize(("data_type", "dtype"), [(27, "complex64"), (28, "complex128")])
def test_half_of_a_fourier_transform_becomes_the_plane(
    tmp_path: Path, shape: tuple[int, int], data_type: int, dtype: str
) -> None:
    plane, half = make.half_plane(np.random.default_rng(1).normal(size=shape))
    scan = only(tmp_path / "f.dm4", make.entry(half.astype(dtype), data_type, shape[::-1]), version=4)
    assert scan.pixels.dtype == dtype
    np.testing.assert_allclose(scan.pixels.read(), plane, atol=1e-5)
    assert "taken as kx >= 0" in scan.problems[0]


def test_older_packing_of_fourier_transforms(tmp_path: Path) -> None:
    reader = pytest.importorskip("rsciio.digitalmicrograph._api")
    packed = np.random.default_rng(2).normal(size=(8, 8)).astype(np.float32)
    scan = only(tmp_path / "f.dm3", make.entry(packed, 5, (8, 8)))
    expected = reader.ImageObject.unpack_packed_complex(SimpleNamespace(shape=(8, 8)), packed.ravel())
    np.testing.assert_array_equal(scan.pixels.read(), expected)
    plane = scan.pixels.read()[1:, 1:]  # all frequencies that have a partner
    np.testing.assert_array_equal(plane, plane[::-1, ::-1].conj())


@real_files
def test_real_fourier_transform(tmp_path: Path) -> None:
    """A 0 .. 4 ramp in x: the preview shows five columns, brightest in the middle, all in one row."""
    (scan,) = open_scans(REAL / "dm4" / "test_fft_packed_complex8.dm4")
    plane = scan.pixels.read()
    ramp = np.fft.fftshift(np.fft.fft2(np.tile(np.arange(5.0), (5, 1))))
    np.testing.assert_allclose(np.abs(plane), np.abs(ramp), atol=1e-5)
    np.testing.assert_allclose(plane, plane[::-1, ::-1].conj())


def test_reciprocal_axes_are_diffraction_but_not_of_a_fourier_transform(tmp_path: Path) -> None:
    axes = [make.axis(0.1, "1/nm"), make.axis(0.1, "1/nm")]
    assert only(tmp_path / "d.dm3", make.image(PIXELS, axes=axes, tags=TAGS)).modality == "diffraction"
    half = make.half_plane(np.ones((4, 4)))[1].astype(np.complex64)
    assert only(tmp_path / "f.dm4", make.entry(half, 27, (4, 4), axes=axes), version=4).modality is None


def test_camera_length_is_no_magnification(tmp_path: Path) -> None:
    info = {
        "Illumination Mode": "TEM",
        "Imaging Mode": "DIFFRACTION",
        "Indicated Magnification": 285.0,
        "Formatted Indicated Mag": "285 mm",
    }
    scan = only(tmp_path / "d.dm3", make.image(PIXELS, tags={"Microscope Info": info}))
    assert scan.modality == "diffraction"
    assert "magnification" not in scan.settings
    assert scan.settings["camera_length"].value == 285.0
    stem = {**info, "Illumination Mode": "STEM", "Formatted Indicated Mag": "285x"}
    scan = only(tmp_path / "s.dm3", make.image(PIXELS, tags={"Microscope Info": stem}))
    assert (scan.modality, scan.settings["magnification"].value) == ("STEM", 285.0)


def test_settings_with_their_units(tmp_path: Path) -> None:
    tags = {
        "Microscope Info": {
            "Emission Current (µA)": 12.0, "Probe Current (nA)": 0.0, "STEM Camera Length": 77.0,
            "Spot Size": 3, "Stage Position": {"Stage Z": -200.0, "Stage Beta": 1.5},
        },
        "DigiScan": {"Sample Time": 32.5, "Rotation": 90.0, "Signal Name": "HAADF"},
        "DataBar": {"Device Name": "DigiScan"},
        "EELS": {"Experimental Conditions": {"Convergence semi-angle (mrad)": 21.0}},
        "Acquisition": {"Parameters": {"High Level": {"Exposure (s)": 0.25}}},
        "Session Info": {"Microscope": "Titan", "Operator": "", "Specimen": "WS2"},
    }  # fmt: skip
    scan = only(tmp_path / "s.dm4", make.image(PIXELS, tags=tags), version=4)
    values = {name: quantity.value for name, quantity in scan.settings.items()}
    assert values == {
        "emission_current": 12e-6, "camera_length": 77.0, "spot_size": 3.0, "stage_z": -0.2,
        "stage_tilt_beta": 1.5, "dwell_time": 32.5e-6, "scan_angle": 90.0, "detector": "HAADF",
        "convergence_angle": 21.0, "exposure_time": 0.25, "instrument": "Titan", "sample": "WS2",
    }  # fmt: skip
    assert scan.channel == "HAADF"
    assert scan.problems == ()


def test_ambiguous_date_stays_raw_unless_the_computer_clock_decides(tmp_path: Path) -> None:
    ambiguous = {**make.DATA_BAR, "Acquisition Date": "12/10/2019", "Acquisition Time": "3:32:41 PM"}
    scan = only(tmp_path / "a.dm3", make.image(PIXELS, tags={"DataBar": ambiguous}))
    assert scan.acquired is None
    assert scan.acquired_raw == "12/10/2019 3:32:41 PM"
    clock = {**ambiguous, "Acquisition Time (OS)": 132204835614361376.0}  # [100 ns] since 1601
    scan = only(tmp_path / "b.dm3", make.image(PIXELS, tags={"DataBar": clock}))
    assert scan.acquired == "2019-12-10T20:32:41Z"
    spectrum_image = {"SI": {"Acquisition": {"Date": "14/05/2019", "Start time": "20:50:13"}}}
    scan = only(tmp_path / "c.dm3", make.image(PIXELS, tags=spectrum_image))
    assert scan.acquired == "2019-05-14T20:50:13"


def test_every_image_is_a_scan_and_the_plot_is_not(tmp_path: Path) -> None:
    plot = make.image(np.arange(8, dtype=np.float32), name="Plot")
    path = make.write(
        tmp_path / "many.dm3", make.image(PIXELS, name="BF"), plot, make.image(PIXELS, name="DF")
    )
    scans = open_scans(path)
    assert [(scan.name, scan.source.index) for scan in scans] == [("BF", 0), ("DF", 1)]


def test_stack_names_its_leading_axis_by_its_unit(tmp_path: Path) -> None:
    stack = np.arange(2 * 3 * 4, dtype=np.int32).reshape(2, 3, 4)
    names = []
    for unit in ("s", "nm", ""):
        axes = [make.axis(1.0, "nm"), make.axis(1.0, "nm"), make.axis(0.5, unit)]
        scan = only(tmp_path / "s.dm4", make.image(stack, axes=axes), version=4)
        names.append(scan.axes[0].name)
        np.testing.assert_array_equal(scan.pixels.read(), stack)
        np.testing.assert_array_equal(scan.pixels.load_frame(1), stack[1])
    assert names == ["time", "z", "frame"]
    assert only(tmp_path / "t.dm3", make.image(stack, axes=axes[:1])).axes[1].step is None


@pytest.mark.parametrize(
    "tags",
    [
        {"plane info vector": [{"source tags": TAGS}, {"source tags": {}}]},
        {"source": {"Tags at creation": TAGS}, "StackBuilder": {"Version": 4}},
    ],
)
def test_stackbuilder_keeps_the_tags_of_its_images(tmp_path: Path, tags: dict[str, object]) -> None:
    stack = np.zeros((2, 3, 4), np.float32)
    scan = only(tmp_path / "s.dm3", make.image(stack, tags=tags))
    assert scan.settings["accelerating_voltage"].value == 2e5
    assert scan.settings["magnification"].value == 225000.0
    assert (scan.modality, scan.acquired) == ("STEM", "2016-08-27T20:55:59")


@pytest.mark.parametrize(
    ("units", "swapped", "leading"),
    [
        (("", "", "", ""), True, ("scan_y", "scan_x")),  # newer files say that the detector is fastest
        (("1/nm", "1/nm", "nm", "nm"), None, ("scan_y", "scan_x")),
        (("nm", "nm", "1/nm", "1/nm"), None, ("detector_y", "detector_x")),  # as before
        (("nm", "nm", "1/nm", "1/nm"), False, ("detector_y", "detector_x")),
        (("", "", "", ""), None, ("series", "frame")),  # nothing is certain
    ],
)
def test_four_dimensions(
    tmp_path: Path, units: tuple[str, ...], swapped: bool | None, leading: tuple[str, str]
) -> None:
    data = np.arange(2 * 3 * 4 * 5, dtype=np.uint16).reshape(2, 3, 4, 5)
    meta = {"Format": "Diffraction image"} | ({} if swapped is None else {"Data Order Swapped": swapped})
    image = make.image(data, axes=[make.axis(0.1, unit) for unit in units], tags={"Meta Data": meta})
    scan = only(tmp_path / "4d.dm4", image, version=4)
    assert tuple(axis.name for axis in scan.axes) == (*leading, "y", "x")
    np.testing.assert_array_equal(scan.pixels.read(), data)
    np.testing.assert_array_equal(scan.pixels.load_frame(4), data[1, 1])


def test_colour_image_is_kept_and_the_thumbnail_is_not(tmp_path: Path) -> None:
    rgb = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    for order in "<>":  # on a Mac the bytes are 0, R, G, B
        scan = only(tmp_path / "c.dm3", make.colour(rgb, name="drawing"), order=order)
        assert scan.name == "drawing"
        np.testing.assert_array_equal(scan.pixels.read(), rgb)


@real_files
def test_colours_of_a_real_preview() -> None:
    """The document draws its plot in pure red (tag LineColor), and so its preview must show it."""
    tags = read_tags(REAL / "dm3" / "multi_signal.dm3").root
    plot = tags["DocumentObjectList"][0]["AnnotationGroupList"][1]["ImageDisplayInfo"]["SliceList"][0]
    assert plot["LineColor"] == [-1, 0, 0]
    place = tags["ImageList"][0]["ImageData"]["Data"]
    preview = np.fromfile(REAL / "dm3" / "multi_signal.dm3", "<u4", place.elements, offset=place.offset)
    assert np.count_nonzero(preview == 0xFF0000) > 50
    assert np.count_nonzero(preview == 0x0000FF) == 0


def test_preview_of_a_file_without_list_of_thumbnails(tmp_path: Path) -> None:
    preview = make.colour(np.zeros((4, 4, 3), np.uint8))
    assert only(tmp_path / "p.dm3", preview, make.image(PIXELS), thumbnail=False).name == "HAADF"
    assert only(tmp_path / "q.dm3", preview, thumbnail=False).name == "preview"


def test_missing_and_unknown_units_leave_the_step_unknown(tmp_path: Path) -> None:
    axes = [make.axis(0.2, ""), make.axis(0.3, "blips")]
    scan = only(tmp_path / "u.dm3", make.image(PIXELS, axes=axes))
    assert [axis.step for axis in scan.axes] == [None, None]
    assert "unit 'blips' is unknown" in scan.problems[0]
    assert only(tmp_path / "p.dm3", make.image(PIXELS, axes=[make.axis(1.0, "Pixels")])).problems == ()


def test_intensity_has_a_unit_only_where_it_is_not_scaled(tmp_path: Path) -> None:
    phase, counts = make.axis(1.0, "rad"), make.axis(0.5, "rad")
    assert only(tmp_path / "a.dm3", make.image(PIXELS, brightness=phase)).intensity_unit == "rad"
    assert only(tmp_path / "b.dm3", make.image(PIXELS, brightness=counts)).intensity_unit is None


@pytest.mark.parametrize(
    ("unit", "meta", "reason"),
    [
        ("eV", {}, r"'EELS' is a spectrum or spectrum image \(it has an energy axis\)"),
        ("keV", {}, "it has an energy axis"),
        ("nm", {"Format": "Spectrum image", "Signal": "CL"}, "so its tags say"),
    ],
)
def test_spectrum_images_are_refused(tmp_path: Path, unit: str, meta: dict[str, str], reason: str) -> None:
    axes = [make.axis(1.0, "nm"), make.axis(1.0, "nm"), make.axis(0.5, unit)]
    cube = make.image(np.zeros((6, 2, 2), np.float32), axes=axes, name="EELS", tags={"Meta Data": meta})
    with pytest.raises(NotAnImageError, match=reason):
        open_scans(make.write(tmp_path / "si.dm4", cube, version=4))


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (make.image(np.zeros(8, np.float32), name="p"), r"'p' is a plot \(1-D\), not an image"),
        (make.image(np.zeros(8, np.float32), axes=[make.axis(0.2, "eV")]), "is a spectrum or spectrum image"),
        (make.image(np.zeros(8), tags={"Meta Data": {"Format": "Spectrum"}}), "is a spectrum or spectrum"),
        (make.entry(np.zeros((4, 6), np.float32), 5, (6, 4)), "transform of 6 x 4 pixels, expected an even"),
        (make.entry(np.zeros((2, 2), np.int32), 24, (2, 2)), "has the unknown data type 24"),
        (make.image(np.zeros((1, 1, 1, 2, 2), np.uint8)), "has 5 dimensions, expected an image or a stack"),
    ],
)  # fmt: skip
def test_refused_by_name(tmp_path: Path, entry: object, reason: str) -> None:
    with pytest.raises(NotAnImageError, match=reason):
        open_scans(make.write(tmp_path / "f.dm3", entry))


def test_image_whose_pixels_are_elsewhere(tmp_path: Path) -> None:
    image = make.image(PIXELS)
    del image["ImageData"]["Data"]
    with pytest.raises(NotAnImageError, match="has no pixels in this file"):
        open_scans(make.write(tmp_path / "f.dm3", image))


def test_all_kinds_of_tags(tmp_path: Path) -> None:
    """Structs, arrays of them, arrays of arrays, strings, and arrays too long to be metadata."""
    tags = {
        "struct": (1, 2.5),
        "rectangles": make.Raw((20, 15, 0, 2, 0, 2, 0, 2, 2), struct.pack("<4h", 1, -2, 3, -4)),
        "matrix": make.Raw((20, 20, 2, 2, 2), struct.pack("<4h", 1, 2, 3, 4)),
        "string": make.Raw((18, 3), b"abc"),
        "lookup": np.zeros(70_000, np.uint8),
        "mixed": {"a": 1, "": "unnamed"},
        "yes": True,
    }
    scan = only(tmp_path / "t.dm3", make.image(PIXELS, tags=tags))
    assert scan.original["ImageTags"] == {
        "struct": [1, 2.5], "rectangles": [[1, -2], [3, -4]], "matrix": [1, 2, 3, 4], "string": "abc",
        "lookup": "<70000 values>", "mixed": {"a": 1, "1": "unnamed"}, "yes": True,
    }  # fmt: skip
    assert scan.original["ImageData"]["Dimensions"] == [7, 5]


def test_header_is_read_without_the_pixels(tmp_path: Path) -> None:
    frames, size = 64, 2048 * 2048 * 2  # [byte] of one frame
    image = make.entry(np.zeros(1, np.uint16), 10, (2048, 2048, frames))
    image["ImageData"]["Data"] = make.Raw((20, 4, frames * 2048 * 2048), b"")
    content = make.document({"ImageList": [image], "Thumbnails": []}, version=4)
    start = content.index(b"%%%%", content.index(b"\x00\x04Data")) + 4 + 4 * 8
    path = tmp_path / "long.dm4"
    with path.open("wb") as stream:  # a sparse file
        stream.write(content[:start])
        stream.seek(start + frames * size)
        stream.write(content[start:])
    tracemalloc.start()
    (scan,) = open_scans(path)
    read = tracemalloc.get_traced_memory()[1]
    scan.pixels.load_frame(frames - 1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert scan.pixels.shape == (frames, 2048, 2048)
    assert read < 10e6
    assert peak < 4 * size


def test_pixels_are_located(tmp_path: Path) -> None:
    path = make.write(tmp_path / "a.dm3", make.image(PIXELS))
    place = read_tags(path).root["ImageList"][1]["ImageData"]["Data"]
    assert isinstance(place, TagArray)
    assert path.read_bytes()[place.offset : place.offset + place.size] == PIXELS.tobytes()


def test_short_data_block_is_damage(tmp_path: Path) -> None:
    path = make.write(tmp_path / "s.dm3", make.entry(np.ones(10, np.uint16), 10, (4, 4)))
    with pytest.raises(DamagedFileError, match=r"needs 32 bytes, the file holds 20") as caught:
        open_scans(path)
    assert caught.value.offset == path.read_bytes().index(np.ones(10, np.uint16).tobytes())


def test_cut_file_names_the_byte(tmp_path: Path) -> None:
    path = make.write(tmp_path / "cut.dm3", make.image(PIXELS))
    path.write_bytes(path.read_bytes()[:400])
    with pytest.raises(DamagedFileError, match=r"at byte \d+: the file ends at byte 400") as caught:
        open_scans(path)
    assert caught.value.offset is not None


def test_images_survive_damage_behind_them(tmp_path: Path) -> None:
    path = make.write(tmp_path / "t.dm3", make.image(PIXELS), more={"Page Behavior": {"Zoom": 1.0}})
    path.write_bytes(path.read_bytes()[:-20])
    (scan,) = open_scans(path)
    np.testing.assert_array_equal(scan.pixels.read(), PIXELS)
    assert "the tags after the images are damaged: the file ends at byte" in scan.problems[0]


def _group(name: bytes, count: int) -> bytes:
    return struct.pack(">BH", 20, len(name)) + name + b"\x01\x00" + struct.pack(">I", count)


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        (_group(b"ImageList", 2**32 - 1), "a group promises 4294967295 entries"),
        (_group(b"ImageList", 1) + _group(b"", 1) * 5000, "more than 64 levels"),
        (_group(b"ImageList", 2_000_000) + _group(b"", 0) * 2_000_000, "more than 1000000 entries"),
        (b"\x07\x00\x00" + bytes(9), "an entry has type 7, expected 20 or 21"),
        (b"\x15\x00\x01x%%%!" + bytes(4), "tag 'x' begins with"),
        (b"\x15\x00\x01x%%%%" + struct.pack(">II", 1, 99), "tag 'x' has the unknown type"),
        (b"\x15\x00\x01x%%%%" + struct.pack(">IIII", 3, 20, 3, 2**31), "8589934592 more bytes are promised"),
        (b"\x15\x00\x01x%%%%" + struct.pack(">I", 2**31), "2147483648 type words"),
        (_group(b"ImageList", 0), "the file holds no image"),
        (_group(b"Other", 0), "the tags hold no ImageList"),
        (_group(b"ImageList", 1) + _group(b"", 0), "image 0 has the dimensions None and the data type None"),
    ],
)
def test_hostile_trees_are_refused_at_once(tmp_path: Path, tags: bytes, reason: str) -> None:
    path = tmp_path / "h.dm3"
    path.write_bytes(struct.pack(">III", 3, len(tags), 1) + b"\x01\x00" + struct.pack(">I", 1) + tags)
    with pytest.raises((DamagedFileError, NotAnImageError), match=reason):
        open_scans(path)


def test_dimensions_that_are_none_are_damage(tmp_path: Path) -> None:
    image = make.image(PIXELS)
    image["ImageData"]["Dimensions"] = [0, 5]
    with pytest.raises(DamagedFileError, match=r"image 1 has the dimensions \[0, 5\]"):
        open_scans(make.write(tmp_path / "d.dm3", image))
