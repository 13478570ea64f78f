"""The bare node of an expression tree; `micdb.query.expr` gives it Python's operators."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, Self

Kind = Literal["integer", "number", "text", "bool", "time"]


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One node of an expression.

    Parameters
    ----------
    op
        What it does: ``column``, ``literal``, ``child``, a comparison, ``and``, ``+``, ``sqrt``, ...
    args
        What it does it to; `micdb.query.tree` lists the arguments of every op.
    kind
        ``integer``, ``number``, ``text``, ``bool`` or ``time`` (ISO 8601 text).
    unit
        Unit of the result; None for plain numbers and everything else.

    Attributes
    ----------
    depth
        Number of nodes from here down to the deepest leaf.
    """

    op: str
    args: tuple[Any, ...]
    kind: Kind
    unit: str | None = None
    depth: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        below = (arg.depth for arg in self.args if isinstance(arg, Node))
        object.__setattr__(self, "depth", 1 + max(below, default=0))

    @property
    def numeric(self) -> bool:
        """Whether the result is a number."""
        return self.kind in ("integer", "number")

    @property
    def constant(self) -> bool:
        """Whether it is a literal."""
        return self.op == "literal"

    def make(self, op: str, args: tuple[Any, ...], kind: Kind, unit: str | None = None) -> Self:
        """Return another node of the same class."""
        return type(self)(op, args, kind, unit)


def columns_in(node: Node) -> Iterator[str]:
    """Yield the names of the columns in an expression, not those of children."""
    if node.op == "column":
        yield node.args[0]
    elif node.op != "child":
        for arg in node.args:
            if isinstance(arg, Node):
                yield from columns_in(arg)
