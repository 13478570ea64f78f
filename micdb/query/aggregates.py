"""Aggregates as SQL, the same for groups and for children; and the kind and unit they give."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement
from sqlalchemy.types import Float, Integer

from micdb import units
from micdb.errors import ExpressionError, UsageError, suggestion
from micdb.query import dialect, rules
from micdb.query.aggregate import FUNCTIONS, Function
from micdb.query.nodes import Kind
from micdb.query.schema import Field

COUNTS = frozenset({"count", "size", "nunique"})
CHOSEN = ("first", "last")  # known value of a group in row order
_ANY_KIND = COUNTS | {"min", "max"}
_QUANTILE = re.compile(r"quantile\(([0-9.]+(?:e-?[0-9]+)?)\)")


def check(function: str) -> Function:
    """Return the name of an aggregate, or refuse it."""
    for known in FUNCTIONS:
        if function == known:
            return known
    raise UsageError(f"no aggregate {function!r}{suggestion(str(function), FUNCTIONS)}")


def check_group(function: str) -> str:
    """Return the name of an aggregate of groups, or refuse it: there are more than of children."""
    if function in CHOSEN or fraction(str(function)) is not None:
        return function
    known = (*FUNCTIONS, *CHOSEN, "quantile(0.9)")
    if function not in FUNCTIONS:
        raise UsageError(f"no aggregate {function!r}{suggestion(str(function), known)}")
    return function


def fraction(function: str) -> float | None:
    """Return the fraction of ``quantile(0.9)``; None for every other aggregate."""
    found = _QUANTILE.fullmatch(function)
    try:
        share = float(found[1]) if found else None
    except ValueError:
        return None
    return share if share is not None and 0 <= share <= 1 else None


def result(function: str, field: Field) -> tuple[Kind, str | None]:
    """Return kind and unit of an aggregate of a column.

    Raises
    ------
    ExpressionError
        The column has no such aggregate: a mean of text, a sum of temperatures in degC.
    """
    if function in COUNTS:
        return "integer", None
    if function in CHOSEN or (function in _ANY_KIND and field.kind != "bool"):
        return field.kind, field.unit
    if field.kind in ("text", "time"):
        raise ExpressionError(
            f"{field.name} is {field.kind} and has no {function}; there are count and nunique"
        )
    if function == "sum" and rules.offset(field.unit):
        raise ExpressionError(f"{field.name} is in {field.unit}: temperatures have a mean and no sum")
    unit = rules.spread(field.unit) if function in ("std", "var") else field.unit
    unit = units.product(unit, unit) if function == "var" else unit
    exact = field.kind in ("integer", "bool") and function in ("sum", "min", "max")
    return ("integer" if exact else "number"), unit


def element(function: str, column: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return the SQL of an aggregate; missing values are left out, as in pandas."""
    if isinstance(column.type, sa.Boolean) and function not in COUNTS:
        column = sa.cast(column, Integer())
    if function in ("min", "max") and isinstance(column.type, sa.String):
        column = dialect.ordered(column)
    share = fraction(function)
    made = _SQL[function](column) if share is None else dialect.quantile(column, share)
    return dialect.known(made) if isinstance(made.type, Float) else made


def _mean(column: ColumnElement[Any]) -> ColumnElement[Any]:
    return sa.func.avg(sa.cast(column, Float(53)), type_=Float(53))


_SQL: dict[str, Callable[[ColumnElement[Any]], ColumnElement[Any]]] = {
    "count": sa.func.count,
    "size": lambda _: sa.func.count(),
    "nunique": lambda column: sa.func.count(sa.distinct(column)),
    "mean": _mean,
    "sum": dialect.total,
    "min": sa.func.min,
    "max": sa.func.max,
    "std": dialect.std,
    "var": dialect.var,
    "median": dialect.median,
}
