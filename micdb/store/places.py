"""Where the bytes of an object lie, in a file of their own or in a pack, and how to open them.

An object may move into a pack between the moment its place is looked up and the moment it is opened. So a
place knows whom to ask again, and every reader opens through this module.
"""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import h5py

from micdb.errors import StoreError

# HDF5 copies a file image once more, Python's stream calls back for every read: docs/decisions/0009-packs.md
IMAGE_BYTES = 1 << 18  # [byte] up to this size the first is quicker

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Place:
    """Where the bytes of an object lie.

    Parameters
    ----------
    path
        The object's own file, or the pack that holds it.
    size
        Length of the object [byte]; None where it is a file and nobody asked.
    offset
        Where it begins in the pack [byte]; None where it is a file of its own.
    name
        Its name in the pack.
    again
        Looks the place up anew, for an object that moved since; None where nobody can.
    """

    path: Path
    size: int | None = None
    offset: int | None = None
    name: str | None = None
    again: Callable[[], Place | None] | None = field(default=None, repr=False, compare=False)

    def __str__(self) -> str:
        return str(self.path) if self.offset is None else f"{self.path} (member {self.name})"

    def __reduce__(self) -> tuple[Any, ...]:
        # Another process cannot use this one's connection; what it reads at once needs none.
        return Place, (self.path, self.size, self.offset, self.name)

    @property
    def packed(self) -> bool:
        """Whether the object lies in a pack."""
        return self.offset is not None

    @property
    def url(self) -> str:
        """The absolute path, or of a packed object the URL by which fsspec opens it."""
        path = self.path.resolve()
        return f"tar://{self.name}::{path}" if self.packed else str(path)


@contextmanager
def opened(place: Path | Place) -> Iterator[BinaryIO]:
    """Open the bytes of an object for reading.

    Raises
    ------
    FileNotFoundError
        Its file, or its pack, is not there.
    StoreError
        The pack is shorter than it must be.
    """
    with _found(place, _stream) as stream:
        yield stream


@contextmanager
def opened_hdf5(place: Path | Place) -> Iterator[h5py.File]:
    """Open an object that is an HDF5 file.

    Raises
    ------
    OSError
        Its file, or its pack, is not there, or it is no HDF5.
    StoreError
        The pack is shorter than it must be.
    """
    with _found(place, _hdf5) as file:
        yield file


@contextmanager
def as_file(place: Path | Place) -> Iterator[Path]:
    """Give an object as a file, for programs that take nothing else; of a packed one, a passing copy.

    Raises
    ------
    FileNotFoundError
        Its file, or its pack, is not there.
    StoreError
        The pack is shorter than it must be.
    """
    where = _found(place, _checked)
    if not where.packed:
        yield where.path
        return
    with tempfile.TemporaryDirectory(prefix="micdb-") as folder:
        path = Path(folder, str(where.name))
        path.write_bytes(_read(where))
        yield path


def _found(place: Path | Place, action: Callable[[Place], T]) -> T:
    """Return what `action` makes of a place; of one that moved meanwhile, of the new one."""
    where = place if isinstance(place, Place) else Place(place)
    try:
        return action(where)
    except FileNotFoundError:
        moved = where.again() if where.again is not None else None
        if moved is None or moved == where:
            raise
        return action(moved)


def _checked(place: Place) -> Place:
    place.path.stat()
    return place


def _stream(place: Place) -> BinaryIO:
    return io.BytesIO(_read(place)) if place.packed else place.path.open("rb")


def _hdf5(place: Place) -> h5py.File:
    if not place.packed:
        # Objects never change, and a lock would fail on a read-only disk.
        return h5py.File(place.path, "r", locking=False)
    content = _read(place)
    if len(content) <= IMAGE_BYTES:
        return h5py.File(h5py.h5f.open_file_image(content))
    return h5py.File(io.BytesIO(content), "r")


def _read(place: Place) -> bytes:
    """Return the bytes of a packed object."""
    size, offset = place.size or 0, place.offset or 0
    handle = os.open(place.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        content = os.pread(handle, size, offset)
    finally:
        os.close(handle)
    if len(content) != size:
        raise StoreError(
            f"{place}: the pack ends before byte {offset + size}; restore it from a backup; see: micdb fsck"
        )
    return content
