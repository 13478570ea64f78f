"""HDF5 opened so that a damaged or hostile file can neither hang nor crash its library.

Measured with HDF5 2.0 on 12,000 mutants of real files: whatever hung did so while a *global heap*, where text
of variable length is kept, was decoded, for an object whose damaged size leads nowhere. So HDF5 gets files
through a Python stream that follows every heap before HDF5 sees it (File Format Specification 3.0, III.E). It
also takes out references to texts (IV.B) of more than 256 MB: HDF5 allocates what they claim, up to 4 GB.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from micdb.errors import DamagedFileError

if TYPE_CHECKING:
    import h5py

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_USER_BLOCKS = (0, 512, 1024, 2048)  # [byte] where the signature may stand; a head of 4096 shows no more
_HEAP = b"GCOL"
# The last byte of a length from 2^28 on, the address of a heap below 2^48, and the number of an object in it.
_REFERENCE = re.compile(rb"[\x10-\xff](?=(.{6}\0\0).{4})", re.DOTALL)
_MARGIN = 15  # [byte] a reference or signature may lie across the border of two reads
_METADATA_READ = 1 << 16  # [byte] longer reads are pixels; the first read of a heap is 4096


def signed(head: bytes) -> bool:
    """Return whether a file with this head is HDF5, with or without a user block before it."""
    return any(head.startswith(_SIGNATURE, start) for start in _USER_BLOCKS)


@contextmanager
def opened(path: Path, *, strict: bool = False) -> Iterator[h5py.File]:
    """Open for reading, every global heap checked before HDF5 decodes it.

    Parameters
    ----------
    strict
        Raise at the end when a damaged heap was met: for files that another library is to open afterwards.
        Without it, the text that lies in the heap is unknown and the rest can be read.

    Raises
    ------
    DamagedFileError
        HDF5 cannot open it, or see `strict`.
    """
    import h5py
    import hdf5plugin  # noqa: F401 - teaches HDF5 the bitshuffle, blosc and zstd that others write

    with _Checked(path) as stream:
        try:
            file = h5py.File(stream, "r")
        except (OSError, RuntimeError, ValueError, KeyError) as error:
            said = re.sub(r"\s+", " ", str(error))
            raise DamagedFileError(path, f"HDF5 cannot open it: {said}", reader="hdf5") from error
        with file:
            yield file
        if strict and stream.damage:
            raise DamagedFileError(path, stream.damage, reader="hdf5")


class _Checked(io.RawIOBase):
    """The bytes of a file, with every global heap looked through before they are handed on."""

    def __init__(self, path: Path) -> None:
        self._stream = path.open("rb", buffering=0)
        self._size = os.fstat(self._stream.fileno()).st_size
        self._at = 0
        head = self._bytes(0, _USER_BLOCKS[-1] + len(_SIGNATURE))
        self._base = next((at for at in _USER_BLOCKS if head.startswith(_SIGNATURE, at)), 0)  # of addresses
        self._looked_at: dict[int, str | None] = {}  # address of a heap -> its damage
        self.damage: str | None = None  # of a heap that was not handed on

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        wanted = len(buffer)
        start = max(0, self._at - _MARGIN)
        around = bytearray(self._bytes(start, self._at - start + wanted + _MARGIN))
        if wanted <= _METADATA_READ:
            self._take_out_references(around)
            for found in re.finditer(_HEAP, bytes(around)):
                if not self._is_sound(start + found.start()):
                    # Without its signature HDF5 refuses the heap, and what it was reading beside it is read.
                    around[found.start() : found.end()] = bytes(len(_HEAP))
        own = around[self._at - start :][:wanted]
        buffer[: len(own)] = own
        self._at += len(own)
        return len(own)

    def _take_out_references(self, around: bytearray) -> None:
        for found in _REFERENCE.finditer(bytes(around)):
            address = int.from_bytes(found[1], "little")
            inside = 0 < address < self._size and address % 8 == 0
            if inside and self._bytes(self._base + address, len(_HEAP)) == _HEAP:
                around[found.start()] = 0
                around[found.start() + 1 : found.start() + 9] = b"\xff" * 8  # HDF5 calls this undefined

    def close(self) -> None:
        self._stream.close()
        super().close()

    def _bytes(self, start: int, count: int) -> bytes:
        self._stream.seek(start)
        return self._stream.read(count) or b""

    def _is_sound(self, address: int) -> bool:
        """Follow the objects of a heap as HDF5 will, and return whether HDF5 would come to an end."""
        if address not in self._looked_at:
            self._looked_at[address] = self._damage_of(address)
        found = self._looked_at[address]
        self.damage = found or self.damage
        return found is None

    def _damage_of(self, address: int) -> str | None:
        head = self._bytes(address, 16)
        if len(head) < 16 or head[4] != 1:
            return None  # HDF5 refuses other versions itself
        size = int.from_bytes(head[8:16], "little")
        if not 16 <= size <= self._size - address:
            return f"the text heap at byte {address} claims {size} bytes, more than the file has"
        heap = self._bytes(address, size)
        place = 16
        while place + 16 <= size:
            number = int.from_bytes(heap[place : place + 2], "little")
            length = int.from_bytes(heap[place + 8 : place + 16], "little")
            step = 16 + -(-length // 8) * 8 if number else length  # number 0: free space, header included
            if step < 1 or length > size or place + step > size:
                return f"the text heap at byte {address} is damaged at byte {address + place}"
            place += step
        return None
