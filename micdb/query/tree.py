"""Expressions and verbs as a small JSON tree: what is saved, hashed and sent, instead of SQL.

======================== ==============================================================
``["column", name]``     a column
``["literal", x, unit]`` a constant; the unit is null for plain numbers and text
``["child", t, f, c, e]`` aggregate f of column c (or null) of the children t that fulfil e (or null)
``["within", r, t, e]``  whether a row of table t that fulfils e (or null) is at most r nanometres away
``["in", x, [...]]``     one of several constants, in the unit of x
``["element", symbol]``  whether there is some of an element
``["to", x, unit]``      x in another unit
``[op, x, ...]``         everything else
======================== ==============================================================

A verb is its name and its fields. ``["merge", keys, columns, rows, units]`` carries a local table, and
``["join", keys, {"base": ..., "verbs": [...]}]`` another frame; keys are ``[pairs,
how, validate, suffixes]``.

Kinds and units are not written down: they are worked out again from the columns when a tree is read, so a
tree can claim nothing about the data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import MISSING, fields
from typing import Any

from micdb.errors import UsageError
from micdb.query import merging, rules, verbs
from micdb.query.child_expr import aggregate
from micdb.query.columns import arrow_kind
from micdb.query.expr import Expr, literal
from micdb.query.holding import HOLDS, holds
from micdb.query.nodes import Node
from micdb.query.schema import Schema
from micdb.query.spatial.within import Others, columns_of, within
from micdb.query.verbs import Verb

Json = Any
_VERBS: dict[str, type[Verb]] = {kind.__name__.lower(): kind for kind in verbs.ALL}
_Missing = type(MISSING)
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
    if op == HOLDS:
        return [op, args[1]]
    if op == "within":
        radius, others = args[3:]
        return [op, radius, others.table, None if others.condition is None else expr_json(others.condition)]
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
        if op in ("literal", HOLDS):
            return literal(*args) if op == "literal" else holds(schema, *args)
        if op == "child":
            table, function, column, condition = args
            inside = child(table)
            kept = None if condition is None else expr_from(condition, inside, child)
            return aggregate(inside, function, column, kept)
        if op == "within":
            radius, table, condition = args
            inside = columns_of(schema, table)
            kept = None if condition is None else expr_from(condition, inside, child)
            return within(schema, radius, Others(table, kept), its_schema=inside)
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
    if isinstance(step, verbs.Merge):
        kinds = [[field.name, arrow_kind(field.type)] for field in step.table.schema]
        rows = zip(*(column.to_pylist() for column in step.table.columns), strict=True)
        return [name, _keys_json(step.keys), kinds, [list(row) for row in rows], _plain(step.units)]
    if isinstance(step, verbs.Join):
        return [name, _keys_json(step.keys), frame_json(step.other.base, step.other.steps)]
    values = [getattr(step, one.name) for one in fields(step)]
    for one in reversed(fields(step)):  # what a query does not use is not written, so that old trees stay
        if isinstance(one.default, _Missing) or values[-1] != one.default:
            break
        values.pop()
    return [name, *(_plain(value) for value in values)]


def frame_json(base: str, steps: Iterable[Verb]) -> dict[str, Json]:
    """Return a whole query as JSON values.

    Raises
    ------
    UsageError
        It searches by an array, which has no place in a text.
    """
    return {"base": base, "verbs": [verb_json(step) for step in steps]}


def verb_from(
    tree: Json, schema: Schema, child: Callable[[str], Schema], *, other: Callable[[Json], verbs.Other]
) -> Verb:
    """Return the verb of a JSON tree; its expressions speak of the columns in `schema`.

    Parameters
    ----------
    tree
        What `verb_json` gave.
    schema, child
        As for `expr_from`.
    other
        Reads the query of a frame that is joined.

    Raises
    ------
    UsageError
        The tree is malformed.
    """
    if not isinstance(tree, Sequence) or isinstance(tree, str) or not tree or tree[0] not in _VERBS:
        raise UsageError(f"{tree!r} is no verb; there are {', '.join(_VERBS)}")
    name, *args = tree
    kind = _VERBS[name]
    if kind is verbs.Merge:
        keys, columns, rows, units = args
        table = merging.local_table([(str(column), kind) for column, kind in columns], rows)
        return verbs.Merge(_keys_from(keys), table, _frozen(units))
    if kind is verbs.Join:
        keys, query = args
        return verbs.Join(_keys_from(keys), other(query))
    least = sum(isinstance(one.default, _Missing) for one in fields(kind))
    if not least <= len(args) <= len(fields(kind)):
        takes = f"{least} to {len(fields(kind))}" if least < len(fields(kind)) else least
        raise UsageError(f"{name} takes {takes} values in a query tree, not {len(args)}")
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


def _keys_json(keys: verbs.Keys) -> Json:
    return [[list(pair) for pair in keys.pairs], keys.how, keys.validate, _plain(keys.suffixes)]


def _keys_from(tree: Json) -> verbs.Keys:
    pairs, how, validate, suffixes = tree
    left, right = ([pair[side] for pair in pairs] for side in (0, 1))
    return merging.merge_keys(left_on=left, right_on=right, how=how, validate=validate, suffixes=suffixes)


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
