"""Particles of an image by the network: candidates at several scales, the best of them, and who shows where.

Nobody knows how large particles are in pixels. The network is asked about the image and about ones shrunk by
2, 4, ...; candidates that claim the same particle compete by their scores.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from micdb.embed.micro.particle_maps import BOX, DEEP, INSIDE, LARGEST, SMALLEST, UNIT
from micdb.embed.micro.view import view
from micdb.embed.nets.tiles import tiled

if TYPE_CHECKING:
    from torch import nn

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int32]
Maps = npt.NDArray[np.float16]

#: What a score is made of: 1, how deep its middle lies (log odds), by how much the pixels there disagree on
#: the box relative to its size, the logarithm of the size relative to `_MIDDLE`, and its square.
SIGNS = ("one", "depth", "astray", "size", "size**2")

_MIDDLE = math.sqrt(SMALLEST * LARGEST)  # [pixel]
_SLACK = 1.25  # by which sizes may lie beyond what the network knows
_LEAST_DEPTH = 0.15  # of a candidate: probability
_SMALLEST_SIDE = 32  # [pixel] of a shrunk image
# The rest was chosen on 24 simulated images; half as much or more changes F1 by 0.02.
_SAME, _WITHIN = 0.3, 0.6  # intersection over union, share of the smaller: from there it is one particle
_INSIDE = 0.3  # probability of a pixel that shows a particle
_ASTRAY = 0.35  # [size of the box] by which a pixel's own box may differ from that of its particle


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """What may be a particle.

    Parameters
    ----------
    box
        x0, y0, x1, y1 of its first and last pixels, hidden parts too ``(n, 4)`` [pixel of the image].
    signs
        ``(n, len(SIGNS))``.
    scale
        By which the image was shrunk ``(n,)``.
    """

    box: Floats
    signs: Floats
    scale: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.box)

    def __getitem__(self, which: npt.NDArray[np.generic]) -> Candidates:
        return Candidates(self.box[which], self.signs[which], self.scale[which])


def look(image: npt.NDArray[np.floating], network: nn.Module) -> tuple[Candidates, dict[int, Maps]]:
    """Return candidates of all scales, and what the network says at each scale ``(MAPS, y, x)``.

    Parameters
    ----------
    image
        ``(y, x)``, finite, not constant.
    network
        Of `micdb.embed.train.particles`.
    """
    parts, seen = [], {}
    for scale, shrunk in _shrunk(np.asarray(image, np.float64)):
        maps = tiled(view(shrunk)[None], network)
        parts.append(_candidates(maps, scale))
        seen[scale] = maps.astype(np.float16)
    return joined(parts), seen


def joined(parts: Sequence[Candidates]) -> Candidates:
    """Return candidates of several scales together."""
    columns = (np.concatenate(one) for one in zip(*((p.box, p.signs, p.scale) for p in parts), strict=True))
    return Candidates(*columns)


def scores(found: Candidates, coefficients: Sequence[float]) -> Floats:
    """Return the probability of each candidate ``(n,)``."""
    return np.asarray(1 / (1 + np.exp(-np.clip(found.signs @ np.asarray(coefficients), -30, 30))))


def chosen(
    found: Candidates,
    seen: Mapping[int, Maps],
    coefficients: Sequence[float],
    least_score: float,
    *,
    least_px: int = 1,
) -> tuple[Labels, Floats]:
    """Return which particle each pixel shows ``(y, x)``, from 1, and the score of each ``(n,)``.

    Parameters
    ----------
    found, seen
        From `look`.
    coefficients
        Of `SIGNS`.
    least_score
        Probability of a particle.
    least_px
        Area that shows [pixel].
    """
    value = scores(found, coefficients)
    use = np.flatnonzero(value >= least_score)
    kept = use[best(found.box[use], value[use])]
    labels = shown(found[kept], seen)
    there = np.flatnonzero(np.bincount(labels.ravel(), minlength=len(kept) + 1)[1:] >= least_px)
    number = np.zeros(len(kept) + 1, np.int32)
    number[there + 1] = np.arange(1, len(there) + 1)
    return number[labels], value[kept][there]


def best(box: Floats, score: Floats) -> npt.NDArray[np.int64]:
    """Return which boxes ``(n, 4)`` remain, the best first, when each removes worse ones of its particle."""
    order = np.argsort(-score, kind="stable")
    box, free = box[order], np.ones(len(order), bool)
    area = _area(box)
    kept = []
    for one in range(len(order)):
        if not free[one]:
            continue
        kept.append(one)
        low, high = np.maximum(box[:, :2], box[one, :2]), np.minimum(box[:, 2:], box[one, 2:])
        both = np.maximum(high - low + 1, 0).prod(axis=1)
        same = both > _SAME * (area + area[one] - both)
        free &= ~(same | (both > _WITHIN * np.minimum(area, area[one])))
    return order[np.array(kept, np.int64)]


def shown(found: Candidates, seen: Mapping[int, Maps]) -> Labels:
    """Return which candidate each pixel shows ``(y, x)``, from 1; 0 is none.

    Of several it is the one whose box is most like that which the pixel itself tells. Each is one piece
    without holes, the largest.
    """
    shape = seen[1].shape[1:]
    labels, nearest = np.zeros(shape, np.int32), np.full(shape, _ASTRAY, np.float32)
    for index, (box, step) in enumerate(zip(found.box, found.scale.tolist(), strict=True)):
        size = math.sqrt(float(_area(box[None])[0]))
        low = np.maximum(np.floor(box[:2]), 0).astype(int)
        high = np.minimum(np.ceil(box[2:]).astype(int) + 1, shape[::-1])
        if (high <= low).any():
            continue
        y, x = np.arange(low[1], high[1]), np.arange(low[0], high[0])
        maps = _enlarged(seen[step], y, x, step)
        sides = maps[BOX] * (UNIT * step)
        astray = (
            np.abs(x - sides[0] - box[0]) + np.abs(y[:, None] - sides[1] - box[1])
            + np.abs(x + sides[2] - box[2]) + np.abs(y[:, None] + sides[3] - box[3])
        ) / (4 * size)  # fmt: skip
        part = (slice(low[1], high[1]), slice(low[0], high[0]))
        mine = (astray < nearest[part]) & (maps[INSIDE] > math.log(_INSIDE / (1 - _INSIDE)))
        labels[part][mine], nearest[part][mine] = index + 1, astray[mine]
    return _whole(labels)


def _whole(labels: Labels) -> Labels:
    """Return objects ``(y, x)`` as one piece each, the largest, with its holes filled."""
    made = np.zeros_like(labels)
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is None:
            continue
        pieces, count = ndimage.label(labels[box] == number)
        largest = 1 + int(np.bincount(pieces.ravel())[1:].argmax()) if count > 1 else 1
        solid = ndimage.binary_fill_holes(pieces == largest) & np.isin(labels[box], (0, number))
        made[box][solid] = number
    return made


def _area(box: Floats) -> Floats:
    return np.asarray((box[:, 2:] - box[:, :2] + 1).clip(min=1).prod(axis=1))


def _shrunk(image: Floats) -> Iterator[tuple[int, Floats]]:
    """Yield an image and what is left of it when blocks of 2, 4, ... pixels become one."""
    scale = 1
    while scale == 1 or min(image.shape) >= _SMALLEST_SIDE:
        if np.ptp(image):
            yield scale, image
        padded = np.pad(image, [(0, size % 2) for size in image.shape], mode="edge")
        image = padded.reshape(padded.shape[0] // 2, 2, padded.shape[1] // 2, 2).mean(axis=(1, 3))
        scale *= 2


def _candidates(maps: npt.NDArray[np.float32], scale: int) -> Candidates:
    """Return a candidate for each place that is deeper than those around."""
    depth = 1 / (1 + np.exp(-maps[DEEP]))
    smooth = ndimage.uniform_filter(depth, 3)
    y, x = np.nonzero((smooth >= ndimage.maximum_filter(smooth, 3)) & (smooth > _LEAST_DEPTH))
    near = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    rows, columns = (
        np.clip(place[:, None] + [one[axis] for one in near], 0, size - 1)
        for axis, (place, size) in enumerate(zip((y, x), depth.shape, strict=True))
    )
    sides = maps[BOX][:, rows, columns].astype(np.float64) * UNIT  # (4, n, 9)
    boxes = np.stack((columns - sides[0], rows - sides[1], columns + sides[2], rows + sides[3]))
    box = boxes.mean(axis=2).T
    size = np.sqrt(_area(box))
    astray = np.abs(boxes - box.T[..., None]).mean(axis=(0, 2)) / size
    relative = np.log(size / _MIDDLE)
    signs = np.column_stack(
        (np.ones(len(y)), maps[DEEP][rows, columns].mean(axis=1), astray, relative, relative**2)
    )
    use = (size > SMALLEST / _SLACK) & (size < LARGEST * _SLACK)
    half = np.array([-0.5, -0.5, 0.5, 0.5])  # from the middle of the outermost pixels to their sides
    placed = (box[use] + half + 0.5) * scale - 0.5 - half
    return Candidates(placed, signs[use].astype(np.float64), np.full(int(use.sum()), scale, np.int64))


def _enlarged(
    maps: Maps, y: npt.NDArray[np.int64], x: npt.NDArray[np.int64], step: int
) -> npt.NDArray[np.float32]:
    """Return maps of a shrunk image at rows and columns of the image ``(MAPS, y, x)``, interpolated."""
    if step == 1:
        return np.asarray(maps[:, y[0] : y[-1] + 1, x[0] : x[-1] + 1], np.float32)
    (top, down), (left, right) = (
        _between(place, step, size) for place, size in zip((y, x), maps.shape[1:], strict=True)
    )
    rows = slice(top[0], top[-1] + 2)
    part = maps[:, rows, left[0] : left[-1] + 2].astype(np.float32)
    top, left = top - top[0], left - left[0]
    tall = part[:, top] * (1 - down)[:, None] + part[:, top + 1] * down[:, None]
    return np.asarray(tall[:, :, left] * (1 - right) + tall[:, :, left + 1] * right)


def _between(
    place: npt.NDArray[np.int64], step: int, size: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]]:
    """Return the pixel of a shrunk image before each pixel of the image, and how far beyond it that lies."""
    exact = np.clip((place + 0.5) / step - 0.5, 0, size - 1)
    before = np.minimum(exact.astype(np.intp), size - 2)
    return before, (exact - before).astype(np.float32)
