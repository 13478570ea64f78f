"""Rows of a statement as Arrow and pandas, with declared types: integers stay integers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa

from micdb.errors import ExpressionError
from micdb.query.nodes import Kind
from micdb.query.schema import Field

ARROW: dict[Kind, pa.DataType] = {
    "integer": pa.int64(),
    "number": pa.float64(),
    "text": pa.string(),
    "bool": pa.bool_(),
    "time": pa.string(),  # ISO 8601 as recorded: some carry a zone, some do not
}


def to_table(rows: Iterable[Sequence[Any]], fields: Sequence[Field]) -> pa.Table:
    """Return rows as an Arrow table; the unit of a column is in the metadata of its field."""
    columns = list(zip(*rows, strict=True)) or [()] * len(fields)
    arrays = [_array(column, field) for column, field in zip(columns, fields, strict=True)]
    schema = pa.schema(
        [
            pa.field(field.name, ARROW[field.kind], metadata={"unit": field.unit} if field.unit else None)
            for field in fields
        ]
    )
    return pa.table(arrays, schema=schema)


def to_frame(table: pa.Table) -> pd.DataFrame:
    """Return an Arrow table as a DataFrame of nullable Arrow-backed columns."""
    frame: pd.DataFrame = table.to_pandas(types_mapper=pd.ArrowDtype)
    return frame


def _array(values: Sequence[Any], field: Field) -> pa.Array:
    if field.kind == "bool":  # SQLite answers 0 and 1
        values = [None if value is None else bool(value) for value in values]
    try:
        return pa.array(values, type=ARROW[field.kind])
    except pa.ArrowInvalid as error:  # SQLite goes on with a float
        if field.kind != "integer":
            raise
        raise ExpressionError(
            f"{field.name} is larger than a 64-bit integer holds: multiply by 1.0 instead of 1"
        ) from error
