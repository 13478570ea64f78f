"""Which sample to measure next: the one that would teach most about all that are not measured."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from micdb.analysis.linking.design import Design
from micdb.analysis.linking.taught import teach
from micdb.errors import UsageError

Floats = NDArray[np.float64]

_MOST = 2000  # groups whose covariance is held: 32 MB


def next_samples(design: Design, n: int, *, seed: int) -> pd.DataFrame:
    """Return the groups without a target to measure next, the most telling first.

    A Gaussian process over the features says how uncertain each is, and how much a measurement of one would
    tell of the others: greedily, the sum of their variances is made least (Cohn, Ghahramani & Jordan, J.
    Artif. Intell. Res. 4, 129 (1996); Seo et al., IJCNN 2000). The features of a group are the mean of its
    images'.

    Parameters
    ----------
    design
        What is linked, with the rows that wait for a target.
    n
        How many; fewer come back where fewer are left.
    seed
        Of the process, and of the choice where there are very many.

    Returns
    -------
    DataFrame
        ``group``, ``rows``, ``predicted`` and its standard deviation ``sd`` [target's unit], and
        ``gain``: the share of the variance of all that are not measured which it takes away, after those
        before it.

    Raises
    ------
    UsageError
        No row lacks the target alone.
    """
    waiting = design.waiting
    if not len(waiting.uids):
        raise UsageError(
            f"no row lacks {design.formula.target.text} alone: bring samples that are not "
            "measured in, and link again"
        )
    process = teach(design, ("gp",), rows=np.arange(len(design.y)), seed=seed)["gp"]
    names, number, images = np.unique(waiting.labels.astype(str), return_inverse=True, return_counts=True)
    x = process.reduction.transform(waiting.features)
    middle = np.stack([np.bincount(number, column) for column in x.T], axis=1) / images[:, None]
    if len(names) > _MOST:
        kept = np.sort(np.random.default_rng(seed).choice(len(names), _MOST, replace=False))
        names, images, middle = names[kept], images[kept], middle[kept]
    predicted, covariance = process.model.predict(middle, return_cov=True)
    noise = _noise(process.model)
    spread = np.sqrt(np.maximum(np.diag(np.atleast_2d(covariance)), 0.0))
    order, gains = _greedy(np.atleast_2d(covariance) - noise * np.eye(len(names)), min(n, len(names)), noise)
    made = pd.DataFrame({
        "group": names[order], "rows": images[order], "predicted": predicted[order],
        "sd": spread[order], "gain": gains,
    })  # fmt: skip
    if design.unit:
        made.attrs["units"] = dict.fromkeys(("predicted", "sd"), design.unit)
    return made


def _greedy(covariance: Floats, n: int, noise: float) -> tuple[list[int], list[float]]:
    """Return which to measure with that much noise, and what share of all variance each takes away."""
    left, whole = covariance.copy(), max(float(np.trace(covariance)), 1e-300)
    order: list[int] = []
    gains: list[float] = []
    for _ in range(n):
        gain = np.square(left).sum(axis=0) / (np.maximum(np.diag(left), 0.0) + noise)
        gain[order] = -np.inf
        best = int(np.argmax(gain))
        order.append(best)
        gains.append(float(gain[best]) / whole)
        left -= np.outer(left[:, best], left[best]) / (left[best, best] + noise)
    return order, gains


def _noise(process: object) -> float:
    """Return the variance of a measurement in the target's unit, which the kernel's white part says."""
    from sklearn.gaussian_process.kernels import WhiteKernel

    scale = float(process._y_train_std) ** 2  # type: ignore[attr-defined]
    parts = [process.kernel_.k1, process.kernel_.k2]  # type: ignore[attr-defined]
    return scale * sum(float(one.noise_level) for one in parts if isinstance(one, WhiteKernel))
