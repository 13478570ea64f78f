"""Columns of atoms seen along a zone axis: graphene, disulphides, metals; vacancies planted, positions exact.

Lattice constants: graphene 0.246 nm (Castro Neto et al., Rev. Mod. Phys. 81, 109, 2009); MoS2 0.316 nm and
WS2 0.315 nm (Schutte et al., J. Solid State Chem. 70, 207, 1987); Au 0.408 nm, Ag 0.409 nm (Pearson);
SrTiO3 0.3905 nm (Okazaki & Kawaminami, Mater. Res. Bull. 8, 545, 1973).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from micdb.embed.simulate.structure import CONTRAST_EXPONENT, Columns

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Cell:
    """A two-dimensional unit cell.

    Parameters
    ----------
    a, b
        Cell vectors ``(x, y)`` [nm].
    sites
        Fractional positions along `a` and `b`, atomic number, atoms in the column.
    """

    a: tuple[float, float]
    b: tuple[float, float]
    sites: tuple[tuple[float, float, int, int], ...]


def hexagonal(constant: float, *sites: tuple[float, float, int, int]) -> Cell:
    """Return a hexagonal cell: length of its vectors [nm], and sites as in `Cell`."""
    return Cell((constant, 0.0), (constant / 2, constant * math.sqrt(3) / 2), sites)


_THIRD, _TWO_THIRDS = 1 / 3, 2 / 3

#: Known materials by name.
CELLS: dict[str, Cell] = {
    "graphene": hexagonal(0.246, (_THIRD, _THIRD, 6, 1), (_TWO_THIRDS, _TWO_THIRDS, 6, 1)),
    "MoS2": hexagonal(0.316, (_THIRD, _THIRD, 42, 1), (_TWO_THIRDS, _TWO_THIRDS, 16, 2)),
    "WS2": hexagonal(0.315, (_THIRD, _THIRD, 74, 1), (_TWO_THIRDS, _TWO_THIRDS, 16, 2)),
    # fcc along [001]: a square net of half the face diagonal; along [111]: the close-packed layer
    "Au[001]": Cell((0.2884, 0.0), (0.0, 0.2884), ((0.0, 0.0, 79, 1),)),
    # strontium, and titanium with oxygen; columns of oxygen alone are not seen in dark field
    "SrTiO3[001]": Cell((0.3905, 0.0), (0.0, 0.3905), ((0.0, 0.0, 38, 1), (0.5, 0.5, 22, 1))),
    "Ag[111]": hexagonal(0.2889, (0.0, 0.0, 47, 1)),
}


def crystal(
    material: str,
    field: tuple[float, float],
    *,
    seed: int,
    rotation: float = 0.0,
    jitter: float = 0.0,
    vacancies: int = 0,
    margin: float = 0.5,
) -> Columns:
    """Fill a field of view with a crystal.

    Parameters
    ----------
    material
        A key of `CELLS`.
    field
        ``(y, x)`` [nm].
    seed
        Of jitter, origin and the choice of vacancies.
    rotation
        Of the cell vector `a` against x [deg].
    jitter
        Standard deviation of static displacements along each axis [nm].
    vacancies
        Number of atoms taken away, from the lightest columns, inside the field. A column of two keeps one.
    margin
        Columns that far outside the field are kept too, for their tails [nm].
    """
    rng = np.random.default_rng(seed)
    cell = CELLS[material]
    xy, number, atoms = fill(
        cell, field, rotation=math.radians(rotation), origin=rng.random(2), margin=margin
    )
    xy = xy + rng.normal(0.0, jitter, xy.shape) if jitter else xy
    inside = inside_field(xy, field, border=min(0.3, min(field) / 4))
    light = np.flatnonzero(inside & (number == min(site[2] for site in cell.sites)))
    hit = rng.choice(light, size=min(vacancies, len(light)), replace=False)
    atoms[hit] -= 1
    kept = atoms > 0
    weight = atoms * number.astype(float) ** CONTRAST_EXPONENT
    return Columns(xy[kept], number[kept], atoms[kept], xy[hit], weight[kept])


def inside_field(xy: Floats, field: tuple[float, float], *, border: float = 0.0) -> npt.NDArray[np.bool_]:
    """Return which positions ``(n, 2)`` [nm] lie in a field ``(y, x)`` [nm], `border` [nm] from its edge."""
    upper = np.array([field[1], field[0]]) - border
    return np.asarray(((xy >= border) & (xy <= upper)).all(axis=1))


def fill(
    cell: Cell, field: tuple[float, float], *, rotation: float, origin: Floats, margin: float
) -> tuple[Floats, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Repeat a cell over a field of view.

    Parameters
    ----------
    cell
        The cell.
    field
        ``(y, x)`` [nm].
    rotation
        Of the cell vector `a` against x [radian].
    origin
        Of the net, as a share of the cell vectors ``(2,)``.
    margin
        Columns that far outside the field are kept too [nm].

    Returns
    -------
    xy, number, atoms
        Positions ``(n, 2)`` [nm], atomic numbers and atoms in the column ``(n,)``.
    """
    cosine, sine = math.cos(rotation), math.sin(rotation)
    basis = np.array([cell.a, cell.b]) @ np.array([[cosine, sine], [-sine, cosine]])
    reach = math.hypot(*field) / 2 + margin
    # cells needed to cover a disc of that radius: the reciprocal vectors' lengths
    count = int(np.ceil(reach * np.linalg.norm(np.linalg.inv(basis), axis=0).max())) + 1
    steps = np.arange(-count, count + 1)
    cells = np.stack(np.meshgrid(steps, steps, indexing="ij"), axis=-1).reshape(-1, 2)
    sites = np.array([site[:2] for site in cell.sites])
    fractional = (cells[:, None, :] + sites[None] + origin).reshape(-1, 2)
    xy = fractional @ basis + np.array([field[1], field[0]]) / 2
    number = np.tile([site[2] for site in cell.sites], len(cells))
    atoms = np.tile([site[3] for site in cell.sites], len(cells))
    near = inside_field(xy, field, border=-margin)
    return xy[near], number[near], atoms[near]
