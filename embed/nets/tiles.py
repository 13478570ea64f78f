"""Asking a network about an image of any size: by tiles, each with surroundings beyond its reach."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from micdb.embed.nets.threads import one_thread

if TYPE_CHECKING:
    from torch import nn

Maps = npt.NDArray[np.float32]
Box = tuple[slice, slice]

TILE = 1024  # [pixel] side of what the network sees at once
_REACH = 6  # of a `UNet` in units of its `multiple`: 44 pixels with 8, 92 with 16


def tiled(value: Maps, network: nn.Module) -> Maps:
    """Return the maps ``(maps, y, x)``, not squashed, that a network gives of an image ``(channels, y, x)``.

    Parameters
    ----------
    value
        At the network's sampling, at least a pixel each way.
    network
        With `multiple`, of which the sides of what it sees must be multiples; what is missing is mirrored.
    """
    result: Maps | None = None
    for inner, outer in _tiles(value.shape[1:], _REACH * int(network.multiple)):  # type: ignore[arg-type]
        part = _ask(value[:, outer[0], outer[1]], network)
        rows, columns = (
            slice(one.start - whole.start, one.stop - whole.start)
            for one, whole in zip(inner, outer, strict=True)
        )
        if result is None:
            result = np.empty((len(part), *value.shape[1:]), dtype=np.float32)
        result[:, inner[0], inner[1]] = part[:, rows, columns]
    return np.empty((0, *value.shape[1:]), dtype=np.float32) if result is None else result


def _tiles(shape: tuple[int, ...], overlap: int) -> Iterator[tuple[Box, Box]]:
    """Yield tiles that cover an image once, and each with its surroundings."""
    cuts = [[slice(start, min(start + TILE, size)) for start in range(0, size, TILE)] for size in shape]
    for rows in cuts[0]:
        for columns in cuts[1]:
            yield (rows, columns), (_wider(rows, shape[0], overlap), _wider(columns, shape[1], overlap))


def _wider(part: slice, size: int, overlap: int) -> slice:
    return slice(max(part.start - overlap, 0), min(part.stop + overlap, size))


def _ask(value: Maps, network: nn.Module) -> Maps:
    import torch

    height, width = value.shape[1:]
    multiple = int(network.multiple)  # type: ignore[arg-type]
    padding = [(0, 0), *((0, -size % multiple) for size in (height, width))]
    padded = np.pad(value, padding, mode="symmetric")
    tensor = torch.from_numpy(padded)[None].contiguous(memory_format=torch.channels_last)
    with torch.inference_mode(), one_thread():
        answer = network(tensor)[0].numpy()
    return np.asarray(answer[:, :height, :width], dtype=np.float32)
