"""How well particles are found: intersection over union by instance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

FOUND_FROM = 0.5  # intersection over union


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """Particles of an image beside those that were found.

    Parameters
    ----------
    truth, found
        Labels of pairs that match ``(m,)``.
    union
        Intersection over union of each pair ``(m,)``.
    best
        Largest intersection over union of each particle that is there ``(n,)``.
    false
        Labels that were found and match none ``(k,)``.
    """

    truth: Ints
    found: Ints
    union: Floats
    best: Floats
    false: Ints


def matched(
    truth: npt.NDArray[np.integer], found: npt.NDArray[np.integer], ignored: Ints | None = None
) -> Matches:
    """Match the particles of two label images ``(y, x)``, 0 where there is none.

    Parameters
    ----------
    truth, found
        Which particle is seen.
    ignored
        Labels of the truth that need not be found; what lies mostly on them is not false.
    """
    table = _shared(truth, found)
    there, said = table.sum(axis=1), table.sum(axis=0)
    union = table[1:, 1:] / np.maximum(there[1:, None] + said[None, 1:] - table[1:, 1:], 1)
    out = np.zeros(len(there), bool)
    out[np.flatnonzero(there == 0)] = True
    if ignored is not None:
        out[ignored[ignored < len(out)]] = True  # the last may be hidden whole
    rows, columns = np.nonzero(union > FOUND_FROM)  # one row for each column, and the other way round
    kept = ~out[rows + 1]
    aside = table[out].sum(axis=0)[1:] > 0.5 * np.maximum(said[1:], 1)
    hit = np.zeros(len(said) - 1, bool)
    hit[columns] = True
    best = union.max(axis=1, initial=0.0)[~out[1:]]
    false = np.flatnonzero(~hit & ~aside & (said[1:] > 0)) + 1
    rows, columns = rows[kept], columns[kept]
    return Matches(rows + 1, columns + 1, union[rows, columns], best, false)


def f1(matches: list[Matches]) -> tuple[float, float, float]:
    """Return precision, recall and F1 of all images together."""
    right = sum(len(one.truth) for one in matches)
    said = right + sum(len(one.false) for one in matches)
    there = sum(len(one.best) for one in matches)
    return right / max(said, 1), right / max(there, 1), 2 * right / max(said + there, 1)


def _shared(truth: npt.NDArray[np.integer], found: npt.NDArray[np.integer]) -> Ints:
    """Return the pixels that two labels share ``(truth, found)``."""
    rows, columns = int(truth.max()) + 1, int(found.max()) + 1
    both = truth.ravel().astype(np.int64) * columns + found.ravel()
    return np.bincount(both, minlength=rows * columns).reshape(rows, columns)
