"""TIFF files and pictures that claim very much, run in circles, or unpack to very much."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from typing import Any

from tests.fuzz.bombs import BOMBS, LAUGHS, content, deflated
from tests.fuzz.made import DEEP, GREY, make

# ------------------------------------------------------------------ TIFF


def _tiff(width: int, height: int, *, packing: int = 1, data: bytes = b"", more: Any = ()) -> bytes:
    """Return a little-endian TIFF of one strip; `more` are further entries, `data` stands at byte 8."""
    entries = {256: (4, 1, width), 257: (4, 1, height), 258: (3, 1, 8), 259: (3, 1, packing), 262: (3, 1, 1),
               273: (4, 1, 8), 277: (3, 1, 1), 278: (4, 1, height), 279: (4, 1, len(data))}  # fmt: skip
    entries |= dict(more)
    ifd = struct.pack("<H", len(entries))
    for code, (kind, count, value) in sorted(entries.items()):
        ifd += struct.pack("<HHII", code, kind, count, value)
    start = 8 + len(data)
    return b"II*\0" + struct.pack("<I", start) + data + ifd + bytes(4)


def _loop(next_of: Callable[[int], int]) -> bytes:
    whole = bytearray(_tiff(4, 4, data=bytes(16)))
    second = bytearray(whole[24:])
    first_at, second_at = 24, len(whole)
    whole += second
    struct.pack_into("<I", whole, second_at - 4, next_of(second_at))
    struct.pack_into("<I", whole, len(whole) - 4, next_of(first_at))
    return bytes(whole)


for _name, _packing, _data in (
    ("plain", 1, lambda: bytes(64)), ("lzw", 5, lambda: bytes(64)), ("deflate", 8, lambda: deflated(1)),
    ("packbits", 32773, lambda: b"\x81\0" * 512), ("jpeg", 7, lambda: b"\xff\xd8" + bytes(62)),
    ("zstd", 50000, lambda: bytes(64)), ("lzma", 34925, lambda: bytes(64)),
):  # fmt: skip
    content(
        f"tiff/{_name}.tif",
        lambda packing=_packing, data=_data: _tiff(65536, 32768, packing=packing, data=data()),
    )
content("tiff/real.tif", lambda: _tiff(16384, 8192, packing=8, data=deflated(128)))
content("tiff/itself.tif", lambda: _loop(lambda _at: 24))
content("tiff/circle.tif", lambda: _loop(lambda at: at))
content("tiff/subifd.tif", lambda: _tiff(4, 4, data=bytes(16), more={330: (13, 1, 24)}.items()))
content(
    "tiff/strips.tif",
    lambda: _tiff(
        65536, 65536, data=bytes(16), more={273: (4, 65536, 8), 279: (4, 65536, 8), 278: (4, 1, 1)}.items()
    ),
)
content("tiff/counts.tif", lambda: _tiff(4, 4, data=bytes(16), more={
    270: (2, 0xFFFFFFFF, 8), 34682: (2, 0x7FFFFFFF, 8), 34118: (2, 0x7FFFFFFF, 8), 50431: (7, 0xFFFFFFFF, 8),
}.items()))  # fmt: skip
content("tiff/depth.tif", lambda: _tiff(4, 4, data=bytes(16), more={277: (3, 1, 65535)}.items()))


_JPEG = b"\xff\xd8\xff\xc0\0\x0b\x08" + struct.pack(">HH", 65500, 65500) + b"\x01\x01\x11\0"
_JPEG_2000 = b"\xff\x4f\xff\x51" + struct.pack(
    ">HHIIIIIIIIHBBB", 41, 0, 60000, 60000, 0, 0, 60000, 60000, 0, 0, 1, 7, 1, 1
)
content("tiff/inner_jpeg.tif", lambda: _tiff(32, 24, packing=7, data=_JPEG + bytes(64)))
content("tiff/inner_jp2.tif", lambda: _tiff(32, 24, packing=34712, data=_JPEG_2000 + bytes(64)))
content("tiff/inner_png.tif", lambda: _tiff(32, 24, packing=34933, data=_png(
    13300, 13300, _chunk(b"IDAT", deflated(675)), colour=6)))  # fmt: skip
content("tiff/inner_deflate.tif", lambda: _tiff(32, 24, packing=8, data=deflated(900)))


def _shared() -> bytes:
    """Return 2000 pages of one and the same megabyte of pixels."""
    start = 8 + (1 << 20)
    out = bytearray(b"II*\0" + struct.pack("<I", start) + bytes(1 << 20))
    entries = [(256, 1024), (257, 1024), (258, 8), (259, 1), (262, 1), (273, 8), (278, 1024), (279, 1 << 20)]
    page = struct.pack("<H", 8) + b"".join(struct.pack("<HHII", code, 4, 1, said) for code, said in entries)
    for number in range(2000):
        out += page + struct.pack("<I", len(out) + len(page) + 4 if number < 1999 else 0)
    return bytes(out)


content("tiff/shared.tif", _shared)


def _pages() -> bytes:
    """Return 40 000 pages that share one entry, 18 bytes apart."""
    out = bytearray(b"II*\0" + struct.pack("<I", 8))
    for _ in range(40_000):
        out += struct.pack("<HHHII", 1, 256, 3, 1, 4) + struct.pack("<I", len(out) + 18)
    return bytes(out[:-4]) + bytes(4)


content("tiff/pages.tif", _pages)
_OME = LAUGHS + "<OME xmlns='http://www.openmicroscopy.org/Schemas/OME/2016-06'>&a11;</OME>"
_PHENOM = LAUGHS + "<FeiImage><pixelWidth>&a11;</pixelWidth></FeiImage>"
BOMBS["tiff/laughs_ome.tif"] = lambda at: make("tiff").write(
    at / "laughs.tif", GREY, metadata=None, description=_OME
)
BOMBS["tiff/laughs_phenom.tif"] = lambda at: make("tiff").write(
    at / "laughs.tif", GREY, metadata=None, tags={34683: _PHENOM.encode()}
)
BOMBS["tiff/laughs_sightx.tif"] = lambda at: make("tiff").write(
    at / "laughs.tif", DEEP, metadata=None, tags={271: "JEOL Ltd."},
    description=LAUGHS + "<TemReporter><x>&a11;</x></TemReporter>")  # fmt: skip
BOMBS["tiff/deep_xml.tif"] = lambda at: make("tiff").write(
    at / "deep.tif", DEEP, metadata=None, description="<OME>" + "<a>" * 20_000 + "</a>" * 20_000 + "</OME>"
)

# ------------------------------------------------------------------ pictures


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(width: int, height: int, *chunks: bytes, depth: int = 8, colour: int = 0) -> bytes:
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + _chunk(b"IEND", b"")


content("raster/claims.png", lambda: _png(60000, 60000, _chunk(b"IDAT", zlib.compress(bytes(100)))))
content(
    "raster/deep.png",
    lambda: _png(30000, 30000, _chunk(b"IDAT", zlib.compress(bytes(100))), depth=16, colour=6),
)
content("raster/real.png", lambda: _png(8192, 8192, _chunk(b"IDAT", deflated(65))))
content("raster/rgba.png", lambda: _png(13300, 13300, _chunk(b"IDAT", deflated(675)), colour=6))
content("raster/text.png", lambda: _png(
    4, 4, _chunk(b"zTXt", b"a\0\0" + deflated(64)), _chunk(b"iCCP", b"a\0\0" + deflated(64)),
    _chunk(b"IDAT", zlib.compress(bytes(20)))))  # fmt: skip
content("raster/claims.gif", lambda: b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0x80, 0, 0) + bytes(6)
        + b"," + struct.pack("<HHHHB", 0, 0, 65535, 65535, 0) + b"\x02\x02\x4c\x01\0;")  # fmt: skip
content("raster/frames.gif", lambda: b"GIF89a" + struct.pack("<HHBBB", 4000, 4000, 0x80, 0, 0) + bytes(6)
        + (b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x4c\x01\0") * 5000 + b";")  # fmt: skip
content(
    "raster/claims.bmp",
    lambda: (
        b"BM"
        + struct.pack("<IHHI", 100, 0, 0, 54)
        + struct.pack("<IiiHHIIiiII", 40, 0x7FFFFFFF, 0x7FFFFFFF, 1, 24, 0, 0, 0, 0, 0, 0)
        + bytes(46)
    ),
)
content(
    "raster/rle.bmp",
    lambda: (
        b"BM"
        + struct.pack("<IHHI", 2000, 0, 0, 54 + 1024)
        + struct.pack("<IiiHHIIiiII", 40, 30000, 30000, 1, 8, 1, 0, 0, 0, 256, 0)
        + bytes(1024)
        + b"\xff\0" * 400
        + b"\0\1"
    ),
)
content("raster/claims.jpg", lambda: b"\xff\xd8\xff\xc0\0\x0b\x08" + struct.pack(">HH", 65500, 65500)
        + b"\x01\x01\x11\0\xff\xda\0\x08\x01\x01\0\0\x3f\0" + bytes(64) + b"\xff\xd9")  # fmt: skip
