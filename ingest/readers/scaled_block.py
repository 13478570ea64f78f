"""Integers of a scanning-probe file as the physical quantity they stand for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from micdb.ingest.block import Block
from micdb.records import Pixels

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True)
class ScaledBlock:
    """One plane ``stored * factor + offset``, as float64: a float32 would round 32-bit integers.

    Parameters
    ----------
    block
        The plane ``(y, x)`` as stored.
    factor, offset
        Both in the unit of the result.
    """

    block: Block
    factor: float
    offset: float = 0.0

    def load(self) -> np.ndarray:
        """Return the scaled plane."""
        import numpy as np

        scaled: np.ndarray = self.block.load() * np.float64(self.factor)
        return scaled + self.offset

    def pixels(self) -> Pixels:
        """Return the plane as unread `Pixels`."""
        return Pixels(self.block.shape, "float64", self.load)
