"""A frame runs: one transaction, one statement, and what it needs from Parquet parts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy import Connection, Select
from sqlalchemy.exc import OperationalError

from micdb.catalog.engine import reading
from micdb.catalog.tables import micrograph
from micdb.errors import ExpressionError
from micdb.query import result
from micdb.query.compile import Compiled, compile_frame
from micdb.query.context import Context
from micdb.query.schema import Schema
from micdb.query.verbs import Verb
from micdb.query.vocabulary import Vocabulary

_NESTED = "the query is nested too deeply for SQL: write it in several steps, or use fewer operations"
_TOO_LARGE = {  # what SQLite and Python say, and what mends it
    "parser stack overflow": _NESTED,
    "Expression tree is too large": _NESTED,
    "recursion depth": _NESTED,
    "integer overflow": "a sum is larger than a 64-bit integer holds: multiply by 1.0 before summing",
}


class Query:
    """A frame about to run.

    Parameters
    ----------
    context
        Surroundings of the query.
    base, steps
        Table and verbs.
    schema
        Visible columns.
    vocabulary
        What is known of the catalog's names.
    """

    def __init__(
        self, context: Context, base: str, steps: Sequence[Verb], *, schema: Schema, vocabulary: Vocabulary
    ) -> None:
        self.context = context
        self.base = base
        self.steps = steps
        self.fields = list(schema.fields.values())
        self.vocabulary = vocabulary

    def table(self) -> pa.Table:
        """Return the rows as an Arrow table."""
        with self._compiled() as (compiled, connection):
            return result.to_table(connection.execute(compiled.select()).all(), self.fields)

    def frame(self) -> pd.DataFrame:
        """Return the rows as a DataFrame."""
        return result.to_frame(self.table())

    def pictured(self) -> tuple[pd.DataFrame, list[str | None]]:
        """Return the rows, and for each the uid of the image it belongs to, or None."""
        with self._compiled() as (compiled, connection):
            statement = compiled.select()
            image = compiled.relation.image
            if image is not None:
                shown = micrograph.alias("shown")
                uid = sa.select(shown.c.uid).where(shown.c.pk == image).correlate_except(shown)
                statement = statement.add_columns(uid.scalar_subquery())
            rows = connection.execute(statement).all()
        width = len(self.fields)
        table = result.to_table([row[:width] for row in rows], self.fields)
        return result.to_frame(table), [row[width] if image is not None else None for row in rows]

    def count(self) -> int:
        """Return the number of rows."""
        with self._compiled() as (compiled, connection):
            return int(connection.execute(compiled.count()).scalar_one())

    def images(self) -> np.ndarray:
        """Return the local keys of the images, ``(n,)`` int64, in row order."""
        with self._compiled() as (compiled, connection):
            return np.array(connection.execute(compiled.images()).scalars().all(), dtype=np.int64)

    def explain(self) -> str:
        """Return steps outside SQL, the statement, and the number of rows, as text."""
        with self._compiled() as (compiled, connection):
            rows = connection.execute(compiled.count()).scalar_one()
            return "\n".join([*compiled.notes, _written(compiled.select(), connection), f"rows: {rows}"])

    @contextmanager
    def _compiled(self) -> Iterator[tuple[Compiled, Connection]]:
        with reading(self.context.engine) as connection:
            try:
                compiled = compile_frame(
                    self.context, self.base, self.steps, vocabulary=self.vocabulary, connection=connection
                )
                yield compiled, connection
            except (OperationalError, RecursionError) as error:
                for sign, mend in _TOO_LARGE.items():
                    if sign in str(error):
                        raise ExpressionError(mend) from error
                raise


def _written(statement: Select[tuple[object, ...]], connection: Connection) -> str:
    """Return a statement with its constants in place; long ones, such as lists of ids, are cut."""
    compiled = statement.compile(dialect=connection.dialect)
    values = [f"{name}={_short(value)}" for name, value in compiled.params.items()]
    return f"{compiled}\nwith {', '.join(values)}" if values else str(compiled)


def _short(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else f"{shown[:60]}... ({len(shown)} characters)"
