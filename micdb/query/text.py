"""Expressions as text, in the grammar that `micdb.query.grammar` reads."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from micdb.query.nodes import Node

BINDING = {"or": 1, "and": 2, "not": 3, "==": 4, "!=": 4, "<": 4, "<=": 4, ">": 4, ">=": 4, "in": 4,
           "isnull": 4, "+": 5, "-": 5, "*": 6, "/": 6, "neg": 7}  # fmt: skip
KEYWORDS = frozenset({"and", "or", "not", "in", "is", "null", "true", "false"})
_NAME = re.compile(r"[^\W\d]\w*")


def write(node: Node) -> str:
    """Return the text of an expression; parsing it gives the same expression back."""
    op, args = node.op, node.args
    if op == "column":
        return name(args[0])
    if op == "literal":
        return _constant(args[0], node.unit)
    if op in _SPELLED:
        return _SPELLED[op](*args)
    if op == "not":
        return f"not {_inside(args[0], 3)}"
    if op == "neg":
        return f"-{_inside(args[0], 8)}"
    if op == "isnull":
        return f"{_inside(args[0], 5)} is null"
    if op == "in":
        values = ", ".join(_constant(value, args[0].unit) for value in args[1])
        return f"{_inside(args[0], 5)} in [{values}]"
    if op in BINDING:
        binding = BINDING[op]
        # A comparison beside a comparison would be a chain, so both sides bind tighter.
        left = _inside(args[0], binding + (binding == 4))
        return f"{left} {op} {_inside(args[1], binding + 1)}"
    rest = "".join(f", {write(arg) if isinstance(arg, Node) else _constant(arg, None)}" for arg in args[1:])
    return f"{op}({write(args[0])}{rest})"


def name(column: str) -> str:
    """Return a column name as the grammar writes it: backticks around anything but a plain name."""
    return column if _NAME.fullmatch(column) and column not in KEYWORDS else f"`{column}`"


def _inside(node: Node, binding: int) -> str:
    loose = BINDING.get(node.op, 9) < binding
    return f"({write(node)})" if loose else write(node)


def _constant(value: Any, unit: str | None) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return f"{value!r} {unit}" if unit else repr(value)


def _within(*args: Any) -> str:
    radius, others = args[3:]
    which = "" if others.condition is None else f", {write(others.condition)}"
    return f"within({radius!r} nm, {others.table}{which})"


def _holds(_condition: Node, symbol: str) -> str:
    return f"contains({_constant(symbol, None)})"


def _child(table: str, function: str, column: str | None, condition: Node | None) -> str:
    parts = [table]
    if column is not None:
        parts.append(name(column))
    if condition is not None:
        parts.append(write(condition))
    return f"{function}({', '.join(parts)})"


_SPELLED: dict[str, Callable[..., str]] = {"child": _child, "within": _within, "element": _holds}
