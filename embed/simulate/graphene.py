"""Graphene: vacancies, silicon in its known sites, Stone-Wales, adatoms, pores, edges; relaxed.

Silicon replaces one atom and bonds three, or two and bonds four (Zhou et al., Phys. Rev. Lett. 109, 206803,
2012; Ramasse et al., Nano Lett. 13, 4989, 2013). Clusters are named by silicon atoms and the carbon atoms
around them, as in libraries of measured ones (Ziatdinov et al., Sci. Adv. 5, eaaw8989, 2019): taking n
connected atoms out of the net leaves n + 2 bonds open. The rotated bond is that of Stone and Wales
(Chem. Phys. Lett. 128, 501, 1986); the divacancy closes to two pentagons and an octagon.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from micdb.embed.simulate.grains import grains
from micdb.embed.simulate.lattices import crystal
from micdb.embed.simulate.network import Network
from micdb.embed.simulate.planting import NO_DEFECTS, check_names, choose_site
from micdb.embed.simulate.structure import Structure

Floats = npt.NDArray[np.float64]
_Plant = Callable[[Network, int, np.random.Generator], None]

_CARBON, _SILICON = 6, 14
_REACH = 1.2  # [nm] atoms so near a defect relax: bonds are right to 0.4 %, those of a divacancy to 0.9 %
_BEYOND = 0.5  # [nm] more than is kept, so that nothing relaxes to a free edge that is none
_HELD = 0.2  # [nm] the outermost atoms do not move
# Over a bond's middle: carbon (Lehtinen et al., Phys. Rev. Lett. 91, 017202, 2003) and silicon (Akturk et
# al., Appl. Phys. Lett. 96, 123112, 2010).
_ADATOM_HEIGHT, _SILICON_HEIGHT = 0.187, 0.209  # [nm]

# Silicon clusters: the shape of the hole, and which of its atoms each silicon stands for.
_CLUSTERS: dict[str, tuple[str, tuple[tuple[int, ...], ...]]] = {
    "Si1C3": ("chain-1", ((0,),)),
    "Si1C4": ("chain-2", ((0, 1),)),
    "Si2C4": ("chain-2", ((0,), (1,))),
    "Si2C5": ("chain-3", ((0, 1), (2,))),
    "Si2C6": ("chain-4", ((0, 1), (2, 3))),
    "Si3C6": ("star", ((1,), (2,), (3,))),
}


def graphene(
    field: tuple[float, float],
    *,
    seed: int,
    rotation: float = 0.0,
    defects: Mapping[str, int] = NO_DEFECTS,
    grain_count: int = 1,
    separation: float = 0.8,
    margin: float = 0.5,
) -> Structure:
    """Fill a field of view with a sheet.

    Parameters
    ----------
    field
        ``(y, x)`` [nm].
    seed
        Of origin, sites and shapes.
    rotation
        Of the zigzag direction against x [deg]; of the first grain.
    defects
        How many of each name in `DEFECTS`.
    grain_count
        More than one gives grains of random orientation, parted by five- and seven-membered rings.
    separation
        Least distance of a defect's site from the others' atoms [nm].
    margin
        Atoms that far outside the field are kept too, for their tails [nm].

    Raises
    ------
    UsageError
        For an unknown name, or when there is no room left.
    """
    check_names("graphene", defects, DEFECTS)
    rng = np.random.default_rng((seed, 6))
    wide = margin + _BEYOND
    if grain_count > 1:
        net = grains(field, seed=seed, count=grain_count, rotation=rotation, margin=wide)
    else:
        xy = crystal("graphene", field, seed=seed, rotation=rotation, margin=wide).xy
        sheet = Structure(np.column_stack((xy, np.zeros(len(xy)))), np.full(len(xy), _CARBON))
        net = Network(sheet.xyz, sheet.number, sheet.bonds())
    for name, plant in DEFECTS.items():  # those that take the most first
        for _ in range(defects.get(name, 0)):
            site = _site(net, name, rng, field=field, separation=separation)
            plant(net, site, rng)
    relaxed = net.relaxed(reach=_REACH, field=field, margin=wide - _HELD)
    return relaxed.inside(field, margin=margin)


def _site(
    net: Network, name: str, rng: np.random.Generator, *, field: tuple[float, float], separation: float
) -> int:
    """Return a whole carbon atom in the field, away from what is planted."""
    whole = [alive and len(near) == 3 for alive, near in zip(net.alive, net.adjacent, strict=True)]
    return choose_site(
        np.array(net.xyz), np.array(whole), net.planted, rng,
        name=name, field=field, separation=separation,
    )  # fmt: skip


def _edge(net: Network, site: int, rng: np.random.Generator) -> None:
    """Take away all on one side of a line through the site, not the side of the view's middle."""
    xy = np.array(net.xyz)[:, :2]
    alive = np.array(net.alive)
    turn = rng.uniform(0, 2 * np.pi)
    across = (xy - xy[site]) @ np.array([np.cos(turn), np.sin(turn)])
    if np.median(across[alive]) > 0:
        across = -across
    rim = net.prune(net.remove(np.flatnonzero(alive & (across > 0)).tolist()))
    net.plant("edge", xy[rim].mean(axis=0), rim)


def _pore(net: Network, site: int, rng: np.random.Generator) -> None:
    xy = np.array(net.xyz)[:, :2]
    radius = rng.uniform(0.35, 0.7)  # [nm]
    inside = np.hypot(*(xy - xy[site]).T) < radius
    rim = net.prune(net.remove(np.flatnonzero(np.array(net.alive) & inside).tolist()))
    net.plant("edge", xy[site], rim)


def _vacancy_cluster(net: Network, site: int, rng: np.random.Generator) -> None:
    hole = _chain(net, site, int(rng.integers(3, 9)), rng, straight=False)
    middle = np.mean([net.xyz[i] for i in hole], axis=0)
    net.plant("vacancy-cluster", middle, net.prune(net.remove(hole)))


def _vacancy(net: Network, site: int, rng: np.random.Generator) -> None:  # noqa: ARG001
    net.plant("vacancy", net.xyz[site], net.remove([site]))


def _divacancy(net: Network, site: int, rng: np.random.Generator) -> None:
    pair = _chain(net, site, 2, rng)
    ends = [sorted(net.adjacent[i] - set(pair)) for i in pair]
    rim = net.remove(pair)
    for end in ends:
        if len(end) == 2:
            net.bond(*end)
    net.plant("divacancy", np.mean([net.xyz[i] for i in pair], axis=0), rim)


def _stone_wales(net: Network, site: int, rng: np.random.Generator) -> None:
    i, j = _chain(net, site, 2, rng)
    middle = (net.xyz[i] + net.xyz[j]) / 2
    around = sorted((net.adjacent[i] | net.adjacent[j]) - {i, j})
    for k in around:
        net.cut(i, k)
        net.cut(j, k)
    for atom in (i, j):
        x, y, z = net.xyz[atom] - middle
        net.xyz[atom] = middle + np.array([-y, x, z])
    side = sorted(around, key=lambda k: float(np.dot(net.xyz[k] - middle, net.xyz[i] - middle)))
    for k in side[2:]:
        net.bond(i, k)
    for k in side[:2]:
        net.bond(j, k)
    net.plant("ring", middle, (i, j))


def _adatom(number: int, height: float) -> _Plant:
    def plant(net: Network, site: int, rng: np.random.Generator) -> None:
        i, j = _chain(net, site, 2, rng)
        place = (net.xyz[i] + net.xyz[j]) / 2 + np.array([0.0, 0.0, height])
        net.plant("adatom", place, [net.add(place, number)])

    return plant


def _silicon(name: str) -> _Plant:
    shape, groups = _CLUSTERS[name]

    def plant(net: Network, site: int, rng: np.random.Generator) -> None:
        if shape == "star":
            hole = [site, *sorted(net.adjacent[site])]
        else:
            hole = _chain(net, site, int(shape[-1]), rng)
        near = {i: set(net.adjacent[i]) for i in hole}
        places = [np.mean([net.xyz[hole[k]] for k in group], axis=0) for group in groups]
        net.remove(hole)
        added = [net.add(place + np.array([0.0, 0.0, 0.02]), _SILICON) for place in places]  # no saddle point
        owner = {hole[k]: atom for atom, group in zip(added, groups, strict=True) for k in group}
        for i, around in near.items():
            owners = {owner[k] for k in around if k in owner}
            if i in owner:
                for k in around - set(hole):
                    net.bond(owner[i], k)
                owners.add(owner[i])
            for one in owners:  # silicon atoms that share or adjoin a lost atom bond one another
                for other in owners - {one}:
                    net.bond(one, other)
        net.plant("substitution", np.mean(places, axis=0), added)

    return plant


def _chain(
    net: Network, site: int, size: int, rng: np.random.Generator, *, straight: bool = True
) -> list[int]:
    """Return connected carbon atoms, starting at the site: a chain, or any shape."""
    chain = [site]
    while len(chain) < size:
        heads = chain[-1:] if straight else chain
        free = sorted({k for i in heads for k in net.adjacent[i] if len(net.adjacent[k]) == 3} - set(chain))
        if not free:
            break
        chain.append(int(rng.choice(free)))
    return chain


#: What can be planted, by name.
DEFECTS: dict[str, _Plant] = {
    "edge": _edge,
    "pore": _pore,
    "vacancy-cluster": _vacancy_cluster,
    **{name: _silicon(name) for name in reversed(_CLUSTERS)},
    "divacancy": _divacancy,
    "stone-wales": _stone_wales,
    "vacancy": _vacancy,
    "adatom": _adatom(_CARBON, _ADATOM_HEIGHT),
    "silicon-adatom": _adatom(_SILICON, _SILICON_HEIGHT),
}
