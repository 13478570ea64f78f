"""The network of STM defects, what it is asked, and the loss that teaches it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from micdb.embed.nets.threads import one_thread
from micdb.embed.stm.levels import Level

Map = npt.NDArray[np.float32]

CHANNELS = 3  # of `Level.values`
_SPOTS = 4.0  # weight of a spot beside the empty terrace
_SIZE, _KIND = 0.03, 0.05  # weights of size and kind beside presence: a spot covers 2 % of a crop


def loss(network: nn.Module, arrays: tuple[Tensor, ...]) -> Tensor:
    """Return the cross entropy of presence, the error of size in octaves and the cross entropy of kinds."""
    images, maps = arrays
    answer = network(images.contiguous(memory_format=torch.channels_last))
    presence, size, kinds = answer[:, 0], answer[:, 1], answer[:, 2:]
    heat = maps[:, 0]
    total = functional.binary_cross_entropy_with_logits(presence, heat, weight=1 + _SPOTS * heat)
    known = maps[:, 2] > -1
    if known.any():
        weight = heat[known] / heat[known].sum()
        wrong = functional.cross_entropy(
            kinds.movedim(1, -1)[known], maps[:, 2][known].long(), reduction="none"
        )
        off = functional.smooth_l1_loss(size[known], maps[:, 1][known], reduction="none")
        total = total + _KIND * (weight * wrong).sum() + _SIZE * (weight * off).sum()
    return total


@dataclass(frozen=True, slots=True)
class Answer:
    """What the network says of a level.

    Parameters
    ----------
    presence
        Probability of a defect ``(y, x)``.
    octaves
        Its size over the nominal one, as a logarithm to base 2 ``(y, x)``.
    kinds
        Probability of each kind, where there is a defect ``(kind, y, x)``.
    """

    presence: Map
    octaves: Map
    kinds: Map


def ask(level: Level, network: nn.Module) -> Answer:
    """Ask the network about a level.

    The mean of the answers to the image, and to it mirrored in x: a defect looks as likely both ways.
    """
    height, width = level.values.shape[1:]
    multiple = int(network.multiple)  # type: ignore[arg-type]
    margin = [(4 * multiple, 4 * multiple + -size % multiple) for size in (height, width)]
    padded = np.pad(level.values, [(0, 0), *margin], mode="reflect")
    tensor = torch.from_numpy(padded)[None].contiguous(memory_format=torch.channels_last)
    with torch.inference_mode(), one_thread():
        answers = torch.cat((network(tensor), network(tensor.flip(-1)).flip(-1)))
        presence = torch.sigmoid(answers[:, 0]).mean(dim=0).numpy()
        size = answers[:, 1].mean(dim=0).numpy()
        kinds = torch.softmax(answers[:, 2:], dim=1).mean(dim=0).numpy()
    rows, columns = (
        slice(before, before + n) for (before, _), n in zip(margin, (height, width), strict=True)
    )
    inner = (..., rows, columns)
    return Answer(presence[inner], size[inner], kinds[inner])
