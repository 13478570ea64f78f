"""Names that only the catalog knows: properties, roll-ups, and the runs behind derived rows."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy import Connection

from micdb.catalog.engine import reading
from micdb.catalog.results import current_run, model, part, rollup, run
from micdb.catalog.tables import property_def
from micdb.errors import UsageError, suggestion
from micdb.populate.facts import FACTS
from micdb.query.columns import PARTS, SOURCES, part_fields
from micdb.query.context import Context
from micdb.query.facts import parts
from micdb.query.schema import Field, Schema
from micdb.query.search import similar
from micdb.query.spatial.derived import DERIVED

Pins = Mapping[str, int]  # analysis -> pk of the run that stands for it


@dataclass(frozen=True, slots=True)
class Property:
    """A property people measure, set or assign."""

    pk: int
    name: str
    kind: str
    unit: str | None
    description: str

    def field(self) -> Field:
        """Return it as a column."""
        kind = "number" if self.kind == "number" else "text"
        return Field(self.name, kind, self.unit, "properties", self.description)  # type: ignore[arg-type]


class Vocabulary:
    """What the names of one catalog mean; read when first asked for and kept with the frame.

    Parameters
    ----------
    context
        Surroundings of the query.
    """

    def __init__(self, context: Context) -> None:
        self.context = context
        self.engine = context.engine
        self.rankings: dict[Hashable, similar.Ranking] = {}
        self.measured: dict[Hashable, Any] = {}  # conditions of properties, by `micdb.query.conditions`
        self._rollups: dict[str, Field | None] = {}
        self._parts: dict[str, tuple[Field, ...]] = {}

    @cached_property
    def properties(self) -> dict[str, Property]:
        """Every property by name."""
        p = property_def.c
        with reading(self.engine) as connection:
            rows = connection.execute(sa.select(p.pk, p.name, p.kind, p.unit, p.description)).all()
        return {
            row.name: Property(row.pk, row.name, row.kind, row.unit, row.description or "") for row in rows
        }

    def property(self, name: str) -> Property:
        """Return a property.

        Raises
        ------
        UsageError
            There is none of that name.
        """
        if name not in self.properties:
            raise UsageError(f"no property {name!r}{suggestion(name, self.properties)}")
        return self.properties[name]

    def schema(self, table: str) -> Schema:
        """Return the columns of a table, with properties and roll-ups behind them where it has any."""
        known = SOURCES[table].fields if table not in PARTS else self._part_fields(table)
        fields = {field.name: field for field in known}
        if table == "images":
            return Schema(table, fields, self._find, self._names, self.schema)
        if table == "samples":
            return Schema(table, fields, self._find_property, lambda: self.properties, self.schema)
        return Schema(table, fields, tables=self.schema)

    def _part_fields(self, table: str) -> tuple[Field, ...]:
        """Return the columns of a table in parts; extractors may have added some."""
        if table in self._parts:
            return self._parts[table]
        with reading(self.engine) as connection:
            runs = connection.execute(sa.select(part.c.run_pk).where(part.c.table_name == table).distinct())
            found = list(runs.scalars())
        stored = parts.schema(table, parts.find(self.context, table, found))
        # The runs of an older micdb lack the columns that have come since: they are missing, not unknown.
        newer = [column for column in FACTS.get(table, ()) if column.name not in stored.names]
        self._parts[table] = part_fields(table, pa.schema([*stored, *newer]))
        return self._parts[table]

    def _find_property(self, name: str) -> Field | None:
        return self.properties[name].field() if name in self.properties else None

    def _find(self, name: str) -> Field | None:
        return self._find_property(name) or self._rollup(name)

    def _names(self) -> Iterable[str]:
        with reading(self.engine) as connection:
            some = sa.select(rollup.c.name).limit(1000).subquery()  # every image has the same ones
            return [*self.properties, *connection.execute(sa.select(some.c.name).distinct()).scalars()]

    def _rollup(self, name: str) -> Field | None:
        if name not in self._rollups:
            statement = sa.select(rollup.c.unit).where(rollup.c.name == name).limit(1)
            with reading(self.engine) as connection:
                row = connection.execute(statement).first()
            field = Field(name, "number", row.unit, "roll-ups", "number per image, by a run") if row else None
            self._rollups[name] = field
        return self._rollups[name]


def pin(connection: Connection, analysis: str, version: str) -> int:
    """Return the run that ``analysis@version`` means; the version is a model's, or the start of a run's uid.

    Raises
    ------
    UsageError
        There is no such run, or several.
    """
    statement = (
        sa.select(run.c.pk, run.c.uid, model.c.version)
        .join(model, model.c.pk == run.c.model_pk)
        .where(model.c.name == analysis)
        .order_by(run.c.uid)
    )
    rows = connection.execute(statement).all()
    found = [row for row in rows if row.version == version]  # the uids of all runs may begin alike
    found = found or [row for row in rows if row.uid.startswith(version)]
    if len(found) == 1:
        return int(found[0].pk)
    if not found:
        have = ", ".join(f"{analysis}@{row.version}" for row in rows) or f"none of {analysis!r}"
        raise UsageError(f"no run {analysis}@{version}; there is {have}")
    uids = ", ".join(f"{analysis}@{row.uid}" for row in found)
    raise UsageError(f"{len(found)} runs are {analysis}@{version} with different parameters; pin one: {uids}")


def runs_of(connection: Connection, table: str, *, pins: Pins, name: str | None = None) -> list[int]:
    """Return the run whose rows a child table or roll-up means: a pinned one, else the current one.

    Raises
    ------
    UsageError
        Two current analyses fill it, so that counting both would count twice.
    """
    statement = sa.select(current_run.c.analysis, current_run.c.run_pk)
    current = {row.analysis: row.run_pk for row in connection.execute(statement)}
    others = [pk for analysis, pk in current.items() if analysis not in pins]
    chosen = _filling(connection, list(pins.values()), table=table, name=name)
    chosen = chosen or _filling(connection, others, table=table, name=name)
    if len(chosen) > 1:
        versions = sa.select(model.c.name, model.c.version).join(run, run.c.model_pk == model.c.pk)
        rows = connection.execute(versions.where(run.c.pk.in_(chosen))).all()
        names = " and ".join(f"{row.name}@{row.version}" for row in rows)
        raise UsageError(
            f"{name or table} comes from {names}: "
            f'pin one, for example frame.using("{rows[0].name}@{rows[0].version}")'
        )
    return chosen


def _filling(connection: Connection, runs: Sequence[int], *, table: str, name: str | None) -> list[int]:
    """Return those of some runs that have rows in a child table, or a roll-up."""
    if not runs:
        return []
    where: list[sa.ColumnElement[bool]] = []
    belongs: sa.ColumnElement[int] | None
    if name is not None:
        belongs, where = rollup.c.run_pk, [rollup.c.name == name]
    elif table in PARTS:
        stored = DERIVED[table].stored if table in DERIVED else table
        belongs, where = part.c.run_pk, [part.c.table_name == stored]
    else:
        belongs = SOURCES[table].run
    if belongs is None:
        return []
    # A condition for each run: of one for all PostgreSQL would read every row of the table.
    found = connection.execute(sa.select(*(sa.exists().where(belongs == pk, *where) for pk in runs))).one()
    return [pk for pk, fills in zip(runs, found, strict=True) if fills]
