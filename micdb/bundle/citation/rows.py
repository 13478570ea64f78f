"""The rows that are cited: exactly those, and known to be what their query gives."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow as pa

from micdb.errors import UsageError
from micdb.query.context import Context
from micdb.query.frame import Frame

Given = str | Frame | pd.DataFrame


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows and the query they come from.

    Parameters
    ----------
    frame
        The query.
    table
        The rows, with the types and units of the database.
    whole
        Number of rows that the query gives; more than `table` has where some were taken by hand.
    """

    frame: Frame
    table: pa.Table
    whole: int

    @property
    def units(self) -> dict[str, str]:
        """Unit of every column that has one."""
        return {name: unit for name, unit in self.frame.units.items() if name in self.table.column_names}


def rows_of(context: Context, given: Given) -> Rows:
    """Return the rows that are to be cited.

    Parameters
    ----------
    context
        The database.
    given
        Query text, a frame, or the DataFrame that one gave: some of its rows and columns, in any order.

    Raises
    ------
    UsageError
        A DataFrame does not say which query made it, or has rows or columns that the query does not give.
    """
    if isinstance(given, pd.DataFrame):
        return _checked(context, given)
    frame = Frame(context, "images").query(given) if isinstance(given, str) else given
    table = frame.to_arrow()
    return Rows(frame, table, table.num_rows)


def _checked(context: Context, given: pd.DataFrame) -> Rows:
    query = given.attrs.get("query")
    if query is None:
        raise UsageError(
            "these rows do not say which query made them (df.attrs['query'], which pandas drops in a merge): "
            "cite the frame itself, or what its to_pandas() gave"
        )
    frame = Frame.from_json(context, json.loads(query))
    table, units = frame.to_arrow(), given.attrs.get("units", {})
    headers = {f"{name} [{unit}]": name for name, unit in units.items()}
    named = given.rename(columns=headers)
    foreign = [str(name) for name in named.columns if name not in table.column_names]
    if foreign:
        raise UsageError(
            f"the query does not give the columns {', '.join(foreign)}: compute them with frame.assign(), "
            "so that the citation says how, or drop them"
        )
    places: defaultdict[tuple[Any, ...], list[int]] = defaultdict(list)
    for place, row in enumerate(_plain(table.select(list(named.columns)).to_pylist())):
        places[row].append(place)
    taken, missing = [], 0
    for row in _plain(named.to_dict("records")):
        if places[row]:
            taken.append(places[row].pop(0))
        else:
            missing += 1
    if missing:
        raise UsageError(
            f"{missing} of {len(named)} rows are not what the query gives now: the database has moved on, or "
            "the values were changed; cite the frame itself, or a snapshot: with db.at(NAME) as then"
        )
    return Rows(frame, table.select(list(named.columns)).take(pa.array(taken, pa.int64())), table.num_rows)


def _plain(rows: Iterable[Mapping[Any, Any]]) -> Iterable[tuple[Any, ...]]:
    """Yield rows that compare equal whatever dtype pandas kept them in."""
    for row in rows:
        yield tuple(_value(value) for value in row.values())


def _value(value: Any) -> Any:
    value = getattr(value, "magnitude", value)  # a quantity of to_pandas(units="pint")
    if value is None or value is pd.NA or value != value:  # noqa: PLR0124 - NaN
        return None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else value
