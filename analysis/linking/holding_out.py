"""Whole labs, instruments or batches held out: whether what was learnt elsewhere holds there."""

from __future__ import annotations

import numpy as np
import pandas as pd

from micdb.analysis import scores
from micdb.analysis.folds import MIN_GROUPS
from micdb.analysis.linking import models
from micdb.analysis.linking.design import Design
from micdb.analysis.linking.taught import source, teach


def held_out(design: Design, name: str, *, by: str, seed: int) -> pd.DataFrame:
    """Return how a model does on each label of a column when it is taught without that label.

    Parameters
    ----------
    design
        What is linked; rows without a label are left out.
    name
        Key of `models.MODELS`.
    by
        Column of the labels.
    seed
        Of the models.

    Returns
    -------
    DataFrame
        One row per label: it, ``rows``, ``groups``, ``mae`` and ``mae_baseline`` (the mean of the other
        labels), ``bias`` (mean of predicted less observed) [target's unit], and ``r2`` within the label.
        Empty with fewer than two labels; a label is left out where the others hold fewer than 5 groups.
    """
    labels = design.table[by].astype(object).where(design.table[by].notna(), None).to_numpy()
    known = np.array([label is not None for label in labels])
    rows = []
    names = sorted({str(label) for label in labels[known]})
    for label in names if len(names) > 1 else []:
        test = np.flatnonzero(known & (labels.astype(str) == label))
        others = np.flatnonzero(known & ~np.isin(design.groups, design.groups[test]))
        if len(np.unique(design.groups[others])) < MIN_GROUPS:
            continue
        taught = teach(design, (models.BASELINE, name), rows=others, seed=seed)
        y = design.y[test]
        guess, mean = (taught[one].predict(source(design, one).of(test)) for one in (name, models.BASELINE))
        rows.append({
            by: label, "rows": len(test), "groups": len(np.unique(design.groups[test])),
            "mae": scores.mae(y, guess), "mae_baseline": scores.mae(y, mean),
            "bias": float(np.mean(guess - y)),
            "r2": scores.r2(y, guess) if np.ptp(y) > 0 else np.nan,
        })  # fmt: skip
    columns = [by, "rows", "groups", "mae", "mae_baseline", "bias", "r2"]
    made = pd.DataFrame(rows, columns=columns)
    if design.unit:
        made.attrs["units"] = dict.fromkeys(("mae", "mae_baseline", "bias"), design.unit)
    return made
