"""What the network of ``particles`` reaches on simulated images it never saw; what its scores are worth."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from torch import nn

from micdb.embed.micro import particle_finder
from micdb.embed.micro.outlines import Outlines, best, overlaps, traced
from micdb.embed.micro.particle_finder import SIGNS, Particles, chosen, look, scores
from micdb.embed.micro.particle_sizes import measured
from micdb.embed.simulate.microstructures.varied_particles import ParticleImage, random_particles
from micdb.embed.simulate.microstructures.view import View
from micdb.embed.train.particle_scores import Matches, calibration_error, f1, matched

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

LEAST = 0.5  # score
FIELD = 256  # [pixel] side of an image

_HELD_OUT = 2**43  # seeds of batches are drawn from 62 bits: none of these few is likely among them
_TAUGHT, _ASKED = 80, 160  # images to calibrate scores with, and to measure on
_SEEN, _SMALLEST = 0.3, 4.0  # share of a particle, diameter [pixel]: less need not be found
_LEAST, _LARGEST = 5.0, 0.3  # [pixel], [field] median diameter
_ANY = 0.02  # score of a candidate that is looked at
_FEWEST = 10  # particles of an image with a median


def measure(network: nn.Module) -> dict[str, Any]:
    """Return what it reaches, and as ``score`` the coefficients of its scores; see `SIGNS`."""
    coefficients = calibrated(network)
    score: list[float] = []
    right: list[bool] = []
    several: list[Matches] = []
    off: list[float] = []
    for made in images(_HELD_OUT + 10**6, _ASKED):
        seen = look(made.image, network)
        all_, sure = (chosen(*seen, coefficients, least, made.image.shape) for least in (_ANY, LEAST))
        hits = matched(truth(made)[0], all_.labels, truth(made)[1])
        score += all_.score[np.r_[hits.found, hits.false] - 1].tolist()
        right += [True] * len(hits.found) + [False] * len(hits.false)
        several.append(matched(truth(made)[0], sure.labels, truth(made)[1]))
        error = median_error(sure, made)
        off += [] if error is None else [error]
    precision, recall, both = f1(several)
    return {
        "simulated particles, intersection over union from 0.5": (
            f"F1 {both:.3f}, precision {precision:.3f}, recall {recall:.3f}"
        ),
        "median diameter of an image": (
            f"{100 * float(np.median(np.abs(off))):.1f} % off (median of {len(off)})"
        ),
        "calibration error of the score": f"{calibration_error(np.array(score), np.array(right)):.3f}",
        "score": coefficients,
    }


def images(first: int, count: int) -> Iterator[ParticleImage]:
    """Yield simulated images of any kind of particles."""
    for seed in range(first, first + count):
        rng = np.random.default_rng((seed, 13))
        size = math.exp(rng.uniform(math.log(_LEAST), math.log(_LARGEST * FIELD)))
        made = random_particles(View((FIELD, FIELD), 1.0), seed=seed, diameter=size)
        if np.ptp(made.image):
            yield made


def truth(made: ParticleImage) -> tuple[npt.NDArray[np.int32], Ints]:
    """Return which particle each pixel shows, and the labels of those that need not be found."""
    labels = np.where(made.hidden, 0, made.scene.instance).astype(np.int32)
    seen = np.bincount(labels.ravel(), minlength=len(made.scene.objects) + 1)[1:]
    whole = np.array([one.mask.sum() for one in made.scene.objects.outlines], np.float64)
    few = (seen < _SEEN * whole) | (np.sqrt(4 * whole / math.pi) < _SMALLEST)
    return labels, np.flatnonzero(few) + 1


def median_error(found: Particles, made: ParticleImage) -> float | None:
    """Return by how much the median diameter of whole particles is off, relative to it; None of too few."""
    objects, ignored = made.scene.objects, np.zeros(len(made.scene.objects), bool)
    ignored[truth(made)[1] - 1] = True
    there = objects.diameter[~ignored & ~objects.cut]
    if len(there) < _FEWEST or not len(found.score):
        return None
    said = measured(found, (1.0, 1.0))[0]
    whole = said.diameter[~said.on_edge]
    return float(np.median(whole) / np.median(there) - 1) if len(whole) else None


def calibrated(network: nn.Module) -> list[float]:
    """Return the coefficients of `SIGNS`, so that a score is the chance that an outline is a particle's.

    They are fitted twice: to all candidates, and to those that remain when the best by these were kept.
    """
    looks = [(*look(made.image, network), made) for made in images(_HELD_OUT, _TAUGHT)]
    signs = np.concatenate([found.signs for found, _, _ in looks])
    right = np.concatenate([_right(found.outlines, made) for found, _, made in looks])
    first = _fitted(signs, right)
    signs_kept, right_kept = [], []
    for found, seen, made in looks:
        value = scores(found, first)
        use = np.flatnonzero(value >= _ANY)
        kept = use[best(found.outlines[use], value[use])]
        labels = particle_finder.shown(found.outlines[kept], found.scale[kept], seen, made.image.shape)
        hits = matched(truth(made)[0], labels, truth(made)[1])
        told = np.r_[hits.found, hits.false] - 1
        signs_kept.append(found.signs[kept[told]])
        right_kept.append(np.r_[np.ones(len(hits.found)), np.zeros(len(hits.false))] > 0)
    return _fitted(np.concatenate(signs_kept), np.concatenate(right_kept))


def _right(outlines: Outlines, made: ParticleImage) -> npt.NDArray[np.bool_]:
    """Return which outlines are those of a particle, by half of their union at least."""
    right = np.zeros(len(outlines), bool)
    found = [
        (np.array([x + one.left, y + one.top]), radii)
        for one in made.scene.objects.outlines
        if (trace := traced(one.mask)) is not None
        for (x, y), radii in [trace]
    ]
    if not found or not len(outlines):
        return right
    there = Outlines(np.array([one[0] for one in found]), np.array([one[1] for one in found]))
    together = Outlines(
        np.concatenate((outlines.centre, there.centre)), np.concatenate((outlines.radii, there.radii))
    )
    far = np.hypot(*(outlines.centre[:, None] - there.centre[None]).transpose(2, 0, 1))
    first, second = np.nonzero(far < np.sqrt(there.area / math.pi))
    share = overlaps(together, first, second + len(outlines)) * outlines.area[first]
    union = share / (outlines.area[first] + there.area[second] - share)
    right[first[union > 0.5]] = True
    return right


def _fitted(signs: Floats, right: npt.NDArray[np.bool_]) -> list[float]:
    if right.all() or not right.any():  # a network that learnt nothing
        return [0.0, 1.0, *[0.0] * (len(SIGNS) - 2)]
    fit = LogisticRegression(C=1e3, max_iter=1000).fit(signs[:, 1:], right)
    return [round(float(one), 5) for one in (fit.intercept_[0], *fit.coef_[0])]
