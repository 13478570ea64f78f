"""Packs: many small objects in one plain tar file, each at a known offset, each still what its hash says.

A pack is POSIX ustar without compression: for each member a header of 512 bytes, then the bytes of the
object, filled up to a multiple of 512; two empty blocks at the end. ``tar xf`` takes it apart. The same
members in the same order give the same pack. docs/decisions/0009-packs.md says why.

References
----------
IEEE Std 1003.1, pax, "ustar Interchange Format".
"""

from __future__ import annotations

import hashlib
import os
import tarfile
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import BinaryIO, NamedTuple, Self

from micdb.errors import StoreError

BLOCK = 512  # [byte] of a tar file
MODE = 0o444
_PIECE = 1 << 20  # [byte]


class Member(NamedTuple):
    """What a pack says stands before an offset: name and length [byte]."""

    name: str
    size: int


def member_name(path: str) -> str:
    """Return the name of an object in a pack: the last part of its path, ``<sha256>.nxs``."""
    return PurePosixPath(path).name


class PackWriter:
    """Writes one pack; use it as a context manager.

    Parameters
    ----------
    path
        File to write; an existing one is replaced.
    """

    def __init__(self, path: Path) -> None:
        self._file: BinaryIO = path.open("wb")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._file.write(bytes(2 * BLOCK))
        finally:
            self._file.close()

    @property
    def size(self) -> int:
        """Length so far [byte]."""
        return self._file.tell()

    def add(self, name: str, source: BinaryIO, *, size: int, sha256: str) -> int | None:
        """Copy an object into the pack and return where it begins.

        None, and the pack as before, when `source` does not hold what the hash promises.

        Parameters
        ----------
        name
            From `member_name`, at most 100 characters.
        source
            The bytes.
        size, sha256
            What they must be.
        """
        before = self._file.tell()
        info = tarfile.TarInfo(name)
        info.size, info.mode, info.mtime = size, MODE, 0
        self._file.write(info.tobuf(tarfile.USTAR_FORMAT))
        offset, digest = self._file.tell(), hashlib.sha256()
        while piece := source.read(_PIECE):
            digest.update(piece)
            self._file.write(piece)
        if self._file.tell() - offset != size or digest.hexdigest() != sha256:
            self._file.seek(before)
            self._file.truncate()
            return None
        self._file.write(bytes(-size % BLOCK))
        return offset


def read_member(handle: int, offset: int) -> Member | None:
    """Return what the header before an offset says; None where there is no header.

    Parameters
    ----------
    handle
        Descriptor of an open pack.
    offset
        Where the bytes of an object are said to begin.
    """
    if offset < BLOCK:
        return None
    try:
        info = tarfile.TarInfo.frombuf(os.pread(handle, BLOCK, offset - BLOCK), "ascii", "surrogateescape")
    except tarfile.HeaderError:
        return None
    return Member(info.name, info.size)


def read_members(path: Path) -> dict[str, tuple[int, int]]:
    """Return offset and length [byte] of every member of a pack by name, read from the pack alone.

    Raises
    ------
    StoreError
        The file is missing, or no tar file.
    """
    try:
        with tarfile.open(path, "r:") as pack:
            return {info.name: (info.offset_data, info.size) for info in pack}
    except (OSError, tarfile.TarError) as error:
        raise StoreError(f"{path} is no readable pack: {error}; see: micdb fsck --deep") from error
