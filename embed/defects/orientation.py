"""Grains of a field of columns, by the direction of their bonds.

The bond-orientational order of a column (Nelson and Halperin, Phys. Rev. B 19, 2457, 1979), averaged over
its neighbours, has a phase that turns with the lattice; columns whose phases agree with those of their
neighbours are one grain. In a polar honeycomb the order is threefold and signed by brightness, so that mirror
twins, which a sixfold order cannot tell apart, are two grains.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from micdb.embed import graph

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Columns that belong to no grain.
NO_GRAIN = -1
_AROUND = 2.2  # [neighbour distance] over which the order is averaged
_SPREAD = 1.2  # [deg] of directions within a grain
_VALLEY = 0.6  # of the lower of two maxima: directions with a shallower valley between them are one grain's
_APART = 4.0  # [deg] of the directions of two grains; less is strain, or a row of far dislocations
_ORDERED = 0.35  # of the largest order that the symmetry allows: below, a column has no direction
_FEWEST = 20  # columns of a grain
_POLAR = 1.25  # ratio of the brightness of bonded columns, above which they are two kinds,
_AGREED = 0.85  # if all of a column's neighbours say the same; in noise 0.67 of them do


def grains(xy: Floats, brightness: Floats, spacing: float) -> tuple[Ints, int]:
    """Return the grain of each column ``(n,)``, and the symmetry of the order it was told by: 3, 4 or 6.

    Grains are numbered by falling size; a column is in `NO_GRAIN` where it has none.

    Parameters
    ----------
    xy
        Positions ``(n, 2)``, in any unit.
    brightness
        ``(n,)``, positive.
    spacing
        Distance of neighbours, in the unit of the positions.
    """
    fold, order = _order(xy, brightness, spacing)
    near = graph.neighbours(xy, _AROUND * spacing)[:2]
    count = np.maximum(_summed(np.ones(len(xy)), *near).real, 1.0)
    mean = _summed(_summed(order, *near) / count, *near) / count
    i, j = near
    clear = np.abs(mean) >= _ORDERED * max(float(np.median(np.abs(order))), 1e-12)
    direction = _directions(np.degrees(np.angle(mean)) / fold, 360.0 / fold, clear)
    same = (direction[i] == direction[j]) & clear[i] & clear[j]
    links = coo_array((np.ones(int(same.sum())), (i[same], j[same])), shape=(len(xy), len(xy)))
    label = connected_components(links, directed=False)[1]
    size = np.bincount(label)
    ranked = np.argsort(-size, kind="stable")
    ranked = ranked[size[ranked] >= min(_FEWEST, size.max(initial=0))]
    number = np.full(len(size), NO_GRAIN)
    number[ranked] = np.arange(len(ranked))
    return np.asarray(number[label], dtype=np.int64), fold


def _directions(angle: Floats, period: float, clear: npt.NDArray[np.bool_]) -> Ints:
    """Return which of the frequent directions each column has ``(n,)``, cut where directions are rare."""
    bins = 8 * round(period)
    place = np.floor(angle % period / period * bins).astype(np.int64) % bins
    smooth = ndimage.gaussian_filter1d(
        np.bincount(place[clear], minlength=bins).astype(float), _SPREAD / period * bins, mode="wrap"
    )
    tops: Ints = np.flatnonzero((smooth > np.roll(smooth, 1)) & (smooth >= np.roll(smooth, -1)))
    while len(tops) > 1:
        following = np.roll(tops, -1)
        valleys = [
            smooth[_between(one, other, bins)].min() for one, other in zip(tops, following, strict=True)
        ]
        depth = np.array(valleys) / np.minimum(smooth[tops], smooth[following])
        worst = int(np.argmax(depth))
        apart = (following - tops) % bins * period / bins
        if apart.min() < _APART:
            worst = int(np.argmin(apart))
        elif depth[worst] < _VALLEY:
            break
        pair = [worst, (worst + 1) % len(tops)]
        tops = np.delete(tops, min(pair, key=lambda one: smooth[tops[one]]))
    if len(tops) < 2:
        return np.zeros(len(angle), dtype=np.int64)
    cuts = np.sort([
        _between(one, other, bins)[np.argmin(smooth[_between(one, other, bins)])]
        for one, other in zip(tops, np.roll(tops, -1), strict=True)
    ])  # fmt: skip
    return np.asarray(np.searchsorted(cuts, place, side="right") % len(cuts), dtype=np.int64)


def _between(one: np.integer, other: np.integer, bins: int) -> Ints:
    return np.asarray(np.arange(one, other + (bins if other <= one else 0)) % bins, dtype=np.int64)


def _order(xy: Floats, brightness: Floats, spacing: float) -> tuple[int, npt.NDArray[np.complex128]]:
    """Return the symmetry of the bonds, 3, 4 or 6, and the order of each column ``(n,)``."""
    i, j, _ = graph.neighbours(xy, 1.35 * spacing)
    angle = np.arctan2(*(xy[j] - xy[i]).T[::-1]) if len(i) else np.empty(0)
    count = np.maximum(graph.coordination(len(xy), i, j), 1)
    found = {}
    for fold in (4, 6):
        wave = np.exp(1j * fold * angle)  # the same from both ends
        found[fold] = (_added(wave, i, len(xy)) + _added(wave, j, len(xy))) / count
    best = max(found, key=lambda fold: float(np.median(np.abs(found[fold]))))
    if best == 4 or not _polar(brightness, i, j):
        return best, found[best]
    sign = np.sign(brightness[i] - brightness[j])
    # from the bright end outwards, and from the dim end inwards: both sublattices have one phase
    wave = sign * np.exp(3j * angle)
    return 3, (_added(wave, i, len(xy)) + _added(wave, j, len(xy))) / count


def _polar(brightness: Floats, i: npt.NDArray[np.integer], j: npt.NDArray[np.integer]) -> bool:
    """Return whether columns are brighter than all of their neighbours or dimmer than all."""
    if not len(i):
        return False
    ratio = np.log(brightness[i] / brightness[j])
    sign = np.sign(ratio)
    n = len(brightness)
    count = graph.coordination(n, i, j)
    agreed = np.abs(np.bincount(i, sign, n) - np.bincount(j, sign, n)) / np.maximum(count, 1)
    return bool(np.median(np.abs(ratio)) > np.log(_POLAR) and agreed[count > 1].mean() > _AGREED)


def _added(
    values: npt.NDArray[np.complex128], index: npt.NDArray[np.integer], n: int
) -> npt.NDArray[np.complex128]:
    return np.bincount(index, values.real, n) + 1j * np.bincount(index, values.imag, n)


def _summed(
    values: npt.NDArray[np.number], i: npt.NDArray[np.integer], j: npt.NDArray[np.integer]
) -> npt.NDArray[np.complex128]:
    """Return each column's value plus those of its neighbours."""
    value = np.asarray(values, dtype=np.complex128)
    return value + _added(value[j], i, len(value)) + _added(value[i], j, len(value))
