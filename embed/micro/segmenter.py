"""Which phase each pixel is of, by a network that was taught them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.segmentation import watershed

from micdb.embed.micro.view import view
from micdb.embed.nets.tiles import tiled

if TYPE_CHECKING:
    from torch import nn

Floats32 = npt.NDArray[np.float32]

_TURNS = 4
# Of the thickest part of an object; of 0 to 0.5 the best on simulated colonies (benchmarks/voting.py).
_THICK = 0.2


def probabilities(image: npt.NDArray[np.floating], network: nn.Module, *, turned: bool = True) -> Floats32:
    """Return the probability of each class at each pixel ``(classes, y, x)``.

    Parameters
    ----------
    image
        ``(y, x)``, finite, not constant.
    network
        From `micdb.embed.train.segment`.
    turned
        Ask for the image as it is and turned by 90, 180 and 270 degrees, and take the mean: slower by four.
    """
    seen = view(np.asarray(image, dtype=np.float64))
    total: Floats32 | None = None
    for turn in range(_TURNS if turned else 1):
        maps = tiled(np.ascontiguousarray(np.rot90(seen, turn))[None], network)
        share = np.rot90(_softmax(maps), -turn, axes=(1, 2))
        total = share if total is None else total + share
    assert total is not None  # noqa: S101 (there is one turn at least)
    return np.asarray(total / (_TURNS if turned else 1), dtype=np.float32)


def voted(share: Floats32, background: int) -> Floats32:
    """Return probabilities that are the same all over an object: the mean of those of its pixels.

    A packet of martensite is of one constituent, whatever single pixels look like (MVFCNN: Azimi et al.,
    Sci. Rep. 8, 2128, 2018, who count votes; probabilities count the sure ones more). Objects are what is
    connected and more likely not background. Where objects touch, each part stays that is more than a fifth
    as thick as the thickest; thinner ones are taken for mistakes of pixels and go to the part beside them.

    Parameters
    ----------
    share
        ``(classes, y, x)``, of `probabilities`.
    background
        Number of the class between objects.
    """
    inside = share.argmax(axis=0) != background
    if not inside.any():
        return share
    parts, n = _parts(share, inside, background)
    total = np.array([ndimage.mean(one, parts, np.arange(1, n + 1)) for one in share])
    total[background] = 0.0
    result = np.array(share)
    result[:, inside] = (total / np.maximum(total.sum(axis=0), 1e-12))[:, parts[inside] - 1]
    return np.asarray(result, dtype=np.float32)


def _parts(
    share: Floats32, inside: npt.NDArray[np.bool_], background: int
) -> tuple[npt.NDArray[np.integer], int]:
    """Return the parts of objects that have a class of their own, numbered from 1, and how many there are."""
    objects, n = ndimage.label(inside)
    named = np.where(np.arange(len(share))[:, None, None] == background, -1.0, share).argmax(axis=0)
    seeds, count = np.zeros(inside.shape, np.int32), 0
    deep = np.zeros(inside.shape)
    for one in range(len(share)):
        here = inside & (named == one)
        parts, found = ndimage.label(here)
        seeds[here] = parts[here] + count
        deep[here] = ndimage.distance_transform_edt(here)[here]
        count += found
    thickest = np.concatenate(([0.0], ndimage.maximum(deep, objects, np.arange(1, n + 1))))
    thick = np.concatenate(([0.0], ndimage.maximum(deep, seeds, np.arange(1, count + 1))))
    kept = inside & (thick[seeds] > _THICK * thickest[objects])
    parts, count = _renumbered(np.where(kept, seeds, 0))
    return watershed(np.zeros(inside.shape), parts, mask=inside), count  # type: ignore[no-untyped-call]


def _renumbered(labels: npt.NDArray[np.integer]) -> tuple[npt.NDArray[np.integer], int]:
    values, number = np.unique(np.append(labels, 0), return_inverse=True)
    return number[:-1].reshape(labels.shape), len(values) - 1


def _softmax(maps: Floats32) -> Floats32:
    powers = np.exp(maps - maps.max(axis=0))
    return np.asarray(powers / powers.sum(axis=0), dtype=np.float32)
