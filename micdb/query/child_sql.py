"""Children of images that are kept in SQL: defects."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Select, Subquery

from micdb.catalog.results import run_item
from micdb.errors import ExpressionError
from micdb.query import aggregates, dialect, elements
from micdb.query.aggregate import Function
from micdb.query.child_scope import Columns, Finder, Place
from micdb.query.columns import SOURCES
from micdb.query.elements import Element
from micdb.query.nodes import Node, columns_in
from micdb.query.relation import Relation
from micdb.query.spatial.near_sql import Rows
from micdb.query.text import write

Runs = Callable[[str], Sequence[int]]  # the runs that a child table means


def child_rows(table: str, runs: Sequence[int], *, names: Iterable[str], by_image: bool = False) -> Subquery:
    """Return the children of some runs, with ``__image`` and ``__key`` beside the columns named.

    `by_image` says that they are looked up by their image, for which no other index may be taken.
    """
    source = SOURCES[table]
    shown = {name: source.elements[name] for name in names}
    if by_image:
        shown = {name: dialect.unindexed(one) if _indexed(one) else one for name, one in shown.items()}
    columns = [element.label(name) for name, element in shown.items()]
    keys = [source.image.label("__image"), source.order[0].label("__key")]  # type: ignore[union-attr]
    return sa.select(*columns, *keys).where(*_of(table, runs, by_image)).subquery()


def child_element(node: Node, relation: Relation, runs: Runs) -> Element:
    """Return one number per image, computed from its children."""
    found = relation.extra.get(plain_key(node))
    found = child_number(node, relation, runs) if found is None else found
    return known(found, node.args[1], analysed(runs(node.args[0]), relation))


def child_number(node: Node, relation: Relation, runs: Runs) -> Element:
    """Return one number per image; a count is 0 also where no run has looked."""
    rows, number, conditions = _aggregated(node, runs)
    statement = sa.select(number).where(rows.c["__image"] == relation.image, *conditions)
    return statement.correlate_except(rows).scalar_subquery()


def child_images(node: Node, runs: Runs, fulfil: Callable[[Element], Element]) -> Select[Any]:
    """Return the images whose number fulfils a condition that no image without children fulfils."""
    rows, number, conditions = _aggregated(node, runs)
    statement = sa.select(rows.c["__image"]).where(*conditions).group_by(rows.c["__image"])
    return statement.having(fulfil(number))


def finder(runs: Runs) -> Finder:
    """Return what finds the rows of child tables in the catalog, for conditions on what lies near."""

    def find(table: str, names: Sequence[str]) -> Rows:
        rows = child_rows(table, runs(table), names=dict.fromkeys(names), by_image=True)
        return Rows(rows, dict(rows.c), rows.c["__image"], (rows.c["__key"],))

    return find


def plain_key(node: Node) -> str:
    """Return what `child_number` is called in `Relation.extra`; no expression has such a text."""
    return f"#{write(node)}"


def _aggregated(node: Node, runs: Runs) -> tuple[Subquery, Element, list[Element]]:
    table, function, column, condition = node.args
    used = dict.fromkeys(
        [*([] if column is None else [column]), *([] if condition is None else columns_in(condition))]
    )
    rows = child_rows(table, runs(table), names=used, by_image=True)
    target = rows.c[column] if column else rows.c["__key"]
    place = Place(rows.c["__image"], (rows.c["__key"],), finder(runs), many=False)
    conditions = [] if condition is None else [elements.mask(condition, Columns(dict(rows.c), place))]
    return rows, aggregates.element(function, target), conditions


def analysed(runs: Sequence[int], relation: Relation) -> Element:
    """Return whether one of the runs has looked at the image of a row."""
    done = sa.exists().where(
        run_item.c.run_pk.in_(runs), run_item.c.micrograph_pk == relation.image, run_item.c.status == "done"
    )
    return done.correlate_except(run_item)


def known(found: Element, function: Function, looked: Element) -> Element:
    """Return an aggregate whose zero is only zero where the image was analysed; elsewhere it is unknown."""
    if function not in aggregates.COUNTS:
        return found
    count = sa.func.coalesce(sa.func.nullif(found, 0), sa.case((looked, 0)))
    return sa.type_coerce(count, sa.BigInteger())


def _indexed(element: Element) -> bool:
    return isinstance(element, sa.Column) and bool(element.index)


def _of(table: str, runs: Sequence[int], by_image: bool) -> tuple[Element, ...]:
    source = SOURCES[table]
    if source.run is None:
        raise ExpressionError(f"{table} do not come from runs")
    run = dialect.unindexed(source.run) if by_image else source.run
    return (run.in_(runs), *source.where)
