"""Strips and tiles that are files of their own, JPEG for one, and say themselves how large they are.

Their decoders allocate what that says, whatever the TIFF around it says: a JPEG 2000 of 1009 bytes in a strip
of 32 x 24 pixels took 1.3 GB. So the sizes are looked up first; packings whose size is not as easily found
are refused, none of which instruments write. JPEG: ITU-T T.81, B.1 and B.2.2; JPEG 2000: T.800, A.5.1; PNG:
ISO 15948, 11.2.2.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from micdb.errors import DamagedFileError, ReadError

_HEAD = 4096  # [byte]
_STEPS = 1 << 16  # markers and stray bytes before the size
_SLACK = 1 << 20  # samples beyond those of the strip: decoders pad to whole blocks
_NO_LENGTH = frozenset((0x01, *range(0xD0, 0xD9)))  # JPEG markers without a length: TEM, RST0-7, SOI
_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # SOF0-15 without DHT, JPG, DAC
_END = (0xD9, 0xDA)  # end of image, start of scan: no frame header came before
_REFUSED = {22610: "JPEG XR", 34887: "LERC", 34927: "WebP", 34934: "JPEG XR", 50001: "WebP", 50002: "JPEG XL"}
_REFUSED |= {52546: "JPEG XL"}


def check_inner(path: Path, page: Any, reader: str) -> None:
    """Refuse a page with a strip or tile that claims more samples than the TIFF does."""
    code = int(page.keyframe.compression)
    if code in _REFUSED:
        reason = (
            f"its pixels are packed as {_REFUSED[code]}, which is not read; convert it, to deflate or LZW"
        )
        raise ReadError(path, reason, reader=reader)
    measure = _MEASURES.get(code)
    if measure is None:
        return
    expected = math.prod(page.keyframe.chunks)
    with path.open("rb") as stream:
        for offset, count in zip(page.dataoffsets, page.databytecounts, strict=False):
            stream.seek(offset)
            samples = measure(stream, offset + count)
            if samples is None:
                raise DamagedFileError(
                    path, "a strip does not say how large it is", reader=reader, offset=offset
                )
            if samples > 4 * expected + _SLACK:
                reason = f"a strip claims {samples} samples, where the TIFF has {expected}"
                raise DamagedFileError(path, reason, reader=reader, offset=offset)


def _jpeg(stream: BinaryIO, end: int) -> int | None:
    """Return the samples of the first frame header."""
    for _ in range(_STEPS):
        if stream.tell() >= end:
            return None
        if stream.read(1) != b"\xff":
            continue  # decoders skip it too
        code = 0xFF
        while code == 0xFF and (found := stream.read(1)):
            code = found[0]
        if code in _END or code == 0xFF:
            return None
        if code == 0 or code in _NO_LENGTH:
            continue
        length = int.from_bytes(stream.read(2), "big")
        if code in _FRAME:
            head = stream.read(6)  # bits, height, width, components
            return math.prod((int.from_bytes(head[1:3], "big"), int.from_bytes(head[3:5], "big"), *head[5:]))
        stream.seek(max(length - 2, 0), 1)
    return None


def _jpeg_2000(stream: BinaryIO, end: int) -> int | None:
    head = stream.read(min(_HEAD, max(0, end - stream.tell())))
    start = head.find(b"\xff\x4f\xff\x51") + 4
    if start < 4 or len(head) < start + 38:
        return None
    right, bottom, left, top = (
        int.from_bytes(head[at : at + 4], "big") for at in range(start + 4, start + 20, 4)
    )
    components = int.from_bytes(head[start + 36 : start + 38], "big")
    return max(0, right - left) * max(0, bottom - top) * components


def _png(stream: BinaryIO, end: int) -> int | None:
    head = stream.read(min(26, max(0, end - stream.tell())))
    if not head.startswith(b"\x89PNG\r\n\x1a\n") or head[12:16] != b"IHDR" or len(head) < 26:
        return None
    components = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}.get(head[25], 4)
    return int.from_bytes(head[16:20], "big") * int.from_bytes(head[20:24], "big") * components


_MEASURES: dict[int, Callable[[BinaryIO, int], int | None]] = {
    6: _jpeg, 7: _jpeg, 33007: _jpeg, 34892: _jpeg,
    33003: _jpeg_2000, 33004: _jpeg_2000, 33005: _jpeg_2000, 34712: _jpeg_2000,
    34933: _png,
}  # fmt: skip
