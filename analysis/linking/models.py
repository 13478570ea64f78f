"""The regressors a link compares, and the baselines they must beat.

A model is fitted on standardised features. Given `like`, a model fitted on the surrounding training
rows, it keeps that model's hyperparameters and learns only its coefficients: inner folds cost little.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from micdb.analysis.folds import grouped_folds
from micdb.analysis.linking.set_transformer import SetTransformer

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BASELINE = "baseline"  # the mean of the training rows
METADATA = "metadata"  # ridge regression on what is known without the pixels
GP_ROWS = 800  # a GP costs n**3: 800 rows take about a second per hyperparameter search on one core
_ALPHAS = np.logspace(-2, 5, 15)  # ridge penalties, on standardised features


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """What a model may look at.

    Parameters
    ----------
    x
        Standardised features, shape ``(n, p)``.
    y
        Target, shape ``(n,)``.
    groups
        Group numbers, shape ``(n,)``.
    bags
        Sample of each row, shape ``(n,)``.
    seed
        Seed of everything random.
    """

    x: Floats
    y: Floats
    groups: Ints
    bags: Ints
    seed: int


def fit(name: str, rows: TrainingSet, *, like: Any = None) -> Any:
    """Return a fitted estimator with ``predict``; `name` is a key of `MODELS`."""
    return MODELS[name](rows, like)


def predict(model: Any, x: Floats, bags: Ints) -> Floats:
    """Return predictions ``(n,)`` for standardised features ``(n, p)`` of rows of these samples ``(n,)``."""
    said = model.predict(x, bags) if isinstance(model, SetTransformer) else model.predict(x)
    return np.asarray(said, dtype=np.float64)


def _mean(rows: TrainingSet, _like: Any) -> Any:
    from sklearn.dummy import DummyRegressor

    return DummyRegressor(strategy="mean").fit(rows.x, rows.y)


def _ridge(rows: TrainingSet, like: Any) -> Any:
    """Ridge regression (Hoerl & Kennard, Technometrics 12, 55 (1970)), penalty by grouped inner folds."""
    from sklearn.linear_model import Ridge

    alpha = like.alpha if like is not None else _best_penalty(rows)
    return Ridge(alpha=alpha).fit(rows.x, rows.y)


def _best_penalty(rows: TrainingSet) -> float:
    """Return the penalty of the least squared error on held-out groups.

    One singular value decomposition per fold serves all penalties (Hastie, Tibshirani & Friedman, The
    Elements of Statistical Learning (2009), eq. 3.47).
    """
    fold = grouped_folds(rows.groups, min(5, len(np.unique(rows.groups))), seed=rows.seed)
    error = np.zeros(len(_ALPHAS))
    for k in range(fold.max() + 1):
        train, test = fold != k, fold == k
        if not train.any():
            continue
        middle, level = rows.x[train].mean(axis=0), rows.y[train].mean()
        u, s, vt = np.linalg.svd(rows.x[train] - middle, full_matrices=False)
        shrunk = s[:, None] / (s[:, None] ** 2 + _ALPHAS) * (u.T @ (rows.y[train] - level))[:, None]
        guess = level + (rows.x[test] - middle) @ vt.T @ shrunk
        error += np.sum((rows.y[test, None] - guess) ** 2, axis=0)
    return float(_ALPHAS[np.argmin(error)])


def _elastic(rows: TrainingSet, like: Any) -> Any:
    """Elastic net (Zou & Hastie, J. R. Stat. Soc. B 67, 301 (2005)), penalties by grouped inner folds."""
    from sklearn.linear_model import ElasticNet, ElasticNetCV

    if like is not None:
        return ElasticNet(alpha=like.alpha, l1_ratio=like.l1_ratio).fit(rows.x, rows.y)
    fold = grouped_folds(rows.groups, min(5, len(np.unique(rows.groups))), seed=rows.seed)
    halves = [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in np.unique(fold)]
    if len(halves) < 2:
        return ElasticNet().fit(rows.x, rows.y)
    with _quietly():
        found = ElasticNetCV(l1_ratio=[0.1, 0.5, 0.9], alphas=30, cv=halves).fit(rows.x, rows.y)
        return ElasticNet(alpha=found.alpha_, l1_ratio=found.l1_ratio_).fit(rows.x, rows.y)


@contextmanager
def _quietly() -> Iterator[None]:
    """Let searches end at a bound or early without a word: that says "this does not matter", no fault."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


def _gaussian_process(rows: TrainingSet, like: Any) -> Any:
    """Gaussian process, squared-exponential plus noise (Rasmussen & Williams, MIT Press (2006))."""
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

    scale = float(np.sqrt(rows.x.shape[1]))  # typical distance between standardised points
    kernel = ConstantKernel(1.0, (1e-3, 1e3)) * RBF(scale, (0.1 * scale, 100 * scale))
    kernel = kernel + WhiteKernel(0.5, (1e-5, 1e1))
    kept = {"kernel": like.kernel_, "optimizer": None} if like is not None else {"kernel": kernel}
    x, y = rows.x, rows.y
    if len(y) > GP_ROWS:
        chosen = np.random.default_rng(rows.seed).choice(len(y), GP_ROWS, replace=False)
        x, y = x[chosen], y[chosen]
    with _quietly():
        return GaussianProcessRegressor(**kept, normalize_y=True, random_state=rows.seed).fit(x, y)


def _trees(rows: TrainingSet, _like: Any) -> Any:
    """Gradient-boosted trees (Friedman, Ann. Stat. 29, 1189 (2001)), on histograms, kept small."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    return HistGradientBoostingRegressor(
        max_iter=80,
        learning_rate=0.08,
        max_leaf_nodes=8,
        min_samples_leaf=int(np.clip(len(rows.y) // 20, 2, 20)),
        l2_regularization=1.0,
        early_stopping=False,  # its validation rows would split groups
        random_state=rows.seed,
    ).fit(rows.x, rows.y)


def _set(rows: TrainingSet, _like: Any) -> Any:
    return SetTransformer(rows.seed).fit(rows.x, rows.y, rows.bags)


MODELS: dict[str, Callable[[TrainingSet, Any], Any]] = {
    BASELINE: _mean,
    METADATA: _ridge,
    "ridge": _ridge,
    "elastic": _elastic,
    "gp": _gaussian_process,
    "trees": _trees,
    "set": _set,
}
