"""Joining a local table: it travels into the statement as one JSON value."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa

from micdb.errors import UsageError
from micdb.query.columns import arrow_kind
from micdb.query.nodes import Kind
from micdb.query.schema import Schema
from micdb.query.verbs import ROW, Merge

HOW = ("left", "inner")
VALIDATE = ("m:1", "1:1", "m:m", "1:m")


def merge_step(
    local: pd.DataFrame, schema: Schema, *, on: str, how: str = "left", validate: str | None = None
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

    Raises
    ------
    UsageError
        The key is missing or of another kind, or keys repeat.
    """
    if how not in HOW:
        raise UsageError(f"how is {how!r}; it is one of {', '.join(HOW)}")
    if validate not in (None, *VALIDATE):
        raise UsageError(f"validate is {validate!r}; it is one of {', '.join(VALIDATE)}")
    if on not in local.columns:
        raise UsageError(f"the local table has no column {on!r}; it has {', '.join(map(str, local.columns))}")
    repeated = local[on].dropna().duplicated().sum()
    if repeated and validate not in ("m:m", "1:m"):
        raise UsageError(
            f"{repeated} keys repeat in {on!r} of the local table, so rows would be doubled: "
            "aggregate it first, or pass validate='m:m'"
        )
    table = pa.Table.from_pandas(local, preserve_index=False)
    columns: list[tuple[str, Kind]] = [(ROW, "integer")]
    columns += [(str(field.name), arrow_kind(field.type)) for field in table.schema]
    _check_key(schema, on, dict(columns)[on])
    values = [table.column(name).to_pylist() for name, _ in columns[1:]]
    rows = zip(range(table.num_rows), *values, strict=True)
    return Merge(on, how, tuple(columns), tuple(rows))


def _check_key(schema: Schema, on: str, kind: Kind) -> None:
    here = schema[on].kind
    numbers = {"integer", "number"}
    if here != kind and not {here, kind} <= numbers and not {here, kind} <= {"text", "time"}:
        raise UsageError(f"{on} is {here} in the frame and {kind} in the local table; make them alike")
