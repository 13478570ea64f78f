"""Rows by label, as pandas' ``.loc``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

import pandas as pd

from micdb.errors import NotFoundError, UsageError
from micdb.query.expr import Expr

if TYPE_CHECKING:
    from micdb.query.frame import Frame


class Locator:
    """``frame.loc``: by uid one row, by condition a frame; there are no positions.

    Parameters
    ----------
    frame
        Where to look.
    """

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    @overload
    def __getitem__(self, item: str) -> pd.Series[Any]: ...
    @overload
    def __getitem__(self, item: tuple[str, str]) -> Any: ...
    @overload
    def __getitem__(self, item: Expr | slice | tuple[Any, list[str] | str]) -> Frame: ...
    def __getitem__(self, item: Any) -> Any:
        """Return the row of a uid, one value of it, or the rows of a condition; or some of their columns."""
        rows, columns = item if isinstance(item, tuple) else (item, None)
        if isinstance(rows, str):
            return self._row(rows, columns)
        if isinstance(rows, slice) and rows != slice(None):
            raise UsageError("frame.loc takes no ranges: write frame[:20] for the first rows")
        if not isinstance(rows, Expr | slice):
            raise UsageError(
                f"frame.loc takes a uid or a condition, not {type(rows).__name__}: "
                "for several write frame.loc[frame.uid.isin([...])]"
            )
        frame = self._frame if isinstance(rows, slice) else self._frame[rows]
        return frame if columns is None else frame[[columns] if isinstance(columns, str) else list(columns)]

    def _row(self, uid: str, columns: str | list[str] | None) -> Any:
        found = self._frame[self._frame["uid"] == uid]
        if columns is not None:
            found = found[[columns] if isinstance(columns, str) else list(columns)]
        table = found.to_pandas()
        if len(table) != 1:
            raise NotFoundError(
                f"{len(table)} {self._frame.noun} have the uid {uid!r}; list them with frame.uid"
            )
        row = table.astype(object).iloc[0]
        return row[columns] if isinstance(columns, str) else row
