"""The recipe of ``particles``: how deep each pixel lies in a particle, and the box of that particle.

A pixel of a particle says how far it is from the edge of what is seen (0 there, 1 in the middle), and how far
the sides of the particle's box are, hidden parts included (as in FCOS: Tian et al., ICCV 2019). The network
knows particles of a range of sizes in pixels; larger ones are asked for in a smaller image.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional

from micdb.embed.micro.particle_maps import BOX, DEEP, INSIDE, LARGEST, SMALLEST, UNIT
from micdb.embed.micro.view import view
from micdb.embed.simulate.microstructures.varied_particles import ParticleImage, random_particles
from micdb.embed.simulate.microstructures.view import View
from micdb.embed.train import segment
from micdb.embed.train.loop import Batch

Floats32 = npt.NDArray[np.float32]

SIDE, BATCH = 128, 8  # [pixel], images

_FIELD = 168  # [pixel] of what is simulated: boxes of particles at the edge of a crop are known
_MEDIANS = (6.0, 48.0)  # [pixel] median diameters, log-uniform
_FAR = 1.4  # times `LARGEST`: from there on a particle is none; between, nothing is asked
_SEEN = 0.3  # share of a particle that must be seen, to be asked for
_BOXES = 0.5  # weight of the loss of boxes
_THERE = 2.0  # weight added to a pixel of a particle: most images show few
_CONTRAST, _OFFSET = 0.2, 0.15  # [half range of grey values] standard deviations
_SHALLOW = 0.2  # weight of a pixel at the edge beside 1 in the middle: boxes are read there
_COLUMNS = 6  # of a particle: box, weight, size


def begun(**arguments: Any) -> nn.Module:
    """Return the network `micro`, which knows the look of simulated microstructures, with another head."""
    return segment.begun(arguments["channels_out"])


def batch(seed: int) -> Batch:
    """Return images ``(n, 1, y, x)``, depths, their weights, labels ``(n, y, x)`` and rows ``(n, m, 6)``."""
    seeds = np.random.default_rng(seed).integers(2**62, size=BATCH)
    parts = [_crop(int(one)) for one in seeds]
    most = max(len(one[-1]) for one in parts)
    tables = np.zeros((BATCH, most, _COLUMNS), np.float32)
    for table, one in zip(tables, parts, strict=True):
        table[: len(one[-1])] = one[-1]
    return (*(np.stack([one[number] for one in parts]) for number in range(4)), tables)


def loss(network: nn.Module, arrays: tuple[Tensor, ...]) -> Tensor:
    """Return the loss of a batch, in one of the eight orientations of a square: it is shown several times."""
    if network.training:
        arrays = turned(arrays, int(torch.randint(4, ())), mirrored=bool(torch.randint(2, ())))
    images, deep, weight, labels, table = arrays
    if network.training:  # the rest of an image may be brighter or darker than a crop
        gain, offset = torch.randn(2, len(images), 1, 1, 1)
        images = torch.exp(_CONTRAST * gain) * images + _OFFSET * offset
    answer = network(images.contiguous(memory_format=torch.channels_last))
    there = (labels > 0).float()
    depth = functional.binary_cross_entropy_with_logits(
        answer[:, DEEP], deep, weight=weight * (1 + _THERE * there)
    )
    inside = functional.binary_cross_entropy_with_logits(answer[:, INSIDE], there)
    return depth + inside + _BOXES * _box_loss(answer, deep, labels.long(), table)


def turned(arrays: tuple[Tensor, ...], quarters: int, *, mirrored: bool) -> tuple[Tensor, ...]:
    """Return a batch turned by 90 degrees, some times, and then mirrored along x."""
    *maps, table = arrays
    x0, y0, x1, y1, *rest = table.unbind(dim=-1)
    for _ in range(quarters):  # what is at x, y comes to y, last - x
        x0, y0, x1, y1 = y0, SIDE - 1 - x1, y1, SIDE - 1 - x0
    maps = [torch.rot90(one, quarters, dims=(-2, -1)) for one in maps]
    if mirrored:
        x0, x1 = SIDE - 1 - x1, SIDE - 1 - x0
        maps = [one.flip(-1) for one in maps]
    return (*maps, torch.stack((x0, y0, x1, y1, *rest), dim=-1))


def _box_loss(answer: Tensor, deep: Tensor, labels: Tensor, table: Tensor) -> Tensor:
    """Return the mean error of a box's sides relative to the particle's diameter, deep inside of it first."""
    image, y, x = torch.nonzero(labels > 0, as_tuple=True)
    mine = table[image, labels[image, y, x] - 1]
    known = mine[:, 4] > 0
    image, y, x, mine = image[known], y[known], x[known], mine[known]
    place = torch.stack((x, y), dim=1)
    sides = torch.cat((place - mine[:, :2], mine[:, 2:4] - place), dim=1)
    off = (answer[image, BOX, y, x] * UNIT - sides).abs().mean(dim=1) / mine[:, 5]
    weight = (_SHALLOW + deep[image, y, x]) / mine[:, 5]  # large ones have more pixels
    return (weight * off).sum() / weight.sum().clamp(min=1e-6)


def _crop(seed: int) -> tuple[Floats32, ...]:
    rng = np.random.default_rng((seed, 11))
    size = math.exp(rng.uniform(*np.log(_MEDIANS)))
    made = random_particles(View((_FIELD, _FIELD), 1.0), seed=seed, diameter=size)
    top, left = (int(one) for one in rng.integers(_FIELD - SIDE + 1, size=2))
    part = (slice(top, top + SIDE), slice(left, left + SIDE))
    deep, weight, labels, table = targets(made)
    table[:, :4] -= (left, top, left, top)
    image = made.image[part]
    seen = view(image) if np.ptp(image) else np.zeros((SIDE, SIDE), np.float32)
    shown, number = np.unique(np.append(labels[part], 0), return_inverse=True)
    number = number[:-1].reshape(SIDE, SIDE)
    return seen[None], deep[part], weight[part], number.astype(np.float32), table[shown[1:] - 1]


def targets(made: ParticleImage) -> tuple[Floats32, Floats32, npt.NDArray[np.int32], Floats32]:
    """Return depths, their weights and labels ``(y, x)``, and a row for each particle ``(m, 6)``.

    A row is the box x0, y0, x1, y1, the weight of the box and the diameter [pixel].
    """
    labels = np.where(made.hidden, 0, made.scene.instance).astype(np.int32)
    count = len(made.scene.objects)
    ends = ndimage.maximum_filter(labels, 3) != ndimage.minimum_filter(labels, 3)
    far = ndimage.distance_transform_edt(~ends) + 0.5
    deepest = np.ones(count + 1)
    if count:
        deepest = np.maximum(ndimage.maximum(far, labels, np.arange(count + 1)), 0.5)
    table = np.zeros((count, _COLUMNS))
    seen = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    whole = np.array([one.mask.sum() for one in made.scene.objects.outlines], np.float64)
    table[:, :4] = boxes(made)
    size = np.sqrt(4 * whole / math.pi)
    fit = (size >= SMALLEST) & (size <= LARGEST) & (seen >= _SEEN * whole)
    table[:, 5] = np.maximum(size, 1.0)
    edge = np.array(labels.shape[::-1] * 2) - 1
    table[:, 4] = fit & (table[:, :2] > 0).all(axis=1) & (table[:, 2:4] < edge[2:]).all(axis=1)
    asked = np.concatenate(([True], fit | (size > _FAR * LARGEST)))
    deep = np.where(np.concatenate(([False], fit))[labels], far / deepest[labels], 0.0)
    return deep.astype(np.float32), asked[labels].astype(np.float32), labels, table.astype(np.float32)


def boxes(made: ParticleImage) -> npt.NDArray[np.float64]:
    """Return the box of each particle, hidden parts too: first and last pixels x0, y0, x1, y1 ``(m, 4)``."""
    found = []
    for one in made.scene.objects.outlines:
        y, x = (np.flatnonzero(one.mask.any(axis=axis)) for axis in (1, 0))
        found.append((one.left + x[0], one.top + y[0], one.left + x[-1], one.top + y[-1]))
    return np.array(found, np.float64).reshape(-1, 4)
