"""Tables computed from atoms and bonds when they are asked for: rings and nearest neighbours.

They are children of images like any other: ``im.rings[im.rings.size == 5].count()``,
``im.neighbours[im.neighbours.rank == 1].mean("distance_nm")``. Nothing of them is stored.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from micdb.query.spatial.near import nearest
from micdb.rings import rings

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

NEAREST = 8  # neighbours listed of each atom: all that share a cell's side or corner in a square lattice
_FRAMES = 1 << 20  # frames of one image, at most, as a factor of the group number

RINGS = pa.schema([
    pa.field("run", pa.int64(), nullable=False),
    pa.field("image", pa.int64(), nullable=False),
    pa.field("frame", pa.int32(), nullable=False),
    pa.field("ring", pa.int32(), nullable=False),  # number within its frame, from 0
    pa.field("size", pa.int32(), nullable=False),  # atoms around it
    pa.field("x_px", pa.float64(), nullable=False),  # mean position of its atoms
    pa.field("y_px", pa.float64(), nullable=False),
    pa.field("x_nm", pa.float64()),
    pa.field("y_nm", pa.float64()),
    pa.field("area_nm2", pa.float64()),
])  # fmt: skip

NEIGHBOURS = pa.schema([
    pa.field("run", pa.int64(), nullable=False),
    pa.field("image", pa.int64(), nullable=False),
    pa.field("frame", pa.int32(), nullable=False),
    pa.field("i", pa.int32(), nullable=False),  # atoms.idx
    pa.field("j", pa.int32(), nullable=False),  # atoms.idx of the neighbour
    pa.field("rank", pa.int32(), nullable=False),  # 1 for the nearest
    pa.field("distance_px", pa.float64(), nullable=False),
    pa.field("distance_nm", pa.float64()),
])  # fmt: skip


class Derived(NamedTuple):
    """A table that is computed.

    Parameters
    ----------
    schema
        Its columns.
    sources
        Stored tables it is made from, each with the columns that are needed; the first one's runs are its
        runs.
    compute
        Makes it from those tables, of one run.
    """

    schema: pa.Schema
    sources: dict[str, tuple[str, ...]]
    compute: Callable[..., pa.Table]

    @property
    def stored(self) -> str:
        """The table that says which runs and images there are."""
        return next(iter(self.sources))


def rings_of(bonds: pa.Table, atoms: pa.Table) -> pa.Table:
    """Return the rings of a run's bond networks.

    Parameters
    ----------
    bonds, atoms
        Columns as in `DERIVED`.
    """
    group = _groups(atoms)
    pixels, nm = _positions(atoms)
    i, j = (_rows(atoms, bonds, end) for end in "ij")
    known = (i >= 0) & (j >= 0)  # a bond to an atom that is not there makes no ring
    found = rings(pixels, i[known], j[known])
    one = found.member[np.cumsum(found.size) - found.size]
    # Frame by frame, in the order of the rings' smallest atoms.
    order = np.lexsort((one, group[one]))
    where, area = _in_nm(nm, found.size, found.member)
    number = _counted(group[one][order])
    columns = {
        "run": _numbers(atoms, "run")[one][order],
        "image": _numbers(atoms, "image")[one][order],
        "frame": _numbers(atoms, "frame")[one][order],
        "ring": number,
        "size": found.size[order],
        "x_px": found.centre[order, 0],
        "y_px": found.centre[order, 1],
        "x_nm": _missing(where[order, 0]),
        "y_nm": _missing(where[order, 1]),
        "area_nm2": _missing(area[order]),
    }
    return _table(columns, RINGS)


def neighbours_of(atoms: pa.Table) -> pa.Table:
    """Return the nearest neighbours of each atom of a run; see `rings_of`."""
    group, idx = _groups(atoms), _numbers(atoms, "idx")
    pixels, nm = (
        np.column_stack([_floats(atoms, f"{axis}_{unit}") for axis in "xy"]) for unit in ("px", "nm")
    )
    scaled = np.asarray(np.isfinite(nm).all(axis=1))
    # Pixels need not be square: neighbours are nearest on the sample where its scale is known.
    position = np.where(scaled[:, None], nm, pixels)
    who, _ = nearest(position, group, NEAREST)
    i, column = np.nonzero(np.asarray(who >= 0))
    j = who[i, column]
    columns = {
        "run": _numbers(atoms, "run")[i],
        "image": _numbers(atoms, "image")[i],
        "frame": _numbers(atoms, "frame")[i],
        "i": idx[i],
        "j": idx[j],
        "rank": column + 1,
        "distance_px": np.hypot(*(pixels[j] - pixels[i]).T),
        "distance_nm": _missing(np.hypot(*(nm[j] - nm[i]).T)),
    }
    return _table(columns, NEIGHBOURS)


_ATOMS = ("run", "image", "frame", "idx", "x_px", "y_px", "x_nm", "y_nm")
DERIVED: dict[str, Derived] = {
    "rings": Derived(RINGS, {"bonds": ("run", "image", "frame", "i", "j"), "atoms": _ATOMS}, rings_of),
    "neighbours": Derived(NEIGHBOURS, {"atoms": _ATOMS}, neighbours_of),
}


def _in_nm(nm: Floats, size: Integers, member: Integers) -> tuple[Floats, Floats]:
    """Return centre and area of each ring on the sample; NaN where the scale is unknown."""
    if not len(size):
        return np.empty((0, 2)), np.empty(0)
    first = np.cumsum(size) - size
    ring = nm[member] - np.repeat(nm[member[first]], size, axis=0)
    following = np.roll(ring, -1, axis=0)
    following[first + size - 1] = ring[first]
    area = np.add.reduceat(ring[:, 0] * following[:, 1] - ring[:, 1] * following[:, 0], first) / 2
    return np.add.reduceat(nm[member], first, axis=0) / size[:, None], area


def _rows(atoms: pa.Table, bonds: pa.Table, end: str) -> Integers:
    """Return the row of the atom at one end of each bond, -1 where there is none, ``(n_bonds,)``."""
    frames, frame = np.unique(_groups(atoms), return_inverse=True)
    idx, wanted = _numbers(atoms, "idx"), _numbers(bonds, end)
    if not len(idx):
        return np.full(len(wanted), -1)
    span = int(max(idx.max(), wanted.max(initial=0))) + 1
    key = frame * span + idx
    order = np.argsort(key)
    of = np.minimum(np.searchsorted(frames, _groups(bonds)), len(frames) - 1)
    place = np.minimum(np.searchsorted(key[order], of * span + wanted), len(key) - 1)
    there = (key[order][place] == of * span + wanted) & (frames[of] == _groups(bonds))
    return np.where(there, order[place], -1)


def _positions(atoms: pa.Table) -> tuple[Floats, Floats]:
    """Return positions ``(n, 2)`` [pixel] and [nm]; NaN where the scale is unknown."""
    pixels, nm = (
        np.column_stack([_floats(atoms, f"{axis}_{unit}") for axis in "xy"]) for unit in ("px", "nm")
    )
    return pixels, nm


def _table(columns: dict[str, Integers | Floats | pa.Array], schema: pa.Schema) -> pa.Table:
    return pa.table([pa.array(columns[field.name]).cast(field.type) for field in schema], schema=schema)


def _groups(table: pa.Table) -> Integers:
    return _numbers(table, "image") * _FRAMES + _numbers(table, "frame")


def _counted(sorted_: Integers) -> Integers:
    """Return for each element its number among equal ones, from 0."""
    _, start, count = np.unique(sorted_, return_index=True, return_counts=True)
    return np.arange(len(sorted_)) - np.repeat(start, count)


def _numbers(table: pa.Table, name: str) -> Integers:
    return np.asarray(table[name].to_numpy(), np.int64)


def _floats(table: pa.Table, name: str) -> Floats:
    return np.asarray(table[name].cast(pa.float64()).to_numpy(), np.float64)


def _missing(values: Floats) -> pa.Array:
    return pa.array(values, mask=~np.isfinite(values))
