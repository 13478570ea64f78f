"""Decode the vectors of one space out of Parquet parts into plain arrays.

A search reads them from there once; after that from a file in ``indexes/`` that is mapped into memory
(`micdb.query.search.matrix`). The parts stay the truth.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from micdb.catalog.engine import reading
from micdb.catalog.results import part, run
from micdb.catalog.tables import event, object_
from micdb.errors import StoreError
from micdb.query.context import Context
from micdb.query.search.scan import SAFE
from micdb.query.search.vectors import Space
from micdb.store.parts import read_columns

PLACE = ("frame", "x_px", "y_px", "width_px", "height_px")  # of the table patches


class LivePart(NamedTuple):
    """A part as the catalog knows it."""

    uid: str
    path: Path
    rows: int


@dataclass(frozen=True, slots=True)
class State:
    """What the catalog says of the vectors of one run and table at one moment.

    Parameters
    ----------
    run
        ``uid`` of the run.
    parts
        Its live parts, oldest first.
    seq
        Number of the newest event.
    """

    run: str
    parts: tuple[LivePart, ...]
    seq: int

    @property
    def rows(self) -> int:
        """Number of rows in the parts, of all spaces together."""
        return sum(one.rows for one in self.parts)


class Rows(NamedTuple):
    """Vectors of one space, in the order of their images.

    Parameters
    ----------
    images
        ``pk`` of micrographs, ascending, ``(n,)`` int64.
    part
        Index of the part each comes from, ``(n,)`` int32.
    matrix
        ``(n, dim)`` float32.
    places
        `PLACE` of each, ``(n, 5)`` int32; without columns in other tables than patches.
    """

    images: np.ndarray
    part: np.ndarray
    matrix: np.ndarray
    places: np.ndarray


def _signature() -> sa.Select[Any]:
    live = (
        sa.select(part.c.run_pk, part.c.uid)
        .join(object_, object_.c.pk == part.c.object_pk)
        .where(
            part.c.table_name == sa.bindparam("table"),
            part.c.run_pk == sa.bindparam("run"),
            object_.c.state == "live",
        )
        .subquery()
    )
    return (
        sa.select(run.c.uid, sa.func.count(live.c.uid), sa.func.coalesce(sa.func.max(live.c.uid), ""))
        .outerjoin(live, live.c.run_pk == run.c.pk)
        .where(run.c.pk == sa.bindparam("run"))
        .group_by(run.c.uid)
    )


_SIGNATURE = _signature()  # asked in every search: building it costs more than its answer


def signature(context: Context, run_pk: int, table: str) -> tuple[str, int, str]:
    """Return the run's ``uid``, the number of its live parts and the newest: which tell states apart."""
    with reading(context.engine) as connection:
        uid, count, newest = connection.execute(_SIGNATURE, {"run": run_pk, "table": table}).one()
    return str(uid), int(count), str(newest)


def state(context: Context, run_pk: int, table: str) -> State:
    """Return the live parts of a run's table and the newest event, as of one moment."""
    statement = (
        sa.select(part.c.uid, object_.c.path, part.c.rows)
        .join(object_, object_.c.pk == part.c.object_pk)
        .where(part.c.table_name == table, part.c.run_pk == run_pk, object_.c.state == "live")
        .order_by(part.c.pk)
    )
    with reading(context.engine) as connection:
        rows = connection.execute(statement).all()
        seq = connection.scalar(sa.select(sa.func.coalesce(sa.func.max(event.c.seq), 0)))
        name = connection.scalar(sa.select(run.c.uid).where(run.c.pk == run_pk))
    found = tuple(LivePart(uid, context.root / path, count) for uid, path, count in rows)
    return State(str(name), found, int(seq or 0))


def images_in(one: LivePart, space: Space) -> np.ndarray:
    """Return the images that a part has vectors of in a space, distinct, ``(n,)`` int64.

    Raises
    ------
    StoreError
        The part is missing or damaged.
    """
    table = read_columns(one.path, ["image", "space"])
    return np.unique(table.filter(pc.equal(table["space"], space.name))["image"].to_numpy())


def read(
    parts: Sequence[LivePart], space: Space, *, wanted: Callable[[np.ndarray], np.ndarray] | None = None
) -> Rows:
    """Return the vectors of a space from some parts.

    Parameters
    ----------
    parts
        Where to look.
    space
        Which vectors.
    wanted
        Given images, ``(n,)``, says which rows to take, ``(n,)`` bool; None for all. What an earlier part
        holds of an image is not taken from a later one.

    Raises
    ------
    StoreError
        A part is missing or damaged, or a vector has another length than its space.
    """
    size = sum(one.rows for one in parts)
    images, number = np.empty(size, np.int64), np.empty(size, np.int32)
    matrix, places, filled = np.empty((size, space.dim), np.float32), [], 0
    for position, one in enumerate(parts):
        table = _rows(one, space, wanted)
        new = slice(filled, filled + len(table))
        images[new], number[new] = table["image"].to_numpy(), position
        matrix[new] = _flat(table["vector"], space)
        places.append(_places(table))
        filled += len(table)
    images, number, matrix = images[:filled], number[:filled], matrix[:filled]
    joined = np.concatenate(places) if places else np.empty((0, 0), np.int32)
    return _by_image(Rows(images, number, matrix, joined))


def scales(metric: str, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what turns a dot product into a score, and the rows for which float32 cannot.

    Parameters
    ----------
    metric
        ``cosine``: the score is product times scale, one over the length (0 for a zero vector).
        ``euclidean``: it is product minus scale, half the squared length.
    matrix
        ``(n, dim)`` float32.

    Returns
    -------
    tuple[numpy.ndarray, numpy.ndarray]
        ``(n,)`` float32; numbers of rows too long, too short or not finite, ``(m,)`` int64.
    """
    made, odd = np.empty(len(matrix), np.float32), []
    for start, block in _blocks(matrix):
        with np.errstate(all="ignore"):
            squares = np.einsum("ij,ij->i", block, block, dtype=np.float64)
            fits = (squares > SAFE[0]) & (squares < SAFE[1]) | (squares == 0)
            scale = 1 / np.sqrt(squares) if metric == "cosine" else squares / 2
            made[start : start + len(block)] = np.where(fits & (squares > 0), scale, 0)
        odd.append(start + np.flatnonzero(~fits))
    return made, np.concatenate(odd) if odd else np.empty(0, np.int64)


def _blocks(matrix: np.ndarray, rows: int = 1 << 13) -> Iterator[tuple[int, np.ndarray]]:
    for start in range(0, len(matrix), rows):
        yield start, matrix[start : start + rows]


def _rows(one: LivePart, space: Space, wanted: Callable[[np.ndarray], np.ndarray] | None) -> pa.Table:
    table = read_columns(one.path, ["image", "space", *PLACE, "vector"])
    table = table.filter(pc.equal(table["space"], space.name))
    if wanted is not None:
        table = table.filter(pa.array(wanted(table["image"].to_numpy())))
    return table


def _flat(vectors: pa.ChunkedArray, space: Space) -> np.ndarray:
    lists = vectors.combine_chunks()
    if not pc.all(pc.equal(pc.list_value_length(lists), space.dim), min_count=0).as_py():
        raise StoreError(
            f"a vector in {space.name} has not the {space.dim} numbers its space declares; "
            "look for the damage with: micdb fsck --deep"
        )
    flat = lists.flatten().to_numpy(zero_copy_only=False)
    return np.asarray(flat, np.float32).reshape(-1, space.dim)


def _places(table: pa.Table) -> np.ndarray:
    columns = [table[name].to_numpy().astype(np.int32) for name in PLACE if name in table.column_names]
    return np.stack(columns, axis=1) if columns else np.empty((len(table), 0), np.int32)


def _by_image(rows: Rows) -> Rows:
    """Sort by image; of an image that stands in several parts only the rows of the first are kept."""
    images, number = rows.images, rows.part
    order = np.lexsort((np.arange(len(images)), number, images))
    if len(images):
        begins = np.flatnonzero(np.r_[True, np.diff(images[order]) != 0])
        firsts = np.repeat(number[order][begins], np.diff(np.r_[begins, len(order)]))
        order = order[number[order] == firsts]
    if len(order) == len(images) and (order[1:] > order[:-1]).all():
        return rows
    return Rows(images[order], number[order], rows.matrix[order], rows.places[order])
