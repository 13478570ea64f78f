"""A frame runs: one transaction, one statement, and what it needs from Parquet parts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa
from sqlalchemy import Connection, Select
from sqlalchemy.exc import DataError, OperationalError

from micdb.catalog.engine import reading
from micdb.catalog.rows import id_list
from micdb.catalog.tables import micrograph
from micdb.errors import ExpressionError, UsageError
from micdb.query import keyset, result
from micdb.query.compile import compile_frame
from micdb.query.compiled import Compiled
from micdb.query.context import Context
from micdb.query.crossing import fetched_for
from micdb.query.elements import Element
from micdb.query.facts import duck, parts
from micdb.query.facts.parts import Part
from micdb.query.facts.picking import picked
from micdb.query.facts.session import Session
from micdb.query.schema import Field, Schema
from micdb.query.search import vectors
from micdb.query.verbs import Verb
from micdb.query.vocabulary import Vocabulary, runs_of

_NESTED = "the query is nested too deeply for SQL: write it in several steps, or use fewer operations"
_NOT_NESTED = (
    "these rows have no nested columns: those of db.embeddings and db.patches have, and of other Parquet "
    "tables where an extractor added some, before groupby"
)
_TOO_LARGE = {  # what SQLite, PostgreSQL and Python say, and what mends it
    "parser stack overflow": _NESTED,
    "Expression tree is too large": _NESTED,
    "recursion depth": _NESTED,
    "stack depth limit": _NESTED,
    "integer overflow": "a sum is larger than a 64-bit integer holds: multiply by 1.0 before summing",
    "out of range": "a number is larger than a 64-bit integer holds: multiply by 1.0 instead of 1",
}


@dataclass(frozen=True, slots=True)
class Embeddings:
    """Vectors of images; ``uids, vectors = frame.embeddings()`` takes them apart.

    Parameters
    ----------
    uids
        Images that have a vector, in row order.
    vectors
        ``(n, dim)`` float32.
    missing
        Images that have none in this space, in row order.
    space
        Name of the space the vectors are in: ``texture@256nm``.
    """

    uids: list[str]
    vectors: np.ndarray
    missing: list[str]
    space: str

    def __iter__(self) -> Iterator[Any]:
        return iter((self.uids, self.vectors))


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
        self.names = list(schema.fields)
        self.vocabulary = vocabulary

    def table(self, *, nested: bool = False) -> pa.Table:
        """Return the rows as an Arrow table; see `micdb.query.answers.Answers.to_arrow`."""
        with self._compiled(later=True) as (compiled, connection):
            if not isinstance(compiled.at, Session):
                if nested:
                    raise UsageError(_NOT_NESTED)
                return result.to_table(connection.execute(compiled.select()).all(), self.fields)
            if compiled.later() and not nested:
                return self._completed(compiled, compiled.at, connection)
            return self._shaped(compiled.at, compiled.select(), compiled.nested() if nested else None)

    def frame(self) -> pd.DataFrame:
        """Return the rows as a DataFrame."""
        return result.to_frame(self.table())

    def pictured(self) -> tuple[pd.DataFrame, list[str | None]]:
        """Return the rows, and for each the uid of the image it belongs to, or None."""
        with self._compiled() as (compiled, connection):
            statement = compiled.select()
            image = compiled.relation.image
            if image is not None:
                statement = statement.add_columns(image.label("__image"))
            rows = compiled.at.execute(statement).all()
            width = len(self.fields)
            keys: list[int | None] = [row[width] if image is not None else None for row in rows]
            uids = self._uids(connection, {key for key in keys if key is not None})
        table = result.to_table([row[:width] for row in rows], self.fields)
        return result.to_frame(table), [None if key is None else uids.get(key) for key in keys]

    def count(self) -> int:
        """Return the number of rows."""
        with self._compiled(()) as (compiled, _):
            return int(compiled.at.execute(compiled.count()).scalar_one())

    def images(self) -> np.ndarray:
        """Return the local keys of the images, ``(n,)`` int64, in row order."""
        with self._compiled(()) as (compiled, connection):
            if isinstance(compiled.at, Session):
                return np.asarray(compiled.at.table(compiled.images()).column(0).to_numpy(), np.int64)
            return np.array(connection.execute(compiled.images()).scalars().all(), dtype=np.int64)

    def located(self, table: str) -> tuple[np.ndarray, list[int], list[Part]]:
        """Return the images, in row order, and the runs and live parts that a big table means."""
        with self._compiled(()) as (compiled, connection):
            rows = compiled.at.execute(compiled.images()).scalars()
            images = np.array(list(dict.fromkeys(rows)), dtype=np.int64)
            runs = runs_of(connection, table, pins=compiled.pins)
            return images, runs, parts.find(self.context, table, runs, connection=connection)

    def batches(self, rows: int) -> Iterator[pa.Table]:
        """Yield the rows as Arrow tables of at most `rows`, all as they are at one moment.

        They are fetched while they are taken: the transaction ends with the last one.
        """
        with self._compiled() as (compiled, connection):
            if isinstance(compiled.at, Session):
                for batch in compiled.at.batches(compiled.select(), rows):
                    yield result.shaped(batch, self.fields)
                return
            answer = connection.execute(compiled.select(), execution_options={"yield_per": rows})
            for some in answer.partitions():
                yield result.to_table(some, self.fields)

    def page(self, after: keyset.Values | None, rows: int) -> tuple[pa.Table, keyset.Values | None]:
        """Return the rows after a place, at most so many, and the place of the last one if more follow."""
        with self._compiled(stable=True) as (compiled, _):
            relation = compiled.relation.settled()
            ordering = relation.ordering
            if after is not None:
                beyond = keyset.beyond(ordering, after, relation.certain)
                relation = replace(relation, where=(*relation.where, beyond))
            # What a row is sorted by may be its key: it is then one place, whatever the columns are called.
            own = [id(element) for element, _ in ordering]
            kept = [
                index
                for index, element in enumerate(relation.key)
                if id(element) in own[len(relation.order) :]
            ]
            relation = replace(relation, limit=(0, rows + 1))
            relation = relation if isinstance(compiled.at, Session) else relation.late()
            shown = [element.label(name) for name, element in relation.columns.items()]
            ends = [*(element for element, _ in relation.order), *(relation.key[index] for index in kept)]
            places = [element.label(f"__after_{index}") for index, element in enumerate(ends)]
            relation = picked(relation, compiled.at) if isinstance(compiled.at, Session) else relation
            found = compiled.at.execute(relation.select([*shown, *places])).all()
        width = len(self.fields)
        table = result.to_table([row[:width] for row in found[:rows]], self.fields)
        return table, tuple(found[rows - 1][width:]) if len(found) > rows else None

    def embeddings(self, by: str | None) -> Embeddings:
        """Return the vectors of the images, each image once, in row order."""
        with self._compiled(()) as (compiled, connection):
            rows = compiled.at.execute(compiled.images()).scalars()
            keys = np.array(list(dict.fromkeys(rows)), dtype=np.int64)
            uids = self._uids(connection, keys.tolist())
        space = vectors.best_space(self.context, by, keys, pins=compiled.pins)
        held, matrix = vectors.load(self.context, space, keys)
        has = set(held.tolist())
        missing = [uids[key] for key in keys.tolist() if key not in has]
        return Embeddings([uids[key] for key in held.tolist()], matrix, missing, space.name)

    def explain(self) -> str:
        """Return steps outside SQL, the statement, and the number of rows, as text."""
        with self._compiled() as (compiled, connection):
            rows = compiled.at.execute(compiled.count()).scalar_one()
            statement = compiled.select()
            if isinstance(compiled.at, Session):
                steps, written = compiled.at.explain(statement), duck.shown(statement)
            else:
                steps, written = [], _written(statement, connection)
            return "\n".join([*compiled.notes, *steps, written, f"rows: {rows}"])

    def _shaped(
        self, session: Session, statement: Select[Any], nested: Mapping[str, Element] | None
    ) -> pa.Table:
        """Return rows of DuckDB with the declared types, and nested columns behind them as they are."""
        if nested is None:
            return result.shaped(session.table(statement), self.fields)
        if not nested:
            raise UsageError(_NOT_NESTED)
        taken = [name for name in nested if name in self.names]
        if taken:
            raise UsageError(f"a column is called {taken[0]!r}, as the nested one is: rename it first")
        more = [one.label(f"__{name}") for name, one in nested.items()]
        found = session.table(statement.add_columns(*more))
        table = result.shaped(found.select(range(len(self.fields))), self.fields)
        for name in nested:
            table = table.append_column(name, found.column(f"__{name}"))
        return table

    def _completed(self, compiled: Compiled, session: Session, connection: Connection) -> pa.Table:
        """Return rows of DuckDB with the columns that stayed in the catalog; an image has one row at most."""
        later, relation, before = compiled.later(), compiled.relation, compiled.before
        here = [field for field in self.fields if field.name not in later]
        shown = [relation.columns[field.name].label(field.name) for field in here]
        found = session.table(relation.select([*shown, relation.image.label("__image")]))  # type: ignore[union-attr]
        keys = found.column("__image")
        kinds = {field.name: field for field in self.fields}
        fields = [Field("__image", "integer", None, ""), *(kinds[name] for name in later)]
        rest = fetched_for(connection, before, list(later.values()), keys.to_numpy())  # type: ignore[arg-type]
        table = result.to_table(rest, fields)
        place = pc.index_in(keys, value_set=table.column("__image"))
        made = result.shaped(found, here)
        columns = {
            **{field.name: made.column(field.name) for field in here},
            **{name: table.column(name).take(place) for name in later},
        }
        return pa.table([columns[name] for name in self.names], schema=result.declared(self.fields))

    @staticmethod
    def _uids(connection: Connection, keys: Iterable[int]) -> dict[int, str]:
        wanted = id_list(connection, keys)
        statement = sa.select(micrograph.c.pk, micrograph.c.uid)
        rows = connection.execute(statement.join(wanted, wanted.c.id == micrograph.c.pk)).all()
        return {row.pk: row.uid for row in rows}

    @contextmanager
    def _compiled(
        self, wanted: Iterable[str] | None = None, *, stable: bool = False, later: bool = False
    ) -> Iterator[tuple[Compiled, Connection]]:
        """Compile the frame inside one transaction; the options are those of `compile_frame`."""
        with reading(self.context.engine) as connection, ExitStack() as opened:
            try:
                compiled = compile_frame(
                    self.context, self.base, self.steps, vocabulary=self.vocabulary, connection=connection,
                    wanted=frozenset(self.names if wanted is None else wanted), stable=stable, later=later,
                )  # fmt: skip
                if isinstance(compiled.at, Session):
                    opened.callback(compiled.at.close)
                yield compiled, connection
            except (DataError, OperationalError, RecursionError) as error:
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
