"""What a link rests on: which features matter, in which direction, and whether more samples would help."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from micdb.analysis import scores
from micdb.analysis.folds import grouped_folds
from micdb.analysis.linking import models
from micdb.analysis.linking.design import Design
from micdb.analysis.linking.features import Features
from micdb.analysis.linking.taught import Taught, source, teach
from micdb.analysis.linking.validate import FOLDS
from micdb.errors import UsageError, suggestion

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_FEWEST = 4  # groups to learn from


def importance(design: Design, name: str, *, seed: int, repeats: int = 10) -> pd.DataFrame:
    """Return how much worse a model predicts unseen groups when a feature is that of another group.

    Permutation importance (Breiman, Mach. Learn. 45, 5 (2001)), out of fold, with whole groups: each test
    group gets the feature of another test group, for rows of one sample mostly share it. Features that say
    the same as one another look unimportant one by one.

    Parameters
    ----------
    design
        What is linked.
    name
        Key of `models.MODELS`.
    seed
        Of folds, models and permutations.
    repeats
        Permutations.

    Returns
    -------
    DataFrame
        One row per feature or embedding, the most important first: ``feature``, ``increase`` of the mean
        absolute error and its standard deviation ``sd`` over permutations [target's unit].
    """
    rng = np.random.default_rng(seed)
    fold = grouped_folds(design.groups, min(FOLDS, design.n_groups), seed=seed)
    taught = {
        k: teach(design, (name,), rows=np.flatnonzero(fold != k), seed=seed)[name] for k in np.unique(fold)
    }
    seen = source(design, name)
    before = scores.mae(design.y, _predicted(taught, seen, fold))
    rows = []
    for block in (*seen.columns, *seen.embeddings):
        worse = []
        for _ in range(repeats):
            order = np.arange(len(design.y))
            for k in taught:
                mine = np.flatnonzero(fold == k)
                order[mine] = mine[_of_other_groups(design.groups[mine], rng)]
            worse.append(scores.mae(design.y, _predicted(taught, _moved(seen, block, order), fold)) - before)
        rows.append({"feature": block, "increase": float(np.mean(worse)), "sd": float(np.std(worse))})
    made = pd.DataFrame(rows, columns=["feature", "increase", "sd"])
    made = made.sort_values("increase", ascending=False, kind="stable", ignore_index=True)
    return _with_unit(made, design, "increase", "sd")


def partial_dependence(design: Design, taught: Taught, feature: str, *, points: int = 25) -> pd.DataFrame:
    """Return what a model predicts on average when every row has one and the same value of a feature.

    Friedman, Ann. Stat. 29, 1189 (2001). It says what the model does, and a cause only where nothing else
    that matters goes with the feature.

    Parameters
    ----------
    design
        What is linked.
    taught
        The model, and what it was learnt on.
    feature
        One of the features made of columns.
    points
        Values, from the 5th to the 95th percentile of the feature.

    Returns
    -------
    DataFrame
        ``value`` of the feature, ``predicted`` [target's unit].

    Raises
    ------
    UsageError
        There is no such feature.
    """
    columns = design.features.columns
    if feature not in columns:
        raise UsageError(f"no feature {feature!r}{suggestion(feature, list(columns))}")
    values = np.unique(np.quantile(columns[feature], np.linspace(0.05, 0.95, points)))
    predicted = []
    for value in values:
        fixed = {**columns, feature: np.full(len(design.y), value)}
        predicted.append(
            taught.predict(Features(fixed, design.features.embeddings, design.features.bags)).mean()
        )
    return _with_unit(pd.DataFrame({"value": values, "predicted": predicted}), design, "predicted")


def learning_curve(design: Design, name: str, *, seed: int, repeats: int = 3) -> pd.DataFrame:
    """Return how well unseen groups are predicted when fewer groups teach.

    Parameters
    ----------
    design
        What is linked.
    name
        Key of `models.MODELS`.
    seed
        Of folds, models and choices.
    repeats
        Times that groups are drawn anew.

    Returns
    -------
    DataFrame
        ``groups`` that teach, ``mae`` and its standard deviation ``sd`` over draws, ``mae_baseline``
        [target's unit].
    """
    fold = grouped_folds(design.groups, min(FOLDS, design.n_groups), seed=seed)
    most = min(len(np.unique(design.groups[fold != k])) for k in np.unique(fold))
    counts = np.unique(np.round(np.geomspace(min(_FEWEST, most), most, 6)).astype(int))
    rows = []
    for count in counts.tolist():
        errors = [_error_of_few(design, name, fold, count, seed=seed + one) for one in range(repeats)]
        own, mean = np.array(errors).T
        rows.append({"groups": count, "mae": own.mean(), "sd": own.std(), "mae_baseline": mean.mean()})
    return _with_unit(pd.DataFrame(rows), design, "mae", "sd", "mae_baseline")


def _error_of_few(design: Design, name: str, fold: Ints, count: int, *, seed: int) -> tuple[float, float]:
    """Return the mean absolute errors of a model and of the mean, each fold taught by so many groups."""
    rng = np.random.default_rng(seed)
    guess = {one: np.empty(len(design.y)) for one in (name, models.BASELINE)}
    for k in np.unique(fold):
        chosen = rng.permutation(np.unique(design.groups[fold != k]))[:count]
        rows, test = np.flatnonzero(np.isin(design.groups, chosen)), fold == k
        for one, taught in teach(design, tuple(guess), rows=rows, seed=seed).items():
            guess[one][test] = taught.predict(source(design, one).of(test))
    return scores.mae(design.y, guess[name]), scores.mae(design.y, guess[models.BASELINE])


def _predicted(taught: Mapping[int, Taught], features: Features, fold: Ints) -> Floats:
    guess = np.empty(len(fold))
    for k, one in taught.items():
        guess[fold == k] = one.predict(features.of(fold == k))
    return guess


def _moved(features: Features, block: str, order: Ints) -> Features:
    """Return features of which one is that of other rows."""
    columns, embeddings = dict(features.columns), dict(features.embeddings)
    home: dict[str, Floats] = columns if block in columns else embeddings
    home[block] = home[block][order]
    return Features(columns, embeddings, features.bags)


def _of_other_groups(groups: Ints, rng: np.random.Generator) -> Ints:
    """Return for each row a row of the group that takes its group's place, groups permuted."""
    names, number = np.unique(groups, return_inverse=True)
    place = rng.permutation(len(names))
    rows = np.empty(len(groups), dtype=np.int64)
    for one in range(len(names)):
        own, theirs = np.flatnonzero(number == one), np.flatnonzero(number == place[one])
        rows[own] = rng.choice(theirs, len(own), replace=len(own) > len(theirs))
    return rows


def _with_unit(table: pd.DataFrame, design: Design, *columns: str) -> pd.DataFrame:
    if design.unit:
        table.attrs["units"] = dict.fromkeys(columns, design.unit)
    return table
