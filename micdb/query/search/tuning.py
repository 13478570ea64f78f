"""How careful a search in lists is, and what its steps cost: measured when an index is made."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

WANTED = 10  # the nearest that everything here was measured for


@dataclass(frozen=True, slots=True)
class Tuning:
    """How careful a search is and what its steps cost on this machine.

    Parameters
    ----------
    caution
        For several shares of rows that match, ascending: the share, z, and the number of lists that are
        read in any case; see `micdb.query.search.lists`.
    quick
        For several shares, ascending: the share, the number of lists whose codes are enough (0 where they
        are not), how many rows to read for `WANTED`, and the score of the k-th best below which that may
        not have been enough.
    error
        Standard deviation of what codes give for (q - c) . r, in units of D and the root mean square of r.
    row, span
        Time to read one row in no order, and one of consecutive rows [ns].
    code
        Time to look at one row's code [ns].
    start
        Time to start looking at codes [ns].
    crossover
        Matching rows up to which comparing all of them is quicker than choosing lists.
    """

    caution: tuple[tuple[float, float, float], ...] = ((0.005, 1.0, 16), (1.0, 1.0, 16))
    quick: tuple[tuple[float, int, int, float], ...] = ()
    error: float = 0.06
    row: float = 150.0
    span: float = 80.0
    code: float = 12.0
    start: float = 80_000.0
    crossover: int = 2_000

    def careful(self, share: float) -> tuple[float, int]:
        """Return z and the number of lists that are always read, for a share of rows that match."""
        shares, z, lists = np.array(self.caution, np.float64).T
        place = np.log(max(share, 1e-12))
        most = np.exp(np.interp(place, np.log(shares), np.log(lists)))
        return float(np.interp(place, np.log(shares), z)), math.ceil(most - 1e-9)
