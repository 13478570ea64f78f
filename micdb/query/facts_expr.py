"""Expressions over the big tables, as DuckDB SQL with pandas' treatment of missing values.

Only this module writes SQL text, and only from names it has checked: constants travel as parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa

from micdb import units
from micdb.errors import ExpressionError, UnknownColumnError
from micdb.query.nodes import Node


class Compiler:
    """Turns expressions over one table into SQL, collecting their constants.

    Parameters
    ----------
    table
        Name of the table, for messages.
    columns
        Its columns.

    Attributes
    ----------
    parameters
        Constants by name, to be handed to DuckDB with the statement.
    """

    def __init__(self, table: str, columns: pa.Schema) -> None:
        self.table = table
        self.columns = columns
        self.parameters: dict[str, Any] = {}

    def column(self, name: str) -> str:
        """Return the SQL of a column as it is stored; NaN counts as missing, as in pandas.

        Raises
        ------
        UnknownColumnError
            The table has no such column.
        """
        if name not in self.columns.names:
            raise UnknownColumnError(name, self.columns.names, self.table)
        quoted = '"' + name.replace('"', '""') + '"'
        if pa.types.is_floating(self.columns.field(name).type):
            return known(quoted)
        return quoted

    def value(self, name: str) -> str:
        """Return the SQL of a column to compute with: 64 bits wide, so that nothing overflows or rounds.

        Raises
        ------
        UnknownColumnError
            The table has no such column.
        """
        sql = self.column(name)
        kind = self.columns.field(name).type
        if pa.types.is_floating(kind):
            return f"({sql})::DOUBLE"
        return f"{sql}::BIGINT" if pa.types.is_integer(kind) else sql

    def expression(self, node: Node) -> str:
        """Return the SQL of an expression; a computed condition is never NULL.

        Raises
        ------
        UnknownColumnError
            It speaks of a column the table does not have.
        ExpressionError
            It speaks of something other than the columns of the table.
        """
        if node.op == "column":
            return self.value(node.args[0])
        if node.op == "literal":
            return self._constant(node.args[0])
        if node.op == "in":
            items = ", ".join(self._constant(value) for value in node.args[1])
            return f"coalesce({self.expression(node.args[0])} IN ({items}), false)" if items else "false"
        if node.op == "to":
            return self._converted(node)
        if node.op not in OPERATORS:
            raise ExpressionError(f"{node.op} cannot be computed over the rows of {self.table}")
        sides = (self.expression(arg) if isinstance(arg, Node) else self._constant(arg) for arg in node.args)
        return OPERATORS[node.op](*sides)

    def _constant(self, value: object) -> str:
        name = f"p{len(self.parameters)}"
        self.parameters[name] = value
        return f"${name}"

    def _converted(self, node: Node) -> str:
        target, unit = node.args
        zero = units.convert(0.0, target.unit, unit)
        factor = units.convert(1.0, target.unit, unit) - zero
        return f"({self.expression(target)} * {self._constant(factor)} + {self._constant(zero)})"


def known(number: str) -> str:
    """Return the SQL of a floating-point number that is NULL where it is NaN."""
    return f"CASE WHEN isnan({number}) THEN NULL ELSE {number} END"


def _certain(sign: str, when_missing: str = "false") -> Callable[..., str]:
    return lambda left, right: f"coalesce({left} {sign} {right}, {when_missing})"


def _infix(sign: str) -> Callable[..., str]:
    return lambda left, right: f"({left} {sign} {right})"


# A missing value is unequal to everything; a division by zero, the root of a negative number and
# the logarithm of none are missing.
OPERATORS: dict[str, Callable[..., str]] = {
    "==": _certain("="),
    "!=": _certain("<>", "true"),
    "<": _certain("<"),
    "<=": _certain("<="),
    ">": _certain(">"),
    ">=": _certain(">="),
    "and": _certain("AND"),
    "or": _certain("OR"),
    "+": _infix("+"),
    "-": _infix("-"),
    "*": _infix("*"),
    "/": lambda left, right: f"({left} / nullif({right}, 0))",
    "not": lambda target: f"(NOT coalesce({target}, false))",
    "neg": lambda target: f"(-{target})",
    "abs": lambda target: f"abs({target})",
    "sqrt": lambda target: f"CASE WHEN {target} >= 0 THEN sqrt({target}) END",
    "log": lambda target: f"CASE WHEN {target} > 0 THEN ln({target}) END",
    "isnull": lambda target: f"({target} IS NULL)",
    "fillna": lambda target, value: f"coalesce({target}, {value})",
    "contains": lambda target, part: f"coalesce(contains({target}, {part}), false)",
    "startswith": lambda target, part: f"coalesce(starts_with({target}, {part}), false)",
    "endswith": lambda target, part: f"coalesce(suffix({target}, {part}), false)",
}  # fmt: skip
