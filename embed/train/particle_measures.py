"""What the network of ``particles`` reaches on simulated images it never saw; what its scores are worth."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from torch import nn

from micdb.embed.micro import threshold
from micdb.embed.micro.particle_finder import (
    SIGNS,
    Candidates,
    Labels,
    Maps,
    best,
    chosen,
    look,
    scores,
    shown,
)
from micdb.embed.simulate.microstructures.varied_particles import ParticleImage, random_particles
from micdb.embed.simulate.microstructures.view import View
from micdb.embed.train.particle_scores import Matches, f1, matched
from micdb.embed.train.particles import boxes

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

FIELD = 256  # [pixel] side of an image
HELD_OUT = 2**43  # seeds of batches are drawn from 62 bits: none of these few is likely among them
FEW = 4  # images
LEAST = 0.3  # score of a particle: the best mean F1 on the images that scores were calibrated with

_TAUGHT, _ASKED = 80, 120  # images to calibrate scores with, and to measure on
_LEAST, _LARGEST = 6.0, 0.3  # [pixel], [field] median diameters
_SEEN, _SMALLEST = 0.3, 4.0  # share of a particle, diameter [pixel]: less need not be found
_ANY = 0.03  # score of a candidate that is looked at
_BINS = 10
_PLAIN: dict[str, Any] = {"blur": 0.7, "bright": None, "least": 40}  # the threshold, as it was tuned
_MEASURED = HELD_OUT + 10**6


def images(first: int, count: int) -> Iterator[ParticleImage]:
    """Yield simulated images of any kind, median diameters from 6 pixels to 0.3 of the field."""
    for seed in range(first, first + count):
        size = math.exp(np.random.default_rng(seed).uniform(math.log(_LEAST), math.log(_LARGEST * FIELD)))
        made = random_particles(View((FIELD, FIELD), 1.0), seed=seed, diameter=size)
        if np.ptp(made.image):
            yield made


def scored(made: ParticleImage, found: npt.NDArray[np.integer]) -> Matches:
    """Match what was found; particles that are small or mostly hidden need not be."""
    labels, whole = np.where(made.hidden, 0, made.scene.instance), made.scene.objects.outlines
    seen = np.bincount(labels.ravel(), minlength=len(whole) + 1)[1:]
    area = np.array([one.mask.sum() for one in whole], np.float64)
    few = (seen < _SEEN * area) | (np.sqrt(4 * area / math.pi) < _SMALLEST)
    return matched(labels, found, np.flatnonzero(few) + 1)


def mean_f1(matches: list[Matches]) -> float:
    """Return the mean F1 of images that show particles: those with many small ones count no more."""
    return float(np.mean([f1([one])[2] for one in matches if len(one.best)] or [math.nan]))


def measure(network: nn.Module) -> dict[str, Any]:
    """Return what it reaches, and as ``score`` the coefficients of its scores; see `SIGNS`."""
    coefficients = calibrated([(*look(made.image, network), made) for made in images(HELD_OUT, _TAUGHT)])
    made = list(images(_MEASURED, _ASKED))
    said = [chosen(*look(one.image, network), coefficients, _ANY) for one in made]
    hits = [scored(one, _sure(*found)) for one, found in zip(made, said, strict=True)]
    plain = [scored(one, threshold.particles(one.image, **_PLAIN)) for one in made]
    precision, recall, both = f1(hits)
    spurious = [int(_sure(*found).max()) for one, found in zip(made, said, strict=True) if one.kind == "none"]
    return {
        "simulated particles, intersection over union from 0.5": (
            f"mean F1 of an image {mean_f1(hits):.3f}, of all F1 {both:.3f}, precision {precision:.3f}, "
            f"recall {recall:.3f}; Otsu's threshold {mean_f1(plain):.3f}, of all F1 {f1(plain)[2]:.3f}"
        ),
        "found in an image without particles": f"{np.mean(spurious):.1f}",
        "calibration error of the score": f"{_calibration_error(made, said):.3f}",
        "f1_of_few": round(mean_f1(hits[:FEW]), 4),  # to be compared with what the file gives
        "score": coefficients,
    }


def few(network: nn.Module, coefficients: Sequence[float]) -> float:
    """Return the mean F1 of the first few images that `measure` asks."""
    made = list(images(_MEASURED, FEW))
    return mean_f1([scored(one, chosen(*look(one.image, network), coefficients, LEAST)[0]) for one in made])


def _sure(labels: Labels, score: Floats) -> Labels:
    """Return the particles that are likely enough."""
    return np.asarray(np.where(np.append(0.0, score)[labels] >= LEAST, labels, 0))


def _calibration_error(made: list[ParticleImage], said: list[tuple[Labels, Floats]]) -> float:
    """Return the mean difference of score and share of right ones, by bins of the score."""
    table = np.zeros((2, _BINS))
    for one, (labels, score) in zip(made, said, strict=True):
        hits = scored(one, labels)
        for numbers, right in ((hits.found, 1.0), (hits.false, 0.0)):
            place = np.minimum((score[numbers - 1] * _BINS).astype(int), _BINS - 1)
            table[0] += np.bincount(place, score[numbers - 1] - right, _BINS)
            table[1] += np.bincount(place, minlength=_BINS)
    return float(np.abs(table[0]).sum() / max(table[1].sum(), 1))


def calibrated(looks: list[tuple[Candidates, Mapping[int, Maps], ParticleImage]]) -> list[float]:
    """Return the coefficients of `SIGNS`, so that a score is the chance that a particle is one.

    They are fitted twice: to all candidates by their boxes, and to those that remain when the best by these
    were kept, by the pixels that show them.
    """
    right = np.concatenate([_right(found.box, made) for found, _, made in looks])
    first = _fitted(np.concatenate([found.signs for found, _, _ in looks]), right)
    signs_kept, right_kept = [], []
    for found, seen, made in looks:
        value = scores(found, first)
        use = np.flatnonzero(value >= _ANY)
        kept = found[use[best(found.box[use], value[use])]]
        hits = scored(made, shown(kept, seen))
        told = np.r_[hits.found, hits.false] - 1
        signs_kept.append(kept.signs[told])
        right_kept.append(np.r_[np.ones(len(hits.found)), np.zeros(len(hits.false))] > 0)
    return _fitted(np.concatenate(signs_kept), np.concatenate(right_kept))


def _right(box: Floats, made: ParticleImage) -> Bools:
    """Return which boxes are those of a particle, by half of their union at least."""
    if not len(box) or not len(made.scene.objects):
        return np.zeros(len(box), bool)
    pixel, edges = np.array([0, 0, 1, 1]), np.array(made.image.shape[::-1] * 2)
    truth, said = boxes(made) + pixel, np.clip(box + pixel, 0, edges)
    low = np.maximum(said[:, None, :2], truth[None, :, :2])
    both = np.maximum(np.minimum(said[:, None, 2:], truth[None, :, 2:]) - low, 0).prod(axis=2)
    area = [np.prod(np.maximum(one[:, 2:] - one[:, :2], 0), axis=1) for one in (said, truth)]
    union = area[0][:, None] + area[1][None] - both
    return np.asarray((both > 0.5 * union).any(axis=1))


def _fitted(signs: Floats, right: Bools) -> list[float]:
    if right.all() or not right.any():  # a network that learnt nothing
        return [0.0, 1.0, *[0.0] * (len(SIGNS) - 2)]
    fit = LogisticRegression(C=1e3, max_iter=1000).fit(signs[:, 1:], right)
    return [round(float(one), 5) for one in (fit.intercept_[0], *fit.coef_[0])]
