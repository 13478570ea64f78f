"""Particles of an image: outlines at several scales, the best of them kept, and which pixels show which one.

Nobody knows how large particles are in pixels. The network is asked in the image and in ones shrunk by 2, 4,
...; outlines that claim the same particle compete by their scores (Malisiewicz, Gupta and Efros, ICCV 2011,
for non-maximum suppression).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from micdb.embed.micro.outlines import DIRECTIONS, Outlines, best
from micdb.embed.micro.particle_maps import DEEP, INSIDE, OFFSET, RADII, UNIT
from micdb.embed.micro.view import view
from micdb.embed.nets.tiles import pieces

if TYPE_CHECKING:
    from torch import nn

Floats = npt.NDArray[np.float64]
Maps = npt.NDArray[np.float32]
Halves = npt.NDArray[np.float16]
Labels = npt.NDArray[np.int32]

_SMALLEST_SIDE = 32  # [pixel] of a shrunk image
_LEAST_DEPTH = 0.15  # of a candidate
_SIZES = (3.0, 70.0)  # [pixel of the scale] diameters that the network was taught, with some room
_MIDDLE = 16.0  # [pixel of the scale] of those sizes
_FARTHEST = 1.3  # [radius in that direction] of a pixel that belongs to a particle
_ASTRAY = 1.0  # weight of how far off the centre it names lies [radius], beside how far out the pixel lies
_OUTSIDE = 0.5  # probability of being inside below which a pixel belongs to none


@dataclass(frozen=True, slots=True, eq=False)
class Particles:
    """Particles of an image, by their number.

    Parameters
    ----------
    outlines
        ``(n,)``, hidden parts included.
    score
        Probability ``(n,)``.
    labels
        ``(y, x)``: which particle is seen, from 1; 0 is none.
    """

    outlines: Outlines
    score: Floats
    labels: Labels


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Outlines that may be particles [pixel of the image].

    Parameters
    ----------
    outlines
        ``(n,)``.
    signs
        ``(n, 5)`` of how sure they are; see `SIGNS`.
    scale
        By how much the image was shrunk ``(n,)``.
    """

    outlines: Outlines
    signs: Floats
    scale: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What pixels of a shrunk image say of themselves.

    Parameters
    ----------
    inside
        Probability of being inside a particle ``(y, x)``.
    way
        From the centre of theirs x, y ``(2, y, x)`` [pixel of the scale].
    """

    inside: Halves
    way: Halves


#: From what the score is told; the size is in pixels of the scale.
SIGNS = ("constant", "log odds of the depth", "disagreement of neighbours", "ln size", "ln size, squared")


def find(
    image: npt.NDArray[np.floating], network: nn.Module, score: Sequence[float], least: float
) -> Particles:
    """Return the particles of an image.

    Parameters
    ----------
    image
        ``(y, x)``, finite, not constant.
    network
        From the recipe ``particles``.
    score
        Coefficients of `SIGNS` in the log odds that an outline is a particle's.
    least
        Score from which an outline is one, 0 to 1.
    """
    return chosen(*look(image, network), score, least, image.shape)


def chosen(
    found: Candidates, seen: Mapping[int, Seen], score: Sequence[float], least: float, shape: tuple[int, ...]
) -> Particles:
    """Return the particles among candidates, of an image of a shape; see `find`."""
    value = scores(found, score)
    use = np.flatnonzero(value >= least)
    kept = use[best(found.outlines[use], value[use])]
    return _numbered(
        found.outlines[kept], value[kept], shown(found.outlines[kept], found.scale[kept], seen, shape)
    )


def scores(found: Candidates, coefficients: Sequence[float]) -> Floats:
    """Return the probability of each candidate ``(n,)``."""
    return np.asarray(1 / (1 + np.exp(-(found.signs @ np.asarray(coefficients)))))


def look(image: npt.NDArray[np.floating], network: nn.Module) -> tuple[Candidates, dict[int, Seen]]:
    """Return candidates of all scales, and by scale what pixels say of themselves."""
    parts, seen = [], {}
    for scale, shrunk in _shrunk(np.asarray(image, np.float64)):
        pixels = Seen(*(np.empty(size, np.float16) for size in (shrunk.shape, (2, *shrunk.shape))))
        for (rows, columns), maps in pieces(view(shrunk)[None], network):
            pixels.inside[rows, columns] = 1 / (1 + np.exp(-maps[INSIDE]))
            pixels.way[:, rows, columns] = maps[OFFSET] * UNIT
            parts.append(_candidates(maps, scale, (columns.start, rows.start)))
        seen[scale] = pixels
    return joined(parts), seen


def joined(parts: Sequence[Candidates]) -> Candidates:
    """Return the candidates of several places together."""
    outlines = [one.outlines for one in parts]
    return Candidates(
        Outlines(np.concatenate([o.centre for o in outlines]), np.concatenate([o.radii for o in outlines])),
        np.concatenate([one.signs for one in parts]),
        np.concatenate([one.scale for one in parts]),
    )


def _shrunk(image: Floats) -> Iterator[tuple[int, Floats]]:
    """Yield an image and what is left of it when blocks of 2, 4, ... pixels become one."""
    scale = 1
    while scale == 1 or min(image.shape) >= _SMALLEST_SIDE:
        yield scale, image
        padded = np.pad(image, [(0, size % 2) for size in image.shape], mode="edge")
        image = padded.reshape(padded.shape[0] // 2, 2, padded.shape[1] // 2, 2).mean(axis=(1, 3))
        scale *= 2


def _candidates(maps: Maps, scale: int, corner: tuple[int, int]) -> Candidates:
    """Return an outline for each place of a tile, which begins at x, y, that is deeper than those around."""
    depth = 1 / (1 + np.exp(-maps[DEEP]))
    smooth = ndimage.uniform_filter(depth, 3)
    peak = (smooth >= ndimage.maximum_filter(smooth, 3)) & (smooth > _LEAST_DEPTH)
    y, x = np.nonzero(peak)
    height, width = depth.shape
    near = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    rows = np.clip(y[:, None] + [one[0] for one in near], 0, height - 1)
    columns = np.clip(x[:, None] + [one[1] for one in near], 0, width - 1)
    said = maps[:, rows, columns].astype(np.float64) * UNIT  # (maps, n, 9)
    weight = depth[rows, columns] ** 2
    weight /= weight.sum(axis=1, keepdims=True)
    way = said[OFFSET].transpose(1, 2, 0)  # (n, 9, 2)
    centres = np.stack((columns, rows), axis=-1) + np.array(corner) - way
    radii = said[RADII].transpose(1, 2, 0) + way @ DIRECTIONS.T
    centre = (weight[..., None] * centres).sum(axis=1)
    outline = Outlines(centre, np.maximum((weight[..., None] * radii).sum(axis=1), 0.5))
    size = np.sqrt(4 * outline.area / math.pi)
    off = np.hypot(*(centres - centre[:, None]).transpose(2, 0, 1)).mean(axis=1)
    off += np.abs(radii - outline.radii[:, None]).mean(axis=(1, 2))
    at = maps[DEEP, rows, columns].astype(np.float64).mean(axis=1)
    relative = np.log(size / _MIDDLE)
    signs = np.column_stack((np.ones(len(y)), at, off / size, relative, relative**2))
    use = (size > _SIZES[0]) & (size < _SIZES[1])
    return Candidates(outline[use].scaled(scale), signs[use], np.full(int(use.sum()), scale, float))


def shown(outlines: Outlines, scale: Floats, seen: Mapping[int, Seen], shape: tuple[int, ...]) -> Labels:
    """Return which outline each pixel shows ``(y, x)``, from 1; 0 is none.

    Of several it is the one near whose middle the pixel lies and to which it says it belongs. A pixel a
    little beyond an outline is the particle's where the network sees a particle; one within is not where it
    does not.
    """
    labels, nearest = np.zeros(shape, np.int32), np.full(shape, np.inf, np.float32)
    wider = Outlines(outlines.centre, outlines.radii * _FARTHEST)
    size = np.sqrt(outlines.area / math.pi)
    for index in range(len(outlines)):
        box, mask = wider.mask(index, shape)
        y, x = np.nonzero(mask)
        y, x = y + box[0].start, x + box[1].start
        off = np.column_stack((x, y)) - outlines.centre[index]
        place = np.arctan2(off[:, 1], off[:, 0]) / (2 * math.pi) * len(DIRECTIONS)
        edge = np.interp(place, np.arange(len(DIRECTIONS)), outlines.radii[index], period=len(DIRECTIONS))
        step = int(scale[index])
        sure, *way = (_sampled(one, y, x, step) for one in (seen[step].inside, *seen[step].way))
        far = np.hypot(*off.T) / edge
        astray = np.hypot(off[:, 0] - step * way[0], off[:, 1] - step * way[1]) / size[index]
        cost = far + _ASTRAY * astray
        mine = (cost < nearest[y, x]) & (sure >= _OUTSIDE)
        labels[y[mine], x[mine]], nearest[y[mine], x[mine]] = index + 1, cost[mine]
    return labels


def _sampled(map_: Halves, y: npt.NDArray[np.intp], x: npt.NDArray[np.intp], step: int) -> Floats:
    """Return a shrunk map at pixels of the image, interpolated."""
    if step == 1:
        return np.asarray(map_[y, x], np.float64)
    (top, down), (left, right) = (
        _between(one, step, size) for one, size in zip((y, x), map_.shape, strict=True)
    )
    upper = map_[top, left] * (1 - right) + map_[top, left + 1] * right
    lower = map_[top + 1, left] * (1 - right) + map_[top + 1, left + 1] * right
    return np.asarray(upper * (1 - down) + lower * down)


def _between(place: npt.NDArray[np.intp], step: int, size: int) -> tuple[npt.NDArray[np.intp], Floats]:
    """Return the pixel of a shrunk image before each pixel of the image, and how far beyond it that lies."""
    exact = np.clip((place + 0.5) / step - 0.5, 0, size - 1)
    before = np.minimum(exact.astype(np.intp), size - 2)
    return before, exact - before


def _numbered(outlines: Outlines, score: Floats, labels: Labels) -> Particles:
    """Return the particles that are seen, numbered by rows of their centres."""
    there = np.bincount(labels.ravel(), minlength=len(outlines) + 1)[1:] > 0
    order = np.flatnonzero(there)
    order = order[np.lexsort(outlines.centre[order].T)]
    number = np.zeros(len(outlines) + 1, np.int32)
    number[order + 1] = np.arange(1, len(order) + 1)
    return Particles(outlines[order], score[order], number[labels])
