"""A name for a local bond graph: the same graph has the same name, however it is turned, mirrored or listed.

Colour refinement tells atoms apart by what is around them (B. Weisfeiler and A. Leman, Nauchno-Tekh. Inf.
2 (1968) 12); where symmetry leaves several alike, each is marked in turn and the smallest description wins
(B. D. McKay, Congr. Numer. 30 (1981) 45). Two graphs have one description exactly when they are isomorphic.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from micdb.errors import UsageError

Integers = npt.NDArray[np.integer]
Code = tuple[tuple[str, ...], tuple[tuple[int, int], ...]]

LARGEST = 64  # [atoms] of one graph: a defect and its shell are far below
_DIGITS = 8  # of the hash, 32 bits: a library of a thousand motifs has two alike once in ten thousand


def motif_key(species: Sequence[str], i: Integers, j: Integers, core: Sequence[bool]) -> str:
    """Return the key of a defect: the composition of its graph, then a hash of the graph itself.

    Parameters
    ----------
    species
        Label of each atom ``(n,)``: the defect's own and those around it; ``V`` for a site without its atom.
    i, j
        Bonds ``(m,)`` between them, each once.
    core
        Which atoms are the defect's own ``(n,)``; the others are its surroundings.

    Returns
    -------
    str
        For example ``Si1C3-3f60a1c2``: core atoms first, then what is around them.

    Raises
    ------
    UsageError
        There is no atom, there are more than 64, or lengths differ.
    """
    if not 0 < len(species) <= LARGEST or len(core) != len(species) or len(i) != len(j):
        raise UsageError(
            f"{len(species)} species, {len(core)} core flags, {len(i)} and {len(j)} ends of bonds; "
            f"expected 1 to {LARGEST} atoms with a flag each, and two ends for every bond"
        )
    labels = [f"{name}{'*' if own else ''}" for name, own in zip(species, core, strict=True)]
    near: list[set[int]] = [set() for _ in labels]
    for one, other in zip(i.tolist(), j.tolist(), strict=True):
        near[one].add(other)
        near[other].add(one)
    digest = hashlib.sha256(repr(_smallest(labels, near, _refined(labels, near))).encode()).hexdigest()
    own, around = (
        _composition(name for name, flag in zip(species, core, strict=True) if flag is wanted)
        for wanted in (True, False)
    )
    return f"{own}{around}-{digest[:_DIGITS]}"


def _composition(names: Iterator[str]) -> str:
    return "".join(f"{name}{count}" for name, count in sorted(Counter(names).items()))


def _refined(colours: Sequence[object], near: Sequence[set[int]]) -> list[int]:
    """Return colours ``0, 1, ...`` that agree only where labels and everything reached from there agree.

    Their order depends on labels and graph alone, never on the order of the atoms.
    """
    now = _ranked(list(colours))
    while True:
        seen = [(now[atom], tuple(sorted(now[k] for k in near[atom]))) for atom in range(len(now))]
        finer = _ranked(seen)
        if len(set(finer)) == len(set(now)):
            return finer
        now = finer


def _ranked(values: Sequence[object]) -> list[int]:
    rank = {value: number for number, value in enumerate(sorted(set(values)))}  # type: ignore[type-var]
    return [rank[value] for value in values]


def _smallest(labels: Sequence[str], near: Sequence[set[int]], colours: list[int]) -> Code:
    """Return the smallest description over all ways of telling apart what symmetry leaves alike."""
    sizes = Counter(colours)
    shared = [colour for colour in sorted(sizes) if sizes[colour] > 1]
    if not shared:
        return _described(labels, near, colours)
    alike = [atom for atom, colour in enumerate(colours) if colour == shared[0]]
    if all(near[atom] - {alike[0]} == near[alike[0]] - {atom} for atom in alike[1:]):
        alike = alike[:1]  # they can change places without a difference: one stands for all
    return min(
        _smallest(labels, near, _refined([(c, k != atom) for k, c in enumerate(colours)], near))
        for atom in alike
    )


def _described(labels: Sequence[str], near: Sequence[set[int]], colours: list[int]) -> Code:
    order = sorted(range(len(labels)), key=colours.__getitem__)
    ends = ((colours[one], colours[other]) for one in order for other in near[one])
    edges = sorted(pair for pair in ends if pair[0] < pair[1])
    return tuple(labels[atom] for atom in order), tuple(edges)
