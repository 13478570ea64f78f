"""How phases lie beside one another: thickness of films and networks, shared boundaries, denuded zones.

A denuded zone is the band along a network of carbide in which no particles are: its width is how far it is
from the boundary of the one to the next pixel of the other (DeCost et al., Microsc. Microanal. 25, 21, 2019).
Where the edge of the image is nearer than that, the next one may lie outside: such a place says only that it
is farther than the edge (Kaplan & Meier; of distances in images: Baddeley & Gill, Ann. Stat. 25, 263, 1997).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.morphology import skeletonize

from micdb.embed.micro.objects import shared_boundary

Bools = npt.NDArray[np.bool_]
Step = tuple[float, float]

_MOST = 4_000_000  # [pixel] of an image whose pixels are halved to measure what is one or two of them thick
_HALF = 0.5 + 1e-9  # rounding of the product


@dataclass(frozen=True, slots=True)
class Interface:
    """What is between two phases.

    Parameters
    ----------
    phase, other
        Labels.
    length
        Of their shared boundary; lengths are in the unit of the step.
    distance
        Median way from the boundary of `phase` to the next pixel of `other`: 0 where they touch all along,
        the width of a denuded zone where a third phase lies between. NaN where most may lie outside.
    """

    phase: int
    other: int
    length: float
    distance: float


def thickness(inside: Bools, step: Step = (1.0, 1.0)) -> float:
    """Return the median thickness of a phase along its middle line; NaN where there is none.

    Parameters
    ----------
    inside
        Pixels of the phase ``(y, x)``.
    step
        Size of a pixel along y and x, in any unit; that of the thickness.
    """
    if not inside.any() or inside.all():
        return math.nan
    halved = inside.size <= _MOST
    # In halves of pixels every width is even, so that the middle line is half a pixel beside the true middle.
    fine = np.repeat(np.repeat(inside, 2, axis=0), 2, axis=1) if halved else inside
    sampling = tuple(one / 2 for one in step) if halved else step
    deep = ndimage.distance_transform_edt(fine, sampling=sampling)
    middle = skeletonize(fine)  # type: ignore[no-untyped-call]
    return float(2 * np.median(deep[middle])) - (0.0 if halved else min(step))


def interfaces(labels: npt.NDArray[np.integer], step: Step = (1.0, 1.0)) -> Iterator[Interface]:
    """Yield each ordered pair of phases that are both there.

    Parameters
    ----------
    labels
        ``(y, x)``, negative where nothing is known.
    step
        Size of a pixel along y and x, in any unit; that of the lengths.
    """
    there = [int(one) for one in np.unique(labels) if one >= 0]
    outside = _to_edge(labels, step)
    rims = {one: _rim(labels == one, labels >= 0) for one in there}
    lengths: dict[tuple[int, int], float] = {}
    for other in there:
        away = ndimage.distance_transform_edt(labels != other, sampling=step)
        for phase in there:
            if phase == other:
                continue
            pair = (min(phase, other), max(phase, other))
            if pair not in lengths:
                lengths[pair] = shared_boundary(labels == pair[0], labels == pair[1], step)
            median = _median(away[rims[phase]], outside[rims[phase]])
            # From the edge of the one pixel to that of the other, not from centre to centre.
            distance = float(np.maximum(median - math.sqrt(math.prod(step)), 0.0))
            yield Interface(phase, other, lengths[pair], distance)


def _median(away: npt.NDArray[np.float64], limit: npt.NDArray[np.float64]) -> float:
    """Return the median of distances ``(n,)`` that are seen up to a limit each; NaN where it is not seen."""
    if not len(away):
        return math.nan
    order = np.argsort(np.minimum(away, limit), kind="stable")
    seen = (away <= limit)[order]
    farther = np.cumprod(1 - seen / np.arange(len(away), 0, -1))
    half = np.flatnonzero(farther <= _HALF)
    return float(away[order][half[0]]) if len(half) else math.nan


def _rim(inside: Bools, known: Bools) -> Bools:
    """Return the pixels of a phase that have another beside them."""
    return np.asarray(inside & ndimage.binary_dilation(~inside & known))


def _to_edge(labels: npt.NDArray[np.integer], step: Step) -> npt.NDArray[np.float64]:
    """Return how far each pixel is from what is not known."""
    known = np.pad(labels >= 0, 1)
    return np.asarray(ndimage.distance_transform_edt(known, sampling=step)[1:-1, 1:-1])
