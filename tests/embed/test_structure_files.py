"""Structures for ASE, and what comes back from the files."""

from __future__ import annotations

import numpy as np
import pytest
from ase.io import read

from micdb.embed.structure_files import to_ase, write_structure
from micdb.errors import UsageError

XY = np.array([[0.0, 0.0], [0.142, 0.0], [0.213, 0.123]])


def test_positions_and_elements():
    atoms = to_ase(XY, np.array(["C", "Si", "C"]))
    assert atoms.get_chemical_formula() == "C2Si"
    assert atoms.get_distance(0, 1) == pytest.approx(1.42)  # [Angstrom]
    step = atoms.positions[2] - atoms.positions[1]
    np.testing.assert_allclose(
        step, [0.71, -1.23, 0], atol=1e-9
    )  # down in the image is down in the structure
    assert not atoms.pbc.any()
    assert to_ase(XY).get_chemical_symbols() == ["X"] * 3
    assert to_ase(XY, np.array([6, 14, 6])).get_chemical_symbols() == ["C", "Si", "C"]


@pytest.mark.parametrize("suffix", ["xyz", "cif"])
def test_files_come_back(tmp_path, suffix):
    vectors = np.array([[0.246, 0.0], [-0.123, 0.213]])
    sites = np.array([[0.0, 0.0], [0.123, 0.071]])
    atoms = to_ase(sites, np.array(["C", "C"]), vectors_nm=vectors)
    path = write_structure(tmp_path / f"cell.{suffix}", atoms)
    back = read(path)
    assert back.get_chemical_symbols() == ["C", "C"]
    assert back.cell.lengths()[:2] == pytest.approx([2.46, 2.46], rel=1e-3)
    assert back.cell.angles()[2] == pytest.approx(120, abs=0.1)
    assert back.get_distance(0, 1, mic=True) == pytest.approx(1.42, abs=1e-3)


def test_errors_say_what_to_do(tmp_path):
    with pytest.raises(UsageError, match="2 species for 3 positions"):
        to_ase(XY, np.array(["C", "C"]))
    with pytest.raises(UsageError, match="is no element; expected symbols such as 'Si'"):
        to_ase(XY, np.array(["C", "Qq", "C"]))
    with pytest.raises(UsageError, match=r"a.pdb ends in neither .xyz nor .cif"):
        write_structure(tmp_path / "a.pdb", to_ase(XY))
