"""DigitalMicrograph's image data types: how pixels are stored, and what they are when unpacked.

The numbers are Gatan's (``ImageGetDataType`` of the scripting language; "*.dm5 documentation"). Three kinds
are stored in another shape or type than they have:

- Colour (8, 23) is a 32-bit number 0x00RRGGBB, so B, G, R and an unused byte on PCs. The line colour tags of
  a document and the pixels of its preview agree on this.
- Binary (14) is one byte for each pixel.
- The Fourier transform of a real image (5, 27, 28) is Hermitian, F(-k) = conj F(k), and half of it is stored.
  27 and 28 hold the columns kx = 0 .. width // 2 of the plane whose origin stands at (height // 2,
  width // 2). 5, of DigitalMicrograph 2 and 3, holds as many real numbers as the image has pixels: column
  pair kx of row y is F there for kx > 0, and pair 0, where F(0, ky) needs only half its rows, has the other
  half filled with the column of the highest frequency (C. Boothroyd, "Digital Micrograph file format").
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from micdb.ingest.block import Block

if TYPE_CHECKING:
    import numpy as np

#: DataType tag -> numpy type of one stored number, without byte order.
STORED = {
    1: "i2", 2: "f4", 3: "c8", 5: "f4", 6: "u1", 7: "i4", 8: "u4", 9: "i1", 10: "u2", 11: "u4", 12: "f8",
    13: "c16", 14: "u1", 23: "u4", 27: "c8", 28: "c16", 39: "i8", 40: "u8",
}  # fmt: skip
COLOUR = (8, 23)
BINARY = 14
#: Half of the Fourier transform of a real image.
HALF_PLANE = (27, 28)
HALF_PLANE_AS_REAL = 5
FOURIER = (HALF_PLANE_AS_REAL, *HALF_PLANE)


def stored_shape(data_type: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of the stored array, for an image of `shape` (colour samples not counted)."""
    return (*shape[:-1], shape[-1] // 2 + 1) if data_type in HALF_PLANE else shape


def shown_dtype(data_type: int) -> str:
    """Return the numpy dtype of the pixels that `unpack` gives."""
    if data_type in COLOUR:
        return "uint8"
    if data_type == HALF_PLANE_AS_REAL:
        return "complex64"
    if data_type == BINARY:
        return "bool"
    return {"i": "int", "u": "uint", "f": "float", "c": "complex"}[STORED[data_type][0]] + str(
        8 * int(STORED[data_type][1:])
    )


def unpack(stored: np.ndarray, data_type: int, width: int) -> np.ndarray:
    """Return pixels as DigitalMicrograph shows them.

    Parameters
    ----------
    stored
        ``(..., y, x)`` as `stored_shape` says, in native byte order.
    data_type
        The DataType tag.
    width
        Number of columns of the image.

    Returns
    -------
    array
        ``(..., y, width)``, or ``(..., y, width, 3)`` for colour.
    """
    import numpy as np

    if data_type in COLOUR:
        samples = stored.astype("<u4").view(np.uint8).reshape(*stored.shape, 4)
        return np.ascontiguousarray(samples[..., 2::-1])
    if data_type == BINARY:
        return stored.astype(np.bool_)
    if data_type == HALF_PLANE_AS_REAL:
        stored = _half_plane(stored)
    return _hermitian(stored, width) if data_type in FOURIER else stored


def _half_plane(stored: np.ndarray) -> np.ndarray:
    """Turn real numbers ``(..., n, n)``, n even, into the half plane ``(..., n, n // 2 + 1)``."""
    import numpy as np

    pairs = np.ascontiguousarray(stored, np.float32).view(np.complex64)
    middle = stored.shape[-2] // 2
    half = np.empty((*pairs.shape[:-1], middle + 1), np.complex64)
    half[..., 1:middle] = pairs[..., 1:]
    first = pairs[..., 0]
    # Rows above the middle hold the last column, those below the first; each is real at its two ends.
    for column, ends, rest in ((0, middle, first[..., middle + 1 :]), (middle, 0, first[..., 1:middle])):
        half[..., middle, column] = first[..., ends].real
        half[..., 0, column] = first[..., ends].imag
        half[..., middle + 1 :, column] = rest
        half[..., 1:middle, column] = rest[..., ::-1].conj()
    return half


def _hermitian(half: np.ndarray, width: int) -> np.ndarray:
    """Complete the columns kx = 0 .. width // 2 of a Fourier transform by F(-k) = conj F(k)."""
    import numpy as np

    height, centre = half.shape[-2], width // 2
    plane = np.empty((*half.shape[:-1], width), half.dtype)
    plane[..., centre:] = half[..., : width - centre]
    mirrored = (2 * (height // 2) - np.arange(height)) % height
    plane[..., :centre] = half[..., mirrored, 1 : centre + 1].conj()[..., ::-1]
    if width % 2 == 0:
        plane[..., 0] = half[..., centre]  # the highest frequency is its own mirror image in x
    return plane


@dataclass(frozen=True, slots=True)
class StoredImage:
    """Pixels of a DM3 or DM4 file: a block, to be unpacked."""

    block: Block
    data_type: int
    width: int

    def load(self) -> np.ndarray:
        """Return all pixels."""
        return unpack(self.block.load(), self.data_type, self.width)

    def load_frame(self, number: int) -> np.ndarray:
        """Return one image of the flattened leading axes."""
        return unpack(self.block.load_frame(number), self.data_type, self.width)


def stored_bytes(data_type: int, shape: tuple[int, ...]) -> int:
    """Return the length of the pixels in a DM3 or DM4 file [byte]."""
    return math.prod(stored_shape(data_type, shape)) * int(STORED[data_type][1:])
