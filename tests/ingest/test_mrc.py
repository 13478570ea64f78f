"""MRC."""

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
        ]


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


def test_direct_electron_text_beside_the_movie(tmp_path: Path) -> None:
    (tmp_path / "run_7_info.txt").write_text(make.INFO)
    (scan,) = open_scans(make.write(tmp_path / "run_7_0_movie.mrc", STACK, voxel=None))
    voltage = scan.settings["accelerating_voltage"]
    assert (voltage.value, voltage.unit, voltage.origin) == (300000, "V", "sidecar")
    assert "magnification" not in scan.settings  # -1 in the text
    assert (scan.axis("x").step, scan.axis("x").unit, scan.axis("x").origin) == (0.5, "nm", "sidecar")
    assert scan.axis("y").step is None
    assert scan.acquired == "2025-04-29T19:45:00Z"
    assert scan.source.parts == (str(tmp_path / "run_7_info.txt"),)


def test_text_of_another_size_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "run_info.txt").write_text(make.INFO.replace("= 6", "= 4096"))
    (scan,) = open_scans(make.write(tmp_path / "run_movie.mrc", STACK))
    assert scan.settings == {}
    assert "describes an image of another size" in scan.problems[0]


def test_text_alone_is_a_companion(tmp_path: Path) -> None:
    (tmp_path / "run_info.txt").write_text("Server Software Version   = 2.7\n" + make.INFO)
    with pytest.raises(
        NotAnImageError, match=r"a Direct Electron info text, without pixels of its own; open its \.mrc"
    ):
        open_scans(tmp_path / "run_info.txt")


def test_unread_mode_is_named(tmp_path: Path) -> None:
    path = patch(make.write(tmp_path / "m.mrc", IMAGE), 12, struct.pack("<i", 101))
    with pytest.raises(NotAnImageError, match=r"MRC mode 101 \(4-bit\) is not read"):
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
