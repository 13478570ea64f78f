"""The few things SQLite, PostgreSQL and DuckDB spell differently; nothing else in the query layer knows."""

from __future__ import annotations

import hashlib
import json
import statistics
import struct
from collections.abc import Iterable, Sequence
from itertools import count
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from pyarrow import csv
from sqlalchemy import CTE, ColumnElement, Connection, FromClause, event
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.schema import CreateTable, DropTable
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

_NUMBERS = count()  # of temporary tables

# An index serves ORDER BY only in its own collation: where that is by code point already, none is named.
BY_CODE_POINT = "micdb_by_code_point"
_CODE_POINT_ORDER = sa.text(
    "SELECT datlocprovider = 'b' OR"
    " (datlocprovider = 'c' AND datcollate IN ('C', 'POSIX', 'C.UTF-8', 'C.utf8'))"
    " FROM pg_database WHERE datname = current_database()"
)


def prepare(connection: Connection) -> None:
    """Give SQLite the functions it lacks; find out how a PostgreSQL server orders text."""
    if connection.dialect.name == "postgresql" and not hasattr(connection.dialect, BY_CODE_POINT):
        setattr(connection.dialect, BY_CODE_POINT, bool(connection.execute(_CODE_POINT_ORDER).scalar()))
    if connection.dialect.name == "sqlite":
        driver: Any = connection.connection.driver_connection
        driver.create_aggregate("micdb_std", 1, _Spread)
        driver.create_aggregate("micdb_var", 1, _Variance)
        driver.create_aggregate("micdb_median", 1, _Median)
        driver.create_aggregate("micdb_quantile", 2, _Quantile)
        driver.create_function("micdb_md5", 1, _md5, deterministic=True)
        driver.create_function("micdb_bits", 1, _bits, deterministic=True)


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


def temporary(connection: Connection, table: pa.Table, columns: Sequence[tuple[str, Kind]]) -> FromClause:
    """Return rows that are not in the catalog as a temporary table, which ends with the transaction.

    Making it pays above some hundred rows; at 100,000 it is some ten times quicker than JSON.

    Parameters
    ----------
    connection
        The transaction.
    table
        The rows.
    columns
        Those that are wanted, and their kinds.
    """
    made = sa.Table(
        f"micdb_local_{next(_NUMBERS)}",
        sa.MetaData(),
        *(sa.Column(name, TYPES[kind]) for name, kind in columns),
        prefixes=["TEMPORARY"],
        postgresql_on_commit="DROP",
    )
    connection.execute(CreateTable(made))
    driver: Any = connection.connection.driver_connection
    wanted = table.select([name for name, _ in columns])
    if connection.dialect.name == "sqlite":
        places = ", ".join("?" * len(columns))
        rows = zip(*(column.to_pylist() for column in wanted.columns), strict=True)
        driver.executemany(f"INSERT INTO {made.name} VALUES ({places})", rows)  # noqa: S608 - named above
        event.listen(connection, "commit", lambda one: one.execute(DropTable(made)), once=True)
        return made
    text = pa.BufferOutputStream()
    # Quotes tell empty text from nothing.
    csv.write_csv(wanted, text, csv.WriteOptions(include_header=False, quoting_style="all_valid"))
    with driver.cursor() as cursor, cursor.copy(f"COPY {made.name} FROM STDIN (FORMAT csv)") as copy:
        copy.write(text.getvalue().to_pybytes())
    return made


def ordered(text: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return text that compares by code point, as Python does, whatever the locale of the server."""
    return _CodePoints(text)


def contains(text: ColumnElement[Any], part: str) -> ColumnElement[bool]:
    """Return whether text contains a part, case-sensitively."""
    return _Position(text, sa.literal(part, String())) > 0


def std(number: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return the sample standard deviation (``ddof=1``) of a group."""
    return _Std(number)


def var(number: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return the sample variance (``ddof=1``) of a group."""
    return _Var(number)


def quantile(number: ColumnElement[Any], fraction: float) -> ColumnElement[Any]:
    """Return a quantile of a group; between two values it is interpolated, as in pandas."""
    return _QuantileOf(sa.cast(number, Float(53)), sa.literal(fraction, Float(53)))


def digest(seed: int, values: Iterable[ColumnElement[Any]]) -> ColumnElement[Any]:
    """Return a text that looks random and depends on a seed and some values only: the same on both engines.

    It is MD5 of the seed and the values, the way RFC 1321 defines it: quick, everywhere, and no secret.
    """
    text: ColumnElement[Any] = sa.literal(str(seed), String())
    for value in values:
        if isinstance(value.type, Float):
            plain: ColumnElement[Any] = _Bits(sa.cast(value, Float(53)) + 0.0)  # -0.0 is 0.0
        elif isinstance(value.type, String):
            plain = value
        else:
            whole = sa.cast(value, Integer()) if isinstance(value.type, Boolean) else value
            plain = sa.cast(whole, String())
        text = text + "/" + sa.func.coalesce(plain, "", type_=String())
    return _Md5(text)


def median(number: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return the median of a group."""
    return _MedianOf(number)


def total(number: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return the sum of a group; one of integers is refused where 64 bits do not hold it."""
    return _WholeSum(number) if isinstance(number.type, Integer) else sa.func.sum(number, type_=Float(53))


def known(number: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return a number that is missing where it is none: infinity minus infinity."""
    return _Known(number)


def unindexed(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return a column whose index SQLite leaves alone: one with few different values, beside a better one.

    Without statistics SQLite takes any two indexes for equally good, and reads a million rows of a run to
    find the five of an image. PostgreSQL always knows.
    """
    return _Unindexed(column)


def few(condition: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return a condition that few rows fulfil, whatever SQLite's statistics say: an index is worth it.

    An index of nothing but NULL looks to them as if each of its values stood in every row.
    """
    return _Few(condition)


def shown(image: ColumnElement[int]) -> ColumnElement[bool]:
    """Return whether the image of a row is not deleted; true of rows that belong to none.

    Few images are deleted: a million rows are compared with those alone.
    """
    return _Shown(image)


class _Items(FunctionElement[Any]):
    inherit_cache = True


class _Item(FunctionElement[Any]):
    inherit_cache = True


class _CodePoints(FunctionElement[Any]):
    inherit_cache = True
    type = String()


class _Unindexed(FunctionElement[Any]):
    inherit_cache = True

    def __init__(self, column: ColumnElement[Any]) -> None:
        super().__init__(column)
        self.type = column.type


class _Few(FunctionElement[Any]):
    inherit_cache = True
    type = Integer()  # of a boolean SQLAlchemy would ask whether it equals 1, and no index knows that


class _Shown(FunctionElement[Any]):
    inherit_cache = True
    type = Integer()  # as of the one above


class _Position(FunctionElement[Any]):
    inherit_cache = True
    type = Integer()


class _Std(FunctionElement[Any]):
    inherit_cache = True
    type = Float(53)


class _Var(FunctionElement[Any]):
    inherit_cache = True
    type = Float(53)


class _MedianOf(FunctionElement[Any]):
    inherit_cache = True
    type = Float(53)


class _WholeSum(FunctionElement[Any]):
    inherit_cache = True
    type = sa.BigInteger()


class _Known(FunctionElement[Any]):
    inherit_cache = True
    type = Float(53)


class _QuantileOf(FunctionElement[Any]):
    inherit_cache = True
    type = Float(53)


class _Md5(FunctionElement[Any]):
    inherit_cache = True
    type = String()


class _Bits(FunctionElement[Any]):
    inherit_cache = True
    type = String()


# SQLite guesses 25 rows for json_each and would scan them again for every row they are joined to (100,000
# to 100,000 rows: 330 s); a second factor of one row lifts its guess, so that it builds an index (1 s).
_SQLITE_ITEMS = "(SELECT rows.value FROM json_each({0}) AS rows, json_each('[0]') AS one)"
_DUCKDB_ITEMS = "(SELECT unnest(CAST({0} AS JSON[])) AS value)"
_DELETED = "SELECT pk FROM micrograph WHERE deleted_at IS NOT NULL"
_SQLITE_SHOWN = f"coalesce({{0}} NOT IN ({_DELETED}), 1)"
_POSTGRES_SHOWN = f"(NOT EXISTS (SELECT 1 FROM ({_DELETED}) AS gone WHERE gone.pk = {{0}}))"  # noqa: S608
ENGINES = ("sqlite", "postgresql", "duckdb")
SPELLINGS: dict[type[FunctionElement[Any]], tuple[str, str, str]] = {
    _Items: (_SQLITE_ITEMS, "jsonb_array_elements(CAST({0} AS JSONB))", _DUCKDB_ITEMS),
    _Item: ("json_extract({0}, '$[{1}]')", "({0} ->> {1})", "({0} ->> {1})"),
    _CodePoints: ("{0}", '{0} COLLATE "C"', "{0}"),
    _Shown: (_SQLITE_SHOWN, _POSTGRES_SHOWN, _POSTGRES_SHOWN),
    _Few: ("likelihood({0}, 0.00001)", "({0})", "({0})"),
    _Unindexed: ("+{0}", "{0}", "{0}"),
    _Position: ("instr({0}, {1})", "strpos({0}, {1})", "strpos({0}, {1})"),
    _Std: ("micdb_std({0})", "stddev_samp({0})", "stddev_samp({0})"),
    _Var: ("micdb_var({0})", "var_samp({0})", "var_samp({0})"),
    _QuantileOf: (
        "micdb_quantile({0}, {1})",
        "percentile_cont({1}) WITHIN GROUP (ORDER BY {0})",
        "quantile_cont({0}, {1})",
    ),
    _Md5: ("micdb_md5({0})", "md5({0})", "md5({0})"),
    _Bits: (
        "micdb_bits({0})",
        "encode(float8send({0}), 'hex')",
        "lower(hex(CAST(CAST({0} AS BIT) AS BLOB)))",
    ),
    _MedianOf: (
        "micdb_median({0})",
        "percentile_cont(0.5) WITHIN GROUP (ORDER BY {0})",
        "median(CAST({0} AS DOUBLE))",
    ),
    _WholeSum: ("sum({0})", "sum({0})", "CAST(sum({0}) AS BIGINT)"),
    _Known: ("{0}", "{0}", "nullif({0}, CAST('NaN' AS DOUBLE))"),
}


def _spell(element: FunctionElement[Any], compiler: SQLCompiler, **options: Any) -> str:
    pattern = SPELLINGS[type(element)][ENGINES.index(compiler.dialect.name)]
    if isinstance(element, _CodePoints) and getattr(compiler.dialect, BY_CODE_POINT, False):
        pattern = "{0}"
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


class _Variance(_Spread):
    """Sample variance as a SQLite aggregate."""

    def finalize(self) -> float | None:
        return statistics.variance(self.values) if len(self.values) > 1 else None


class _Quantile:
    """Interpolated quantile as a SQLite aggregate."""

    def __init__(self) -> None:
        self.values: list[float] = []
        self.fraction = 0.5

    def step(self, value: float | None, fraction: float) -> None:
        self.fraction = fraction
        if value is not None:
            self.values.append(value)

    def finalize(self) -> float | None:
        if not self.values:
            return None
        place = (len(self.values) - 1) * self.fraction
        low = int(place)
        self.values.sort()
        below, above = self.values[low], self.values[min(low + 1, len(self.values) - 1)]
        return below + (above - below) * (place - low)


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _bits(value: float | None) -> str | None:
    """Return the eight bytes of a double, as PostgreSQL's float8send gives them."""
    return None if value is None else struct.pack(">d", value).hex()
