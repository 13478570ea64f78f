"""Cross-validation without leakage: everything learnt from data is learnt inside the training fold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from micdb.analysis.folds import grouped_folds
from micdb.analysis.linking import conformal, models
from micdb.analysis.linking.design import Design

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FOLDS = 5
MAX_COMPONENTS = 16  # of one embedding; half the training groups where that is fewer


class Reduction:
    """Features of a design, standardised and reduced by what training rows alone show.

    Each embedding is standardised, projected on its principal components and standardised again.
    `fit` sees the whole design but reads only `rows`.
    """

    def __init__(self, components: int) -> None:
        self.components = components
        self._steps: dict[str, Any] = {}

    def fit(self, design: Design, rows: Ints) -> Reduction:
        """Learn scales and components from `rows`."""
        from sklearn.decomposition import PCA
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        for name, block in _blocks(design):
            steps: list[Any] = [StandardScaler()]
            if name in design.embeddings:
                most = min(self.components, block.shape[1], len(rows) - 1)
                steps += [PCA(max(1, most), random_state=0), StandardScaler()]
            self._steps[name] = make_pipeline(*steps).fit(block[rows])
        return self

    def transform(self, design: Design, rows: Ints) -> Floats:
        """Return the features of `rows`, shape ``(len(rows), p)``."""
        return np.hstack([self._steps[name].transform(block[rows]) for name, block in _blocks(design)])


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
        fitted, out = _fit_predict(design, names, train=train, rows=test, seed=seed)
        for name in names:
            predicted[name][test] = out[name]
        if level is None or len(np.unique(design.groups[train])) < conformal.groups_needed(level):
            continue
        ends = _intervals(design, fitted, train=train, test=test, seed=seed, level=level)
        for name in names:
            low[name][test], high[name][test] = ends[name]
    return OutOfFold(fold, predicted, low, high) if level is not None else OutOfFold(fold, predicted)


def _fit_predict(
    design: Design,
    names: Iterable[str],
    *,
    train: Ints,
    rows: Ints,
    seed: int,
    like: Mapping[str, Any] | None = None,
) -> tuple[dict[str, Any], dict[str, Floats]]:
    n_groups = len(np.unique(design.groups[train]))
    reduction = Reduction(min(MAX_COMPONENTS, max(1, n_groups // 2))).fit(design, train)
    seen = models.TrainingSet(reduction.transform(design, train), design.y[train], design.groups[train], seed)
    fitted = {name: models.fit(name, seen, like=(like or {}).get(name)) for name in names}
    x = reduction.transform(design, rows)
    return fitted, {name: np.asarray(model.predict(x), dtype=np.float64) for name, model in fitted.items()}


def _intervals(
    design: Design, fitted: Mapping[str, Any], *, train: Ints, test: Ints, seed: int, level: float
) -> dict[str, tuple[Floats, Floats]]:
    """Return CV+ intervals of `test` from models refitted on folds within `train`."""
    k = min(FOLDS, len(np.unique(design.groups[train])))
    inner = grouped_folds(design.groups[train], k, seed=seed + 1)
    centres = {name: np.empty((len(test), len(train))) for name in fitted}
    residuals = {name: np.empty(len(train)) for name in fitted}
    for j in range(k):
        left_out = np.flatnonzero(inner == j)
        rows = np.concatenate([train[left_out], test])
        _, out = _fit_predict(design, fitted, train=train[inner != j], rows=rows, seed=seed, like=fitted)
        for name, values in out.items():
            centres[name][:, left_out] = values[len(left_out) :, None]
            residuals[name][left_out] = np.abs(design.y[train[left_out]] - values[: len(left_out)])
    groups = design.groups[train]
    return {name: conformal.cv_plus(centres[name], residuals[name], groups, level=level) for name in fitted}


def _blocks(design: Design) -> list[tuple[str, Floats]]:
    """Return the column features as one block and each embedding as another; names cannot clash with ''."""
    named = [("", np.column_stack(list(design.columns.values())))] if design.columns else []
    return [*named, *design.embeddings.items()]
