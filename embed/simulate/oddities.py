"""What no class of defects covers: debris, disorder, a second layer, planted as ``unknown``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from micdb.embed.simulate.structure import Planted, Structure
from micdb.errors import UsageError

Floats = npt.NDArray[np.float64]

_CLOSEST = 0.12  # [nm] of two atoms of debris in projection
_HEAVIEST = 3.0  # times the heaviest atomic number of the crystal, of debris
_BORDER = 0.45  # [nm] from the edge of the view


def with_oddity(made: Structure, name: str, field: tuple[float, float], *, seed: int) -> Structure:
    """Return a structure with something odd in it.

    Parameters
    ----------
    made
        A crystal.
    name
        One of `ODDITIES`.
    field
        ``(y, x)`` [nm] of the view.
    seed
        Of its place and shape.

    Raises
    ------
    UsageError
        There is no such oddity.
    """
    if name not in ODDITIES:
        raise UsageError(f"there is no oddity {name!r}; expected one of {', '.join(ODDITIES)}")
    rng = np.random.default_rng((seed, 99))
    size = np.array([field[1], field[0]])
    centre = rng.uniform(_BORDER, np.maximum(size - _BORDER, _BORDER + 1e-3))
    radius = rng.uniform(0.25, 0.5)  # [nm]
    changed, atoms = ODDITIES[name](made, centre, radius, rng)
    odd = Planted("unknown", (float(centre[0]), float(centre[1])), tuple(sorted(atoms)))
    reach = 2 * radius + 0.3  # [nm] what stood there cannot be told any more
    kept = [one for one in changed.defects if np.hypot(*(np.array(one.xy) - centre)) > reach]
    return replace(changed, defects=(*kept, odd))


Oddity = tuple[Structure, list[int]]


def _added(made: Structure, xy: Floats, number: npt.NDArray[np.int64], height: float) -> Oddity:
    xyz = np.vstack((made.xyz, np.column_stack((xy, np.full(len(xy), height)))))
    start = len(made.number)
    grown = Structure(xyz, np.concatenate((made.number, number)), made.defects)
    return grown, list(range(start, start + len(xy)))


def _debris(made: Structure, centre: Floats, radius: float, rng: np.random.Generator) -> Oddity:
    """Atoms at random places: a contaminant molecule or a small cluster."""
    places: list[Floats] = []
    for _ in range(int(rng.integers(4, 14))):
        one = centre + radius * np.sqrt(rng.random()) * _direction(rng)
        if not places or np.hypot(*(np.array(places) - one).T).min() > _CLOSEST:
            places.append(one)
    heaviest = min(int(made.number.max() * _HEAVIEST), 79)
    number = rng.integers(6, max(heaviest, 7), len(places))
    return _added(made, np.array(places), number, height=0.4)


def _disorder(made: Structure, centre: Floats, radius: float, rng: np.random.Generator) -> Oddity:
    """Atoms of the crystal moved by a third of a bond: a damaged spot."""
    inside = np.flatnonzero(np.hypot(*(made.xyz[:, :2] - centre).T) < 1.2 * radius)
    xyz = made.xyz.copy()
    xyz[inside, :2] += rng.normal(0.0, 0.05, (len(inside), 2))
    return replace(made, xyz=xyz), inside.tolist()


def _overlay(made: Structure, centre: Floats, radius: float, rng: np.random.Generator) -> Oddity:
    """A turned piece of the crystal upon it: the corner of a second layer."""
    turned = made.rotated(float(rng.uniform(10, 50)), about=(float(centre[0]), float(centre[1])))
    xy = turned.xyz[:, :2] + rng.normal(0.0, 0.1, 2)
    inside = np.hypot(*(xy - centre).T) < 1.3 * radius
    if not inside.any():
        inside[int(cKDTree(xy).query(centre)[1])] = True
    return _added(made, xy[inside], made.number[inside], height=0.6)


def _direction(rng: np.random.Generator) -> Floats:
    turn = rng.uniform(0, 2 * np.pi)
    return np.array([np.cos(turn), np.sin(turn)])


#: What can be put on a crystal, by name.
ODDITIES: dict[str, Callable[[Structure, Floats, float, np.random.Generator], Oddity]] = {
    "debris": _debris,
    "disorder": _disorder,
    "overlay": _overlay,
}
