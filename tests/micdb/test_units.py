"""Units: vendors' spellings, conversion, and what users type."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from micdb import units
from micdb.errors import UnitError

LENGTHS = ("pm", "angstrom", "nm", "um", "mm", "cm", "m")


@pytest.mark.parametrize(
    ("written", "ours"),
    [
        ("µm", "um"), ("μm", "um"), ("\\u00B5m", "um"), ("micron", "um"), (" um ", "um"), ("[u_m]", "um"),
        ("[n_m]", "nm"), ("n_m", "nm"), ("1 / nm", "1/nm"), ("1/µm", "1/um"), ("[n_m^-1]", "1/nm"),
        ("Å", "angstrom"), ("\u212b", "angstrom"), ("°C", "degC"), ("pA", "pA"), ("GPa", "GPa"),
        ("um^2", "um**2"), ("", None), ("pix", None), ("[]", None), (None, None), ("<undefined>", None),
    ],
)  # fmt: skip
def test_spellings(written, ours):
    assert units.normalise(written) == ours


@pytest.mark.parametrize("written", ["nn", "furlongs per", "1/0", "😀", "nm nm("])
def test_an_unknown_unit_says_what_to_write(written):
    with pytest.raises(UnitError, match="unknown unit .*; write for example nm, um"):
        units.normalise(written)
    assert units.known(written) is None


@given(st.floats(1e-12, 1e12), st.sampled_from(LENGTHS), st.sampled_from(LENGTHS))
def test_there_and_back(value, one, other):
    there = units.convert(value, one, other)
    assert units.convert(there, other, one) == pytest.approx(value, rel=1e-12)


def test_temperatures_have_an_offset():
    assert units.convert(800, "degC", "K") == pytest.approx(1073.15)
    assert units.convert(1073.15, "K", "degC") == pytest.approx(800)


def test_a_wrong_dimension_names_both():
    with pytest.raises(UnitError, match=r"cannot compare kg \(\[mass\]\) with nm \(\[length\]\)"):
        units.convert(1, "kg", "nm")
    with pytest.raises(UnitError, match=r"a plain number \(no unit\) with nm"):
        units.convert(1, None, "nm")


@pytest.mark.parametrize(
    ("text", "value"),
    [("0.5 um", (0.5, "um")), ("1nm", (1.0, "nm")), ("-3e-2 V", (-0.03, "V")), ("7", (7.0, None)),
     (".5 µm", (0.5, "um"))],
)  # fmt: skip
def test_quantities(text, value):
    assert units.parse(text) == value


def test_no_quantity():
    with pytest.raises(UnitError, match="'wide' is no quantity; write a number and a unit"):
        units.parse("wide")


def test_products():
    assert units.product("nm", "nm") == "nm**2"
    assert units.product(None, "nm**2", divide=True) == "1/nm**2"
    assert units.product("nm", "nm", divide=True) is None
    assert units.compatible("1/nm**2", units.product(None, "um**2", divide=True))


@given(st.text(max_size=12))
def test_any_text_is_a_unit_or_a_clear_error(text):
    try:
        unit = units.normalise(text)
    except UnitError as error:
        assert "\n" not in str(error).replace(repr(text), "")
    else:
        assert unit is None or (unit.isascii() and units.normalise(unit) == unit)
        assert math.isfinite(units.convert(1.0, unit, unit))
