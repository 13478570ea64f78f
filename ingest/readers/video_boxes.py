"""The boxes of an MP4 or QuickTime movie, looked through before FFmpeg believes their counts.

FFmpeg makes an index of as many samples as a table claims, 50 million and 3.5 GB for a file of 14 kB. A table
of samples of one size (``stsz``), or of a fragment (``trun``), need not hold an entry for each, so it is
asked whether the file has a byte for each. After ISO 14496-12, 4.2, 8.7.3 and 8.8.8.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from micdb.errors import DamagedFileError, ReadError

_TABLE = re.compile(rb"(stsz|trun)(.{12})", re.DOTALL)
_PIXELS = b"mdat"
_LARGEST = 1 << 28  # [byte] of one box that holds tables; those of a film of two hours take 10 MB
_BOXES = 1 << 20  # of a file; fragmented movies have some per second


def check_boxes(path: Path) -> None:
    """Refuse a movie whose tables claim more samples than the file has bytes.

    Raises
    ------
    DamagedFileError
        A table claims too much; names its place.
    ReadError
        The tables are packed, or larger than those of any movie.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        for place, length in _tables(path, stream, size):
            stream.seek(place)
            content = stream.read(length)
            if b"cmov" in content:
                raise ReadError(
                    path,
                    "the movie's header is packed (cmov); convert it to MP4",
                    reader="video",
                    offset=place,
                )
            for found in _TABLE.finditer(content):
                _check_table(path, found, place + found.start(), size)


def _tables(path: Path, stream: BinaryIO, size: int) -> Iterator[tuple[int, int]]:
    """Yield place and length of each box of the file that is not pixels."""
    place = 0
    for _ in range(_BOXES):
        stream.seek(place)
        head = stream.read(16)
        if len(head) < 8:
            return
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        length = min(length, size - place) if length >= 8 else size - place
        if head[4:8] != _PIXELS:
            if length > _LARGEST:
                name = head[4:8].decode("latin-1")
                raise ReadError(path, f"its box {name!r} takes {length} bytes", reader="video", offset=place)
            yield place, length
        place += length


def _check_table(path: Path, found: re.Match[bytes], place: int, size: int) -> None:
    kind, fields = found.groups()
    if kind == b"stsz":  # version and flags, size of each sample or 0, count
        each, count = int.from_bytes(fields[4:8], "big"), int.from_bytes(fields[8:], "big")
    else:  # version and flags, count
        each, count = 0, int.from_bytes(fields[4:8], "big")
    if count * max(each, 1) > size:
        reason = f"its table {kind.decode()} claims {count} samples of {max(each, 1)} bytes or more"
        raise DamagedFileError(path, reason, reader="video", offset=place)
