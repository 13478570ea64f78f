"""What atom columns are, by brightness: a mixture whose means stand in the ratios of scattering.

In annular dark field a column scatters as the sum of Z**1.7 over its atoms (Krivanek et al., Nature 464,
571, 2010), so that once the candidates are named only the gain of the detector is unknown. It is found
together with the shares of the candidates by expectation maximisation.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from micdb.embed.simulate.structure import CONTRAST_EXPONENT
from micdb.errors import UsageError

Floats = npt.NDArray[np.float64]

_SPREAD = (0.03, 0.25)  # relative spread of the brightness of like columns: probe, strain, contamination
_ITERATIONS = 50
_CANDIDATE = re.compile(r"([A-Z][a-z]?)(\d*)")
_SYMBOLS = (
    "H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb "
    "Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf "
    "Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U"
)
#: Atomic number of each element symbol.
NUMBERS = {symbol: number for number, symbol in enumerate(_SYMBOLS.split(), start=1)}


@dataclass(frozen=True, slots=True)
class Candidate:
    """What a column may be.

    Parameters
    ----------
    name
        As given: ``Si``, ``S2``.
    strength
        Sum of Z**1.7.
    """

    name: str
    strength: float


def candidates(text: str) -> tuple[Candidate, ...]:
    """Return the candidates of a text like ``C Si`` or ``W S2 S``: elements, and atoms in the column.

    Raises
    ------
    UsageError
        A word is no element with a number of atoms, or comes twice.
    """
    found = []
    for word in text.split():
        match = _CANDIDATE.fullmatch(word)
        if match is None or match[1] not in NUMBERS or match[2].startswith("0"):
            raise UsageError(
                f"{word!r} of {text!r} is no element with the atoms in a column; write for example 'C Si' "
                "or 'W S2 S'"
            )
        found.append(Candidate(word, int(match[2] or 1) * NUMBERS[match[1]] ** CONTRAST_EXPONENT))
    if len({one.name for one in found}) < len(found):
        raise UsageError(f"{text!r} names a species twice")
    return tuple(found)


def assign(
    height: Floats, sd: Floats, possible: tuple[Candidate, ...]
) -> tuple[npt.NDArray[np.int64], Floats]:
    """Return the most probable candidate of each column and its probability.

    Parameters
    ----------
    height
        Brightness of the columns ``(n,)`` above background, any unit.
    sd
        Its standard deviation ``(n,)``; NaN where unknown.
    possible
        Candidates.

    Returns
    -------
    index, probability
        Of the candidate ``(n,)``.
    """
    strength = np.array([one.strength for one in possible])
    noise = np.where(np.isfinite(sd), sd, np.nanmedian(sd) if np.isfinite(sd).any() else 0.0)
    # the typical column may be any of the candidates: the best of the ends that these beginnings reach
    starts = [float(np.median(height)) / one for one in strength]
    fits = [_maximise(height, noise, strength, gain) for gain in starts]
    belief = max(fits, key=lambda fit: fit[0])[1]
    index = np.argmax(belief, axis=1)
    return index, belief[np.arange(len(height)), index]


def _maximise(height: Floats, noise: Floats, strength: Floats, gain: float) -> tuple[float, Floats]:
    """Return the log likelihood of the mixture and the probabilities ``(n, k)``, from a first gain."""
    share, spread = np.full(len(strength), 1 / len(strength)), 0.1
    likelihood, belief = -np.inf, np.empty((len(height), len(strength)))
    for _ in range(_ITERATIONS):
        mean = gain * strength
        variance = (spread * mean) ** 2 + noise[:, None] ** 2
        logs = np.log(share + 1e-12) - 0.5 * np.log(variance) - 0.5 * (height[:, None] - mean) ** 2 / variance
        top = logs.max(axis=1, keepdims=True)
        total = np.exp(logs - top).sum(axis=1, keepdims=True)
        belief = np.exp(logs - top) / total
        before, likelihood = likelihood, float((top + np.log(total)).sum())
        if likelihood - before < 1e-6 * abs(likelihood):
            break
        weight = belief / variance
        gain = float((weight * height[:, None] * strength).sum() / (weight * strength**2).sum())
        share = belief.mean(axis=0)
        relative = (height[:, None] / (gain * strength) - 1) ** 2 - (noise[:, None] / (gain * strength)) ** 2
        spread = float(np.clip(np.sqrt(max((belief * relative).sum() / belief.sum(), 0.0)), *_SPREAD))
    return likelihood, belief
