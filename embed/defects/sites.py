"""A field of columns and of the sites that its lattices have: what is where, and how bright.

Every site in the view is measured, whether a column was found on it or not: all intensities are solved for
together, so that a missed column is not a vacancy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from micdb.embed import graph
from micdb.embed.atoms.find import Columns, averaged
from micdb.embed.atoms.scattering import intensities
from micdb.embed.atoms.species import Candidate, assign
from micdb.embed.defects.brightness import classes, ratios
from micdb.embed.defects.grain_lattices import grain_lattices
from micdb.embed.defects.local_lattice import LocalLattice
from micdb.embed.defects.orientation import NO_GRAIN

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_BRIGHT = 0.8  # quantile of the heights that stands for the strongest columns
_DIM = 0.085  # of it: dimmer columns come and go with the noise
_FAINT = 0.3  # of it: noise moves dimmer columns off their sites, and makes some
_VISIBLE = 0.15  # brightness over that of the strongest class, of columns on no site that take part
_NARROW = 1.15  # of the width of columns fitted each with an offset of its own, which takes what they spread
_TAIL = 0.1  # share of the column profile that is twice as wide; what lens tails leave in most images
_FINE = 1.5  # [pixel] a column that is wider loses nothing when pixels are averaged
KNOTS = 2.5  # [spacing] of the background, which must not follow single columns
_ALONE = 0.55  # [spacing] an empty site closer to a column is not measured beside it
_FULL = 0.6  # of a class whose sites carry a column; with less the class is not judged
_WEAK = 0.1  # brightness of a class over that of the brightest; less is not judged
_FOREIGN = 1.1  # [spacing] an empty site so near a column of another grain is the boundary's
_WITHIN = 0.25  # [spacing] from the edge of the view, for an empty site to be seen


@dataclass(frozen=True, slots=True)
class Sites:
    """Columns and empty sites of an image, columns first.

    Parameters
    ----------
    xy
        Places ``(n, 2)`` [pixel].
    columns
        Number of columns.
    grain
        Of each ``(n,)``; -1 for columns on no lattice.
    shift
        From its predicted place ``(n, 2)`` [pixel]; NaN on no lattice, zero where there is no column.
    kind
        Class of like sites ``(n,)``, over all grains; -1 for none.
    ratio
        Brightness over that of like sites nearby ``(n,)``; of columns on no lattice over that of the
        strongest class; NaN where it was not measured.
    spread
        Of that ratio in its class ``(n,)``.
    strength
        Brightness over that of the strongest class ``(n,)``.
    judged
        Whether its class is one whose departures can be seen ``(n,)``.
    spacing
        Shortest distance of two sites [pixel].
    cell_area
        Area of a site, the mean over the largest grain [pixel**2].
    probability
        Of a column ``(n,)``; 0 for an empty site.
    """

    xy: Floats
    columns: int
    grain: Ints
    shift: Floats
    kind: Ints
    ratio: Floats
    spread: Floats
    strength: Floats
    judged: Bools
    spacing: float
    cell_area: float
    probability: Floats

    @property
    def shown(self) -> Bools:
        """Which take part ``(n,)``: all on a lattice, and what is bright enough to be seen at any dose."""
        return np.asarray((self.kind >= 0) | (self.strength >= _VISIBLE))


def sites(image: Floats, found: Columns) -> Sites | str:
    """Return the sites of an image ``(y, x)`` whose columns are known, or why it has no lattice."""
    xy = np.column_stack((found.fit.x, found.fit.y))
    height = np.maximum(found.fit.height, 1e-12)
    height = height / np.quantile(height, _BRIGHT)
    strong = np.flatnonzero(height >= _DIM)
    while True:
        if len(strong) < 12:
            return f"{len(strong)} columns; at least 12 are needed to see a lattice"
        near = float(np.median(graph.nearest_distances(xy[strong])))
        lattices = grain_lattices(image, xy, height, strong, near)
        if not lattices:
            return f"the {len(xy)} columns stand on no lattice"
        seen = _measured(image, found, height, lattices)
        kept = strong[height[strong] >= _least(seen, height)]
        if len(kept) == len(strong):
            return seen
        strong = kept


def _least(seen: Sites, height: Floats) -> float:
    """Return the height between those of sites bright enough to be judged and of sites too dim for it.

    Of oxygen beside strontium noise shows as many columns as the dose allows: with them in it the lattice of
    one crystal would be another one at each dose.
    """
    dim: list[float] = [0.0]
    bright: list[float] = []
    for one in np.unique(seen.kind[seen.kind >= 0]):
        mine = np.flatnonzero(seen.kind[: seen.columns] == one)
        if len(mine):
            typical = float(np.median(height[mine]))
            (bright if np.median(seen.strength[mine]) >= _WEAK else dim).append(typical)
    return math.sqrt(max(dim) * min(bright))


def _measured(image: Floats, found: Columns, height: Floats, lattices: list[LocalLattice]) -> Sites:
    xy = np.column_stack((found.fit.x, found.fit.y))
    n, spacing = len(xy), lattices[0].spacing
    grain, shift = np.full(n, NO_GRAIN), np.full((n, 2), np.nan)
    for number, lattice in enumerate(lattices):
        column = lattice.column
        on = column >= 0
        grain[column[on]] = number
        shift[column[on]] = xy[column[on]] - lattice.place[on]
    empty = [_empty(lattice, xy, grain, number, image.shape) for number, lattice in enumerate(lattices)]
    free = np.concatenate([lattice.place[mine] for lattice, mine in zip(lattices, empty, strict=True)])
    doubtful = (grain == NO_GRAIN) & (height < _FAINT)
    if len(free):  # it may be what is left of that site's own, or noise in its stead
        doubtful &= (height < _VISIBLE) | (cKDTree(free).query(xy)[0] < _ALONE * spacing)
    sigma = _NARROW * float(np.median(found.fit.sigma))
    value = _intensities(image, xy, free, ~doubtful, sigma=sigma, spacing=spacing)
    places = np.concatenate((xy, free))
    kind, ratio, spread, judged = _compared(lattices, empty, places, value, n)
    typical = _strongest(kind[:n], value[:n])
    off = kind < 0
    ratio[off] = value[off] / typical
    more = len(free)
    grain = np.concatenate((grain, *(np.full(len(mine), k) for k, mine in enumerate(empty))))
    shift = np.concatenate((shift, np.zeros((more, 2))))
    probability = np.concatenate((found.probability, np.zeros(more)))
    area = lattices[0].cell_area / (int(lattices[0].site.max()) + 1)
    return Sites(
        places, n, grain, shift, kind, ratio, spread, value / typical, judged, spacing, area, probability
    )


def _compared(
    lattices: list[LocalLattice], empty: list[Ints], places: Floats, value: Floats, columns: int
) -> tuple[Ints, Floats, Floats, Bools]:
    """Return class, ratio to it, spread of that and whether it is judged, of all columns and sites."""
    n = len(places)
    kind, judged = np.full(n, -1), np.zeros(n, dtype=np.bool_)
    ratio, spread = np.full(n, np.nan), np.full(n, np.inf)
    start, first = columns, 0
    for lattice, mine in zip(lattices, empty, strict=True):
        on = np.flatnonzero(lattice.column >= 0)
        index = np.concatenate((lattice.column[on], start + np.arange(len(mine))))
        key = np.concatenate((on, mine))
        start += len(mine)
        occupied = np.arange(len(index)) < len(on)
        label = classes(lattice.cell[key], lattice.site[key], value[index])
        kind[index] = first + label
        first += int(label.max()) + 1
        ratio[index], spread[index] = ratios(places[index], label, value[index], occupied)
        judged[index] = _judged(label, value[index], occupied)
    return kind, ratio, spread, judged


def _empty(lattice: LocalLattice, xy: Floats, grain: Ints, number: int, shape: tuple[int, ...]) -> Ints:
    """Return the sites in the view without a column that are this grain's."""
    free = np.flatnonzero(lattice.column < 0)
    place = lattice.place[free]
    room = _WITHIN * lattice.spacing
    seen = ((place >= room) & (place <= np.array([shape[1], shape[0]]) - 1 - room)).all(axis=1)
    on = np.flatnonzero(grain != NO_GRAIN)
    nearest = grain[on][cKDTree(xy[on]).query(place)[1]]
    others = on[grain[on] != number]
    if len(others):
        seen &= cKDTree(xy[others]).query(place)[0] > _FOREIGN * lattice.spacing
    return np.asarray(free[seen & (nearest == number)], dtype=np.int64)


def _intensities(
    image: Floats, columns: Floats, empty: Floats, sure: Bools, *, sigma: float, spacing: float
) -> Floats:
    """Return the intensity of the sure ones of columns and of empty sites ``(n,)``.

    NaN for doubtful columns, and for empty sites that a sure one stands beside.
    """
    alone = cKDTree(columns[sure]).query(empty)[0] >= _ALONE * spacing if len(empty) else np.empty(0, bool)
    asked, places = np.concatenate((sure, alone)), np.concatenate((columns, empty))
    factor = max(int(sigma / _FINE), 1)
    coarse, at = averaged(image, factor), (places[asked] + 0.5) / factor - 0.5
    value = np.full(len(places), np.nan)
    value[asked] = intensities(coarse, at, sigma / factor, tail=_TAIL, knots=KNOTS * spacing / factor)
    return value


def _judged(label: Ints, value: Floats, occupied: Bools) -> Bools:
    """Return which sites belong to a class that is mostly there, and bright enough."""
    count = np.maximum(np.bincount(label), 1)
    full = np.bincount(label, occupied) / count >= _FULL
    bright = np.array([
        np.median(value[(label == one) & occupied]) if ((label == one) & occupied).any() else 0.0
        for one in range(len(count))
    ])  # fmt: skip
    return np.asarray((full & (bright >= _WEAK * bright.max()))[label], dtype=np.bool_)


def _strongest(kind: Ints, value: Floats) -> float:
    """Return the typical brightness of the brightest class of columns."""
    medians = [float(np.median(value[kind == one])) for one in np.unique(kind[kind >= 0])]
    return max(max(medians, default=0.0), 1e-300)


def species_of(seen: Sites, possible: tuple[Candidate, ...]) -> list[str] | None:
    """Return the most probable species of each column, by its brightness; None without candidates.

    A column that was not measured, which noise may have made, has that of most others.
    """
    if not possible:
        return None
    measured = np.isfinite(seen.strength[: seen.columns])
    strength = seen.strength[: seen.columns][measured]
    spread = seen.spread[: seen.columns][measured]
    known = np.isfinite(spread)
    typical = float(np.median(spread[known])) if known.any() else 0.1
    sd = np.where(known, spread, typical) * np.median(np.abs(strength))
    found = assign(strength, sd, possible)[0]
    index = np.full(seen.columns, np.bincount(found).argmax())
    index[measured] = found
    return [possible[one].name for one in index.tolist()]
