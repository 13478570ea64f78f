"""A sheet of properties: rows are measurements of samples, whether or not there are images of these."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from micdb.catalog import tables
from micdb.catalog.engine import writing
from micdb.catalog.rows import find_or_add, id_list, record
from micdb.ingest import facts
from micdb.ingest.sheet import Sheet
from micdb.ingest.statements import Statements
from micdb.provenance import now

v = tables.property_value.c


@dataclass(frozen=True, slots=True)
class Measured:
    """What a sheet of properties brought.

    Parameters
    ----------
    n_rows, n_samples
        Rows of the sheet, and samples they speak of.
    n_values
        Values that stand now from this sheet.
    n_new, n_retired
        Values that were added or stand again, and those the sheet does not say any more.
    notes
        What was said and changed something else, one sentence each.
    """

    n_rows: int
    n_samples: int
    n_values: int
    n_new: int
    n_retired: int
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        return {
            "rows": self.n_rows,
            "samples": self.n_samples,
            "values": self.n_values,
            "new": self.n_new,
            "retired": self.n_retired,
            "notes": list(self.notes),
        }


def add_properties(engine: Engine, sheet: Sheet, lab: str | None) -> Measured:
    """Write what a sheet says of samples, all of it or nothing; the same sheet again changes nothing.

    Parameters
    ----------
    engine
        The catalog.
    sheet
        Its rows are of samples, see `micdb.ingest.sheet.read_properties`.
    lab
        Laboratory of the rows that name none.

    Raises
    ------
    SheetError
        Rows contradict one another, or do not fit what a property is: name, kind, dimension.
    """
    said = Statements(sheet, lab)
    notes: list[str] = []
    with writing(engine) as connection:
        before = _standing(connection, said.source)
        home = find_or_add(connection, tables.lab, {"name": lab}) if lab else None
        written = facts.Written()
        for row in sheet.rows:
            notes += facts.apply(connection, row, images=(), lab=home, said=said, written=written)
        gone = v.pk.in_(sa.select(id_list(connection, before - written.standing).c.id))
        connection.execute(tables.property_value.update().where(gone).values(retired_at=now()))
        after = _standing(connection, said.source)
        if before != after:
            detail = {"sheet": sheet.path.name, "values": len(after), "new": len(after - before)}
            record(connection, "ingest", "property_value", detail=detail)
    samples = {(row.lab or lab, row.sample) for row in sheet.rows}
    counts = (len(sheet.rows), len(samples), len(after), len(after - before), len(before - after))
    return Measured(*counts, tuple(dict.fromkeys(notes)))


def _standing(connection: Connection, source: str) -> frozenset[int]:
    query = sa.select(v.pk).where(v.source_name == source, v.retired_at.is_(None))
    return frozenset(connection.execute(query).scalars())
