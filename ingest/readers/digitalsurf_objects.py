"""The objects of a Digital Surf file: headers of 512 bytes, and the points behind them.

Layout after Digital Surf's description of the SUR format: header, comment, private zone, then int16 or int32
points row by row, plain (``DIGITAL SURF``) or in zlib streams (``DSCOMPRESSED``). The first header says what
the file is and how many objects follow. A point is ``(raw - Zmin) * Zspacing + Zoffset``, as Digital Surf's
partners and RosettaSciIO read it; one that was not measured is ``Zmin - 2``, where there are such.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from micdb.errors import DamagedFileError
from micdb.ingest.bombs import is_bomb
from micdb.ingest.metadata import text

if TYPE_CHECKING:
    import numpy as np

PLAIN, COMPRESSED = b"DIGITAL SURF", b"DSCOMPRESSED"

# The header in order: name in `Object.fields` and struct code; "" is unused space.
_LAYOUT = (
    ("signature", "12s"), ("format", "h"), ("objects", "H"), ("version", "h"), ("type", "h"),
    ("object name", "30s"), ("operator", "30s"), ("channels", "h"), ("acquisition", "h"), ("range", "h"),
    ("special points", "h"), ("absolute", "h"), ("gauge resolution", "f"), ("w size", "I"), ("bits", "h"),
    ("z min", "i"), ("z max", "i"), ("points", "i"), ("lines", "i"), ("total points", "i"),
    ("x spacing", "f"), ("y spacing", "f"), ("z spacing", "f"),
    ("x name", "16s"), ("y name", "16s"), ("z name", "16s"),
    ("x unit", "16s"), ("y unit", "16s"), ("z unit", "16s"),
    ("x length unit", "16s"), ("y length unit", "16s"), ("z length unit", "16s"),
    ("x ratio", "f"), ("y ratio", "f"), ("z ratio", "f"),
    ("imprint", "h"), ("inverted", "h"), ("levelled", "h"), ("", "12s"),
    ("second", "h"), ("minute", "h"), ("hour", "h"), ("day", "h"), ("month", "h"), ("year", "h"),
    ("weekday", "h"), ("duration", "f"), ("compressed size", "I"), ("", "6s"),
    ("comment size", "H"), ("private size", "H"), ("client zone", "128s"),
    ("x offset", "f"), ("y offset", "f"), ("z offset", "f"),
    ("t spacing", "f"), ("t offset", "f"), ("t name", "13s"), ("t unit", "13s"),
)  # fmt: skip
_CODES = "<" + "".join(code for _, code in _LAYOUT)
_SIZE = struct.calcsize(_CODES)  # 512

# Types with several channels to an object; elsewhere older files have the code of a material in that place.
_CHANNELLED = {11, 12, 13, 16, 18}


class _Stream(NamedTuple):
    offset: int
    packed: int  # bytes in the file
    unpacked: int


@dataclass(frozen=True, slots=True)
class Points:
    """The points of one object, unread.

    Parameters
    ----------
    path
        The file.
    shape
        Lines and points of a line.
    bits
        16 or 32, of a stored integer.
    streams
        Where they stand.
    compressed
        Whether the streams are packed.
    scale
        Integer that stands for `offset`, and the value of one integer more.
    offset
        Value of the smallest point.
    missing
        Integer of a point that was not measured, or None where all were.
    """

    path: Path
    shape: tuple[int, int]
    bits: int
    streams: tuple[_Stream, ...]
    compressed: bool
    scale: tuple[int, float]
    offset: float
    missing: int | None

    def raw(self) -> np.ndarray:
        """Return the stored integers."""
        import numpy as np

        with self.path.open("rb") as file:
            blocks = b"".join(self._block(file, stream) for stream in self.streams)
        return np.frombuffer(blocks, f"<i{self.bits // 8}").reshape(self.shape)

    def values(self) -> np.ndarray:
        """Return physical values; points that were not measured are NaN."""
        import numpy as np

        raw = self.raw()
        values = (raw.astype(np.float64) - self.scale[0]) * self.scale[1] + self.offset
        if self.missing is not None:
            values[raw == self.missing] = np.nan
        return values

    def _block(self, file: BinaryIO, stream: _Stream) -> bytes:
        file.seek(stream.offset)
        block = file.read(stream.packed)
        if self.compressed:
            try:
                block = zlib.decompressobj().decompress(block, stream.unpacked)
            except zlib.error as error:
                raise _damaged(self.path, f"a stream of points is broken: {error}", stream.offset) from error
        if len(block) != stream.unpacked:
            raise _damaged(
                self.path, f"the points end after {len(block)} of {stream.unpacked} bytes", stream.offset
            )
        return block


class Object(NamedTuple):
    """One header, as names and values, and its points."""

    fields: Mapping[str, Any]
    points: Points


def first_header(path: Path) -> dict[str, Any]:
    """Return the header that says what the file is.

    Raises
    ------
    DamagedFileError
        There is none, or it has the byte order of a Macintosh.
    """
    with path.open("rb") as file:
        return _header(path, file, 0)


def objects(path: Path) -> Iterator[Object]:
    """Yield every object of a file of surfaces or images.

    Raises
    ------
    DamagedFileError
        The file does not hold the objects that its first header promises.
    """
    size = path.stat().st_size
    position, number, expected = 0, 0, 1
    with path.open("rb") as file:
        while number < expected:
            fields = _header(path, file, position)
            if number == 0:
                channels = fields["channels"] if fields["type"] in _CHANNELLED else 1
                expected = max(fields["objects"], 1) * max(channels, 1)
            position += _SIZE + fields["comment size"] + fields["private size"]
            points = _points(path, file, position, fields)
            position = points.streams[-1].offset + points.streams[-1].packed
            number += 1
            if position > size:
                reason = f"object {number} of {expected} should end at byte {position}, the file ends before"
                raise _damaged(path, reason, size)
            yield Object(fields, points)


def _header(path: Path, file: BinaryIO, position: int) -> dict[str, Any]:
    file.seek(position)
    raw = file.read(_SIZE)
    if len(raw) < _SIZE or not raw.startswith((PLAIN, COMPRESSED)):
        raise _damaged(path, f"no header of {_SIZE} bytes that begins with DIGITAL SURF", position)
    pairs = zip(_LAYOUT, struct.unpack(_CODES, raw), strict=True)
    fields: dict[str, Any] = {
        name: text(value) if isinstance(value, bytes) else value for (name, _), value in pairs if name
    }
    if fields["format"] != 0:
        raise _damaged(path, f"format {fields['format']}, expected 0 for the byte order of a PC", position)
    fields["comment"] = text(file.read(fields["comment size"]))
    return fields


def _points(path: Path, file: BinaryIO, position: int, fields: Mapping[str, Any]) -> Points:
    lines, points, bits = int(fields["lines"]), int(fields["points"]), int(fields["bits"])
    if min(lines, points) < 1 or bits not in (16, 32):
        raise _damaged(path, f"an object of {lines} lines of {points} points of {bits} bits", position)
    size = lines * points * bits // 8
    compressed = fields["signature"] == COMPRESSED.decode()
    streams = _streams(path, file, position, size) if compressed else (_Stream(position, size, size),)
    return Points(
        path=path,
        shape=(lines, points),
        bits=bits,
        streams=streams,
        compressed=compressed,
        scale=(fields["z min"], fields["z spacing"]),
        offset=fields["z offset"],
        missing=fields["z min"] - 2 if fields["special points"] == 1 else None,
    )


def _streams(path: Path, file: BinaryIO, position: int, size: int) -> tuple[_Stream, ...]:
    """Return the packed streams of an object, which together have to unpack to `size`."""
    file.seek(position)
    count = int.from_bytes(file.read(4), "little")
    listed = file.read(8 * min(count, 1 << 16))
    if not 0 < count == len(listed) // 8:
        raise _damaged(path, f"{count} streams of points", position)
    start = position + 4 + len(listed)
    streams: list[_Stream] = []
    for unpacked, packed in struct.iter_unpack("<II", listed):
        streams.append(_Stream(start, packed, unpacked))
        start += packed
    whole, found = sum(stream.packed for stream in streams), sum(stream.unpacked for stream in streams)
    if is_bomb(found, whole):
        raise _damaged(path, f"{found} bytes of points, packed into {whole}, are no measurement", position)
    if found != size:
        raise _damaged(path, f"streams of {whole} bytes unpack to {found}, expected {size}", position)
    return tuple(streams)


def _damaged(path: Path, reason: str, offset: int) -> DamagedFileError:
    return DamagedFileError(path, reason, reader="digitalsurf", offset=offset)
