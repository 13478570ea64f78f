"""How many defects there are in an area, from how many were found and how well the detector finds them.

Of the defects in an image a detector finds the share `recall`; besides it finds so many false ones for every
area. What it did with planted truth, and what people said of its answers, tell both, with the uncertainty
that their own counts leave; all are drawn from their posterior distributions with Jeffreys' priors (Brown,
Cai and DasGupta, Stat. Sci. 16 (2001) 101) and carried through.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from micdb.errors import UsageError

Floats = npt.NDArray[np.float64]

DRAWS = 20_000  # the ends of a 95 % interval are then known to about 1 % of its width
_WORTH = 200.0  # planted defects: of more than that simulation knows no better what real images are like
_SEED = 0


@dataclass(frozen=True, slots=True)
class Rates:
    """What is known of a detector, for one kind of defect.

    Parameters
    ----------
    found, missed
        Of true ones, how many it found and missed.
    false
        How many it found where there is none.
    area_nm2
        Area in which it found the false ones [nm**2].
    """

    found: float
    missed: float
    false: float
    area_nm2: float

    @classmethod
    def planted(cls, counts: Mapping[str, float]) -> Rates:
        """Return the rates of a card's `planted`, worth no more than 200 planted defects."""
        share = min(1.0, _WORTH / max(counts["planted"], 1.0))
        missed = counts["planted"] - counts["found"]
        return cls(*(share * one for one in (counts["found"], missed, counts["false"], counts["area_nm2"])))

    def __add__(self, other: Rates) -> Rates:
        """Return what both together say."""
        return Rates(
            self.found + other.found,
            self.missed + other.missed,
            self.false + other.false,
            self.area_nm2 + other.area_nm2,
        )

    @property
    def recall(self) -> float:
        """Share of the true ones that is found; missing where none is known of."""
        known = self.found + self.missed
        return self.found / known if known else math.nan


@dataclass(frozen=True, slots=True)
class Density:
    """An areal density.

    Parameters
    ----------
    value, low, high
        Median and interval [nm**-2].
    level
        Probability of the interval.
    corrected
        Whether the detector's misses and false ones are taken into account; otherwise counting alone is.
    """

    value: float
    low: float
    high: float
    level: float
    corrected: bool


@dataclass(frozen=True, slots=True)
class Counted:
    """What was found in some images.

    Parameters
    ----------
    found
        Defects a detector found there and nobody rejected.
    area_nm2
        Looked at [nm**2].
    kept
        Share of the detector's answers there that nobody rejected: the false ones are among the others.
    """

    found: float
    area_nm2: float
    kept: float = 1.0


def density(
    seen: Counted, rates: Rates | None, *, reviewed: Counted = Counted(0, 0.0), level: float = 0.95
) -> Density:
    """Return the density of defects in a material.

    Parameters
    ----------
    seen
        In images that nobody went through.
    rates
        Of the detector; None where nothing is known of it.
    reviewed
        In images where people judged every answer and added what was missed: these counts are the truth.
    level
        Probability of the interval.

    Returns
    -------
    Density
        The same for the same numbers.

    Raises
    ------
    UsageError
        No area was looked at, or a number is negative.
    """
    area = seen.area_nm2 + reviewed.area_nm2
    if not area > 0 or min(seen.found, reviewed.found, seen.area_nm2, reviewed.area_nm2) < 0:
        raise UsageError(
            f"a density needs an area: {seen.found:g} and {reviewed.found:g} defects in {seen.area_nm2:g} "
            f"and {reviewed.area_nm2:g} nm**2; images whose pixel size is unknown have none"
        )
    rng = np.random.default_rng(_SEED)
    half = 0.5 * seen.area_nm2 / area  # one prior for the whole area
    expected = rng.gamma(seen.found + half, size=DRAWS) if seen.found + half else np.zeros(DRAWS)
    known = rng.gamma(reviewed.found + 0.5 - half, size=DRAWS) if half < 0.5 else np.zeros(DRAWS)
    if rates is not None:
        expected = _true(expected, seen, rates, rng)
    low, value, high = np.quantile((expected + known) / area, [(1 - level) / 2, 0.5, (1 + level) / 2])
    return Density(float(value), float(low), float(high), level, rates is not None)


def _true(expected: Floats, seen: Counted, rates: Rates, rng: np.random.Generator) -> Floats:
    """Return how many true defects stand behind expected answers of a detector ``(draws,)``."""
    recall = rng.beta(rates.found + 0.5, rates.missed + 0.5, size=DRAWS)
    false = rng.gamma(rates.false + 0.5, size=DRAWS) / rates.area_nm2 if rates.area_nm2 else np.zeros(DRAWS)
    return np.asarray(np.maximum(expected - seen.kept * false * seen.area_nm2, 0.0) / recall)
