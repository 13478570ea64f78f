"""The images of an ND2 file: how they lie in their chunks, and which step of which loop each one is."""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from micdb.errors import DamagedFileError, ReadError
from micdb.ingest.bombs import is_bomb
from micdb.ingest.readers.nd2_chunks import Chunks, Place

if TYPE_CHECKING:
    import numpy as np

_STAMP = 8  # [byte] of the time before the pixels of every image
_DTYPES = {8: "uint8", 16: "uint16", 32: "float32"}  # bits in memory -> numpy
_LOSSLESS, _LOSSY = 0, 1  # eCompression; anything else is none


class Layout(NamedTuple):
    """How one image with all its channels is stored: rows of pixels of components.

    Parameters
    ----------
    height, width
        [pixel]
    components
        Numbers per pixel: one per channel, three for a colour channel.
    dtype
        Of each number.
    row
        From the start of one row to the next [byte].
    packed
        Whether each image is a zlib block.
    """

    height: int
    width: int
    components: int
    dtype: str
    row: int
    packed: bool

    @classmethod
    def read(cls, path: Path, attributes: Mapping[str, Any]) -> Layout:
        """Return the layout that the attributes describe, or refuse them."""
        keys = ("uiHeight", "uiWidth", "uiComp", "uiBpcInMemory", "uiWidthBytes")
        try:
            height, width, components, bits, row = (int(attributes[key]) for key in keys)
            compression = int(attributes.get("eCompression", 2))
        except (KeyError, TypeError, ValueError) as error:
            raise DamagedFileError(
                path, f"the image attributes are damaged ({error})", reader="nd2"
            ) from error
        if compression == _LOSSY:
            reason = "the images are compressed with loss, which cannot be read; save them again without"
            raise ReadError(path, reason, reader="nd2")
        if min(height, width, components) < 1 or bits not in _DTYPES or row < width * components * bits // 8:
            shown = f"{height} x {width} pixels of {components} x {bits} bits in rows of {row} bytes"
            raise DamagedFileError(path, f"the image attributes describe no image: {shown}", reader="nd2")
        return cls(height, width, components, _DTYPES[bits], row, compression == _LOSSLESS)

    @property
    def size(self) -> int:
        """From the first pixel of an image to its last [byte]."""
        import numpy as np

        return (self.height - 1) * self.row + self.width * self.components * np.dtype(self.dtype).itemsize


def places(chunks: Chunks, layout: Layout) -> list[Place]:
    """Return where each image stands, in the order of acquisition; the chunks of all are looked at."""
    numbers = sorted(
        int(name[13:]) for name in chunks.headers if re.fullmatch(r"ImageDataSeq\|\d{1,9}", name)
    )
    if numbers != list(range(len(numbers))) or not numbers:
        lost = next((number for number, found in enumerate(numbers) if number != found), len(numbers))
        raise DamagedFileError(chunks.path, f"image {lost} is not in the map of chunks", reader="nd2")
    found = []
    for number in numbers:
        place = chunks.place(f"ImageDataSeq|{number}")
        if not layout.packed and place.length < _STAMP + layout.size:
            reason = f"image {number} has {place.length - _STAMP} bytes, its attributes promise {layout.size}"
            raise DamagedFileError(chunks.path, reason, reader="nd2", offset=place.start)
        found.append(Place(place.start + _STAMP, place.length - _STAMP))
    if sum(place.length for place in found) > chunks.path.stat().st_size:
        raise DamagedFileError(chunks.path, "images share their place in the file", reader="nd2")
    return found


class Loop(NamedTuple):
    """One loop of the experiment; the outermost comes first.

    Parameters
    ----------
    name
        ``time``, ``z``, ``position``, or ``loop``, ``frame``.
    steps
        Number of them.
    step
        Distance of planes in z [um], negative from the top down; None when unknown.
    stages
        Name, x [um] and y [um] of each position.
    """

    name: str
    steps: int
    step: float | None = None
    stages: Sequence[tuple[str, float, float]] = ()


def arrange(loops: Sequence[Loop], found: int, problems: list[str]) -> list[Loop]:
    """Return loops that explain exactly the images that are there, or the first of them.

    An experiment that was stopped keeps its complete rounds of the outermost loop. Where loops do not
    explain the images, they are one row of frames.
    """
    planned = math.prod(loop.steps for loop in loops)
    names = [loop.name for loop in loops]
    if planned == found and len(set(names)) == len(names):
        return list(loops)
    rounds = found * loops[0].steps // planned if loops and 0 < found < planned else 0
    if rounds and len(set(names)) == len(names):
        problems.append(
            f"the experiment was stopped: {rounds} of {loops[0].steps} rounds ({names[0]}) are complete, "
            f"{found} of {planned} images"
        )
        return [loops[0]._replace(steps=rounds), *loops[1:]]
    shown = " x ".join(f"{loop.steps} {loop.name}" for loop in loops) or "one image"
    problems.append(f"which image is which is unknown: there are {found}, the experiment describes {shown}")
    return [Loop("frame", found)]


@dataclass(frozen=True, slots=True)
class Images:
    """Some components of some images, read when asked for.

    Parameters
    ----------
    path
        The file.
    layout
        Of every image.
    places
        Of the images, in order.
    shape
        Sizes of the leading axes.
    first, components
        Which of them: one, or three that stand as blue, green, red.
    """

    path: Path
    layout: Layout
    places: tuple[Place, ...]
    shape: tuple[int, ...]
    first: int
    components: int

    def load(self) -> np.ndarray:
        """Return all images."""
        import numpy as np

        images = np.stack([self.load_frame(number) for number in range(len(self.places))])
        return images.reshape(*self.shape, *images.shape[1:])

    def load_frame(self, number: int) -> np.ndarray:
        """Return one image."""
        import numpy as np

        start, length = self.places[number]
        layout = self.layout
        with self.path.open("rb") as stream:
            stream.seek(start)
            content = stream.read(length if layout.packed else layout.size)
        if layout.packed:
            if is_bomb(layout.height * layout.row, length):
                reason = f"image {number} claims {layout.height * layout.row} bytes, packed into {length}"
                raise DamagedFileError(self.path, reason, reader="nd2", offset=start)
            content = zlib.decompressobj().decompress(content, layout.height * layout.row)
        if len(content) < layout.size:
            reason = f"image {number} has {len(content)} of {layout.size} bytes"
            raise DamagedFileError(self.path, reason, reader="nd2", offset=start)
        item = np.dtype(layout.dtype).newbyteorder("<")
        image: np.ndarray = np.ndarray(
            (layout.height, layout.width, layout.components), item, content,
            strides=(layout.row, layout.components * item.itemsize, item.itemsize),
        )  # fmt: skip
        if self.components == 3:
            image = image[:, :, self.first : self.first + 3][:, :, ::-1]
        else:
            image = image[:, :, self.first]
        return np.ascontiguousarray(image, dtype=layout.dtype)
