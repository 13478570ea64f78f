"""What a query reads of a big table, for ``explain()``: parts, row groups, bytes."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from micdb.query.facts.parts import Part
from micdb.store.parts import read_metadata


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """One big table that a query reads.

    Parameters
    ----------
    name
        What it is called in the statement.
    table
        ``atoms``, ``bonds``, ...
    parts
        Parts that are opened.
    found
        Number of parts of these runs.
    images
        ``pk`` of the micrographs whose rows are wanted, ascending; None for all.
    """

    name: str
    table: str
    parts: tuple[Part, ...]
    found: int
    images: np.ndarray | None

    def describe(self, columns: Collection[str] | None = None) -> str:
        """Return one line that says what is read; the footers of the parts are looked at.

        Row groups are skipped by the range of images in them, so those are counted that can hold a wanted
        one.

        Parameters
        ----------
        columns
            Columns that are read; None for all.
        """
        groups = read = 0
        size = whole = 0
        for one in self.parts:
            footer = read_metadata(one.path)
            for index in range(footer.num_row_groups):
                group = footer.row_group(index)
                chunks = [group.column(at) for at in range(group.num_columns)]
                wanted = [
                    chunk.total_compressed_size
                    for chunk in chunks
                    if columns is None or chunk.path_in_schema.partition(".")[0] in columns
                ]
                groups += 1
                whole += sum(chunk.total_compressed_size for chunk in chunks)
                if self._holds(next(chunk for chunk in chunks if chunk.path_in_schema == "image")):
                    read += 1
                    size += sum(wanted)
        return (
            f"{self.table}: DuckDB reads {len(self.parts)} of {self.found} parts, {read} of {groups} row "
            f"groups, {size / 1e6:,.1f} of {whole / 1e6:,.1f} MB"
        )

    def _holds(self, chunk: object) -> bool:
        """Return whether a row group can hold a wanted image."""
        statistics = chunk.statistics  # type: ignore[attr-defined]
        if self.images is None or statistics is None or not statistics.has_min_max:
            return True
        first, last = np.searchsorted(self.images, [statistics.min, statistics.max + 1])
        return bool(last > first)
