"""The figures of a link: what it rests on, in which direction, and whether more samples would help."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from micdb.analysis.figures import BLUE, MUTED, VERMILION, figure_of, styled, with_data

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ROWS = 12  # features that are drawn


@styled
def importance_figure(table: pd.DataFrame) -> Figure:
    """Return bars of what `Link.importance` gives, the most important on top."""
    shown = table.head(_ROWS).iloc[::-1]
    figure = figure_of((6.2, 0.9 + 0.32 * len(shown)))
    axes = figure.subplots()
    axes.barh(shown["feature"], shown["increase"], xerr=shown["sd"], color=BLUE, height=0.62, ecolor=MUTED)
    axes.axvline(0, color=MUTED, linewidth=0.8)
    axes.set_xlabel(_with_unit("increase of the mean absolute error", table, "increase"))
    return with_data(figure, table)


@styled
def leakage_figure(table: pd.DataFrame) -> Figure:
    """Return R2 on groups that are unseen beside R2 of folds by image, one line per model of `Link.table`."""
    shown = table[["model", "r2_grouped", "r2_image"]].iloc[::-1].reset_index(drop=True)
    figure = figure_of((6.2, 1.2 + 0.32 * len(shown)))
    axes = figure.subplots()
    axes.hlines(shown["model"], shown["r2_grouped"], shown["r2_image"], color=MUTED, linewidth=1.2, zorder=1)
    for column, colour, marker, label in (
        ("r2_grouped", BLUE, "o", "unseen groups"),
        ("r2_image", VERMILION, "D", "unseen images"),
    ):
        axes.scatter(shown[column], shown["model"], color=colour, marker=marker, s=28, zorder=2, label=label)
    axes.axvline(0, color=MUTED, linewidth=0.8, linestyle=":")
    axes.set_xlim(min(-0.05, *shown[["r2_grouped", "r2_image"]].min() - 0.05), 1.02)
    axes.margins(y=0.12)
    axes.set_xlabel("R²")
    figure.legend(loc="outside upper center", ncols=2)
    return with_data(figure, shown)


@styled
def dependence_figure(table: pd.DataFrame, feature: str, target: str) -> Figure:
    """Return the line of what `Link.partial_dependence` gives."""
    figure = figure_of((6.2, 3.8))
    axes = figure.subplots()
    axes.plot(table["value"], table["predicted"], color=BLUE, linewidth=1.8)
    axes.set_xlabel(feature)
    axes.set_ylabel(_with_unit(f"predicted {target}, mean", table, "predicted"))
    return with_data(figure, table)


@styled
def learning_figure(table: pd.DataFrame) -> Figure:
    """Return error bars of what `Link.learning_curve` gives, beside the mean's."""
    figure = figure_of((6.2, 3.8))
    axes = figure.subplots()
    x = table["groups"]
    axes.errorbar(
        x, table["mae"], table["sd"], color=BLUE, marker="o", markersize=4, capsize=2, label="model"
    )
    axes.plot(x, table["mae_baseline"], color=VERMILION, linestyle="--", label="mean (baseline)")
    axes.set_xscale("log")
    axes.set_xticks(x, [str(one) for one in x])
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.set_xlabel("groups that teach")
    axes.set_ylabel(_with_unit("mean absolute error", table, "mae"))
    axes.legend(loc="best")
    return with_data(figure, table)


def _with_unit(text: str, table: pd.DataFrame, column: str) -> str:
    unit = (table.attrs.get("units") or {}).get(column)
    return f"{text} [{unit}]" if unit else text
