"""Where merged rows come from: a bundle's catalog, or another database."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy import Connection

from micdb.catalog.tables import object_
from micdb.exchange.outgoing import parts_of, rows_of

Read = Callable[[Path, Sequence[int]], pa.Table]


@dataclass(frozen=True, slots=True)
class Supply:
    """One source of rows.

    Parameters
    ----------
    connection
        A reading transaction of its catalog: everything is of one moment.
    root
        Folder that paths of objects and parts are relative to.
    name
        What its rows will say they were received from.
    read
        Reads the rows of some images from a part, with local keys; None for a database's own parts.
    linked
        Whether micrograph files are used where they are, rather than copied.
    """

    connection: Connection
    root: Path
    name: str
    read: Read | None = None
    linked: bool = False

    def part_tables(self, run_pk: int) -> dict[str, list[sa.Row[Any]]]:
        """Return the live parts of a run by table."""
        return parts_of(self.connection, run_pk)

    def part_rows(self, parts: Sequence[sa.Row[Any]], images: Sequence[int]) -> pa.Table | None:
        """Return the rows of some images in those parts, with local keys; None where there is none."""
        if self.read is None:
            return rows_of(self.root, parts, images)
        low, high = min(images), max(images)
        tables = [
            self.read(self.root / part.path, images)
            for part in parts
            if part.max_image >= low and part.min_image <= high
        ]
        found = [table for table in tables if table.num_rows]
        return pa.concat_tables(found, promote_options="default") if found else None

    def objects(self, keys: Sequence[int]) -> dict[int, Any]:
        """Return the rows of objects by key."""
        o = object_.c
        query = sa.select(object_).where(o.pk.in_(list(keys)))
        return {row.pk: row for row in self.connection.execute(query)}
