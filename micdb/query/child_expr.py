"""Numbers computed from the children of an image, as expressions."""

from __future__ import annotations

from micdb.errors import ExpressionError, UsageError
from micdb.query import aggregates
from micdb.query.expr import Expr
from micdb.query.schema import Schema


def aggregate(schema: Schema, function: str, column: str | None, condition: Expr | None) -> Expr:
    """Return one number per image, computed from its children.

    Raises
    ------
    UsageError
        There is no such aggregate, or it needs a column.
    UnknownColumnError, ExpressionError
        The column or condition is not one of the children's.
    """
    known = aggregates.check(function)
    if column is None and known not in ("count", "size"):
        raise UsageError(f"{known} of {schema.where} needs a column: write {known}({schema.where}, score)")
    if condition is not None:
        condition = stated(condition, schema)
    kind, unit = ("integer", None) if column is None else aggregates.result(known, schema[column])
    return Expr("child", (schema.where, known, column, condition), kind, unit)


def stated(condition: Expr, schema: Schema) -> Expr:
    """Return a condition after checking it; a bare column is written out as ``flag == true``.

    Its text then tells a condition from a column: ``count(atoms, flag == true)``.
    """
    check_condition(condition, schema)
    return condition == True if condition.op == "column" else condition  # noqa: E712


def check_condition(condition: Expr, schema: Schema) -> None:
    """Refuse what is no condition on the children; raises `ExpressionError` or `UnknownColumnError`."""
    if condition.kind != "bool":
        raise ExpressionError(f"{condition} is no condition on {schema.where}")
    schema.admit(condition)
