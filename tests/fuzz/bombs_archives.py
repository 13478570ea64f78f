"""Archives that claim what they do not hold, lead out of their folder, or unpack to very much."""

from __future__ import annotations

import bz2
import io
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

from tests.fuzz.bombs import ZEROS, bomb, content


def zipped(members: list[tuple[str | zipfile.ZipInfo, bytes]], kind: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", kind) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return stream.getvalue()


def _claiming(packed: bytes, size: int) -> bytes:
    """Write another unpacked size into every header of a zip."""
    mutable = bytearray(packed)
    for mark, place in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = mutable.find(mark)
        while at >= 0:
            mutable[at + place : at + place + 4] = struct.pack("<I", size)
            at = mutable.find(mark, at + 4)
    return bytes(mutable)


def _overlapping() -> bytes:
    """Return a zip whose 200 entries all name one packed megabyte (Fifield 2019)."""
    packed = zipped([("a.bin", ZEROS)])
    start = packed.find(b"PK\x01\x02")
    end = packed.find(b"PK\x05\x06")
    entry = packed[start:end]
    entries = b"".join(entry.replace(b"a.bin", f"{n:05d}".encode()) for n in range(200))
    tail = bytearray(packed[end:])
    struct.pack_into("<HHI", tail, 8, 200, 200, len(entries))
    return packed[:start] + entries + bytes(tail)


def _link() -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("link.tif")
    info.external_attr = 0o120777 << 16
    return info


content("archive/claims.zip", lambda: _claiming(zipped([("a.tif", b"II*\0" * 9)]), 0xFFFFFFFE))
content("archive/lies.zip", lambda: _claiming(zipped([("a.tif", ZEROS * 32)]), 10))
content("archive/bzip2.zip", lambda: zipped([("a.tif", ZEROS * 64)], zipfile.ZIP_BZIP2))
content("archive/overlap.zip", _overlapping)
content(
    "archive/out.zip",
    lambda: zipped(
        [
            (name, b"out")
            for name in ("../../out.txt", "/tmp/out.txt", "C:\\out.txt", "a/../../b", "..\\c", "b\0c")
        ]
    ),
)
content("archive/link.zip", lambda: zipped([(_link(), b"/etc/passwd"), ("link.tif/a.tif", b"II*\0")]))
content("archive/many.zip", lambda: zipped([(f"{n}.txt", b"") for n in range(500)]))
content("archive/within.zip", lambda: zipped([("a.zip", zipped([("b.zip", zipped([("c.tif", ZEROS)]))]))]))


def _tar(*members: tarfile.TarInfo, sparse: bool = False) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for info in members:
            archive.addfile(info, io.BytesIO(bytes(info.size)) if info.isreg() else None)
    return stream.getvalue()


def _info(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0, **more: Any) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    for key, value in more.items():
        setattr(info, key, value)
    return info


content("archive/devices.tar", lambda: _tar(
    _info("zero.tif", tarfile.CHRTYPE, devmajor=1, devminor=5), _info("pipe.tif", tarfile.FIFOTYPE),
    _info("passwd.tif", tarfile.SYMTYPE, linkname="/etc/passwd"),
    _info("out", tarfile.SYMTYPE, linkname=".."),
    _info("out/a.tif", size=9), _info("hard.tif", tarfile.LNKTYPE, linkname="../../a"),
    _info("../b.tif", size=9), _info("/c.tif", size=9)))  # fmt: skip
content("archive/zeros.tar.gz", lambda: _gzip(_tar(_info("a.tif", size=1 << 26))))
content("archive/zeros.tar.bz2", lambda: bz2.compress(_tar(_info("a.tif", size=1 << 26))))


def _gzip(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return packer.compress(data) + packer.flush()


@bomb("archive/claims.tar")
def _claims_tar(at: Path) -> Path:
    header = bytearray(_tar(_info("a.tif", size=9)))
    header[124:136] = b"77777777777\0"  # 8 GiB
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header[:512])
    (at / "claims.tar").write_bytes(bytes(header))
    return at / "claims.tar"
