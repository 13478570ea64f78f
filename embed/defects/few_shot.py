"""Which defects look like a few examples: a new class without training again.

0. Among few defects only the directions in which they vary most are looked at, one for every four of them.
1. What noise does to defects of one sort is measured on those that the detector gives one name, kind and bond
   graph, and on the examples: their pooled scatter. Distances are taken along the directions in which all
   defects differ most in units of that scatter (R. A. Fisher, Ann. Eugen. 7 (1936) 179).
2. A defect is weighed by how much likelier it is near the examples' mean, which so few leave unsure, than
   anywhere among all defects (probabilistic linear discriminants: S. Ioffe, ECCV 2006, 531; with Student's
   tails, for images differ in noise).
3. That the examples often have its kind, and its graph, is evidence as well. The share of members among all
   is found by expectation and maximisation (A. P. Dempster, N. M. Laird and D. B. Rubin, J. R. Stat. Soc. B
   39 (1977) 1).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigh

from micdb.embed.defects.classes import UNKNOWN
from micdb.errors import UsageError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
#: Kind and key of a defect's bond graph, as the detector has them.
Name = tuple[str, str | None]

_DIRECTIONS = 14  # that discriminate: defects differ in a few ways
_EACH = 4  # defects that a direction takes to be measured
_FEWEST = 3  # defects of one name whose scatter counts
_ROUND = 20.0  # defects that a scatter alike in all directions is worth beside those measured
_STEADY = 0.02  # of the mean spread of the numbers: one that hardly varies is not blown up
_FLAT = 0.02  # share of such a scatter in that of all: of fewer defects than numbers
_STRAY = 3.0  # times the typical distance from the middle of a name
_TAILS = 3.0  # degrees of freedom of Student's distribution
_MISREAD = 0.3  # examples that any other name is worth: one in twenty is misread
_SHARE, _ROUNDS = 0.9, 50  # of members, to begin with: where nothing tells, all are
_SURE = 50.0  # logarithm of odds


def membership(
    examples: npt.NDArray[np.floating],
    others: npt.NDArray[np.floating],
    names: tuple[Sequence[Name], Sequence[Name]],
) -> Floats:
    """Return the probability that each descriptor belongs to the class of the examples.

    Parameters
    ----------
    examples
        Descriptors ``(k, d)`` of one class, five or so.
    others
        Descriptors ``(n, d)`` of the same detector to be judged, the examples may be among them.
    names
        What the detector calls each example, and each of the others.

    Returns
    -------
    numpy.ndarray
        ``(n,)``. What cannot be told from the examples belongs to them.

    Raises
    ------
    UsageError
        There are fewer than two examples, descriptors of different lengths or with missing numbers, or not as
        many names.
    """
    shown, asked = np.asarray(examples, dtype=np.float64), np.asarray(others, dtype=np.float64)
    _check(shown, asked, names)
    if not len(asked):
        return np.empty(0)
    k = len(shown)
    points = _standardised(_fewer(np.concatenate((shown, asked))))
    place, between = _directions(points, k, _alike([*names[0], *names[1]]))
    odds = _likeness(place[:k], place[k:], between)
    for theirs, every in zip(zip(*names[0], strict=True), zip(*names[1], strict=True), strict=True):
        odds += _name_odds(theirs, every)
    return _posterior(odds)


def _check(shown: Floats, asked: Floats, names: tuple[Sequence[Name], Sequence[Name]]) -> None:
    if shown.ndim != 2 or asked.ndim != 2 or shown.shape[1] != asked.shape[1] or len(shown) < 2:
        raise UsageError(
            f"examples have the shape {shown.shape} and the others {asked.shape}; expected two or more "
            "examples, and rows of one length in both"
        )
    if not (np.isfinite(shown).all() and np.isfinite(asked).all()):
        raise UsageError("a descriptor has a number that is not finite: leave that defect out")
    if (len(names[0]), len(names[1])) != (len(shown), len(asked)):
        raise UsageError(
            f"{len(names[0])} and {len(names[1])} names of {len(shown)} examples and {len(asked)} others; "
            "expected one of each"
        )


def _alike(called: Sequence[Name]) -> list[Ints]:
    """Return the defects of each name; unknown ones go with those of their graph that have a kind."""
    usual: dict[str | None, Counter[str]] = {}
    for kind, key in called:
        if kind != UNKNOWN and key is not None:
            usual.setdefault(key, Counter())[kind] += 1
    groups: dict[Name, list[int]] = {}
    for number, (kind, key) in enumerate(called):
        known = usual[key].most_common(1)[0][0] if kind == UNKNOWN and key in usual else kind
        groups.setdefault((known, key), []).append(number)
    return [np.array(mine, np.int64) for mine in groups.values() if len(mine) >= _FEWEST]


def _standardised(points: Floats) -> Floats:
    """Return points ``(n, d)`` about 0, every number by its spread."""
    spread = points.std(axis=0)
    least = max(_STEADY * float(spread.mean()), 1e-12)
    return np.asarray((points - points.mean(axis=0)) / np.maximum(spread, least))


def _fewer(points: Floats) -> Floats:
    """Return points ``(n, m)`` along the directions in which they vary most; the rest of few is noise."""
    n, d = points.shape
    most = max(n // _EACH, 2)
    if d <= most:
        return points
    off = points - points.mean(axis=0)
    _, _, axes = np.linalg.svd(off, full_matrices=False)
    return np.asarray(off @ axes[:most].T)


def _directions(points: Floats, examples: int, groups: list[Ints]) -> tuple[Floats, Floats]:
    """Return points ``(n, m)`` in units of the scatter within sorts, and the variance of sorts ``(m,)``."""
    n, d = points.shape
    within, freedom = np.zeros((d, d)), 0
    for mine in [np.arange(examples), *groups]:
        off = _off(points[mine])
        within += off.T @ off
        freedom += len(off) - 1
    within = _rounded(within / freedom, _ROUND / (_ROUND + freedom))
    every = _rounded(np.cov(points.T).reshape(d, d), _FLAT)
    ratio, axes = eigh(every, within)
    best = np.argsort(-ratio)[:_DIRECTIONS]
    best = best[ratio[best] > (1 + np.sqrt(d / n)) ** 2]
    return points @ axes[:, best], ratio[best] - 1


def _off(points: Floats) -> Floats:
    """Return what points of one name are off their mean ``(m, d)``; those far out bear it wrongly, and go."""
    far = np.linalg.norm(points - np.median(points, axis=0), axis=1)
    kept = points[far <= _STRAY * np.median(far)]
    return np.asarray(kept - kept.mean(axis=0))


def _rounded(scatter: Floats, share: float) -> Floats:
    """Return a scatter of which a share is alike in all directions; never singular."""
    d = len(scatter)
    return (1 - share) * scatter + max(share * float(np.trace(scatter)) / d, 1e-9) * np.eye(d)


def _likeness(shown: Floats, asked: Floats, between: Floats) -> Floats:
    """Return the logarithm of how much likelier each is as one of the class than as any ``(n,)``.

    The class has its mean somewhere among all, of variance `between`; its members scatter around it by 1.
    """
    k, d = len(shown), len(between)
    unsure = 1 / (1 / between + k)
    mean = unsure * k * shown.mean(axis=0)
    member, anyone = 1 + unsure, 1 + between
    near = (np.square(asked - mean) / member).sum(axis=1)
    far = (np.square(asked) / anyone).sum(axis=1)
    tails = 0.5 * (_TAILS + d) * (np.log1p(far / _TAILS) - np.log1p(near / _TAILS))
    return np.asarray(tails + 0.5 * np.log(anyone / member).sum())


def _name_odds(shown: Sequence[str | None], asked: Sequence[str | None]) -> Floats:
    """Return the logarithm of how much more frequent a name is among the examples than among all ``(n,)``."""
    every, among = Counter(asked), Counter(shown)
    usual = np.array([every[one] / len(asked) for one in asked])
    own = np.array([among[one] for one in asked])
    return np.asarray(np.log((own + _MISREAD * usual) / ((len(shown) + _MISREAD) * usual)))


def _posterior(odds: Floats) -> Floats:
    """Return the probability of members ``(n,)``, whose share of all is likeliest."""
    share, probability = _SHARE, np.zeros(len(odds))
    for _ in range(_ROUNDS):
        total = np.clip(odds + np.log(share / (1 - share)), -_SURE, _SURE)
        probability = 1 / (1 + np.exp(-total))
        share = float(np.clip(probability.mean(), 1 / (len(odds) + 1), 1 - 1 / (len(odds) + 1)))
    return np.asarray(probability)
