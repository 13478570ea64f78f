"""Which structures go with which properties: a link, judged on samples it has not seen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from micdb.analysis import scores
from micdb.analysis.folds import grouped_folds, image_folds
from micdb.analysis.gather import Frame, read_table, read_vectors
from micdb.analysis.linking import conformal, models
from micdb.analysis.linking.design import Design, build_design
from micdb.analysis.linking.formula import parse
from micdb.analysis.linking.validate import FOLDS, OutOfFold, cross_predict
from micdb.analysis.linking.verdict import by_model, say
from micdb.analysis.threads import one_thread
from micdb.errors import UsageError, suggestion

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MODELS = tuple(name for name in models.MODELS if name != models.BASELINE)
_ERROR = 0.05  # chance of calling pure noise a link, all models of one link together
_IN_TARGET_UNIT = (
    "mae", "mae_baseline", "rmse", "rmse_baseline", "gain_low", "gain_high", "width",
    "observed", "predicted", "low", "high",
)  # fmt: skip


@dataclass(frozen=True, repr=False)
class Link:
    """What a link found.

    Parameters
    ----------
    formula
        What was asked.
    table
        One row per model, the baseline (mean of the training rows) first: ``model``; ``r2_grouped`` and
        ``r2_image`` (`scores.r2` with whole groups, and with single images, held out: the difference is
        leakage); ``mae``, ``rmse`` and the baseline's beside them [unit]; ``gain_low``, ``gain_high``,
        the group-bootstrap interval of the baseline's absolute error less the model's [unit];
        ``beats_baseline``, whether that interval lies above 0; ``coverage`` and mean ``width`` [unit] of
        the intervals, measured on unseen groups.
    predictions
        One row per image and model, out of fold: ``uid``, ``group``, ``observed``, ``predicted``,
        ``low``, ``high``, ``fold``, ``model``.
    best
        Model of the smallest grouped MAE; ``baseline`` when the mean is as good as any.
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

    @property
    def found(self) -> bool:
        """Return whether the best model beats the mean."""
        return bool(by_model(self.table)[self.best]["beats_baseline"])

    def figure(self, path: str | PathLike[str] | None = None) -> Figure:
        """Draw observed against predicted with intervals; `path` also saves it. See `figures.link_figure`."""
        from micdb.analysis.figures import link_figure  # matplotlib is slow to load

        figure = link_figure(self)
        if path is not None:
            figure.savefig(path)
        return figure

    def as_json(self) -> dict[str, Any]:
        """Return everything but the predictions as plain values for ``json.dumps``."""
        rows = self.table.astype(object).where(self.table.notna(), None).to_dict("records")
        return {
            "formula": self.formula,
            "verdict": self.verdict,
            "best": self.best,
            "found": self.found,
            "table": [{key: _plain(value) for key, value in row.items()} for row in rows],
            "n_read": self.n_read,
            "n_rows": self.n_rows,
            "n_groups": self.n_groups,
            "dropped": dict(self.dropped),
            "notes": list(self.notes),
            "units": dict(self.units),
            "level": self.level,
            "seed": self.seed,
            "space": list(self.space),
        }

    def remarks(self) -> list[str]:
        """Return the lines below a table: what was used, what was left out, and the notes."""
        lines = [f"{self.n_rows} images in {self.n_groups} groups; folds hold out whole groups"]
        lines += [f"{count} of {self.n_read} images: {reason}" for reason, count in self.dropped.items()]
        lines += [f"vectors of {space}" for space in self.space]
        return [*lines, *self.notes, f"seed {self.seed}"]

    def __repr__(self) -> str:
        shown = self.table.to_string(index=False, na_rep="-", float_format=lambda value: f"{value:.3g}")
        return "\n".join([self.formula, "", shown, "", *self.remarks(), "", self.verdict])

    def _repr_html_(self) -> str:
        from html import escape

        shown = self.table.to_html(index=False, na_rep="-", float_format=lambda value: f"{value:.3g}")
        remarks = "<br>".join(escape(line) for line in self.remarks())
        return f"<p><b>{escape(self.verdict)}</b></p>{shown}<p><small>{remarks}</small></p>"


def link(
    frame: Frame,
    formula: str,
    *,
    groups: str | Sequence[str] = ("sample",),
    models: Sequence[str] = MODELS,
    seed: int = 0,
    level: float = 0.9,
) -> Link:
    """Link a property to structure over the images of a frame.

    Parameters
    ----------
    frame
        A query; its rows are images.
    formula
        For example ``'hardness ~ density + log(anneal_time) + C(cooling) + embedding("texture")'``.
        ``embedding("texture")`` takes the space most of the images have, ``embedding("texture@256nm")``
        that one.
    groups
        Columns whose labels are never split between training and test; with several, images that
        share a label of any of them stay together.
    models
        Of ``ridge``, ``gp`` and ``trees``.
    seed
        Seed of folds, models and bootstrap.
    level
        Coverage wanted of the prediction intervals, between 0 and 1.

    Raises
    ------
    UsageError
        The formula, a model, the level or the target is wrong; the message says which.
    UnknownColumnError
        The formula or `groups` names a column that is not there.
    TooFewGroupsError
        Fewer than 5 independent groups remain.
    """
    _check(models, level)
    if not isinstance(seed, Integral) or seed < 0:
        raise UsageError(f"seed is {seed!r}; it is a whole number of at least 0")
    if not isinstance(groups, Iterable):
        raise UsageError(f"groups is {groups!r}; name columns, for example groups=('sample',)")
    asked = parse(formula)
    by = (groups,) if isinstance(groups, str) else tuple(dict.fromkeys(groups))
    table = read_table(frame, (*asked.columns, *by))
    vectors = read_vectors(frame.context, asked.embeddings, table["uid"])
    design = build_design(table, asked, groups=by, embeddings=vectors)
    return fit_link(design, chosen=models, seed=seed, level=level)


def fit_link(design: Design, *, chosen: Sequence[str] = MODELS, seed: int = 0, level: float = 0.9) -> Link:
    """Fit, cross-validate by group and judge.

    Parameters
    ----------
    design
        Arrays from `micdb.analysis.linking.design.build_design`.
    chosen
        Of ``ridge``, ``gp``, ``trees``.
    seed
        Seed of folds, models and bootstrap.
    level
        Coverage wanted of the prediction intervals, between 0 and 1.

    Raises
    ------
    UsageError
        An unknown or no model, or a level outside 0 to 1.
    """
    _check(chosen, level)
    names = (models.BASELINE, *dict.fromkeys(chosen))
    fold = grouped_folds(design.groups, min(FOLDS, design.n_groups), seed=seed)
    leaky_fold = image_folds(len(design.y), FOLDS, seed=seed)
    with one_thread():
        out = cross_predict(design, names, fold=fold, seed=seed, level=level)
        leaky = cross_predict(design, names, fold=leaky_fold, seed=seed)
    table = pd.DataFrame(
        [_score(design, name, out=out, leaky=leaky, trials=len(names) - 1, seed=seed) for name in names]
    )
    best = min(names, key=lambda name: float(by_model(table)[name]["mae"]))
    units = dict.fromkeys(_IN_TARGET_UNIT, design.unit) if design.unit else {}
    predictions = _predictions(design, out)
    for frame in (table, predictions):
        frame.attrs["units"] = {name: unit for name, unit in units.items() if name in frame}
    return Link(
        formula=design.formula.text,
        table=table,
        predictions=predictions,
        best=best,
        verdict=say(table, best=best, target=design.formula.target.text, unit=design.unit),
        n_read=design.n_read,
        n_rows=len(design.y),
        n_groups=design.n_groups,
        dropped=design.dropped,
        notes=(*design.notes, *_notes(design, names, out=out, level=level)),
        units=units,
        level=level,
        seed=seed,
        space=tuple(design.embeddings),
    )


def _check(chosen: Sequence[str], level: float) -> None:
    if isinstance(chosen, str) or not chosen:
        raise UsageError(f"models is {chosen!r}; give a list of {', '.join(MODELS)}")
    for name in chosen:
        if name not in MODELS:
            raise UsageError(f"no model {name!r}{suggestion(name, MODELS)}")
    if not isinstance(level, Real) or not 0 < level < 1:
        raise UsageError(f"level is {level!r}; give the coverage wanted, between 0 and 1, for example 0.9")


def _score(
    design: Design, name: str, *, out: OutOfFold, leaky: OutOfFold, trials: int, seed: int
) -> dict[str, Any]:
    y, guess, mean = design.y, out.predicted[name], out.predicted[models.BASELINE]
    row: dict[str, Any] = {
        "model": name,
        "r2_grouped": scores.r2(y, guess),
        "r2_image": scores.r2(y, leaky.predicted[name]),
        "mae": scores.mae(y, guess),
        "mae_baseline": scores.mae(y, mean),
        "rmse": scores.rmse(y, guess),
        "rmse_baseline": scores.rmse(y, mean),
    }
    gain = np.abs(y - mean) - np.abs(y - guess)
    low, high = scores.gain_interval(gain, design.groups, level=1 - _ERROR / trials, seed=seed)
    ends = out.low[name], out.high[name]
    return row | {
        "gain_low": low,
        "gain_high": high,
        "beats_baseline": low > 0,
        "coverage": scores.coverage(y, *ends, design.groups),
        "width": scores.width(*ends),
    }


def _predictions(design: Design, out: OutOfFold) -> pd.DataFrame:
    return pd.concat(
        [
            pd.DataFrame(
                {
                    "uid": design.uids,
                    "group": design.labels,
                    "observed": design.y,
                    "predicted": guess,
                    "low": out.low[name],
                    "high": out.high[name],
                    "fold": out.fold,
                    "model": name,
                }
            )
            for name, guess in out.predicted.items()
        ],
        ignore_index=True,
    )


def _notes(design: Design, names: Sequence[str], *, out: OutOfFold, level: float) -> list[str]:
    notes = []
    training = [len(np.unique(design.groups[out.fold != k])) for k in np.unique(out.fold)]
    needed = conformal.groups_needed(level)
    if min(training) < needed:
        notes.append(
            f"no intervals: at level {level:g} every training fold needs {needed} groups, the smallest has "
            f"{min(training)}; ask for a lower level or add samples"
        )
    most = max(int(np.sum(out.fold != k)) for k in np.unique(out.fold))
    if "gp" in names and most > models.GP_ROWS:
        notes.append(
            f"gp: fitted on {models.GP_ROWS} of up to {most} training rows, drawn with the seed, because its "
            "cost grows with the cube of the rows"
        )
    return notes


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value
