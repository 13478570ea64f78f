"""Cross-validation without leakage: everything learnt from data is learnt inside the training fold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from micdb.analysis.folds import grouped_folds
from micdb.analysis.linking import conformal
from micdb.analysis.linking.design import Design
from micdb.analysis.linking.features import Features
from micdb.analysis.linking.taught import Taught, source, teach

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FOLDS = 5


@dataclass(frozen=True, slots=True)
class OutOfFold:
    """Predictions of every row by models that never saw its fold.

    Parameters
    ----------
    fold
        Fold number per row, shape ``(n,)``.
    predicted
        Per model, shape ``(n,)`` [target's unit].
    low, high
        Per model, ends of the interval, shape ``(n,)``; NaN where there are too few groups. Empty
        where no intervals were asked for.
    """

    fold: Ints
    predicted: Mapping[str, Floats]
    low: Mapping[str, Floats] = field(default_factory=dict)
    high: Mapping[str, Floats] = field(default_factory=dict)


def cross_predict(
    design: Design, names: Sequence[str], *, fold: Ints, seed: int, level: float | None = None
) -> OutOfFold:
    """Predict every row from the other folds.

    Parameters
    ----------
    design
        Arrays to learn from.
    names
        Keys of `models.MODELS`.
    fold
        Fold number per row, shape ``(n,)``.
    seed
        Seed of models and inner folds.
    level
        Wanted coverage of the intervals; None leaves them out. Each fold's intervals are calibrated
        by grouped cross-fitting *within* its training rows, so that the coverage measured on the fold
        is that of unseen groups.
    """
    n = len(design.y)
    predicted = {name: np.empty(n) for name in names}
    low = {name: np.full(n, np.nan) for name in names}
    high = {name: np.full(n, np.nan) for name in names}
    for k in np.unique(fold):
        train, test = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
        taught = teach(design, names, rows=train, seed=seed)
        for name in names:
            predicted[name][test] = taught[name].predict(source(design, name).of(test))
        if level is None or len(np.unique(design.groups[train])) < conformal.groups_needed(level):
            continue
        for name, calibration in calibrate(design, taught, rows=train, seed=seed).items():
            ends = calibration.interval(source(design, name).of(test), level=level)
            low[name][test], high[name][test] = ends
    return OutOfFold(fold, predicted, low, high) if level is not None else OutOfFold(fold, predicted)


@dataclass(frozen=True, slots=True)
class Calibration:
    """What gives a model's predictions their intervals: models that each left a fold out, and their errors.

    Parameters
    ----------
    parts
        The models.
    part
        The one that did not see a row ``(n,)``.
    residuals
        Its absolute error there ``(n,)`` [target's unit].
    groups
        Group of each row ``(n,)``.
    """

    parts: tuple[Taught, ...]
    part: Ints
    residuals: Floats
    groups: Ints

    def interval(self, features: Features, *, level: float) -> tuple[Floats, Floats]:
        """Return the ends of the intervals of new rows ``(m,)``; infinite where there are too few groups."""
        centres = np.stack([one.predict(features) for one in self.parts])
        return conformal.cv_plus(centres, self.part, self.residuals, self.groups, level=level)


def calibrate(
    design: Design, taught: Mapping[str, Taught], *, rows: Ints, seed: int
) -> dict[str, Calibration]:
    """Return what intervals need, by models refitted on grouped folds within `rows`."""
    k = min(FOLDS, len(np.unique(design.groups[rows])))
    part = grouped_folds(design.groups[rows], k, seed=seed + 1)
    residuals = {name: np.empty(len(rows)) for name in taught}
    parts: dict[str, list[Taught]] = {name: [] for name in taught}
    for j in range(k):
        out = part == j
        made = teach(design, tuple(taught), rows=rows[~out], seed=seed, like=taught)
        for name, one in made.items():
            parts[name].append(one)
            guess = one.predict(source(design, name).of(rows[out]))
            residuals[name][out] = np.abs(design.y[rows[out]] - guess)
    groups = design.groups[rows]
    return {name: Calibration(tuple(parts[name]), part, residuals[name], groups) for name in taught}
