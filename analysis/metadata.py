"""What is known of an image without looking at it: if that says it all, the pixels prove nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_LEVELS = 20  # different texts that metadata may have: more are names
METADATA = (
    "pixel_size", "magnification", "accelerating_voltage", "working_distance", "dwell_time", "modality",
    "channel", "detector", "instrument", "lab", "height", "width",
)  # fmt: skip


def as_numbers(table: pd.DataFrame, columns: Sequence[str]) -> Floats:
    """Return columns as numbers: logarithms of what is positive, texts as 0 and 1, what is missing told."""
    blocks: list[Floats] = [np.zeros((len(table), 1))]  # a head needs something to look at
    for name in columns:
        values = table[name]
        if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
            plain = values.astype("Float64").to_numpy(np.float64, na_value=np.nan)
            plain = np.log(np.where(plain > 0, plain, np.nan))
            known = np.isfinite(plain)
            filled = np.where(known, plain, plain[known].mean() if known.any() else 0.0)
            blocks.append(np.column_stack([filled, known]))
        elif values.nunique() <= _LEVELS:
            blocks.append(pd.get_dummies(values.astype(object)).to_numpy(np.float64))
    whole = np.hstack(blocks)
    varied = whole[:, np.ptp(whole, axis=0) > 0]
    return varied if varied.shape[1] else whole[:, :1]
