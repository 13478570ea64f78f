"""The parameter files of Omicron MATRIX (``NAME_0001.mtrx``, then ``NAME_0002.mtrx``, ...).

The maker published no layout; this follows what access2theMatrix and Gwyddion found out. After 12 bytes of
signature come blocks: a name of four letters, written backwards, the length, and with most names 8 bytes
with the time. Texts are a count of UTF-16 letters and the letters. The file is a log of the session:
``EEPA`` lists every parameter at the start, ``PMOD`` one change, ``MARK`` a remark, ``CCSY`` the channels
(``DICT``) and how their counts become physical values (``XFER``), and ``BREF`` names a data file when it was
written. What is true for a data file is what had been said up to its ``BREF``.
"""

from __future__ import annotations

import mmap
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from micdb.errors import DamagedFileError, NotAnImageError
from micdb.ingest.metadata import tolerate

SIGNATURE = b"ONTMATRX0101"
_UNTIMED = {b"REFX", b"NACS", b"TCID", b"SCHC", b"TSNI", b"SXNC", b"LNEG"}
_VALUES = {b"LOOB": "<I", b"GNOL": "<i", b"BUOD": "<d"}  # a text is GRTS
_TEXT_LIMIT = 1 << 16  # [letter]
_LINKS = 10_000  # parameter files of one session; their number has four digits


class Parameter(NamedTuple):
    """A value and the unit as written: ``Volt``, ``--`` for none."""

    value: float | str
    unit: str


class Transfer(NamedTuple):
    """How the counts of a channel become physical values: the function's name and its constants."""

    function: str
    constants: dict[str, Any]


@dataclass(slots=True)
class Session:
    """What the parameter files had said when a data file was written.

    Parameters
    ----------
    parts
        The files that were read.
    parameters
        ``Instance.Property`` -> value and unit.
    marks
        Remarks: ``SAMPLE_NAME``, ``CREATION_COMMENT``, ... Without a name they are counted.
    texts
        Program, version, profile, user, and the texts that describe the experiment.
    units, transfers
        Channel number -> unit, transfer function.
    numbers
        Channel name -> its number.
    problems
        What could not be read, one sentence each.
    """

    parts: list[Path] = field(default_factory=list)
    parameters: dict[str, Parameter] = field(default_factory=dict)
    marks: dict[str, str] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)
    units: dict[int, str] = field(default_factory=dict)
    transfers: dict[int, Transfer] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def session_of(path: Path) -> Session:
    """Return what the parameter files beside a data file say of it.

    Raises
    ------
    NotAnImageError
        The name is not ``NAME--RUN_CYCLE.CHANNEL_mtrx``, or ``NAME_0001.mtrx`` is missing.
    DamagedFileError
        A parameter file is broken, or none of them names the data file.
    """
    stem, dashes, tail = path.name.rpartition("--")
    if not dashes:
        raise NotAnImageError(
            path, "its name must be as MATRIX wrote it, NAME--RUN_CYCLE.CHANNEL_mtrx: only so its parameter"
            " file can be found", reader="matrix",
        )  # fmt: skip
    session = Session()
    for number in range(1, _LINKS):
        part = path.with_name(f"{stem}_{number:04d}.mtrx")
        if not part.is_file():
            break
        session.parts.append(part)
        if _read(part, f"--{tail}", session):
            return session
    if not session.parts:
        raise NotAnImageError(
            path, f"its parameter file {stem}_0001.mtrx is missing: the image has neither size nor scale",
            reader="matrix",
        )  # fmt: skip
    names = ", ".join(part.name for part in session.parts)
    raise DamagedFileError(
        path, f"{names} does not name it: what its numbers mean is unknown", reader="matrix"
    )


def named_files(path: Path) -> list[str]:
    """Return the names of the data files in a parameter file, in the order of writing."""
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as file:
        blocks = _blocks(path, file, len(SIGNATURE), len(file))
        return [_Cursor(path, file, start + 4, end).text() for name, start, end in blocks if name == b"FERB"]


def _read(path: Path, tail: str, session: Session) -> bool:
    """Take in a file up to the data file whose name ends in `tail`; say whether it was named."""
    if path.stat().st_size == 0:
        raise DamagedFileError(path, "the parameter file is empty (0 bytes)", reader="matrix")
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as file:
        if file[: len(SIGNATURE)] != SIGNATURE:
            raise DamagedFileError(path, f"it does not begin with {SIGNATURE.decode()}", reader="matrix")
        for name, start, end in _blocks(path, file, len(SIGNATURE), len(file)):
            cursor = _Cursor(path, file, start, end)
            if name == b"FERB":
                cursor.skip(4)
                if cursor.text().endswith(tail):
                    return True
            elif name in _REMARKS:
                with tolerate(
                    session.problems, f"block {name[::-1].decode()} at byte {start} of {path.name}"
                ):
                    _REMARKS[name](cursor, session)
            elif name in _PARSERS:
                _PARSERS[name](cursor, session)
    return False


def _blocks(path: Path, file: mmap.mmap, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield the name of each block and where its content begins and ends."""
    while start + 8 <= end:
        name, size = struct.unpack_from("<4sI", file, start)
        content = start + (8 if name in _UNTIMED else 16)
        if content + size > end:
            reason = f"block {name[::-1]!r} claims {size} bytes, {max(end - content, 0)} are left"
            raise DamagedFileError(path, reason, reader="matrix", offset=start)
        yield name, content, content + size
        start = content + size


class _Cursor:
    """Reads the content of one block from front to back."""

    def __init__(self, path: Path, file: mmap.mmap, start: int, end: int) -> None:
        self.path, self.file, self.position, self.end = path, file, start, end

    def __bool__(self) -> bool:
        return self.position < self.end

    def skip(self, size: int) -> int:
        """Step over bytes and return where they began."""
        start = self.position
        self.position += size
        if self.position > self.end:
            raise DamagedFileError(self.path, "a block ends inside a value", reader="matrix", offset=start)
        return start

    def number(self, code: str = "<I") -> Any:
        (value,) = struct.unpack_from(code, self.file, self.skip(struct.calcsize(code)))
        return value

    def text(self) -> str:
        count = self.number()
        if count > _TEXT_LIMIT:
            raise DamagedFileError(
                self.path, f"a text claims {count} letters", reader="matrix", offset=self.position
            )
        start = self.skip(2 * count)
        return self.file[start : self.position].decode("utf-16-le", "replace")

    def value(self) -> float | str:
        kind = self.file[self.skip(4) : self.position]
        if kind == b"GRTS":
            return self.text()
        if kind not in _VALUES:
            raise DamagedFileError(
                self.path, f"unknown type of value {kind!r}", reader="matrix", offset=self.position - 4
            )
        number = self.number(_VALUES[kind])
        return bool(number) if kind == b"LOOB" else number


def _meta(cursor: _Cursor, session: Session) -> None:
    session.texts |= {"program": cursor.text(), "version": cursor.text()}
    cursor.skip(4)
    session.texts |= {"profile": cursor.text(), "user": cursor.text()}


def _experiment(cursor: _Cursor, session: Session) -> None:
    cursor.skip(4)
    for number in count():
        if not cursor:
            break
        session.texts[f"experiment {number}"] = cursor.text()


def _elements(cursor: _Cursor, session: Session) -> None:
    cursor.skip(4)
    for _ in range(cursor.number()):
        instance = cursor.text()
        for _ in range(cursor.number()):
            key, unit = f"{instance}.{cursor.text()}", cursor.text()
            cursor.skip(4)
            session.parameters[key] = Parameter(cursor.value(), unit)


def _change(cursor: _Cursor, session: Session) -> None:
    cursor.skip(4)
    key, unit = f"{cursor.text()}.{cursor.text()}", cursor.text()
    session.parameters.pop(key, None)  # should the new value be unreadable, the old one is wrong
    cursor.skip(4)
    session.parameters[key] = Parameter(cursor.value(), unit)


def _mark(cursor: _Cursor, session: Session) -> None:
    written = cursor.text()
    found = re.match(r"MTRX\$(\w+)-(.*)", written, re.DOTALL)
    name, value = (found[1], found[2]) if found else (f"remark {len(session.marks)}", written)
    session.marks[name] = value


def _channels(cursor: _Cursor, session: Session) -> None:
    cursor.skip(4)
    for name, start, end in _blocks(cursor.path, cursor.file, cursor.position, cursor.end):
        inner = _Cursor(cursor.path, cursor.file, start, end)
        if name == b"TCID":
            _dictionary(inner, session)
        elif name == b"REFX":
            _transfers(inner, session)


def _dictionary(cursor: _Cursor, session: Session) -> None:
    cursor.skip(8)
    for _ in range(cursor.number()):  # the devices
        cursor.skip(16)
        cursor.text(), cursor.text()
    for _ in range(cursor.number()):
        cursor.skip(4)
        number = cursor.number()
        cursor.skip(8)
        session.numbers[cursor.text()] = number
        session.units[number] = cursor.text()


def _transfers(cursor: _Cursor, session: Session) -> None:
    while cursor:
        cursor.skip(4)
        number, function = cursor.number(), cursor.text()
        cursor.text()  # the unit once more
        constants = {cursor.text(): cursor.value() for _ in range(cursor.number())}
        session.transfers[number] = Transfer(function, constants)


_PARSERS = {b"APEE": _elements, b"YSCC": _channels}
# What is of no consequence for the pixels, or leaves its value unknown where it cannot be read.
_REMARKS = {b"ATEM": _meta, b"DPXE": _experiment, b"DOMP": _change, b"KRAM": _mark}
