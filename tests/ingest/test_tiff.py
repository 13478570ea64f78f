"""TIFF: pixels of every kind, stacks frame by frame, what is refused."""

from __future__ import annotations

import struct
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tifffile

from micdb.errors import DamagedFileError
from micdb.ingest.readers import tiff
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


def test_frames_of_compressed_pages_come_without_the_others(tmp_path: Path) -> None:
    """Single frames are opened by place, and one pass over all opens the file once."""
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as file:
        for page in STACK:
            file.write(page, metadata=None, compression="zlib", rowsperstrip=2)
    pixels = one(path).pixels
    assert pixels.load_frame is not None
    assert pixels.stream is not None
    np.testing.assert_array_equal(pixels.load_frame(2), STACK[2])
    np.testing.assert_array_equal(np.array(list(pixels.stream())), STACK)


def test_pixels_in_one_piece_are_read_from_their_place(tmp_path: Path) -> None:
    """Of a stack of 3 the middle frame needs the middle bytes only: damage elsewhere is not seen."""
    path = make.write(tmp_path / "a.tif", STACK)
    with tifffile.TiffFile(path) as file:
        start = file.series[0].dataoffset
    scan = one(path)
    content = bytearray(path.read_bytes())
    content[start : start + 96] = bytes(96)
    path.write_bytes(bytes(content))
    assert scan.pixels.load_frame is not None
    np.testing.assert_array_equal(scan.pixels.load_frame(1), STACK[1])


@pytest.mark.parametrize("odd", [3, 9])
@pytest.mark.parametrize("change", ["shape", "dtype"])
def test_an_odd_page_among_equal_ones_is_a_scan_of_its_own(tmp_path: Path, odd: int, change: str) -> None:
    """tifffile looks at pages 1, 7 and the last only."""
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as file:
        for number in range(12):
            page = np.full((4, 5), number, np.uint8)
            if number == odd:
                page = np.full((4, 6), 300, np.uint16) if change == "dtype" else np.full((5, 5), 99, np.uint8)
            file.write(page, metadata=None, contiguous=False)
    stack, single = open_scans(path)
    np.testing.assert_array_equal(stack.pixels.read()[:, 0, 0], [n for n in range(12) if n != odd])
    assert single.pixels.read().max() == (300 if change == "dtype" else 99)


def test_a_chain_of_pages_in_a_circle_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as file:
        for page in STACK:
            file.write(page, metadata=None, contiguous=False)
    with tifffile.TiffFile(path) as file:
        first, last = file.pages[0].offset, file.pages[2].offset
    content = bytearray(path.read_bytes())
    (count,) = struct.unpack_from("<H", content, last)
    struct.pack_into("<I", content, last + 2 + 12 * count, first)
    path.write_bytes(bytes(content))
    with pytest.raises(DamagedFileError, match="directory 4 of the TIFF is one of the directories before it"):
        open_scans(path)


def test_too_many_differing_pages_are_not_compared_with_one_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """33 000 pages of two kinds took three minutes."""
    monkeypatch.setattr(tiff, "_MAX_COMPARED", 9)
    for name, count in (("a.tif", 9), ("b.tif", 10)):
        with tifffile.TiffWriter(tmp_path / name) as file:
            for number in range(count):
                file.write(np.zeros((4, 5 + (number == 3)), np.uint8), metadata=None, contiguous=False)
    assert [scan.pixels.shape for scan in open_scans(tmp_path / "a.tif")] == [(8, 4, 5), (4, 6)]
    with pytest.raises(DamagedFileError, match=r"its 10 directories differ \(2 kinds\), and so many are not"):
        open_scans(tmp_path / "b.tif")
    monkeypatch.setattr(tiff, "_MAX_KINDS", 1)
    with pytest.raises(DamagedFileError, match=r"its 9 directories differ \(2 kinds\), and so many are not"):
        open_scans(tmp_path / "a.tif")


def test_one_bit_pixels_are_zero_and_one(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 2, (3, 7, 9)).astype(bool)
    scan = one(make.write(tmp_path / "a.tif", pixels))
    assert scan.pixels.dtype == "uint8"
    np.testing.assert_array_equal(scan.pixels.read(), pixels)


@pytest.mark.parametrize("dtype", ["complex64", "complex128", "uint64", "int64"])
def test_wide_and_complex_numbers(tmp_path: Path, dtype: str) -> None:
    pixels = GREY.astype(dtype) * (1 + 2j if dtype.startswith("c") else 3)
    np.testing.assert_array_equal(one(make.write(tmp_path / "a.tif", pixels)).pixels.read(), pixels)


@pytest.mark.parametrize("compression", ["lzw", "zlib", "packbits", "lzma", "zstd", "jpeg2000", "png"])
def test_lossless_compressions(tmp_path: Path, compression: str) -> None:
    scan = one(make.write(tmp_path / "a.tif", GREY, compression=compression))
    np.testing.assert_array_equal(scan.pixels.read(), GREY)


@pytest.mark.parametrize("options", [{}, {"compression": "lzw"}, {"compression": "zlib", "predictor": 2}])
def test_pixels_equal_pillow(tmp_path: Path, options: dict[str, Any]) -> None:
    from PIL import Image

    for number, pixels in enumerate((GREY, STACK[0], np.dstack([GREY, GREY + 50, GREY + 99]))):
        photometric = "rgb" if pixels.ndim == 3 else "minisblack"
        path = make.write(tmp_path / f"{number}.tif", pixels, photometric=photometric, **options)
        np.testing.assert_array_equal(one(path).pixels.read(), np.asarray(Image.open(path)))


def test_samples_that_are_no_colour_are_channels(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (6, 7, 5), dtype=np.uint8)
    path = make.write(tmp_path / "a.tif", pixels, planarconfig="contig", extrasamples=["unspecified"] * 4)
    scans = open_scans(path)
    assert len(scans) == 5
    for number, scan in enumerate(scans):
        np.testing.assert_array_equal(scan.pixels.read(), pixels[..., number])


def test_make_and_model_name_the_instrument(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tags = [(271, "s", 0, "A maker", True), (272, "s", 0, "A camera", True)]
    tifffile.imwrite(path, GREY, metadata=None, extratags=tags)
    settings = one(path).settings
    assert (settings["vendor"].value, settings["instrument"].value) == ("A maker", "A camera")
