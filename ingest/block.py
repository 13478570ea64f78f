"""An uncompressed array inside a file, read when asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from micdb.errors import DamagedFileError
from micdb.records import Pixels

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True)
class Block:
    """A rectangle of numbers at a known place of a file.

    Parameters
    ----------
    path
        The file.
    offset
        Where the first number stands [byte].
    shape
        Shape in C order, last axis fastest.
    dtype
        numpy dtype as stored, byte order included: ``>f4``.
    flip
        Axes to reverse, so that row 0 is the top and column 0 the left of the image.
    """

    path: Path
    offset: int
    shape: tuple[int, ...]
    dtype: str
    flip: tuple[int, ...] = ()

    def load(self) -> np.ndarray:
        """Return the array in native byte order.

        Raises
        ------
        DamagedFileError
            The file ends before the array does.
        """
        import numpy as np

        count = math.prod(self.shape)
        stored = np.fromfile(self.path, dtype=self.dtype, count=count, offset=self.offset)
        if stored.size < count:
            end = self.offset + stored.nbytes
            raise DamagedFileError(
                self.path, f"the file ends after {stored.size} of {count} pixels", offset=end
            )
        array = np.flip(stored.reshape(self.shape), self.flip)
        return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))

    def load_frame(self, number: int) -> np.ndarray:
        """Return one ``(y, x)`` plane of the flattened leading axes; `flip` must not touch those."""
        import numpy as np

        plane = self.shape[-2:]
        leading = len(self.shape) - 2
        size = math.prod(plane) * np.dtype(self.dtype).itemsize
        flip = tuple(axis - leading for axis in self.flip)
        return Block(self.path, self.offset + number * size, plane, self.dtype, flip).load()

    def pixels(self) -> Pixels:
        """Return the array as unread `Pixels`."""
        import numpy as np

        load_frame = self.load_frame if len(self.shape) > 2 else None
        return Pixels(self.shape, np.dtype(self.dtype).name, self.load, load_frame)
