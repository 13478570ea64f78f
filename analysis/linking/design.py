"""From a table and a formula to plain arrays: features, target, independent groups, and what was left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from micdb.analysis.folds import MIN_GROUPS, independent_groups
from micdb.analysis.gather import Vectors
from micdb.analysis.linking.dimensions import check_dimensions
from micdb.analysis.linking.features import (
    Features,
    Levels,
    evaluate,
    is_text,
    levels_of,
    plain,
    term_columns,
)
from micdb.analysis.linking.formula import LinkFormula, parse
from micdb.analysis.metadata import as_numbers
from micdb.errors import TooFewGroupsError, UnknownColumnError, UsageError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SAMPLE = "sample"  # column that says which specimen a row is of


@dataclass(frozen=True, slots=True)
class Waiting:
    """Rows whose target is not known.

    Parameters
    ----------
    features
        Of each.
    labels, uids
        Its group and its name ``(m,)``.
    """

    features: Features
    labels: NDArray[np.object_]
    uids: NDArray[np.object_]


@dataclass(frozen=True, slots=True)
class Design:
    """Everything a link is fitted on.

    Parameters
    ----------
    formula
        What was asked.
    unit
        Unit of the target; None when it has none or is transformed.
    y
        Target, shape ``(n,)`` [`unit`].
    features
        What models look at.
    levels
        Column taken as a category -> its values.
    metadata
        What is known without the pixels; no column where that is the same for all.
    groups
        Number of the independent group of each row, shape ``(n,)``, from 0.
    labels
        Readable group of each row, shape ``(n,)``.
    uids
        Row names, shape ``(n,)``.
    n_read
        Rows before any was left out.
    dropped
        Reason -> rows it applies to; a row may lack several things.
    notes
        What a reader of the result has to know.
    waiting
        Rows that lack nothing but the target: where it might be measured next.
    table
        The rows as they were read, for what else is known of them.
    harmonise
        Column within whose labels embeddings were made alike.
    """

    formula: LinkFormula
    unit: str | None
    y: Floats
    features: Features
    levels: Levels
    metadata: Features
    groups: Ints
    labels: NDArray[np.object_]
    uids: NDArray[np.object_]
    n_read: int
    dropped: Mapping[str, int]
    notes: tuple[str, ...]
    waiting: Waiting
    table: pd.DataFrame
    harmonise: str | None = None

    @property
    def n_groups(self) -> int:
        """Return the number of independent groups."""
        return int(self.groups.max()) + 1


def build_design(
    table: pd.DataFrame,
    formula: str | LinkFormula,
    *,
    groups: str | Sequence[str] = ("sample",),
    embeddings: Mapping[str, Vectors] | None = None,
    metadata: Sequence[str] = (),
    harmonise: str | None = None,
    key: str = "uid",
) -> Design:
    """Return the arrays of a link.

    Parameters
    ----------
    table
        One row per image; ``table.attrs["units"]`` maps columns to units.
    formula
        Text or a parsed formula.
    groups
        Columns whose labels must not be split between training and test. With several, rows that share
        a label of any of them stay together.
    embeddings
        Name in the formula -> its vectors; rows are matched by `key`.
    metadata
        Columns that are known without the pixels; those in the formula are left out.
    harmonise
        Column within whose labels all embeddings get the same mean and spread.
    key
        Column of `table` that names its rows.

    Raises
    ------
    UnknownColumnError
        The formula or `groups` names a column that is not there.
    UsageError
        The target is no number, is constant, or no row is complete.
    UnitError
        A term adds numbers in different units.
    TooFewGroupsError
        Fewer than 5 independent groups remain.
    """
    asked = parse(formula) if isinstance(formula, str) else formula
    by = (groups,) if isinstance(groups, str) else tuple(groups)
    _check_columns(table, asked, by)
    check_dimensions(asked, table.attrs.get("units") or {})
    values = pd.DataFrame({name: plain(table[name]) for name in asked.columns}, index=table.index)
    y, reasons = _target(values, asked)
    known = ~_any(reasons, len(table))
    levels = levels_of(values[known & values.notna().all(axis=1)], asked)
    alike = table[harmonise] if harmonise else None
    features, lacking = evaluate(
        values, asked, embeddings or {}, keys=table[key], bags=samples(table), levels=levels, harmonise=alike
    )
    lacking |= {
        f"{name} is missing": table[name].isna().to_numpy() for name in by if table[name].isna().any()
    }
    usable = ~_any(lacking, len(table))
    keep = known & usable
    every = {reason: rows for reason, rows in (reasons | lacking).items() if rows.any()}
    dropped = {reason: int(rows.sum()) for reason, rows in every.items()}
    _check_rows(y[keep], asked, dropped)
    numbers, labels = independent_groups(table.loc[keep, list(by)])
    note = _check_groups(numbers, table.loc[keep, list(by)], dropped=dropped, n_read=len(table))
    told = [name for name in metadata if name not in asked.columns]
    return Design(
        formula=asked,
        unit=(table.attrs.get("units") or {}).get(asked.target.text),
        y=y[keep],
        features=features.of(keep),
        levels=levels,
        metadata=_told(table[keep], told),
        groups=numbers,
        labels=labels,
        uids=table.loc[keep, key].to_numpy(dtype=object),
        n_read=len(table),
        dropped=dropped,
        notes=note,
        waiting=_waiting(table, features, usable & ~known, by=by, key=key),
        table=table[keep],
        harmonise=harmonise,
    )


def _waiting(
    table: pd.DataFrame, features: Features, rows: NDArray[np.bool_], *, by: Sequence[str], key: str
) -> Waiting:
    labels = independent_groups(table.loc[rows, list(by)])[1] if rows.any() else np.empty(0, object)
    return Waiting(features.of(rows), labels, table.loc[rows, key].to_numpy(dtype=object))


def samples(table: pd.DataFrame) -> NDArray[np.int64]:
    """Return the sample of each row as a number ``(n,)``; a row without one is a sample of its own."""
    known = table[SAMPLE] if SAMPLE in table else pd.Series(None, index=table.index, dtype=object)
    number = pd.factorize(known)[0].astype(np.int64)
    return np.where(number < 0, len(table) + np.arange(len(table)), number)


def _told(table: pd.DataFrame, names: Sequence[str]) -> Features:
    values = as_numbers(table, names)
    varied = values[:, np.ptp(values, axis=0) > 0]
    return Features({f"metadata {at}": column for at, column in enumerate(varied.T)}, {}, samples(table))


def _any(reasons: Mapping[str, NDArray[np.bool_]], n: int) -> NDArray[np.bool_]:
    return np.asarray(np.any([np.zeros(n, bool), *reasons.values()], axis=0))


def _target(values: pd.DataFrame, formula: LinkFormula) -> tuple[Floats, dict[str, NDArray[np.bool_]]]:
    """Return the target of every row, NaN where it has none, and why."""
    names = formula.target.columns
    for name in names:
        if is_text(values[name]):
            raise UsageError(
                f"the target {name!r} holds text, a link needs a number; classes are told apart by "
                f"db.images.classify({name!r})"
            )
    reasons = {f"{formula.shown(name)} is missing": values[name].isna().to_numpy() for name in names}
    there = ~_any(reasons, len(values))
    y = np.full(len(values), np.nan)
    y[there] = term_columns(values[there], formula.target, {})[formula.target.code]
    reasons[f"{formula.target.text} is not finite"] = there & ~np.isfinite(y)
    return y, {reason: rows for reason, rows in reasons.items() if rows.any()}


def _check_columns(table: pd.DataFrame, formula: LinkFormula, by: tuple[str, ...]) -> None:
    known = [str(name) for name in table.columns]
    for name in (*formula.columns, *by):
        if name not in known:
            raise UnknownColumnError(formula.shown(name), known, "the table that is linked")
    if not by:
        raise UsageError("groups is empty; name what must not be split, for example groups=('sample',)")


def _check_rows(y: Floats, formula: LinkFormula, dropped: Mapping[str, int]) -> None:
    if not len(y):
        why = _listed(dropped) or "the table is empty"
        empty = [text for text in formula.rollups.values() if f"{text} is missing" in dropped]
        mend = f"; {empty[0]} needs rows that an extractor fills: micdb populate" if empty else ""
        raise UsageError(f"no row is complete for {formula.text!r} ({why}){mend}")
    if np.ptp(y) == 0:
        raise UsageError(
            f"the target {formula.target.text!r} is {y[0]:g} in all {len(y)} rows; "
            "nothing is there to explain"
        )


def _listed(dropped: Mapping[str, int]) -> str:
    return ", ".join(f"{reason}: {count}" for reason, count in dropped.items())


def _check_groups(
    numbers: Ints, labels: pd.DataFrame, *, dropped: Mapping[str, int], n_read: int
) -> tuple[str, ...]:
    n = int(numbers.max()) + 1
    per = ", ".join(f"{labels[name].nunique()} by {name}" for name in labels.columns)
    several = len(labels.columns) > 1
    if n < MIN_GROUPS:
        mend = "group by fewer columns, or add samples" if several else "add samples"
        joined = f" ({per}, joined where rows share a label)" if several else f" ({per})"
        lost = (
            f"; {n_read - len(numbers)} of {n_read} rows are incomplete ({_listed(dropped)})"
            if dropped
            else ""
        )
        raise TooFewGroupsError(
            f"{n} independent group{'s' * (n != 1)}{joined}; a link needs at least {MIN_GROUPS}: {mend}{lost}"
        )
    return (f"{per}: rows that share any label stay together, {n} independent groups",) if several else ()
