"""How fast particles coarsen: the law that sizes over time follow, and how surely its exponent is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from micdb.errors import UsageError

Floats = npt.NDArray[np.float64]

_EXPONENTS = np.round(np.arange(1.0, 12.001, 0.01), 2)  # beyond what any mechanism gives


@dataclass(frozen=True, slots=True)
class Coarsening:
    """A coarsening law ``d**n = d0**n + rate * t``.

    Parameters
    ----------
    exponent, low, high
        n and its interval: 3 where diffusion through the matrix limits, 2 the interface, 4 boundaries, 5
        dislocations. An end is NaN where no exponent between 1 and 12 bounds it.
    rate
        [size**n / time].
    start
        Size d0 at time 0.
    level
        Coverage asked of the interval.
    misfit
        Reduced chi squared; NaN where the law has as many parameters as there are sizes. Above 1 the sizes
        scatter more than their standard deviations say, and the interval is widened by its root.
    """

    exponent: float
    low: float
    high: float
    rate: float
    start: float
    level: float
    misfit: float

    def __call__(self, time: npt.ArrayLike) -> Floats:
        """Return the size at times ``(n,)``."""
        whole = self.start**self.exponent + self.rate * np.asarray(time, np.float64)
        return np.asarray(np.maximum(whole, 0.0) ** (1 / self.exponent))


def coarsening(
    time: npt.ArrayLike,
    size: npt.ArrayLike,
    sd: npt.ArrayLike,
    *,
    exponent: float | None = None,
    level: float = 0.95,
) -> Coarsening:
    """Fit a coarsening law to mean sizes.

    Lifshitz & Slyozov, J. Phys. Chem. Solids 19, 35 (1961); Wagner, Z. Elektrochem. 65, 581 (1961). For each
    exponent start and rate are linear; the interval is that of the profile likelihood.

    Parameters
    ----------
    time
        ``(n,)``, of at least three different ones where the exponent is to be found.
    size, sd
        Mean sizes and their standard deviations ``(n,)``, in one unit.
    exponent
        To be held; None to find it.
    level
        Of the interval, between 0 and 1.

    Raises
    ------
    UsageError
        Too few times, a size or deviation that is not positive, or a level outside 0 to 1.
    """
    from scipy.stats import chi2

    t, d, s = (np.asarray(one, np.float64) for one in (time, size, sd))
    _check(t, d, s, exponent, level)
    tried = _EXPONENTS if exponent is None else np.array([exponent])
    fits = [_with_exponent(t, d, s, n) for n in tried]
    misfits = np.array([one[2] for one in fits])
    best = int(np.argmin(misfits))
    free = len(t) - (3 if exponent is None else 2)
    reduced = float(misfits[best] / free) if free else float("nan")
    low = high = float(tried[best])
    if exponent is None:
        inside = tried[
            misfits <= misfits[best] + float(chi2.ppf(level, 1)) * (max(reduced, 1.0) if free else 1.0)
        ]
        low = float("nan") if inside[0] == tried[0] else float(inside[0])
        high = float("nan") if inside[-1] == tried[-1] else float(inside[-1])
    start, rate, _ = fits[best]
    return Coarsening(float(tried[best]), low, high, rate, start, level, reduced)


def _with_exponent(t: Floats, d: Floats, s: Floats, n: float) -> tuple[float, float, float]:
    """Return start, rate and chi squared of the sizes for an exponent; neither falls below 0."""
    from scipy.optimize import nnls

    weight = 1 / (n * d ** (n - 1) * s)  # of d**n, by propagation
    scale = float(t.max()) or 1.0
    whole, _ = nnls(np.column_stack((np.ones_like(t), t / scale)) * weight[:, None], d**n * weight)
    start, rate = float(whole[0]) ** (1 / n), float(whole[1]) / scale
    law = (start**n + rate * t) ** (1 / n)
    return start, rate, float(np.sum(((law - d) / s) ** 2))


def _check(t: Floats, d: Floats, s: Floats, exponent: float | None, level: float) -> None:
    if not len(t) == len(d) == len(s):
        raise UsageError(
            f"there are {len(t)} times, {len(d)} sizes and {len(s)} deviations: one of each is needed"
        )
    needed = 3 if exponent is None else 2
    if pd.unique(pd.Series(t)).size < needed:
        raise UsageError(f"{pd.unique(pd.Series(t)).size} different times; the law needs {needed}")
    if not ((d > 0).all() and (s > 0).all() and (t >= 0).all()):
        raise UsageError("sizes and their deviations must be above 0, and times not below it")
    if not 0 < level < 1:
        raise UsageError(f"level is {level!r}; give the coverage wanted, between 0 and 1, for example 0.95")
