"""Frames of a TIFF series, read one by one where the file allows it.

Three cases, from cheap to dear: pixels that lie uncompressed and in one piece are read from their place;
pages are opened by the place of their directory, so that frame 10 000 costs no more than frame 0; arrays
that the library puts together from parts of pages are read whole.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from micdb.errors import DamagedFileError
from micdb.ingest.block import Block
from micdb.records import Pixels

if TYPE_CHECKING:
    import numpy as np

# Series whose pages stand in the file as they are; in others the library mends or makes up directories.
_PLAIN_KINDS = ("uniform", "generic", "shaped", "imagej", "ome", "sis")


@dataclass(frozen=True, slots=True, eq=False)
class Frames:
    """The frames of one scan.

    Parameters
    ----------
    path, series
        The file, and the number of the series in it.
    shape
        Shape of the scan: leading axes, y, x, and 3 or 4 samples if `colour`.
    dtype
        Native dtype of the scan.
    outer
        Sizes of the axes before those of a page, in the file's order.
    inner
        tifffile's letters for the axes of a page: ``YX``, ``YXS``, ``SYX``; empty where the array has to be
        read whole.
    channel, channel_axis
        Which channel, and its position among all axes of the series; None for none.
    stored
        dtype in the file, byte order included.
    place
        Where the pixels begin if they lie in one piece, else None.
    directories
        Places of the pages' directories; None where they cannot be opened by place.
    order
        Transposition of the whole series: leading axes, y, x, [colour], the channel axis first if any.
    palette
        Colour table ``(3, n)`` to apply.
    """

    path: Path
    series: int
    shape: tuple[int, ...]
    dtype: str
    colour: bool
    outer: tuple[int, ...]
    inner: str
    page_shape: tuple[int, ...]
    channel: int | None
    channel_axis: int | None
    stored: str
    place: int | None
    directories: np.ndarray | None
    order: tuple[int, ...]
    palette: np.ndarray | None

    def pixels(self) -> Pixels:
        """Return the scan as unread `Pixels`."""
        if not self._leading:
            return Pixels(self.shape, self.dtype, self.load)
        stream = self.stream if self.inner and self.place is None else None
        return Pixels(self.shape, self.dtype, self.load, self.load_frame, stream)

    @property
    def _leading(self) -> tuple[int, ...]:
        return self.shape[: -3 if self.colour else -2]

    def load(self) -> np.ndarray:
        """Return the whole scan."""
        import numpy as np

        if not self.inner:
            return self._whole()
        if not self._leading:
            return next(self.stream())
        array = np.empty((math.prod(self._leading), *self.shape[len(self._leading) :]), self.dtype)
        frames = self.stream() if self.place is None else map(self.load_frame, range(len(array)))
        for number, frame in enumerate(frames):
            array[number] = frame
        return array.reshape(self.shape)

    def load_frame(self, number: int) -> np.ndarray:
        """Return one frame of the flattened leading axes."""
        if not self.inner:
            whole = self._whole()
            frame: np.ndarray = whole.reshape(-1, *self.shape[len(self._leading) :])[number]
            return frame
        return next(self._read(iter((number,))))

    def stream(self) -> Iterator[np.ndarray]:
        """Yield every frame in order, the file opened once."""
        return self._read(iter(range(math.prod(self._leading))))

    def _read(self, numbers: Iterator[int]) -> Iterator[np.ndarray]:
        if self.place is not None:
            for number in numbers:
                yield self._finished(self._block(self._page_number(number)))
            return
        import numpy as np
        import tifffile

        with tifffile.TiffFile(self.path, _multifile=False) as file:
            for number in numbers:
                page = self._page(file, self._page_number(number))
                if page.shape != self.page_shape or page.dtype != np.dtype(self.stored).newbyteorder("="):
                    reason = f"page {number} is {page.dtype} {page.shape}, unlike those before it"
                    raise DamagedFileError(self.path, reason, reader="tiff")
                yield self._finished(page.asarray(maxworkers=1))

    def _page_number(self, number: int) -> int:
        """Return the position of frame `number` among the pages: channels stand between other axes."""
        import numpy as np

        index = list(np.unravel_index(number, self._leading)) if self._leading else []
        if self.channel is not None and self.channel_axis is not None and self.channel_axis < len(self.outer):
            index.insert(self.channel_axis, np.intp(self.channel))
        return int(np.ravel_multi_index(index, self.outer)) if self.outer else 0

    def _page(self, file: Any, number: int) -> Any:
        import tifffile

        if self.directories is None:
            return file.series[self.series].pages[number]
        file.filehandle.seek(int(self.directories[number]))
        return tifffile.TiffPage(file, index=number)

    def _block(self, number: int) -> np.ndarray:
        import numpy as np

        size = math.prod(self.page_shape) * np.dtype(self.stored).itemsize
        place = (self.place or 0) + number * size
        return Block(self.path, place, self.page_shape, self.stored).load()

    def _finished(self, page: np.ndarray) -> np.ndarray:
        import numpy as np

        if "S" in self.inner:
            samples = self.inner.index("S")
            page = (
                np.moveaxis(page, samples, -1) if self.colour else np.take(page, self.channel or 0, samples)
            )
        return self._typed(page)

    def _typed(self, array: np.ndarray) -> np.ndarray:
        import numpy as np

        if self.palette is not None:  # TIFF palettes have 16 bits
            array = np.moveaxis(self.palette[:, array] >> 8, 0, -1)
        return np.ascontiguousarray(array, dtype=self.dtype)

    def _whole(self) -> np.ndarray:
        import numpy as np
        import tifffile

        with tifffile.TiffFile(self.path, _multifile=False) as file:
            series = file.series[self.series]
            array = series.asarray(maxworkers=1).reshape(series.shape)
        array = np.transpose(array, self.order)
        return self._typed(array if self.channel is None else array[self.channel])


def series_layout(series: Any) -> dict[str, Any]:
    """Return what `Frames` needs to know of how tifffile found a series to be stored."""
    import numpy as np

    page = series.keyframe
    inner, outer, stored = page.axes, series.shape[: -len(page.shape) or None], series.dtype
    fits = series.axes.endswith(inner) and tuple(series.shape[len(outer) :]) == tuple(page.shape)
    bare = inner.replace("S", "") == "YX" and fits and series.transform is None
    place = series.dataoffset if bare and stored.kind != "b" else None
    directories = None
    pages = len(series.pages)
    if bare and place is None:
        bare = pages == math.prod(outer)
        places = [getattr(one, "offset", 0) for one in series.pages] if series.kind in _PLAIN_KINDS else [0]
        directories = np.array(places, dtype=np.int64) if min(places, default=0) > 0 else None
    return {
        "outer": tuple(outer),
        "inner": inner if bare else "",
        "page_shape": tuple(page.shape),
        "stored": stored.newbyteorder(page.parent.byteorder).str,
        "place": place,
        "directories": directories,
    }
