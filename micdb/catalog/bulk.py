"""Many rows of one table at once: COPY on PostgreSQL, the driver's ``executemany`` on SQLite.

`Connection.execute` with a list of rows compiles and converts each of them; ``benchmarks/bulk.py`` measures
what is left out here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any

import sqlalchemy as sa
from sqlalchemy import JSON, Column, Connection, Table
from sqlalchemy.sql.schema import ScalarElementColumnDefault

from micdb.catalog.json_text import dump_json

Row = Sequence[Any]
Convert = Callable[[Any], Any]


def insert(connection: Connection, table: Table, names: Sequence[str], rows: Iterable[Row]) -> int:
    """Insert rows and return how many.

    Parameters
    ----------
    connection
        A write transaction.
    table
        Where to.
    names
        Columns that each row gives, in order. Of the others those with a plain default get it, the rest is
        left to the database.
    rows
        Values in the order of `names`; read once, never held all at a time on PostgreSQL. None is NULL, and
        so is NaN; values of JSON columns are plain Python values.

    Raises
    ------
    KeyError
        The table has no such column.
    ValueError
        A row is longer or shorter than `names`, or a number within JSON is not finite.
    """
    plain = ((column, column.default) for column in table.columns if column.name not in names)
    defaults = {column: by.arg for column, by in plain if isinstance(by, ScalarElementColumnDefault)}
    columns = [*(table.c[name] for name in names), *defaults]
    whole = _whole(rows, len(names), tuple(defaults.values()))
    converters = ((place, _converter(connection, column)) for place, column in enumerate(columns))
    special = [(place, convert) for place, convert in converters if convert is not None]
    quote = connection.dialect.identifier_preparer
    target = f"{quote.format_table(table)} ({', '.join(quote.quote(column.name) for column in columns)})"
    write = _copy if connection.dialect.name == "postgresql" else _execute_many
    return write(connection, target, len(columns), _convert(whole, special) if special else whole)


def insert_numbers(connection: Connection, table: str, numbers: Iterable[int]) -> None:
    """Insert whole numbers into a table of one column on PostgreSQL, as one text: four times as fast.

    Parameters
    ----------
    connection
        A transaction.
    table
        Name of the table, which needs no quotes.
    numbers
        The numbers.
    """
    statement = f"COPY {table} FROM STDIN"
    with _driver(connection, statement) as cursor, cursor.copy(statement) as copy:
        copy.write("\n".join(map(str, numbers)))


def _whole(rows: Iterable[Row], length: int, tail: tuple[Any, ...]) -> Iterator[Row]:
    for row in rows:
        if len(row) != length:
            raise ValueError(f"a row of {len(row)} values for {length} columns: {row!r}")
        yield (*row, *tail)


def _converter(connection: Connection, column: Column[Any]) -> Convert | None:
    """Return what turns a value of a column into one of the driver's, or None where nothing has to."""
    dialect = connection.dialect
    kind = column.type.dialect_impl(dialect)
    if isinstance(kind, JSON) and dialect.name == "postgresql":
        return dump_json
    return kind.bind_processor(dialect)


def _convert(rows: Iterable[Row], special: Sequence[tuple[int, Convert]]) -> Iterator[Row]:
    for row in rows:
        changed = list(row)
        for place, convert in special:
            if changed[place] is not None:
                changed[place] = convert(changed[place])
        yield changed


def _copy(connection: Connection, target: str, _width: int, rows: Iterator[Row]) -> int:
    first = next(rows, None)
    if first is None:
        return 0
    statement = f"COPY {target} FROM STDIN"
    with _driver(connection, statement) as cursor:
        with cursor.copy(statement) as copy:
            for row in chain((first,), rows):
                copy.write_row(row)
        return int(cursor.rowcount)


def _execute_many(connection: Connection, target: str, width: int, rows: Iterator[Row]) -> int:
    statement = f"INSERT INTO {target} VALUES ({', '.join('?' * width)})"  # noqa: S608 (names of our tables)
    with _driver(connection, statement) as cursor:
        cursor.executemany(statement, rows)
        return max(int(cursor.rowcount), 0)


@contextmanager
def _driver(connection: Connection, statement: str) -> Iterator[Any]:
    """Yield a cursor of the driver; its errors come as SQLAlchemy's, which `micdb.catalog.engine` knows."""
    dialect, cursor = connection.dialect, connection.connection.cursor()
    errors: Any = dialect.loaded_dbapi.Error
    try:
        yield cursor
    except errors as error:
        raise sa.exc.DBAPIError.instance(statement, None, error, errors, dialect=dialect) from error
    finally:
        cursor.close()
