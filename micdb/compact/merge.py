"""Merge parts that are each sorted by image into one stream that is, in bounded memory.

A k-way merge that reads one row group at a time, the one with the smallest image next. Where ranges of images
overlap so much that what was read outgrows the budget, the stream ends and another begins, as in an external
merge sort: each stream is sorted, and no image is in two of them.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from micdb.errors import StoreError
from micdb.store.parts import IMAGE

COPIES = 4  # sorting holds rows as read, joined, and sorted, beside the row group being written
_SOURCE = "\0source"  # number of the part a row came from: of one image the older part's rows come first


@dataclass(frozen=True, slots=True)
class Source:
    """One part to merge: its file, and the smallest image in it."""

    path: Path
    first: int


@dataclass(frozen=True, slots=True)
class Stretch:
    """Some rows of a stream; `last` says that the stream ends with them."""

    rows: pa.Table
    last: bool


class _Reader:
    """A part that is read one row group at a time; the file is open from the first to the last of them."""

    def __init__(self, number: int, source: Source, files: ExitStack) -> None:
        self.number, self.next = number, source.first
        self._source, self._files = source, files
        self._file: pq.ParquetFile | None = None
        self._group = 0

    def __lt__(self, other: Self) -> bool:
        return (self.next, self.number) < (other.next, other.number)

    def read(self) -> pa.Table:
        """Return the next row group and move on."""
        file = self._file
        if file is None:
            file = self._file = self._files.enter_context(pq.ParquetFile(self._source.path))
        rows = file.read_row_group(self._group).replace_schema_metadata()
        self._group += 1
        if self.at_end:
            file.close()
        else:
            self.next = self._smallest(file)
        return rows.append_column(_SOURCE, pa.repeat(pa.scalar(self.number, pa.int32()), len(rows)))

    @property
    def at_end(self) -> bool:
        """Whether everything has been read."""
        return self._file is not None and self._group == self._file.num_row_groups

    def _smallest(self, file: pq.ParquetFile) -> int:
        column = file.metadata.row_group(self._group).column(file.schema_arrow.names.index(IMAGE))
        statistics = column.statistics
        if statistics is None or not statistics.has_min_max:
            raise StoreError(
                f"{self._source.path} does not say which images its row groups hold; see: micdb fsck --deep"
            )
        return int(statistics.min)


def merged(sources: Sequence[Source], memory: int) -> Iterator[Stretch]:
    """Yield the rows of some parts sorted by image; the rows of an image in the order they had.

    Parameters
    ----------
    sources
        Parts of one schema, each sorted by image, the oldest first.
    memory
        About how much to hold in memory [byte]; a single image or row group may need more.

    Yields
    ------
    Stretch
        Rows, in the columns of the parts. After a last one another stream begins.

    Raises
    ------
    StoreError
        A part cannot be read; the message names it.
    """
    budget = max(1, memory // COPIES)
    held: list[pa.Table] = []
    size, full = 0, budget // 4
    with ExitStack() as files:
        heap = [_Reader(number, source, files) for number, source in enumerate(sources)]
        heapq.heapify(heap)
        while heap:
            reader = heap[0]
            held.append(_read(reader))
            size += held[-1].nbytes
            if reader.at_end:
                heapq.heappop(heap)
            else:
                heapq.heapreplace(heap, reader)
            if size < full and heap:
                continue
            rows, images = _sorted(held)
            ready = images < heap[0].next if heap else np.ones(len(images), bool)
            cut = rows.nbytes - rows.nbytes * ready.mean() > budget * 3 // 4
            if cut:  # all but the images of which more is to come
                ready |= ~np.isin(images, [one.next for one in heap])
            held = [] if ready.all() else [rows.filter(pa.array(~ready))]
            size = sum(table.nbytes for table in held)
            full = size + budget // 4
            if ready.any():
                yield Stretch(rows.filter(pa.array(ready)).drop_columns([_SOURCE]), last=cut or not heap)


def _sorted(held: Sequence[pa.Table]) -> tuple[pa.Table, np.ndarray]:
    """Return rows by image, of one image by source and then as they came, and their images ``(n,)``."""
    rows = pa.concat_tables(held)
    order = pc.sort_indices(rows, [(IMAGE, "ascending"), (_SOURCE, "ascending")])
    rows = rows.take(order)
    return rows, rows[IMAGE].to_numpy()


def _read(reader: _Reader) -> pa.Table:
    try:
        return reader.read()
    except (OSError, pa.ArrowException) as error:
        path = reader._source.path
        raise StoreError(f"{path} is no readable Parquet file ({error}); see: micdb fsck --deep") from error
