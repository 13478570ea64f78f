"""How well found positions agree with planted ones."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from micdb.embed.simulate.stem import StemImage

_TOLERANCE = 0.06  # [nm] under half of the shortest distance of columns, 0.142 nm
_BORDER = 0.08  # [nm] columns so near the edge are cut: neither a hit nor a miss


class Score(NamedTuple):
    """Detection and precision.

    Parameters
    ----------
    f1
        Harmonic mean of precision and recall, each planted column matched once.
    rms
        Root mean square error along one axis of the matched columns [nm].
    """

    f1: float
    rms: float


def score(found: npt.NDArray[np.floating], simulated: StemImage) -> Score:
    """Compare positions ``(n, 2)`` as x, y [nm] with the truth of a simulated image."""
    truth, extent = simulated.xy, (np.array(simulated.image.shape[::-1]) - 1) * simulated.pixel_size
    distance, nearest = cKDTree(truth).query(found, distance_upper_bound=_TOLERANCE)
    order = np.argsort(distance, kind="stable")
    order = order[np.isfinite(distance[order])]
    _, first = np.unique(nearest[order], return_index=True)
    matched = order[first]
    rest = np.delete(np.arange(len(found)), matched)
    missed = np.delete(np.arange(len(truth)), nearest[matched])
    wrong = _inside(found[rest], extent).sum() + _inside(truth[missed], extent).sum()
    hits = len(matched)
    error = np.square(distance[matched]).mean() / 2 if hits else np.nan
    return Score(float(2 * hits / max(2 * hits + wrong, 1)), float(np.sqrt(error)))


def _inside(xy: npt.NDArray[np.floating], extent: npt.NDArray[np.floating]) -> npt.NDArray[np.bool_]:
    return np.asarray(((xy > _BORDER) & (xy < extent - _BORDER)).all(axis=1))
