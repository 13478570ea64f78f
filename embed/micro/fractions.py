"""Area fractions of phases with their standard deviations, from one image.

Neighbouring pixels are alike, so that an image of a million pixels may show ten independent places. The
variance of a fraction over an area S is ``p (1 - p) A / S`` with the integral range A (Lantuejoul, J.
Microsc. 161, 387, 1991); A is measured by how the fraction varies from block to block of the same image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

Floats = npt.NDArray[np.float64]

_FEWEST = 4  # blocks along the shorter side of the image
_SMALLEST = 4  # [pixel] side of a block
_KNOWN = 0.5  # share of a block that must be known


@dataclass(frozen=True, slots=True)
class Fraction:
    """The share of the known area that a phase has.

    Parameters
    ----------
    value
        0 to 1.
    sd
        Standard deviation; NaN where the image is too small to tell.
    blocks
        From how many the standard deviation was measured.
    """

    value: float
    sd: float
    blocks: int

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Return the confidence interval, within 0 and 1.

        It is symmetric in the logarithm of the odds, so that it never leaves what a fraction can be.
        """
        if not math.isfinite(self.sd):
            return 0.0, 1.0
        if self.value in (0.0, 1.0) or self.sd == 0:
            return self.value, self.value
        odds = math.log(self.value / (1 - self.value))
        wide = stdtrit(max(self.blocks - 1, 1), 0.5 + level / 2) * self.sd / (self.value * (1 - self.value))
        low, high = (1 / (1 + math.exp(-min(max(one, -700.0), 700.0))) for one in (odds - wide, odds + wide))
        return low, high


def fraction(inside: npt.NDArray[np.bool_], known: npt.NDArray[np.bool_] | None = None) -> Fraction:
    """Return the fraction of a phase.

    Parameters
    ----------
    inside
        Pixels of the phase ``(y, x)``, or their probabilities.
    known
        Pixels that were looked at ``(y, x)``; all unless given.
    """
    value = np.asarray(inside, dtype=np.float64)
    looked = np.ones(value.shape) if known is None else np.asarray(known, dtype=np.float64)
    total = float(looked.sum())
    if total == 0:
        return Fraction(math.nan, math.nan, 0)
    share = float((value * looked).sum() / total)
    spread = share * (1 - share)
    if spread == 0:
        return Fraction(share, math.nan, 0)
    ranges = [(side, *found) for side in _sides(value.shape) if (found := _range(value, looked, side, share))]
    if not ranges:
        return Fraction(share, math.nan, 0)
    best = _extrapolated(ranges)
    return Fraction(share, math.sqrt(best / total), ranges[-1][2])


def _extrapolated(ranges: list[tuple[int, float, int]]) -> float:
    """Return ``p (1 - p) A`` of infinite blocks: what blocks miss falls with their side as 1 / side."""
    side, found, _ = ranges[-1]
    half = min(ranges, key=lambda one: abs(one[0] - side / 2))
    grown = (found - half[1]) / (side / half[0] - 1) if half[0] < side else 0.0
    return max(found, found + grown, *(one[1] for one in ranges))


def _sides(shape: tuple[int, ...]) -> list[int]:
    """Return sides of blocks, growing by half, that are as long as the image allows."""
    longest = min(shape) // _FEWEST
    sides = []
    side = float(longest)
    while side >= _SMALLEST:
        sides.append(round(side))
        side /= 1.5
    return sides[::-1]


def _range(value: Floats, looked: Floats, side: int, share: float) -> tuple[float, int] | None:
    """Return ``p (1 - p) A`` [pixel**2] as blocks of a side show it, and the number of blocks."""
    weight = _sums(looked, side)
    use = weight >= _KNOWN * side**2
    count = int(use.sum())
    if count < _FEWEST**2 / 2:
        return None
    off = _sums((value - share) * looked, side)[use]
    # The mean is that of the same blocks, which takes one degree of freedom.
    return float(np.square(off).sum() / weight[use].sum() * count / max(count - 1, 1)), count


def _sums(value: Floats, side: int) -> Floats:
    """Return the sums over square blocks, as many as fit, in the middle of the image."""
    rows, columns = (size // side for size in value.shape)
    top, left = (value.shape[0] - rows * side) // 2, (value.shape[1] - columns * side) // 2
    part = value[top : top + rows * side, left : left + columns * side]
    return np.asarray(part.reshape(rows, side, columns, side).sum(axis=(1, 3)))
