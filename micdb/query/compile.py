"""A frame becomes one SQL statement.

It runs in the catalog as long as it speaks of what the catalog has. At the first verb that needs a table
kept in Parquet parts (atoms, bonds, embeddings) its rows cross over to DuckDB, once, and the rest of it runs
there; what later verbs want of the catalog is fetched for the images that crossed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cache
from hashlib import sha256

import numpy as np
import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.sql.elements import False_, True_

from micdb.catalog.results import current_run, part
from micdb.errors import UsageError
from micdb.query import dialect, elements, verbs
from micdb.query.big_tables import NESTED, nested_columns
from micdb.query.child_scope import Place, near_element
from micdb.query.child_sql import child_rows
from micdb.query.columns import PARTS, SOURCES, arrow_kind
from micdb.query.compiled import Compiled
from micdb.query.conditions import fulfilled, resolve
from micdb.query.context import Context
from micdb.query.crossing import Values, cross
from micdb.query.elements import Element
from micdb.query.evolve import after
from micdb.query.facts.picking import picked
from micdb.query.facts.session import Session
from micdb.query.filter_sql import costs, filtered
from micdb.query.group_sql import grouped
from micdb.query.join_sql import joined, numbered, require_single
from micdb.query.needs import Wanted, asks_near, children_ahead, conditions, left_behind, needed, spoken
from micdb.query.nodes import Kind, Node
from micdb.query.property_sql import property_elements
from micdb.query.relation import Relation, distinct, sorting, start
from micdb.query.schema import Field, Schema
from micdb.query.search import physical, places, similar
from micdb.query.search.examples import question
from micdb.query.supplies import Supplies, needs_parts, present
from micdb.query.verbs import Verb
from micdb.query.vocabulary import Vocabulary, pin


def compile_frame(
    context: Context,
    base: str,
    steps: Sequence[Verb],
    *,
    vocabulary: Vocabulary,
    connection: Connection,
    wanted: Wanted = None,
    stable: bool = False,
    later: bool = False,
    session: Callable[[], Session] | None = None,
) -> Compiled:
    """Return the statement of a frame.

    Parameters
    ----------
    context, base, steps, vocabulary
        The frame.
    connection
        The catalog's transaction.
    wanted
        Visible columns that will be asked for; None for all. The others may be missing.
    stable
        Whether the place of a row must be known by its own values, not by its number in this query.
    later
        Whether columns may be left in the catalog, for the images that are left in the end: `Compiled.later`.
    session
        Opens the query's DuckDB, or returns the open one; None for one of its own.

    Raises
    ------
    UsageError
        A run, property or example that a verb names does not exist.
    """
    dialect.prepare(connection)
    session = session or cache(lambda: Session(context, connection))
    compiler = _Compiler(context, vocabulary, connection, session)
    # Samples are drawn by the keys of rows, and by them a row knows that it is not its own neighbour.
    compiler.stable = stable or any(isinstance(step, verbs.Sample) or asks_near(step) for step in steps)
    compiler.wanted = needed(steps, wanted)[0] if steps else wanted
    relation = compiler.start(base, steps)
    several = (verbs.Explode, verbs.Merge, verbs.Join, verbs.Similar)  # may give an image more than one row
    for index, (step, ahead) in enumerate(zip(steps, needed(steps, wanted), strict=True)):
        single = later and base == "images" and not any(isinstance(one, several) for one in steps[:index])
        compiler.later = (
            (lambda names, i=index, a=ahead: left_behind(steps[i:], names, a)) if single else None
        )
        compiler.wanted = ahead
        compiler.ahead = list(children_ahead(steps[index:]))
        compiler.spoken = spoken(steps[index + 1 :])
        relation = compiler.apply(step, relation)
        compiler.schema = after(compiler.schema, step, vocabulary, home=f"step {index + 1}")
    return Compiled(
        relation.late(), tuple(compiler.notes), dict(compiler.pins), compiler.at, compiler.before, relation
    )


class _Compiler(Supplies):
    """One compilation: each method turns a verb into SQL."""

    def start(self, base: str, steps: Sequence[Verb]) -> Relation:
        """Return the rows of a table before any verb."""
        self.schema = self.vocabulary.schema(base)
        belongs = SOURCES[base].run
        if belongs is None and base not in PARTS:
            return start(SOURCES[base])
        self.pins |= {
            step.analysis: pin(self.connection, step.analysis, step.version)
            for step in steps
            if isinstance(step, verbs.Using)
        }
        if base in PARTS:
            return self.started(base)
        relation = start(SOURCES[base])
        return replace(relation, where=(*relation.where, belongs.in_(self.runs(base))))  # type: ignore[union-attr]

    def apply(self, step: Verb, relation: Relation) -> Relation:
        """Return the rows after one verb."""
        method = getattr(self, f"_{type(step).__name__.lower()}")
        done: Relation = method(step, relation)
        return done

    def named(self, relation: Relation, names: Iterable[str]) -> list[Element]:
        """Return the SQL of columns, properties and roll-ups that a verb speaks of."""
        return [present(self.column(relation, name)) for name in names]

    def scope(self, relation: Relation) -> _Scope:
        """Return the meaning of names in a relation."""
        return _Scope(self, relation)

    # ------------------------------------------------------------------ verbs

    def _filter(self, step: verbs.Filter, relation: Relation) -> Relation:
        relation = relation.settled()
        # What needs no other table comes first: it leaves fewer images to look up there.
        for mask in sorted(conditions(step.mask), key=lambda one: (needs_parts(one), costs(one, relation))):
            relation = self.ready(relation, [mask])
            if self.inside:
                condition = elements.mask(mask, self.scope(relation))
                relation = replace(relation, where=(*relation.where, condition))
            else:
                relation = filtered(relation, mask, self)
        return relation

    def _select(self, step: verbs.Select, relation: Relation) -> Relation:
        relation = self.ready(relation, [], step.names)
        return replace(relation, columns={name: self.column(relation, name) for name in step.names})

    def _assign(self, step: verbs.Assign, relation: Relation) -> Relation:
        before = self.schema
        for name, expr in step.columns:
            relation = self.ready(relation, [expr])
            made = elements.value(expr, self.scope(relation))
            if expr.op == "child":
                self.assigned[id(made)] = (made, expr)
            relation = replace(relation, columns={**relation.columns, name: made})
            self.schema = self.schema.plus([Field(name, expr.kind, expr.unit, "")])
        self.schema = before  # moved on by whoever applies the verb
        return relation

    def _sort(self, step: verbs.Sort, relation: Relation) -> Relation:
        relation = self.ready(relation.settled(), [], step.by)
        by = self.named(relation, step.by)
        # True is a word of its own in SQL: PostgreSQL refuses it in ORDER BY, SQLite takes it for column 1
        order = tuple(
            (element, not up)
            for element, up in zip(by, step.ascending, strict=True)
            if not isinstance(element, True_ | False_)
        )
        return replace(relation, order=order)

    def _rename(self, step: verbs.Rename, relation: Relation) -> Relation:
        names = dict(step.names)
        return replace(
            relation, columns={names.get(name, name): made for name, made in relation.columns.items()}
        )

    def _distinct(self, step: verbs.Distinct, relation: Relation) -> Relation:
        relation = self.ready(relation.settled(), [], step.by)
        by = self.named(relation, step.by)
        order = [sorting(element, down) for element, down in relation.ordering]
        place = sa.func.row_number().over(partition_by=by, order_by=order)
        inner = replace(relation, extra={**relation.extra, "__place": place}).nested()
        extra = {text: element for text, element in inner.extra.items() if text != "__place"}
        return replace(inner, where=(inner.extra["__place"] == 1,), extra=extra)

    def _sample(self, step: verbs.Sample, relation: Relation) -> Relation:
        relation = relation.settled()
        drawn = dialect.digest(step.seed, relation.key)
        order = ((drawn, False), *relation.order)
        inner = replace(relation, order=order, limit=(0, step.n)).late()
        return replace(inner, order=inner.order[1:])

    def _slice(self, step: verbs.Slice, relation: Relation) -> Relation:
        first, last = relation.limit or (0, None)
        stops = [
            stop for stop in (last, None if step.stop is None else first + step.stop) if stop is not None
        ]
        stop = min(stops, default=None)
        begin = first + step.start
        relation = replace(relation, limit=(begin, stop if stop is None else max(stop, begin)))
        return picked(relation, self.session) if self.inside else relation

    def _group(self, step: verbs.Group, relation: Relation) -> Relation:
        used = dict.fromkeys([*step.keys, *(column for _, column, _ in step.aggregates)])
        relation = self.ready(relation, [], used)
        columns = dict(zip(used, self.named(relation, used), strict=True))
        return grouped(step, replace(relation, columns=columns))

    def _explode(self, step: verbs.Explode, relation: Relation) -> Relation:
        relation = relation.settled()
        if step.table in PARTS and not self.inside:
            relation = self.crossed(relation)
        if self.inside:
            rows, found, key = self.exploded(step.table)
            image = rows.c.image
        else:
            names = [name for name in SOURCES[step.table].elements if name != "image"]
            rows = child_rows(step.table, self.runs(step.table), names=names)
            found, key, image = {name: rows.c[name] for name in names}, (rows.c["__key"],), rows.c["__image"]
        singular = SOURCES[step.table].singular
        columns = {
            f"{singular}_{name}" if name in relation.columns else name: made for name, made in found.items()
        }
        return replace(
            relation,
            rows=relation.rows.join(rows, image == relation.image),
            columns={**relation.columns, **columns},
            key=(*relation.key, *key),
            merged=0,
            extra={**relation.extra, **nested_columns(rows)},
        )

    def _withproperty(self, step: verbs.WithProperty, relation: Relation) -> Relation:
        known = self.vocabulary.property(step.name)
        where = fulfilled(
            resolve(self.vocabulary, known, method=step.method, conditions=step.conditions), step.method
        )

        def values(owners: Relation) -> Values:
            added = property_elements(
                known, owners, level=step.level, agg=step.agg, interval=step.interval, where=where
            )
            kinds = after(Schema("", {}), step, self.vocabulary, home="")
            return {name: (kinds[name].kind, element) for name, element in added.items()}

        if self.inside:
            relation, added = self.joined(relation, values)
        else:
            added = {name: element for name, (_, element) in values(relation).items()}
        return replace(relation, columns={**relation.columns, **added})

    def _using(self, step: verbs.Using, relation: Relation) -> Relation:
        self.pins[step.analysis] = pin(self.connection, step.analysis, step.version)
        self.assigned = {}
        kept = {name: element for name, element in relation.extra.items() if name.startswith(NESTED)}
        return replace(relation, extra=kept)  # what else was fetched is of the run before

    def _similar(self, step: verbs.Similar, relation: Relation) -> Relation:
        relation = relation.settled()
        ranking = self._ranked(step, self.images(relation))
        self.notes.append(f"similarity: {ranking.path}")
        kinds: list[tuple[str, Kind]] = [("similarity", "number"), ("match_box", "text")]
        kinds += [("match_frame", "integer")] if step.level == "patch" else []
        table = ranking.table.append_column("place", pa.array(range(ranking.table.num_rows), pa.int64()))
        found = self.local(table, [("image", "integer"), *kinds, ("place", "integer")])
        return replace(
            relation,
            rows=relation.rows.join(found, found.c.image == relation.image),
            columns={**relation.columns, **{name: found.c[name] for name, _ in kinds}},
            order=((found.c.similarity, True),),
            key=relation.key if step.per_image == 1 else (*relation.key, found.c.place),
        )

    def _ranked(self, step: verbs.Similar, images: np.ndarray) -> similar.Ranking:
        """Rank images; the answer is kept, since a frame is counted, shown and fetched in turn."""
        newest = self.connection.execute(sa.select(sa.func.max(part.c.pk))).scalar()
        current = tuple(self.connection.execute(sa.select(current_run.c.run_pk)).scalars())
        key = (step, tuple(self.pins.items()), current, newest, sha256(images.tobytes()).hexdigest())
        if key not in self.vocabulary.rankings:
            asked = question(step.query, box=step.box, pixel_size=step.pixel_size, negative=step.negative)
            if step.level == "patch":
                ranking = places.rank(
                    self.context, asked, images,
                    k=step.k, by=step.by, pins=self.pins, per_image=step.per_image, kind=step.index,
                    scale=step.scale,
                )  # fmt: skip
            elif step.scale == "physical":
                ranking = physical.rank(
                    self.context, asked, images, k=step.k, by=step.by, pins=self.pins, kind=step.index
                )
            else:
                ranking = similar.rank(
                    self.context, asked, images,
                    k=step.k, by=step.by, pins=self.pins, kind=step.index, scale=step.scale,
                )  # fmt: skip
            self.vocabulary.rankings[key] = ranking
        return self.vocabulary.rankings[key]

    def _merge(self, step: verbs.Merge, relation: Relation) -> Relation:
        relation = relation.settled()
        names = distinct(step.table.column_names)
        kinds: list[tuple[str, Kind]] = [("__row", "integer")]
        kinds += [(names[field.name], arrow_kind(field.type)) for field in step.table.schema]
        place = pa.array(range(step.table.num_rows), pa.int64())
        labelled = step.table.rename_columns(list(names.values())).append_column("__row", place)
        relation = self.ready(relation, [], [name for name, _ in step.keys.pairs])
        found = self.local(labelled, kinds)
        columns = {name: found.c[label] for name, label in names.items()}
        left = self._left_keys(step.keys, relation)
        return joined(relation, found, columns, step.keys, left=left, number=found.c["__row"])

    def _join(self, step: verbs.Join, relation: Relation) -> Relation:
        keys, other = step.keys, self._other(step.other)
        relation = relation.settled()
        if isinstance(other.at, Session) and not self.inside:
            relation = self.crossed(relation)
        relation = self.ready(relation, [], [name for name, _ in keys.pairs])
        left = self._left_keys(keys, relation)
        if keys.single:
            inner = other.relation.nested()
            right = [inner.columns[name] for _, name in keys.pairs]
            require_single(self.at, inner, right, whose="the other frame", keys=keys)
            return joined(relation, inner.rows, inner.columns, keys, left=left, number=None)
        rows, columns, number = numbered(other.relation)
        return joined(relation, rows, columns, keys, left=left, number=number)

    def _other(self, other: verbs.Other) -> Compiled:
        """Return another frame, in DuckDB if this one is there."""
        compiled = compile_frame(
            self.context, other.base, other.steps,
            vocabulary=self.vocabulary, connection=self.connection, session=self.open,
        )  # fmt: skip
        self.notes += compiled.notes
        if not self.inside or isinstance(compiled.at, Session):
            return compiled
        done = cross(
            compiled.relation, self.connection, self.session,
            schema=other.schema, wanted=None, values={}, stable=False,
        )  # fmt: skip
        return replace(compiled, relation=done.relation, at=self.session)

    def _left_keys(self, keys: verbs.Keys, relation: Relation) -> list[Element]:
        found = self.named(relation, [name for name, _ in keys.pairs])
        if keys.validate.startswith("1:"):
            require_single(self.at, relation, found, whose="the frame", keys=keys)
        return found


class _Scope:
    """What names mean in one relation, for `micdb.query.elements`."""

    def __init__(self, compiler: _Compiler, relation: Relation) -> None:
        self.compiler = compiler
        self.relation = relation

    def column(self, name: str) -> Element:
        """Return the SQL of a column."""
        return present(self.compiler.column(self.relation, name))

    def child(self, node: Node) -> Element:
        """Return the SQL of an aggregate over children."""
        return self.compiler.child(self.relation, node)

    def near(self, node: Node) -> Element:
        """Return the SQL of a condition on what lies near."""
        compiler, relation = self.compiler, self.relation
        if relation.image is None:
            raise UsageError("within() needs rows that lie in images: use it before groupby")
        place = Place(relation.image, relation.own, compiler.find, many=compiler.inside)
        return near_element(node, self, place)
