"""Crystal defects of an image from the probability of each kind at each pixel: objects, lines, fractions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from micdb.embed.micro.foil_maps import KINDS, labels
from micdb.embed.micro.fractions import Fraction, fraction
from micdb.embed.micro.instances import instances
from micdb.embed.micro.lines import lines
from micdb.embed.micro.objects import Objects, measure

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int32]

_PHASES = ("precipitate", "void")  # what fills an area; lines and loops do not
_FEWEST = 5  # objects whose median has a standard deviation


@dataclass(frozen=True, slots=True)
class FoilDefects:
    """Defects of one image.

    Parameters
    ----------
    label
        Kind of each pixel ``(y, x)``, its number in `KINDS` plus 1; 0 none.
    objects
        Loops, precipitates and voids [pixel].
    kind, score
        Of each ``(n,)``: its name and its mean probability.
    length
        Of lines, projected [pixel].
    length_sd
        Its standard deviation, relative; NaN where it cannot be told.
    phases
        Fraction and mean probability of precipitates, voids and the matrix.
    """

    label: Ints
    objects: Objects
    kind: npt.NDArray[np.str_]
    score: Floats
    length: float
    length_sd: float
    phases: Mapping[str, tuple[Fraction, float | None]]

    def sizes(self, kind: str) -> tuple[Floats, Floats]:
        """Return the diameters of a kind [pixel] and how many of its size each stands for, ``(n,)``.

        That of a loop is the long axis of its ellipse, of others that of the circle of equal area.
        """
        mine = self.kind == kind
        across = self.objects.major if kind == "loop" else self.objects.diameter
        return across[mine], self.objects.weight[mine]


def foil_defects(probability: npt.NDArray[np.float32], least: float) -> FoilDefects:
    """Return the defects of an image.

    Parameters
    ----------
    probability
        Of each of `KINDS` at each pixel ``(4, y, x)``.
    least
        Of a pixel that counts.
    """
    label = labels(probability, least)
    parts, kinds = _objects(label)
    objects = measure(parts)
    kind = kinds[objects.label]
    sums = np.stack([np.bincount(parts.ravel(), one.ravel(), len(kinds)) for one in probability])
    score = np.minimum(sums[kind, objects.label] / np.maximum(objects.area_px, 1), 1.0)
    found = lines(probability[0] >= least)
    share = fraction(found.skeleton)  # a skeleton is as wide everywhere: its length varies as its area
    off = share.sd / share.value if share.value else math.nan
    return FoilDefects(
        label, objects, np.array(KINDS)[kind], score, found.length, off, _fractions(label, probability)
    )


def _objects(label: Ints) -> tuple[Ints, Ints]:
    """Return loops, precipitates and voids ``(y, x)`` numbered from 1, and the number in `KINDS` of each."""
    parts, kinds = np.zeros(label.shape, dtype=np.int32), [np.zeros(1, dtype=np.int32)]
    for kind in range(1, len(KINDS)):
        mine, before = instances(label == kind + 1), sum(map(len, kinds)) - 1
        parts = np.where(mine > 0, mine + before, parts)
        kinds.append(np.full(mine.max(), kind, dtype=np.int32))
    return parts, np.concatenate(kinds)


def _fractions(label: Ints, probability: npt.NDArray[np.float32]) -> dict[str, tuple[Fraction, float | None]]:
    made: dict[str, tuple[Fraction, float | None]] = {}
    for name in _PHASES:
        mine = label == KINDS.index(name) + 1
        sure = float(probability[KINDS.index(name)][mine].mean()) if mine.any() else None
        made[name] = fraction(mine), sure
    numbers = [KINDS.index(name) + 1 for name in _PHASES]
    made["matrix"] = fraction(~np.isin(label, numbers)), None
    return made


def weighted_median(values: Floats, weight: Floats) -> tuple[float | None, float | None]:
    """Return the weighted median and its standard deviation, from the quantiles one of their own away."""
    if not len(values):
        return None, None
    order = np.argsort(values)
    share = (np.cumsum(weight[order]) - weight[order] / 2) / weight.sum()
    half = 0.5 / math.sqrt(len(values))  # standard deviation of the share below the median
    low, middle, high = np.interp([0.5 - half, 0.5, 0.5 + half], share, values[order])
    return float(middle), float(high - low) / 2 if len(values) >= _FEWEST else None
