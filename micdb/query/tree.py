"""Expressions and verbs as a small JSON tree: what is saved, hashed and sent, instead of SQL.

======================== ==============================================================
``["column", name]``     a column
``["literal", x, unit]`` a constant; the unit is null for plain numbers and text
``["child", t, f, c, e]`` aggregate f of column c (or null) of the children t that fulfil e (or null)
``["in", x, [...]]``     one of several constants, in the unit of x
``["to", x, unit]``      x in another unit
``[op, x, ...]``         everything else
======================== ==============================================================

Kinds and units are not written down: they are worked out again from the columns when a tree is read, so a
tree can claim nothing about the data.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any

from micdb.errors import UsageError
from micdb.query import rules, verbs
from micdb.query.child_expr import aggregate
from micdb.query.expr import Expr, literal
from micdb.query.nodes import Node
from micdb.query.schema import Schema
from micdb.query.verbs import Verb

Json = Any
_VERBS: dict[str, type[Verb]] = {kind.__name__.lower(): kind for kind in verbs.ALL}
_COMPARISONS = tuple(rules.FLIPPED)


def expr_json(node: Node) -> list[Json]:
    """Return an expression as JSON values."""
    op, args = node.op, node.args
    if op == "column":
        return ["column", args[0]]
    if op == "literal":
        return ["literal", args[0], node.unit]
    if op == "in":
        return ["in", expr_json(args[0]), list(args[1])]
    return [op, *(expr_json(arg) if isinstance(arg, Node) else arg for arg in args)]


def expr_from(tree: Json, schema: Schema, child: Callable[[str], Schema]) -> Expr:
    """Return the expression of a JSON tree.

    Parameters
    ----------
    tree
        What `expr_json` gave.
    schema
        Columns it may speak of.
    child
        Returns the columns of a child table.

    Raises
    ------
    UsageError
        The tree is malformed, or makes no sense with these columns.
    """
    if not isinstance(tree, Sequence) or isinstance(tree, str) or not tree:
        raise UsageError(f"{tree!r} is no expression: it is a list that begins with the name of an operation")
    op, *args = tree
    try:
        if op == "column":
            return schema[args[0]].expr()
        if op == "literal":
            return literal(*args)
        if op == "child":
            table, function, column, condition = args
            inside = child(table)
            kept = None if condition is None else expr_from(condition, inside, child)
            return aggregate(inside, function, column, kept)
        target = expr_from(args[0], schema, child)
        if op == "in":
            unit = target.unit
            return target.isin([literal(value, unit) if unit else value for value in args[1]])
        if op in (*_COMPARISONS, "and", "or", "+", "-", "*", "/", "fillna"):
            return _binary(op, target, expr_from(args[1], schema, child))
        return _unary(op, target, *args[1:])
    except (IndexError, TypeError, ValueError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"wrong arguments of {op!r} in a query tree: {error}") from error


def _binary(op: str, left: Expr, right: Expr) -> Expr:
    if op in _COMPARISONS:
        return rules.compare(op, left, right)
    if op in ("and", "or"):
        return rules.combine(op, left, right)
    return rules.fill(left, right) if op == "fillna" else rules.arithmetic(op, left, right)


def _unary(op: str, target: Expr, *rest: Json) -> Expr:
    if op == "not":
        return rules.invert(target)
    if op == "isnull":
        return target.isna()
    if op == "to":
        return rules.convert(target, *rest)
    if op in ("contains", "startswith", "endswith"):
        return rules.search(op, target, *rest)
    if op in ("neg", "abs", "sqrt", "log"):
        return rules.function(op, target)
    raise UsageError(f"unknown operation {op!r} in a query tree")


def verb_json(step: Verb) -> list[Json]:
    """Return a verb as JSON values: its name, then its fields.

    Raises
    ------
    UsageError
        It searches by an array, which has no place in a text.
    """
    name = type(step).__name__.lower()
    return [name, *(_plain(getattr(step, one.name)) for one in fields(step))]


def verb_from(tree: Json, schema: Schema, child: Callable[[str], Schema]) -> Verb:
    """Return the verb of a JSON tree; its expressions speak of the columns in `schema`.

    Raises
    ------
    UsageError
        The tree is malformed.
    """
    if not isinstance(tree, Sequence) or isinstance(tree, str) or not tree or tree[0] not in _VERBS:
        raise UsageError(f"{tree!r} is no verb; there are {', '.join(_VERBS)}")
    name, *args = tree
    kind = _VERBS[name]
    if len(args) != len(fields(kind)):
        raise UsageError(f"{name} takes {len(fields(kind))} values in a query tree, not {len(args)}")
    if kind is verbs.Filter:
        return verbs.Filter(expr_from(args[0], schema, child))
    if kind is verbs.Assign:
        return _assign(args[0], schema, child)
    return kind(*(_frozen(arg) for arg in args))


def _assign(columns: Json, schema: Schema, child: Callable[[str], Schema]) -> verbs.Assign:
    """Return an assignment; each column may speak of those before it."""
    made = []
    for name, tree in columns:
        expr = expr_from(tree, schema, child)
        made.append((str(name), expr))
    return verbs.Assign(tuple(made))


def _plain(value: Any) -> Json:
    if isinstance(value, Node):
        return expr_json(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise UsageError(
        f"a search by {type(value).__name__} cannot be saved; "
        "search by the path of a file or the uid of an image"
    )


def _frozen(value: Json) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list | tuple) else value
