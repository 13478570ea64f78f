"""Atoms of many images as arrays, each with its nearest neighbours: what motifs are looked for in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.spatial import cKDTree

from micdb.query.motif.plan import NEIGHBOURS
from micdb.store.parts import read_columns

Arrays = Mapping[str, npt.NDArray[Any]]

COLUMNS = ("image", "frame", "idx", "x_nm", "y_nm", "x_px", "y_px", "species")
ARRAYS = (  # of `Atoms`: of frames, of atoms, and of all
    "image", "frame", "start", "low", "size", "spacing",
    "idx", "x", "y", "x_px", "y_px", "species", "near", "distance",
    "unscaled",
)  # fmt: skip
UNKNOWN = -1  # species code
NONE = -1  # number of a neighbour that is not there
_TOGETHER = 1 << 16  # atoms whose neighbours are looked for at a time
_SPACING = 0.05  # quantile of the nearest distances in a frame that counts as its spacing
_STRIP = 4.0  # mean spacings: width of the strips in which a frame's atoms are sorted
_BUCKET = 1.1  # frames whose spacings differ by less stand together


@dataclass(frozen=True, slots=True)
class Atoms:
    """Atoms sorted by frame; within one by place, so that neighbours are near in memory too.

    Parameters
    ----------
    arrays
        For each of ``f`` frames ``image``, ``frame``, ``spacing`` and ``size`` [nm] ``(f, 2)`` and ``low``
        [nm] ``(f, 2)``; ``start`` ``(f + 1,)``. For each of ``n`` atoms ``idx``, ``x``, ``y`` [nm],
        ``x_px``, ``y_px`` [pixel], ``species``; ``near`` and ``distance`` [nm], ``(NEIGHBOURS, n)``: its
        nearest neighbours within the frame by their number here, and how far they are. ``unscaled`` are the
        images with atoms whose place is not known in nm.
    species
        Names of the species codes.
    parts
        Names of the files they come from.
    """

    arrays: Arrays
    species: tuple[str, ...]
    parts: tuple[str, ...]

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        return self.arrays[name]

    @property
    def n(self) -> int:
        """Number of atoms."""
        return len(self.arrays["idx"])

    def frame_of(self, atoms: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
        """Return the number of the frame that each atom is in."""
        return np.searchsorted(self.arrays["start"], atoms, side="right") - 1


def read_atoms(paths: Sequence[Path]) -> pa.Table:
    """Return the rows of parts with the columns of `COLUMNS`; ``species`` is null where there is none.

    Raises
    ------
    StoreError
        A part is missing or damaged.
    """
    tables = []
    for path in paths:
        table = read_columns(path, COLUMNS)
        if "species" not in table.column_names:
            table = table.append_column("species", pa.nulls(table.num_rows, pa.string()))
        at = table.column_names.index("species")
        table = table.set_column(at, "species", table["species"].cast(pa.string()))
        tables.append(table.select(COLUMNS))
    return pa.concat_tables(tables)


def collect(table: pa.Table, parts: Sequence[str]) -> Atoms:
    """Return the atoms of a table, sorted, with their neighbours.

    Parameters
    ----------
    table
        From `read_atoms`.
    parts
        Names of the files the rows are from.
    """
    x, y = (_floats(table[name]) for name in ("x_nm", "y_nm"))
    image = table["image"].to_numpy().astype(np.int64)
    placed = np.isfinite(x) & np.isfinite(y)
    codes, names = _codes(table["species"])
    found: dict[str, npt.NDArray[Any]] = {
        "image": image,
        "frame": table["frame"].to_numpy().astype(np.int32),
        "idx": table["idx"].to_numpy().astype(np.int32),
        "x": x,
        "y": y,
        "x_px": _floats(table["x_px"]),
        "y_px": _floats(table["y_px"]),
        "species": codes,
    }
    arrays = _sorted({name: column[placed] for name, column in found.items()})
    arrays["unscaled"] = np.unique(image[~placed])
    arrays["near"], arrays["distance"] = _neighbours(arrays)
    return Atoms(_by_spacing(arrays), names, tuple(parts))


def _floats(column: pa.ChunkedArray) -> npt.NDArray[np.float32]:
    return np.asarray(column.cast(pa.float32()).to_numpy(), np.float32)


def _codes(column: pa.ChunkedArray) -> tuple[npt.NDArray[np.int16], tuple[str, ...]]:
    names = tuple(sorted(name for name in column.unique().to_pylist() if name is not None))
    found = pa.compute.index_in(column, value_set=pa.array(names, pa.string())).fill_null(UNKNOWN)
    return found.to_numpy().astype(np.int16), names


def _sorted(columns: dict[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    """Return the columns sorted by frame and, within one, along strips; and where each frame begins."""
    image, frame = columns.pop("image"), columns.pop("frame")
    order = np.lexsort((columns["idx"], frame, image))
    image, frame = image[order], frame[order]
    first = np.flatnonzero(np.diff(image, prepend=image[:1] - 1) | np.diff(frame, prepend=frame[:1]))
    start = np.append(first, len(image)).astype(np.int64)
    count = np.diff(start)
    number = np.repeat(np.arange(len(first)), count)
    x, y = columns["x"][order], columns["y"][order]
    low = np.column_stack([_reduced(np.minimum, axis, first) for axis in (x, y)])
    size = np.column_stack([_reduced(np.maximum, axis, first) for axis in (x, y)]) - low
    pitch = np.sqrt(np.maximum(size.prod(axis=1), 1e-12) / np.maximum(count, 1))
    strip = np.floor((y - low[number, 1]) / (_STRIP * pitch[number]))
    order = order[np.lexsort((x, strip, number))]
    kept = {name: column[order] for name, column in columns.items()}
    return {**kept, "image": image[first], "frame": frame[first], "start": start, "low": low, "size": size}


def _reduced(function: np.ufunc, values: npt.NDArray[Any], first: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
    return np.asarray(function.reduceat(values, first) if len(first) else values)


def _neighbours(
    arrays: dict[str, npt.NDArray[Any]],
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float16]]:
    n = len(arrays["idx"])
    near = np.full((NEIGHBOURS, n), NONE, np.int32)
    distance = np.full((NEIGHBOURS, n), np.inf, np.float16)
    for first, last in batches(arrays["start"], _TOGETHER):
        begin, end = arrays["start"][first], arrays["start"][last]
        found, far = _nearest(arrays, slice(first, last))
        near[:, begin:end] = np.where(found < 0, NONE, found + begin).T
        distance[:, begin:end] = far.T
    return near, distance


def _nearest(
    arrays: dict[str, npt.NDArray[Any]], frames: slice
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return the neighbours of the atoms of some frames, by number, and distances, ``(n, NEIGHBOURS)``."""
    start = arrays["start"][frames.start : frames.stop + 1]
    number = np.repeat(np.arange(len(start) - 1), np.diff(start))
    # Frames are moved so far apart that no other frame's atom is nearer than the farthest of its own.
    gap = np.hypot(*arrays["size"][frames].T).max(initial=0.0) * 2 + 1
    points = np.column_stack([arrays[axis][start[0] : start[-1]] for axis in "xy"]).astype(np.float64)
    points -= arrays["low"][frames][number]
    points[:, 0] += number * gap
    m = len(points)
    far, near = cKDTree(points, balanced_tree=False, compact_nodes=False).query(
        points, k=min(NEIGHBOURS + 1, m), workers=-1
    )
    far, near = far.reshape(m, -1), near.reshape(m, -1)
    own = near == np.arange(m)[:, None]
    own[~own.any(axis=1), -1] = True  # of many atoms in one place
    far, near = (column[~own].reshape(m, -1) for column in (far, near))
    strange = number[near] != number[:, None]
    far[strange], near[strange] = np.inf, NONE
    missing = ((0, 0), (0, NEIGHBOURS - far.shape[1]))
    return (
        np.pad(near, missing, constant_values=NONE),
        np.pad(far, missing, constant_values=np.inf),
    )


def _by_spacing(arrays: dict[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays with frames of like spacing and width together, and the spacing of each."""
    start = arrays["start"]
    count = np.diff(start)
    nearest = arrays["distance"][0].astype(np.float64)
    number = np.repeat(np.arange(len(count)), count)
    ranked = nearest[np.lexsort((nearest, number))]
    spacing = ranked[start[:-1] + (_SPACING * (count - 1)).astype(np.int64)] if len(count) else nearest
    bucket = np.floor(np.log(np.maximum(spacing, 1e-3)) / np.log(_BUCKET))
    order = np.lexsort((arrays["image"], np.round(arrays["size"][:, 0], 0), bucket))
    moved = np.concatenate([np.arange(start[i], start[i + 1]) for i in order] or [np.arange(0)])
    place = np.empty(len(moved), np.int64)
    place[moved] = np.arange(len(moved))
    near = arrays["near"][:, moved]
    arrays["near"] = np.where(near < 0, NONE, place[near]).astype(np.int32)
    arrays["distance"] = np.ascontiguousarray(arrays["distance"][:, moved])
    for name in ("idx", "x", "y", "x_px", "y_px", "species"):
        arrays[name] = arrays[name][moved]
    for name in ("image", "frame", "low", "size"):
        arrays[name] = arrays[name][order]
    arrays["start"] = np.append(0, np.cumsum(count[order])).astype(np.int64)
    arrays["spacing"] = spacing[order].astype(np.float32)
    return arrays


def batches(start: npt.NDArray[np.int64], together: int) -> Iterator[tuple[int, int]]:
    """Yield ranges of frames that have about as many atoms as are taken together; one frame is never cut.

    Parameters
    ----------
    start
        Where each frame begins, and where the last one ends.
    together
        Number of atoms.
    """
    first = 0
    while first < len(start) - 1:
        last = int(np.searchsorted(start, start[first] + together, side="right")) - 1
        last = max(last, first + 1)
        yield first, last
        first = last
