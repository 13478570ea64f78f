"""The few things SQLite and PostgreSQL spell differently; nothing else in the query layer knows either."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import CTE, ColumnElement, Connection
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import Boolean, Float, Integer, String, TypeEngine

from micdb.query.nodes import Kind

TYPES: dict[Kind, TypeEngine[Any]] = {
    "integer": sa.BigInteger().with_variant(Integer(), "sqlite"),
    "number": Float(53),
    "text": String(),
    "bool": Boolean(),
    "time": String(),
}


def prepare(connection: Connection) -> None:
    """Give SQLite the two aggregates it lacks; PostgreSQL has them."""
    if connection.dialect.name == "sqlite":
        driver: Any = connection.connection.driver_connection
        driver.create_aggregate("micdb_std", 1, _Spread)
        driver.create_aggregate("micdb_median", 1, _Median)


def local(rows: Iterable[Sequence[object]], columns: Sequence[tuple[str, Kind]]) -> CTE:
    """Return rows that are not in the catalog as a relation; they travel as one JSON value."""
    document = sa.literal(json.dumps([list(row) for row in rows], allow_nan=False), String())
    items = _Items(document).table_valued("value")
    made = sa.select(
        *(
            sa.cast(_Item(items.c.value, sa.literal_column(str(index))), TYPES[kind]).label(name)
            for index, (name, kind) in enumerate(columns)
        )
    )
    return made.cte().prefix_with("MATERIALIZED")


def ordered(text: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return text that compares by code point, as Python does, whatever the locale of the server."""
    return _CodePoints(text)


def contains(text: ColumnElement[Any], part: str) -> ColumnElement[bool]:
    """Return whether text contains a part, case-sensitively."""
    return _Position(text, sa.literal(part, String())) > 0


def std(number: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return the sample standard deviation (``ddof=1``) of a group."""
    return _Std(number)


def median(number: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return the median of a group."""
    return _MedianOf(number)


class _Items(FunctionElement[Any]):
    inherit_cache = True


class _Item(FunctionElement[Any]):
    inherit_cache = True


class _CodePoints(FunctionElement[Any]):
    inherit_cache = True
    type = String()


class _Position(FunctionElement[Any]):
    inherit_cache = True
    type = Integer()


class _Std(FunctionElement[Any]):
    inherit_cache = True
    type = Float(53)


class _MedianOf(FunctionElement[Any]):
    inherit_cache = True
    type = Float(53)


# SQLite guesses 25 rows for json_each and would scan them again for every row they are joined to (100,000
# to 100,000 rows: 330 s); a second factor of one row lifts its guess, so that it builds an index (1 s).
_SQLITE_ITEMS = "(SELECT rows.value FROM json_each({0}) AS rows, json_each('[0]') AS one)"
SPELLINGS: dict[type[FunctionElement[Any]], tuple[str, str]] = {  # SQLite, PostgreSQL
    _Items: (_SQLITE_ITEMS, "jsonb_array_elements(CAST({0} AS JSONB))"),
    _Item: ("json_extract({0}, '$[{1}]')", "({0} ->> {1})"),
    _CodePoints: ("{0}", '{0} COLLATE "C"'),
    _Position: ("instr({0}, {1})", "strpos({0}, {1})"),
    _Std: ("micdb_std({0})", "stddev_samp({0})"),
    _MedianOf: ("micdb_median({0})", "percentile_cont(0.5) WITHIN GROUP (ORDER BY {0})"),
}


def _spell(element: FunctionElement[Any], compiler: SQLCompiler, **options: Any) -> str:
    engine = compiler.dialect.name
    pattern = SPELLINGS[type(element)][engine == "postgresql"]
    return pattern.format(*(compiler.process(clause, **options) for clause in element.clauses))


for _element in SPELLINGS:
    compiles(_element)(_spell)


class _Spread:
    """Sample standard deviation as a SQLite aggregate; two passes, since one cancels digits away."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def step(self, value: float | None) -> None:
        if value is not None:
            self.values.append(value)

    def finalize(self) -> float | None:
        return statistics.stdev(self.values) if len(self.values) > 1 else None


class _Median(_Spread):
    """Median as a SQLite aggregate."""

    def finalize(self) -> float | None:
        return statistics.median(self.values) if self.values else None
