"""The recipe of ``particles``: where particles are, and the outline of each, whole where another hides it.

At each pixel of a particle the network tells how deep inside it lies (0 at the edge, 1 in the middle), the
way from the particle's centre and the distance to the edge in `RAYS` directions, less what of the way points
there: what an observer at the pixel sees. It knows particles that are small enough for its view; larger ones
are asked for in a smaller image.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional

from micdb.embed.micro.outlines import DIRECTIONS, RAYS, traced
from micdb.embed.micro.particle_maps import DEEP, INSIDE, OFFSET, RADII, UNIT
from micdb.embed.micro.view import view
from micdb.embed.simulate.microstructures.varied_particles import ParticleImage, random_particles
from micdb.embed.simulate.microstructures.view import View
from micdb.embed.train.loop import Batch

Floats32 = npt.NDArray[np.float32]

SIDE, BATCH = 128, 8  # [pixel], images

_FIELD = 168  # [pixel] of what is simulated: particles at the edge of a crop are known whole
_LONGEST = 40.0  # [pixel] from the centre to the edge: as far as the network sees
_SMALLEST = 3.5  # [pixel] diameter of a particle that is asked for
_SEEN = 0.3  # share of a particle that must be seen
_COLUMNS = 4 + RAYS  # of a particle: centre x, y, weight of its outline, size, radii
_SHALLOW = 0.2  # weight of a pixel at the edge beside 1 in the middle: outlines are read there
_OUTLINE = 1.0  # weight of its loss beside those of the depth and of the inside


def batch(seed: int) -> Batch:
    """Return images ``(n, 1, y, x)``, depths, labels, weights ``(n, y, x)``, objects ``(n, m, 4 + RAYS)``."""
    seeds = np.random.default_rng(seed).integers(2**62, size=BATCH)
    parts = [_one(int(one)) for one in seeds]
    most = max(len(one[-1]) for one in parts)
    tables = np.zeros((BATCH, most, _COLUMNS), np.float32)
    for table, one in zip(tables, parts, strict=True):
        table[: len(one[-1])] = one[-1]
    return (*(np.stack([one[number] for one in parts]) for number in range(4)), tables)


def loss(network: nn.Module, arrays: tuple[Tensor, ...]) -> Tensor:
    """Return the loss of a batch, turned by a quarter at random: batches are shown more than once."""
    images, deep, labels, weight, table = turned(arrays, int(torch.randint(4, (1,))))
    answer = network(images.contiguous(memory_format=torch.channels_last))
    depth = functional.binary_cross_entropy_with_logits(answer[:, DEEP], deep, weight=weight)
    inside = functional.binary_cross_entropy_with_logits(answer[:, INSIDE], (labels > 0).float())
    return depth + inside + _OUTLINE * _outline_loss(answer, deep, labels.long(), table)


def turned(arrays: tuple[Tensor, ...], quarters: int) -> tuple[Tensor, ...]:
    """Return a batch turned by 90 degrees, some times."""
    *maps, table = arrays
    maps = [torch.rot90(one, quarters, dims=(-2, -1)) for one in maps]
    table = table.clone()
    for _ in range(quarters):
        table[..., :2] = torch.stack((table[..., 1], SIDE - 1 - table[..., 0]), dim=-1)
    table[..., 4:] = torch.roll(table[..., 4:], -quarters * RAYS // 4, dims=-1)
    return (*maps, table)


def _outline_loss(answer: Tensor, deep: Tensor, labels: Tensor, table: Tensor) -> Tensor:
    """Return the mean error of centre and radii relative to the particle's size, deep inside of it first."""
    image, y, x = torch.nonzero(labels > 0, as_tuple=True)
    mine = table[image, labels[image, y, x] - 1]
    known = mine[:, 2] > 0
    image, y, x, mine = image[known], y[known], x[known], mine[known]
    weight = (_SHALLOW + deep[image, y, x]) / mine[:, 3]  # large ones have more pixels
    way = torch.stack((x, y), dim=1) - mine[:, :2]
    sight = mine[:, 4:] - way @ torch.from_numpy(DIRECTIONS.T).to(way.dtype)
    said = answer[image, :, y, x] * UNIT
    off = (said[:, OFFSET] - way).abs().mean(dim=1) + (said[:, RADII] - sight).abs().mean(dim=1)
    return (weight * off / mine[:, 3]).sum() / weight.sum().clamp(min=1e-6)


def _one(seed: int) -> tuple[Floats32, ...]:
    rng = np.random.default_rng((seed, 11))
    made = random_particles(View((_FIELD, _FIELD), 1.0), seed=seed)
    top, left = (int(one) for one in rng.integers(_FIELD - SIDE + 1, size=2))
    part = (slice(top, top + SIDE), slice(left, left + SIDE))
    deep, labels, weight, table = targets(made)
    table[:, :2] -= (left, top)
    image = made.image[part]
    flat = bool(np.ptp(image) == 0)
    seen = np.zeros((SIDE, SIDE), np.float32) if flat else view(image)
    shown, number = np.unique(labels[part].astype(np.int64), return_inverse=True)
    number = number.reshape(SIDE, SIDE) + (shown[0] > 0)
    table = table[shown[shown > 0] - 1]
    return seen[None], deep[part], number.astype(np.float32), weight[part], table


def targets(made: ParticleImage) -> tuple[Floats32, Floats32, Floats32, Floats32]:
    """Return depths, labels and weights of depths ``(y, x)``, and particles ``(m, 4 + RAYS)`` of an image."""
    labels = np.where(made.hidden, 0, made.scene.instance).astype(np.int32)
    ends = ndimage.maximum_filter(labels, 3) != ndimage.minimum_filter(labels, 3)
    far = ndimage.distance_transform_edt(~ends) + 0.5
    count = len(made.scene.objects)
    deepest = ndimage.maximum(far, labels, np.arange(count + 1)) if count else np.ones(1)
    deep = np.where(labels > 0, far / np.maximum(deepest[labels], 0.5), 0.0)
    table, wanted, asked = np.zeros((count, _COLUMNS)), np.zeros(count + 1), np.ones(count + 1)
    area = np.bincount(labels.ravel(), minlength=count + 1)
    height, width = labels.shape
    for number, outline in enumerate(made.scene.objects.outlines, start=1):
        whole = int(outline.mask.sum())
        size = float(np.sqrt(4 * whole / np.pi))
        found = traced(outline.mask)
        if size < _SMALLEST or found is None:
            asked[number] = 0.0
            continue
        (x, y), radii = found
        rows, columns = outline.mask.shape
        cut = (
            outline.top == 0
            or outline.left == 0
            or outline.top + rows == height
            or outline.left + columns == width
        )
        known = radii.max() <= _LONGEST and area[number] >= _SEEN * whole
        wanted[number] = float(known)
        table[number - 1] = (x + outline.left, y + outline.top, float(known and not cut), size, *radii)
    return (
        (deep * wanted[labels]).astype(np.float32), labels.astype(np.float32),
        asked[labels].astype(np.float32), table.astype(np.float32),
    )  # fmt: skip
