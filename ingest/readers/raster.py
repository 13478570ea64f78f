"""PNG, JPEG, BMP, GIF and WebP by Pillow, with the sidecars that SEM programs write (`sem_sidecars`).

Dots per inch (pHYs, JFIF, EXIF) are print resolution and no calibration. Pixels are as stored: the EXIF
orientation is named in ``problems`` and not applied, so that positions mean the same in every program.
Palettes become RGB. An animation is a stack of frames, each as it is shown, in RGB.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from micdb.errors import ReadError
from micdb.ingest.bombs import BIG, is_bomb
from micdb.ingest.metadata import plain, tolerate
from micdb.ingest.reader import Format, Reader
from micdb.ingest.readers.sem_sidecars import sidecar
from micdb.ingest.readers.tiff_fei import phenom_xml
from micdb.ingest.readers.tiff_header import Header, Step
from micdb.provenance import package_version
from micdb.records import Axis, Pixels, Scan, Source

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

_PNG = b"\x89PNG\r\n\x1a\n"
_SIGNATURES = (_PNG, b"\xff\xd8\xff", b"GIF87a", b"GIF89a")
_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)  # [byte] sizes of the BMP information headers in use
_KINDS = {"MPO": "jpeg", "DIB": "bmp"}  # Pillow's names that are not ours
_ORIENTATION = 274  # EXIF tag; 1 is "as stored"
_NATIVE = {"L": "uint8", "RGB": "uint8", "RGBA": "uint8", "I;16": "uint16", "I": "int32", "F": "float32"}
_BYTES = {"uint8": 1, "uint16": 2}
_RATIO = 3000  # bytes of all pictures of an animation per stored byte; what stands still is hardly stored
_GREY = ("1", "LA", "La")  # modes whose grey values are kept and whose transparency is left out
_DEEP = {2: 3, 4: 1, 6: 4}  # PNG colour types that Pillow cuts from 16 to 8 bits -> samples kept
_PHENOM = re.compile(rb"<FeiImage.{0,65000}</FeiImage>", re.DOTALL)  # as much as an EXIF segment holds
_EXIF_END = 1 << 17  # [byte] metadata segments of a JPEG stand before this


class Raster(Reader):
    """Plain pictures and animations."""

    name = "raster"
    formats = (
        Format("png", "PNG", (".png",)),
        Format("jpeg", "JPEG", (".jpg", ".jpeg")),
        Format("bmp", "Windows bitmap", (".bmp",)),
        Format("gif", "GIF", (".gif",)),
        Format("webp", "WebP", (".webp",)),
    )

    @classmethod
    def sniff(cls, path: Path, head: bytes) -> int:  # noqa: ARG003
        """Say 2 for the signature of PNG, JPEG, GIF, WebP or BMP."""
        bmp = head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADERS
        webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
        return 2 if bmp or webp or head.startswith(_SIGNATURES) else 0

    def read(self, path: Path) -> list[Scan]:
        """Return the picture or the animation; see `Reader.read`."""
        from PIL import Image

        try:
            with Image.open(path) as image:
                frames = _plan(path, image)
                _check_size(path, frames)
                header = _header(path, image)
                _note(image, frames, header.problems)
                kind = _KINDS.get(str(image.format), str(image.format).lower())
                original = {"mode": image.mode, **_info(image), **header.original}
        except Image.DecompressionBombError as error:
            raise ReadError(
                path, f"{error}; if it is genuine, convert it to TIFF", reader=self.name
            ) from error
        source = Source(str(path), kind, self.name, f"pillow {package_version('pillow')}", parts=header.parts)
        detector = header.settings.get("detector")
        return [
            Scan(
                pixels=frames.pixels(),
                axes=_axes(frames, header),
                name=path.stem,
                source=source,
                channel=str(detector.value) if detector else None,
                modality=header.modality,
                acquired=header.acquired,
                acquired_raw=header.acquired_raw,
                settings=header.settings,
                original=plain(original),
                problems=tuple(header.problems),
            )
        ]


@dataclass(frozen=True, slots=True)
class _Frames:
    """The picture, or an animation, in one mode of Pillow (``deep``: 16 bits by imagecodecs)."""

    path: Path
    mode: str
    dtype: str
    samples: int
    height: int
    width: int
    count: int

    def pixels(self) -> Pixels:
        shape = (self.height, self.width, *((self.samples,) if self.samples > 1 else ()))
        if self.count == 1:
            return Pixels(shape, self.dtype, self.load)
        return Pixels((self.count, *shape), self.dtype, self.load, self.load_frame, self.stream)

    def load(self) -> np.ndarray:
        import numpy as np

        if self.mode == "deep":
            return self._deep()
        return next(self.stream()) if self.count == 1 else np.array(list(self.stream()))

    def load_frame(self, number: int) -> np.ndarray:
        return next(self._read(range(number, number + 1)))

    def stream(self) -> Iterator[np.ndarray]:
        return self._read(range(self.count))

    def _read(self, numbers: range) -> Iterator[np.ndarray]:
        import numpy as np
        from PIL import Image

        with Image.open(self.path) as image:
            for number in numbers:
                if self.count > 1:
                    image.seek(number)
                picture = image if image.mode == self.mode else image.convert(self.mode)
                yield np.array(picture, dtype=self.dtype)

    def _deep(self) -> np.ndarray:
        import imagecodecs
        import numpy as np

        array = np.asarray(imagecodecs.png_decode(self.path.read_bytes()))
        return np.ascontiguousarray(array[..., 0]) if self.samples == 1 else array


def _plan(path: Path, image: Image.Image) -> _Frames:
    size = {"height": image.height, "width": image.width}
    animated = image.format != "MPO"  # the further pictures of a multi-picture JPEG have other sizes
    count = int(getattr(image, "n_frames", 1)) if animated else 1
    if count > 1:
        return _Frames(path, "RGB", "uint8", 3, **size, count=count)
    with path.open("rb") as stream:
        head = stream.read(26)
    if head.startswith(_PNG) and len(head) == 26 and head[24] == 16 and head[25] in _DEEP:
        return _Frames(path, "deep", "uint16", _DEEP[head[25]], **size, count=1)
    if image.mode in _NATIVE:
        return _Frames(path, image.mode, _NATIVE[image.mode], len(image.getbands()), **size, count=1)
    if image.mode in _GREY:
        return _Frames(path, "L", "uint8", 1, **size, count=1)
    return _Frames(path, "RGB", "uint8", 3, **size, count=1)


def _check_size(path: Path, frames: _Frames) -> None:
    """Refuse what would fill memory, or keep us busy, from a small file; Pillow counts the pixels only."""
    size = path.stat().st_size
    frame = frames.height * frames.width * frames.samples * _BYTES.get(frames.dtype, 4)
    if is_bomb(frame, size) or (frames.count > 1 and frame * frames.count > max(BIG, _RATIO * size)):
        reason = (
            f"{frames.count} x {frame} bytes of pixels, packed into {size}, are more than pictures can be"
        )
        raise ReadError(path, f"{reason}; if it is genuine, convert it to TIFF", reader=Raster.name)


def _header(path: Path, image: Image.Image) -> Header:
    """Return what a sidecar, or a Phenom's XML in the EXIF data of a JPEG, says of the picture."""
    header = sidecar(path, (image.width, image.height))
    if not header.format and image.format == "JPEG":
        with path.open("rb") as stream:
            found = _PHENOM.search(stream.read(_EXIF_END))
        if found:
            with tolerate(header.problems, "the Phenom XML"):
                phenom_xml(found[0], header)
    return header


def _axes(frames: _Frames, header: Header) -> tuple[Axis, ...]:
    axes = [Axis("frame", frames.count)] if frames.count > 1 else []
    for name, size in (("y", frames.height), ("x", frames.width)):
        found = header.steps.get(name) or Step(0.0, "")
        axes.append(Axis(name, size, found.step or None, unit=found.unit or None, origin=found.origin))
    if frames.samples > 1:
        axes.append(Axis("colour", frames.samples))
    return tuple(axes)


def _note(image: Image.Image, frames: _Frames, problems: list[str]) -> None:
    if image.mode in ("LA", "La") or (frames.mode == "deep" and frames.samples == 1):
        problems.append("the transparency of the grey picture is left out")
    if image.mode == "CMYK" and frames.mode == "RGB":
        problems.append("print colours (CMYK) are turned into RGB")
    pictures = getattr(image, "n_frames", 1)
    if pictures > frames.count:
        problems.append(f"the first of {pictures} pictures is read")
    with tolerate(problems, "the EXIF data"):
        orientation = image.getexif().get(_ORIENTATION, 1)
        if orientation != 1:
            problems.append(f"EXIF asks for orientation {orientation}; pixels are as stored")


def _info(image: Image.Image) -> dict[str, Any]:
    wanted = (str, int, float, tuple)
    return {str(key): value for key, value in image.info.items() if isinstance(value, wanted)}
