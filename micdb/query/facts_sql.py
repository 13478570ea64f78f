"""Questions to the big tables, answered by DuckDB over the Parquet parts in place."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from micdb.query import parts
from micdb.query.aggregate import Aggregate
from micdb.query.context import Context
from micdb.query.facts_expr import Compiler, known
from micdb.query.nodes import Node

FUNCTIONS = {
    "count": "count({})",
    "nunique": "count(DISTINCT {})",
    "mean": "avg({}::DOUBLE)",
    "std": "stddev_samp({}::DOUBLE)",  # ddof=1, as in pandas
    "median": "median({}::DOUBLE)",
    "sum": "sum({})",
    "min": "min({})",
    "max": "max({})",
}
COUNTS = frozenset({"size", "count", "nunique"})  # of nothing they are 0, all others are missing
DOUBLES = frozenset({"mean", "std", "median"})


def columns(context: Context, table: str, run_pks: Sequence[int]) -> pa.Schema:
    """Return the columns of a table as some runs filled it, ``run`` first.

    Raises
    ------
    UsageError
        There is no such table.
    StoreError
        A part is missing or damaged.
    """
    return parts.schema(table, parts.find(context, table, run_pks))


def aggregate(
    context: Context,
    table: str,
    run_pks: Sequence[int],
    *,
    images: np.ndarray,
    aggregates: Sequence[Aggregate],
) -> pa.Table:
    """Return numbers for each image, computed from its rows in a big table.

    Missing values are left out as in pandas; NaN is missing. Of an image without rows ``size``,
    ``count`` and ``nunique`` are 0 and everything else is missing.

    Parameters
    ----------
    context
        Surroundings of the query.
    table
        ``atoms``, ``bonds``, ...
    run_pks
        Runs whose rows count.
    images
        ``pk`` of micrographs, ``(n,)`` int64.
    aggregates
        What to compute.

    Returns
    -------
    pyarrow.Table
        ``image`` and one column per aggregate; one row per distinct image, in the order given.

    Raises
    ------
    UnknownColumnError
        The table has no such column.
    StoreError
        A part is missing or damaged.
    """
    found = parts.find(context, table, run_pks)
    compiler = Compiler(table, parts.schema(table, found))
    inner = "".join(f", {_aggregate(compiler, one)} AS a{i}" for i, one in enumerate(aggregates))
    outer = "".join(
        f", coalesce(a{i}, 0) AS a{i}" if one.function in COUNTS else f", a{i}"
        for i, one in enumerate(aggregates)
    )
    sql = f"""
        SELECT image{outer} FROM wanted
        LEFT JOIN (SELECT image{inner} FROM facts SEMI JOIN wanted USING (image) GROUP BY image) USING (image)
        ORDER BY position
    """  # noqa: S608  # the compiler checked every name and holds every constant
    answer = _ask(sql, compiler, found=found, images=images)
    return answer.rename_columns(["image", *(one.name for one in aggregates)])


def rows(
    context: Context,
    table: str,
    run_pks: Sequence[int],
    *,
    images: np.ndarray,
    columns: Sequence[str],
    condition: Node | None = None,
    limit: int | None = None,
) -> pa.Table:
    """Return rows of a big table.

    Parameters
    ----------
    context, table, run_pks, images
        As for `aggregate`.
    columns
        Columns wanted beside ``image``, in order; ``run`` is a column too.
    condition
        Rows to keep; None for all.
    limit
        Number of rows at most; None for all.

    Returns
    -------
    pyarrow.Table
        ``image`` and the columns; images in the order given, and the rows of an image in the order its
        extractor gave them.

    Raises
    ------
    UnknownColumnError
        The table has no such column.
    StoreError
        A part is missing or damaged.
    """
    found = parts.find(context, table, run_pks)
    compiler = Compiler(table, parts.schema(table, found))
    columns = ["image", *(name for name in columns if name != "image")]
    shown = ", ".join(f"{compiler.column(name)} AS c{i}" for i, name in enumerate(columns))
    where = "" if condition is None else f" WHERE {compiler.expression(condition)}"
    first = "" if limit is None else f" LIMIT {int(limit)}"
    sql = f"""
        SELECT {shown} FROM facts JOIN wanted USING (image){where}
        ORDER BY position, run, {parts.ROW}{first}
    """  # noqa: S608  # the compiler checked every name and holds every constant
    answer = _ask(sql, compiler, found=found, images=images)
    return answer.rename_columns(columns)


def _aggregate(compiler: Compiler, one: Aggregate) -> str:
    kept = "" if one.condition is None else f" FILTER (WHERE {compiler.expression(one.condition)})"
    if one.column is None:
        return f"count(*){kept}"
    value = compiler.value(one.column)
    kind = compiler.columns.field(one.column).type
    number = f"{FUNCTIONS[one.function].format(value)}{kept}"
    if one.function == "sum" and not pa.types.is_floating(kind):
        return f"({number})::BIGINT"
    if one.function in COUNTS or not (pa.types.is_floating(kind) or one.function in DOUBLES):
        return number
    return known(number)  # infinity minus infinity


def _ask(sql: str, compiler: Compiler, *, found: Sequence[parts.Part], images: np.ndarray) -> pa.Table:
    distinct, first = np.unique(np.asarray(images, np.int64), return_index=True)
    with parts.database(parts.holding(found, distinct), compiler.columns) as duck:
        duck.register("wanted", pa.table({"image": distinct, "position": first}))
        return duck.sql(sql, params=compiler.parameters).to_arrow_table()
