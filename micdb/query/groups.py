"""Grouping, as in pandas, with named aggregation only: every column of the result has a name and a unit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from micdb.errors import UsageError
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

    def agg(self, *unnamed: object, **named: tuple[str, str]) -> Frame:
        """Return one row for each group.

        Parameters
        ----------
        **named
            ``name=(column, function)``; functions are count (of known values), size (of rows), mean,
            sum, min, max, std (``ddof=1``), median and nunique. A sum of nothing known is missing.

        Raises
        ------
        UsageError
            An aggregate is unknown or has no sense for its column.
        """
        if unnamed or not named:
            raise UsageError("agg() needs named aggregates: agg(mean_size=('pixel_size', 'mean'))")
        made = []
        for name, pair in named.items():
            if not isinstance(pair, tuple) or len(pair) != 2:
                raise UsageError(f"write agg({name}=(column, function)), not {pair!r}")
            made.append((name, pair[0], aggregates.check(pair[1])))
        return self._frame.then(Group(self._keys, tuple(made), self._dropna))

    def size(self) -> Frame:
        """Return the number of rows of each group, as the column ``size``."""
        return self.agg(size=(self._keys[0], "size"))

    def __repr__(self) -> str:
        return (
            f"<groups of {self._frame.noun} by {', '.join(self._keys)}: write .agg(name=(column, function))>"
        )
