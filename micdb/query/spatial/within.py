"""``vac.within("1 nm", of=subs)``: the condition that something of another kind lies near."""

from __future__ import annotations

from dataclasses import dataclass

from micdb import units
from micdb.errors import ExpressionError, UnitError, UsageError
from micdb.query.columns import CHILDREN
from micdb.query.expr import Expr
from micdb.query.schema import Schema

POSITION = ("frame", "x_nm", "y_nm")  # what a row needs to be near something


@dataclass(frozen=True, slots=True)
class Others:
    """What is to be near.

    Parameters
    ----------
    table
        ``defects``, ``atoms``, ...
    condition
        Which of them; None for all.
    """

    table: str
    condition: Expr | None = None


def within(schema: Schema, radius: str | float | Expr, others: Others, *, its_schema: Schema) -> Expr:
    """Return whether one of the others lies at most `radius` away, in the same frame of the same image.

    Nothing is near itself. Where the scale of an image is unknown, nothing is near anything.

    Parameters
    ----------
    schema
        Columns of the rows the condition is about.
    radius
        A length with its unit, or a number [nm].
    others, its_schema
        What is to be near, and its columns.

    Raises
    ------
    UsageError
        One of the tables has no positions on the sample, or the radius is not above zero.
    UnitError
        The radius is no length.
    """
    for one in (schema, its_schema):
        missing = [name for name in POSITION if name not in one.fields]
        if missing:
            raise UsageError(
                f"within() compares positions, and {one.where} have no {', '.join(missing)} here: it is for "
                "defects, atoms, particles and others that have frame, x_nm and y_nm"
            )
    nm = _nanometres(radius)
    frame, x, y = (schema[name].expr() for name in POSITION)
    return Expr("within", (frame, x, y, nm, others), "bool")


def columns_of(schema: Schema, table: str) -> Schema:
    """Return the columns of what may be near the rows of a frame.

    Raises
    ------
    UsageError
        There is no such table.
    """
    if schema.tables is None or table not in CHILDREN:
        raise UsageError(f"nothing of {table!r} can be near; there are {', '.join(CHILDREN)}")
    return schema.tables(table)


def _nanometres(radius: str | float | Expr) -> float:
    if isinstance(radius, Expr):
        if not radius.constant or radius.kind == "bool":
            raise ExpressionError(f'within() takes a length, for example "1 nm", not {radius}')
        value, unit = radius.args[0], radius.unit
        if radius.kind == "text":
            value, unit = units.parse(value)
    else:
        value, unit = units.parse(radius) if isinstance(radius, str) else (float(radius), "nm")
    if unit is None:
        raise UnitError(f'within() takes a length with its unit: write "{value:g} nm"')
    nm = units.convert(float(value), unit, "nm")
    if not 0 < nm < float("inf"):
        raise UsageError(f"within() needs a distance above zero, not {value:g} {unit}")
    return nm
