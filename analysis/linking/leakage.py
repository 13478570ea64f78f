"""Ways in which a link could fool its reader, looked for in the rows it was learnt from."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from micdb.analysis.linking.design import SAMPLE, Design

PIXELS = "pixel_hash"
#: Columns that are looked at where there are any.
WATCHED = (PIXELS, SAMPLE)

_SAME = 0.9999  # correlation of a feature that is the target in other words


def leaks(design: Design) -> tuple[str, ...]:
    """Return what lets training rows tell of test rows, or the features of the target; a sentence each."""
    return (*_duplicates(design), *_split_samples(design), *_targets(design))


def _duplicates(design: Design) -> list[str]:
    if PIXELS not in design.table:
        return []
    shared = _shared(design.table[PIXELS], design.groups)
    if not shared.any():
        return []
    names = design.table[PIXELS][shared].nunique()
    return [
        f"{shared.sum()} rows are {names} pictures saved more than once, in different groups: what is "
        "learnt from one is asked of the other; leave the copies out"
    ]


def _split_samples(design: Design) -> list[str]:
    if SAMPLE not in design.table:
        return []
    split = _shared(design.table[SAMPLE], design.groups)
    if not split.any():
        return []
    count = design.table[SAMPLE][split].nunique()
    return [
        f"{count} samples lie in several groups: the same specimen is on both sides of a fold; group by "
        "sample as well"
    ]


def _targets(design: Design) -> list[str]:
    found = []
    middle = pd.Series(design.y).groupby(design.groups).mean()
    for name, column in design.features.columns.items():
        own = pd.Series(column).groupby(design.groups).mean()
        if np.ptp(own) > 0 and np.ptp(middle) > 0 and abs(np.corrcoef(own, middle)[0, 1]) > _SAME:
            found.append(
                f"{name} is the target in other words: over the groups their correlation is "
                f"{np.corrcoef(own, middle)[0, 1]:.5f}; leave it out unless it was known before"
            )
    for name in design.levels:
        labels = design.table[name].astype(str)
        spread = pd.Series(design.y, index=labels.index).groupby(labels).agg(np.ptp)
        if 1 < len(spread) < design.n_groups and float(spread.max()) == 0:
            found.append(
                f"each value of {name} has one value of the target: it may be a label of it, and no cause"
            )
    return found


def _shared(labels: pd.Series[str], groups: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which rows have a label that occurs in several groups ``(n,)``."""
    pairs = pd.DataFrame({"label": labels.to_numpy(), "group": groups})
    many = pairs.groupby("label")["group"].nunique()
    return np.asarray(pairs["label"].map(many).fillna(0).to_numpy() > 1)
