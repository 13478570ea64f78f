"""The container of NIS-Elements files (ND2, versions 2 and 3): named chunks, and a map of them at the end.

A chunk is the number DA CE BE 0A, the length of its name field [4 bytes], the length of its content
[8 bytes], the name field, the content; all little-endian. The file begins with the chunk ``ND2 FILE
SIGNATURE CHUNK NAME01!``, whose content is the version (``Ver3.0``), and ends with ``ND2 CHUNK MAP
SIGNATURE 0000001!`` and the place of the chunk ``ND2 FILEMAP SIGNATURE NAME 0001!``: a list of name, place
and length [8 bytes each]. The layout is that of the open-source packages nd2 and limnd2, the latter by the
maker of NIS-Elements. The nd2 package decodes what stands in the chunks; places and lengths are checked
here, because it reads missing images as zeros.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, NamedTuple

from micdb.errors import DamagedFileError

MAGIC = b"\xda\xce\xbe\x0a"
SIGNATURE = b"ND2 FILE SIGNATURE CHUNK NAME01!"
_MAP_NAME = b"ND2 FILEMAP SIGNATURE NAME 0001!"
_MAP_MARK = b"ND2 CHUNK MAP SIGNATURE 0000001!"

_HEADER = struct.Struct("<4sIQ")
_PLACE = struct.Struct("<QQ")

_NAME_LIMIT = 1 << 16  # [byte] the name field is 4072 bytes long before an image
_TREE_LIMIT = 1 << 26  # [byte] of one metadata chunk, and of what it unpacks to
_COMPRESSED = 76  # first byte of a metadata tree that is one zlib block
_COMPRESSED_START = 12  # [byte]


class Place(NamedTuple):
    """Where the content of a chunk stands, and how long it is [byte]."""

    start: int
    length: int


class Chunks(NamedTuple):
    """The chunks of one file by name, ``ImageDataSeq|0``, with the place of their headers [byte]."""

    path: Path
    version: tuple[int, int]
    headers: Mapping[str, int]

    @classmethod
    def read(cls, path: Path) -> Chunks:
        """Read the map at the end of the file."""
        size = path.stat().st_size
        with path.open("rb") as stream:
            head = stream.read(_HEADER.size + 96)
            stream.seek(max(size - 40, 0))
            tail = stream.read(40)
            version = re.match(rb"Ver(\d)\.(\d)", head[_HEADER.size + 32 :])
            if version is None:
                raise DamagedFileError(path, "the first chunk gives no version", reader="nd2", offset=48)
            if tail[:32] != _MAP_MARK:
                reason = "there is no map of chunks at its end: the file is cut short"
                raise DamagedFileError(path, reason, reader="nd2", offset=size)
            where = int.from_bytes(tail[32:], "little")
            start, length = _place(path, stream, where, _MAP_NAME, size)
            stream.seek(start)
            headers = _entries(path, stream.read(length), start)
        return cls(path, (int(version[1]), int(version[2])), headers)

    def place(self, name: str) -> Place:
        """Return where a chunk's content stands, after a look at its header."""
        size = self.path.stat().st_size
        with self.path.open("rb") as stream:
            return _place(self.path, stream, self.headers[name], f"{name}!".encode(), size)

    def content(self, name: str) -> bytes:
        """Return the content of a metadata chunk, unless it is a bomb."""
        start, length = self.place(name)
        if length > _TREE_LIMIT:
            raise ValueError(f"{length} bytes")
        with self.path.open("rb") as stream:
            stream.seek(start)
            content = stream.read(length)
        if content[:1] == bytes([_COMPRESSED]):
            block = zlib.decompressobj()
            block.decompress(content[_COMPRESSED_START:], _TREE_LIMIT)
            if block.unconsumed_tail:
                raise ValueError(f"it unpacks to more than {_TREE_LIMIT} bytes")
        return content


def _place(path: Path, stream: IO[bytes], header: int, name: bytes, size: int) -> Place:
    if header + _HEADER.size > size:
        raise DamagedFileError(path, f"{_shown(name)} would begin behind the end", reader="nd2", offset=size)
    stream.seek(header)
    magic, name_length, length = _HEADER.unpack(stream.read(_HEADER.size))
    start = header + _HEADER.size + name_length
    if magic != MAGIC or name_length > _NAME_LIMIT or not stream.read(name_length).startswith(name):
        raise DamagedFileError(path, f"there is no chunk {_shown(name)}", reader="nd2", offset=header)
    if start + length > size:
        reason = f"{_shown(name)} promises {length} bytes, there are {size - start}"
        raise DamagedFileError(path, reason, reader="nd2", offset=start)
    return Place(start, length)


def _entries(path: Path, content: bytes, start: int) -> dict[str, int]:
    found: dict[str, int] = {}
    position = 0
    while True:
        end = content.find(b"!", position)
        if end < 0 or len(content) < end + 1 + _PLACE.size:
            reason = "the map of chunks has no end mark"
            raise DamagedFileError(path, reason, reader="nd2", offset=start + position)
        name = content[position : end + 1]
        if name == _MAP_MARK:
            return found
        found[name[:-1].decode("latin-1")] = _PLACE.unpack_from(content, end + 1)[0]
        position = end + 1 + _PLACE.size


def _shown(name: bytes) -> str:
    return name.decode("latin-1").rstrip("!")
