"""The record of a motif refuses what is none, and says how to mend it."""

from __future__ import annotations

import math

import numpy as np
import pytest

import micdb
from micdb.errors import NotFoundError, UnitError, UsageError
from micdb.query.motif.motif import Motif, length, numbers_of

RING = [(0.142 * math.cos(a), 0.142 * math.sin(a)) for a in np.radians(range(0, 360, 60))]


def test_it_is_public_and_a_frozen_record():
    assert micdb.Motif is Motif
    motif = Motif(np.array(RING), species=["C"] * 6)
    assert motif.positions_nm[0] == (0.142, 0.0)
    assert motif.species == ("C",) * 6
    assert len(motif) == 6
    assert motif.shortest == pytest.approx(0.142)
    assert motif == Motif(RING, ("C",) * 6)
    assert hash(motif) == hash(Motif(RING, ("C",) * 6))
    with pytest.raises(AttributeError):
        motif.species = None


@pytest.mark.parametrize(
    ("positions", "message"),
    [
        (RING[:4], "a motif has 5 to 30 atoms; this has 4: add neighbours"),
        (np.arange(62).reshape(31, 2), "a motif has 5 to 30 atoms; this has 31: leave the outer ones out"),
        (np.zeros((6, 3)), r"have the shape \(n, 2\), x and y \[nm\]; these have \(6, 3\)"),
        (np.zeros(6), r"these have \(6,\)"),
        (["a", "b"], "are pairs of numbers"),
        ([(0, 0), (1,)], "are pairs of numbers"),
        ([*RING, (math.nan, 0)], r"atom 6 of the motif is at \[nan, 0.0\]"),
        ([*RING, (math.inf, 0)], r"atom 6 of the motif is at \[inf, 0.0\]"),
        ([*RING, RING[2]], "atoms 2 and 6 of the motif are 0 nm apart; at least 0.03 nm are needed"),
        (np.array(RING) * 100, "the motif is 28.4 nm wide; at most 20 nm are allowed: positions are in nm"),
        ([(i / 10, i / 5) for i in range(6)], "lie within .* nm of one line: add atoms beside it"),
    ],
)
def test_what_is_no_motif_is_refused(positions, message):
    with pytest.raises(UsageError, match=message):
        Motif(positions)


@pytest.mark.parametrize(
    ("species", "message"),
    [
        (["C"] * 5, "the motif has 6 atoms and 5 species; give one for each, None if unknown"),
        ("C", "6 atoms and 1 species"),
        (["C"] * 5 + [6], 'a species is a text such as "Mo", or None if unknown; 6 is neither'),
        (["C"] * 5 + [""], "'' is neither"),
    ],
)
def test_species_fit_the_atoms(species, message):
    with pytest.raises(UsageError, match=message):
        Motif(RING, species)


def test_lengths_have_units():
    assert length("30 pm", "max_rmsd") == 0.03
    assert length(0.03, "max_rmsd") == 0.03
    with pytest.raises(UnitError, match="cannot compare kg"):
        length("3 kg", "max_rmsd")
    for wrong in (0, -1, "0 nm", math.inf, math.nan):
        with pytest.raises(UsageError, match='it must be above zero, for example "0.03 nm"'):
            length(wrong, "max_rmsd")
    for wrong in (None, True, [1]):
        with pytest.raises(UsageError, match="max_rmsd is .*; write a length"):
            length(wrong, "max_rmsd")


def test_a_motif_is_read_from_a_csv_file(tmp_path):
    path = tmp_path / "ring.csv"
    kinds = ["C", " N", "", "C", "C", "C"]
    lines = [f"{x},{y},{kind}" for (x, y), kind in zip(RING, kinds, strict=True)]
    path.write_text("\n".join(["x_nm, y_nm, species", *lines]))
    assert Motif.from_csv(path) == Motif(RING, ("C", "N", None, "C", "C", "C"))
    path.write_text("\n".join(["x_nm,y_nm", *(f"{x},{y}" for x, y in RING)]))
    assert Motif.from_csv(path) == Motif(RING)
    path.write_text("x,y_nm\n1,2\n")
    with pytest.raises(UsageError, match="has no column x_nm; it has x, y_nm"):
        Motif.from_csv(path)
    path.write_text("")
    with pytest.raises(UsageError, match="is no CSV table"):
        Motif.from_csv(path)
    with pytest.raises(NotFoundError, match="no file .*none.csv; give a CSV file with the columns x_nm"):
        Motif.from_csv(tmp_path / "none.csv")


def test_numbers_with_commas():
    assert numbers_of("1.5, 2") == (1.5, 2.0)
    assert numbers_of(None) is None
    with pytest.raises(UsageError, match="'a,b' are no numbers; write for example 1.2,3.4"):
        numbers_of("a,b")
