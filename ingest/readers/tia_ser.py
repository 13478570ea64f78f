"""The series file of TIA (.ser): a header, the offsets of its elements, and the elements.

Layout after FEI's "TIA Series Data (ESD) file format": ``II``, the series word 0x0197 and a version
(0x0210, or 0x0220 with 64-bit offsets); the kind of element (spectrum or image) and of tag; how many
elements were planned and how many are there; the place of the offset array; one description per dimension
of the series. An image element has offset, step and reference pixel for x and for y, the type of number,
the two sizes, and the rows from the bottom up; its tag with the time [s since 1970, UTC] follows it.
Elements are read one at a time, and each must be of the kind of the first.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from micdb.errors import DamagedFileError, NotAnImageError
from micdb.ingest.block import Block
from micdb.ingest.metadata import text

if TYPE_CHECKING:
    import numpy as np

SIGNATURE = b"II\x97\x01"
_VERSIONS = {0x0210: "I", 0x0220: "Q"}  # series version -> struct's letter of an offset
_SPECTRA, _IMAGES = 0x4120, 0x4122
_TIME_TAGS = (0x4152, 0x4142)  # time; time and position
_DTYPES = {
    1: "<u1", 2: "<u2", 3: "<u4", 4: "<i1", 5: "<i2", 6: "<i4", 7: "<f4", 8: "<f8", 9: "<c8", 10: "<c16",
}  # fmt: skip
_FIRST = struct.Struct("<3H4I")
_DIMENSION = struct.Struct("<I2d2I")
_ELEMENT = struct.Struct("<2dI2dIH2I")
_TAG = struct.Struct("<2I2d")
_SIDE = 1 << 20  # [pixel] no detector is wider
_MOST_DIMENSIONS = 8
_MOST_TEXT = 1 << 12  # [byte] of a description; "Position" and "meters" in the files seen


class Scale(NamedTuple):
    """Position of pixel `element` and distance of pixels, in metres or 1/m: the file does not say which."""

    offset: float
    step: float
    element: int


class Dimension(NamedTuple):
    """One dimension of the series: 5 points along a line, 200 repeated images."""

    size: int
    scale: Scale
    description: str
    unit: str


class Image(NamedTuple):
    """What stands before the pixels of an element."""

    x: Scale
    y: Scale
    dtype: str
    shape: tuple[int, int]


class Tag(NamedTuple):
    """When an element was taken [s since 1970, UTC], and where the beam stood (None: not told)."""

    time: int
    position: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Series:
    """The images of one .ser file.

    Parameters
    ----------
    path
        The file.
    version
        Series version, 0x0210 or 0x0220.
    planned, valid
        Elements that were asked for, and that are there.
    dimensions
        Dimensions of the series, the fastest first.
    table
        Place of the offset array [byte].
    tag_type
        Kind of tag behind each element.
    first
        Header of the first element; the others have the same shape and type.
    even
        Whether all elements have the same scale.
    """

    path: Path
    version: int
    planned: int
    valid: int
    dimensions: tuple[Dimension, ...]
    table: int
    tag_type: int
    first: Image
    even: bool = True

    def load_frame(self, number: int) -> np.ndarray:
        """Return one image, top row first."""
        with _open(self.path) as file:
            at = self._offset(file, number)
            self._check(number, _image(self.path, file, at))
        block = Block(self.path, at + _ELEMENT.size, self.first.shape, self.first.dtype, flip=(0,))
        return block.load()

    def load(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return all images as an array of that shape."""
        import numpy as np

        array = np.empty((self.valid, *self.first.shape), np.dtype(self.first.dtype).newbyteorder("="))
        for number in range(self.valid):
            array[number] = self.load_frame(number)
        return array.reshape(shape)

    def tags(self, count: int) -> list[Tag]:
        """Return the tags of the first elements; fewer where they are missing or of an unknown kind."""
        found: list[Tag] = []
        with _open(self.path) as file:
            for number in range(min(count, self.valid)):
                at = self._offset(file, number) + _ELEMENT.size + self.frame_bytes
                content = os.pread(file.fileno(), _TAG.size, at).ljust(_TAG.size, b"\0")
                kind, time, x, y = _TAG.unpack(content)
                if kind != self.tag_type or kind not in _TIME_TAGS:
                    break
                found.append(Tag(time, (x, y) if kind == _TIME_TAGS[1] else None))
        return found

    def images(self) -> Iterator[Image]:
        """Yield the header of every element, checked against the file's size and the first element."""
        with _open(self.path) as file:
            size = os.fstat(file.fileno()).st_size
            for number in range(self.valid):
                at = self._offset(file, number)
                image = _image(self.path, file, at)
                self._check(number, image)
                end = at + _ELEMENT.size + self.frame_bytes
                if end > size:
                    reason = f"the pixels of image {number} are cut off: {end - size} bytes are missing"
                    raise _damaged(self.path, reason, size)
                yield image

    @property
    def frame_bytes(self) -> int:
        """Bytes of the pixels of one image."""
        return math.prod(self.first.shape) * int(self.first.dtype[2:])

    def _offset(self, file: BinaryIO, number: int) -> int:
        return _offset(self.path, file, _VERSIONS[self.version], self.table, number)

    def _check(self, number: int, image: Image) -> None:
        first = self.first
        if (image.shape, image.dtype) != (first.shape, first.dtype):
            shapes = f"image {number} is {image.shape} {image.dtype}, the first {first.shape} {first.dtype}"
            reason = f"a series of unequal images is not read: {shapes}"
            raise NotAnImageError(self.path, reason, reader="tia")


def read_series(path: Path) -> Series:
    """Return the images of a .ser file, pixels unread.

    Raises
    ------
    NotAnImageError
        It holds spectra, or nothing at all.
    DamagedFileError
        The bytes are broken.
    """
    with _open(path) as file:
        size = os.fstat(file.fileno()).st_size
        order, word, version, kind, tag_type, planned, valid = _unpack(path, file, _FIRST, 0)
        if (order, word) != (0x4949, 0x0197):
            raise _damaged(path, "this is no TIA series: it does not begin with II and 0x0197", 0)
        if version not in _VERSIONS:
            raise _damaged(path, f"series version 0x{version:04x}, expected 0x0210 or 0x0220", 4)
        second = struct.Struct(f"<{_VERSIONS[version]}I")
        table, count = _unpack(path, file, second, _FIRST.size)
        dimensions = _dimensions(path, file, _FIRST.size + second.size, count)
        _refuse(path, kind, valid, dimensions)
        first = _image(path, file, _offset(path, file, _VERSIONS[version], table, 0))
    series = Series(path, version, planned, valid, dimensions, table, tag_type, first)
    if valid * (_ELEMENT.size + series.frame_bytes) > size:
        raise _damaged(path, f"the header promises {valid} images of {first.shape}, they do not fit in", 18)
    return replace(series, even=len({(image.x, image.y) for image in series.images()}) == 1)


def _refuse(path: Path, kind: int, valid: int, dimensions: tuple[Dimension, ...]) -> None:
    points = " x ".join(str(dimension.size) for dimension in reversed(dimensions))
    if kind == _SPECTRA:
        what = "a spectrum" if valid == 1 else f"{valid} spectra ({points})"
        raise NotAnImageError(path, f"the file holds {what}, no image", reader="tia")
    if kind != _IMAGES:
        raise _damaged(path, f"elements of the kind 0x{kind:04x}, expected 0x4120 or 0x4122", 6)
    if valid == 0:
        raise NotAnImageError(
            path, "the series holds no image: it was stopped before the first", reader="tia"
        )


def _dimensions(path: Path, file: BinaryIO, at: int, count: int) -> tuple[Dimension, ...]:
    if count > _MOST_DIMENSIONS:
        raise _damaged(path, f"the header promises {count} dimensions", at - 4)
    found: list[Dimension] = []
    for _ in range(count):
        size, offset, step, element, length = _unpack(path, file, _DIMENSION, at)
        description, at = _text(path, file, at + _DIMENSION.size, length)
        (length,) = _unpack(path, file, struct.Struct("<I"), at)
        unit, at = _text(path, file, at + 4, length)
        found.append(Dimension(size, Scale(offset, step, element), description, unit))
    return tuple(found)


def _text(path: Path, file: BinaryIO, at: int, length: int) -> tuple[str, int]:
    if length > _MOST_TEXT:
        raise _damaged(path, f"a text of {length} bytes in the header", at)
    return text(os.pread(file.fileno(), length, at)), at + length


def _image(path: Path, file: BinaryIO, at: int) -> Image:
    x0, dx, nx, y0, dy, ny, kind, columns, rows = _unpack(path, file, _ELEMENT, at)
    if kind not in _DTYPES:
        raise _damaged(path, f"data type {kind}, expected 1 to 10", at + 40)
    if not (0 < columns < _SIDE and 0 < rows < _SIDE):
        raise _damaged(path, f"an image of {columns} x {rows} pixels", at + 42)
    return Image(Scale(x0, dx, nx), Scale(y0, dy, ny), _DTYPES[kind], (rows, columns))


def _offset(path: Path, file: BinaryIO, letter: str, table: int, number: int) -> int:
    entry = struct.Struct(f"<{letter}")
    return _unpack(path, file, entry, table + number * entry.size)[0]


@contextmanager
def _open(path: Path) -> Iterator[BinaryIO]:
    with path.open("rb", buffering=0) as file:
        yield file


def _unpack(path: Path, file: BinaryIO, layout: struct.Struct, at: int) -> tuple[int, ...]:
    # An offset of the file may be any 64-bit number; beyond 2**63 pread fails.
    content = os.pread(file.fileno(), layout.size, at) if at < 1 << 62 else b""
    if len(content) < layout.size:
        raise _damaged(path, "the file ends in the middle of its header", at)
    return layout.unpack(content)


def _damaged(path: Path, reason: str, offset: int) -> DamagedFileError:
    return DamagedFileError(path, reason, reader="tia", offset=offset)
