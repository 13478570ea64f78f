"""Slabs of a crystal seen along a zone axis."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

from micdb.embed.simulate.structure import Structure

Floats = npt.NDArray[np.float64]

_ROUNDING = 1e-6  # [nm] atoms on a surface belong to the slab whatever the last bit says


@dataclass(frozen=True, slots=True)
class Crystal:
    """A three-dimensional unit cell.

    Parameters
    ----------
    cell
        Cell vectors as rows ``(3, 3)`` [nm].
    sites
        Fractional positions ``(k, 3)``.
    number
        Atomic numbers ``(k,)``.
    """

    cell: Floats
    sites: Floats
    number: npt.NDArray[np.int64]


def cubic(constant: float, *sites: tuple[float, float, float, int]) -> Crystal:
    """Return a cubic crystal of sites ``x, y, z, atomic number``; the constant is in nm."""
    return Crystal(
        constant * np.eye(3),
        np.array([site[:3] for site in sites], dtype=float),
        np.array([site[3] for site in sites], dtype=np.int64),
    )


def slab(
    crystal: Crystal,
    field: tuple[float, float],
    *,
    axis: tuple[int, int, int] = (0, 0, 1),
    thickness: float,
    rotation: float = 0.0,
    origin: tuple[float, float] = (0.0, 0.0),
    margin: float = 0.5,
) -> Structure:
    """Fill a field of view with a slab.

    Parameters
    ----------
    crystal
        What it is made of.
    field
        ``(y, x)`` [nm].
    axis
        Zone axis along the beam, in cell vectors.
    thickness
        Atoms with z from 0 to under this are kept [nm].
    rotation
        Of the first cell vector that is not along the beam, as projected, against x [deg].
    origin
        Place of the cell's origin from the middle of the field, ``(x, y)`` [nm].
    margin
        Atoms that far outside the field are kept too, for their tails [nm].
    """
    turned = crystal.cell @ beam_frame(crystal.cell, axis).T @ _turn(math.radians(rotation)).T
    middle = np.array([field[1] / 2 + origin[0], field[0] / 2 + origin[1], 0.0])
    low = np.array([-margin, -margin, 0.0])
    high = np.array([field[1] + margin, field[0] + margin, thickness])
    corners = np.array(list(product(*zip(low, high, strict=True)))) - middle
    inverse = np.linalg.inv(turned)
    reach = corners @ inverse
    steps = [
        np.arange(math.floor(a) - 1, math.ceil(b) + 2)
        for a, b in zip(reach.min(axis=0), reach.max(axis=0), strict=True)
    ]
    cells = np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1).reshape(-1, 1, 3)
    xyz = (cells + crystal.sites).reshape(-1, 3) @ turned + middle
    inside = ((xyz >= low - _ROUNDING) & (xyz < high - [0.0, 0.0, _ROUNDING])).all(axis=1)
    return Structure(xyz[inside], np.tile(crystal.number, len(cells))[inside])


def beam_frame(cell: Floats, axis: tuple[int, int, int]) -> Floats:
    """Return the axes x, y, z of the view as rows ``(3, 3)``: z along the zone axis."""
    z = np.array(axis, dtype=float) @ cell
    z = z / np.linalg.norm(z)
    x = next(flat for one in cell if np.linalg.norm(flat := one - (one @ z) * z) > 1e-3 * np.linalg.norm(one))
    x = x / np.linalg.norm(x)
    return np.array([x, np.cross(z, x), z])


def _turn(angle: float) -> Floats:
    cosine, sine = math.cos(angle), math.sin(angle)
    return np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])
