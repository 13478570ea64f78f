"""Defects of a topograph: the peaks of the network's maps over all levels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from micdb.embed.stm.levels import NOMINAL, Level
from micdb.embed.stm.targets import SPOT

if TYPE_CHECKING:
    from torch import nn

    from micdb.embed.stm.network import Answer

Floats = npt.NDArray[np.float64]

_SMOOTH = 1.0  # [pixel] two maxima on the flat top of one spot are one defect
_NEIGHBOUR = 3  # [pixel] half the window of a local maximum
_SAME = 0.4  # [diameter of the larger] what is nearer is the same defect, seen at another level


@dataclass(frozen=True, slots=True)
class Found:
    """Defects of one image.

    Parameters
    ----------
    xy
        Centres ``(n, 2)`` as x, y [pixel of the image].
    diameter
        ``(n,)`` [nm].
    probability
        That there is a defect ``(n,)``.
    kinds
        Probability of each kind, given that there is one ``(n, kind)``.
    """

    xy: Floats
    diameter: Floats
    probability: Floats
    kinds: Floats

    def __len__(self) -> int:
        return len(self.probability)

    def take(self, chosen: npt.NDArray[np.integer] | npt.NDArray[np.bool_]) -> Found:
        """Return some of them."""
        return Found(self.xy[chosen], self.diameter[chosen], self.probability[chosen], self.kinds[chosen])


def asked(made: Sequence[Level], network: nn.Module) -> list[Answer]:
    """Return what the network says of each level of an image."""
    from micdb.embed.stm.network import ask

    return [ask(level, network) for level in made]


def detect(made: Sequence[Level], answers: Sequence[Answer], *, pixel_size: float, least: float) -> Found:
    """Return the defects of an image from its levels, the most probable first.

    Parameters
    ----------
    made
        What `levels` gives.
    answers
        What `asked` gives.
    pixel_size
        Of the image [nm].
    least
        Probability.
    """
    parts = [_peaks(level, answer, least) for level, answer in zip(made, answers, strict=True)]
    every = Found(*(np.concatenate([getattr(one, name) for one in parts]) for name in Found.__slots__))
    every = every.take(np.argsort(-every.probability, kind="stable"))
    return every.take(_distinct(every, pixel_size))


def _peaks(level: Level, answer: Answer, least: float) -> Found:
    smooth = ndimage.gaussian_filter(answer.presence, _SMOOTH, mode="nearest")
    gain = 1 + (_SMOOTH / SPOT) ** 2  # a spot of unit height that is smoothed loses this share of it
    top = ndimage.maximum_filter(smooth, size=2 * _NEIGHBOUR + 1, mode="nearest")
    y, x = np.nonzero((smooth == top) & (smooth * gain >= least))
    probability = np.minimum(smooth[y, x] * gain, 1.0).astype(np.float64)
    around = np.stack([ndimage.uniform_filter(one, 3, mode="nearest")[y, x] for one in answer.kinds], axis=1)
    diameter = NOMINAL * level.nm_per_pixel * 2.0 ** answer.octaves[y, x].astype(np.float64)
    xy = level.sampled.original(np.column_stack((x, y)).astype(np.float64))
    return Found(xy, diameter, probability, np.asarray(around, dtype=np.float64))


def _distinct(found: Found, pixel_size: float) -> npt.NDArray[np.int64]:
    """Return those that no more probable one covers."""
    kept: list[int] = []
    for one in range(len(found)):
        apart = np.linalg.norm(found.xy[kept] - found.xy[one], axis=1) * pixel_size
        if not (apart < _SAME * np.maximum(found.diameter[kept], found.diameter[one])).any():
            kept.append(one)
    return np.array(kept, dtype=np.int64)
