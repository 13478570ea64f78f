"""Which rows hold an element: a condition on the percents that a composition became."""

from __future__ import annotations

from micdb import composition
from micdb.errors import UnknownColumnError, UsageError
from micdb.query import rules
from micdb.query.expr import Expr, literal
from micdb.query.schema import Schema

HOLDS = "element"  # its arguments are the condition it stands for, and the symbol


def holds(schema: Schema, symbol: str) -> Expr:
    """Return whether there is more than nothing of an element, in percent of atoms or of mass.

    Raises
    ------
    UsageError
        There is no such element, or these rows have no composition.
    """
    known = composition.element(symbol)
    names = [f"{prefix}{known}" for prefix in (composition.ATOMIC, composition.WEIGHT)]
    if schema.find is None and not any(name in schema.fields for name in names):
        raise UsageError(
            f"{schema.where} have no composition here: ask contains({symbol!r}) of db.images or db.samples, "
            "before columns are chosen"
        )
    found: Expr | None = None
    for name in names:
        try:
            column = schema[name].expr()
        except UnknownColumnError:  # nothing holds it
            continue
        one = rules.compare(">", column, literal(0.0, column.unit))
        found = one if found is None else rules.combine("or", found, one)
    return Expr(HOLDS, (literal(False) if found is None else found, known), "bool")
