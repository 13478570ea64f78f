"""Which phase each pixel is of, by a network that was taught them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

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


def _softmax(maps: Floats32) -> Floats32:
    powers = np.exp(maps - maps.max(axis=0))
    return np.asarray(powers / powers.sum(axis=0), dtype=np.float32)
