"""Children of images that are kept in SQL: defects, segments, particles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import sqlalchemy as sa
from sqlalchemy import Subquery

from micdb.catalog.results import run_item
from micdb.errors import ExpressionError
from micdb.query import aggregates, elements
from micdb.query.aggregate import Function
from micdb.query.columns import SOURCES
from micdb.query.elements import Element
from micdb.query.nodes import Node
from micdb.query.relation import Relation


class Columns:
    """What names mean inside a condition on children.

    Parameters
    ----------
    found
        SQL of each column.
    """

    def __init__(self, found: Mapping[str, Element]) -> None:
        self.found = found

    def column(self, name: str) -> Element:
        """Return the SQL of a column."""
        return self.found[name]

    def child(self, node: Node) -> Element:
        """Refuse: children have no children."""
        raise ExpressionError(f"{node.args[0]} belong to images: count them on the images")


def child_rows(table: str, runs: Sequence[int], *, names: Iterable[str]) -> Subquery:
    """Return the children of some runs, with ``__image`` and ``__key`` beside the columns named."""
    source = SOURCES[table]
    columns = [source.elements[name].label(name) for name in names]
    keys = [source.image.label("__image"), source.order[0].label("__key")]  # type: ignore[union-attr]
    return sa.select(*columns, *keys).where(*_of(table, runs)).subquery()


def child_element(node: Node, relation: Relation, runs: Sequence[int]) -> Element:
    """Return one number per image, computed from its children."""
    table, function, column, condition = node.args
    used = dict.fromkeys(
        [*([] if column is None else [column]), *([] if condition is None else _columns_in(condition))]
    )
    rows = child_rows(table, runs, names=used)
    target = rows.c[column] if column else rows.c["__key"]
    statement = sa.select(aggregates.element(function, target)).where(rows.c["__image"] == relation.image)
    if condition is not None:
        statement = statement.where(elements.mask(condition, Columns(dict(rows.c))))
    found: Element = statement.correlate_except(rows).scalar_subquery()
    return known(found, function, runs=runs, relation=relation)


def known(found: Element, function: Function, *, runs: Sequence[int], relation: Relation) -> Element:
    """Return an aggregate whose zero is only zero where the image was analysed; elsewhere it is unknown."""
    if function not in aggregates.COUNTS:
        return found
    analysed = sa.exists().where(
        run_item.c.run_pk.in_(runs), run_item.c.micrograph_pk == relation.image, run_item.c.status == "done"
    )
    return sa.func.coalesce(sa.func.nullif(found, 0), sa.case((analysed.correlate_except(run_item), 0)))


def _columns_in(node: Node) -> list[str]:
    if node.op == "column":
        return [node.args[0]]
    return [name for arg in node.args if isinstance(arg, Node) for name in _columns_in(arg)]


def _of(table: str, runs: Sequence[int]) -> tuple[Element, ...]:
    source = SOURCES[table]
    if source.run is None:
        raise ExpressionError(f"{table} do not come from runs")
    return (source.run.in_(runs), *source.where)
