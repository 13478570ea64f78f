"""From a table and a formula to plain arrays: features, target, independent groups, and what was left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from micdb.analysis.folds import MIN_GROUPS, independent_groups
from micdb.analysis.gather import Vectors
from micdb.analysis.linking.formula import LinkFormula, Term, parse
from micdb.errors import TooFewGroupsError, UnknownColumnError, UsageError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_LOGS = {"log": np.log, "log10": np.log10, "log2": np.log2, "log1p": np.log1p}
_TRANSFORMS: dict[str, Any] = {**_LOGS, "exp": np.exp, "sqrt": np.sqrt, "abs": np.abs}


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
    columns
        Column features by name, each of shape ``(n,)``.
    embeddings
        Vectors by space, each of shape ``(n, d)``; reduced later, inside training folds.
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
    """

    formula: LinkFormula
    unit: str | None
    y: Floats
    columns: Mapping[str, Floats]
    embeddings: Mapping[str, Floats]
    groups: Ints
    labels: NDArray[np.object_]
    uids: NDArray[np.object_]
    n_read: int
    dropped: Mapping[str, int]
    notes: tuple[str, ...]

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
    key
        Column of `table` that names its rows.

    Raises
    ------
    UnknownColumnError
        The formula or `groups` names a column that is not there.
    UsageError
        The target is no number, is constant, or no row is complete.
    TooFewGroupsError
        Fewer than 5 independent groups remain.
    """
    asked = parse(formula) if isinstance(formula, str) else formula
    by = (groups,) if isinstance(groups, str) else tuple(groups)
    _check_columns(table, asked, by)
    values = {name: _plain(table[name]) for name in asked.columns}
    _check_kinds(values, asked)
    reasons = {f"{name} is missing": column.isna().to_numpy() for name, column in values.items()}
    reasons |= {f"{name} is missing": table[name].isna().to_numpy() for name in by}
    vectors, found = _matched(table[key], asked.embeddings, embeddings or {})
    reasons |= {f"no vector in {space}": ~has for space, has in found.items()}
    complete = ~np.any([np.zeros(len(table), bool), *reasons.values()], axis=0)
    y, columns, not_finite = _evaluated(pd.DataFrame(values)[complete], asked)
    for name, bad in not_finite.items():
        reasons[f"{name} is not finite"] = np.zeros(len(table), bool)
        reasons[f"{name} is not finite"][np.flatnonzero(complete)[bad]] = True
    keep = ~np.any([np.zeros(len(table), bool), *reasons.values()], axis=0)
    inner = keep[complete]
    dropped = {reason: int(rows.sum()) for reason, rows in reasons.items() if rows.any()}
    _check_rows(y[inner], asked, dropped)
    numbers, labels = independent_groups(table.loc[keep, list(by)])
    note = _check_groups(numbers, table.loc[keep, list(by)], dropped=dropped, n_read=len(table))
    units = table.attrs.get("units") or {}
    return Design(
        formula=asked,
        unit=units.get(asked.target.text),
        y=y[inner],
        columns={name: column[inner] for name, column in columns.items()},
        embeddings={name: matrix[keep] for name, matrix in vectors.items()},
        groups=numbers,
        labels=labels,
        uids=table.loc[keep, key].to_numpy(dtype=object),
        n_read=len(table),
        dropped=dropped,
        notes=note,
    )


def _check_columns(table: pd.DataFrame, formula: LinkFormula, by: tuple[str, ...]) -> None:
    known = [str(name) for name in table.columns]
    for name in (*formula.columns, *by):
        if name not in known:
            raise UnknownColumnError(name, known, "the table that is linked")
    if not by:
        raise UsageError("groups is empty; name what must not be split, for example groups=('sample',)")


def _plain(column: pd.Series[Any]) -> pd.Series[Any]:
    """Return numbers and booleans as float64, all else as text; missing is NaN or None."""
    if pd.api.types.is_numeric_dtype(column):
        return column.astype("Float64").astype("float64")
    numbers = pd.to_numeric(column, errors="coerce")
    if column.map(lambda value: isinstance(value, str)).any() or numbers.isna().sum() > column.isna().sum():
        return column.astype(object).where(column.notna(), None).map(str, na_action="ignore")
    return numbers.astype("float64")


def _check_kinds(values: Mapping[str, pd.Series[Any]], formula: LinkFormula) -> None:
    def is_text(name: str) -> bool:
        return bool(values[name].dtype == object) or not pd.api.types.is_numeric_dtype(values[name])

    for name in formula.target.columns:
        if is_text(name):
            raise UsageError(
                f"the target {name!r} holds text, a link needs a number; for classes use "
                "query(...) and groupby instead"
            )
    for term in formula.terms:
        for name in term.columns:
            if name not in term.categories and is_text(name):
                raise UsageError(f"{term.text!r} needs numbers and {name!r} holds text; write C({name})")


def _matched(
    keys: pd.Series[Any],
    names: tuple[str, ...],
    given: Mapping[str, Vectors],
) -> tuple[dict[str, Floats], dict[str, NDArray[np.bool_]]]:
    vectors: dict[str, Floats] = {}
    found: dict[str, NDArray[np.bool_]] = {}
    for name in names:
        if name not in given:
            raise UnknownColumnError(name, given, "the embeddings handed to the link")
        space, ids, matrix = given[name]
        at = pd.Index(ids).get_indexer(pd.Index(keys))
        data = np.asarray(matrix, dtype=np.float64)
        vectors[space] = data[at] if len(data) else np.empty((len(keys), data.shape[1]))
        found[space] = (at >= 0) & np.isfinite(vectors[space]).all(axis=1)
    return vectors, found


def _evaluated(
    table: pd.DataFrame, formula: LinkFormula
) -> tuple[Floats, dict[str, Floats], dict[str, NDArray[np.bool_]]]:
    """Return target, column features, and per expression the rows that came out infinite or undefined."""
    y = _columns_of(table, formula.target)[formula.target.text]
    columns: dict[str, Floats] = {}
    for term in formula.terms:
        columns |= _columns_of(table, term)
    bad = {name: ~np.isfinite(column) for name, column in {formula.target.text: y, **columns}.items()}
    return y, columns, {name: rows for name, rows in bad.items() if rows.any()}


def _columns_of(table: pd.DataFrame, term: Term) -> dict[str, Floats]:
    from formulaic import Formula

    if table.empty:
        return {term.text: np.empty(0)}
    with np.errstate(all="ignore"):  # log(0) is counted as not finite, with its reason
        # One term at a time beside an intercept, so that C(...) leaves out one level.
        matrix = Formula(f"1 + {term.text}").get_model_matrix(table, na_action="ignore", context=_TRANSFORMS)
    return {
        str(name): matrix[name].to_numpy(dtype=np.float64) for name in matrix.columns if name != "Intercept"
    }


def _check_rows(y: Floats, formula: LinkFormula, dropped: Mapping[str, int]) -> None:
    if not len(y):
        why = _listed(dropped) or "the table is empty"
        raise UsageError(f"no row is complete for {formula.text!r} ({why})")
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
