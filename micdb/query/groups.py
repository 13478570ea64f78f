"""Grouping, as in pandas, with named aggregation only: every column of the result has a name and a unit."""

from __future__ import annotations

from numbers import Real
from typing import TYPE_CHECKING, NoReturn

from micdb.errors import ExpressionError, UsageError
from micdb.query import aggregates
from micdb.query.verbs import Group

if TYPE_CHECKING:
    from micdb.query.frame import Frame


class GroupBy:
    """The groups of a frame; ``agg`` turns them into a frame with one row each, sorted by the keys.

    Parameters
    ----------
    frame
        What is grouped.
    keys
        Columns that are equal within a group.
    dropna
        Whether rows with a missing key are left out, as in pandas.
    """

    def __init__(self, frame: Frame, keys: tuple[str, ...], *, dropna: bool) -> None:
        self._frame = frame
        self._keys = keys
        self._dropna = dropna

    def agg(self, *unnamed: object, **named: tuple[str, str] | tuple[str, str, float]) -> Frame:
        """Return one row for each group.

        Parameters
        ----------
        **named
            ``name=(column, function)``; functions are count (of known values), size (of rows), mean,
            sum, min, max, std and var (``ddof=1``), median, nunique, first and last (known value in row
            order), and ``(column, "quantile", 0.9)``. A sum of nothing known is missing.

        Raises
        ------
        UsageError
            An aggregate is unknown or has no sense for its column.
        """
        if unnamed or not named:
            raise UsageError("agg() needs named aggregates: agg(mean_size=('pixel_size', 'mean'))")
        made = []
        for name, pair in named.items():
            if not isinstance(pair, tuple) or not 2 <= len(pair) <= 3 or not isinstance(pair[1], str):
                raise UsageError(f"write agg({name}=(column, function)), not {pair!r}")
            made.append((name, pair[0], aggregates.check_group(_function(name, *pair[1:]))))
        return self._frame.then(Group(self._keys, tuple(made), self._dropna))

    def __getitem__(self, column: object) -> NoReturn:
        raise ExpressionError(f"name what you want: .agg(mean=({column!r}, 'mean'))")

    def size(self) -> Frame:
        """Return the number of rows of each group, as the column ``size``."""
        return self.agg(size=(self._keys[0], "size"))

    def __repr__(self) -> str:
        return (
            f"<groups of {self._frame.noun} by {', '.join(self._keys)}: write .agg(name=(column, function))>"
        )


def _function(name: str, function: str, *more: float) -> str:
    """Return an aggregate as one word: ``quantile(0.9)``."""
    if function != "quantile":
        if more:
            raise UsageError(f"{function} takes no number: write agg({name}=(column, {function!r}))")
        return function
    share = more[0] if more else 0.5
    if isinstance(share, bool) or not isinstance(share, Real) or not 0 <= share <= 1:
        raise UsageError(f"a quantile lies between 0 and 1, not at {share!r}: (column, 'quantile', 0.9)")
    return f"quantile({float(share)!r})"
