"""A frame becomes one SQL statement.

What lies in Parquet parts (atoms, bonds, embeddings) is asked for first, for exactly the images that
stand before it in the query, and comes back into the statement as a local relation.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

import numpy as np
import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy import CTE, Connection, FromClause, Select

from micdb.catalog.results import current_run, part
from micdb.errors import UsageError
from micdb.query import aggregates, dialect, elements, facts_sql, similar, verbs
from micdb.query.aggregate import Aggregate
from micdb.query.child_sql import child_element, child_rows, known
from micdb.query.columns import PARTS, SOURCES
from micdb.query.context import Context
from micdb.query.elements import Element
from micdb.query.nodes import Kind, Node
from micdb.query.property_sql import property_elements, property_value, rollup_value
from micdb.query.relation import Relation, distinct, start
from micdb.query.schema import Schema
from micdb.query.text import write
from micdb.query.verbs import Verb
from micdb.query.vocabulary import Vocabulary, pin, runs_of


@dataclass(frozen=True, slots=True)
class Compiled:
    """What a frame compiles to.

    Parameters
    ----------
    relation
        The rows.
    notes
        One line for each step that ran outside the statement, for ``explain()``.
    """

    relation: Relation
    notes: tuple[str, ...]

    def select(self) -> Select[Any]:
        """Return the statement with the visible columns."""
        return self.relation.select(element.label(name) for name, element in self.relation.columns.items())

    def images(self) -> Select[Any]:
        """Return the statement with the micrographs' local keys, in order."""
        return _images(self.relation)

    def count(self) -> Select[Any]:
        """Return the statement that counts the rows."""
        one = replace(self.relation, columns={}, extra={})
        return sa.select(sa.func.count()).select_from(one.select([sa.literal(1).label("one")]).subquery())


def compile_frame(
    context: Context, base: str, steps: Sequence[Verb], *, vocabulary: Vocabulary, connection: Connection
) -> Compiled:
    """Return the statement of a frame.

    Raises
    ------
    UsageError
        A run, property or example that a verb names does not exist.
    """
    dialect.prepare(connection)
    compiler = _Compiler(context, vocabulary, connection)
    relation = start(SOURCES[base])
    belongs = SOURCES[base].run
    if belongs is not None:
        compiler.pins |= {
            step.analysis: pin(connection, step.analysis, step.version)
            for step in steps
            if isinstance(step, verbs.Using)
        }
        relation = replace(relation, where=(*relation.where, belongs.in_(compiler.runs(base))))
    for step in steps:
        relation = compiler.apply(step, relation)
    return Compiled(relation, tuple(compiler.notes))


class _Compiler:
    """The state of one compilation: runs pinned so far, and notes for ``explain()``."""

    def __init__(self, context: Context, vocabulary: Vocabulary, connection: Connection) -> None:
        self.context = context
        self.vocabulary = vocabulary
        self.connection = connection
        self.pins: dict[str, int] = {}
        self.notes: list[str] = []

    def apply(self, step: Verb, relation: Relation) -> Relation:
        """Return the rows after one verb."""
        method = getattr(self, f"_{type(step).__name__.lower()}")
        done: Relation = method(step, relation)
        return done

    # ------------------------------------------------------------------ what names mean

    def runs(self, table: str, name: str | None = None) -> list[int]:
        """Return the run that a child table or roll-up means here."""
        return runs_of(self.connection, table, pins=self.pins, name=name)

    def scope(self, relation: Relation) -> _Scope:
        """Return the meaning of names in a relation."""
        return _Scope(self, relation)

    def column(self, relation: Relation, name: str) -> Element:
        """Return a visible column, a property or a roll-up."""
        if name in relation.columns:
            return relation.columns[name]
        if name in self.vocabulary.properties:
            return property_value(self.vocabulary.properties[name], relation)
        return rollup_value(name, self.runs("rollup", name), relation)

    def images(self, relation: Relation) -> np.ndarray:
        """Return the local keys of a relation's micrographs, ``(n,)``, sorted and unique."""
        found = self.connection.execute(_images(relation)).scalars().all()
        return np.unique(np.array(found, dtype=np.int64))

    # ------------------------------------------------------------------ verbs

    def _filter(self, step: verbs.Filter, relation: Relation) -> Relation:
        relation = self._fetched([step.mask], relation.settled())
        return replace(relation, where=(*relation.where, elements.mask(step.mask, self.scope(relation))))

    def _select(self, step: verbs.Select, relation: Relation) -> Relation:
        return replace(relation, columns={name: self.column(relation, name) for name in step.names})

    def _assign(self, step: verbs.Assign, relation: Relation) -> Relation:
        for name, expr in step.columns:
            relation = self._fetched([expr], relation)
            made = elements.value(expr, self.scope(relation))
            relation = replace(relation, columns={**relation.columns, name: made})
        return relation

    def _sort(self, step: verbs.Sort, relation: Relation) -> Relation:
        relation = relation.settled()
        order = tuple(
            (self.column(relation, name), not up) for name, up in zip(step.by, step.ascending, strict=True)
        )
        return replace(relation, order=order)

    def _slice(self, step: verbs.Slice, relation: Relation) -> Relation:
        first, last = relation.limit or (0, None)
        stops = [
            stop for stop in (last, None if step.stop is None else first + step.stop) if stop is not None
        ]
        stop = min(stops, default=None)
        begin = first + step.start
        return replace(relation, limit=(begin, stop if stop is None else max(stop, begin)))

    def _group(self, step: verbs.Group, relation: Relation) -> Relation:
        used = dict.fromkeys([*step.keys, *(column for _, column, _ in step.aggregates)])
        columns = {name: self.column(relation, name) for name in used}
        inner = replace(relation, columns=columns).nested()
        names = distinct([*step.keys, *(name for name, _, _ in step.aggregates)])
        keys = [inner.columns[name] for name in step.keys]
        labelled = [key.label(names[name]) for key, name in zip(keys, step.keys, strict=True)]
        made = [
            aggregates.element(function, inner.columns[column]).label(names[name])
            for name, column, function in step.aggregates
        ]
        statement = sa.select(*labelled, *made).select_from(inner.rows).group_by(*keys)
        if step.dropna:
            statement = statement.where(*(key.is_not(None) for key in keys))
        rows = statement.subquery()
        columns = {name: rows.c[label] for name, label in names.items()}
        return Relation(rows, columns, key=tuple(columns[name] for name in step.keys))

    def _explode(self, step: verbs.Explode, relation: Relation) -> Relation:
        relation = relation.settled()
        runs = self.runs(step.table)
        if step.table in PARTS:
            images = self.images(relation)
            names = list(self.vocabulary.schema(step.table).fields)
            table = facts_sql.rows(self.context, step.table, runs, images=images, columns=["image", *names])
            self.notes.append(f"{step.table}: {table.num_rows} rows from Parquet parts, {len(images)} images")
            children: FromClause = _numbered(table, self.vocabulary.schema(step.table))
        else:
            names = [name for name in SOURCES[step.table].elements if name != "image"]
            children = child_rows(step.table, runs, names=names)
        names = [column.name for column in children.c if not column.name.startswith("__")]
        singular = SOURCES[step.table].singular
        columns = {
            f"{singular}_{name}" if name in relation.columns else name: children.c[name] for name in names
        }
        return replace(
            relation,
            rows=_joined(relation, children, children.c["__image"] == relation.image),
            columns={**relation.columns, **columns},
            key=(*relation.key, children.c["__key"]),
        )

    def _withproperty(self, step: verbs.WithProperty, relation: Relation) -> Relation:
        added = property_elements(
            self.vocabulary.property(step.name), relation, level=step.level, agg=step.agg
        )
        return replace(relation, columns={**relation.columns, **added})

    def _using(self, step: verbs.Using, relation: Relation) -> Relation:
        self.pins[step.analysis] = pin(self.connection, step.analysis, step.version)
        return replace(relation, extra={})  # what was fetched is of the run before

    def _similar(self, step: verbs.Similar, relation: Relation) -> Relation:
        relation = relation.settled()
        ranking = self._ranked(step, self.images(relation))
        self.notes.append(f"similarity: {ranking.path}")
        found = _local(ranking.table, [("image", "integer"), ("similarity", "number"), ("match_box", "text")])
        return replace(
            relation,
            rows=_joined(relation, found, found.c.image == relation.image),
            columns={
                **relation.columns, "similarity": found.c.similarity, "match_box": found.c.match_box,
            },
            order=((found.c.similarity, True),),
        )  # fmt: skip

    def _ranked(self, step: verbs.Similar, images: np.ndarray) -> similar.Ranking:
        """Rank images; the answer is kept, since a frame is counted, shown and fetched in turn."""
        newest = self.connection.execute(sa.select(sa.func.max(part.c.pk))).scalar()
        current = tuple(self.connection.execute(sa.select(current_run.c.run_pk)).scalars())
        key = (step, tuple(self.pins.items()), current, newest, sha256(images.tobytes()).hexdigest())
        if key not in self.vocabulary.rankings:
            self.vocabulary.rankings[key] = similar.rank(
                self.context, step.query, images,
                k=step.k, box=step.box, by=step.by, pins=self.pins, pixel_size=step.pixel_size,
            )  # fmt: skip
        return self.vocabulary.rankings[key]

    def _merge(self, step: verbs.Merge, relation: Relation) -> Relation:
        relation = relation.settled()
        names = distinct(name for name, _ in step.columns)
        found = dialect.local(step.rows, [(names[name], kind) for name, kind in step.columns])
        local = {name: found.c[label] for name, label in names.items()}
        on = local[step.on] == self.column(relation, step.on)
        columns = {name: local[name] for name in names if name not in (step.on, verbs.ROW)}
        return replace(
            relation,
            rows=_joined(relation, found, on, outer=step.how == "left"),
            columns={**relation.columns, **columns},
            key=(*relation.key, local[verbs.ROW]),
        )

    # ------------------------------------------------------------------ Parquet parts

    def _fetched(self, nodes: Iterable[Node], relation: Relation) -> Relation:
        """Return the relation with every aggregate over Parquet parts joined to it."""
        wanted = {write(child): child for node in nodes for child in _parts_in(node)}
        missing = {text: child for text, child in wanted.items() if text not in relation.extra}
        if not missing:
            return relation
        relation = relation.settled()
        images = self.images(relation)
        for table in PARTS:
            asked = [
                Aggregate(text, child.args[1], child.args[2], child.args[3])
                for text, child in missing.items()
                if child.args[0] == table
            ]
            if asked:
                relation = self._joined_aggregates(table, asked, images=images, relation=relation)
        return relation

    def _joined_aggregates(
        self, table: str, asked: list[Aggregate], *, images: np.ndarray, relation: Relation
    ) -> Relation:
        runs = self.runs(table)
        numbered = [replace(one, name=f"a{index}") for index, one in enumerate(asked)]
        answer = facts_sql.aggregate(self.context, table, runs, images=images, aggregates=numbered)
        self.notes.append(f"{table}: {len(asked)} aggregates over Parquet parts, {len(images)} images")
        kinds: list[tuple[str, Kind]] = [("image", "integer"), *((one.name, "number") for one in numbered)]
        found = _local(answer, kinds)
        extra = {
            one.name: known(found.c[short.name], one.function, runs=runs, relation=relation)
            for one, short in zip(asked, numbered, strict=True)
        }
        rows = _joined(relation, found, found.c.image == relation.image, outer=True)
        return replace(relation, rows=rows, extra={**relation.extra, **extra})


class _Scope:
    """What names mean in one relation, for `micdb.query.elements`."""

    def __init__(self, compiler: _Compiler, relation: Relation) -> None:
        self.compiler = compiler
        self.relation = relation

    def column(self, name: str) -> Element:
        """Return the SQL of a column."""
        return self.compiler.column(self.relation, name)

    def child(self, node: Node) -> Element:
        """Return the SQL of an aggregate over children."""
        if node.args[0] in PARTS:
            return self.relation.extra[write(node)]
        return child_element(node, self.relation, self.compiler.runs(node.args[0]))


def _parts_in(node: Node) -> list[Node]:
    """Return every aggregate over Parquet parts in an expression."""
    if node.op == "child":
        return [node] if node.args[0] in PARTS else []
    return [found for arg in node.args if isinstance(arg, Node) for found in _parts_in(arg)]


def _images(relation: Relation) -> Select[Any]:
    if relation.image is None:
        raise UsageError("these rows are no images: search and count children before groupby")
    return relation.select([relation.image])


def _joined(relation: Relation, other: FromClause, on: Element, *, outer: bool = False) -> FromClause:
    return relation.rows.join(other, on, isouter=outer)


def _local(table: pa.Table, columns: Sequence[tuple[str, Kind]]) -> CTE:
    return dialect.local(zip(*(table.column(name).to_pylist() for name, _ in columns), strict=True), columns)


def _numbered(table: pa.Table, schema: Schema) -> CTE:
    """Return rows of a part as a relation, with the image they belong to and a number as their key."""
    fields = [field for field in schema.fields.values() if field.name in table.column_names]
    columns: list[tuple[str, Kind]] = [("__image", "integer"), ("__key", "integer")]
    columns += [(field.name, field.kind) for field in fields]
    values = [table.column(field.name).to_pylist() for field in fields]
    return dialect.local(
        zip(table.column("image").to_pylist(), range(table.num_rows), *values, strict=True), columns
    )
