"""Departures from the lattice, and which of them belong to one defect.

A departure is a site without its column, a column on no site or far from its own, one of foreign brightness,
and where grains meet. Clear ones that touch are one candidate; faint ones stand alone, for the classifier to
dismiss. Large regions of empty sites are no defects: their rim is the edge of the sheet.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from micdb.embed import graph
from micdb.embed.defects.sites import Sites

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

BONDED = 1.35  # [spacing] between the first and second shell of common lattices
_TOUCHING = 1.3  # [spacing] of departures of one defect
_BRIGHT = 1.6  # brightness of a column that gathers departures: heavier atoms have longer bonds,
_GATHERED, _BRIGHT_APART = 1.45, 2.0  # [spacing] Si-C, and Si-Si or Si-C-Si, in graphene
_ALONG = 3.5  # [spacing] of dislocations in one grain boundary
_FAINT, _CLEAR = 2.3, 4.0  # [standard deviations of like columns]
_LEAST, _CLEARLY = 0.12, 0.2  # change of brightness
_GONE = 0.65  # brightness of a site that lacks its column
_DISPLACED = 0.2  # [spacing]
_OUTSHINES = 3.0  # times the typical brightness of a class that is not judged
_VOID = 12  # empty sites that touch: holes of more are pores
_RIM = 0.3  # [spacing] columns so near the edge of the view are cut


@dataclass(frozen=True, slots=True)
class Candidate:
    """Departures that touch.

    Parameters
    ----------
    nodes
        Indices of the sites and columns that depart ``(n,)``.
    clear
        Whether they do so beyond doubt.
    """

    nodes: Ints
    clear: bool


@dataclass(frozen=True, slots=True)
class Departures:
    """The candidates of an image.

    Parameters
    ----------
    candidates
        In the order of their first node.
    void
        Which sites lie in a hole or outside the sheet ``(n,)``.
    rim
        Which columns stand beside such a site ``(n,)``.
    border
        Which columns bond one of another grain ``(n,)``.
    """

    candidates: list[Candidate]
    void: Bools
    rim: Bools
    border: Bools


def departures(seen: Sites, shape: tuple[int, ...]) -> Departures:
    """Return the departures of a field of sites in an image of a shape ``(y, x)``."""
    inner = _room(seen.xy, shape) >= _RIM * seen.spacing
    empty = np.arange(len(seen.xy)) >= seen.columns
    change = (seen.ratio - 1) / seen.spread
    missing = empty & seen.judged & ~((seen.ratio >= _GONE) | (change > -_FAINT))  # also where not measured
    void = _voids(seen, missing, shape)
    rim = ~empty & seen.shown & _beside(seen.xy, void, seen.spacing)
    border = _border(seen)
    faint, clear = _foreign(seen, inner)
    stray = ~empty & inner & _stray(seen)
    moved = np.hypot(*np.nan_to_num(seen.shift).T) > _displaced(seen)
    clear |= (missing & ~void) | stray | (moved & inner & seen.judged) | border | rim
    faint &= ~void
    groups = _joined(seen, clear, border)
    away = ~_beside(seen.xy, clear, seen.spacing, reach=_GATHERED)
    groups += [Candidate(np.array([one]), False) for one in np.flatnonzero(faint & ~clear & away)]
    return Departures(sorted(groups, key=lambda one: int(one.nodes[0])), void, rim, border)


def _room(xy: Floats, shape: tuple[int, ...]) -> Floats:
    """Return the distance of each place to the edge of the view ``(n,)``."""
    far = np.array([shape[1] - 1, shape[0] - 1])
    return np.asarray(np.minimum(xy, far - xy).min(axis=1))


def _foreign(seen: Sites, inner: Bools) -> tuple[Bools, Bools]:
    """Return the places of foreign brightness, faintly and clearly."""
    change = np.nan_to_num(seen.ratio) - 1
    sure = np.abs(change) / seen.spread
    judged = seen.judged & inner & np.isfinite(seen.ratio)
    faint = judged & (np.abs(change) >= _LEAST) & (sure >= _FAINT)
    return faint, judged & (np.abs(change) >= _CLEARLY) & (sure >= _CLEAR)


def _stray(seen: Sites) -> Bools:
    """Return the columns on no site, or bright on a site of a class that hardly shows."""
    typical = np.zeros(len(seen.xy))
    for one in np.unique(seen.kind[seen.kind >= 0]):
        mine = seen.kind == one
        typical[mine] = np.nanmedian(seen.strength[mine])
    off = (seen.grain < 0) | (~seen.judged & (seen.strength > _OUTSHINES * typical))
    return np.asarray(off & seen.shown)


def _displaced(seen: Sites) -> float:
    """Return the displacement beyond which a column is out of place."""
    off = np.hypot(*seen.shift[: seen.columns].T)
    typical = float(np.nanmedian(off)) if np.isfinite(off).any() else 0.0
    return max(_DISPLACED * seen.spacing, 4 * typical)


def _border(seen: Sites) -> Bools:
    """Return the columns that bond one of another grain."""
    found = np.zeros(len(seen.xy), dtype=bool)
    i, j, _ = graph.neighbours(seen.xy[: seen.columns], BONDED * seen.spacing)
    two = (seen.grain[i] != seen.grain[j]) & (seen.grain[i] >= 0) & (seen.grain[j] >= 0)
    found[i[two]] = found[j[two]] = True
    return found


def _voids(seen: Sites, missing: Bools, shape: tuple[int, ...]) -> Bools:
    """Return the empty sites of holes: many that touch, or several at the edge of the view."""
    index = np.flatnonzero(missing)
    label = _components(seen.xy[index], _TOUCHING * seen.spacing)
    size = np.bincount(label, minlength=1)
    outer = _room(seen.xy[index], shape) < 1.5 * seen.spacing
    reaching = np.bincount(label, outer, len(size)) > 0
    hole = (size > _VOID) | (reaching & (size > 4))
    found = np.zeros(len(seen.xy), dtype=bool)
    found[index] = hole[label]
    return found


def _beside(xy: Floats, of: Bools, spacing: float, *, reach: float = BONDED) -> Bools:
    """Return what is near one of some places, they included."""
    if not of.any():
        return np.zeros(len(xy), dtype=bool)
    return np.asarray(cKDTree(xy[of]).query(xy)[0] <= reach * spacing)


def _joined(seen: Sites, clear: Bools, border: Bools) -> list[Candidate]:
    """Return the clear departures in groups.

    Bright columns gather what touches them; the rest gathers by itself, in steps of a bond: with wider ones
    the departures that noise makes would run together.
    """
    bright = clear & (np.nan_to_num(seen.ratio) >= _BRIGHT) & ~border
    lines = clear & border
    rest = clear & ~bright & ~lines
    groups = _groups(seen, bright, _BRIGHT_APART) + _groups(seen, lines, _ALONG)
    index = np.flatnonzero(rest)
    if groups and len(index):
        nodes = np.concatenate(groups)
        owner = np.repeat(np.arange(len(groups)), [len(one) for one in groups])
        off, nearest = cKDTree(seen.xy[nodes]).query(seen.xy[index])
        near = off <= _GATHERED * seen.spacing
        for one, group in zip(index[near], owner[nearest[near]], strict=True):
            groups[group] = np.append(groups[group], one)
        rest[index[near]] = False
    groups += _groups(seen, rest, _TOUCHING)
    return [Candidate(np.sort(one), True) for one in groups]


def _groups(seen: Sites, chosen: Bools, reach: float) -> list[Ints]:
    index = np.flatnonzero(chosen)
    label = _components(seen.xy[index], reach * seen.spacing)
    return [index[label == one] for one in np.unique(label)]


def _components(xy: Floats, reach: float) -> Ints:
    i, j, _ = graph.neighbours(xy, reach)
    links = coo_array((np.ones(len(i)), (i, j)), shape=(len(xy), len(xy)))
    return np.asarray(connected_components(links, directed=False)[1] if len(xy) else np.empty(0), np.int64)
