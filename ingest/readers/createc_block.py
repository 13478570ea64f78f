"""One image out of the block of a Createc file, read without holding the others."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from micdb.errors import DamagedFileError
from micdb.records import Pixels

if TYPE_CHECKING:
    import numpy as np

DEFLATE_RATIO = 1040  # deflate expands one byte into 1032 at most

_CHUNK = 1 << 16  # [byte] read at once
_PIECE = 1 << 22  # [byte] inflated at once


@dataclass(frozen=True, slots=True)
class Plane:
    """An image of DAC units and what one of them is worth.

    Parameters
    ----------
    path
        The file.
    start
        Where the block begins [byte].
    deflated
        Whether the block is a zlib stream.
    skip
        Bytes of the (inflated) block before the first pixel.
    shape
        ``(y, x)``.
    dtype
        numpy dtype as stored.
    factor
        Worth of a DAC unit; None leaves the numbers as stored.
    """

    path: Path
    start: int
    deflated: bool
    skip: int
    shape: tuple[int, int]
    dtype: str
    factor: float | None

    def load(self) -> np.ndarray:
        """Return the image, float32 where it has a factor.

        Raises
        ------
        DamagedFileError
            The block ends before the image does, or is no zlib stream.
        """
        import numpy as np

        size = math.prod(self.shape) * np.dtype(self.dtype).itemsize
        content = self._inflated(size) if self.deflated else self._stored(size)
        if len(content) < size:
            reason = f"the image ends after {len(content)} of {size} bytes"
            raise DamagedFileError(self.path, reason, reader="createc", offset=self.path.stat().st_size)
        array = np.frombuffer(content, self.dtype).reshape(self.shape)
        if self.factor is not None:
            return (array * np.float64(self.factor)).astype(np.float32)
        return array.astype(np.dtype(self.dtype).newbyteorder("="))

    def pixels(self) -> Pixels:
        """Return the image as unread `Pixels`."""
        import numpy as np

        dtype = np.dtype(self.dtype).name if self.factor is None else "float32"
        return Pixels(self.shape, dtype, self.load)

    def _stored(self, size: int) -> bytes:
        with self.path.open("rb") as stream:
            stream.seek(self.start + self.skip)
            return stream.read(size)

    def _inflated(self, size: int) -> bytearray:
        """Inflate up to the end of the image, piece by piece, and keep only the image."""
        engine = zlib.decompressobj()
        kept = bytearray()
        before = self.skip
        with self.path.open("rb") as stream:
            stream.seek(self.start)
            while len(kept) < size and not engine.eof:
                chunk = engine.unconsumed_tail or stream.read(_CHUNK)
                try:
                    piece = engine.decompress(chunk, _PIECE)
                except zlib.error as error:
                    reason = f"the compressed block is broken ({error})"
                    raise DamagedFileError(
                        self.path, reason, reader="createc", offset=stream.tell()
                    ) from error
                if not chunk and not piece:
                    break
                kept += piece[before : before + size - len(kept)]
                before = max(before - len(piece), 0)
        return kept
