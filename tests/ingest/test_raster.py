"""PNG, JPEG, BMP, GIF."""

from __future__ import annotations

from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from micdb.errors import DamagedFileError, ReadError
from micdb.ingest.readers.raster import Raster
from micdb.ingest.sniff import open_scans
from micdb.testing import ReaderContract

make = SimpleNamespace(**run_path(str(Path(__file__).parents[1] / "data" / "raster" / "make.py")))
GREY = np.arange(6 * 8, dtype=np.uint8).reshape(6, 8)
RGB = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)


class TestContract(ReaderContract):
    reader = Raster

    @pytest.fixture
    def files(self, tmp_path: Path) -> list[Path]:
        return [
            make.write(tmp_path / "grey.png", GREY),
            make.write(tmp_path / "colour.jpg", RGB),
            make.write(tmp_path / "bitmap.bmp", RGB),
            make.write(tmp_path / "frame.gif", GREY),
        ]


@pytest.mark.parametrize("pixels", [GREY, RGB, GREY.astype(np.uint16) * 1000], ids=["L", "RGB", "I;16"])
def test_lossless_pixels_come_back(tmp_path: Path, pixels: np.ndarray) -> None:
    (scan,) = open_scans(make.write(tmp_path / "a.png", pixels, dpi=(300, 300)))
    assert scan.pixels.dtype == str(pixels.dtype)
    np.testing.assert_array_equal(scan.pixels.read(), pixels)
    assert all(axis.step is None and axis.unit is None for axis in scan.axes)  # dots per inch are no scale


def test_sixteen_bit_colour_is_not_cut_to_eight(tmp_path: Path) -> None:
    pixels = RGB.astype(np.uint16) * 257 + 3
    (scan,) = open_scans(make.write_deep_png(tmp_path / "deep.png", pixels))
    np.testing.assert_array_equal(scan.pixels.read(), pixels)


def test_palette_becomes_rgb(tmp_path: Path) -> None:
    Image.fromarray(RGB).quantize(16).save(tmp_path / "p.png")
    (scan,) = open_scans(tmp_path / "p.png")
    assert scan.pixels.shape == (6, 8, 3)
    assert scan.colour


def test_orientation_is_named_and_not_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    (scan,) = open_scans(make.write(tmp_path / "o.jpg", RGB, exif=exif))
    assert scan.pixels.shape == (6, 8, 3)
    assert scan.problems == ("EXIF asks for orientation 6; pixels are as stored",)


def test_animation_gives_its_first_frame(tmp_path: Path) -> None:
    frames = [Image.fromarray(GREY), Image.fromarray(GREY[::-1])]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    (scan,) = open_scans(tmp_path / "a.gif")
    assert scan.problems == ("the first of 2 frames is read",)


def test_decompression_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make.write(tmp_path / "a.png", GREY)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(ReadError, match="if it is genuine, convert it to TIFF"):
        open_scans(path)


def test_cut_picture_is_damage_when_read(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (40, 40), dtype=np.uint8)
    path = make.write(tmp_path / "a.png", noise)
    path.write_bytes(path.read_bytes()[:-600])
    with pytest.raises(DamagedFileError, match=r"a\.png \[raster\]: the file could not be read: OSError"):
        open_scans(path)[0].pixels.read()
