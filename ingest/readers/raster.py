"""PNG, JPEG, BMP and GIF by Pillow: pixels without a scale, because dots per inch are no calibration.

Pixels are as stored: the EXIF orientation is named in ``problems`` and not applied, so that positions
mean the same in every program. Palettes become RGB.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from micdb.errors import ReadError
from micdb.ingest.metadata import plain, tolerate
from micdb.ingest.reader import Reader
from micdb.provenance import package_version
from micdb.records import Axis, Pixels, Scan, Source

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

_PNG = b"\x89PNG\r\n\x1a\n"
_SIGNATURES = (_PNG, b"\xff\xd8\xff", b"GIF87a", b"GIF89a")
_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)  # [byte] sizes of the BMP information headers in use
_ORIENTATION = 274  # EXIF tag; 1 is "as stored"
_NATIVE = {"L": "uint8", "RGB": "uint8", "RGBA": "uint8", "I;16": "uint16", "I": "int32", "F": "float32"}
_GREY = ("1", "LA", "La")  # modes whose grey values are kept and whose transparency is left out
_RGB_TYPES = {2: 3, 6: 4}  # PNG colour type -> samples


class Raster(Reader):
    """Plain pictures; of an animation the first frame."""

    name = "raster"
    extensions = (".png", ".jpg", ".jpeg", ".bmp", ".gif")

    @classmethod
    def sniff(cls, path: Path, head: bytes) -> int:  # noqa: ARG003
        """Say 2 for the signature of PNG, JPEG, GIF or BMP."""
        bmp = head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADERS
        return 2 if bmp or head.startswith(_SIGNATURES) else 0

    def read(self, path: Path) -> list[Scan]:
        """Return the picture; see `Reader.read`."""
        from PIL import Image

        problems: list[str] = []
        try:
            with Image.open(path) as image:
                target, dtype, samples = _plan(path, image)
                _note(image, target, problems)
                kind = (image.format or "raster").lower()
                original = {"mode": image.mode, **_info(image)}
                shape = (image.height, image.width)
        except Image.DecompressionBombError as error:
            raise ReadError(
                path, f"{error}; if it is genuine, convert it to TIFF", reader=self.name
            ) from error
        axes = [Axis("y", shape[0]), Axis("x", shape[1])]
        if samples > 1:
            axes.append(Axis("colour", samples))
        pixels = Pixels(tuple(axis.size for axis in axes), dtype, partial(_load, path, target))
        source = Source(str(path), kind, self.name, f"pillow {package_version('pillow')}")
        return [
            Scan(
                pixels=pixels,
                axes=tuple(axes),
                name=path.stem,
                source=source,
                original=plain(original),
                problems=tuple(problems),
            )
        ]


def _plan(path: Path, image: Image.Image) -> tuple[str, str, int]:
    """Return the mode to convert to (``deep`` for 16-bit colour, which Pillow cuts to 8), dtype, samples."""
    with path.open("rb") as stream:
        head = stream.read(26)
    if head.startswith(_PNG) and head[24] == 16 and head[25] in _RGB_TYPES:
        return "deep", "uint16", _RGB_TYPES[head[25]]
    if image.mode in _NATIVE:
        return image.mode, _NATIVE[image.mode], len(image.getbands())
    if image.mode in _GREY:
        return "L", "uint8", 1
    return "RGB", "uint8", 3


def _note(image: Image.Image, target: str, problems: list[str]) -> None:
    if image.mode in ("LA", "La"):
        problems.append("the transparency of the grey picture is left out")
    if image.mode == "CMYK" and target == "RGB":
        problems.append("print colours (CMYK) are turned into RGB")
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        problems.append(f"the first of {frames} frames is read")
    with tolerate(problems, "the EXIF data"):
        orientation = image.getexif().get(_ORIENTATION, 1)
        if orientation != 1:
            problems.append(f"EXIF asks for orientation {orientation}; pixels are as stored")


def _info(image: Image.Image) -> dict[str, Any]:
    wanted = (str, int, float, tuple)
    return {str(key): value for key, value in image.info.items() if isinstance(value, wanted)}


def _load(path: Path, target: str) -> np.ndarray:
    import numpy as np
    from PIL import Image

    if target == "deep":
        import imagecodecs

        return np.asarray(imagecodecs.png_decode(path.read_bytes()))
    with Image.open(path) as image:
        picture = image if image.mode == target else image.convert(target)
        array = np.asarray(picture)
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
