"""Size distributions of particles, with intervals: quantiles, mean, number per area, histogram.

Large particles touch the edge of an image more often, and those that do are not measured whole; each of
the others stands for as many as its ``weight`` says (Miles, in Stochastic Geometry, Wiley 1974, 228).
Particles of one image are alike, so intervals come from drawing whole images anew (Davison and Hinkley,
Bootstrap Methods and their Application, 1997, section 3.8), with Student's t since images are few
(Hesterberg, Am. Stat. 69, 371, 2015).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import stdtrit

from micdb.errors import UsageError

if TYPE_CHECKING:
    from micdb.query.frame import Frame

Floats = npt.NDArray[np.float64]
Resampled = Literal["images", "particles"]

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)

_CHUNK = 4_000_000  # weights of particles in draws that are held at once
_BINS = 12
_LONGEST = 50.0  # logarithm of the widest ratio of an interval: two images may tell nothing
_UNITS = ("nm", "nm2", "px", "deg")  # at the end of a column's name


@dataclass(frozen=True, slots=True, eq=False)
class SizeDistribution:
    """How large particles are.

    Parameters
    ----------
    statistics
        One row each: ``mean``, ``sd``, ``q0.1``, ..., ``median``, and ``density`` where areas are known;
        columns ``value``, ``low``, ``high``, ``unit``.
    histogram
        One row for each bin: ``from``, ``to``, ``share`` (of the particles), ``low``, ``high``, ``n``.
    column
        What was measured.
    level
        Of the intervals.
    n
        Particles that count: those the edge does not cut.
    images
        On how many images.
    resampled
        What was drawn anew for the intervals. ``particles``: there is one image, and how much images differ
        is not in the interval.
    """

    statistics: pd.DataFrame
    histogram: pd.DataFrame
    column: str
    level: float
    n: int
    images: int
    resampled: Resampled

    def __getitem__(self, statistic: str) -> float:
        """Return the value of a statistic."""
        return float(self.statistics["value"][statistic])

    def interval(self, statistic: str) -> tuple[float, float]:
        """Return the interval of a statistic."""
        return float(self.statistics["low"][statistic]), float(self.statistics["high"][statistic])


def size_distribution(
    particles: pd.DataFrame | Frame,
    column: str = "diameter_nm",
    *,
    area_nm2: Mapping[Any, float] | pd.Series | None = None,
    quantiles: Sequence[float] = QUANTILES,
    bins: int | Sequence[float] = _BINS,
    level: float = 0.95,
    draws: int = 400,
    seed: int = 0,
) -> SizeDistribution:
    """Return the distribution of a size or a shape over particles, weighted for what edges cut.

    Parameters
    ----------
    particles
        Rows of the table ``particles``, as ``db.particles`` has them: `column`, ``image`` and ``weight``.
        Rows without a size, or of weight 0, do not count.
    column
        ``diameter_nm``, ``circularity``, or any other number.
    area_nm2
        Area that was looked at, by image, its frames together [nm**2]; also of images without particles. For
        the number density.
    quantiles
        Which, 0 to 1; the median is always among them.
    bins
        Number of bins of equal width, or their edges.
    level
        Of the intervals, 0 to 1.
    draws
        Of the bootstrap.
    seed
        Of the draws.

    Raises
    ------
    UsageError
        A column or an area is missing, no particle counts, or a number is out of its range.
    """
    rows = particles if isinstance(particles, pd.DataFrame) else particles.to_pandas()
    _check(rows, column, quantiles, level, draws)
    use = rows[rows[column].notna() & (rows["weight"].fillna(0.0) > 0)]
    if use.empty:
        raise UsageError(
            f"none of {len(rows)} particles has a {column} and touches no edge; expected one at least"
        )
    value = use[column].to_numpy(np.float64)
    order = np.argsort(value, kind="stable")
    value, weight = value[order], use["weight"].to_numpy(np.float64)[order]
    area = _areas(rows["image"], area_nm2)
    image = area.index.get_indexer(pd.Index(use["image"]))[order]
    edges = np.histogram_bin_edges(value, bins)
    asked = _Asked(value, edges, tuple(sorted({*map(float, quantiles), 0.5})))
    said = asked.of(weight[None], np.array([area.sum()]))[0]
    resampled: Resampled = "particles" if len(area) == 1 else "images"
    found = np.concatenate([
        asked.of(weight * times, total)
        for times, total in _draws(image, area.to_numpy(), resampled, draws, np.random.default_rng(seed))
    ])  # fmt: skip
    low, high = _ends(said, found, level, len(area) if resampled == "images" else len(value))
    whole = pd.DataFrame({"value": said, "low": low, "high": high}, index=asked.names)
    statistics, shares = _tables(whole, asked, column)
    shares[["low", "high"]] = shares[["low", "high"]].clip(0.0, 1.0)
    if area_nm2 is None:
        statistics = statistics.drop(index="density")
    return SizeDistribution(statistics, shares, column, level, len(value), len(area), resampled)


def _tables(whole: pd.DataFrame, asked: _Asked, column: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows of the statistics, with units, and those of the bins."""
    bins = len(asked.edges) - 1
    statistics, shares = whole.iloc[:-bins].copy(), whole.iloc[-bins:].reset_index(drop=True)
    unit = column.rpartition("_")[2]
    units = [unit if unit in _UNITS else ""] * len(statistics)
    statistics["unit"] = [*units[:-1], "nm**-2"]
    shares = shares.rename(columns={"value": "share"})
    shares.insert(0, "from", asked.edges[:-1])
    shares.insert(1, "to", asked.edges[1:])
    shares["n"] = np.histogram(asked.value, asked.edges)[0]
    return statistics, shares


def ks_distance(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    *,
    weights: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
) -> float:
    """Return the largest difference between two distribution functions (Kolmogorov and Smirnov), 0 to 1.

    Parameters
    ----------
    first, second
        Sizes ``(n,)`` and ``(m,)``.
    weights
        Of each; all the same unless given.

    Raises
    ------
    UsageError
        One of them is empty.
    """
    sizes = [np.asarray(one, np.float64) for one in (first, second)]
    if not all(len(one) for one in sizes):
        raise UsageError(f"{len(sizes[0])} and {len(sizes[1])} sizes; expected one at least of each")
    given = [np.ones(len(one)) for one in sizes] if weights is None else [np.asarray(one) for one in weights]
    at = np.unique(np.concatenate(sizes))
    below = []
    for size, weight in zip(sizes, given, strict=True):
        order = np.argsort(size)
        total = np.concatenate(([0.0], np.cumsum(weight[order])))
        below.append(total[np.searchsorted(size[order], at, side="right")] / total[-1])
    return float(np.abs(below[0] - below[1]).max())


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """What is asked of particles, their sizes ``(n,)`` rising."""

    value: Floats
    edges: Floats
    quantiles: tuple[float, ...]

    @property
    def names(self) -> list[str]:
        named = ["median" if one == 0.5 else f"q{one:g}" for one in self.quantiles]
        return ["mean", "sd", *named, "density", *(f"bin {n}" for n in range(len(self.edges) - 1))]

    def of(self, weight: Floats, area: Floats) -> Floats:
        """Return every statistic ``(draws, names)`` of weights ``(draws, n)`` and areas ``(draws,)``."""
        total = weight.sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = weight @ self.value / total
            square = np.maximum(weight @ self.value**2 / total - mean**2, 0.0)
            several = np.count_nonzero(weight, axis=1)
            sd = np.sqrt(square * several / np.maximum(several - 1, 1))
            share = np.diff(self._below(weight), axis=1) / total[:, None]
            density = total / area
        columns = [mean, sd, *self._quantiles(weight, total), density]
        return np.column_stack((np.stack(columns, axis=1), share))

    def _below(self, weight: Floats) -> Floats:
        """Return the weight below each edge of the bins ``(draws, edges)``; the last belongs to its bin."""
        summed = np.concatenate((np.zeros((len(weight), 1)), np.cumsum(weight, axis=1)), axis=1)
        at = np.searchsorted(self.value, self.edges, side="left")
        at[-1] = np.searchsorted(self.value, self.edges[-1], side="right")
        return np.asarray(summed[:, at])

    def _quantiles(self, weight: Floats, total: Floats) -> Iterator[Floats]:
        """Yield quantiles ``(draws,)``: each particle stands in the middle of its weight."""
        middle = np.cumsum(weight, axis=1) - weight / 2
        for share in self.quantiles:
            goal = share * total
            high = np.minimum((middle < goal[:, None]).sum(axis=1), len(self.value) - 1)
            low = np.maximum(high - 1, 0)
            row = np.arange(len(weight))
            gap = middle[row, high] - middle[row, low]
            part = np.clip((goal - middle[row, low]) / np.where(gap > 0, gap, 1.0), 0.0, 1.0)
            yield np.where(
                gap > 0, self.value[low] + part * (self.value[high] - self.value[low]), self.value[high]
            )


def _check(
    particles: pd.DataFrame, column: str, quantiles: Sequence[float], level: float, draws: int
) -> None:
    missing = [name for name in (column, "image", "weight") if name not in particles]
    if missing:
        raise UsageError(
            f"the particles have no column {' and no '.join(missing)}; expected rows of the table particles, "
            "such as db.particles"
        )
    if not 0 < level < 1:
        raise UsageError(f"level is {level}; expected one between 0 and 1, such as 0.95")
    if draws < 1:
        raise UsageError(f"draws is {draws}; expected 1 or more")
    wrong = [one for one in quantiles if not 0 <= one <= 1]
    if wrong:
        raise UsageError(f"a quantile is {wrong[0]}; expected 0 to 1")


def _areas(images: pd.Series, given: Mapping[Any, float] | pd.Series | None) -> pd.Series:
    """Return the area of each image that was looked at; NaN when none are given."""
    if given is None:
        return pd.Series(math.nan, index=pd.Index(images.unique()), dtype=np.float64)
    area = pd.Series(given, dtype=np.float64)
    area = area[area > 0]
    missing = sorted(set(images) - set(area.index))
    if missing:
        raise UsageError(f"image {missing[0]} has particles and no area; expected one for each image [nm**2]")
    return area


def _draws(
    image: npt.NDArray[np.intp], area: Floats, resampled: Resampled, draws: int, rng: np.random.Generator
) -> Iterator[tuple[Floats, Floats]]:
    """Yield how often each particle was drawn ``(some, n)``, and the area drawn ``(some,)``.

    Particles are drawn a number of times that Poisson's law gives: their number is as random as their sizes.
    """
    most = max(1, _CHUNK // max(len(image), len(area)))
    for start in range(0, draws, most):
        count = min(most, draws - start)
        if resampled == "particles":
            yield rng.poisson(1.0, (count, len(image))).astype(np.float64), np.full(count, area.sum())
        else:
            times = rng.multinomial(len(area), np.full(len(area), 1 / len(area)), count).astype(np.float64)
            yield times[:, image], times @ area


def _ends(said: Floats, found: Floats, level: float, n: int) -> tuple[Floats, Floats]:
    """Return the ends of the intervals of statistics ``(names,)`` from draws ``(draws, names)``.

    The spread of the draws is that of the statistic when n is large; Student's t makes up for a small one.
    What is positive has its interval on a scale of ratios, so that it stays positive.
    """
    wide = stdtrit(max(n - 1, 1), 0.5 + level / 2) * math.sqrt(n / max(n - 1, 1))
    low, high = np.full_like(said, math.nan), np.full_like(said, math.nan)
    for one, value in enumerate(said):
        drawn = found[np.isfinite(found[:, one]), one]
        if not math.isfinite(value) or len(drawn) < 2:
            continue
        if value > 0 and (drawn > 0).all():
            ratio = math.exp(min(wide * float(np.log(drawn).std()), _LONGEST))
            low[one], high[one] = value / ratio, value * ratio
        else:
            off = wide * float(drawn.std())
            low[one], high[one] = value - off, value + off
    return low, high
