"""A motif: a few atoms in the plane whose arrangement is looked for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import pdist

from micdb import units
from micdb.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from micdb.query.frame import Frame

FEWEST, MOST = 5, 30  # atoms
CLOSEST = 0.03  # [nm] no two columns of atoms are resolved that are nearer
WIDEST = 20.0  # [nm] a local arrangement
FLATTEST = 0.01  # [nm] root mean square distance from the best line; below it left and right are the same


@dataclass(frozen=True, slots=True)
class Motif:
    """An arrangement of 5 to 30 atoms, to be handed to `micdb.Frame.find_motif`.

    Parameters
    ----------
    positions_nm
        ``(n, 2)``, x and y [nm], y downwards as in images; where the origin lies does not matter.
    species
        Element of each atom as the extractor writes it, ``"Mo"``; None for an unknown one, or for all.

    Raises
    ------
    UsageError
        There are too few or too many atoms, a position is not finite, two atoms are in one place, all lie
        on a line, they are spread over more than 20 nm, or the species do not fit.

    Examples
    --------
    >>> ring = [(0.142 * math.cos(a), 0.142 * math.sin(a)) for a in np.radians(range(0, 360, 60))]
    >>> len(Motif(ring))
    6
    """

    positions_nm: Sequence[Sequence[float]] | npt.NDArray[np.floating]
    species: Sequence[str | None] | None = None

    def __post_init__(self) -> None:
        xy = _positions(self.positions_nm)
        object.__setattr__(self, "positions_nm", tuple((float(x), float(y)) for x, y in xy))
        if self.species is not None:
            object.__setattr__(self, "species", _species(self.species, len(xy)))

    def __len__(self) -> int:
        return len(self.positions_nm)

    @property
    def xy(self) -> npt.NDArray[np.float64]:
        """Positions ``(n, 2)`` [nm]."""
        return np.array(self.positions_nm)

    @property
    def shortest(self) -> float:
        """Smallest distance between two of its atoms [nm]."""
        return float(pdist(self.xy).min())

    @classmethod
    def from_image(
        cls,
        images: Frame | Any,
        uid: str,
        *,
        box: Sequence[float] | None = None,
        centre: Sequence[float] | None = None,
        radius: float | str | None = None,
        frame: int = 0,
    ) -> Motif:
        """Take the atoms that were found in a region of an image.

        Parameters
        ----------
        images
            A database or a frame of its images; ``frame.using(...)`` says whose atoms are meant.
        uid
            Of the image.
        box
            Region: x, y, width, height [pixel], from the top-left corner.
        centre, radius
            Instead of `box` a disc: x and y [nm] from the centre of the top-left pixel, and its radius,
            ``"0.4 nm"`` or a number [nm].
        frame
            Of a stack, from 0.

        Raises
        ------
        UsageError
            No such image, no atoms or no scale, a region that is none, or too few or too many atoms in it.
        """
        from micdb.query.motif.region import atoms_within

        return cls(*atoms_within(images, uid, box=box, centre=centre, radius=radius, number=frame))

    @classmethod
    def from_csv(cls, path: str | PathLike[str]) -> Motif:
        """Read positions, and species where they are known, from columns x_nm, y_nm and species.

        Raises
        ------
        NotFoundError
            There is no such file.
        UsageError
            A column is missing, or the atoms are no motif.
        """
        import pandas as pd

        if not Path(path).is_file():
            raise NotFoundError(f"no file {path}; give a CSV file with the columns x_nm, y_nm and species")
        try:
            table = pd.read_csv(path, skipinitialspace=True)
        except ValueError as error:  # what pandas raises for a file that is no table
            raise UsageError(f"{path} is no CSV table: {error}") from error
        missing = {"x_nm", "y_nm"} - set(table.columns)
        if missing:
            raise UsageError(
                f"{path} has no column {' or '.join(sorted(missing))}; it has {', '.join(table.columns)}"
            )
        kinds = None
        if "species" in table:
            kinds = [None if pd.isna(kind) else str(kind).strip() for kind in table["species"]]
        return cls(table[["x_nm", "y_nm"]].to_numpy(), kinds)


def numbers_of(text: str | None) -> tuple[float, ...] | None:
    """Return numbers written with commas between them.

    Raises
    ------
    UsageError
        They are no numbers.
    """
    try:
        return None if text is None else tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"{text!r} are no numbers; write for example 1.2,3.4") from None


def length(value: float | str, name: str) -> float:
    """Return a length [nm] given as a number [nm] or as text with its unit.

    Raises
    ------
    UnitError
        The text has no unit of length.
    UsageError
        It is not above zero.
    """
    if isinstance(value, str):
        nm = units.convert(*units.parse(value), "nm")
    elif isinstance(value, int | float | np.number) and not isinstance(value, bool):
        nm = float(value)
    else:
        raise UsageError(f'{name} is {value!r}; write a length, for example "0.03 nm"')
    if not 0 < nm < math.inf:
        raise UsageError(f'{name} is {value!r}; it must be above zero, for example "0.03 nm"')
    return nm


def _positions(given: Any) -> npt.NDArray[np.float64]:
    try:
        xy = np.array(given, np.float64)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"the positions of a motif are pairs of numbers, x and y [nm]; these are not: {error}"
        ) from error
    if xy.ndim != 2 or xy.shape[1] != 2:
        raise UsageError(
            f"the positions of a motif have the shape (n, 2), x and y [nm]; these have {xy.shape}"
        )
    if not FEWEST <= len(xy) <= MOST:
        raise UsageError(
            f"a motif has {FEWEST} to {MOST} atoms; this has {len(xy)}: "
            + ("add neighbours" if len(xy) < FEWEST else "leave the outer ones out")
        )
    if not np.isfinite(xy).all():
        bad = int(np.flatnonzero(~np.isfinite(xy).all(axis=1))[0])
        raise UsageError(
            f"atom {bad} of the motif is at {xy[bad].tolist()}; positions are finite numbers [nm]"
        )
    _check_shape(xy)
    return xy


def _check_shape(xy: npt.NDArray[np.float64]) -> None:
    distances = pdist(xy)
    if distances.min() < CLOSEST:
        i, j = np.column_stack(np.triu_indices(len(xy), 1))[int(distances.argmin())].tolist()
        raise UsageError(
            f"atoms {i} and {j} of the motif are {distances.min():.3g} nm apart; "
            f"at least {CLOSEST:g} nm are needed: positions are in nm"
        )
    if distances.max() > WIDEST:
        raise UsageError(
            f"the motif is {distances.max():.3g} nm wide; "
            f"at most {WIDEST:g} nm are allowed: positions are in nm"
        )
    flatness = np.linalg.svd(xy - xy.mean(axis=0), compute_uv=False)[1] / math.sqrt(len(xy))
    if flatness < FLATTEST:
        raise UsageError(
            f"all atoms of the motif lie within {flatness:.2g} nm of one line: add atoms beside it"
        )


def _species(given: Any, n: int) -> tuple[str | None, ...]:
    found = (given,) if isinstance(given, str) else tuple(given)
    if len(found) != n:
        raise UsageError(
            f"the motif has {n} atoms and {len(found)} species; give one for each, None if unknown"
        )
    wrong = [one for one in found if one is not None and not (isinstance(one, str) and one)]
    if wrong:
        raise UsageError(f'a species is a text such as "Mo", or None if unknown; {wrong[0]!r} is neither')
    return found
