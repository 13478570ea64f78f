"""What the network is taught to draw for the defects of an image at one level."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from micdb.embed.stm.levels import NOMINAL

Floats = npt.NDArray[np.float64]
Map = npt.NDArray[np.float32]

SPOT = 2.5  # [pixel] standard deviation of the spot drawn for a defect: boxes are drawn no better
_REACH = 8  # [pixel]
_KNOWN = 0.3  # of a spot: there size and kind are taught


@dataclass(frozen=True, slots=True)
class Marks:
    """Defects of a level.

    Parameters
    ----------
    xy
        Centres ``(n, 2)`` as x, y [pixel].
    diameter
        ``(n,)`` [pixel].
    kind
        Number of the kind ``(n,)``.
    """

    xy: Floats
    diameter: Floats
    kind: npt.NDArray[np.int64]


def strength(marks: Marks, ends: tuple[bool, bool]) -> Floats:
    """Return how much each defect belongs to a level, 0 to 1 ``(n,)``.

    Half-way between two levels it belongs to both.

    Parameters
    ----------
    marks
        Defects in pixels of the level.
    ends
        Whether the level stands for all finer and all coarser ones as well.
    """
    octaves = np.log2(marks.diameter / NOMINAL)
    beyond = (ends[0] & (octaves < 0)) | (ends[1] & (octaves > 0))
    return np.asarray(np.where(beyond, 1.0, np.clip(1.5 - np.abs(octaves), 0.0, 1.0)))


def draw(marks: Marks, shape: tuple[int, int], ends: tuple[bool, bool]) -> Map:
    """Return the maps ``(3, y, x)`` of defects: presence, size, kind; the last two are -9 where not taught.

    Parameters
    ----------
    marks
        Defects in pixels of the level.
    shape
        ``(y, x)``.
    ends
        As for `strength`.
    """
    maps = np.full((3, *shape), -9.0, dtype=np.float32)
    maps[0] = 0.0
    octaves = np.log2(marks.diameter / NOMINAL)
    for (x, y), octave, kind, share in zip(marks.xy, octaves, marks.kind, strength(marks, ends), strict=True):
        if share > 0:
            _spot(maps, (x, y), (float(octave), float(kind)), share)
    return maps


def _spot(maps: Map, xy: tuple[float, float], taught: Sequence[float], share: float) -> None:
    """Draw one spot where it is higher than those before."""
    (x, y), (height, width) = xy, maps.shape[1:]
    left, top = int(np.rint(x)), int(np.rint(y))
    rows = np.arange(max(top - _REACH, 0), min(top + _REACH + 1, height))
    columns = np.arange(max(left - _REACH, 0), min(left + _REACH + 1, width))
    if not len(rows) or not len(columns):
        return
    down = np.exp(-0.5 * ((rows - y) / SPOT) ** 2)
    across = np.exp(-0.5 * ((columns - x) / SPOT) ** 2)
    spot = (share * np.outer(down, across)).astype(np.float32)
    part = maps[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    higher = spot > part[0]
    known = higher & (spot > _KNOWN * share)
    part[0][higher] = spot[higher]
    for channel, value in enumerate(taught, start=1):
        part[channel][known] = value
