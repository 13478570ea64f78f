"""A link in one honest sentence."""

from __future__ import annotations

from typing import Any

import pandas as pd

from micdb.analysis.linking.models import BASELINE, METADATA

LEAKAGE = 0.2  # image-level R2 above grouped R2 by this much is worth a warning; a gap of noise is below it

NAMES = {
    "metadata": "metadata alone", "ridge": "ridge regression", "elastic": "an elastic net",
    "gp": "a Gaussian process", "trees": "gradient boosting", "set": "a set transformer",
}  # fmt: skip


def say(table: pd.DataFrame, *, best: str, target: str, unit: str | None) -> str:
    """Return the sentence for a table of scores.

    Parameters
    ----------
    table
        `Link.table`.
    best
        `Link.best`.
    target, unit
        What was predicted.
    """
    row = by_model(table)[best]
    errors = f"MAE {quantity(row['mae'], unit)} against {quantity(row['mae_baseline'], unit)} for the mean"
    if best == BASELINE:
        said = (
            f"No link shown: no model predicts {target} of unseen groups better than their mean "
            f"(MAE {quantity(row['mae'], unit)})"
        )
    elif not row["beats_baseline"]:
        said = (
            f"No link shown: the best model, {NAMES[best]}, is not reliably better than the mean at "
            f"predicting {target} of unseen groups ({errors}; grouped R2 {row['r2_grouped']:.2f})"
        )
    elif row["r2_grouped"] <= 0:
        said = (
            f"Weak link: {NAMES[best]} errs less than the mean on {target} of unseen groups ({errors}) but "
            f"explains none of its variance (grouped R2 {row['r2_grouped']:.2f})"
        )
    else:
        said = (
            f"{NAMES[best][:1].upper()}{NAMES[best][1:]} explains "
            f"{100 * row['r2_grouped']:.0f} % of the variance of {target} in unseen groups ({errors})"
        )
    return said + _metadata(by_model(table), best) + _leakage(table) + "."


def by_model(table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Return a table of scores as model -> column -> value."""
    return {str(row["model"]): {str(key): row[key] for key in row} for row in table.to_dict("records")}


def quantity(value: float, unit: str | None) -> str:
    """Return a number with three significant digits and its unit."""
    return f"{value:.3g} {unit}" if unit else f"{value:.3g}"


def _metadata(rows: dict[str, dict[str, Any]], best: str) -> str:
    """Say that the pixels prove nothing where what is known without them predicts as well."""
    told = rows.get(METADATA)
    if told is None or not told["beats_baseline"] or rows[best]["beats_metadata"]:
        return ""
    return (
        f"; metadata alone (lab, instrument, pixel size and the like) does as well, grouped R2 "
        f"{told['r2_grouped']:.2f}: it may be a confounder, and nothing shows that the structure matters"
    )


def _leakage(table: pd.DataFrame) -> str:
    fitted = [row for name, row in by_model(table).items() if name not in (BASELINE, METADATA)]
    worst = max(fitted, key=lambda row: float(row["r2_image"] - row["r2_grouped"]))
    if worst["r2_image"] - max(worst["r2_grouped"], 0.0) < LEAKAGE:
        return ""
    return (
        f"; splitting by image would have shown R2 {worst['r2_image']:.2f} for {worst['model']}, "
        f"and that is leakage (grouped R2 {worst['r2_grouped']:.2f})"
    )
