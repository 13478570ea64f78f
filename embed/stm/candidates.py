"""What may be a defect, with numbers from which a user's examples can tell what is one and how to call it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from micdb.embed.stm.describe import Looks, describe
from micdb.embed.stm.detect import Found, asked, detect
from micdb.embed.stm.levels import NOMINAL, Level, levels

if TYPE_CHECKING:
    from torch import nn

    from micdb.embed.stm.network import Answer

Floats = npt.NDArray[np.float64]

_LEAST = 0.03  # probability that the network must give: nearly all defects that people mark have more
_MOST = 1500  # of an image
_NEAR = (-2, -1, 0, 1, 2)  # levels beside that of a candidate
_SURE = 0.3  # probability of those that a candidate is compared with
_THIRD = 2  # the third strongest defect stands for the strong ones of an image


@dataclass(frozen=True, slots=True)
class Candidates:
    """What may be a defect in one image.

    Parameters
    ----------
    found
        As the network sees it.
    looks
        As it is measured.
    numbers
        ``(n, k)``: of the candidate, of its image, and of the two together.
    """

    found: Found
    looks: Looks
    numbers: npt.NDArray[np.float32]


def candidates(image: npt.NDArray[np.floating], pixel_size: float, network: nn.Module) -> Candidates:
    """Return what may be a defect in a finite image ``(y, x)`` of a pixel size [nm]."""
    made = levels(image, pixel_size)
    answers = asked(made, network)
    found = detect(made, answers, pixel_size=pixel_size, least=_LEAST)
    found = found.take(np.arange(min(len(found), _MOST)))
    looks = describe(found, made, pixel_size)
    sizes = np.log2([NOMINAL * level.nm_per_pixel for level in made])
    own = np.abs(np.log2(found.diameter)[:, None] - sizes).argmin(axis=1)
    numbers = np.hstack((
        _sizes(found, looks, image.shape, pixel_size),
        _beside_others(found, looks),
        _grey(image, found),
        looks.descriptor,
        _across_levels(found, made, answers, own),
        found.kinds,
    ))  # fmt: skip
    return Candidates(found, looks, numbers.astype(np.float32))


def _sizes(found: Found, looks: Looks, shape: tuple[int, ...], pixel: float) -> Floats:
    """Return sign, extents, scales, probability, contrast and distance from the rim."""
    x, y = found.xy.T
    rim = np.minimum.reduce([x, y, shape[1] - 1 - x, shape[0] - 1 - y]) * pixel / found.diameter
    n = len(found)
    return np.column_stack((
        np.sign(looks.height), np.log(looks.extent), np.log(found.diameter), np.log(found.diameter / pixel),
        np.full(n, np.log(pixel)), np.full(n, np.log(min(shape) * pixel)), found.probability,
        np.log(np.abs(looks.height) / looks.noise + 0.1), rim,
    ))  # fmt: skip


def _beside_others(found: Found, looks: Looks) -> Floats:
    """Return how strong each is beside the sure ones of the image, of its own sign and of the other.

    Shares only, no numbers of defects: a forest would know the images that it learnt from by those.
    """
    height, sign = np.abs(looks.height), np.sign(looks.height)
    rows = np.zeros((len(found), 4))
    for up in (-1.0, 1.0):
        mine = sign == up
        same, other = (np.sort(height[(found.probability > _SURE) & one])[::-1] for one in (mine, ~mine))
        own = height[mine]
        against = own / (other[min(_THIRD, len(other) - 1)] if len(other) else np.inf)
        if not len(same):
            rows[mine] = np.column_stack((*np.ones((2, len(own))), np.zeros(len(own)), against))
            continue
        stronger = (same[None] > own[:, None]).mean(axis=1)
        rows[mine] = np.column_stack((
            own / same[min(_THIRD, len(same) - 1)], own / np.median(same), stronger, against
        ))  # fmt: skip
    return rows


def _grey(image: npt.NDArray[np.floating], found: Found) -> Floats:
    """Return where the value of the image lies between its extremes: drawn scale bars are beyond them."""
    low, high = np.quantile(image, (0.01, 0.99))
    value = ndimage.map_coordinates(image, found.xy.T[::-1], order=1, mode="nearest")
    return np.asarray((value - low) / max(float(high - low), 1e-30))[:, None]


def _across_levels(
    found: Found, made: Sequence[Level], answers: Sequence[Answer], own: npt.NDArray[np.int64]
) -> Floats:
    """Return probability and height over noise at the candidate's level and two on either side; -1 beyond."""
    n = len(found)
    probability, height = np.full((n, len(made)), -1.0), np.full((n, len(made)), -1.0)
    for number, (level, answer) in enumerate(zip(made, answers, strict=True)):
        at = ((found.xy + 0.5) / level.sampled.factor - 0.5).T[::-1]
        wide = ndimage.maximum_filter(answer.presence, 3)
        probability[:, number] = ndimage.map_coordinates(wide, at, order=1, mode="nearest")
        smooth = ndimage.gaussian_filter(level.height, 1.5) / level.noise
        height[:, number] = ndimage.map_coordinates(smooth, at, order=1, mode="mirror")
    columns = []
    for step in _NEAR:
        beside = own + step
        there = (beside >= 0) & (beside < len(made))
        place = (np.arange(n), np.clip(beside, 0, len(made) - 1))
        columns += [np.where(there, one[place], -1.0) for one in (probability, height)]
    return np.column_stack(columns)
