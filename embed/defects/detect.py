"""From columns to named defects: sites, departures, the classifier, and what each defect is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from micdb.embed import graph
from micdb.embed.atoms.find import Columns
from micdb.embed.atoms.species import Candidate as Species
from micdb.embed.defects.candidates import Candidate, Departures, departures
from micdb.embed.defects.classes import CLASSES, KINDS, REGULAR, UNKNOWN
from micdb.embed.defects.local_graph import local_graphs
from micdb.embed.defects.sites import Sites, sites, species_of
from micdb.embed.defects.surroundings import surroundings
from micdb.embed.defects.topology import Makeup, Topology

if TYPE_CHECKING:
    from micdb.embed.defects.network import DefectNet

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Named = tuple[Candidate, str, float, int]  # kind, its probability, and the candidate's number

#: Probability that a kind needs unless another is asked for: of 0.4 to 0.9 the mean F1 of the kinds was the
#: greatest at it, in the scenes that the temperature is set by.
LEAST_SCORE = 0.5
_LINES = frozenset({"edge", "boundary"})
_LONG = _LINES | {UNKNOWN}  # what may be seen in pieces
_PIECES = {"edge": 3.5, "boundary": 3.5, UNKNOWN: 2.0}  # [spacing] between pieces of one


@dataclass(frozen=True, slots=True)
class Defect:
    """One defect.

    Parameters
    ----------
    kind
        One of the kinds of `micdb.embed.defects.classes.KINDS`.
    score
        Probability of the kind.
    xy
        Centre ``(2,)`` [pixel].
    box
        x, y, width, height around its departures [pixel].
    atoms
        Indices of the columns that make it up ``(n,)``; of missing ones, those around them.
    formula, key
        What it is made of; None where that cannot be told.
    descriptor
        ``(d,)``: of the network, then `surroundings` of the centre.
    motif
        Likeliest class: finer than the kind.
    """

    kind: str
    score: float
    xy: Floats
    box: tuple[float, float, float, float]
    atoms: Ints
    formula: str | None
    key: str | None
    descriptor: Floats
    motif: str


@dataclass(frozen=True, slots=True)
class Detection:
    """The defects of an image.

    Parameters
    ----------
    defects
        From the top, row by row.
    area
        What was looked at, holes left out [pixel**2].
    species
        Of each column; None where no candidates were given.
    """

    defects: list[Defect]
    area: float
    species: list[str] | None


def detect(
    image: Floats, columns: Columns, network: DefectNet, *, possible: Sequence[Species], least: float
) -> Detection | str:
    """Return the defects of an image ``(y, x)``, or why there is no lattice to depart from.

    Parameters
    ----------
    image
        Columns bright.
    columns
        Found in it.
    network
        The classifier.
    possible
        Species that columns may be; none to leave it open.
    least
        Probability that a kind needs.
    """
    from micdb.embed.defects.network import ask, probabilities

    seen = sites(image, columns)
    if isinstance(seen, str):
        return seen
    found = departures(seen, image.shape)
    descriptors, logits = ask(network, local_graphs(image, seen, found))
    probability = probabilities(network, logits)
    species = species_of(seen, tuple(possible))
    topology = Topology(seen, species, found.void)
    defects = []
    for candidate, kind, score, rank in _named(found.candidates, probability, seen, least):
        seen_as = _Seen(kind, score, descriptors[rank], _motif(probability[rank], kind))
        defects.append(_defect(candidate, seen_as, topology, seen))
    defects.sort(key=lambda one: (round(float(one.xy[1])), float(one.xy[0])))
    around = surroundings(image, seen, np.array([one.xy for one in defects]).reshape(-1, 2))
    defects = [
        replace(one, descriptor=np.concatenate((one.descriptor, looks)))
        for one, looks in zip(defects, around, strict=True)
    ]
    return Detection(defects, min(_area(seen, found), float(image.size)), species)


def kind_probabilities(probability: Floats) -> tuple[list[str], Floats]:
    """Return the kinds and the probability of each ``(n, kinds)``, from those of the classes."""
    kinds = sorted(set(KINDS.values()))
    member = np.array([[KINDS[name] == kind for kind in kinds] for name in CLASSES], dtype=float)
    return kinds, probability @ member


def _named(candidates: list[Candidate], probability: Floats, seen: Sites, least: float) -> list[Named]:
    """Return the candidates that are defects, pieces of long ones joined: kind, score, and first index.

    What is surely a defect, and of no kind surely, is unknown.
    """
    kinds, value = kind_probabilities(probability)
    departs = 1 - value[:, kinds.index(REGULAR)]
    value = np.where(np.array(kinds) == REGULAR, -1.0, value)
    named: list[Named] = []
    for k, (candidate, row) in enumerate(zip(candidates, value, strict=True)):
        if row.max() >= least:
            named.append((candidate, kinds[int(row.argmax())], float(row.max()), k))
        elif departs[k] >= least:
            named.append((candidate, UNKNOWN, float(departs[k]), k))
    kept = [one for one in named if one[1] not in _LONG]
    for kind in sorted(_PIECES):
        kept += _joined([one for one in named if one[1] == kind], seen)
    return kept


def _joined(pieces: list[Named], seen: Sites) -> list[Named]:
    """Return pieces of a kind as wholes: what is near is one; the largest piece speaks for it."""
    if not pieces:
        return []
    nodes = np.concatenate([one[0].nodes for one in pieces])
    owner = np.repeat(np.arange(len(pieces)), [len(one[0].nodes) for one in pieces])
    i, j, _ = graph.neighbours(seen.xy[nodes], _PIECES[pieces[0][1]] * seen.spacing)
    links = coo_array((np.ones(len(i)), (owner[i], owner[j])), shape=(len(pieces), len(pieces)))
    label = connected_components(links, directed=False)[1]
    found = []
    for group in (np.flatnonzero(label == one) for one in np.unique(label)):
        mine = [pieces[k] for k in group.tolist()]
        _, kind, _, rank = max(mine, key=lambda one: len(one[0].nodes))
        whole = Candidate(np.unique(np.concatenate([one[0].nodes for one in mine])), True)
        found.append((whole, kind, max(one[2] for one in mine), rank))
    return found


def _motif(probability: Floats, kind: str) -> str:
    """Return the likeliest class of a kind."""
    mine = [k for k, name in enumerate(CLASSES) if KINDS[name] == kind]
    return CLASSES[max(mine, key=lambda k: probability[k])]


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the classifier says of a candidate."""

    kind: str
    score: float
    descriptor: Floats
    motif: str


def _defect(candidate: Candidate, said: _Seen, topology: Topology, seen: Sites) -> Defect:
    made = topology.makeup(candidate)
    long = said.kind in _LINES
    own = made.foreign if len(made.foreign) else made.missing
    centre = seen.xy[own if len(own) and not long else candidate.nodes].mean(axis=0)
    low = seen.xy[candidate.nodes].min(axis=0) - seen.spacing / 2
    high = seen.xy[candidate.nodes].max(axis=0) + seen.spacing / 2
    return Defect(
        said.kind,
        said.score,
        centre,
        (float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1])),
        _atoms(candidate, made, said.kind, seen),
        None if long else topology.formula(made, said.kind),
        None if long else topology.key(made, said.kind),
        said.descriptor,
        said.motif,
    )


def _atoms(candidate: Candidate, made: Makeup, kind: str, seen: Sites) -> Ints:
    """Return the columns that make a defect up; of missing ones, those around them."""
    if kind not in _LINES and len(made.foreign) and kind != "ring":
        return made.foreign
    around = made.hosts if kind not in _LONG and len(made.missing) else candidate.nodes
    columns = around[around < seen.columns]
    return columns if len(columns) else made.hosts[made.hosts < seen.columns]


def _area(seen: Sites, found: Departures) -> float:
    """Return the area of the sites that are there or miss a column [pixel**2]."""
    return float(((seen.kind >= 0) & ~found.void).sum()) * seen.cell_area
