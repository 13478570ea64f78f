"""The bare directories of a TIFF, read without a library: the tags of the first, and the chain of all.

Layout (TIFF 6.0, section 2, and BigTIFF): ``II`` or ``MM``, 42 or 43, the place of the first directory. A
directory is a count, that many entries of 12 bytes (20 in BigTIFF) beginning with the tag, and the place of
the next directory or 0.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

from micdb.errors import DamagedFileError

SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_MAX_TAGS = 4096  # entries of one directory; real ones stay below 200
_MAX_PAGES = 1_000_000  # a camera at 1000 frames/s for a quarter of an hour
_MANY_PAGES, _LEAST = 50_000, 256  # more pages than that take so many bytes each, their pixels included


# Width, height, bits, compression, meaning, samples, planes, predictor, tile width and height, number format.
_TOLD = (256, 257, 258, 259, 262, 277, 284, 317, 322, 323, 339)


class _Form(NamedTuple):
    """How numbers and entries are written in one flavour of TIFF."""

    order: Literal["little", "big"]
    length: struct.Struct
    entry: int  # [byte]
    place: struct.Struct
    first: int  # [byte] where the place of the first directory stands
    told: frozenset[bytes]


def _form(start: bytes) -> _Form | None:
    if start[:4] not in SIGNATURES:
        return None
    order: Literal["little", "big"] = "little" if start.startswith(b"II") else "big"
    told = frozenset(code.to_bytes(2, order) for code in _TOLD)
    mark = "<" if order == "little" else ">"
    if start[2:4] in (b"+\0", b"\0+"):
        return _Form(order, struct.Struct(mark + "Q"), 20, struct.Struct(mark + "Q"), 8, told)
    return _Form(order, struct.Struct(mark + "H"), 12, struct.Struct(mark + "I"), 4, told)


def first_tags(path: Path, head: bytes) -> frozenset[int]:
    """Return the tags of the first directory; none where the file is no TIFF or is damaged there."""
    form = _form(head)
    if form is None or len(head) < form.first + form.place.size:
        return frozenset()
    try:
        with path.open("rb") as stream:
            stream.seek(form.place.unpack_from(head, form.first)[0])
            return _tags(stream, form)
    except (OSError, OverflowError, ValueError, struct.error):
        return frozenset()


def _tags(stream: BinaryIO, form: _Form) -> frozenset[int]:
    count = int.from_bytes(stream.read(form.length.size), form.order)
    if count > _MAX_TAGS:
        return frozenset()
    entries = stream.read(count * form.entry)
    starts = range(0, len(entries) - form.entry + 1, form.entry)
    return frozenset(int.from_bytes(entries[start : start + 2], form.order) for start in starts)


def check_chain(path: Path, reader: str, *, limit: int = _MAX_PAGES) -> int:
    """Walk the chain of directories to its end, or to where it leaves the file.

    Returns
    -------
    int
        How many kinds of directories there are, by the tags that say how pixels are stored; libraries look at
        a few directories only.

    Raises
    ------
    DamagedFileError
        The chain runs in a circle, or is longer than any recording.
    """
    seen: set[int] = set()
    kinds: set[bytes] = set()
    size = path.stat().st_size
    with path.open("rb") as stream:
        form = _form(stream.read(4))
        if form is None:
            return 1
        stream.seek(form.first)
        written = stream.read(form.place.size)
        while len(written) == form.place.size:
            (place,) = form.place.unpack(written)
            if not 0 < place < size:
                break
            if place in seen:
                reason = f"directory {len(seen) + 1} of the TIFF is one of the directories before it"
                raise DamagedFileError(path, reason, reader=reader, offset=place)
            seen.add(place)
            if len(seen) > limit or (len(seen) > _MANY_PAGES and len(seen) * _LEAST > size):
                reason = f"the TIFF has more than {len(seen) - 1} directories, in {size} bytes"
                raise DamagedFileError(path, reason, reader=reader, offset=place)
            stream.seek(place)
            count = int.from_bytes(stream.read(form.length.size), form.order)
            if count > _MAX_TAGS:
                break
            entries = stream.read(count * form.entry)
            written = stream.read(form.place.size)
            kinds.add(_storage(entries, form))
    return len(kinds)


def _storage(entries: bytes, form: _Form) -> bytes:
    """Return the entries that say how pixels are stored, where their value stands in the entry itself."""
    starts = range(0, len(entries) - form.entry + 1, form.entry)
    told = (
        entries[start : start + form.entry] for start in starts if entries[start : start + 2] in form.told
    )
    return b"".join(
        entry for entry in told if int.from_bytes(entry[4 : form.entry - form.place.size], form.order) == 1
    )
