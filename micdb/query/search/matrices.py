"""Decoded vectors in ``indexes/``: opened, topped up with what is newer, written when it pays.

The file of a space carries a water-mark: the ``uid`` of every part in it and the number of the newest
event. A part that is not in the mark is newer, unless it was compacted from older ones: its images are then
in the file already. Rows of parts that are gone, and not in such a part either, count no longer. So one
file serves the database, every snapshot of it, and readers that opened it before it was replaced.

A file that is damaged, of another run or of another shape is as good as none.
"""

from __future__ import annotations

import json
import os
import platform
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from micdb.errors import StoreError
from micdb.provenance import uuid7
from micdb.query.context import Context
from micdb.query.search import decode, scan
from micdb.query.search.decode import LivePart, Rows, State
from micdb.query.search.kinds import KINDS
from micdb.query.search.matrix import Matrix, Segment
from micdb.query.search.vectors import TABLE, Space
from micdb.store.indexes import (
    TUNING,
    VECTORS,
    Blocks,
    IndexFile,
    beside,
    index_path,
    read_index,
    write_index,
)

KEPT = 8  # spaces a process keeps open
MANY = 4096  # vectors from which it pays to decode
DECODED = 16  # vectors that may be decoded for each one wanted
STALE = 4096  # newer rows that are read anew by every process before a file without an index is made again
_SHAPES = {"images": 1, "order": 1, "part": 1, "scale": 1, "odd": 1, "vectors": 2, "places": 2, "mark": 1}
_BLOCK = 1 << 14  # [row] copied at a time

Key = tuple[Any, ...]
_open: OrderedDict[Key, tuple[object, Matrix]] = OrderedDict()
_refused: set[Key] = set()  # whose file could not be written
_guard = threading.Lock()


def open_matrix(
    context: Context, space: Space, *, table: str = TABLE, make: bool = False, wanted: int = 0
) -> Matrix | None:
    """Return the vectors of a space, complete as the catalog is now; None where nothing is decoded.

    It is kept for the process, and read anew when a part or the file has changed.

    Parameters
    ----------
    context
        Surroundings of the query.
    space
        Which vectors.
    table
        ``embeddings`` or ``patches``.
    make
        Whether to decode all vectors and write them, where there is no file or it lacks many. A folder that
        cannot be written leaves everything as it is.
    wanted
        How many vectors are wanted; where they are so many that decoding all of them costs little more, it
        is as `make`.

    Raises
    ------
    StoreError
        A part is missing or damaged.
    """
    key = (str(context.engine.url), str(context.root), space, table)
    stamp, matrix = _current(context, key)
    lacking = (matrix is None or is_stale(matrix)) and key not in _refused
    if lacking and (make or _pays(context, space, table, wanted)):
        if write(context, space, table=table) is None:
            _refused.add(key)  # it would be refused for every search again
        else:
            stamp, matrix = _current(context, key)
    if matrix is not None:
        _keep(key, stamp, matrix)
    return matrix


def _pays(context: Context, space: Space, table: str, wanted: int) -> bool:
    return wanted >= MANY and decode.state(context, space.run, table).rows <= DECODED * wanted


def _current(context: Context, key: Key) -> tuple[object, Matrix | None]:
    """Return what tells the state of files and parts from any other, and the vectors in it."""
    space, table = key[2:]
    signature = decode.signature(context, space.run, table)
    path = index_path(context.root, signature[0], table, space.name, VECTORS)
    stamp = (signature, *(_identity(beside(path, kind)) for kind in (VECTORS, TUNING, *KINDS)))
    with _guard:
        held = _open.get(key)
    if held is not None and held[0] == stamp:
        return held
    return stamp, _complete(decode.state(context, space.run, table), space, table, root=context.root)


def is_stale(matrix: Matrix) -> bool:
    """Whether so much is newer than the file that it pays to make it again."""
    if matrix.file is not None and "offsets" in matrix.file.arrays:  # its index would be lost
        return matrix.newer > max(STALE, matrix.filed)
    return matrix.newer > STALE


def write(
    context: Context,
    space: Space,
    *,
    table: str = TABLE,
    arrange: Callable[[Rows, np.ndarray, np.ndarray], tuple[np.ndarray, Mapping[str, Any]]] | None = None,
) -> Path | None:
    """Decode all vectors of a space and write them; return the file, or None where that is not allowed.

    Parameters
    ----------
    context, space, table
        As for `open_matrix`.
    arrange
        Given the rows, their scales and which of them are odd, returns the order to write them in,
        ``(n,)``, and arrays of an index to write beside them. Odd rows must come last.

    Raises
    ------
    StoreError
        A part is missing or damaged.
    """
    state = decode.state(context, space.run, table)
    rows = decode.read(state.parts, space)
    scale, odd = decode.scales(space.metric, rows.matrix)
    sequence, extra = (np.arange(len(scale)), {}) if arrange is None else arrange(rows, scale, odd)
    order = np.empty(len(scale), np.int32)
    order[sequence] = np.arange(len(scale))  # rows are sorted by image as they are read
    arrays: dict[str, Any] = {
        "images": rows.images[sequence],
        "order": order,
        "part": rows.part[sequence],
        "scale": scale[sequence],
        "odd": np.sort(order[odd]).astype(np.int64),
        "places": rows.places[sequence],
        "mark": np.frombuffer(json.dumps([one.uid for one in state.parts]).encode(), np.uint8),
        **extra,
        "vectors": Blocks("<f4", rows.matrix.shape, _gathered(rows.matrix, sequence)),
    }
    about = {**_about(state.run, space, table), "seq": state.seq, "generation": uuid7()}
    target = index_path(context.root, state.run, table, space.name, VECTORS)
    try:
        write_index(context.root, target, about, arrays)
    except OSError:  # a disk that is full or may not be written: the search goes without
        return None
    return target


def _gathered(matrix: np.ndarray, sequence: np.ndarray) -> Any:
    for start in range(0, len(sequence), _BLOCK):
        yield matrix[sequence[start : start + _BLOCK]]


def _about(run: str, space: Space, table: str) -> dict[str, Any]:
    return {
        "kind": VECTORS,
        "run": run,
        "table": table,
        "space": space.name,
        "dim": space.dim,
        "metric": space.metric,
    }


def _identity(path: Path) -> tuple[int, int, int] | None:
    """Return what tells one file from the next; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _complete(state: State, space: Space, table: str, *, root: Path) -> Matrix | None:
    """Return file and newer parts together; None without a file."""
    file = _file(state, space, table, root=root)
    if file is None:
        return None
    mark = json.loads(file.arrays["mark"].tobytes())
    base = Rows(file.arrays["images"], file.arrays["part"], file.arrays["vectors"], file.arrays["places"])
    live = {one.uid for one in state.parts}
    lost = np.array([uid not in live for uid in mark], bool)
    marked = set(mark)
    new = [one for one in state.parts if one.uid not in marked]
    distinct = np.unique(base.images) if new else np.empty(0, np.int64)
    gone = None
    if lost.any():
        gone = lost[base.part]
        gone &= ~np.isin(base.images, _images(new, space))
    tail = _tail(new, space, distinct)
    return _joined(file, base, tail, space=space, table=table, gone=gone)


def _images(new: list[LivePart], space: Space) -> np.ndarray:
    found = [decode.images_in(one, space) for one in new]
    return np.concatenate(found) if found else np.empty(0, np.int64)


def _tail(new: list[LivePart], space: Space, known: np.ndarray) -> Rows:
    return decode.read(new, space, wanted=lambda images: ~np.isin(images, known))


def _joined(
    file: IndexFile, base: Rows, tail: Rows, *, space: Space, table: str, gone: np.ndarray | None
) -> Matrix:
    scale, odd = decode.scales(space.metric, tail.matrix)
    segments = (Segment(base.matrix, file.arrays["scale"]), Segment(tail.matrix, scale))
    if not len(tail.images):
        return Matrix(
            space, table, base.images, base.places, segments, file.arrays["odd"],
            file.arrays["order"], _or_none(gone), file, _tuning(file),
        )  # fmt: skip
    images = np.concatenate([base.images, tail.images])
    places = np.concatenate([base.places, tail.places])
    odd = np.concatenate([file.arrays["odd"], odd + len(base.images)])
    order = np.concatenate([file.arrays["order"], np.arange(len(base.images), len(images))])
    order = order[np.argsort(images[order], kind="stable")]
    if gone is not None:
        gone = np.concatenate([gone, np.zeros(len(tail.images), bool)])
    return Matrix(space, table, images, places, segments, odd, order, _or_none(gone), file, _tuning(file))


def _tuning(file: IndexFile) -> Mapping[str, Any]:
    """Return what was measured for a file; times count only on the machine where they were taken."""
    try:
        held = read_index(beside(file.path, TUNING)).about
    except StoreError:
        return {}
    if held["generation"] != file.about["generation"]:
        return {}
    measured: dict[str, Any] = held["measured"] | (held["times"] if held["machine"] == machine() else {})
    return measured


def machine() -> dict[str, Any]:
    """Return what makes times comparable: processor, number of cores, faiss' version and instructions."""
    faiss = scan.library()
    return {
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "faiss": faiss.__version__,
        "instructions": faiss.get_compile_options().strip(),
        "gpus": faiss.get_num_gpus(),
    }


def _or_none(gone: np.ndarray | None) -> np.ndarray | None:
    return None if gone is None or not gone.any() else gone


def _file(state: State, space: Space, table: str, *, root: Path) -> IndexFile | None:
    path = index_path(root, state.run, table, space.name, VECTORS)
    try:
        file = read_index(path, unchecked=["vectors"])
    except StoreError:
        return None
    rows = len(file.arrays.get("images", ()))
    expected = _about(state.run, space, table)
    fits = (
        all(file.about.get(name) == value for name, value in expected.items())
        and all(name in file.arrays and file.arrays[name].ndim == n for name, n in _SHAPES.items())
        and file.arrays["vectors"].shape == (rows, space.dim)
        and all(len(file.arrays[name]) == rows for name in ("order", "part", "scale", "places"))
    )
    return file if fits else None


def _keep(key: Key, stamp: object, matrix: Matrix) -> None:
    with _guard:
        _open[key] = (stamp, matrix)
        _open.move_to_end(key)
        while len(_open) > KEPT:
            _open.popitem(last=False)
