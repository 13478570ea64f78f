"""Compositions: ``Ni3Al``, ``Mo0.5W0.5S2``, ``Fe-18Cr-3Al wt%`` become shares of elements.

periodictable (P. A. Kienzle, NIST) reads formulas and knows the masses; it is loaded on first use. An alloy
is written as metallurgists do: the element that makes up the rest, then percents, then percents of what.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from micdb.errors import UsageError

COMPOSITION = "composition"  # the property that keeps the text
ATOMIC, WEIGHT = "at_", "wt_"  # properties of elements begin so: at_Ni, wt_Ni, both in percent
_AMOUNT = r"-(\d+\.?\d*|\.\d+)([A-Z][a-z]?)"
_ALLOY = re.compile(rf"([A-Z][a-z]?)((?:{_AMOUNT})+)\s*(.*)")
_BASES = {"wt": "weight", "mass": "weight", "at": "atomic", "mol": "atomic"}  # word -> kind of percent
_BASIS = re.compile(
    rf"\(?\s*(?:in\s+)?({'|'.join(_BASES)})\s*\.?\s*-?\s*(?:%|percent|pct)\s*\)?", re.IGNORECASE
)
_EXAMPLES = "write a formula such as Ni3Al or Mo0.5W0.5S2, or an alloy such as Fe-18Cr-3Al wt%"


@dataclass(frozen=True, slots=True)
class Composition:
    """What something is made of.

    Parameters
    ----------
    text
        As written.
    atomic, weight
        Percent of atoms and of mass by element symbol, largest first; each sums to 100.
    """

    text: str
    atomic: Mapping[str, float]
    weight: Mapping[str, float]


@lru_cache(maxsize=4096)
def parse(text: str) -> Composition:
    """Return the composition that a formula or an alloy's name says.

    Parameters
    ----------
    text
        ``Ni3Al``, ``Ca(OH)2``, ``Mo0.5W0.5S2``; ``Fe-18Cr-3Al wt%`` or ``at%``, the rest first.

    Raises
    ------
    UsageError
        It can be read as neither, an element does not exist, the percents are 100 or more, or it is not said
        whether they are of mass or of atoms.
    """
    plain = re.sub(r"[‐-―−]", "-", text).strip()  # dashes and the minus sign
    alloy = _ALLOY.fullmatch(plain)
    if alloy:
        return _alloy(text, alloy)
    atoms = _atoms(plain, text)
    return _composition(text, atoms, {symbol: n * _mass(symbol) for symbol, n in atoms.items()})


def element(symbol: str) -> str:
    """Return the symbol of an element.

    Raises
    ------
    UsageError
        There is no such element; the message offers the symbol for a name.
    """
    known = _symbols()
    if symbol not in known:
        meant = [one for one in known if str(symbol).lower() in (one.lower(), name_of(one))]
        raise UsageError(f"{symbol!r} is no element's symbol; write {' or '.join(meant) or 'for example Ni'}")
    return symbol


def name_of(symbol: str) -> str:
    """Return the English name of an element: ``nickel``."""
    return str(_table().symbol(symbol).name)


def _alloy(text: str, found: re.Match[str]) -> Composition:
    rest, amounts, written = found[1], re.findall(_AMOUNT, found[2]), found[found.re.groups]
    basis = _BASIS.fullmatch(written)
    if basis is None:
        raise UsageError(
            f"{text!r} does not say what its numbers are percents of: write {rest}{found[2]} wt% "
            f"(mass) or {rest}{found[2]} at% (atoms)"
        )
    shares = {element(symbol): float(percent) for percent, symbol in amounts}
    if len(shares) < len(amounts) or rest in shares:
        raise UsageError(f"{text!r} names an element twice; give each one amount")
    sum_ = sum(shares.values())
    if sum_ >= 100:
        raise UsageError(
            f"{text!r} has {sum_:g} percent beside {rest}, which is the rest: expected less than 100"
        )
    shares[element(rest)] = 100 - sum_
    if _BASES[basis[1].lower()] == "atomic":
        return _composition(text, shares, {symbol: n * _mass(symbol) for symbol, n in shares.items()})
    return _composition(text, {symbol: n / _mass(symbol) for symbol, n in shares.items()}, shares)


def _atoms(plain: str, text: str) -> dict[str, float]:
    """Return the number of atoms by element; isotopes and ions count as their element."""
    from periodictable import formulas

    try:
        read = formulas.formula(plain).atoms if plain else {}
    except Exception as error:  # pyparsing's classes, or ValueError for an element that does not exist
        reason = f" ({error})" if isinstance(error, ValueError) else ""
        raise UsageError(f"{text!r} is no composition{reason}; {_EXAMPLES}") from error
    atoms: dict[str, float] = {}
    for atom, count in read.items():
        symbol = str(_table()[atom.number].symbol)
        atoms[symbol] = atoms.get(symbol, 0.0) + float(count)
    if not atoms or "n" in atoms or any(count <= 0 for count in atoms.values()):
        raise UsageError(f"{text!r} is no composition; {_EXAMPLES}")
    return atoms


def _composition(text: str, atoms: Mapping[str, float], masses: Mapping[str, float]) -> Composition:
    return Composition(text.strip(), _percent(atoms), _percent(masses))


def _percent(amounts: Mapping[str, float]) -> dict[str, float]:
    whole = sum(amounts.values())
    # 15 digits are what a decimal number keeps: 18 wt% stays 18
    shares = {symbol: float(f"{100 * amount / whole:.15g}") for symbol, amount in amounts.items() if amount}
    return dict(sorted(shares.items(), key=lambda share: (-share[1], share[0])))


def _mass(symbol: str) -> float:
    """Return the standard atomic weight of an element [u]."""
    return float(_table().symbol(symbol).mass)


@lru_cache(maxsize=1)
def _table() -> Any:
    import periodictable

    return periodictable.elements


@lru_cache(maxsize=1)
def _symbols() -> frozenset[str]:
    return frozenset(str(one.symbol) for one in _table() if one.number > 0)
