"""Sound TIFF files, pictures, movies and archives; see `tests.fuzz.made`."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from tests.fuzz.made import DEEP, GREY, REAL, RGB, STACK, X264, add, made_by, make, tia

# ------------------------------------------------------------------ TIFF


def _tiff(name: str, pixels: np.ndarray, tags: Any = None, **options: Any) -> None:
    def maker(at: Path) -> Path:
        given = {key: value() if callable(value) else value for key, value in (tags or {}).items()}
        written: Path = make("tiff").write(at / name, pixels, tags=given, **options)
        return written

    add(f"tiff/{name}", maker)


_tiff("fei.tif", GREY, {34682: lambda: make("tiff").FEI})
_tiff("zeiss.tif", GREY, {34118: lambda: make("tiff").ZEISS})
_tiff("tescan.tif", GREY, {50431: lambda: make("tiff").tescan()})
_tiff("phenom.tif", GREY, {34683: lambda: make("tiff").PHENOM})
_tiff("big.tif", STACK, bigtiff=True, compression="zlib")
_tiff("lzw.tif", DEEP, compression="lzw", predictor=True)
_tiff("jpeg.tif", RGB, compression="jpeg")
_tiff("tiled.tif", REAL, tile=(16, 16), byteorder=">")
_tiff("imagej.tif", STACK, imagej=True, resolution=(4, 4), metadata={"unit": "um"})
_tiff(
    "series.ome.tif",
    STACK,
    ome=True,
    metadata={"axes": "TYX", "PhysicalSizeX": 0.5, "PhysicalSizeXUnit": "nm"},
)
add(
    "tiff/sightx.tif",
    lambda at: make("tiff").write(
        at / "sightx.tif",
        DEEP,
        metadata=None,
        tags={271: "JEOL Ltd."},
        description=make("tiff").SIGHTX.replace("MODE", "TEM").replace("VALUE", "20000").replace("UNIT", "x"),
    ),
)
add("tiff/tvips.tif", lambda at: make("tiff").tvips(at / "tvips.tif", DEEP))
add("tiff/olympus.tif", lambda at: make("tiff").olympus(at / "olympus.tif", DEEP))
add("tiff/park.tif", lambda at: make("tiff").park(at / "park.tif", REAL))


@made_by("tiff/jeol.tif")
def _jeol(at: Path) -> Path:
    lines = ["$CM_FORMAT JEOL", "$CM_ACCEL_VOLT 15.00", "$CM_MAG 1000", "$CM_FULL_SIZE 32 24",
             "$$SM_MICRON_BAR 100", "$$SM_MICRON_MARKER 10um"]  # fmt: skip
    (at / "jeol.txt").write_text("\r\n".join(lines))
    written: Path = make("tiff").write(at / "jeol.tif", GREY)
    return written


@made_by("tiff/hitachi.tif")
def _hitachi(at: Path) -> Path:
    lines = ["[SemImageFile]", "ImageName=hitachi.tif", "DataSize=32x24", "PixelSize=9.921875",
             "Magnification=10000", "AcceleratingVoltage=5000 Volt", "WorkingDistance=8000 um"]  # fmt: skip
    (at / "hitachi.txt").write_text("\r\n".join(lines), encoding="utf-16")
    written: Path = make("tiff").write(at / "hitachi.tif", GREY)
    return written


# ------------------------------------------------------------------ light: pictures, movies, ND2

add("raster/grey.png", lambda at: make("raster").write(at / "grey.png", GREY))
add("raster/deep.png", lambda at: make("raster").write_deep_png(at / "deep.png", RGB.astype(np.uint16) * 257))
add("raster/colour.jpg", lambda at: make("raster").write(at / "colour.jpg", RGB))
add("raster/bitmap.bmp", lambda at: make("raster").write(at / "bitmap.bmp", RGB))
add("raster/picture.webp", lambda at: make("raster").write(at / "picture.webp", RGB))
add("raster/animation.gif", lambda at: make("raster").write_animation(at / "animation.gif", [RGB, RGB[::-1]]))
add(
    "video/h264.mp4",
    lambda at: make("video").write(
        at / "h264.mp4", [RGB, RGB[::-1]] * 5, codec="libx264", stored="yuv420p", options=X264
    ),
)
add("video/ffv1.mkv", lambda at: make("video").write(at / "ffv1.mkv", [RGB, RGB[::-1]]))
add("video/png.mov", lambda at: make("video").write(at / "png.mov", [RGB] * 3, codec="png", stored="rgb24"))
add("video/grey.avi", lambda at: make("video").write(at / "grey.avi", [GREY] * 3, stored="gray"))
add(
    "video/vp9.webm",
    lambda at: make("video").write(at / "vp9.webm", [RGB] * 4, codec="libvpx-vp9", stored="yuv420p"),
)
add(
    "video/imagej.avi",
    lambda at: make("video").write_avi(
        at / "imagej.avi", [GREY] * 3, np.stack([np.arange(256, dtype=np.uint8)] * 3, axis=1)
    ),
)
add(
    "nd2/time.nd2",
    lambda at: make("nd2").write(
        at / "time.nd2", STACK[..., None], loops=[make("nd2").time_loop(3)], times=[0.0, 1.0, 2.0]
    ),
)
add(
    "nd2/packed.nd2",
    lambda at: make("nd2").write(
        at / "packed.nd2",
        STACK[..., None],
        loops=[make("nd2").z_loop(3, 0.5)],
        compressed=True,
        packed_metadata=True,
    ),
)
add("nd2/old.nd2", lambda at: make("nd2").write(at / "old.nd2", RGB[None], version="Ver2.1"))

# ------------------------------------------------------------------ archives


def _members(at: Path) -> list[Path]:
    (at / "inside").mkdir()
    opened = tia(at / "inside")
    image = make("mrc").write(at / "inside" / "image.mrc", REAL)
    return [opened, *sorted(opened.parent.glob("*.ser")), image]


def _drop(members: list[Path]) -> None:
    for file in members:
        file.unlink()
    members[0].parent.rmdir()


@made_by("archive/some.zip")
def _zip(at: Path) -> Path:
    members = _members(at)
    with zipfile.ZipFile(at / "some.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for number, file in enumerate(members):
            kind = zipfile.ZIP_DEFLATED if number % 2 else zipfile.ZIP_STORED
            archive.write(file, f"folder/{file.name}", kind)
    _drop(members)
    return at / "some.zip"


def _tar(ending: str, mode: str) -> None:
    def maker(at: Path) -> Path:
        members = _members(at)
        with tarfile.open(at / f"some{ending}", mode) as archive:  # type: ignore[call-overload]
            for file in members:
                archive.add(file, f"folder/{file.name}")
        _drop(members)
        return at / f"some{ending}"

    add(f"archive/some{ending}", maker)


_tar(".tar", "w")
_tar(".tar.gz", "w:gz")
_tar(".tar.bz2", "w:bz2")
_tar(".tar.xz", "w:xz")
