"""Compositions: what formulas and alloys say, and what is refused instead of guessed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from micdb.composition import element, parse
from micdb.errors import UsageError


@pytest.mark.parametrize(
    ("text", "atomic"),
    [
        ("Ni3Al", {"Ni": 75, "Al": 25}),
        ("Mo0.5W0.5S2", {"S": 200 / 3, "Mo": 50 / 3, "W": 50 / 3}),
        ("Ca(OH)2", {"H": 40, "O": 40, "Ca": 20}),
        ("(Fe0.8Cr0.2)3Al", {"Fe": 60, "Al": 25, "Cr": 15}),
        ("Ni-20Al at%", {"Ni": 80, "Al": 20}),
        ("Si[30]O2", {"O": 200 / 3, "Si": 100 / 3}),  # an isotope is its element
    ],
)
def test_percent_of_atoms(text, atomic):
    assert parse(text).atomic == pytest.approx(atomic)


@pytest.mark.parametrize("written", ["Fe-18Cr-3Al wt%", "Fe–18Cr–3Al (wt.%)", " Fe-18Cr-3Al mass % "])
def test_an_alloy_in_percent_of_mass(written):
    found = parse(written)
    assert found.weight == {"Fe": 79.0, "Cr": 18.0, "Al": 3.0}  # exactly as written
    # 18 / 51.9961 against 79 / 55.845 and 3 / 26.9815 (standard atomic weights)
    moles = {"Fe": 79 / 55.845, "Cr": 18 / 51.9961, "Al": 3 / 26.9815}
    assert found.atomic["Cr"] == pytest.approx(100 * moles["Cr"] / sum(moles.values()), rel=1e-5)
    assert found.text == written.strip()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("Fe-18Cr", r"write Fe-18Cr wt% \(mass\) or Fe-18Cr at% \(atoms\)"),
        ("Fe-60Cr-50Al wt%", "has 110 percent beside Fe, which is the rest"),
        ("Fe-1Cr-2Cr wt%", "names an element twice"),
        ("Fe-5Fe wt%", "names an element twice"),
        ("Xx2O3", "is no composition .*unknown element Xx"),
        ("ni3al", "is no composition; write a formula such as Ni3Al"),
        ("", "is no composition"),
        ("Fe0", "is no composition"),
        ("steel", "is no composition"),
    ],
)
def test_what_cannot_be_read_is_refused(text, says):
    with pytest.raises(UsageError, match=says):
        parse(text)


@pytest.mark.parametrize(
    ("symbol", "says"), [("ni", "write Ni"), ("nickel", "write Ni"), ("Qq", "for example Ni")]
)
def test_an_element_is_named_by_its_symbol(symbol, says):
    assert element("Ni") == "Ni"
    with pytest.raises(UsageError, match=says):
        element(symbol)


SYMBOLS = st.lists(st.sampled_from(["Al", "Cr", "Mo", "Ni", "C", "W"]), min_size=1, max_size=4, unique=True)


@settings(max_examples=50, deadline=None)
@given(symbols=SYMBOLS, amounts=st.lists(st.integers(1, 200).map(lambda n: n / 10), min_size=4, max_size=4))
def test_atoms_and_mass_tell_the_same(symbols, amounts):
    parts = list(zip(symbols, amounts, strict=False))
    by_mass = parse(f"Fe-{'-'.join(f'{amount}{symbol}' for symbol, amount in parts)} wt%")
    by_atoms = parse("".join(f"{symbol}{share:.12f}" for symbol, share in by_mass.atomic.items()))
    assert sum(by_mass.atomic.values()) == pytest.approx(100)
    assert by_atoms.weight == pytest.approx(by_mass.weight, rel=1e-9)
