"""The things found in images, as expressions of the images: ``im.defects[...].count()``."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import pandas as pd
import pyarrow as pa

from micdb.errors import ExpressionError, UsageError
from micdb.query.child_expr import aggregate, check_condition
from micdb.query.expr import Expr
from micdb.query.schema import Schema

if TYPE_CHECKING:
    from micdb.query.frame import Frame


class Children:
    """The children of the rows of a frame: defects, segments, particles, atoms or bonds of images.

    Narrow them with a mask, then aggregate: the aggregates are expressions of the images. A count is 0
    where a run looked and found none, and missing where no run has looked.

    Parameters
    ----------
    parent
        Frame of images.
    schema
        Columns of the children.
    condition
        Which children; None for all.
    """

    def __init__(self, parent: Frame, schema: Schema, condition: Expr | None = None) -> None:
        self._parent = parent
        self._schema = schema
        self._condition = condition

    def __getattr__(self, name: str) -> Expr:
        if name.startswith("_"):
            raise AttributeError(name)
        return self._schema[name].expr()

    def __getitem__(self, item: str | Expr) -> Expr | Children:
        """Return a column, or the children that fulfil a condition."""
        if isinstance(item, str):
            return self._schema[item].expr()
        if not isinstance(item, Expr):
            raise UsageError(f"{self._schema.where}[...] takes a condition or a column name, not {item!r}")
        check_condition(item, self._schema)
        condition = item if self._condition is None else self._condition & item
        return Children(self._parent, self._schema, condition)

    def __bool__(self) -> NoReturn:
        raise ExpressionError(f"{self!r} has no truth value: write .count() > 0")

    def __repr__(self) -> str:
        where = "" if self._condition is None else f" where {self._condition}"
        return f"<{self._schema.where} of {self._parent.noun}{where}>"

    def count(self, column: str | None = None) -> Expr:
        """Return the number of children, or of known values of a column."""
        return self._aggregate("count", column)

    def mean(self, column: str) -> Expr:
        """Return the mean over the children of each image."""
        return self._aggregate("mean", column)

    def sum(self, column: str) -> Expr:
        """Return the sum over the children; missing where no value is known."""
        return self._aggregate("sum", column)

    def min(self, column: str) -> Expr:
        """Return the smallest value among the children."""
        return self._aggregate("min", column)

    def max(self, column: str) -> Expr:
        """Return the largest value among the children."""
        return self._aggregate("max", column)

    def std(self, column: str) -> Expr:
        """Return the sample standard deviation (``ddof=1``) over the children."""
        return self._aggregate("std", column)

    def median(self, column: str) -> Expr:
        """Return the median over the children."""
        return self._aggregate("median", column)

    def nunique(self, column: str) -> Expr:
        """Return the number of different known values."""
        return self._aggregate("nunique", column)

    @property
    def frame(self) -> Frame:
        """The children as a frame: one row each, with ``image``, the uid of the image they are in."""
        exploded = self._parent.assign(image=self._parent["uid"])[["image"]].explode(self._schema.where)
        return exploded if self._condition is None else exploded[self._condition]

    def to_pandas(self) -> pd.DataFrame:
        """Return the children as a DataFrame, with the uid of the image they are in."""
        return self.frame.to_pandas()

    def to_arrow(self) -> pa.Table:
        """Return the children as an Arrow table, with the uid of the image they are in."""
        return self.frame.to_arrow()

    def _aggregate(self, function: str, column: str | None) -> Expr:
        return aggregate(self._schema, function, column, self._condition)
