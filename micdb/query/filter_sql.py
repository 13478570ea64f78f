"""Conditions on numbers that stand elsewhere as SQL: counts of children, properties, roll-ups.

Among all images, those that fulfil such a condition are found from where the numbers are: one pass over the
defects counts them all. Among images that other conditions leave, the numbers of each are looked up; they
are computed once, whatever else the query does with them. Which samples fulfil a condition on a property is
asked beforehand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Protocol

import sqlalchemy as sa
from sqlalchemy import Connection

from micdb.query import elements
from micdb.query.aggregates import COUNTS
from micdb.query.child_scope import is_big
from micdb.query.child_sql import child_element, child_images, child_number, plain_key
from micdb.query.columns import SOURCES, Source
from micdb.query.elements import Element, Scope
from micdb.query.lookups import subqueries_in
from micdb.query.nodes import Node, columns_in
from micdb.query.property_sql import Asked, property_members
from micdb.query.relation import Relation
from micdb.query.vocabulary import Vocabulary

_TEXT = ("contains", "startswith", "endswith")
_MET = ("==", "<", "<=", ">", ">=")  # comparisons that nothing missing fulfils


class Meanings(Protocol):
    """What names mean in a query; `micdb.query.supplies.Supplies` is one."""

    vocabulary: Vocabulary
    connection: Connection
    assigned: dict[int, tuple[Element, Node]]
    spoken: frozenset[str]

    def runs(self, table: str, name: str | None = None) -> list[int]:
        """Return the run that a child table or roll-up means."""

    def scope(self, relation: Relation) -> Scope:
        """Return the meaning of names in a relation."""


def filtered(relation: Relation, mask: Node, names: Meanings) -> Relation:
    """Return the rows of the catalog that fulfil a condition.

    Parameters
    ----------
    relation
        Rows without a limit.
    mask
        The condition; it needs no big table.
    names
        What names mean.
    """
    if mask.op in _TEXT and _whole(relation):
        return replace(relation, where=(*relation.where, _searched(mask, relation, names)))
    tally = _tally(mask, relation)
    if tally is not None:
        return _counted(mask, tally, relation, names)
    found = _members(mask, relation, names)
    if found is not None:
        return replace(relation, where=(*relation.where, found))
    left = _number(mask, relation, names)
    relation = _computed(relation, mask, names)
    if left is not None and _needs_children(mask, left) and plain_key(left) in relation.extra:
        condition = _fulfil(mask, names.scope(relation))(relation.extra[plain_key(left)])
    else:
        condition = elements.mask(mask, names.scope(relation))
    return replace(relation, where=(*relation.where, condition))


def costs(mask: Node, relation: Relation) -> bool:
    """Return whether a condition speaks of numbers that stand elsewhere."""
    return any(True for _ in _children(mask)) or any(
        name not in relation.columns or subqueries_in(relation.columns[name]) for name in columns_in(mask)
    )


def _searched(mask: Node, relation: Relation, names: Meanings) -> Element:
    """Return a search for text: through the index alone where there is one, which is much less to read."""
    condition = elements.mask(mask, names.scope(relation))
    place = relation.columns.get(str(mask.args[0].args[0])) if mask.args[0].op == "column" else None
    if relation.home is None or not isinstance(place, sa.Column) or not place.index:
        return condition
    table, key = relation.home
    return (
        key.in_(sa.select(table.c.pk).where(condition).correlate(None)) if place.table is table else condition
    )


def _number(mask: Node, relation: Relation, names: Meanings) -> Node | None:
    """Return what a condition compares with a constant: an aggregate of children, a property or a roll-up."""
    if mask.op not in _MET or not mask.args[1].constant:
        return None
    node: Node = mask.args[0]
    if node.op == "column" and node.args[0] in relation.columns:
        _, node = names.assigned.get(id(relation.columns[node.args[0]]), (None, node))
    if node.op == "child":
        return None if is_big(node) else node
    return node if node.op == "column" and node.args[0] not in relation.columns else None


def _whole(relation: Relation) -> bool:
    """Return whether these are all the rows of a table."""
    if relation.home is None or relation.rows is not relation.home[0]:
        return False
    source = _source(relation)
    return len(relation.where) == len(source.where) + len(source.alive)


def _source(relation: Relation) -> Source:
    return next(one for one in SOURCES.values() if one.rows is relation.rows)


def _tally(mask: Node, relation: Relation) -> sa.Select[int] | None:
    """Return the groups that a condition on a number of other rows can be asked of, where one can."""
    if (
        mask.op not in _MET
        or not mask.args[1].constant
        or mask.args[0].op != "column"
        or not _whole(relation)
    ):
        return None
    source, name = _source(relation), mask.args[0].args[0]
    if name not in source.tallies or relation.columns.get(name) is not source.elements[name]:
        return None
    return source.tallies[name] if _excludes_none(mask) else None


def _counted(mask: Node, tally: sa.Select[int], relation: Relation, names: Meanings) -> Relation:
    """Return the rows whose number of other rows fulfils a condition, with that number beside them."""
    number = sa.func.count()
    groups = tally.add_columns(number.label("number")).having(_fulfil(mask, names.scope(relation))(number))
    found = groups.subquery()
    owner, _ = found.c
    rows = relation.rows.join(found, owner == relation.home[1])  # type: ignore[index]
    return replace(relation, rows=rows, columns={**relation.columns, mask.args[0].args[0]: found.c.number})


def _members(mask: Node, relation: Relation, names: Meanings) -> Element | None:
    """Return whether a row is one of those that fulfil a condition, where they are found by themselves."""
    if mask.op == "not":  # what is missing fulfils no such condition, but the opposite of it
        found = _members(mask.args[0], relation, names)
        return None if found is None else sa.not_(sa.func.coalesce(found, sa.false()))
    left = _number(mask, relation, names)
    if left is not None and left.op == "child":
        if relation.image is None or not _whole(relation) or not _needs_children(mask, left):
            return None
        return relation.image.in_(child_images(left, names.runs, _fulfil(mask, names.scope(relation))))
    asked = _asked(mask, relation, names)
    if asked is None or relation.sample is None:
        return None
    return property_members(asked, names.connection, image=relation.image, sample=relation.sample)


def _asked(mask: Node, relation: Relation, names: Meanings) -> list[Asked] | None:
    """Return the conditions on properties one of which is to be fulfilled; None where it is no such mask."""
    if mask.op == "element":
        return _asked(mask.args[0], relation, names)
    if mask.op == "or":
        sides = [_asked(side, relation, names) for side in mask.args]
        return None if any(side is None for side in sides) else [one for side in sides for one in side or ()]
    left = _number(mask, relation, names)
    known = None if left is None else names.vocabulary.properties.get(left.args[0])
    return None if known is None else [Asked(known, _fulfil(mask, names.scope(relation)))]


def _fulfil(mask: Node, scope: Scope) -> Callable[[Element], Element]:
    right = elements.value(mask.args[1], scope)
    text = mask.args[0].kind in ("text", "time")
    return lambda number: elements.compared(mask.op, number, right, text=text)


def _needs_children(mask: Node, left: Node) -> bool:
    """Return whether no image without children fulfils a comparison: ``count() >= 3``, ``min(x) < 3``."""
    if left.op != "child":
        return False
    if left.args[1] not in COUNTS:
        return True
    return _excludes_none(mask)


def _excludes_none(mask: Node) -> bool:
    """Return whether no count of nothing fulfils a comparison."""
    limit = mask.args[1].args[0]
    return (mask.op in ("==", ">=") and limit > 0) or (mask.op == ">" and limit >= 0)


def _computed(relation: Relation, mask: Node, names: Meanings) -> Relation:
    """Return the rows with what a condition counts or looks up computed once."""
    if relation.home is None:
        return relation
    visible = {name: relation.columns[name] for name in columns_in(mask) if name in relation.columns}
    aliases = {name: names.assigned[id(one)][1] for name, one in visible.items() if id(one) in names.assigned}
    children = {plain_key(node): node for node in (*_children(mask), *aliases.values())}
    found = {
        text: child_number(node, relation, names.runs)
        for text, node in children.items()
        if text not in relation.extra
    }
    costly = [name for name, one in visible.items() if name not in aliases and subqueries_in(one)]
    if not found and not costly:
        return relation
    near = {name for name in names.spoken if isinstance(relation.columns.get(name), sa.Column)}
    relation = relation.computed(found, {*costly, *near})  # so that later verbs need not look a row up again
    again = {name: child_element(node, relation, names.runs) for name, node in aliases.items()}
    return replace(relation, columns={**relation.columns, **again})


def _children(node: Node) -> Iterator[Node]:
    """Yield the aggregates over children in the catalog that an expression has."""
    if node.op == "child":
        if not is_big(node):
            yield node
        return
    for arg in node.args:
        if isinstance(arg, Node):
            yield from _children(arg)
