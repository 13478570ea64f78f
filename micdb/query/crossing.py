"""Rows leave the catalog for DuckDB, where the big tables are read: once, and never back."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.types import Float, NullType, String

from micdb.catalog.rows import id_list
from micdb.query import result
from micdb.query.elements import Element
from micdb.query.facts.picking import Rank
from micdb.query.facts.session import Session
from micdb.query.needs import Wanted
from micdb.query.nodes import Kind
from micdb.query.relation import Relation
from micdb.query.schema import Field, Schema

Values = Mapping[str, tuple[Kind, Element]]


MANY = 20_000  # images; more are not listed in a statement, which then looks at all of them


class Absent(NullType):
    """Type of a column that was not handed over, because no expression after the crossing speaks of it."""


class Later(Absent):
    """Type of a column that is fetched from the catalog for the rows that are left in the end.

    Parameters
    ----------
    name
        What it was called when rows crossed over.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name


@dataclass(frozen=True, slots=True)
class Crossed:
    """Rows in DuckDB.

    Parameters
    ----------
    relation
        The same rows, in the same order.
    images
        ``pk`` of their micrographs, ascending, each once, ``(n,)`` int64; none where rows belong to none.
    """

    relation: Relation
    images: np.ndarray


def cross(
    relation: Relation,
    connection: Connection,
    session: Session,
    *,
    schema: Schema,
    wanted: Wanted,
    later: Collection[str] = (),
    values: Values,
    stable: bool,
) -> Crossed:
    """Fetch rows from the catalog and hand them over to DuckDB.

    Parameters
    ----------
    relation
        Rows of the catalog.
    connection, session
        Where they are, and where they go.
    schema
        Kinds of the visible columns.
    wanted
        Columns that are needed there; the others stay behind and only keep their names.
    later
        Columns of those wanted that are fetched in the end.
    values
        What else is computed in the catalog, by the text it answers: it becomes `Relation.extra`.
    stable
        Whether the place of a row must be known by its own values: samples are drawn by them, and the pages
        of a long answer begin after them. Otherwise rows are numbered, which is quicker to sort.
    """
    names = [name for name in relation.columns if (wanted is None or name in wanted) and name not in later]
    fetched: dict[str, tuple[Kind, Element]] = {
        **{f"c{index}": (schema[name].kind, relation.columns[name]) for index, name in enumerate(names)},
        **{f"v{index}": value for index, value in enumerate(values.values())},
        **({} if relation.image is None else {"__image": ("integer", relation.image)}),
        **({} if relation.sample is None else {"__sample": ("integer", relation.sample)}),
    }
    keys, order = relation.key, [element for element, _ in relation.order]
    if stable or order:
        fetched |= {f"__key_{index}": (_kind(one), one) for index, one in enumerate(keys)}
    if stable:
        fetched |= {f"__order_{index}": (_kind(one), one) for index, one in enumerate(order)}
    statement = relation.select(element.label(label) for label, (_, element) in fetched.items())
    fields = [Field(label, kind, None, "") for label, (kind, _) in fetched.items()]
    table = result.to_table(connection.execute(statement).all(), fields)
    table, columns = _numbered(table, fields, keys=len(keys) if order else 0)
    rows = session.local(table, columns)
    images = np.empty(0, np.int64) if relation.image is None else table["__image"].to_numpy()
    visible: dict[str, Element] = {name: sa.type_coerce(sa.null(), Absent()) for name in relation.columns}
    visible |= {name: sa.type_coerce(sa.null(), Later(name)) for name in later}
    visible |= {name: rows.c[f"c{index}"] for index, name in enumerate(names)}
    moved = Relation(
        rows,
        visible,
        key=(rows.c["__rank"] if order else sa.type_coerce(rows.c["__rank"], Rank(images)),),
        image=None if relation.image is None else rows.c["__image"],
        sample=None if relation.sample is None else rows.c["__sample"],
        order=((rows.c["__row"], False),) if order else (),
        extra={text: rows.c[f"v{index}"] for index, text in enumerate(values)},
    )
    if stable:
        moved = replace(
            moved,
            key=tuple(rows.c[f"__key_{index}"] for index in range(len(keys))),
            order=tuple((rows.c[f"__order_{index}"], down) for index, (_, down) in enumerate(relation.order)),
            merged=relation.merged,
        )
    return Crossed(moved, np.unique(images))


def _numbered(
    table: pa.Table, fields: Sequence[Field], *, keys: int
) -> tuple[pa.Table, list[tuple[str, Kind]]]:
    """Return the rows with their number in order, and their rank by key: the order of rows that tie."""
    row = np.arange(table.num_rows)
    rank = row
    if keys:
        order = pc.sort_indices(table, [(f"__key_{index}", "ascending") for index in range(keys)])
        rank = np.empty_like(row)
        rank[order.to_numpy()] = row
    table = table.append_column("__row", pa.array(row)).append_column("__rank", pa.array(rank))
    return table, [*((one.name, one.kind) for one in fields), ("__row", "integer"), ("__rank", "integer")]


def _kind(element: Element) -> Kind:
    if isinstance(element.type, String):
        return "text"
    return "number" if isinstance(element.type, Float) else "integer"


def fetched_for(
    connection: Connection, before: Relation, names: Sequence[str], images: np.ndarray
) -> Sequence[Sequence[Any]]:
    """Return columns that stayed in the catalog: rows of the image's local key and the columns.

    Parameters
    ----------
    connection
        The catalog's transaction, the same that the rows crossed over in.
    before
        The rows as they were then; an image has one of them at most.
    names
        Their columns.
    images
        ``pk`` of the micrographs that are left, ``(n,)``.
    """
    rows = before.settled()
    if len(images) <= MANY:
        wanted = rows.image.in_(sa.select(id_list(connection, images).c.id))  # type: ignore[union-attr]
        rows = replace(rows, where=(*rows.where, wanted))
    rows = replace(rows, order=(), key=())
    shown = [rows.columns[name].label(f"c{index}") for index, name in enumerate(names)]
    return connection.execute(rows.select([rows.image.label("__image"), *shown])).all()  # type: ignore[union-attr]
