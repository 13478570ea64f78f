"""Archives of microscope files: ``.zip``, ``.tar``, ``.tar.gz``, ``.tar.bz2``, ``.tar.xz``.

Members are unpacked side by side, so that files in several parts find each other. An archive is somebody
else's file: names that lead out of it, links and devices are left out, and one that claims more than it
can hold is refused before the disk is full of it. Where a name stands twice the last one counts, as it does
for the programs that unpack. An archive within an archive is a member that nobody reads.
"""

from __future__ import annotations

import bz2
import errno
import gzip
import lzma
import re
import shutil
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple

from micdb.errors import DamagedFileError, ReadError

_ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
# What a packed .tar begins with.
_PACKED: dict[bytes, Any] = {b"\x1f\x8b": gzip, b"BZh": bz2, b"\xfd7zXZ\x00": lzma}
# Deflate reaches 1032 and xz some 7000 times; micrographs stay below 20, blank ones below 1100.
_RATIO = 1100
_ROOM = 1 << 30  # [byte] left free on the disk
_LIMIT = 200_000  # members; more are a hostile file
_HEADER = 512  # [byte] that every member takes
_TEXTS = (b"L", b"K", b"x", b"g", b"X")  # kinds of tar headers that hold names and times of a file
_LONGEST = 1 << 20  # [byte] of such a header
_COPY = 1 << 20  # [byte] copied at a time
_BROKEN = (
    zipfile.BadZipFile,
    tarfile.TarError,
    lzma.LZMAError,
    zlib.error,
    struct.error,
    EOFError,
    LookupError,
    MemoryError,  # a dictionary of several GB
    OverflowError,
    ValueError,
)
# Of the operating system, but the fault of an archive: its names, and places it points to.
_ITS_FAULT = (
    None,
    errno.EINVAL,
    errno.ENAMETOOLONG,
    errno.EEXIST,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EILSEQ,
)

Opener = Callable[[], IO[bytes]]


class Member(NamedTuple):
    """One regular file of an archive.

    Parameters
    ----------
    name
        Its path inside, parted by ``/``, without any part that leads out.
    size
        Length [byte], as the archive claims.
    """

    name: str
    size: int


def is_archive(path: Path) -> bool:
    """Return whether a file has an archive's name and an archive's first bytes."""
    if not path.name.lower().endswith(_ENDINGS):
        return False
    try:
        with path.open("rb") as stream:
            head = stream.read(6)
        return head[:4] in _ZIP or head.startswith(tuple(_PACKED)) or tarfile.is_tarfile(path)
    except (OSError, *_BROKEN):
        return False


def members(path: Path) -> list[Member]:
    """Return the regular files of an archive, in its order; nothing is unpacked.

    Raises
    ------
    DamagedFileError
        It is broken, or claims more than it can hold.
    ReadError
        It is encrypted, or cannot be opened.
    """
    with _reported(path):
        return list({member.name: member for member, _ in _walk(path)}.values())


def unpack(path: Path, folder: Path) -> dict[str, Path]:
    """Unpack the regular files of an archive into a folder; return where each lies, by its name.

    Raises
    ------
    DamagedFileError
        It is broken, or claims more than it can hold.
    ReadError
        It is encrypted, cannot be opened, or the disk has no room for it.
    """
    places: dict[str, Path] = {}
    with _reported(path):
        for member, opener in _walk(path):
            free = shutil.disk_usage(folder).free
            if member.size > free - _ROOM:
                raise ReadError(
                    path, f"{member.name} takes {member.size} bytes, and the disk has {free} free; make room"
                )
            place = folder / member.name
            place.parent.mkdir(parents=True, exist_ok=True)
            with opener() as stream, place.open("wb") as target:
                _copy(stream, target, member)
            places[member.name] = place
    return places


def _copy(stream: IO[bytes], target: IO[bytes], member: Member) -> None:
    """Copy not more than was claimed: the claim was checked against the disk."""
    left = member.size
    while left and (block := stream.read(min(_COPY, left))):
        target.write(block)
        left -= len(block)
    if left or stream.read(1):
        raise zipfile.BadZipFile(f"{member.name} does not have the {member.size} bytes it claims")


def _walk(path: Path) -> Iterator[tuple[Member, Opener]]:
    """Yield each regular file and how to open it, which must happen before the next is asked for.

    What is claimed is added up on the way, also of what is left out: a packed .tar is read to its end.
    """
    stored = path.stat().st_size
    with path.open("rb") as stream:
        zipped = stream.read(4) in _ZIP
    total = 0
    for number, (member, opener) in enumerate((_walk_zip if zipped else _walk_tar)(path)):
        total += member.size + _HEADER
        if total > _RATIO * stored:
            raise DamagedFileError(
                path,
                f"it claims to hold {total} bytes or more, packed into {stored}: more than micrographs can "
                "be packed; unpack it by hand if it is genuine",
            )
        if number == _LIMIT:
            raise DamagedFileError(path, f"it holds more than {_LIMIT} files; unpack it by hand")
        name = _safe(member.name)
        if name is not None and opener is not None:
            yield Member(name, member.size), opener


def _walk_zip(path: Path) -> Iterator[tuple[Member, Opener | None]]:
    with zipfile.ZipFile(path) as file:
        for info in file.infolist():
            if info.flag_bits & 1:
                raise ReadError(path, "it is encrypted; unpack it with its password and ingest the folder")
            kind = (info.external_attr >> 16) & 0o170000
            regular = not info.is_dir() and kind in (0, 0o100000)
            yield Member(info.filename, info.file_size), partial(file.open, info) if regular else None


def _walk_tar(path: Path) -> Iterator[tuple[Member, Opener | None]]:
    with path.open("rb") as stream:
        head = stream.read(6)
    packing = next((module for magic, module in _PACKED.items() if head.startswith(magic)), None)
    if packing is None:
        with tarfile.open(path, "r:", tarinfo=_Header) as file:
            yield from _walk_headers(file)
        return
    # As a stream: seeking back would unpack it again and again. By the module of the packing, and to its very
    # end: there stands the checksum, which tarfile's own streams do not look at.
    with packing.open(path, "rb") as stream:
        with tarfile.open(fileobj=stream, mode="r|", tarinfo=_Header) as file:
            yield from _walk_headers(file)
        while rest := stream.read(_COPY):
            yield Member("", len(rest)), None


def _walk_headers(file: tarfile.TarFile) -> Iterator[tuple[Member, Opener | None]]:
    while (info := file.next()) is not None:
        file.members.clear()  # type: ignore[attr-defined]  # it would remember every header
        opener = partial(_extract, file, info) if info.isreg() else None
        yield Member(info.name, info.size), opener


class _Header(tarfile.TarInfo):
    """A tar header; one that asks for much memory, as a long name or as attributes, is refused."""

    def _proc_member(self, file: tarfile.TarFile) -> Any:
        if self.size > _LONGEST and self.type in _TEXTS:
            raise tarfile.ReadError(f"a header of {self.size} bytes")
        return super()._proc_member(file)  # type: ignore[misc]


def _extract(file: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    stream = file.extractfile(info)
    if stream is None:
        raise tarfile.ReadError(f"{info.name} has no content")
    return stream


def _safe(name: str) -> str | None:
    """Return a name that stays below the folder it is put into, or None for one that would not."""
    name = name.replace("\\", "/")
    if name.startswith("/") or re.match("[A-Za-z]:", name) or "\x00" in name:
        return None
    parts = PurePosixPath(name).parts
    if not parts or ".." in parts or parts[0] == "__MACOSX" or any(part.startswith(".") for part in parts):
        return None
    return "/".join(parts)


@contextmanager
def _reported(path: Path) -> Iterator[None]:
    """Turn what an archive does to those who unpack it into one error, without any temporary name."""
    try:
        yield
    except RuntimeError as error:  # a method of packing that is not known here, for one
        raise ReadError(path, f"the archive cannot be unpacked: {error}; unpack it by hand") from error
    except _BROKEN as error:
        said = str(error) or type(error).__name__
        raise DamagedFileError(path, f"the archive is broken or cut short: {said}") from error
    except OSError as error:
        if error.errno in _ITS_FAULT:
            reason = f"the archive is broken: {error.strerror or error}"
            raise DamagedFileError(path, reason) from error
        if error.filename == str(path):
            raise ReadError(path, f"the archive cannot be opened: {error.strerror}") from error
        raise  # the disk
