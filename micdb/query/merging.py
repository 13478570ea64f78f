"""Joining a local table: it travels into the statement as one JSON value."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from micdb.errors import UsageError
from micdb.query.columns import arrow_kind
from micdb.query.nodes import Kind
from micdb.query.rules import written
from micdb.query.schema import Schema
from micdb.query.verbs import ROW, Merge

HOW = ("left", "inner")
VALIDATE = ("m:1", "1:1", "m:m", "1:m")


def merge_step(
    local: pd.DataFrame,
    schema: Schema,
    *,
    on: str,
    how: str = "left",
    validate: str | None = None,
    known: Mapping[str, str] | None = None,
) -> Merge:
    """Return the verb that joins a local table.

    Parameters
    ----------
    local
        The table; its other columns are added. Missing keys match nothing.
    schema
        Columns of the frame it is joined to.
    on
        Column that both have.
    how
        ``left`` keeps every row of the frame, ``inner`` those with a partner.
    validate
        ``m:1`` promises that a key stands once in the local table; needed (as ``m:m``) only where keys
        repeat, since rows are doubled then.
    known
        Units of the local table's columns.

    Raises
    ------
    UsageError
        The key is missing or of another kind or unit, keys repeat, or a value has no place in a query.
    """
    if how not in HOW:
        raise UsageError(f"how is {how!r}; it is one of {', '.join(HOW)}")
    if validate not in (None, *VALIDATE):
        raise UsageError(f"validate is {validate!r}; it is one of {', '.join(VALIDATE)}")
    if not isinstance(local, pd.DataFrame):
        raise UsageError(f"merge() joins a DataFrame or a frame, not {type(local).__name__}")
    if not isinstance(on, str):
        raise UsageError(f"on is {on!r}; it is the name of one column that both have")
    if on not in local.columns:
        raise UsageError(f"the local table has no column {on!r}; it has {', '.join(map(str, local.columns))}")
    repeated = local[on].dropna().duplicated().sum()
    if repeated and validate not in ("m:m", "1:m"):
        raise UsageError(
            f"{repeated} keys repeat in {on!r} of the local table, so rows would be doubled: "
            "aggregate it first, or pass validate='m:m'"
        )
    hidden = [name for name in map(str, local.columns) if not name or name.startswith("__")]
    if hidden:
        raise UsageError(f"{hidden[0]!r} cannot name a column: rename it in the local table")
    table = _plain(local)
    columns: list[tuple[str, Kind]] = [(ROW, "integer")]
    columns += [(str(field.name), arrow_kind(field.type)) for field in table.schema]
    _check_key(schema, on, dict(columns)[on])
    units = known or {}
    if schema[on].unit != units.get(on) and on in units:
        raise UsageError(
            f"{on} is in {schema[on].unit} in the frame and in {units[on]} in the other; make them alike"
        )
    values = [table.column(name).to_pylist() for name, _ in columns[1:]]
    rows = zip(range(table.num_rows), *values, strict=True)
    return Merge(on, how, tuple(columns), tuple(rows), tuple(units.items()))


def _plain(local: pd.DataFrame) -> pa.Table:
    """Return the table with values that JSON can carry; times become text as in the catalog."""
    try:
        table = pa.Table.from_pandas(local, preserve_index=False)
        return pa.table({field.name: _carried(table, field) for field in table.schema})
    except (pa.ArrowException, ValueError, TypeError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"the local table cannot be joined: {' '.join(map(str, error.args))}") from error


def _carried(table: pa.Table, field: pa.Field) -> pa.ChunkedArray:
    column, type_ = table.column(field.name), field.type
    if pa.types.is_dictionary(type_):
        column = column.cast(type_.value_type)
        type_ = type_.value_type
    if pa.types.is_decimal(type_):
        return column.cast(pa.float64())
    if pa.types.is_uint64(type_):
        return column.cast(pa.int64())  # refuses what does not fit
    if pa.types.is_date(type_) or pa.types.is_timestamp(type_):
        texts = [None if moment is None else written(moment) for moment in column.to_pylist()]
        return pa.chunked_array([texts], pa.string())
    if pa.types.is_floating(type_) and not pc.all(pc.is_finite(column), min_count=0).as_py():
        raise UsageError(
            f"{field.name} holds infinity, which is no measurement: replace it by a missing value"
        )
    texts = pa.types.is_string(type_) or pa.types.is_large_string(type_)
    if texts and pc.any(pc.match_substring(column, "\0"), min_count=0).as_py():
        raise UsageError(f"{field.name} holds the character NUL, which no text here can have: take it out")
    if not (texts or pa.types.is_boolean(type_) or pa.types.is_null(type_)
            or pa.types.is_integer(type_) or pa.types.is_floating(type_)):  # fmt: skip
        raise UsageError(
            f"{field.name} is {type_}; a table to join holds numbers, text, true or false, and times"
        )
    return column


def _check_key(schema: Schema, on: str, kind: Kind) -> None:
    here = schema[on].kind
    numbers = {"integer", "number"}
    if here != kind and not {here, kind} <= numbers and not {here, kind} <= {"text", "time"}:
        raise UsageError(f"{on} is {here} in the frame and {kind} in the local table; make them alike")
