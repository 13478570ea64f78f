"""Frames into a chunked HDF5 dataset, one at a time, compressed by libdeflate.

HDF5's own deflate filter calls zlib, which takes more than twice as long as libdeflate for the same ratio
(docs/decisions/0006). A deflate stream is a deflate stream: the chunks written here are read back by every
HDF5 library. The bytes are those the shuffle and deflate filters of `micdb.store.layout.FILTERS` stand for.
"""

from __future__ import annotations

import h5py
import numpy as np

from micdb.store import layout


class ChunkWriter:
    """Writes the frames of one dataset in order.

    Parameters
    ----------
    group, name
        Where the dataset is made.
    shape
        ``(..., y, x)``, or ``(..., y, x, 3 or 4)`` for colour.
    dtype
        Of the numbers.
    colour
        Whether the last axis holds colour samples.
    """

    def __init__(
        self, group: h5py.Group, name: str, shape: tuple[int, ...], dtype: np.dtype, *, colour: bool
    ) -> None:
        self._chunk = layout.chunk_shape(shape, dtype.itemsize, colour=colour)
        self.dataset = group.create_dataset(
            name, shape, dtype, chunks=self._chunk, **layout.FILTERS, fillvalue=None
        )
        self._leading = shape[: -3 if colour else -2]

    def write(self, number: int, frame: np.ndarray) -> None:
        """Write frame `number` of the flattened leading axes: ``(y, x)``, or ``(y, x, 3 or 4)``."""
        where = tuple(int(i) for i in np.unravel_index(number, self._leading)) if self._leading else ()
        band = self._chunk[len(self._leading) :]
        for top in range(0, frame.shape[0], band[0]):
            rows = frame[top : top + band[0]]
            if rows.shape != band:  # HDF5 keeps whole chunks: what lies beyond the last row is never read
                rows = np.concatenate([rows, np.zeros((band[0] - len(rows), *band[1:]), frame.dtype)])
            place = (*where, top, *(0,) * (len(band) - 1))
            self.dataset.id.write_direct_chunk(place, _packed(rows))


def _packed(rows: np.ndarray) -> bytes:
    from imagecodecs import deflate_encode

    plain = np.ascontiguousarray(rows)
    size = plain.dtype.itemsize
    if size > 1:  # HDF5's shuffle: first all first bytes, then all second bytes, ...
        plain = np.ascontiguousarray(plain.reshape(-1).view(np.uint8).reshape(-1, size).T)
    return bytes(deflate_encode(plain.tobytes(), level=layout.LEVEL))
