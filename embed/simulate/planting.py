"""Where defects go, and how atoms of a crystal are taken away, exchanged and added."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from micdb.embed.simulate.lattices import inside_field
from micdb.embed.simulate.structure import Planted, Structure, are_bonded, renumbered
from micdb.errors import UsageError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

NO_DEFECTS: Mapping[str, int] = MappingProxyType({})
_BORDER = 0.25  # [nm] defects keep that far from the edge of the view
_SAME_COLUMN = 0.03  # [nm] as in `Structure.columns`
_BONDS_END = 0.5  # [nm]


def check_names(material: str, defects: Mapping[str, int], known: Iterable[str]) -> None:
    """Refuse names of defects that a material does not have.

    Raises
    ------
    UsageError
        With the names it has.
    """
    unknown = sorted(set(defects) - set(known))
    if unknown:
        raise UsageError(f"{material} has no defect {unknown[0]!r}; expected one of {', '.join(known)}")


def distance_to(planted: Iterable[Planted], xyz: Floats) -> Floats:
    """Return each atom's distance in the plane ``(n,)`` [nm] to defects and their atoms, or infinity."""
    sources = [np.array([one.xy]) for one in planted]
    sources += [xyz[np.array(one.atoms, dtype=np.int64), :2] for one in planted]
    if not sources:
        return np.full(len(xyz), np.inf)
    return np.asarray(cKDTree(np.concatenate(sources)).query(xyz[:, :2])[0], dtype=np.float64)


def choose_site(
    xyz: Floats,
    allowed: npt.NDArray[np.bool_],
    planted: Sequence[Planted],
    rng: np.random.Generator,
    *,
    name: str,
    field: tuple[float, float],
    separation: float,
) -> int:
    """Return one of the allowed atoms ``(n,)``, in the field and away from what is planted.

    Raises
    ------
    UsageError
        When there is no room left.
    """
    away = distance_to(planted, xyz) >= separation
    sites = np.flatnonzero(allowed & away & inside_field(xyz[:, :2], field, border=_BORDER))
    if not len(sites):
        raise UsageError(
            f"no room for another {name} in {field[1]:g} x {field[0]:g} nm with {len(planted)} defects "
            f"{separation:g} nm apart; plant fewer, or make the field larger or `separation` smaller"
        )
    return int(rng.choice(sites))


class Planter:
    """Atoms of a crystal while defects are planted; indices are those of the structure it starts from.

    Parameters
    ----------
    structure
        The crystal.
    field
        ``(y, x)`` [nm].
    rng
        Of the sites.
    separation
        Least distance of a defect's site from the others' atoms [nm].
    """

    def __init__(
        self,
        structure: Structure,
        field: tuple[float, float],
        rng: np.random.Generator,
        *,
        separation: float,
    ) -> None:
        self.rng = rng
        self.number = structure.number.copy()
        self._xyz = structure.xyz.copy()
        self._planted = list(structure.defects)
        self._kept = np.ones(len(self.number), bool)
        self._field, self._separation = field, separation
        self._tree = cKDTree(structure.xyz)

    @property
    def xyz(self) -> Floats:
        """Positions ``(n, 3)`` [nm], of removed atoms too."""
        return self._xyz

    def site(self, allowed: npt.NDArray[np.bool_], name: str) -> int:
        """Return an atom of a mask over the first ``n`` atoms, away from what is planted."""
        mask = np.zeros(len(self.number), bool)
        mask[: len(allowed)] = allowed
        return choose_site(
            self._xyz, mask & self._kept, self._planted, self.rng,
            name=name, field=self._field, separation=self._separation,
        )  # fmt: skip

    def column(self, site: int, share: float) -> list[int]:
        """Return atoms like this one in its column along the beam: a share of them, at least one.

        Which ones is left to chance; the share is rounded.
        """
        near = np.hypot(*(self._xyz[:, :2] - self._xyz[site, :2]).T) < _SAME_COLUMN
        like = np.flatnonzero(near & (self.number == self.number[site]) & self._kept)
        count = max(1, round(share * len(like)))
        return sorted(self.rng.choice(like, count, replace=False).tolist())

    def remove(self, atoms: Sequence[int], kind: str) -> None:
        """Take atoms away; the label names their former neighbours."""
        self._kept[list(atoms)] = False
        self._plant(kind, self._xyz[list(atoms)], self.around(atoms))

    def substitute(self, atoms: Sequence[int], number: int) -> None:
        """Exchange atoms for atoms of another number."""
        self.number[list(atoms)] = number
        self._plant("substitution", self._xyz[list(atoms)], atoms)

    def replace(self, atoms: Sequence[int], number: int) -> None:
        """Put one atom in the middle of several."""
        middle = self._xyz[list(atoms)].mean(axis=0)
        self._kept[list(atoms)] = False
        self.add(middle, number, "substitution")

    def add(self, xyz: Floats, number: int, kind: str) -> None:
        """Add atoms ``(k, 3)`` as one ``adatom``, ``interstitial``, or ``substitution`` of several by one."""
        added = np.reshape(xyz, (-1, 3))
        start = len(self.number)
        self._xyz = np.vstack((self._xyz, added))
        self.number = np.append(self.number, np.full(len(added), number))
        self._kept = np.append(self._kept, np.ones(len(added), bool))
        self._plant(kind, added, range(start, len(self.number)))

    def around(self, atoms: Sequence[int]) -> list[int]:
        """Return the atoms bonded to some atoms, as far as still there."""
        found: set[int] = set()
        for i in atoms:
            near = self._tree.query_ball_point(self._xyz[i], _BONDS_END)
            pairs = np.array([(i, k) for k in near])
            found |= set(pairs[are_bonded(self._xyz, self.number, pairs), 1].tolist())
        return sorted(i for i in found - set(atoms) if self._kept[i])

    def structure(self) -> Structure:
        """Return what there is now."""
        index = np.where(self._kept, np.cumsum(self._kept) - 1, -1)
        kept = self._kept
        return Structure(self._xyz[kept], self.number[kept], renumbered(self._planted, index))

    def _plant(self, kind: str, xyz: Floats, atoms: Iterable[int]) -> None:
        x, y = xyz[:, :2].mean(axis=0)
        self._planted.append(Planted(kind, (float(x), float(y)), tuple(sorted(atoms))))
