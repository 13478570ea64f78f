"""Tables that hold more of a row: each is joined only where a column of its is spoken of.

An image has a lab, a sample with its material, a microscope and so on. A statement that counts images needs
none of them, and one that sorts a million images for the best fifty needs them for fifty.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import ColumnElement, FromClause
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import BooleanClauseList, ClauseElement
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.selectable import AliasedReturnsRows, Join

from micdb.query import dialect

_STRICT = {operators.eq, operators.lt, operators.le, operators.gt, operators.ge, operators.in_op}


@dataclass(frozen=True, slots=True)
class Lookup:
    """A table with at most one row for each row it is joined to.

    Parameters
    ----------
    table
        The table or an alias of it.
    on
        How it is joined; may speak of lookups that stand before it.
    outer
        Whether there may be none.
    """

    table: FromClause
    on: ColumnElement[bool]
    outer: bool = True


def reach(
    rows: FromClause,
    lookups: Sequence[Lookup],
    elements: Iterable[ClauseElement],
    where: Sequence[ClauseElement] = (),
) -> tuple[FromClause, tuple[Lookup, ...]]:
    """Return rows with those lookups joined that some elements speak of, and the lookups that are left.

    A lookup whose absence the conditions `where` do not let pass is joined as if it were always there, and
    first: SQLite finds its way from a material to its samples and images only then.
    """
    if not lookups:
        return rows, ()
    wanted, present = tables_in([*elements, *where]), rejecting(where)
    needed = []
    for lookup in reversed(lookups):  # what a lookup hangs on stands before it
        if lookup.table in wanted:
            needed.append(lookup)
            wanted |= tables_in([lookup.on])
            if lookup.table in present:
                present |= tables_in([lookup.on])
    inner = [lookup for lookup in reversed(needed) if lookup.table in present or not lookup.outer]
    for lookup in inner:
        rows = rows.join(lookup.table, lookup.on)
    for lookup in reversed(needed):
        if lookup not in inner:
            rows = rows.join(lookup.table, lookup.on, isouter=True)
    return rows, tuple(lookup for lookup in lookups if lookup not in needed)


def lookup_of(element: ClauseElement, lookups: Iterable[Lookup]) -> Lookup | None:
    """Return the lookup of a column that names its rows, each differently; None where it is no such one."""
    if not isinstance(element, sa.Column) or not element.unique or element.nullable:
        return None
    for lookup in lookups:
        on = lookup.on
        if (
            lookup.table is element.table
            and isinstance(on, sa.BinaryExpression)
            and on.operator is operators.eq
        ):
            return lookup if on.left is lookup.table.c.pk and isinstance(on.right, sa.Column) else None
    return None


def rejecting(where: Iterable[ClauseElement]) -> set[FromClause]:
    """Return the tables of which conditions that are all fulfilled need a row."""
    found: set[FromClause] = set()
    for condition in where:
        if isinstance(condition, sa.BinaryExpression) and condition.operator in _STRICT:
            found |= _strict(condition.left) | _strict(condition.right)
        elif isinstance(condition, sa.BinaryExpression) and condition.operator is operators.is_not:
            found |= _strict(condition.left) if isinstance(condition.right, sa.Null) else set()
        elif isinstance(condition, BooleanClauseList) and condition.operator is operators.and_:
            found |= rejecting(condition.clauses)
    return found


def present(element: ClauseElement, where: Iterable[ClauseElement]) -> bool:
    """Return whether conditions that are all fulfilled compare an element, which is not missing then."""
    for condition in where:
        if isinstance(condition, sa.BinaryExpression) and condition.operator in _STRICT:
            found = condition.left is element or condition.right is element
        else:
            both = isinstance(condition, BooleanClauseList) and condition.operator is operators.and_
            found = both and present(element, condition.get_children())
        if found:
            return True
    return False


def _strict(element: ClauseElement) -> set[FromClause]:
    """Return the tables whose absence makes an element missing."""
    if isinstance(element, sa.ColumnClause):
        return set() if element.table is None else {element.table}
    if isinstance(element, FunctionElement) and type(element).__module__ == dialect.__name__:
        return {table for clause in element.clauses for table in _strict(clause)}
    return set()


def tables_in(elements: Iterable[ClauseElement]) -> set[FromClause]:
    """Return the tables whose columns some elements speak of, also in the statements within them."""
    found: set[FromClause] = set()
    left = list(elements)
    while left:
        element = left.pop()
        if isinstance(element, sa.Label):
            element = element.element
        if isinstance(element, sa.ColumnClause):
            if element.table is not None:
                found.add(element.table)
        elif not isinstance(element, sa.TableClause | AliasedReturnsRows):
            left.extend(element.get_children())
    return found


def joined_in(rows: FromClause) -> Iterator[FromClause]:
    """Yield the tables that a join is made of."""
    if isinstance(rows, Join):
        yield from joined_in(rows.left)
        yield from joined_in(rows.right)
    else:
        yield rows


def subqueries_in(element: ClauseElement) -> bool:
    """Return whether an element has a statement of its own within it."""
    return isinstance(element, sa.ScalarSelect | sa.Exists) or any(map(subqueries_in, element.get_children()))
