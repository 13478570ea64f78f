"""Files of ``indexes/``: derived arrays with the water-mark that says what is in them.

::

    MAGIC | arrays, each at a multiple of 64 byte | header, JSON | length and sha256 of the header | MAGIC

The header stands last, so that arrays are written as they come. It names what the arrays are of (run,
table, space, dimension), which parts are in them, the number of the newest event they can contain, and for
each array its type, shape, place and checksum. A file that differs from its header in any way is refused.
It can be made again from the parts, so nothing in it is ever needed.

A file is written in ``staging/`` and renamed: whoever has the old one mapped goes on reading it.
"""

from __future__ import annotations

import json
import mmap
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from micdb.errors import StoreError
from micdb.store.files import fsync_file, make_folder, move
from micdb.store.staging import discard, stage

INDEXES = "indexes"
SUFFIX = ".idx"
MAGIC = b"micdbIDX"
FORMAT_VERSION = 1  # a file of another version is made again
ALIGN = 64  # [byte] a cache line
VECTORS = "vectors"  # kind of the file with the decoded vectors; the other kinds belong to its rows
TUNING = "tuning"  # kind of the file with what was measured on this machine
_TAIL = struct.Struct("<Q32s8s")  # length and sha256 of the header, MAGIC
_BLOCK = 1 << 24  # [byte] read at a time when a checksum is taken


class Blocks(NamedTuple):
    """An array that is written piece by piece.

    Parameters
    ----------
    dtype, shape
        Of the whole.
    pieces
        Consecutive parts along the first axis.
    """

    dtype: str
    shape: tuple[int, ...]
    pieces: Iterable[np.ndarray]


@dataclass(frozen=True, slots=True)
class IndexFile:
    """An open index file.

    Parameters
    ----------
    path
        Where it lay when it was opened.
    about
        The header without the places of arrays.
    arrays
        Read-only views of the mapped file.
    """

    path: Path
    about: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray]


def index_path(root: Path, run: str, table: str, space: str, kind: str) -> Path:
    """Return where an index lies: ``indexes/<run>.<table>.<hash of the space's name>.<kind>.idx``.

    Parameters
    ----------
    root
        Database folder.
    run
        ``uid`` of the run.
    table, space
        Table of parts and name of the space.
    kind
        `VECTORS` or the name of an index.
    """
    return root / INDEXES / f"{run}.{table}.{sha256(space.encode()).hexdigest()[:16]}.{kind}{SUFFIX}"


def beside(path: Path, kind: str) -> Path:
    """Return where an index of another kind over the same space lies."""
    return path.with_name(f"{path.name.removesuffix(SUFFIX).rpartition('.')[0]}.{kind}{SUFFIX}")


def write_index(
    root: Path, target: Path, about: Mapping[str, Any], arrays: Mapping[str, np.ndarray | Blocks]
) -> None:
    """Write an index file in one step that a crash cannot halve; an older one is replaced.

    Parameters
    ----------
    root
        Database folder.
    target
        From `index_path`.
    about
        JSON values for the header.
    arrays
        What to keep.

    Raises
    ------
    OSError
        The folder cannot be written; nothing is left behind.
    """
    make_folder(target.parent)
    staged = stage(root, SUFFIX)
    try:
        with staged.open("wb") as file:
            _write(file, about, arrays)
        fsync_file(staged)
        move(staged, target)
    finally:
        discard(root, [staged])


def read_index(path: Path, *, unchecked: Iterable[str] = ()) -> IndexFile:
    """Open an index file; its arrays stay on the disk until they are read.

    Parameters
    ----------
    path
        The file.
    unchecked
        Arrays whose checksum is not compared: those too large to be read for it.

    Raises
    ------
    StoreError
        There is no such file, or it is damaged.
    """
    try:
        with path.open("rb") as file:
            whole = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:  # ValueError: an empty file cannot be mapped
        raise StoreError(f"{path} cannot be read ({error}); make it again with: micdb index") from error
    header = _header(path, whole)
    skipped = set(unchecked)
    arrays = {}
    for name, place in header.pop("arrays").items():
        arrays[name] = _array(path, whole, place)
        if name not in skipped and _checksum(arrays[name]) != place["crc32"]:
            raise _damaged(path, f"the array {name} has another checksum than was written")
    return IndexFile(path, header, arrays)


def _write(file: IO[bytes], about: Mapping[str, Any], arrays: Mapping[str, np.ndarray | Blocks]) -> None:
    file.write(MAGIC)
    places = {}
    for name, array in arrays.items():
        file.write(b"\0" * (-file.tell() % ALIGN))
        offset, crc, rows = file.tell(), 0, 0
        shape = array.shape
        for piece in array.pieces if isinstance(array, Blocks) else (array,):
            made = np.ascontiguousarray(piece, dtype=array.dtype)
            crc, rows = zlib.crc32(_bytes(made), crc), rows + len(made)
            file.write(_bytes(made))
        if rows != shape[0]:
            raise ValueError(f"{name} was announced with {shape[0]} rows and has {rows}")
        dtype = np.dtype(array.dtype).str
        places[name] = {"dtype": dtype, "shape": list(shape), "offset": offset, "crc32": crc}
    text = json.dumps({**about, "version": FORMAT_VERSION, "arrays": places}, sort_keys=True).encode()
    file.write(text)
    file.write(_TAIL.pack(len(text), sha256(text).digest(), MAGIC))


def _header(path: Path, whole: mmap.mmap) -> dict[str, Any]:
    if len(whole) < len(MAGIC) + _TAIL.size or whole[: len(MAGIC)] != MAGIC:
        raise _damaged(path, "it does not begin as an index file does")
    length, digest, magic = _TAIL.unpack(whole[-_TAIL.size :])
    begin = len(whole) - _TAIL.size - length
    if magic != MAGIC or begin < len(MAGIC):
        raise _damaged(path, "it does not end as an index file does: it was cut")
    text = whole[begin : begin + length]
    if sha256(text).digest() != digest:
        raise _damaged(path, "the checksum of its header is wrong")
    header: dict[str, Any] = json.loads(text)
    if header["version"] != FORMAT_VERSION:
        raise _damaged(path, f"it has version {header['version']}, this micdb reads {FORMAT_VERSION}")
    return header


def _array(path: Path, whole: mmap.mmap, place: Mapping[str, Any]) -> np.ndarray:
    dtype, shape, offset = np.dtype(place["dtype"]), tuple(place["shape"]), place["offset"]
    count = int(np.prod(shape, dtype=np.int64))
    if offset + count * dtype.itemsize > len(whole):
        raise _damaged(path, "an array reaches beyond its end")
    return np.frombuffer(whole, dtype, count, offset).reshape(shape)


def _checksum(array: np.ndarray) -> int:
    crc = 0
    for piece in _pieces(_bytes(array)):
        crc = zlib.crc32(piece, crc)
    return crc


def _pieces(view: memoryview) -> Iterator[memoryview]:
    for start in range(0, len(view), _BLOCK):
        yield view[start : start + _BLOCK]


def _bytes(array: np.ndarray) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def _damaged(path: Path, what: str) -> StoreError:
    return StoreError(f"{path} is damaged: {what}; it is derived: make it again with: micdb index")
