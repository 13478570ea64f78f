"""Pixels in an HDF5 dataset, read frame by frame whatever order and type the file keeps them in."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from micdb.records import Pixels

if TYPE_CHECKING:
    import h5py
    import numpy as np

_BLOCK = 1 << 26  # [byte] frames that are read together
_AT_ONCE = 16  # frames, where each has chunks of its own
_CACHE = (
    1 << 27
)  # [byte] of unpacked chunks; HDF5's own 1 MiB unpacks a chunk of many frames for each of them

_COMPLEX_FIELDS = re.compile(r"\A(?:r|i|re|im|real|imag)(?:Float\w*)?\Z", re.IGNORECASE)
_COLOUR_FIELDS = (
    ("r", "g", "b"),
    ("r", "g", "b", "a"),
    ("red", "green", "blue"),
    ("red", "green", "blue", "alpha"),
)


class Kind(NamedTuple):
    """What a stored type is as pixels: the dtype of the array, and the number of colour samples or 0."""

    dtype: str
    colour: int


def kind(stored: np.dtype[Any]) -> Kind | None:
    """Return what pixels a stored type makes, or None for text, sequences and unknown records.

    Records of a real and an imaginary part are complex numbers (Velox, old h5py), records of red, green and
    blue are colours.
    """
    names = stored.names
    if names is None:
        portable = stored.kind in "biufc" and stored.itemsize <= (16 if stored.kind == "c" else 8)
        return Kind(stored.newbyteorder("=").name, 0) if portable else None
    part = stored[0]
    if any(stored[name] != part for name in names) or part.kind not in "iuf" or part.itemsize > 8:
        return None
    if len(names) == 2 and all(_COMPLEX_FIELDS.match(name) for name in names):
        return Kind("complex128" if part.itemsize == 8 else "complex64", 0)
    if tuple(name.lower() for name in names) in _COLOUR_FIELDS:
        return Kind(part.newbyteorder("=").name, len(names))
    return None


@dataclass(frozen=True, slots=True)
class Stored:
    """The array of a dataset in our order of axes.

    Parameters
    ----------
    path
        The file.
    name
        Path of the dataset in it.
    order
        The file's dimensions in our order; those left out have one element. Colour samples that are a
        dimension of the file come last.
    leading
        How many of them come before ``y``.
    imaginary
        Dataset of the imaginary part, where the file keeps it apart.
    """

    path: Path
    name: str
    order: tuple[int, ...]
    leading: int
    imaginary: str | None = None

    def pixels(self, data: h5py.Dataset) -> Pixels:
        """Return the array as unread `Pixels`; `data` is the open dataset, of a known `kind`."""
        known = kind(data.dtype) or Kind("", 0)
        dtype = known.dtype if self.imaginary is None else _complex(known.dtype)
        shape = tuple(data.shape[position] for position in self.order)
        if known.colour:
            shape += (known.colour,)
        single = math.prod(shape[: self.leading]) == 1 and not self.leading
        return Pixels(
            shape, dtype, self.load, None if single else self.load_frame, None if single else self.stream
        )

    def load(self) -> np.ndarray:
        """Return the whole array."""
        with opened_pixels(self.path) as file:
            return self._read(file, {})

    def load_frame(self, number: int) -> np.ndarray:
        """Return one frame of the flattened leading axes."""
        import numpy as np

        with opened_pixels(self.path) as file:
            sizes = self._leading_sizes(file)
            at = np.unravel_index(number, sizes)
            return self._read(file, {self.order[axis]: int(index) for axis, index in enumerate(at)})

    def stream(self) -> Iterator[np.ndarray]:
        """Yield every frame in order; frames that share a chunk are read together."""
        with opened_pixels(self.path) as file:
            sizes = self._leading_sizes(file)
            data = file[self.name]
            fastest = self.order[self.leading - 1]
            count = self._together(data, fastest)
            for block in range(math.prod(sizes[:-1]) * -(-sizes[-1] // count)):
                row, piece = divmod(block, -(-sizes[-1] // count))
                chosen: dict[int, int | slice] = {
                    self.order[axis]: index for axis, index in enumerate(_unravel(row, sizes[:-1]))
                }
                first = piece * count
                chosen[fastest] = slice(first, min(first + count, sizes[-1]))
                yield from self._read(file, chosen)

    def _together(self, data: h5py.Dataset, fastest: int) -> int:
        """Return how many frames along the fastest leading axis to read at once."""
        sizes = [int(data.shape[position]) for position in self.order[self.leading :]]
        frame = math.prod(sizes) * int(data.dtype.itemsize)
        fitting = max(1, _BLOCK // max(1, frame))
        chunk = int(data.chunks[fastest]) if data.chunks else 1
        return min(chunk if chunk > 1 else _AT_ONCE, fitting)

    def _leading_sizes(self, file: h5py.File) -> tuple[int, ...]:
        return tuple(file[self.name].shape[position] for position in self.order[: self.leading])

    def _read(self, file: h5py.File, chosen: Mapping[int, int | slice]) -> np.ndarray:
        array = _plain(_selected(file[self.name], self.order, chosen))
        if self.imaginary is None:
            return array
        joined = array.astype(_complex(array.dtype.name))
        joined.imag = _selected(file[self.imaginary], self.order, chosen)
        return joined


def opened_pixels(path: Path) -> h5py.File:
    """Open a file whose structure was looked at before, for its pixels alone."""
    import h5py
    import hdf5plugin  # noqa: F401 - teaches HDF5 the bitshuffle, blosc and zstd that others write

    # A lock would fail on a read-only disk, and nothing is written.
    return h5py.File(path, "r", locking=False, rdcc_nbytes=_CACHE, rdcc_nslots=10_007)


def _selected(data: h5py.Dataset, order: tuple[int, ...], chosen: Mapping[int, int | slice]) -> np.ndarray:
    """Return part of a dataset: indices drop a dimension, slices keep it, the rest comes whole."""
    everything = slice(None)
    index = tuple(
        chosen.get(position, everything if position in order else 0) for position in range(data.ndim)
    )
    kept = [position for position in range(data.ndim) if isinstance(index[position], slice)]
    wanted = [kept.index(position) for position in order if isinstance(index[position], slice)]
    array: np.ndarray = data[index]
    return array.transpose(wanted)


def _plain(array: np.ndarray) -> np.ndarray:
    """Return records as complex numbers or with a colour axis, contiguous and in native byte order."""
    import numpy as np

    names = array.dtype.names
    if names is None:
        return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
    known = kind(array.dtype)
    if known is not None and not known.colour:
        joined = np.empty(array.shape, known.dtype)
        joined.real, joined.imag = array[names[0]], array[names[1]]
        return joined
    return np.stack([array[name] for name in names], axis=-1).astype(
        array.dtype[0].newbyteorder("="), copy=False
    )


def _complex(dtype: str) -> str:
    import numpy as np

    return str(np.result_type(dtype, np.complex64).name)


def _unravel(number: int, sizes: tuple[int, ...]) -> list[int]:
    at: list[int] = []
    for size in reversed(sizes):
        number, index = divmod(number, size)
        at.append(index)
    return at[::-1]
