"""Expressions as SQL elements, with pandas' treatment of missing values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy import ColumnElement
from sqlalchemy.sql.elements import Grouping
from sqlalchemy.types import Float

from micdb import units
from micdb.query import dialect
from micdb.query.nodes import Kind, Node

Element = ColumnElement[Any]
_CERTAIN = frozenset({"isnull", "not", "literal", "within"})  # never NULL
_KEEPS_TYPE = frozenset({"column", "literal", "child", "fillna"})


class Scope(Protocol):
    """What column names and child aggregates mean in one frame."""

    def column(self, name: str) -> Element:
        """Return the SQL of a column."""

    def child(self, node: Node) -> Element:
        """Return the SQL of an aggregate over child rows."""

    def near(self, node: Node) -> Element:
        """Return the SQL of a condition on what lies near."""


def mask(node: Node, scope: Scope) -> Element:
    """Return a condition for WHERE, where NULL is as good as false."""
    if node.op in ("and", "or"):
        join = sa.and_ if node.op == "and" else sa.or_
        return join(mask(node.args[0], scope), mask(node.args[1], scope))
    if node.op == "element":
        return mask(node.args[0], scope)
    return _element(node, scope)


def value(node: Node, scope: Scope) -> Element:
    """Return an expression for SELECT: a computed condition is true or false, never NULL."""
    if node.kind == "bool" and node.op not in _KEEPS_TYPE:
        return _certain(node, scope)
    return _element(node, scope)


def _element(node: Node, scope: Scope) -> Element:
    op, args = node.op, node.args
    if op == "column":
        return scope.column(args[0])
    if op in ("child", "within"):
        return scope.child(node) if op == "child" else scope.near(node)
    if op == "literal":
        return _constant(args[0], node)
    if op in ("and", "or", "element"):
        return mask(node, scope)
    if op == "not":
        return _not(_certain(args[0], scope))
    if op == "in":
        return _member(value(args[0], scope), args[1], node=args[0])
    if op == "to":
        return _converted(value(args[0], scope), args[0].unit, unit=args[1])
    if op in ("contains", "startswith", "endswith"):
        return _SEARCHES[op](value(args[0], scope), args[1])
    if op in _COMPARISONS:
        return _compared(node, scope)
    return _FUNCTIONS[op](*(value(arg, scope) for arg in args))


def _not(condition: Element) -> Element:
    """Return the opposite; PostgreSQL and DuckDB would read NOT a IS NULL as NOT (a IS NULL)."""
    made = sa.not_(condition)
    return Grouping(made) if isinstance(made, sa.UnaryExpression) else made


def _certain(node: Node, scope: Scope) -> Element:
    found = mask(node, scope)
    return found if node.op in _CERTAIN else sa.func.coalesce(found, sa.false())


def _constant(constant: object, node: Node) -> Element:
    if isinstance(constant, bool):
        return sa.true() if constant else sa.false()
    return sa.literal(constant, dialect.TYPES[node.kind])


def _compared(node: Node, scope: Scope) -> Element:
    left, right = (value(arg, scope) for arg in node.args)
    if node.op == "!=":
        if node.args[1].constant:
            return left.is_distinct_from(right)
        # Two missing values differ, as in pandas; IS DISTINCT FROM would call them equal.
        return _not(sa.func.coalesce(left == right, sa.false()))
    return compared(node.op, left, right, text=node.args[0].kind in ("text", "time"))


def compared(op: str, left: Element, right: Element, *, text: bool) -> Element:
    """Return a comparison, which is no more than NULL where a side is missing."""
    if text and op not in ("==", "!="):
        left, right = dialect.ordered(left), dialect.ordered(right)
    return _COMPARISONS[op](left, right)


def _member(target: Element, values: tuple[object, ...], *, node: Node) -> Element:
    if not values:
        return sa.false()
    # 0.25 must not become the integer 0 on its way to an integer column
    kind: Kind = "number" if node.numeric else node.kind
    listed = dialect.local([(value,) for value in values], [("value", kind)])
    return target.in_(sa.select(listed.c.value))


def _converted(target: Element, source: str | None, *, unit: str) -> Element:
    zero = units.convert(0.0, source, unit)
    factor = units.convert(1.0, source, unit) - zero
    scaled = target * sa.literal(factor, Float(53))
    return scaled if zero == 0.0 else scaled + sa.literal(zero, Float(53))


def _wide(number: Element) -> Element:
    """Return an integer of 64 bits: a server's columns of 32 bits would overflow."""
    return sa.cast(number, dialect.TYPES["integer"]) if isinstance(number.type, sa.Integer) else number


def _absolute(number: Element) -> Element:
    wide = _wide(number)
    return sa.func.abs(wide, type_=wide.type)  # without a type it would not be known for an integer


def _divided(left: Element, right: Element) -> Element:
    # Two integers would divide as integers; nothing may be divided by zero.
    return sa.cast(left, Float(53)) / sa.func.nullif(sa.cast(right, Float(53)), 0.0, type_=Float(53))


def _starts(target: Element, part: str) -> Element:
    return sa.func.substr(target, 1, len(part)) == part


def _ends(target: Element, part: str) -> Element:
    length = sa.func.length(target)
    return sa.and_(length >= len(part), sa.func.substr(target, length - len(part) + 1) == part)


_SEARCHES: dict[str, Callable[[Element, str], Element]] = {
    "contains": dialect.contains,
    "startswith": _starts,
    "endswith": _ends,
}
_COMPARISONS: dict[str, Callable[[Element, Element], Element]] = {
    "==": lambda left, right: left == right,
    "!=": lambda left, right: left != right,
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
}
_FUNCTIONS: dict[str, Callable[..., Element]] = {
    "+": lambda left, right: _wide(left) + right,
    "-": lambda left, right: _wide(left) - right,
    "*": lambda left, right: _wide(left) * right,
    "/": _divided,
    "neg": lambda target: -_wide(target),
    "abs": _absolute,
    "sqrt": lambda target: sa.case((target >= 0, sa.func.sqrt(target))),
    "log": lambda target: sa.case((target > 0, sa.func.ln(target))),
    "isnull": lambda target: target.is_(None),
    "fillna": sa.func.coalesce,
}
