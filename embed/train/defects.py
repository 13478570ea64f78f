"""The recipe of `stem-defects`: planted defects of graphene, dichalcogenides and perovskites, and oddities.

Each step learns from the candidates of a few images, found by the same geometry that the extractor uses: what
the classifier is shown, false departures included, is what it will meet.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree
from torch import Tensor, nn
from torch.nn import functional

from micdb.embed.atoms.find import find
from micdb.embed.defects.candidates import Candidate, Departures, departures
from micdb.embed.defects.classes import CLASSES
from micdb.embed.defects.local_graph import LocalGraph, batched, local_graphs
from micdb.embed.defects.network import DefectNet, ask
from micdb.embed.defects.sites import Sites, sites
from micdb.embed.nets import weights
from micdb.embed.simulate.defect_scenes import (
    MOTIFS,
    DefectScene,
    Imaging,
    family,
    planted_scene,
    random_imaging,
)
from micdb.embed.simulate.dichalcogenides import LAYERS
from micdb.embed.simulate.perovskites import PEROVSKITES
from micdb.embed.simulate.structure import CONTRAST_EXPONENT
from micdb.embed.train.defect_scores import calibration_error, merged, score_scenes
from micdb.embed.train.loop import Batch
from micdb.errors import UsageError

Floats = npt.NDArray[np.float64]

#: Materials that the card's numbers are of, and their elements: dopants differ from what they replace.
MEASURED = {"graphene": "C", "MoS2": "Mo S", "WS2": "W S", "WSe2": "W Se", "SrTiO3": "Sr Ti O"}
BATCH = 40  # defects of a step
_MATCHED = 1.3  # [spacing] of a departure from what was planted
_SHARES = {"graphene": 0.36, "dichalcogenide": 0.34, "perovskite": 0.3}
_MATERIALS = {"graphene": ["graphene"], "dichalcogenide": list(LAYERS), "perovskite": list(PEROVSKITES)}
_ODD, _ODDITIES = (
    0.15,
    ("debris", "disorder"),
)  # share of scenes with one of these; overlays are kept for tests
_VISIBLE = 1.35  # ratio of the scattering of a dopant and its host
_RARE = 0.12  # share of scenes with an edge, and with a boundary
_FAINT = 0.6  # how often a carbon adatom is drawn against other adatoms
CHANCE = 0.6  # of each kind in a measured scene
_CROWDED, _MANY = 0.8, 3  # of each kind in a scene of training, and most of one name
_LEAST_PROBABILITY = 0.5
_HELD_OUT = 2**40  # seeds of batches are drawn from all 64 bits: none of these few is likely among them
_CALIBRATED, _MEASURED = 120, 180  # scenes


@dataclass(frozen=True, slots=True)
class Seen:
    """A scene as the classifier sees it.

    Parameters
    ----------
    scene
        Image and truth.
    sites, found
        What the geometry made of it.
    graphs
        Of the candidates.
    labels
        Index in `CLASSES` of each candidate ``(n,)``.
    planted
        Which planted defect each candidate is ``(n,)``; -1 for none.
    """

    scene: DefectScene
    sites: Sites
    found: Departures
    graphs: list[LocalGraph]
    labels: npt.NDArray[np.int64]
    planted: npt.NDArray[np.int64]


def batch(seed: int) -> Batch:
    """Return the arrays of all candidates of some images with `BATCH` defects: of `batched`, and labels.

    Departures that noise makes are as common among them as they are in images: with fewer of them the
    network would take too many for defects.
    """
    rng = np.random.default_rng(seed)
    graphs: list[LocalGraph] = []
    labels: list[int] = []
    while np.count_nonzero(labels) < BATCH:
        one = look(random_scene(rng))
        if one is not None:
            graphs += one.graphs
            labels += one.labels.tolist()
    return *batched(graphs), np.array(labels, dtype=np.int64)


def loss(network: nn.Module, arrays: tuple[Tensor, ...]) -> Tensor:
    """Return the cross entropy of the classes."""
    _, logits = network(*arrays[:-1])
    return functional.cross_entropy(logits, arrays[-1], label_smoothing=0.02)


def random_scene(
    rng: np.random.Generator, kind: str | None = None, *, imaging: Imaging | None = None, odd: float = _ODD
) -> DefectScene:
    """Return a scene of a random material with a random plan.

    Parameters
    ----------
    rng
        Of everything.
    kind
        Key of `MOTIFS`; random unless given.
    imaging
        Random unless given.
    odd
        Probability of something unknown in it.
    """
    kind = kind or str(rng.choice(list(_SHARES), p=list(_SHARES.values())))
    material = str(rng.choice(_MATERIALS[kind]))
    for crowding in range(20):
        try:
            return planted_scene(
                material,
                _plan(
                    rng, kind, chance=_CROWDED / (1 + 0.2 * crowding), several=max(_MANY - crowding // 3, 1)
                ),
                seed=int(rng.integers(2**32)),
                imaging=imaging or random_imaging(rng),
                oddity=str(rng.choice(_ODDITIES)) if rng.random() < odd else None,
                **_structure(rng, kind, material),
            )
        except UsageError:  # no room
            continue
    raise UsageError(f"no room for defects of {material} in 20 scenes")


def _plan(rng: np.random.Generator, kind: str, *, chance: float = CHANCE, several: int = 1) -> dict[str, int]:
    """Return how many of which names, one of each kind at most: each kind with a chance, lines rarely."""
    by_kind: dict[str, list[str]] = {}
    for name, what in MOTIFS[kind].items():
        by_kind.setdefault(what, []).append(name)
    plan = {}
    for what, names in by_kind.items():
        rare = what in ("edge", "boundary")
        if rng.random() < (_RARE if rare else chance):
            share = np.array([_FAINT if name == "adatom" else 1.0 for name in names])
            name = str(rng.choice(names, p=share / share.sum()))
            plan[name] = 1 if rare else int(rng.integers(1, several + 1))
    return plan


def _structure(rng: np.random.Generator, kind: str, material: str) -> dict[str, object]:
    given: dict[str, object] = {"rotation": float(rng.uniform(0, 360))}
    if kind == "perovskite":
        given |= {
            "thickness": float(rng.uniform(1.6, 8.0)), "share": float(rng.uniform(0.5, 1.0)),
            "dopants": (
                _unlike(rng, PEROVSKITES[material].a, (20, 38, 57, 64, 83)),
                _unlike(rng, PEROVSKITES[material].b, (13, 26, 41, 50, 74)),
            ),
            "polar": (float(rng.uniform(0, 0.02)), 0.0, 0.0) if rng.random() < 0.3 else (0.0, 0.0, 0.0),
        }  # fmt: skip
    if kind == "dichalcogenide":
        layer = LAYERS[material]
        given["metal_dopant"] = _unlike(rng, layer.metal, (22, 23, 26, 41, 42, 46, 74, 79))
        given["chalcogen_dopant"] = _unlike(rng, layer.chalcogen, (8, 16, 34, 52))
    return given


def _unlike(rng: np.random.Generator, number: int, among: tuple[int, ...]) -> int:
    """Return an element that scatters at least a third more or less than another."""
    other = [one for one in among if not 1 / _VISIBLE < (one / number) ** CONTRAST_EXPONENT < _VISIBLE]
    return int(rng.choice(other))


def look(scene: DefectScene) -> Seen | None:
    """Return what the geometry sees of a scene; None where it finds no lattice."""
    image = np.asarray(scene.simulated.image, dtype=np.float64)
    pitch = scene.simulated.pixel_size
    columns = find(image, pitch, weights.unet("stem-atoms"), _LEAST_PROBABILITY)
    if isinstance(columns, str):
        return None
    seen = sites(image, columns)
    if isinstance(seen, str):
        return None
    found = departures(seen, image.shape)
    graphs = local_graphs(image, seen, found)
    planted = matched(scene, seen, found)
    names = [
        CLASSES[0] if one < 0 else _told(scene.names[one], seen, candidate)
        for one, candidate in zip(planted.tolist(), found.candidates, strict=True)
    ]
    labels = np.array([CLASSES.index(name) for name in names], dtype=np.int64)
    return Seen(scene, seen, found, graphs, labels, planted)


def _told(name: str, seen: Sites, candidate: Candidate) -> str:
    """Return what a defect can be told to be: a lighter dopant in a thick column is as good as a vacancy."""
    if name not in ("A-substitution", "B-substitution"):
        return name
    columns = candidate.nodes[candidate.nodes < seen.columns]
    dim = len(columns) and np.nanmean(seen.ratio[columns]) < 1
    return name.replace("substitution", "vacancy") if dim else name


def matched(scene: DefectScene, seen: Sites, found: Departures) -> npt.NDArray[np.int64]:
    """Return which planted defect each candidate is ``(n,)``, by its nearest departure; -1 for none."""
    simulated = scene.simulated
    places, owner = [], []
    for number, one in enumerate(simulated.defects):
        own = simulated.xy[list(one.atoms)] if one.kind not in _MISSING else np.empty((0, 2))
        own = own if one.kind in _EXTENDED else np.vstack((own, [one.xy]))
        places.append(own)
        owner += [number] * len(own)
    result = np.full(len(found.candidates), -1)
    if not owner:
        return result
    tree = cKDTree(np.concatenate(places) / simulated.pixel_size)
    for k, candidate in enumerate(found.candidates):
        off, nearest = tree.query(seen.xy[candidate.nodes])
        reach = _MATCHED * seen.spacing
        if off.min() <= reach:
            result[k] = owner[int(nearest[np.argmin(off)])]
    return result


_MISSING = frozenset({"vacancy", "divacancy", "vacancy-cluster"})
_EXTENDED = frozenset({"edge", "boundary"})


def measure(network: nn.Module) -> dict[str, Any]:
    """Calibrate the network, and return what it does with scenes that it never saw, for its card."""
    assert isinstance(network, DefectNet)  # noqa: S101 - by the recipe
    calibrate(network, [random_scene(np.random.default_rng(_HELD_OUT + k)) for k in range(_CALIBRATED)])
    hosts = {
        material: score_scenes(network, (medium_scene(seed, material) for seed in range(first, last)))
        for material, first, last in _held_out()
    }
    scores = merged(hosts.values())
    measured: dict[str, Any] = {
        f"{kind}, planted at 10 to 20 counts": f"F1 {one.f1:.3f} ({one.planted} planted)"
        for kind, one in sorted(scores.kinds.items())
        if one.planted
    }
    measured["calibration error of the score"] = f"{calibration_error(scores.said):.3f}"
    measured["planted"] = scores.planted() | {
        f"{kind} in {MEASURED[material]}": counts
        for material, one in hosts.items()
        for kind, counts in one.planted().items()
    }
    return measured


def _held_out() -> Iterator[tuple[str, int, int]]:
    """Yield the first seed and that after the last of the scenes that each material is measured on."""
    each = _MEASURED // len(MEASURED)
    for number, material in enumerate(MEASURED):
        first = _HELD_OUT + _CALIBRATED + number * each
        yield material, first, first + each


def medium_scene(seed: int, material: str | None = None, counts: float | None = None) -> DefectScene:
    """Return a scene of known materials with the usual dopants, one defect of most kinds, at medium dose.

    Parameters
    ----------
    seed
        Of everything.
    material
        One of `MEASURED`; random unless given.
    counts
        In the brightest pixel of the host's strongest column; 10 to 20 unless given.
    """
    rng = np.random.default_rng((seed, 3))
    material = material or str(rng.choice(list(MEASURED)))
    dose = counts or math.exp(rng.uniform(math.log(10.0), math.log(20.0)))
    how = Imaging(counts=dose, pixel_size=float(rng.uniform(0.013, 0.017)))
    while True:
        try:
            return planted_scene(
                material,
                _plan(rng, family(material)),
                seed=seed,
                imaging=how,
                rotation=float(rng.uniform(0, 360)),
            )
        except UsageError:  # no room: another plan
            continue


def calibrate(network: DefectNet, scenes: list[DefectScene]) -> None:
    """Set the temperature, from scenes never trained on."""
    seen = [one for one in map(look, scenes) if one is not None]
    graphs = [graph for one in seen for graph in one.graphs]
    labels = np.concatenate([one.labels for one in seen])
    logits = ask(network, graphs)[1]
    temperatures = np.exp(np.linspace(-1.0, 1.5, 101))
    cost = [float(_surprise(logits / one, labels).mean()) for one in temperatures]
    network.temperature.fill_(float(temperatures[int(np.argmin(cost))]))


def _surprise(logits: Floats, labels: npt.NDArray[np.int64]) -> Floats:
    top = logits.max(axis=1)
    total = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
    return np.asarray(total - logits[np.arange(len(labels)), labels])
