"""Where the rows of a query are, and the big tables: rows in Parquet parts, read by DuckDB."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy import Connection, FromClause, Select

from micdb.catalog.results import rollup, run_item
from micdb.catalog.rows import id_list
from micdb.catalog.tables import micrograph
from micdb.query import dialect, result
from micdb.query.aggregate import Aggregate
from micdb.query.aggregates import COUNTS
from micdb.query.child_scope import Place
from micdb.query.child_sql import child_rows, finder
from micdb.query.columns import PARTS, SOURCES
from micdb.query.context import Context
from micdb.query.crossing import MANY, Absent
from micdb.query.elements import Element
from micdb.query.facts.per_image import per_image
from micdb.query.facts.picking import Rank
from micdb.query.facts.session import FILE, ROW, Session
from micdb.query.needs import Wanted
from micdb.query.nodes import Kind, Node, columns_in
from micdb.query.relation import Relation
from micdb.query.schema import Field, Schema
from micdb.query.spatial.near_sql import Rows
from micdb.query.vocabulary import Vocabulary, runs_of

NESTED = "@"  # stands in front of the names of nested columns in `Relation.extra`
FEW = 300  # rows up to which one JSON value is quicker than a table


class BigTables:
    """Where the rows of a query are, and the big tables they come from or are counted in.

    Rows are in the catalog until they are handed over to DuckDB, from where they do not return.

    Parameters
    ----------
    context
        Surroundings of the query.
    vocabulary
        What is known of the catalog's names.
    connection
        The catalog's transaction.
    session
        The query's DuckDB, shared by the frames that are joined in it; it opens when it is first needed.

    Attributes
    ----------
    pins
        Runs that stand for an analysis instead of its current one.
    notes
        One line for each step that ran outside the statement.
    inside
        Whether the rows are in DuckDB.
    reach
        ``pk`` of the micrographs that the rows in DuckDB can belong to, ascending.
    schema, wanted, stable
        Columns before the verb at hand, those of them that are needed from here on (None: all), and whether
        the place of a row must be known by its own values.
    ahead
        Aggregates over children in this verb and later ones: a big table is read once for all of them.
    later, before
        Says which columns may stay in the catalog until the end; and the rows they stay in, if any do.
    spoken
        Columns that later verbs speak of, whatever is shown in the end.
    assigned
        Columns that are aggregates of children and nothing else, by the ``id`` of their SQL.
    """

    def __init__(
        self, context: Context, vocabulary: Vocabulary, connection: Connection, session: Callable[[], Session]
    ) -> None:
        self.context = context
        self.vocabulary = vocabulary
        self.connection = connection
        self.open = session
        self.pins: dict[str, int] = {}
        self.notes: list[str] = []
        self.inside = False
        self.reach = np.empty(0, np.int64)
        self.schema = Schema("", {})
        self.wanted: Wanted = None
        self.stable = False
        self.ahead: Sequence[Node] = ()
        self.spoken: frozenset[str] = frozenset()
        self.later: Callable[[tuple[str, ...]], frozenset[str]] | None = None
        self.before: Relation | None = None
        self._rollups: dict[tuple[Any, ...], FromClause] = {}
        self._found: dict[Hashable, tuple[Element, Relation]] = {}
        self._runs: dict[Hashable, list[int]] = {}
        self.assigned: dict[int, tuple[Element, Node]] = {}

    @property
    def session(self) -> Session:
        """The query's DuckDB."""
        return self.open()

    @property
    def at(self) -> Connection | Session:
        """Where statements over the rows run."""
        return self.session if self.inside else self.connection

    def runs(self, table: str, name: str | None = None) -> list[int]:
        """Return the run that a child table or roll-up means here."""
        key = (table, name, *self.pins.items())
        if key not in self._runs:  # a transaction sees the same ones all the time
            self._runs[key] = runs_of(self.connection, table, pins=self.pins, name=name)
        return self._runs[key]

    def local(self, table: pa.Table, columns: Sequence[tuple[str, Kind]]) -> FromClause:
        """Return rows of this process as a relation where the rows of the query are."""
        if self.inside:
            return self.session.local(table, columns)
        if table.num_rows > FEW:
            return dialect.temporary(self.connection, table, columns)
        values = (table.column(name).to_pylist() for name, _ in columns)
        return dialect.local(zip(*values, strict=True), columns)

    def narrowed(self, image: Element | None) -> list[Element]:
        """Return the condition of the catalog that leaves the images in reach; none where they are many."""
        if len(self.reach) > MANY or image is None:
            return []
        return [image.in_(sa.select(id_list(self.connection, self.reach).c.id))]

    def handed_over(self, statement: Select[Any], columns: Sequence[tuple[str, Kind]]) -> FromClause:
        """Return rows of the catalog as a relation in DuckDB."""
        rows = self.connection.execute(statement).all()
        return self.session.local(result.to_table(rows, _fields(columns)), columns)

    def started(self, table: str) -> Relation:
        """Return the rows of a big table, in DuckDB: of images that are not deleted, in their order."""
        runs = self.runs(table)
        first, last = self.session.span(table, runs)
        m = micrograph.c
        # A million uids take a second to fetch: only where something speaks of them.
        named = self.stable or self.wanted is None or "image" in self.wanted
        shown: list[tuple[str, Kind]] = [("image", "integer")]
        shown += [("uid", "text")] if named else []
        alive = sa.select(m.pk, *([m.uid] if named else [])).order_by(m.uid)
        alive = alive.where(m.deleted_at.is_(None), m.pk.between(first, last))
        owners = result.to_table(result.fetched(self.connection, alive), _fields(shown))
        owners = owners.append_column("place", pa.array(np.arange(len(owners))))
        self.inside, self.reach = True, np.sort(owners["image"].to_numpy())
        known_by = self.session.local(owners, [*shown, ("place", "integer")])
        facts = self.session.facts(table, runs, images=self.reach)
        uid = known_by.c.uid if named else sa.type_coerce(sa.null(), Absent())
        place = (
            known_by.c.uid
            if self.stable
            else sa.type_coerce(known_by.c.place, Rank(owners["image"].to_numpy()))
        )
        return Relation(
            facts.join(known_by, known_by.c.image == facts.c.image),
            {"image": uid, **self._columns(facts, table)},
            key=(place, facts.c[FILE], facts.c[ROW]),
            image=facts.c.image,
            extra=nested_columns(facts),
        )

    def find(self, table: str, names: Sequence[str]) -> Rows:
        """Return the rows of a child table where the rows of the query are; see `Place`."""
        if not self.inside:
            return finder(self.runs)(table, names)
        rows, columns, key = self.exploded(table)
        return Rows(rows, columns, rows.c.image, key)

    def exploded(
        self, table: str, images: np.ndarray | None = None
    ) -> tuple[FromClause, dict[str, Element], tuple[Element, ...]]:
        """Return the children of images in DuckDB: the rows with ``image``, their columns, and their key."""
        if table in PARTS:
            facts = self.session.facts(
                table, self.runs(table), images=self.reach if images is None else images
            )
            return facts, self._columns(facts, table), (facts.c[FILE], facts.c[ROW])
        names = [name for name in SOURCES[table].elements if name != "image"]
        rows = child_rows(table, self.runs(table), names=names)
        schema = self.vocabulary.schema(table)
        columns: list[tuple[str, Kind]] = [("image", "integer"), ("__key", "text")]
        columns += [(f"c{index}", schema[name].kind) for index, name in enumerate(names)]
        shown = [rows.c[name].label(f"c{index}") for index, name in enumerate(names)]
        statement = sa.select(rows.c["__image"].label("image"), rows.c["__key"], *shown)
        found = self.handed_over(statement.where(*self.narrowed(rows.c["__image"])), columns)
        return found, {name: found.c[f"c{index}"] for index, name in enumerate(names)}, (found.c["__key"],)

    def aggregated(self, relation: Relation, table: str, leaves: Mapping[str, Node]) -> Relation:
        """Return the relation with numbers per image out of a big table, which is read here and now."""
        asked = [Aggregate(f"a{index}", *leaf.args[1:]) for index, leaf in enumerate(leaves.values())]
        told, images = self._told(table, asked)
        answer = self._read(table, asked, images) if len(images) else told.slice(0, 0)
        answer = pa.concat_tables([answer, told], promote_options="permissive")
        kinds: list[tuple[str, Kind]] = [("image", "integer")]
        kinds += [(one.name, leaf.kind) for one, leaf in zip(asked, leaves.values(), strict=True)]
        found = self.session.local(answer, kinds)
        relation = relation.settled()
        beside = relation.rows.join(found, found.c.image == relation.image, isouter=True)
        extra = {text: found.c[f"a{index}"] for index, text in enumerate(leaves)}
        return replace(relation, rows=beside, extra={**relation.extra, **extra})

    def _told(self, table: str, asked: Sequence[Aggregate]) -> tuple[pa.Table, np.ndarray]:
        """Return the counts that roll-ups tell, and the images whose rows have to be read.

        A roll-up ``n_atoms`` is written in the transaction that makes its rows live, is checked against them,
        and of an image of one frame it is their number; of a stack it is the mean over its frames.
        """
        empty = pa.table(
            {"image": pa.array([], pa.int64()), **{one.name: pa.array([], pa.int64()) for one in asked}}
        )
        plain = all(
            one.function in ("count", "size") and one.column is None and one.condition is None
            for one in asked
        )
        runs = self.runs(table)
        if not plain or len(runs) != 1 or not self.session.whole(table, runs):
            return empty, self.reach
        n = rollup.c
        statement = sa.select(n.micrograph_pk, n.value).join(micrograph, micrograph.c.pk == n.micrograph_pk)
        one_frame = (
            n.run_pk == runs[0],
            n.name == f"n_{table}",
            n.value.is_not(None),
            micrograph.c.n_frames == 1,
        )
        rows = self.connection.execute(statement.where(*one_frame, *self.narrowed(n.micrograph_pk))).all()
        found = np.array([tuple(row) for row in rows], float).reshape(-1, 2)
        found = found[np.isin(found[:, 0], self.reach)].astype(np.int64)
        if len(found):
            self.notes.append(f"{table}: {len(found)} of {len(self.reach)} counts are the roll-up n_{table}")
        told = {"image": found[:, 0], **{one.name: found[:, 1] for one in asked}}
        return pa.table(told), np.setdiff1d(self.reach, found[:, 0], assume_unique=True)

    def _read(self, table: str, asked: Sequence[Aggregate], images: np.ndarray) -> pa.Table:
        """Return numbers per image out of the rows of a big table; those without any are left out."""
        # A condition is asked of all images: rows are told apart by their place in the same parts.
        facts, columns, key = self.exploded(table, images)
        wanted, rows = self.session.among(facts.c.image, images), facts
        place = Place(facts.c.image, key, self.find, many=True)
        if any("image" in _used(one) for one in asked):
            uids = self._uids()
            rows, columns = facts.join(uids, uids.c.image == facts.c.image), {"image": uids.c.uid, **columns}
        answer = self.session.answered(
            per_image(rows, facts.c.image, columns, asked=asked, wanted=wanted, place=place)
        )
        empty = np.setdiff1d(images, answer["image"].to_numpy(), assume_unique=True)
        return self._with_zeros(answer, table, [one.name for one in asked if one.function in COUNTS], empty)

    def _with_zeros(self, answer: pa.Table, table: str, counts: Sequence[str], empty: np.ndarray) -> pa.Table:
        """Return counts with a zero for each image without rows that a run has looked at."""
        if not counts or not len(empty):
            return answer
        c = run_item.c
        done = sa.select(c.micrograph_pk).where(c.run_pk.in_(self.runs(table)), c.status == "done")
        if len(empty) <= MANY:
            done = done.where(c.micrograph_pk.in_(sa.select(id_list(self.connection, empty).c.id)))
        looked = np.array(self.connection.execute(done).scalars().all(), np.int64)
        zeros = pa.array(np.intersect1d(empty, looked))
        made = {"image": zeros, **{name: pa.array(np.zeros(len(zeros), np.int64)) for name in counts}}
        return pa.concat_tables([answer, pa.table(made)], promote_options="permissive")

    def _uids(self) -> FromClause:
        statement = sa.select(micrograph.c.pk, micrograph.c.uid).where(*self.narrowed(micrograph.c.pk))
        return self.handed_over(statement, [("image", "integer"), ("uid", "text")])

    def _columns(self, facts: FromClause, table: str) -> dict[str, Element]:
        """Return the columns of a big table; one that only other runs filled is missing in every row."""
        return {
            name: facts.c[name] if name in facts.c else sa.cast(sa.null(), dialect.TYPES[field.kind])
            for name, field in self.vocabulary.schema(table).fields.items()
            if name != "image"
        }


def _fields(columns: Sequence[tuple[str, Kind]]) -> list[Field]:
    return [Field(name, kind, None, "") for name, kind in columns]


def nested_columns(facts: FromClause) -> dict[str, Element]:
    """Return the nested columns of a big table, hidden: only the rows' way out shows them."""
    return {
        f"{NESTED}{column.name}": column for column in facts.c if isinstance(column.type, sa.types.NullType)
    }


def _used(one: Aggregate) -> set[str | None]:
    return {one.column, *(() if one.condition is None else columns_in(one.condition))}
