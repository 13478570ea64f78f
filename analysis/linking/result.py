"""What a link found, and what can be done with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from micdb.analysis.gather import Frame
from micdb.analysis.harmonise import levels
from micdb.analysis.linking import citing, explain
from micdb.analysis.linking.design import Design
from micdb.analysis.linking.next_sample import next_samples
from micdb.analysis.linking.predictor import Predictor
from micdb.analysis.linking.taught import teach
from micdb.analysis.linking.validate import calibrate
from micdb.analysis.linking.verdict import by_model, quantity
from micdb.analysis.threads import one_thread

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, repr=False)
class Link:
    """What a link found.

    Parameters
    ----------
    formula
        What was asked.
    table
        One row per model, the baselines first (the mean of the training rows; ``metadata``, ridge regression
        on what is known without the pixels, where that varies): ``model``; ``r2_grouped`` and
        ``r2_image`` (`scores.r2` with whole groups, and with single images, held out: the difference is
        leakage); ``mae``, ``rmse`` and the baseline's beside them [unit]; ``gain_low``, ``gain_high``,
        the group-bootstrap interval of the baseline's absolute error less the model's [unit];
        ``beats_baseline``, whether that interval lies above 0; ``beats_metadata``, the same for the error of
        metadata; ``coverage`` and mean ``width`` [unit] of the intervals, measured on unseen groups.
    predictions
        One row per image and model, out of fold: ``uid``, ``group``, ``observed``, ``predicted``,
        ``low``, ``high``, ``fold``, ``model``.
    best
        Model of the smallest grouped MAE among those that beat both baselines, else the mean, else among
        all; ``baseline`` when the mean is as good as any.
    verdict
        One honest sentence.
    n_read, n_rows, n_groups
        Rows asked for, rows used, independent groups among them.
    dropped
        Reason -> rows it kept out; a row may lack several things.
    notes
        What else a reader has to know.
    units
        Column of `table` or `predictions` -> unit.
    level
        Coverage asked of the intervals.
    seed
        Seed of folds, models and bootstrap.
    space
        Spaces the embeddings live in.
    held_out
        One row per lab, or other label that was asked for, as `holding_out.held_out` gives it.
    leaks
        Ways in which this link could fool its reader, a sentence each: `leakage.leaks`.
    design
        What it was learnt from.
    """

    formula: str
    table: pd.DataFrame
    predictions: pd.DataFrame
    best: str
    verdict: str
    n_read: int
    n_rows: int
    n_groups: int
    dropped: Mapping[str, int]
    notes: tuple[str, ...]
    units: Mapping[str, str]
    level: float
    seed: int
    space: tuple[str, ...]
    held_out: pd.DataFrame
    leaks: tuple[str, ...]
    design: Design

    @property
    def found(self) -> bool:
        """Return whether the best model beats the mean, and metadata where there are any."""
        row = by_model(self.table)[self.best]
        return bool(row["beats_baseline"]) and bool(row["beats_metadata"])

    @property
    def asked(self) -> tuple[str, ...]:
        """Return the columns and roll-ups that it reads, the target first, as texts of a query."""
        formula = self.design.formula
        return tuple(formula.shown(name) for name in formula.columns)

    @cached_property
    def predictor(self) -> Predictor:
        """What the best model learns from all rows."""
        design = self.design
        rows = np.arange(len(design.y))
        with one_thread():
            taught = teach(design, (self.best,), rows=rows, seed=self.seed)
            calibration = calibrate(design, taught, rows=rows, seed=self.seed)[self.best]
        spaces = dict(zip(design.formula.embeddings, self.space, strict=True))
        like = {space: levels(matrix) for space, matrix in design.features.embeddings.items()}
        return Predictor(
            design.formula, self.best, design.unit, self.level, spaces, design.levels, taught[self.best],
            calibration, self.as_json(), design.harmonise, like if design.harmonise else {},
        )  # fmt: skip

    def predict(self, frame: Frame | pd.DataFrame) -> pd.DataFrame:
        """Predict the target of other images; see `micdb.analysis.linking.predictor.Predictor.predict`."""
        return self.predictor.predict(frame)

    def save(self, folder: str | PathLike[str]) -> Path:
        """Write the link to a folder, for `micdb.load_link`; return it."""
        return self.predictor.save(folder)

    def suggest(self, n: int = 5) -> pd.DataFrame:
        """Return the samples to measure next; see `micdb.analysis.linking.next_sample.next_samples`."""
        with one_thread():
            return next_samples(self.design, n, seed=self.seed)

    def importance(self, *, repeats: int = 10) -> pd.DataFrame:
        """Return which features matter; see `micdb.analysis.linking.explain.importance`."""
        with one_thread():
            return explain.importance(self.design, self.best, seed=self.seed, repeats=repeats)

    def partial_dependence(self, feature: str, *, points: int = 25) -> pd.DataFrame:
        """Return in which direction a feature acts; see `explain.partial_dependence`."""
        with one_thread():
            return explain.partial_dependence(self.design, self.predictor.taught, feature, points=points)

    def learning_curve(self, *, repeats: int = 3) -> pd.DataFrame:
        """Return whether more samples would help; see `micdb.analysis.linking.explain.learning_curve`."""
        with one_thread():
            return explain.learning_curve(self.design, self.best, seed=self.seed, repeats=repeats)

    def methods(self) -> str:
        """Return how it was found and what was found, as sentences of a paper; ``db.cite`` writes them."""
        return citing.methods(self)

    def references(self) -> str:
        """Return the works it rests on, as cards have them."""
        return citing.references(self)

    def report(self, path: str | PathLike[str]) -> Path:
        """Write a page with scores, figures, what the link rests on and what may mislead; return its path."""
        from micdb.analysis.linking.link_report import report  # matplotlib is slow to load

        return report(self, path)

    def figure(self, path: str | PathLike[str] | None = None) -> Figure:
        """Draw observed against predicted with intervals; `path` also saves it. See `figures.link_figure`."""
        from micdb.analysis.figures import link_figure  # matplotlib is slow to load

        figure = link_figure(self)
        if path is not None:
            figure.savefig(path)
        return figure

    def as_json(self) -> dict[str, Any]:
        """Return everything but the predictions as plain values for ``json.dumps``."""
        return {
            "formula": self.formula,
            "verdict": self.verdict,
            "best": self.best,
            "found": self.found,
            "table": _records(self.table),
            "n_read": self.n_read,
            "n_rows": self.n_rows,
            "n_groups": self.n_groups,
            "dropped": dict(self.dropped),
            "notes": list(self.notes),
            "units": dict(self.units),
            "level": self.level,
            "seed": self.seed,
            "space": list(self.space),
            "held_out": _records(self.held_out),
            "leaks": list(self.leaks),
        }

    def remarks(self) -> list[str]:
        """Return the lines below a table: what was used, what was left out, and the notes."""
        lines = [f"{self.n_rows} rows in {self.n_groups} groups; folds hold out whole groups"]
        lines += [f"{count} of {self.n_read} rows: {reason}" for reason, count in self.dropped.items()]
        lines += [f"vectors of {space}" for space in self.space]
        lines += [
            _elsewhere(row, str(self.held_out.columns[0]), self.units.get("mae"))
            for row in self.held_out.to_dict("records")
        ]
        return [*lines, *self.notes, *self.leaks, f"seed {self.seed}"]

    def __repr__(self) -> str:
        shown = self.table.to_string(index=False, na_rep="-", float_format=lambda value: f"{value:.3g}")
        return "\n".join([self.formula, "", shown, "", *self.remarks(), "", self.verdict])

    def _repr_html_(self) -> str:
        from html import escape

        shown = self.table.to_html(index=False, na_rep="-", float_format=lambda value: f"{value:.3g}")
        remarks = "<br>".join(escape(line) for line in self.remarks())
        return f"<p><b>{escape(self.verdict)}</b></p>{shown}<p><small>{remarks}</small></p>"


def _elsewhere(row: Mapping[Any, Any], by: str, unit: str | None) -> str:
    return (
        f"{by} {row[by]}, taught without it: MAE {quantity(row['mae'], unit)} against "
        f"{quantity(row['mae_baseline'], unit)} for the mean of the others, bias "
        f"{quantity(row['bias'], unit)} ({row['rows']} rows)"
    )


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    rows = table.astype(object).where(table.notna(), None).to_dict("records")
    return [{str(key): _plain(value) for key, value in row.items()} for row in rows]


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value
