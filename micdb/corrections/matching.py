"""Which defect of one table is which of another, by place."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

_NEAR_NM = 0.15  # two positions of one defect: about a bond
_NEAR_PX = 5.0  # where the scale is unknown


def matches(found: pd.DataFrame, truth: pd.DataFrame) -> dict[int, int]:
    """Return which of `found` is which of `truth`, by number: of one kind first, then the nearest; each once.

    Parameters
    ----------
    found, truth
        Defects of one image: ``kind``, ``frame``, ``x_px``, ``y_px``, ``box`` and ``pixel_size`` [nm].
    """
    if found.empty or truth.empty:
        return {}
    from scipy.spatial import cKDTree  # a third of a second, which no other command should wait for

    tree = cKDTree(places(truth))
    near = reach(truth)
    pairs = []
    for number, place in enumerate(places(found)):
        for other in tree.query_ball_point(place, float(near.max())):
            distance = float(np.linalg.norm(tree.data[other] - place))
            if distance <= near[other]:
                pairs.append(
                    (found["kind"].iloc[number] != truth["kind"].iloc[other], distance, number, other)
                )
    taken: dict[int, int] = {}
    for _, _, number, other in sorted(pairs):
        if number not in taken and other not in taken.values():
            taken[number] = other
    return taken


def places(rows: pd.DataFrame) -> npt.NDArray[np.float64]:
    """Return ``(n, 3)``: x and y [pixel], and the frame, far from the others."""
    return rows[["x_px", "y_px"]].assign(frame=rows["frame"] * 1e6).to_numpy(dtype=np.float64)


def reach(rows: pd.DataFrame) -> npt.NDArray[np.float64]:
    """Return how far from a defect an answer may be ``(n,)`` [pixel]: a bond, or half of its box."""
    by_scale = (_NEAR_NM / rows["pixel_size"].astype(float)).fillna(_NEAR_PX).to_numpy()
    half = [0.0 if box is None else min(box[2], box[3]) / 2 for box in rows["box"]]
    return np.maximum(by_scale, half)
