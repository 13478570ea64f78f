"""The things found in images, as expressions of the images: ``im.defects[...].count()``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import reduce
from operator import and_
from typing import TYPE_CHECKING, Any, NoReturn

import pandas as pd
import pyarrow as pa

from micdb.errors import ExpressionError, UsageError
from micdb.query.child_expr import aggregate, check_condition, stated
from micdb.query.columns import CHILDREN
from micdb.query.expr import Expr
from micdb.query.schema import Schema
from micdb.query.spatial.within import Others, within
from micdb.query.verbs import Filter

if TYPE_CHECKING:
    from micdb.query.frame import Frame


class Children:
    """The children of the rows of a frame: defects, particles, atoms or bonds of images.

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

    def var(self, column: str) -> Expr:
        """Return the sample variance (``ddof=1``) over the children."""
        return self._aggregate("var", column)

    def median(self, column: str) -> Expr:
        """Return the median over the children."""
        return self._aggregate("median", column)

    def nunique(self, column: str) -> Expr:
        """Return the number of different known values."""
        return self._aggregate("nunique", column)

    def within(self, radius: str | float, *, of: Children | Frame) -> Expr:
        """Return whether one of `of`, not itself, is at most `radius` away, as a condition on these children.

        ``vac[vac.within("1 nm", of=subs)].count()`` counts the vacancies beside a substitution. Only what is
        in the same frame counts; where the scale is unknown, nothing is near anything.

        Parameters
        ----------
        radius
            A length with its unit, or a number [nm].
        of
            Other children of images, or these: ``im.defects[im.defects.kind == "substitution"]``.

        Raises
        ------
        UsageError, UnitError
            The rows have no positions, or the radius is no length above zero.
        """
        return within(self._schema, radius, others_of(of), its_schema=of.schema)

    @property
    def schema(self) -> Schema:
        """Columns of the children."""
        return self._schema

    @property
    def condition(self) -> Expr | None:
        """Which children; None for all."""
        return self._condition

    @property
    def frame(self) -> Frame:
        """The children as a frame: one row each, with ``image``, the uid of the image they are in."""
        exploded = self._parent.assign(image=self._parent["uid"])[["image"]].explode(self._schema.where)
        return exploded if self._condition is None else exploded[self._condition]

    def iter_rows(self) -> Iterator[Mapping[str, Any]]:
        """Yield the children one after the other; see `micdb.query.answers.Answers.iter_rows`."""
        return self.frame.iter_rows()

    def to_pandas(self) -> pd.DataFrame:
        """Return the children as a DataFrame, with the uid of the image they are in."""
        return self.frame.to_pandas()

    def to_arrow(self) -> pa.Table:
        """Return the children as an Arrow table, with the uid of the image they are in."""
        return self.frame.to_arrow()

    def _aggregate(self, function: str, column: str | None) -> Expr:
        return aggregate(self._schema, function, column, self._condition)


def others_of(of: Children | Frame) -> Others:
    """Return what is to be near, of children or of a frame of them that was only filtered.

    Raises
    ------
    UsageError
        It is neither.
    """
    from micdb.query.frame import Frame

    if isinstance(of, Children):
        return Others(of.schema.where, None if of.condition is None else stated(of.condition, of.schema))
    if isinstance(of, Frame) and of.base in CHILDREN and all(isinstance(step, Filter) for step in of.steps):
        masks = [step.mask for step in of.steps if isinstance(step, Filter)]
        whole = None if not masks else stated(reduce(and_, masks), of.schema)
        return Others(of.base, whole)
    raise UsageError(
        "within(of=...) takes children of images, im.defects[...], or a filtered table, db.defects[...], "
        f"not {type(of).__name__} of {getattr(of, 'noun', 'something else')}"
    )
