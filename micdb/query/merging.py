"""Joining a local table or another frame by keys: what fits, what it is called, what may repeat."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from micdb.errors import UsageError
from micdb.query.columns import arrow_kind
from micdb.query.result import ARROW
from micdb.query.rules import written
from micdb.query.schema import Field, Schema
from micdb.query.verbs import Keys, Merge

HOW = ("left", "inner")
VALIDATE = ("m:1", "1:1", "m:m", "1:m")
_LONG = {"one": "1", "many": "m"}  # pandas also takes one_to_many
Names = str | Sequence[str] | None


def merge_keys(
    *,
    on: Names = None,
    left_on: Names = None,
    right_on: Names = None,
    how: str = "left",
    validate: str | None = None,
    suffixes: Sequence[str] | None = None,
) -> Keys:
    """Return how two tables are joined.

    Parameters
    ----------
    on
        Columns that both have, or else `left_on` of the frame and `right_on` of the other table.
    how
        ``left`` keeps every row of the frame, ``inner`` those with a partner.
    validate
        ``m:1`` promises that a key stands once in the other table, ``1:m`` once in the frame, ``1:1`` both;
        ``m:m`` promises nothing. None means ``m:1``: rows are doubled only where that is asked for.
    suffixes
        What other columns of the same name get behind it, in the frame and in the other table.

    Raises
    ------
    UsageError
        One of these makes no sense.
    """
    if how not in HOW:
        raise UsageError(f"how is {how!r}; it is one of {', '.join(HOW)}")
    promise = "m:1" if validate is None else str(validate)
    if "_to_" in promise:
        promise = ":".join(_LONG.get(side, side) for side in promise.split("_to_"))
    if promise not in VALIDATE:
        raise UsageError(f"validate is {validate!r}; it is one of {', '.join(VALIDATE)}")
    if on is not None and (left_on is not None or right_on is not None):
        raise UsageError("on= names the keys of both tables: leave left_on and right_on out, or on")
    left = _names("on" if on is not None else "left_on", on if on is not None else left_on)
    right = _names("on" if on is not None else "right_on", on if on is not None else right_on)
    if len(left) != len(right):
        raise UsageError(f"left_on names {len(left)} keys and right_on {len(right)}; they go in pairs")
    if suffixes is None:
        return Keys(tuple(zip(left, right, strict=True)), how, promise, None)
    if isinstance(suffixes, str) or len(suffixes) != 2 or not all(isinstance(one, str) for one in suffixes):
        raise UsageError(f"suffixes is {suffixes!r}; it is two texts, for example ('', '_other')")
    return Keys(tuple(zip(left, right, strict=True)), how, promise, (suffixes[0], suffixes[1]))


def merge_step(local: pd.DataFrame, keys: Keys, known: Mapping[str, str] | None = None) -> Merge:
    """Return the verb that joins a local table; its columns keep their names.

    Parameters
    ----------
    local
        The table. Missing keys match nothing.
    keys
        How it is joined.
    known
        Units of its columns.

    Raises
    ------
    UsageError
        A key is not there or repeats, or a value has no place in a query.
    """
    if not isinstance(local, pd.DataFrame):
        raise UsageError(f"merge() joins a DataFrame or a frame, not {type(local).__name__}")
    here = [str(name) for name in local.columns]
    names = [right for _, right in keys.pairs]
    for name in names:
        if name not in here:
            raise UsageError(f"the local table has no column {name!r}; it has {', '.join(here)}")
    doubled = sorted({name for name in here if here.count(name) > 1})
    if doubled:
        raise UsageError(f"the local table has two columns called {doubled[0]!r}: rename one of them")
    hidden = [name for name in here if not name or name.startswith("__")]
    if hidden:
        raise UsageError(f"{hidden[0]!r} cannot name a column: rename it in the local table")
    if keys.single:
        _once(local, names)
    return Merge(keys, _plain(local), tuple((known or {}).items()))


def local_fields(step: Merge, home: str) -> list[Field]:
    """Return the columns of a local table."""
    units = dict(step.units)
    return [
        Field(field.name, arrow_kind(field.type), units.get(field.name), home) for field in step.table.schema
    ]


def check_pairs(schema: Schema, other: Mapping[str, Field], keys: Keys, *, whose: str) -> None:
    """Refuse keys whose kinds or units differ.

    Raises
    ------
    UsageError
        They do; `whose` names the other table.
    """
    numbers = {"integer", "number"}
    for left, right in keys.pairs:
        one, two = schema[left], other[right]
        alike = {one.kind, two.kind}
        if len(alike) > 1 and not alike <= numbers and not alike <= {"text", "time"}:
            raise UsageError(f"{left} is {one.kind} in the frame and {two.kind} in {whose}; make them alike")
        if one.unit != two.unit and (two.unit is not None or whose != "the local table"):
            raise UsageError(
                f"{left} is in {one.unit} in the frame and in {two.unit} in the other; make them alike"
            )


def merged_names(
    left: Iterable[str], right: Iterable[str], keys: Keys
) -> tuple[dict[str, str], dict[str, str]]:
    """Return what the columns of both tables are called when they are joined, by their names before.

    A key of one name on both sides is one column; other columns of one name get the suffixes.

    Raises
    ------
    UsageError
        Columns have one name and there are no suffixes, or these do not tell them apart.
    """
    common = {there for here, there in keys.pairs if here == there}
    mine, theirs = list(left), [name for name in right if name not in common]
    both = sorted({*mine} & {*theirs})
    if both and keys.suffixes is None:
        raise UsageError(
            f"both sides have {', '.join(both)}; rename the columns of the local table first, or tell them "
            "apart with suffixes=('', '_other')"
        )
    first, second = keys.suffixes or ("", "")
    ours = {name: name + first if name in both else name for name in mine}
    others = {name: name + second if name in both else name for name in theirs}
    made = [*ours.values(), *others.values()]
    twice = sorted({name for name in made if made.count(name) > 1})
    if twice:
        raise UsageError(f"with suffixes {keys.suffixes} there are two columns {twice[0]!r}: choose others")
    return ours, others


def _names(what: str, given: Names) -> tuple[str, ...]:
    names = (given,) if isinstance(given, str) else tuple(given or ())
    if not names or not all(isinstance(name, str) for name in names):
        raise UsageError(f"{what} is {given!r}; it names the columns to join by, for example on='sample'")
    if len(set(names)) < len(names):
        raise UsageError(f"{what} names a column twice: {', '.join(names)}")
    return names


def _once(local: pd.DataFrame, names: list[str]) -> None:
    keys = local[names].dropna()
    again = keys.duplicated()
    if again.any():
        shown = keys.loc[again.to_numpy()].iloc[0].tolist()
        raise UsageError(
            f"{int(again.sum())} keys repeat in {', '.join(map(repr, names))} of the local table, "
            f"for example {', '.join(map(repr, shown))}, so rows would be doubled: "
            "aggregate it first, or pass validate='m:m'"
        )


def _plain(local: pd.DataFrame) -> pa.Table:
    """Return the table with values that JSON can carry; times become text as in the catalog."""
    try:
        table = pa.Table.from_pandas(local, preserve_index=False)
        return pa.table({field.name: _carried(table, field) for field in table.schema})
    except (pa.ArrowException, ValueError, TypeError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"the local table cannot be joined: {' '.join(map(str, error.args))}") from error


def _carried(table: pa.Table, field: pa.Field) -> pa.ChunkedArray:
    column, type_ = table.column(field.name), field.type
    if pa.types.is_dictionary(type_):
        column = column.cast(type_.value_type)
        type_ = type_.value_type
    if pa.types.is_null(type_):
        return column.cast(pa.string())
    if pa.types.is_decimal(type_):
        return column.cast(pa.float64())
    if pa.types.is_uint64(type_):
        return column.cast(pa.int64())  # refuses what does not fit
    if pa.types.is_date(type_) or pa.types.is_timestamp(type_):
        texts = [None if moment is None else written(moment) for moment in column.to_pylist()]
        return pa.chunked_array([texts], pa.string())
    if pa.types.is_floating(type_) and not pc.all(pc.is_finite(column), min_count=0).as_py():
        raise UsageError(
            f"{field.name} holds infinity, which is no measurement: replace it by a missing value"
        )
    texts = pa.types.is_string(type_) or pa.types.is_large_string(type_)
    if texts and pc.any(pc.match_substring(column, "\0"), min_count=0).as_py():
        raise UsageError(f"{field.name} holds the character NUL, which no text here can have: take it out")
    if not (texts or pa.types.is_boolean(type_)
            or pa.types.is_integer(type_) or pa.types.is_floating(type_)):  # fmt: skip
        raise UsageError(
            f"{field.name} is {type_}; a table to join holds numbers, text, true or false, and times"
        )
    return column


def local_table(columns: Sequence[tuple[str, str]], rows: Sequence[Sequence[Any]]) -> pa.Table:
    """Return the table that a query tree wrote as rows, with the kinds it names.

    Raises
    ------
    UsageError
        A kind is unknown, or a value is not of its kind.
    """
    for name, kind in columns:
        if kind not in ARROW:
            raise UsageError(f"{name} is of kind {kind!r}; there are {', '.join(ARROW)}")
    values = list(zip(*rows, strict=True)) or [()] * len(columns)
    if len(values) != len(columns):
        raise UsageError(f"a local table has {len(columns)} columns and rows of {len(values)} values")
    try:
        arrays = [pa.array(found, ARROW[kind]) for found, (_, kind) in zip(values, columns, strict=True)]  # type: ignore[index]
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise UsageError(f"a local table in the query tree holds a wrong value: {error}") from error
    return pa.table(arrays, names=[name for name, _ in columns])
