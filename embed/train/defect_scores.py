"""What a detector of defects does with planted truth: how many it finds, how many it makes up, where."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from micdb.embed.atoms.find import find
from micdb.embed.defects.classes import UNKNOWN
from micdb.embed.defects.detect import LEAST_SCORE, Defect, detect
from micdb.embed.defects.network import DefectNet
from micdb.embed.nets import weights
from micdb.embed.simulate.defect_scenes import DefectScene
from micdb.embed.simulate.structure import Planted

Floats = npt.NDArray[np.float64]

NEAR = 0.22  # [nm] of a found defect's centre from the planted one
BORDER = 0.3  # [nm] from the edge of the view: what is nearer counts neither way
_LONG = frozenset({"edge", "boundary", "unknown"})
_LEAST_PROBABILITY = 0.5  # of a column


@dataclass(slots=True)
class Score:
    """Counts of one kind, and the area they were found in [nm**2]."""

    planted: int = 0
    found: int = 0
    false: int = 0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        return 2 * self.found / max(self.planted + self.found + self.false, 1)


@dataclass(slots=True)
class Scores:
    """Counts of all kinds over some scenes.

    Parameters
    ----------
    kinds
        By kind.
    area
        Analysed [nm**2].
    refused
        Scenes without an answer.
    said
        Score of each defect found, and whether a planted one of that kind is there.
    confused
        How often a planted kind was called another, or ``none``.
    """

    kinds: dict[str, Score] = field(default_factory=dict)
    area: float = 0.0
    refused: int = 0
    said: list[tuple[float, bool]] = field(default_factory=list)
    confused: dict[tuple[str, str], int] = field(default_factory=dict)

    def of(self, kind: str) -> Score:
        """Return the counts of a kind, new ones when there are none."""
        return self.kinds.setdefault(kind, Score())

    def planted(self) -> dict[str, dict[str, float]]:
        """Return the numbers for a card."""
        return {
            kind: {
                "planted": one.planted,
                "found": one.found,
                "false": one.false,
                "area_nm2": round(self.area, 1),
            }
            for kind, one in sorted(self.kinds.items())
        }


def score_scenes(network: DefectNet, scenes: Iterable[DefectScene]) -> Scores:
    """Return what the detector does with scenes."""
    scores = Scores()
    for scene in scenes:
        _score(scores, network, scene)
    return scores


def merged(parts: Iterable[Scores]) -> Scores:
    """Return the counts of several scores together."""
    whole = Scores()
    for part in parts:
        whole.area += part.area
        whole.refused += part.refused
        whole.said += part.said
        for kind, one in part.kinds.items():
            total = whole.of(kind)
            total.planted += one.planted
            total.found += one.found
            total.false += one.false
        for pair, count in part.confused.items():
            whole.confused[pair] = whole.confused.get(pair, 0) + count
    return whole


def _score(scores: Scores, network: DefectNet, scene: DefectScene) -> None:
    simulated = scene.simulated
    pitch = simulated.pixel_size
    image = np.asarray(simulated.image, dtype=np.float64)
    columns = find(image, pitch, weights.unet("stem-atoms"), _LEAST_PROBABILITY)
    found = (
        columns if isinstance(columns, str)
        else detect(image, columns, network, possible=(), least=LEAST_SCORE)
    )  # fmt: skip
    if isinstance(found, str) or isinstance(columns, str):
        scores.refused += 1
        for one in simulated.defects:
            scores.of(one.kind).planted += _inside(np.array(one.xy), image.shape, pitch)
        return
    scores.area += found.area * pitch**2
    at = np.column_stack((columns.fit.x, columns.fit.y)) * pitch
    _compare(scores, simulated.defects, found.defects, _Places(simulated.xy, at, pitch, image.shape))


@dataclass(frozen=True, slots=True)
class _Places:
    """Planted and found columns [nm], pixel size [nm] and shape of an image."""

    truth: Floats
    columns: Floats
    pitch: float
    shape: tuple[int, ...]


def _compare(scores: Scores, planted: tuple[Planted, ...], found: list[Defect], places: _Places) -> None:
    """Match what was found with what was planted, the surest first, each planted one once."""
    taken: dict[int, Defect] = {}
    for one in sorted(found, key=lambda one: -one.score):
        near = [
            k for k, other in enumerate(planted)
            if other.kind == one.kind and _touches(one, other, places)
        ]  # fmt: skip
        free = [k for k in near if k not in taken]
        if one.kind == UNKNOWN and not near and any(_touches(one, other, places) for other in planted):
            continue  # a planted one of which it does not know the kind: missed, and not made up
        inside = _inside(one.xy * places.pitch, places.shape, places.pitch) or one.kind in _LONG
        if free:
            taken[free[0]] = one
        if free or (near and one.kind in _LONG):  # another piece of a long one
            scores.said.append((one.score, True))
        elif inside:
            scores.of(one.kind).false += 1
            scores.said.append((one.score, False))
    for k, other in enumerate(planted):
        if not (other.kind in _LONG or _inside(np.array(other.xy), places.shape, places.pitch)):
            continue
        scores.of(other.kind).planted += 1
        scores.of(other.kind).found += k in taken
        if k not in taken:
            others = [one.kind for one in found if _touches(one, other, places)]
            key = (other.kind, others[0] if others else "none")
            scores.confused[key] = scores.confused.get(key, 0) + 1


def _touches(one: Defect, other: Planted, places: _Places) -> bool:
    if other.kind in _LONG or one.kind in _LONG:
        own = places.columns[one.atoms] if len(one.atoms) else one.xy[None] * places.pitch
        theirs = np.vstack((places.truth[list(other.atoms)], [other.xy]))
        return bool(cKDTree(theirs).query(own)[0].min() <= NEAR)
    return bool(np.hypot(*(one.xy * places.pitch - np.array(other.xy))) <= NEAR)


def _inside(xy: Floats, shape: tuple[int, ...], pitch: float) -> bool:
    far = (np.array(shape[::-1]) - 1) * pitch
    return bool((xy >= BORDER).all() and (xy <= far - BORDER).all())


def calibration_error(said: list[tuple[float, bool]], bins: int = 10) -> float:
    """Return the expected calibration error of scores (Naeini et al., AAAI 2015), in bins of equal width."""
    if not said:
        return 0.0
    score, right = (np.array(one, dtype=float) for one in zip(*said, strict=True))
    place = np.minimum((score * bins).astype(int), bins - 1)
    parts: Mapping[int, float] = {
        k: abs(float(score[place == k].mean() - right[place == k].mean())) * float((place == k).mean())
        for k in np.unique(place).tolist()
    }
    return float(sum(parts.values()))
