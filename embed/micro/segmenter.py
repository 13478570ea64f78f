"""Which phase each pixel is of, by a network that was taught them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from micdb.embed.micro.view import view
from micdb.embed.nets.tiles import tiled

if TYPE_CHECKING:
    from torch import nn

Floats32 = npt.NDArray[np.float32]

_TURNS = 4


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

    A packet of martensite is of one constituent, whatever single pixels look like. Objects are what is
    connected and more likely not background; they are asked for the other classes only (MVFCNN: Azimi et al.,
    Sci. Rep. 8, 2128, 2018, who count votes; probabilities count the sure ones more).

    Parameters
    ----------
    share
        ``(classes, y, x)``, of `probabilities`.
    background
        Number of the class between objects.
    """
    objects, n = ndimage.label(share.argmax(axis=0) != background)
    result = np.array(share)
    inside = objects > 0
    total = np.array([ndimage.mean(one, objects, np.arange(1, n + 1)) for one in share]).reshape(-1, n)
    total[background] = 0.0
    result[:, inside] = (total / np.maximum(total.sum(axis=0), 1e-12))[:, objects[inside] - 1]
    return np.asarray(result, dtype=np.float32)


def _softmax(maps: Floats32) -> Floats32:
    powers = np.exp(maps - maps.max(axis=0))
    return np.asarray(powers / powers.sum(axis=0), dtype=np.float32)
