"""What a frame asks of the rows below it: one number per image out of many atoms, bonds or defects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from micdb.query.expr import Expr

Function = Literal["count", "size", "mean", "sum", "min", "max", "std", "var", "median", "nunique"]
FUNCTIONS: tuple[Function, ...] = (
    "count", "size", "mean", "sum", "min", "max", "std", "var", "median", "nunique"
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Aggregate:
    """One number per image, computed from the rows of a child table.

    Parameters
    ----------
    name
        Name of the column in the answer.
    function
        What to compute. Missing values are left out, as in pandas; ``size`` counts rows, ``std`` and
        ``var`` are those of the sample (``ddof=1``), a ``sum`` of nothing known is missing.
    column
        Column of the child table; None for ``size``.
    condition
        Rows to keep, an expression over the columns of the child table; None for all.
    """

    name: str
    function: Function
    column: str | None
    condition: Expr | None
