"""PNG, JPEG, BMP, GIF, WebP."""

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
tiff = SimpleNamespace(**run_path(str(Path(__file__).parents[1] / "data" / "tiff" / "make.py")))
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
            make.write(tmp_path / "picture.webp", RGB),
            make.write_animation(tmp_path / "animation.gif", [RGB, RGB[::-1]]),
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


@pytest.mark.parametrize("extension", [".gif", ".png", ".webp"])
def test_animation_is_a_stack_of_frames(tmp_path: Path, extension: str) -> None:
    path = make.write_animation(tmp_path / f"a{extension}", [RGB, RGB[::-1], RGB[:, ::-1]])
    (scan,) = open_scans(path)
    assert [(axis.name, axis.size) for axis in scan.axes] == [("frame", 3), ("y", 6), ("x", 8), ("colour", 3)]
    assert scan.pixels.load_frame is not None
    with Image.open(path) as image:
        for number in range(3):
            image.seek(number)
            np.testing.assert_array_equal(scan.pixels.load_frame(number), np.asarray(image.convert("RGB")))


def test_sixteen_bit_grey_with_transparency_keeps_its_bits(tmp_path: Path) -> None:
    pixels = np.dstack([GREY, GREY]).astype(np.uint16) * 257 + 3
    (scan,) = open_scans(make.write_deep_png(tmp_path / "deep.png", pixels))
    np.testing.assert_array_equal(scan.pixels.read(), pixels[..., 0])
    assert scan.problems == ("the transparency of the grey picture is left out",)


def test_phenom_xml_of_a_jpeg_is_read(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[270] = tiff.PHENOM.decode()
    (scan,) = open_scans(make.write(tmp_path / "a.jpg", GREY, exif=exif))
    assert (scan.axis("x").step, scan.axis("x").unit, scan.modality) == (975.5, "nm", "SEM")
    assert scan.settings["accelerating_voltage"].value == 15000
    assert scan.source.format == "jpeg"


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
