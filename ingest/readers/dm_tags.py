"""The tag tree of DM3 and DM4 files, as plain dictionaries and lists; pixels are located, never read.

Gatan publishes no specification; the layout follows C. Boothroyd's description ("Digital Micrograph file
format", DM3 2006, DM4 2013). A header (version 3 or 4, length, byte-order flag), then one tag group::

    group   sorted u8, open u8, [size u64 in DM4, not for the root], number of entries, the entries
    entry   20 (group) or 21 (tag) u8, length of the name u16, the name, the group or the tag
    tag     [length u64 in DM4], "%%%%", number of type words, the type words, the value

Numbers of the structure are big-endian, 4 bytes in DM3 and 8 in DM4; values are in the order of the flag.
Type words: 2 to 12 is one number; 15, 0, n, (0, type) * n a struct; 20, type..., count an array; 18, length a
string, which no program is known to write. Text is an array of 16-bit numbers (UTF-16).
Every length is checked against the size of the file before anything is read or repeated.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

from micdb.errors import DamagedFileError

# Type word -> struct code. 8 is a boolean, 9 a character, 10 an octet; 11 and 12 came with DM4.
_NUMBERS: Final = {2: "h", 3: "i", 4: "H", 5: "I", 6: "f", 7: "d", 8: "?", 9: "b", 10: "B", 11: "q", 12: "Q"}
_STRUCT, _STRING, _ARRAY = 15, 18, 20
_GROUP, _TAG = 20, 21
_TEXT = "H"
_OCTETS = "s"

_VALUE_LIMIT = 1 << 16  # [byte] longer arrays are noted and not read
_READ_LIMIT = 1 << 29  # [byte] of tags altogether: real trees are some MB
_WINDOW = 1 << 14  # [byte] read at once
_DEPTH_LIMIT = 64  # nested groups; DigitalMicrograph writes about 10
_TAG_LIMIT = 1_000_000  # entries altogether; stacks of StackBuilder have some 100 for each frame
_TYPE_WORD_LIMIT = 4096
_LEAST_ENTRY = 9  # [byte] an unnamed empty group


class TagArray(NamedTuple):
    """An array of the file that was not read, or the pixels of an image: where it stands.

    Parameters
    ----------
    offset
        First byte.
    size
        Length [byte].
    elements
        Number of elements.
    value
        The elements, or None when there are too many.
    """

    offset: int
    size: int
    elements: int
    value: Any


class Tags(NamedTuple):
    """What a DM3 or DM4 file says.

    Parameters
    ----------
    version
        3 or 4.
    order
        ``<`` or ``>``: byte order of values and pixels.
    root
        Named entries as a dictionary, lists of unnamed ones as a list; values are numbers, text, lists, and
        `TagArray` for what was not read and for everything called ``Data``.
    damage
        Where and why the tree ended early; what stands before it is in `root`.
    """

    version: int
    order: str
    root: dict[str, Any]
    damage: DamagedFileError | None


def read_tags(path: Path) -> Tags:
    """Read the tags of a DM3 or DM4 file.

    Raises
    ------
    DamagedFileError
        The header is none of DigitalMicrograph, or the first entries are broken.
    """
    with path.open("rb") as stream:
        return _Parser(path, stream, path.stat().st_size).parse()


@dataclass(slots=True)
class _Parser:
    path: Path
    stream: BinaryIO
    size: int
    position: int = 0
    order: str = "<"
    word: str = "I"  # struct code of a count: 4 bytes in DM3, 8 in DM4
    group_head: str = ">2xI"
    tag_head: str = ">4sI"
    tags: int = 0
    fetched: int = 0
    window: bytes = b""
    window_start: int = 0
    root: dict[str, Any] = field(default_factory=dict)

    def parse(self) -> Tags:
        (version,) = self._unpack(">I")
        if version not in (3, 4):
            raise self._damage(f"the version is {version}, expected 3 or 4", 0)
        _length, order = self._unpack(">II" if version == 3 else ">QI")
        if order not in (0, 1):
            raise self._damage(f"the byte-order flag is {order}, expected 0 or 1", self.position - 4)
        self.order = "<" if order else ">"
        if version == 4:
            self.word, self.group_head, self.tag_head = "Q", ">2xQ", ">8x4sQ"
        damage = None
        try:
            self._entries(self._count(), self.root, 0)
        except DamagedFileError as error:
            damage = error
        return Tags(version, self.order, self.root, damage)

    def _count(self) -> int:
        start = self.position
        (count,) = self._unpack(self.group_head)
        if count * _LEAST_ENTRY > self.size - self.position:
            raise self._damage(f"a group promises {count} entries, the file ends at byte {self.size}", start)
        return int(count)

    def _entries(self, count: int, named: dict[str, Any], depth: int) -> dict[str, Any] | list[Any]:
        """Read `count` entries into `named`; return them, or a list when none has a name."""
        unnamed: list[Any] = []
        self.tags += count
        if depth > _DEPTH_LIMIT or self.tags > _TAG_LIMIT:
            limit = f"{_DEPTH_LIMIT} levels" if depth > _DEPTH_LIMIT else f"{_TAG_LIMIT} entries"
            raise self._damage(f"the tree of tags has more than {limit}", self.position)
        for number in range(count):
            start = self.position
            kind, length = self._unpack(">BH")
            name = _decoded(self._take(length)) if length else ""
            if kind == _TAG:
                value = self._tag(name)
            elif kind == _GROUP:
                value = self._group(depth + 1)
            else:
                raise self._damage(f"an entry has type {kind}, expected 20 or 21", start)
            if name:
                named[name] = value
            elif named:
                named[str(number)] = value
            else:
                unnamed.append(value)
        return {str(index): item for index, item in enumerate(unnamed)} | named if named else unnamed

    def _group(self, depth: int) -> dict[str, Any] | list[Any]:
        if self.word == "Q":
            self._unpack(">Q")  # size of the group, which the entries give as well
        return self._entries(self._count(), {}, depth)

    def _tag(self, name: str) -> Any:
        start = self.position
        mark, count = self._unpack(self.tag_head)
        if mark != b"%%%%" or not 0 < count <= _TYPE_WORD_LIMIT:
            raise self._damage(f"tag {name!r} begins with {mark!r} and {count} type words", start)
        words = self._unpack(f">{count}{self.word}")
        if count == 1 and words[0] in _NUMBERS:
            return self._unpack(self.order + _NUMBERS[words[0]])[0]
        kind = _type(words)
        if kind is None:
            raise self._damage(f"tag {name!r} has the unknown type {words[:8]}", start)
        codes, length = kind
        if words[0] == _STRUCT:
            return list(self._unpack(self.order + codes))
        array = self._array(codes, length)
        return array if name == "Data" or array.value is None else array.value

    def _array(self, codes: str, count: int) -> TagArray:
        start, size = self.position, count * struct.calcsize(self.order + codes)
        if size > _VALUE_LIMIT:
            self._need(size)
            self.position += size
            return TagArray(start, size, count, None)
        raw = self._take(size)
        value: Any
        if codes == _TEXT:
            value = raw.decode("utf-16-le" if self.order == "<" else "utf-16-be", "replace")
        elif codes == _OCTETS:
            value = _decoded(raw)
        elif len(codes) == 1:
            value = list(struct.unpack(f"{self.order}{count}{codes}", raw))
        else:
            value = [list(item) for item in struct.iter_unpack(self.order + codes, raw)] if raw else []
        return TagArray(start, size, count, value)

    def _unpack(self, layout: str) -> tuple[Any, ...]:
        length = struct.calcsize(layout)
        place = self.position - self.window_start
        if place + length > len(self.window) or place < 0:
            place = self._fetch(length)
        self.position += length
        return struct.unpack_from(layout, self.window, place)

    def _take(self, length: int) -> bytes:
        place = self.position - self.window_start
        if place + length > len(self.window) or place < 0:
            place = self._fetch(length)
        self.position += length
        return self.window[place : place + length]

    def _fetch(self, length: int) -> int:
        """Read a window that holds the next `length` bytes and return their place in it."""
        self._need(length)
        self.stream.seek(self.position)
        self.window = self.stream.read(max(length, _WINDOW))
        self.window_start = self.position
        self.fetched += len(self.window)
        if self.fetched > _READ_LIMIT:
            raise self._damage(f"the tags are longer than {_READ_LIMIT} bytes", self.position)
        if len(self.window) < length:
            raise self._damage("the file became shorter while it was read", self.position)
        return 0

    def _need(self, length: int) -> None:
        if length > self.size - self.position:
            reason = f"the file ends at byte {self.size}, {length} more bytes are promised"
            raise self._damage(reason, self.position)

    def _damage(self, reason: str, offset: int) -> DamagedFileError:
        return DamagedFileError(self.path, reason, reader="dm", offset=offset)


def _type(words: tuple[int, ...]) -> tuple[str, int] | None:
    """Return the struct codes of one element and the number of elements; None for an unknown type."""
    if words[0] == _STRUCT:
        codes = _fields(words)
        return None if codes is None else (codes, 1)
    if words[0] == _STRING and len(words) == 2:
        return _OCTETS, words[1]
    if words[0] != _ARRAY or len(words) < 3:
        return None
    if words[1] in _NUMBERS and len(words) == 3:
        return _NUMBERS[words[1]], words[2]
    if words[1] == _STRING and len(words) == 4:
        return _OCTETS, words[2] * words[3]
    if words[1] == _ARRAY and len(words) == 5 and words[2] in _NUMBERS:
        return _NUMBERS[words[2]], words[3] * words[4]
    codes = _fields(words[1:-1]) if words[1] == _STRUCT else None
    return None if codes is None else (codes, words[-1])


def _fields(words: tuple[int, ...]) -> str | None:
    """Return the struct codes of ``15, 0, n, (0, type) * n``."""
    if len(words) < 5 or len(words) != 3 + 2 * words[2]:
        return None
    types = words[4::2]
    return "".join(_NUMBERS[word] for word in types) if all(word in _NUMBERS for word in types) else None


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")  # DigitalMicrograph before GMS 3: "Emission Current (µA)"
