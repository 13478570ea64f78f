"""One query in DuckDB: tables handed over as Arrow, big tables read in place, statements of SQLAlchemy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection, Select, TableClause
from sqlalchemy.engine import IteratorResult, Result
from sqlalchemy.engine.result import SimpleResultMetaData
from sqlalchemy.sql import visitors
from sqlalchemy.types import NullType

from micdb.errors import ExpressionError, UsageError
from micdb.query.columns import arrow_kind
from micdb.query.context import Context
from micdb.query.dialect import TYPES
from micdb.query.facts import duck, parts
from micdb.query.facts.reading import Reading
from micdb.query.nodes import Kind
from micdb.query.result import ARROW
from micdb.query.spatial.derived import DERIVED

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

FILE, ROW = "__file", "__row"  # number of the part, and of the row in it: the order the extractor gave
Columns = Sequence[tuple[str, Kind]]


class Session:
    """A cursor of DuckDB and what one query has handed over to it.

    Parameters
    ----------
    context
        Surroundings of the query.
    connection
        The catalog's transaction, which says what parts there are.

    Attributes
    ----------
    readings, asked
        The big tables that are read and the statements that ran on the way, for ``explain()``.
    """

    def __init__(self, context: Context, connection: Connection) -> None:
        self.context = context
        self.connection = connection
        self.readings: list[Reading] = []
        self.asked: list[Select[Any]] = []
        self._cursor = duck.connect()
        self._count = 0
        self._parts: dict[tuple[str, tuple[int, ...]], list[parts.Part]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Forget everything that was handed over."""
        self._cursor.close()

    # ------------------------------------------------------------------ tables

    def local(self, table: pa.Table, columns: Columns) -> TableClause:
        """Hand rows over; nothing is copied.

        Parameters
        ----------
        table
            The rows.
        columns
            Names and kinds of the columns that are wanted.
        """
        name = self._name("local")
        shown = pa.table(
            [table.column(column).cast(ARROW[kind]) for column, kind in columns],
            names=[column for column, _ in columns],
        )
        self._cursor.register(name, shown)
        return _table(name, columns)

    def facts(self, table: str, runs: Sequence[int], *, images: np.ndarray | None = None) -> TableClause:
        """Return a big table as some runs filled it.

        Numbers are 64 bits wide, so that nothing overflows or rounds, and NaN is missing, as in pandas.
        `FILE` and `ROW` are columns too, as is ``image``, the local key of the micrograph. Nested columns,
        such as the numbers of a vector, have no type that expressions know.

        Parameters
        ----------
        table
            ``atoms``, ``bonds``, ...
        runs
            Runs whose rows count.
        images
            ``pk`` of the micrographs whose rows are wanted, ascending: parts that hold none are left out.
            None for all.

        Raises
        ------
        StoreError
            A part is missing or damaged.
        UsageError
            Two columns differ in case only, which SQL cannot tell apart.
        """
        if table in DERIVED:
            return self._computed(table, runs, images)
        found = self._found(table, runs)
        schema = parts.schema(table, found)
        held = found if images is None else parts.holding(found, images)
        name = self._name(table)
        self._view(name, held, schema)
        self.readings.append(Reading(name, table, tuple(held), found=len(found), images=images))
        columns = [sa.column(one.name, _type(one.type)) for one in schema]
        keys = [sa.column(key, sa.BigInteger()) for key in (FILE, ROW)]
        return sa.table(name, *columns, *keys)

    def _computed(self, table: str, runs: Sequence[int], images: np.ndarray | None) -> TableClause:
        """Return a table that is computed now from others of the same runs."""
        derived = DERIVED[table]
        made = [derived.schema.empty_table()]
        for run in runs:
            sources = []
            for name, columns in derived.sources.items():
                rows = self.facts(name, [run], images=images)
                statement = sa.select(*(rows.c[column] for column in columns))
                some = statement if images is None else statement.where(self.among(rows.c.image, images))
                sources.append(self.table(some))
            made.append(derived.compute(*sources))
        whole = pa.concat_tables(made)
        place = {FILE: pa.array(np.zeros(len(whole), np.int64)), ROW: pa.array(np.arange(len(whole)))}
        for name, column in place.items():
            whole = whole.append_column(name, column)
        kinds = [(field.name, arrow_kind(field.type)) for field in derived.schema]
        return self.local(whole, [*kinds, (FILE, "integer"), (ROW, "integer")])

    def among(self, image: ColumnElement[int], images: np.ndarray) -> ColumnElement[bool]:
        """Return the condition that an image is one of some, ``(n,)`` ascending and distinct.

        Images in one piece are a range, which costs nothing; others are looked up. Both skip row groups.
        """
        if len(images) and images[-1] - images[0] + 1 == len(images):
            return image.between(int(images[0]), int(images[-1]))
        return image.in_(sa.select(self.local(pa.table({"image": images}), [("image", "integer")]).c.image))

    def span(self, table: str, runs: Sequence[int]) -> tuple[int, int]:
        """Return the smallest and the largest image in the parts of some runs; an empty range if none."""
        found = self._found(table, runs)
        return min((one.first for one in found), default=0), max((one.last for one in found), default=-1)

    def whole(self, table: str, runs: Sequence[int]) -> bool:
        """Return whether every part that some runs made is still live."""
        return parts.whole(self.connection, table, runs)

    def _found(self, table: str, runs: Sequence[int]) -> list[parts.Part]:
        key = (table, tuple(runs))
        if key not in self._parts:
            self._parts[key] = parts.find(self.context, table, runs, connection=self.connection)
        return self._parts[key]

    def _view(self, name: str, held: Sequence[parts.Part], schema: pa.Schema) -> None:
        lowered: dict[str, str] = {}
        for column in schema.names:
            other = lowered.setdefault(column.lower(), column)
            if other != column:
                raise UsageError(
                    f"the parts have columns {other!r} and {column!r}, which SQL cannot tell apart: rename "
                    "one of them in the extractor"
                )
        shown = ", ".join(f"{_sql(one)} AS {_quoted(one.name)}" for one in schema)
        if held:
            keys, rows = f"file_index AS {FILE}, file_row_number AS {ROW}", parts.scanned(held)
        else:
            keys, rows = f"0 AS {FILE}, 0 AS {ROW}", f"{name}_empty"
            self._cursor.register(rows, schema.empty_table())
        with parts.damage_named(held):
            # Names are quoted and paths are escaped; no value of a user is in here.
            self._cursor.execute(f"CREATE TEMP VIEW {name} AS SELECT {keys}, {shown} FROM {rows}")  # noqa: S608

    def _name(self, kind: str) -> str:
        self._count += 1
        return f"{kind}_{self._count}"

    # ------------------------------------------------------------------ statements

    def table(self, statement: Select[Any]) -> pa.Table:
        """Run a statement and return its rows.

        Raises
        ------
        StoreError
            A part is missing or damaged.
        ExpressionError
            An integer is larger than 64 bits.
        """
        with self._told() as cursor:
            text, constants = duck.written(statement)
            return cursor.sql(text, params=constants).to_arrow_table()

    @contextmanager
    def _told(self) -> Iterator[DuckDBPyConnection]:
        """Give the cursor, and turn its errors into ours."""
        import duckdb

        try:
            with parts.damage_named([one for reading in self.readings for one in reading.parts]):
                yield self._cursor
        except (duckdb.OutOfRangeException, duckdb.ConversionException) as error:
            if "INT64" in str(error) or "INT128" in str(error):
                raise ExpressionError(
                    "a sum or product is larger than a 64-bit integer holds: multiply by 1.0 before"
                ) from error
            raise

    def answered(self, statement: Select[Any]) -> pa.Table:
        """Run a statement on the way to another one, and keep it for ``explain()``."""
        self.asked.append(statement)
        return self.table(statement)

    def narrow(self, name: str, images: np.ndarray) -> None:
        """Note that of a big table only the rows of some images are read after all, for ``explain()``."""
        wanted = np.unique(images)
        self.readings = [
            replace(one, images=wanted, parts=tuple(parts.holding(one.parts, wanted)))
            if one.name == name
            else one
            for one in self.readings
        ]

    def batches(self, statement: Select[Any], rows: int) -> Iterator[pa.Table]:
        """Run a statement and yield its rows as they come, at most so many at a time."""
        with self._told() as cursor:
            text, constants = duck.written(statement)
            for batch in cursor.sql(text, params=constants).to_arrow_reader(rows):
                yield pa.Table.from_batches([batch])

    def explain(self, statement: Select[Any]) -> list[str]:
        """Return one line for each big table that is read, and the statements that ran before this one."""
        used: dict[str, set[str]] = {}
        for element in (found for one in (*self.asked, statement) for found in visitors.iterate(one)):
            if isinstance(element, sa.ColumnClause) and isinstance(element.table, TableClause):
                used.setdefault(element.table.name, set()).add(element.name)
        lines = [one.describe(used.get(one.name, set())) for one in self.readings]
        return [*lines, *(duck.shown(one) for one in self.asked)]

    def execute(self, statement: Select[Any]) -> Result[Any]:
        """Run a statement and return its rows as a connection of the catalog does; `table` is quicker."""
        table = self.table(statement)
        columns = [column.to_pylist() for column in table.columns]
        rows = zip(*columns, strict=True) if columns else iter(())
        return IteratorResult(SimpleResultMetaData(table.column_names), rows)


def _table(name: str, columns: Columns) -> TableClause:
    return sa.table(name, *(sa.column(column, TYPES[kind]) for column, kind in columns))


def _type(type_: pa.DataType) -> Any:
    if pa.types.is_nested(type_):
        return NullType()
    if pa.types.is_boolean(type_):
        return TYPES["bool"]
    if pa.types.is_integer(type_):
        return TYPES["integer"]
    return TYPES["number"] if pa.types.is_floating(type_) else TYPES["text"]


def _sql(field: pa.Field) -> str:
    """Return the SQL of a column of the files, as queries see it."""
    name, type_ = _quoted(field.name), field.type
    if pa.types.is_floating(type_):
        return f"CAST(CASE WHEN isnan({name}) THEN NULL ELSE {name} END AS DOUBLE)"
    if pa.types.is_int64(type_) or pa.types.is_boolean(type_) or pa.types.is_nested(type_):
        return name
    return f"CAST({name} AS {'BIGINT' if pa.types.is_integer(type_) else 'VARCHAR'})"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
