"""Which structures go with which properties: a link, judged on samples it has not seen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
import pandas as pd

from micdb.analysis import scores
from micdb.analysis.comparable import unlike
from micdb.analysis.folds import grouped_folds, image_folds
from micdb.analysis.gather import Frame
from micdb.analysis.linking import conformal, models
from micdb.analysis.linking.design import Design, build_design
from micdb.analysis.linking.formula import parse
from micdb.analysis.linking.holding_out import held_out
from micdb.analysis.linking.leakage import WATCHED, leaks
from micdb.analysis.linking.reading import read
from micdb.analysis.linking.result import Link
from micdb.analysis.linking.validate import FOLDS, OutOfFold, cross_predict
from micdb.analysis.linking.verdict import by_model, say
from micdb.analysis.metadata import METADATA
from micdb.analysis.threads import one_thread
from micdb.errors import UnknownColumnError, UsageError, suggestion

MODELS = ("ridge", "gp", "trees")
CHOICES = tuple(name for name in models.MODELS if name not in (models.BASELINE, models.METADATA))
_ERROR = 0.05  # chance of calling pure noise a link, all models of one link together
_IN_TARGET_UNIT = (
    "mae", "mae_baseline", "rmse", "rmse_baseline", "gain_low", "gain_high", "width",
    "observed", "predicted", "low", "high",
)  # fmt: skip


def link(
    frame: Frame | pd.DataFrame,
    formula: str,
    *,
    groups: str | Sequence[str] = ("sample",),
    models: Sequence[str] = MODELS,
    hold_out: str | None = "lab",
    harmonise: str | None = None,
    seed: int = 0,
    level: float = 0.9,
) -> Link:
    """Link a property to structure over the images of a frame.

    Parameters
    ----------
    frame
        A query; its rows are images. Or a DataFrame of anything, without embeddings and roll-ups.
    formula
        For example ``'hardness ~ density + log(anneal_time) + C(cooling) + embedding("texture")'``.
        ``embedding("texture")`` takes the space most of the images have, ``embedding("texture@256nm")``
        that one. Roll-ups: see `micdb.analysis.linking.formula`.
    groups
        Columns whose labels are never split between training and test; with several, images that
        share a label of any of them stay together.
    models
        Of ``ridge``, ``elastic``, ``gp``, ``trees``, and ``set``, which reads all images of a sample at once
        and needs ``micdb[embed]``.
    hold_out
        Column of which each label is held out in turn, beside the folds by group, where there are several.
    harmonise
        Column within whose labels all embeddings get the same mean and spread: takes away what a lab's images
        have in common, true differences too. See `micdb.analysis.harmonise`.
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
    for name in (harmonise, None if hold_out == "lab" else hold_out):
        if name is not None and name not in frame:
            raise UnknownColumnError(name, list(getattr(frame, "columns", ())), "the frame that is linked")
    beside = [name for name in (*METADATA, *WATCHED, hold_out, harmonise) if name and name in frame]
    table, vectors = read(frame, asked, (*asked.columns, *by, *beside))
    known = [name for name in METADATA if name in beside and name not in by]
    design = build_design(table, asked, groups=by, embeddings=vectors, metadata=known, harmonise=harmonise)
    return fit_link(design, chosen=models, hold_out=hold_out, seed=seed, level=level)


def fit_link(
    design: Design,
    *,
    chosen: Sequence[str] = MODELS,
    hold_out: str | None = None,
    seed: int = 0,
    level: float = 0.9,
) -> Link:
    """Fit, cross-validate by group and judge.

    Parameters
    ----------
    design
        Arrays from `micdb.analysis.linking.design.build_design`.
    chosen
        Of `CHOICES`.
    hold_out
        As for `link`; a column of the design's table.
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
    told = (models.METADATA,) if design.metadata.columns else ()
    names = (models.BASELINE, *told, *dict.fromkeys(chosen))
    fold = grouped_folds(design.groups, min(FOLDS, design.n_groups), seed=seed)
    leaky_fold = image_folds(len(design.y), FOLDS, seed=seed)
    with one_thread():
        out = cross_predict(design, names, fold=fold, seed=seed, level=level)
        leaky = cross_predict(design, names, fold=leaky_fold, seed=seed)
    trials = len(set(chosen))
    rows = [_score(design, name, out=out, leaky=leaky, trials=trials, seed=seed) for name in names]
    table = pd.DataFrame(rows)
    best = _best(table, (models.BASELINE, *chosen))
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
        notes=(
            *design.notes,
            *_notes(design, names, out=out, level=level),
            *_unlike(design, hold_out, seed=seed),
        ),
        units=units,
        level=level,
        seed=seed,
        space=tuple(design.features.embeddings),
        held_out=_elsewhere(design, best, hold_out, seed=seed),
        leaks=leaks(design),
        design=design,
    )


def _check(chosen: Sequence[str], level: float) -> None:
    if isinstance(chosen, str) or not chosen:
        raise UsageError(f"models is {chosen!r}; give a list of {', '.join(CHOICES)}")
    for name in chosen:
        if name not in CHOICES:
            raise UsageError(f"no model {name!r}{suggestion(name, CHOICES)}")
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
    told = out.predicted.get(models.METADATA, mean)
    (low, high), (over_metadata, _) = (
        scores.gain_interval(
            np.abs(y - other) - np.abs(y - guess), design.groups, level=1 - _ERROR / trials, seed=seed
        )
        for other in (mean, told)
    )
    ends = out.low[name], out.high[name]
    return row | {
        "gain_low": low,
        "gain_high": high,
        "beats_baseline": low > 0,
        "beats_metadata": over_metadata > 0,
        "coverage": scores.coverage(y, *ends, design.groups),
        "width": scores.width(*ends),
    }


def _best(table: pd.DataFrame, names: Sequence[str]) -> str:
    """Return the model of the smallest error among those that are reliably better than both baselines.

    Where none is, among those better than the mean; where none is either, among all. A model that is more
    often right but cannot be relied on does not hide a link that another one shows.
    """
    rows = by_model(table)

    def rank(name: str) -> tuple[bool, bool, float]:
        row = rows[name]
        shown = bool(row["beats_baseline"])
        return not (shown and row["beats_metadata"]), not shown, float(row["mae"])

    return min(names, key=rank)


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


def _elsewhere(design: Design, name: str, by: str | None, *, seed: int) -> pd.DataFrame:
    if by is None or by not in design.table:
        return pd.DataFrame()
    with one_thread():
        return held_out(design, name, by=by, seed=seed)


def _unlike(design: Design, by: str | None, *, seed: int) -> list[str]:
    """Return a warning for each space in which labs lie apart."""
    if by is None or by not in design.table or design.harmonise == by:
        return []
    labels = design.table[by].astype(str).to_numpy(dtype=object)
    notes = []
    for space, vectors in design.features.embeddings.items():
        with one_thread():
            apart = unlike(vectors, labels, design.groups, seed=seed)
        if apart:
            notes.append(
                f"not comparable in {space}: {', '.join(apart)}; db.comparable(by={by!r}) tells in what, "
                f"harmonise={by!r} takes it away"
            )
    return notes


def _notes(design: Design, names: Sequence[str], *, out: OutOfFold, level: float) -> list[str]:
    notes = []
    if design.harmonise:
        notes.append(
            f"embeddings harmonised within {design.harmonise}: what all images of one have in common is gone"
        )
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
