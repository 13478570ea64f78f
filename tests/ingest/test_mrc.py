"""MRC: numbers, shapes, byte orders, stacks and volumes."""

from __future__ import annotations

import struct
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import numpy as np
import pytest

from micdb.errors import DamagedFileError, NotAnImageError
from micdb.ingest.readers.mrc import Mrc
from micdb.ingest.sniff import candidates, open_scans
from micdb.testing import ReaderContract

make = SimpleNamespace(**run_path(str(Path(__file__).parents[1] / "data" / "mrc" / "make.py")))
IMAGE = np.arange(5 * 6, dtype=np.int16).reshape(5, 6)
STACK = np.arange(3 * 5 * 6, dtype=np.float32).reshape(3, 5, 6)


class TestContract(ReaderContract):
    reader = Mrc

    @pytest.fixture
    def files(self, tmp_path: Path) -> list[Path]:
        return [
            make.write(tmp_path / "image.mrc", IMAGE),
            make.write(tmp_path / "stack.mrcs", STACK),
            make.write(tmp_path / "bytes.map", IMAGE.astype(np.int8), voxel=None),
            make.big_endian(tmp_path / "big.mrc", IMAGE),
            colour(tmp_path / "colour.mrc", np.arange(2 * 4 * 5 * 3).reshape(2, 4, 5, 3)),
            four_bit(tmp_path / "packed.mrc", np.arange(2 * 3 * 5).reshape(2, 3, 5) % 16),
        ]


def plain(path: Path, mode: int, size: tuple[int, ...], pixels: bytes) -> Path:
    """Write an image or stack of a mode that mrcfile does not write; `size` is columns, rows, sections."""
    make.write(path, np.zeros((2, 2), np.int8))
    path.write_bytes(path.read_bytes()[:1024] + pixels)
    return patch(patch(path, 0, struct.pack("<4i", *size, mode)), 28, struct.pack("<3i3f", *size, *[9.0] * 3))


def colour(path: Path, pixels: np.ndarray) -> Path:
    sections, rows, columns, _ = pixels.shape
    return plain(path, 16, (columns, rows, sections), pixels.astype(np.uint8).tobytes())


def packed(pixels: np.ndarray) -> bytes:
    """Two pixels to a byte, the left one in the low four bits; every row begins a new byte."""
    even = np.pad(pixels, [(0, 0), (0, 0), (0, pixels.shape[2] % 2)]).astype(np.uint8)
    return (even[..., 0::2] | even[..., 1::2] << 4).tobytes()


def four_bit(path: Path, pixels: np.ndarray) -> Path:
    sections, rows, columns = pixels.shape
    return plain(path, 101, (columns, rows, sections), packed(pixels))


def patch(path: Path, offset: int, value: bytes) -> Path:
    content = bytearray(path.read_bytes())
    content[offset : offset + len(value)] = value
    path.write_bytes(bytes(content))
    return path


@pytest.mark.parametrize("dtype", ["int8", "int16", "float32", "uint16", "complex64", "float16"])
def test_modes(tmp_path: Path, dtype: str) -> None:
    pixels = IMAGE.astype(dtype)
    (scan,) = open_scans(make.write(tmp_path / "m.mrc", pixels))
    assert scan.pixels.dtype == dtype
    np.testing.assert_array_equal(scan.pixels.read(), pixels)
    assert scan.axis("x").step_in("nm") == pytest.approx(0.2)


def test_stack_and_volume_differ_in_their_leading_axis(tmp_path: Path) -> None:
    (stack,) = open_scans(make.write(tmp_path / "s.mrc", STACK))
    (volume,) = open_scans(make.write(tmp_path / "v.mrc", STACK, volume=True))
    assert (stack.axes[0].name, stack.axes[0].step) == ("frame", None)
    assert (volume.axes[0].name, volume.axes[0].step) == ("z", 2.0)
    np.testing.assert_array_equal(stack.pixels.load_frame(2), STACK[2])


@pytest.mark.parametrize("length", [0.0, float("nan"), -3.0])
def test_unset_cell_is_unknown(tmp_path: Path, length: float) -> None:
    path = patch(make.write(tmp_path / "m.mrc", IMAGE), 40, struct.pack("<2f", length, length))
    (scan,) = open_scans(path)
    assert [(axis.step, axis.unit) for axis in scan.axes] == [(None, None), (None, None)]


def test_imod_bytes_are_unsigned(tmp_path: Path) -> None:
    pixels = np.array([[-1, 2], [3, -128]], np.int8)
    path = patch(make.write(tmp_path / "m.mrc", pixels), 152, struct.pack("<2i", 1146047817, 0))
    (scan,) = open_scans(path)
    np.testing.assert_array_equal(scan.pixels.read(), np.array([[255, 2], [3, 128]], np.uint8))


def test_old_header_without_the_word_map(tmp_path: Path) -> None:
    path = patch(make.write(tmp_path / "old.dat", IMAGE), 208, b"\0" * 8)
    assert [(found.score, found.name) for found in candidates(path)] == [(1, "mrc")]
    np.testing.assert_array_equal(open_scans(path)[0].pixels.read(), IMAGE)


def test_unread_mode_is_named(tmp_path: Path) -> None:
    path = patch(make.write(tmp_path / "m.mrc", IMAGE), 12, struct.pack("<i", 3))
    with pytest.raises(NotAnImageError, match=r"MRC mode 3 \(complex int16\) is not read"):
        open_scans(path)


def test_cut_pixels_name_the_byte(tmp_path: Path) -> None:
    path = make.write(tmp_path / "m.mrc", IMAGE)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(DamagedFileError, match="at byte 1074: the pixels are cut off: 10 bytes are missing"):
        open_scans(path)


def test_absurd_sizes_are_damage(tmp_path: Path) -> None:
    path = patch(make.write(tmp_path / "m.mrc", IMAGE), 0, struct.pack("<3i", 1000000, 1000000, 1000000))
    with pytest.raises(DamagedFileError, match="cut off"):
        open_scans(path)


def test_colour_has_its_own_axis(tmp_path: Path) -> None:
    pixels = np.arange(2 * 4 * 5 * 3, dtype=np.uint8).reshape(2, 4, 5, 3)
    (scan,) = open_scans(colour(tmp_path / "c.mrc", pixels))
    assert [axis.name for axis in scan.axes] == ["frame", "y", "x", "colour"]
    np.testing.assert_array_equal(scan.pixels.read(), pixels)
    np.testing.assert_array_equal(scan.pixels.load_frame(1), pixels[1])


@pytest.mark.parametrize("columns", [4, 5])
def test_four_bit_pixels_of_mode_101(tmp_path: Path, columns: int) -> None:
    pixels = (np.arange(2 * 3 * columns).reshape(2, 3, columns) * 7 % 16).astype(np.uint8)
    (scan,) = open_scans(four_bit(tmp_path / "p.mrc", pixels))
    assert scan.pixels.dtype == "uint8"
    np.testing.assert_array_equal(scan.pixels.read(), pixels)
    np.testing.assert_array_equal(scan.pixels.load_frame(1), pixels[1])


def test_four_bit_pixels_that_serialem_hides_in_mode_0(tmp_path: Path) -> None:
    pixels = (np.arange(24).reshape(1, 4, 6) % 16).astype(np.uint8)
    path = plain(tmp_path / "k2.mrc", 0, (3, 4, 1), packed(pixels))
    (scan,) = open_scans(patch(path, 152, struct.pack("<2i", 1146047817, 16)))
    np.testing.assert_array_equal(scan.pixels.read(), pixels[0])


@pytest.mark.parametrize(
    ("low", "high", "dtype"),
    [(0.0, 200.0, "uint8"), (-5.0, 90.0, "int8"), (0.0, 100.0, "int8"), (0.0, -1.0, "int8")],
)
def test_bytes_are_unsigned_where_their_own_maximum_says_so(
    tmp_path: Path, low: float, high: float, dtype: str
) -> None:
    pixels = np.array([[0, 100], [-56, 3]], np.int8)
    (scan,) = open_scans(patch(make.write(tmp_path / "m.mrc", pixels), 76, struct.pack("<2f", low, high)))
    assert scan.pixels.dtype == dtype
    np.testing.assert_array_equal(scan.pixels.read(), pixels.view(dtype))


@pytest.mark.parametrize("stamp", [b"\x11\x11\0\0", bytes(4)])
def test_big_endian_with_and_without_its_stamp(tmp_path: Path, stamp: bytes) -> None:
    pixels = np.arange(256 * 2, dtype=np.uint16).reshape(2, 256)  # 256 columns are 65536 the other way round
    (scan,) = open_scans(make.big_endian(tmp_path / "b.mrc", pixels, stamp=stamp))
    np.testing.assert_array_equal(scan.pixels.read(), pixels)
    assert scan.axis("x").step_in("angstrom") == pytest.approx(3)


def test_permuted_axes_keep_their_steps(tmp_path: Path) -> None:
    path = make.write(tmp_path / "v.mrc", STACK, volume=True)  # 3 sections, 5 rows, 6 columns
    patch(path, 28, struct.pack("<3i3f", 3, 5, 6, 3.0, 10.0, 18.0))  # sampling and cell along x, y, z
    (scan,) = open_scans(patch(path, 64, struct.pack("<3i", 3, 2, 1)))  # columns run along z
    assert [(axis.name, axis.step) for axis in scan.axes] == [("z", 1.0), ("y", 2.0), ("x", 3.0)]


@pytest.mark.parametrize(
    ("name", "sampling", "leading"), [("p.mrcs", 3, "frame"), ("v.mrc", 1, "frame"), ("v.mrc", 3, "z")]
)
def test_stacks_that_call_themselves_volumes(tmp_path: Path, name: str, sampling: int, leading: str) -> None:
    path = make.write(tmp_path / name, STACK, volume=True)
    (scan,) = open_scans(patch(path, 36, struct.pack("<i", sampling)))
    assert scan.axes[0].name == leading


def test_stack_of_volumes_has_both_axes(tmp_path: Path) -> None:
    path = make.write(tmp_path / "v.mrc", np.arange(6 * 5 * 4, dtype=np.int16).reshape(6, 5, 4), volume=True)
    patch(patch(path, 88, struct.pack("<i", 401)), 36, struct.pack("<i", 3))
    (scan,) = open_scans(path)
    assert [(axis.name, axis.size) for axis in scan.axes] == [("frame", 2), ("z", 3), ("y", 5), ("x", 4)]
    np.testing.assert_array_equal(scan.pixels.load_frame(4), scan.pixels.read()[1, 1])


def test_map_of_another_kind_is_not_ours(tmp_path: Path) -> None:
    path = tmp_path / "atlas.map"
    path.write_bytes(b"JEOL map of something else" * 100)
    assert Mrc.sniff(path, path.read_bytes()) == 0


def test_one_frame_of_a_huge_stack_is_read_alone(tmp_path: Path) -> None:
    path = make.write(tmp_path / "h.mrc", np.zeros((1, 4, 4), np.int16))
    sections = 1 << 24
    patch(patch(path, 8, struct.pack("<i", sections)), 88, struct.pack("<i", 0))
    with path.open("r+b") as stream:
        stream.truncate(1024 + 32 * sections)  # a sparse file of half a gigabyte
        stream.seek(1024 + 32 * (sections - 1))
        stream.write(np.full((4, 4), 7, np.int16).tobytes())
    (scan,) = open_scans(path)
    assert scan.n_frames == sections
    np.testing.assert_array_equal(scan.pixels.load_frame(sections - 1), np.full((4, 4), 7))


@pytest.mark.parametrize("name", ["HAADFscan.mrc", "Custom_movie.mrc", "temp.mrc"])
def test_real_files_equal_mrcfile(shared: Path, name: str) -> None:
    import mrcfile

    path = shared / "data" / "formats" / "mrc" / name
    (scan,) = open_scans(path)
    with mrcfile.open(path, permissive=True) as file:
        np.testing.assert_array_equal(scan.pixels.read(), file.data)
        step = float(file.voxel_size.x)
    assert scan.axis("x").step == (pytest.approx(step) if step > 0 else None)
