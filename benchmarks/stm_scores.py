"""Scores of detected defects against annotated boxes, with intervals over fields of view."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

Score = Callable[[np.ndarray], np.ndarray]

_SLACK = 1.0  # [pixel] of a box
_RESAMPLES = 2000


def matched(found: pd.DataFrame, boxes: pd.DataFrame, by: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Return which detections and which boxes belong together.

    A detection belongs to a box when its centre is in it; the surest detection chooses first, the box with
    the nearest centre, and each box is chosen once. `by` names a column that must agree as well.
    """
    corner = boxes[["x", "y"]].to_numpy(float)
    size = boxes[["width", "height"]].to_numpy(float)
    free, hit = np.ones(len(boxes), dtype=bool), np.zeros(len(found), dtype=bool)
    for one in np.argsort(-found["score"].to_numpy(), kind="stable"):
        place = found[["x", "y"]].to_numpy(float)[one]
        inside = ((place >= corner - _SLACK) & (place <= corner + size + _SLACK)).all(axis=1) & free
        if by is not None:
            inside &= boxes[by].to_numpy() == found[by].to_numpy()[one]
        if inside.any():
            off = np.linalg.norm(corner + size / 2 - place, axis=1)
            free[np.where(inside, off, np.inf).argmin()] = False
            hit[one] = True
    return hit, ~free


def counts(
    found: Mapping[str, pd.DataFrame], boxes: pd.DataFrame, fields: Mapping[str, str], by: str | None
) -> pd.DataFrame:
    """Return hits, false ones and missed ones by field and class (``any`` when `by` is None)."""
    rows = []
    for image, said in found.items():
        there = boxes[boxes["image"] == image]
        hit, taken = matched(said, there, by)
        for column, names, chosen in (("hit", said, hit), ("false", said, ~hit), ("missed", there, ~taken)):
            classes = names[by][chosen] if by else ["any"] * int(chosen.sum())
            rows += [(fields[image], one, column) for one in classes]
    table = pd.DataFrame(rows, columns=["field", "class", "what"])
    columns = ["hit", "false", "missed"]
    return (
        table.groupby(["field", "class", "what"])
        .size()
        .unstack(fill_value=0)
        .reindex(columns=columns, fill_value=0)
    )


def f1(counted: np.ndarray) -> np.ndarray:
    """Return F1 of hits, false and missed ones ``(..., 3)``."""
    hit, false, missed = np.moveaxis(np.asarray(counted, dtype=float), -1, 0)
    return 2 * hit / np.maximum(2 * hit + false + missed, 1)


def micro(counted: np.ndarray) -> np.ndarray:
    """Return the F1 of the counts of all classes ``(..., class, 3)`` together."""
    return f1(counted.sum(axis=-2))


def macro(counted: np.ndarray) -> np.ndarray:
    """Return the mean of F1 over the classes ``(..., class, 3)`` that have a box or a detection."""
    there = counted.sum(axis=-1) > 0
    return np.where(there, f1(counted), 0).sum(axis=-1) / np.maximum(there.sum(axis=-1), 1)


def by_field(table: pd.DataFrame) -> np.ndarray:
    """Return counts ``(field, class, 3)``."""
    wide = table.unstack("class", fill_value=0)
    return np.stack([wide[what].to_numpy() for what in ("hit", "false", "missed")], axis=-1)


def drawn(fields: int, seed: int = 0) -> np.ndarray:
    """Return how often each field is drawn, with replacement ``(resample, field)``."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(fields, np.full(fields, 1 / fields), size=_RESAMPLES)


def interval(table: pd.DataFrame, score: Score) -> tuple[float, float, float]:
    """Return a score over all fields and its 95 % interval over fields."""
    counted = by_field(table)
    resampled = score(np.tensordot(drawn(len(counted)), counted, axes=1))
    return float(score(counted.sum(axis=0))), *(float(one) for one in np.quantile(resampled, [0.025, 0.975]))


def difference(one: pd.DataFrame, other: pd.DataFrame, score: Score) -> tuple[float, float, float]:
    """Return how much higher the score of one detector is on the same fields, with its 95 % interval."""
    first, second = (by_field(table) for table in (one, other))
    weight = drawn(len(first))
    apart = score(np.tensordot(weight, first, axes=1)) - score(np.tensordot(weight, second, axes=1))
    value = float(score(first.sum(axis=0)) - score(second.sum(axis=0)))
    return value, *(float(quantile) for quantile in np.quantile(apart, [0.025, 0.975]))
