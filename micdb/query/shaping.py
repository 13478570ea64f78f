"""Verbs that change which rows and columns a frame has, as pandas spells them; each gives another frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NoReturn

import numpy as np
import pandas as pd

from micdb.errors import ExpressionError, UnknownColumnError, UsageError
from micdb.query import merging, verbs
from micdb.query.children import Children, others_of
from micdb.query.conditions import asked
from micdb.query.context import Context
from micdb.query.expr import Expr
from micdb.query.holding import holds
from micdb.query.schema import Schema
from micdb.query.spatial.within import within
from micdb.query.verbs import Verb

if TYPE_CHECKING:
    from micdb.query.frame import Frame
    from micdb.query.groups import GroupBy


class Shaping:
    """The part of `micdb.query.frame.Frame` that joins, renames, samples, counts and adds properties."""

    context: Context
    base: str
    steps: tuple[Verb, ...]
    schema: Schema

    if TYPE_CHECKING:  # what the other part gives

        @property
        def columns(self) -> list[str]:
            """Names of the visible columns."""

        def then(self, step: Verb) -> Frame:
            """Return this frame with one more verb."""

        def groupby(self, keys: str | Sequence[str], *, dropna: bool = True) -> GroupBy:
            """Group by columns."""

    def drop(self, labels: None = None, *, columns: str | Sequence[str] | None = None) -> Frame:
        """Return the frame without some columns: ``frame.drop(columns=["lab"])``."""
        if labels is not None or columns is None:
            raise UsageError("drop() takes columns away, drop(columns=['lab']); for rows write a condition")
        unwanted = (columns,) if isinstance(columns, str) else tuple(columns)
        for name in unwanted:
            if name not in self.schema.fields:
                raise UnknownColumnError(name, self.schema.fields, self.schema.where)
        return self.then(verbs.Select(tuple(name for name in self.columns if name not in unwanted)))

    def rename(self, columns: Mapping[str, str]) -> Frame:
        """Give columns other names, ``{"old": "new"}``; they keep their place and unit."""
        if not isinstance(columns, Mapping):
            raise UsageError(f"rename() takes old and new names, {{'lab': 'group'}}, not {columns!r}")
        return self.then(verbs.Rename(tuple((str(old), str(new)) for old, new in columns.items())))

    def drop_duplicates(self, subset: str | Sequence[str] | None = None) -> Frame:
        """Keep the first row, in row order, of each combination of values; missing values are alike.

        Parameters
        ----------
        subset
            Columns to compare; None for all of them.
        """
        names = self.columns if subset is None else [subset] if isinstance(subset, str) else list(subset)
        return self.then(verbs.Distinct(tuple(names)))

    def sample(self, n: int, *, seed: int = 0) -> Frame:
        """Keep n rows drawn at random without replacement, or all where there are fewer.

        The same seed draws the same rows each time the frame runs, on every engine. A row is drawn by a hash
        of the seed and its key, so that rows added later replace only few. The rows stay in order: a sample
        of sorted rows is sorted.

        Parameters
        ----------
        n
            Number of rows.
        seed
            Any whole number; another one draws other rows.
        """
        plain = [one.item() if isinstance(one, np.integer) else one for one in (n, seed)]
        return self.then(verbs.Sample(plain[0], plain[1]))

    def within(self, radius: str | float, *, of: Children | Frame) -> Expr:
        """Return whether one of `of`, not itself, is at most `radius` away, as a condition on these rows.

        The rows are defects, atoms or others that have ``frame``, ``x_nm`` and ``y_nm``; see
        `micdb.query.children.Children.within`.
        """
        return within(self.schema, radius, others_of(of), its_schema=of.schema)

    def with_property(
        self,
        name: str,
        *,
        level: str = "sample",
        agg: str = "mean",
        method: str | None = None,
        conditions: Mapping[str, object] | None = None,
        interval: bool = False,
    ) -> Frame:
        """Add a property of the sample or image: ``name``, ``name_sd`` and ``name_n``.

        No row is lost or doubled.

        Parameters
        ----------
        name
            Of the property.
        level
            ``sample`` or ``image``: what the values were said of.
        agg
            mean, median, min or max of the values; ``name_n`` is their number and ``name_sd`` their standard
            deviation, or the stated one where there is a single value.
        method
            Only values measured by it.
        conditions
            Only values measured under these: ``{"load": "5 N", "temperature": ("20 degC", "30 degC")}``, a
            quantity, a text, or both ends of a range. A value that does not say is left out.
        interval
            Add ``name_low`` and ``name_high`` too: the interval that was stated with a single value. Several
            values have none: how far each may be off says nothing of how far they are off together.

        Raises
        ------
        UsageError, UnitError
            There is no such property, method or condition, or it is of another dimension; or it is a text,
            which has no interval.
        """
        return self.then(verbs.WithProperty(name, level, agg, method, asked(conditions), interval))

    def contains(self, symbol: str) -> Expr:
        """Return whether the sample contains an element, ``im[im.contains("Ni")]``; see docs/properties.md.

        Rows of unknown composition do not.

        Raises
        ------
        UsageError
            There is no such element, or these rows have no composition.
        """
        return holds(self.schema, symbol)

    def value_counts(self, subset: str | Sequence[str], *, dropna: bool = True) -> Frame:
        """Return how often each value or combination stands, as ``count``, most frequent first."""
        names = [subset] if isinstance(subset, str) else list(subset)
        if "count" in names:
            raise UsageError("the result has a column count: rename yours first")
        counted = self.groupby(names, dropna=dropna).agg(count=(names[0], "size"))
        return counted.sort_values("count", ascending=False)

    def merge(
        self,
        right: pd.DataFrame | Frame,
        *,
        on: str | Sequence[str] | None = None,
        left_on: str | Sequence[str] | None = None,
        right_on: str | Sequence[str] | None = None,
        how: str = "left",
        validate: str | None = None,
        suffixes: Sequence[str] | None = None,
    ) -> Frame:
        """Join a DataFrame or another frame by keys; its other columns are added.

        Rows keep their order; of several partners of a row the first of the other table comes first. Unlike
        in pandas, missing keys match nothing. A frame of the same database is joined inside SQL and sees
        the same moment; one of another database is fetched here and now.

        Parameters
        ----------
        right
            The other table.
        on, left_on, right_on, how, validate, suffixes
            See `micdb.query.merging.merge_keys`. What `validate` promises of a local table is checked here,
            and of frames each time the query runs.

        Raises
        ------
        UsageError
            A key is missing, of another kind or unit, or repeats where it must not; or columns have one name.
        """
        keys = merging.merge_keys(
            on=on, left_on=left_on, right_on=right_on, how=how, validate=validate, suffixes=suffixes
        )
        for name, _ in keys.pairs:
            self.schema[name]
        if not isinstance(right, Shaping):
            return self.then(merging.merge_step(right, keys))
        if right.context.engine is self.context.engine:
            return self.then(verbs.Join(keys, verbs.Other(right.base, right.steps, right.schema)))
        return self.then(merging.merge_step(right.to_pandas(), keys, right.units))

    def __delitem__(self, name: str) -> NoReturn:
        raise ExpressionError(f"frames do not change: write frame = frame.drop(columns=[{name!r}])")
