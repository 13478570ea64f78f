"""What is looked at before RosettaSciIO gets a file: a damaged or hostile one would keep it busy for ever.

Measured on mutants of real files: an .elid that is cut short is an endless loop in ``rsciio.phenom``; a .bcf
whose folders contain one another, one in ``rsciio.bruker``; a packed .prz read as if it were not packed gives
noise. ``.xml`` of EMPAD names its data file, which may lie anywhere.
"""

from __future__ import annotations

import bz2
import math
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from micdb.errors import DamagedFileError, NotAnImageError
from micdb.ingest.bombs import is_bomb

_READER = "rosettasciio"
_UNPACKED = 1 << 30  # [byte] most that a packed file may hold; all of it is unpacked at once
_BLOCK = 1 << 20  # [byte]
_MERLIN_HEAD = 384  # [byte] the shortest
_MERLIN_BYTES = {"U08": 1, "U16": 2, "U32": 4}  # R64 is the raw stream of the chips
_FRAMES = 1 << 26  # [byte] of frames that dask reads together


def check(path: Path, plugin: str) -> None:
    """Raise `DamagedFileError` for what the plugin would not come to an end with."""
    if plugin in _CHECKS:
        _CHECKS[plugin](path)


def options(path: Path, plugin: str) -> dict[str, Any]:
    """Return the keywords for a plugin's ``file_reader``: images only, frames apart, nothing guessed."""
    if plugin == "bruker":
        return {"select_type": "image"}
    if plugin == "tvips":
        return {"lazy": True, "rechunking": False}
    if plugin == "quantumdetector":
        return {"lazy": True, **_merlin_shape(path)}
    if plugin == "pantarhei":
        return {"lazy": _prz_member(path).compress_type == zipfile.ZIP_STORED}
    return {"lazy": plugin in ("ripple", "empad", "topspin", "semper")}


def _check_elid(path: Path) -> None:
    """Unpack the stream once, in pieces, to see that it ends."""
    unpacker, size = bz2.BZ2Decompressor(), 0
    with path.open("rb") as stream:
        while not unpacker.eof:
            block = stream.read(_BLOCK) if unpacker.needs_input else b""
            if unpacker.needs_input and not block:
                raise DamagedFileError(path, "the packed data end too early", reader=_READER)
            size += len(unpacker.decompress(block, _BLOCK))
            if size > _UNPACKED:
                raise DamagedFileError(path, f"it unpacks to more than {_UNPACKED} bytes", reader=_READER)


def _check_bcf(path: Path) -> None:
    """Follow the table of the files inside as rsciio will: sizes within the file, no circle of parents."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        head = stream.read(0x150)
        try:
            (chunk,) = struct.unpack_from("<I", head, 0x128)
            address, count = struct.unpack_from("<II", head, 0x140)
        except struct.error:
            raise DamagedFileError(path, "the header is cut short", reader=_READER) from None
        if not 1024 <= chunk <= 1 << 24 or not 0 < count * 0x200 <= size:
            reason = f"the table claims {count} files in blocks of {chunk} bytes"
            raise DamagedFileError(path, reason, reader=_READER, offset=0x128)
        per_block = (chunk - 0x20) // 0x200
        parents: list[int] = []
        while len(parents) < count:
            stream.seek(chunk * address + 0x118)
            block = stream.read(0x20 + per_block * 0x200)
            wanted = min(per_block, count - len(parents))
            items = (block[0x20 + number * 0x200 :][:0x200] for number in range(wanted))
            parents.extend(_bcf_parent(path, item, size, count) for item in items)
            (address,) = struct.unpack_from("<I", block)
    for start in range(count):
        at, steps = start, 0
        while at != -1:
            at, steps = parents[at], steps + 1
            if steps > count:
                raise DamagedFileError(path, "its folders contain one another", reader=_READER)


def _bcf_parent(path: Path, item: bytes, size: int, count: int) -> int:
    if len(item) < 0x200:
        raise DamagedFileError(path, "the table of files is cut short", reader=_READER)
    (claimed,) = struct.unpack_from("<Q", item, 4)
    (parent,) = struct.unpack_from("<i", item, 40)
    if claimed > size or not -1 <= parent < count:
        reason = f"a file inside claims {claimed} bytes and the folder {parent}"
        raise DamagedFileError(path, reason, reader=_READER)
    return int(parent)


def _prz_member(path: Path) -> zipfile.ZipInfo:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.getinfo("data.npy")
    except (zipfile.BadZipFile, KeyError, OSError, ValueError) as error:
        raise DamagedFileError(path, f"no data.npy in the archive: {error}", reader=_READER) from error


def _check_prz(path: Path) -> None:
    from numpy.lib import format as npy

    member = _prz_member(path)
    if member.compress_type == zipfile.ZIP_STORED:
        return
    with zipfile.ZipFile(path) as archive:
        claimed = sum(item.file_size for item in archive.infolist())
        if claimed > _UNPACKED:
            raise DamagedFileError(path, f"it claims to unpack to {claimed} bytes at once", reader=_READER)
        with archive.open(member) as stream:
            header = (
                npy.read_array_header_1_0 if npy.read_magic(stream) == (1, 0) else npy.read_array_header_2_0
            )
            shape, _, dtype = header(stream)
    pixels = math.prod(shape) * dtype.itemsize
    if pixels > member.file_size:  # numpy allocates before it reads
        reason = f"the header promises {pixels} bytes of pixels, {member.filename} has {member.file_size}"
        raise DamagedFileError(path, reason, reader=_READER)
    if is_bomb(pixels, member.compress_size):
        reason = f"{pixels} bytes of pixels, packed into {member.compress_size}, are more than images can be"
        raise DamagedFileError(path, reason, reader=_READER)


def _check_empad(path: Path) -> None:
    import xml.etree.ElementTree as ET

    try:
        named = ET.parse(path).getroot().find("raw_file")  # noqa: S314 (expat limits entities itself)
    except ET.ParseError as error:
        raise DamagedFileError(path, f"the XML is broken: {error}", reader=_READER) from error
    name = (named.get("filename") if named is not None else None) or ""
    if not name or Path(name).name != name or "\\" in name:
        reason = f"this XML names no data file beside it (raw_file {name!r})"
        raise NotAnImageError(path, reason, reader=_READER)
    if not (path.parent / name).is_file():
        raise NotAnImageError(path, f"its data file {name} is missing", reader=_READER)


def _check_ripple(path: Path) -> None:
    if not any(path.with_suffix(suffix).is_file() for suffix in (".raw", ".RAW")):
        raise NotAnImageError(path, f"its data file {path.stem}.raw is missing", reader=_READER)


def _check_topspin(path: Path) -> None:
    """Let every text heap of the HDF5 file be followed, and refuse links that leave the file."""
    from micdb.ingest.hdf5_probe import attributes, foreign, walk
    from micdb.ingest.hdf5_stream import opened

    with opened(path, strict=True) as file:
        for item in walk(file):
            attributes(item)
            leads_out = foreign(item)
            if leads_out:
                raise NotAnImageError(path, f"{item.name} {leads_out}", reader=_READER)


def _merlin_shape(path: Path) -> dict[str, Any]:
    """Return (frames in a row, rows) where the .hdr says so, else the number of frames; and how to cut them.

    rsciio would guess the rows from gaps between the time stamps, and drop what does not fill one.
    """
    with path.open("rb") as stream:
        fields = stream.read(_MERLIN_HEAD).decode("latin-1").split(",")
    try:
        head, width, height = int(fields[2]), int(fields[4]), int(fields[5])
        pixels = width * height * _MERLIN_BYTES[fields[6].strip()]
    except (IndexError, ValueError, KeyError) as error:
        reason = f"the header is none of processed frames: {error!r}"
        raise DamagedFileError(path, reason, reader=_READER, offset=0) from error
    count = path.stat().st_size // (head + pixels) if min(head, width, height) > 0 else 0
    if count < 1:
        raise DamagedFileError(path, f"a frame takes {pixels} bytes, more than the file has", reader=_READER)
    row = _per_trigger(path.with_suffix(".hdr"))
    shape = (row, count // row) if row > 1 and count % row == 0 else (count,)
    chunks = (*(1 for _ in shape[1:]), max(1, _FRAMES // pixels), -1, -1)
    return {"navigation_shape": shape, "chunks": chunks}


def _per_trigger(header: Path) -> int:
    try:
        lines = header.read_text("latin-1").splitlines() if header.stat().st_size < _BLOCK else []
        said = dict(line.split("\t", 1) for line in lines if "\t" in line)
        return int(said.get("Frames per Trigger (Number):", "1"))
    except (OSError, ValueError):
        return 1


_CHECKS: dict[str, Callable[[Path], None]] = {
    "phenom": _check_elid,
    "bruker": _check_bcf,
    "pantarhei": _check_prz,
    "empad": _check_empad,
    "ripple": _check_ripple,
    "topspin": _check_topspin,
}
