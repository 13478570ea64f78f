"""Atom columns as an ASE structure, and as XYZ or CIF files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from micdb.errors import UsageError
from micdb.extras import require

if TYPE_CHECKING:
    from os import PathLike

    import ase

_ANGSTROM = 10.0  # per nm
_VACUUM = 1.0  # [nm] between the atoms and the walls of the cell they are put in
_FORMATS = {".xyz": "extxyz", ".cif": "cif"}


def to_ase(
    xy_nm: npt.NDArray[np.floating],
    species: npt.NDArray[Any] | None = None,
    *,
    vectors_nm: npt.NDArray[np.floating] | None = None,
) -> ase.Atoms:
    """Return atom columns as an ASE structure in the plane z = 0.

    Parameters
    ----------
    xy_nm
        Positions ``(n, 2)`` [nm]; y points down in an image and up in the structure, so what is seen along -z
        looks like the image.
    species
        Element symbol or atomic number of each ``(n,)``; ``X``, of no element, unless given.
    vectors_nm
        Lattice vectors ``(2, 2)`` as rows x, y [nm], for a periodic structure: the atoms of one cell.
        Otherwise the structure is not periodic and stands in a box with 1 nm around it.

    Raises
    ------
    MissingExtraError
        ASE is not installed.
    UsageError
        There is not one species for each position, or one is no element.
    """
    require("ase")
    from ase import Atoms

    xy = np.asarray(xy_nm, dtype=np.float64).reshape(-1, 2)
    symbols = ["X"] * len(xy) if species is None else list(np.asarray(species).tolist())
    if len(symbols) != len(xy):
        raise UsageError(f"{len(symbols)} species for {len(xy)} positions; one for each is needed")
    if vectors_nm is None:
        low, high = (xy.min(axis=0), xy.max(axis=0)) if len(xy) else (np.zeros(2), np.zeros(2))
        cell = np.diag([*(high - low), 0.0]) + 2 * _VACUUM * np.eye(3)
        place = np.column_stack((xy[:, 0] - low[0], high[1] - xy[:, 1], np.zeros(len(xy)))) + _VACUUM
    else:
        cell = np.diag([0.0, 0.0, 2 * _VACUUM])
        cell[:2] = _upright(np.asarray(vectors_nm, dtype=np.float64))
        fractional = _upright(xy)[:, :2] @ np.linalg.inv(cell[:2, :2])
        place = np.column_stack((fractional % 1.0 @ cell[:2, :2], np.zeros(len(xy))))
    try:
        return Atoms(
            symbols,
            positions=place * _ANGSTROM,
            cell=cell * _ANGSTROM,
            pbc=[vectors_nm is not None] * 2 + [False],
        )
    except (KeyError, ValueError) as error:
        raise UsageError(
            f"species {error} is no element; expected symbols such as 'Si' or atomic numbers"
        ) from None


def write_structure(path: str | PathLike[str], atoms: ase.Atoms) -> Path:
    """Write a structure as XYZ (``.xyz``, with its cell) or CIF (``.cif``) and return the path.

    Raises
    ------
    UsageError
        The name ends in neither.
    """
    require("ase")
    from ase.io import write

    target = Path(path)
    if target.suffix.lower() not in _FORMATS:
        raise UsageError(f"{target.name} ends in neither .xyz nor .cif; name the file after its format")
    write(target, atoms, format=_FORMATS[target.suffix.lower()])
    return target


def _upright(xy: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.column_stack((xy[:, 0], -xy[:, 1], np.zeros(len(xy))))
