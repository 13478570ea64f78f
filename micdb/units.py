"""Physical units: vendors' spellings, conversion, and the text form users type (``"1 nm"``).

pint does the arithmetic and is loaded on first use. Units are kept and compared as short ASCII
strings (``um``, ``1/nm``, ``degC``): ASCII survives every HDF5 reader and every CSV.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from micdb.errors import UnitError

if TYPE_CHECKING:
    import pint

# What vendors write -> what pint understands and what we write. Compared after whitespace is removed.
SPELLINGS: dict[str, str | None] = {
    "": None, "1": None, "[]": None, "none": None, "<undefined>": None, "undefined": None,
    "pix": None, "px": None, "pixel": None, "pixels": None, "point": None, "points": None,
    "arb.": None, "a.u.": None,
    "µm": "um", "μm": "um", "\\u00b5m": "um", "\\u00B5m": "um", "micron": "um", "microns": "um",
    "micrometer": "um", "micrometers": "um", "umeter": "um", "[u_m]": "um", "u_m": "um",
    "[n_m]": "nm", "n_m": "nm", "nanometer": "nm", "[p_m]": "pm", "p_m": "pm",
    "\u00c5": "angstrom", "\u212b": "angstrom", "Ang": "angstrom", "Angstrom": "angstrom",
    "1/Å": "1/angstrom", "1/A": "1/angstrom", "Å^-1": "1/angstrom", "A^-1": "1/angstrom",
    "1/µm": "1/um", "1/μm": "1/um", "[1/n_m]": "1/nm", "[n_m^-1]": "1/nm", "nm^-1": "1/nm",
    "°": "deg", "º": "deg", "degree": "deg", "degrees": "deg",
    "°C": "degC", "C": "degC", "celsius": "degC", "℃": "degC", "°F": "degF",
    "µA": "uA", "μA": "uA", "µs": "us", "μs": "us", "µV": "uV", "μV": "uV", "µrad": "urad",
    "Ω": "ohm", "Ohm": "ohm", "%": "percent", "sec": "s", "min.": "min", "hr": "h", "hrs": "h",
    "minutes": "min", "hours": "h", "torr": "torr",
}  # fmt: skip

_ASCII = {"µ": "u", "μ": "u", "Å": "angstrom", "°C": "degC", "Δ": "delta_"}
_QUANTITY = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(.*?)\s*$", re.DOTALL)


class Value(NamedTuple):
    """A number and its unit; ``unit`` is None for a bare number."""

    value: float
    unit: str | None


@lru_cache(maxsize=1)
def _registry() -> pint.UnitRegistry[Any]:
    import pint

    registry: pint.UnitRegistry[Any] = pint.UnitRegistry(
        cache_folder=None, autoconvert_offset_to_baseunit=True
    )
    return registry


@lru_cache(maxsize=4096)
def normalise(text: str | None) -> str | None:
    r"""Return the unit in micdb's spelling, or None for "no unit".

    Parameters
    ----------
    text
        Any vendor's or person's spelling: ``µm``, ``[n_m]``, ``1 / nm``, ``\u00b5m``, ``degC``.

    Raises
    ------
    UnitError
        The spelling names no unit micdb knows.
    """
    if text is None:
        return None
    squeezed = re.sub(r"\s+", "", text.replace("\x00", ""))
    if squeezed in SPELLINGS:
        return SPELLINGS[squeezed]
    if squeezed.lower() in SPELLINGS:
        return SPELLINGS[squeezed.lower()]
    squeezed = squeezed.replace("µ", "u").replace("μ", "u").replace("**", "^")
    _pint_unit(squeezed, text)
    return squeezed.replace("^", "**") if "^" in squeezed else squeezed


@lru_cache(maxsize=4096)
def _pint_unit(unit: str, shown: str) -> Any:
    try:
        unit.encode("ascii")
        return _registry().Unit(unit)
    except Exception as error:  # pint raises a dozen classes, from tokenizer errors to ZeroDivisionError
        raise UnitError(
            f"unknown unit {shown!r}; write for example nm, um, angstrom, 1/nm, degC, min, kV, GPa"
        ) from error


def quantity(value: float, unit: str) -> Any:
    """Return a number with its unit as a ``pint.Quantity``; all of them are of one registry."""
    return _registry().Quantity(value, _pint_unit(_spelled(unit), unit))


def known(text: str | None) -> str | None:
    """Return `normalise(text)`, or None when the spelling is unknown: for files, where nothing is guessed."""
    try:
        return normalise(text)
    except UnitError:
        return None


@lru_cache(maxsize=4096)
def of_axis(text: str | None) -> str | None:
    """Return `known(text)`, but angstrom for ``A``: no axis of an image is in ampere."""
    return "angstrom" if text is not None and text.strip() == "A" else known(text)


def dimension(unit: str | None) -> str:
    """Return the physical dimension as text, for example ``[length]``; ``dimensionless`` for None."""
    if unit is None:
        return "dimensionless"
    return str(_pint_unit(_spelled(unit), unit).dimensionality)


def compatible(one: str | None, other: str | None) -> bool:
    """Return whether the two units measure the same dimension."""
    return dimension(one) == dimension(other)


def convert(value: float, unit: str | None, to: str | None) -> float:
    """Return `value` in another unit; offset units (degC, degF) are converted as temperatures.

    Raises
    ------
    UnitError
        The two units have different dimensions; the message names both.
    """
    if unit == to:
        return float(value)
    if not compatible(unit, to):
        raise UnitError(
            f"cannot compare {unit or 'a plain number'} {_named(unit)} "
            f"with {to or 'a plain number'} {_named(to)}"
        )
    factor = _factor(unit, to)
    number = _converted(value, unit, to) if factor is None else value * factor
    # 0.5 um is 499.99999999999994 nm in binary arithmetic; 15 digits are what a decimal number keeps.
    return float(f"{number:.15g}")


def _converted(value: float, unit: str | None, to: str | None) -> float:
    source = _registry().Quantity(float(value), _pint_unit(_spelled(unit or ""), str(unit)))
    return float(source.to(_pint_unit(_spelled(to or ""), str(to))).magnitude)


@lru_cache(maxsize=4096)
def _factor(unit: str | None, to: str | None) -> float | None:
    """Return what to multiply by; None where one of the units has a zero of its own, as degC."""
    zero = _converted(0.0, unit, to)
    return _converted(1.0, unit, to) if zero == 0 else None


def parse(text: str | float) -> Value:
    """Split ``"1.5 um"`` into number and unit.

    Raises
    ------
    UnitError
        There is no number, or the unit is unknown.
    """
    if isinstance(text, int | float):
        return Value(float(text), None)
    found = _QUANTITY.match(text)
    if not found:
        raise UnitError(f"{text!r} is no quantity; write a number and a unit, for example '0.5 um'")
    return Value(float(found[1]), normalise(found[2]))


def product(one: str | None, other: str | None, *, divide: bool = False) -> str | None:
    """Return the unit of a product (or quotient), in ASCII; None when it is a plain number."""
    left = _pint_unit(_spelled(one or ""), str(one))
    right = _pint_unit(_spelled(other or ""), str(other))
    unit = left / right if divide else left * right
    if not unit.dimensionality and f"{unit:~C}" in ("", "dimensionless"):
        return None
    return _ascii(f"{unit:~C}")


def root(unit: str | None) -> str | None:
    """Return the unit of a square root, in ASCII; None when it is a plain number."""
    return None if unit is None else _ascii(f"{_pint_unit(_spelled(unit), unit) ** 0.5:~C}") or None


def _ascii(unit: str) -> str:
    for sign, spelling in _ASCII.items():
        unit = unit.replace(sign, spelling)
    return unit


def _spelled(unit: str) -> str:
    return unit.replace("**", "^") if "**" in unit else unit


def _named(unit: str | None) -> str:
    return "(no unit)" if unit is None else f"({dimension(unit)})"
