"""A sheet of properties: rows are measurements of samples, whether or not there are images of these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from micdb.catalog import bulk, tables
from micdb.catalog.engine import writing
from micdb.catalog.rows import among, record
from micdb.ingest.property_rows import Definitions, value_row
from micdb.ingest.sheet import Sheet
from micdb.ingest.specimens import Name, place_samples, place_steps
from micdb.ingest.statements import Statements
from micdb.provenance import now, uuid7

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
    with writing(engine) as connection:
        samples, notes = place_samples(connection, sheet.rows, lab)
        steps = place_steps(connection, sheet.rows, samples, lab)
        values = _values(connection, said, samples, steps)
        new, retired = _write(connection, said.source, values)
        if new or retired:
            detail = {"sheet": sheet.path.name, "values": len(values), "new": new}
            record(connection, "ingest", "property_value", detail=detail)
    counts = (len(sheet.rows), len(samples), len(values), new, retired)
    return Measured(*counts, tuple(dict.fromkeys(notes)))


def _values(
    connection: Connection,
    said: Statements,
    samples: Mapping[Name, int],
    steps: Mapping[tuple[int, int], int],
) -> dict[str, dict[str, Any]]:
    """Return the rows of all values that the sheet says, by what makes them the same."""
    definitions, found = Definitions(connection), {}
    for (lab, sample, position, _), entries in said.all():
        owner: dict[str, Any] = {"level": "sample", "sample_pk": samples[lab, sample]}
        if position:
            owner["processing_step_pk"] = steps[owner["sample_pk"], position]
        for entry, stated in entries.items():
            where = f"{said.sheet}: row {stated.row}"
            row = value_row(definitions, entry, stated, owner=owner, source=said.source, where=where)
            found[row["natural_key"]] = row
    return found


def _write(connection: Connection, source: str, values: Mapping[str, Mapping[str, Any]]) -> tuple[int, int]:
    """Make the values of a source those that it says now; what stands is left alone.

    Returns
    -------
    tuple of int
        Number of values that are new or stand again, and of those that are retired.
    """
    query = sa.select(v.pk, v.natural_key, v.retired_at).where(v.source_name == source)
    held = {row.natural_key: row for row in connection.execute(query)}
    gone = [row.pk for key, row in held.items() if row.retired_at is None and key not in values]
    back = [held[key].pk for key in values if key in held and held[key].retired_at is not None]
    for keys, moment in ((gone, now()), (back, None)):
        if keys:
            update = tables.property_value.update().where(among(connection, v.pk, keys))
            connection.execute(update.values(retired_at=moment))
    at, fresh = now(), [row for key, row in values.items() if key not in held]
    names = tuple(dict.fromkeys(name for row in fresh for name in row))
    rows = ((uuid7(), at, *(row.get(name) for name in names)) for row in fresh)
    bulk.insert(connection, tables.property_value, ["uid", "created_at", *names], rows)
    return len(fresh) + len(back), len(gone)
