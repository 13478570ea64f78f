"""From columns and vectors to the numbers a model looks at: when a link is learnt, and when it predicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from micdb.analysis.gather import Vectors
from micdb.analysis.harmonise import FEWEST, harmonised
from micdb.analysis.linking.formula import CATEGORY, LinkFormula, Term
from micdb.errors import UnknownColumnError, UsageError

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Levels = Mapping[str, Sequence[Any]]

_LOGS = {"log": np.log, "log10": np.log10, "log2": np.log2, "log1p": np.log1p}
_TRANSFORMS: dict[str, Any] = {**_LOGS, "exp": np.exp, "sqrt": np.sqrt, "abs": np.abs}


@dataclass(frozen=True, slots=True)
class Features:
    """What a model looks at.

    Parameters
    ----------
    columns
        Features made of columns, by name, each of shape ``(n,)``.
    embeddings
        Vectors by space, each of shape ``(n, d)``; reduced later, inside training folds.
    bags
        Sample of each row, as a number ``(n,)``.
    """

    columns: Mapping[str, Floats]
    embeddings: Mapping[str, Floats]
    bags: NDArray[np.int64]

    def of(self, rows: Any) -> Features:
        """Return the features of some rows."""
        return Features(
            {name: column[rows] for name, column in self.columns.items()},
            {name: matrix[rows] for name, matrix in self.embeddings.items()},
            self.bags[rows],
        )


def plain(column: pd.Series[Any]) -> pd.Series[Any]:
    """Return numbers and booleans as float64, all else as text; missing is NaN or None."""
    if pd.api.types.is_numeric_dtype(column):
        return column.astype("Float64").astype("float64")
    numbers = pd.to_numeric(column, errors="coerce")
    if column.map(lambda value: isinstance(value, str)).any() or numbers.isna().sum() > column.isna().sum():
        return column.astype(object).where(column.notna(), None).map(str, na_action="ignore")
    return numbers.astype("float64")


def is_text(column: pd.Series[Any]) -> bool:
    """Return whether a plain column holds text."""
    return bool(column.dtype == object) or not pd.api.types.is_numeric_dtype(column)


def levels_of(table: pd.DataFrame, formula: LinkFormula) -> dict[str, list[Any]]:
    """Return the values of every column that a formula takes as a category, in order, of a plain table."""
    names = {name for term in formula.terms for name in term.columns if _is_category(term, name, table[name])}
    return {name: sorted(table[name].dropna().unique().tolist()) for name in sorted(names)}


def evaluate(
    table: pd.DataFrame,
    formula: LinkFormula,
    vectors: Mapping[str, Vectors],
    *,
    keys: pd.Series[Any],
    bags: NDArray[np.int64],
    levels: Levels,
    harmonise: pd.Series[Any] | None = None,
    like: Mapping[str, tuple[Floats, Floats]] | None = None,
) -> tuple[Features, dict[str, Bools]]:
    """Return the features of every row, and why some rows have none.

    Parameters
    ----------
    table
        The columns of the terms, each as `plain` gives it.
    formula
        Its terms and embeddings.
    vectors
        Name in the formula -> its vectors.
    keys
        Names of the rows, which those of `vectors` are matched with.
    bags
        Sample of each row ``(n,)``.
    levels
        Column -> the values that were taught: a row with another has no features.
    harmonise
        Labels within which embeddings are made alike.
    like
        Space -> the mean and spread they get then; None for those of all rows.

    Returns
    -------
    features, reasons
        Features of all rows, NaN where a row has none; reason -> rows it applies to ``(n,)``.

    Raises
    ------
    UsageError
        A term needs numbers of a column that holds text.
    UnknownColumnError
        An embedding is not among `vectors`.
    """
    names = tuple(dict.fromkeys(name for term in formula.terms for name in term.columns))
    _check_kinds(table, formula.terms)
    reasons = {f"{formula.shown(name)} is missing": table[name].isna().to_numpy() for name in names}
    for name, known in levels.items():
        new = table[name].notna() & ~table[name].isin(known)
        reasons[f"{name} has a value that was not taught"] = new.to_numpy()
    matrices, found = _matched(keys, formula.embeddings, vectors)
    reasons |= {f"no vector in {space}": ~has for space, has in found.items()}
    if harmonise is not None:
        labels = harmonise.astype(str).to_numpy(dtype=object)
        for space, has in found.items():
            matrices[space] = harmonised(matrices[space], labels, (like or {}).get(space))
            few = has & ~np.isfinite(matrices[space]).all(axis=1)
            reasons[f"{harmonise.name} has fewer than {FEWEST} images to be harmonised by"] = few
    complete = ~np.any([np.zeros(len(table), bool), *reasons.values()], axis=0)
    columns: dict[str, Floats] = {}
    for term in formula.terms:
        for name, values in term_columns(table[complete], term, levels).items():
            shown = formula.shown(name)
            columns[shown] = np.full(len(table), np.nan)
            columns[shown][complete] = values
            reasons[f"{shown} is not finite"] = complete & ~np.isfinite(columns[shown])
    return Features(columns, matrices, bags), {reason: rows for reason, rows in reasons.items() if rows.any()}


def term_columns(table: pd.DataFrame, term: Term, levels: Levels) -> dict[str, Floats]:
    """Return what a term makes of a plain table: one column, or one per level of a category but the first."""
    from formulaic import Formula

    if table.empty:
        return {term.code: np.empty(0)}
    known = {
        name: pd.Categorical(table[name], categories=levels[name])
        for name in term.columns
        if name in levels and _is_category(term, name, table[name])
    }
    with np.errstate(all="ignore"):  # log(0) is counted as not finite, with its reason
        # One term at a time beside an intercept, so that C(...) leaves out one level.
        matrix = Formula(f"1 + {term.code}").get_model_matrix(
            table.assign(**known), na_action="ignore", context=_TRANSFORMS
        )
    return {
        str(name): matrix[name].to_numpy(dtype=np.float64) for name in matrix.columns if name != "Intercept"
    }


def _is_category(term: Term, name: str, column: pd.Series[Any]) -> bool:
    return name in term.categories and (is_text(column) or f"{CATEGORY}({name})" in term.code)


def _check_kinds(table: pd.DataFrame, terms: Sequence[Term]) -> None:
    for term in terms:
        for name in term.columns:
            if name not in term.categories and is_text(table[name]):
                raise UsageError(f"{term.text!r} needs numbers and {name!r} holds text; write C({name})")


def _matched(
    keys: pd.Series[Any], names: tuple[str, ...], given: Mapping[str, Vectors]
) -> tuple[dict[str, Floats], dict[str, Bools]]:
    vectors: dict[str, Floats] = {}
    found: dict[str, Bools] = {}
    for name in names:
        if name not in given:
            raise UnknownColumnError(name, given, "the embeddings handed to the link")
        space, ids, matrix = given[name]
        at = pd.Index(ids).get_indexer(pd.Index(keys))
        data = np.asarray(matrix, dtype=np.float64)
        vectors[space] = data[at] if len(data) else np.full((len(keys), data.shape[1]), np.nan)
        found[space] = (at >= 0) & np.isfinite(vectors[space]).all(axis=1)
    return vectors, found
