"""The classifier of defects: a graph network and its temperature.

Probabilities are softened by one temperature (Guo et al., ICML 2017, 1321). Debris and disorder that it is
shown are a class of their own, which what it was never shown falls into as well (outlier exposure:
Hendrycks et al., ICLR 2019).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from micdb.embed.defects.classes import CLASSES
from micdb.embed.defects.local_graph import EDGE, NODE, RADII, WHOLE, LocalGraph, batched
from micdb.embed.nets.message_passing import MessagePassing
from micdb.embed.nets.threads import one_thread

Floats = npt.NDArray[np.float64]

DESCRIPTOR = 32
_AT_ONCE = 256  # candidates in one call


class DefectNet(MessagePassing):
    """The network with what was calibrated after its training.

    Parameters
    ----------
    hidden, layers
        As in `MessagePassing`.
    """

    temperature: Tensor

    def __init__(self, *, hidden: int = 48, layers: int = 3) -> None:
        super().__init__(
            node=NODE, edge=EDGE, whole=WHOLE, radii=RADII, classes=len(CLASSES), hidden=hidden,
            layers=layers, descriptor=DESCRIPTOR,
        )  # fmt: skip
        self.register_buffer("temperature", torch.ones(1))


def ask(network: DefectNet, graphs: list[LocalGraph]) -> tuple[Floats, Floats]:
    """Return descriptors ``(n, DESCRIPTOR)`` and logits ``(n, classes)`` of candidates."""
    if not graphs:
        return np.empty((0, DESCRIPTOR)), np.empty((0, len(CLASSES)))
    parts = []
    with torch.inference_mode(), one_thread():
        for start in range(0, len(graphs), _AT_ONCE):
            arrays = batched(graphs[start : start + _AT_ONCE])
            parts.append([one.numpy().astype(np.float64) for one in network(*map(torch.from_numpy, arrays))])
    return np.concatenate([one for one, _ in parts]), np.concatenate([one for _, one in parts])


def probabilities(network: DefectNet, logits: Floats) -> Floats:
    """Return the probability of each class ``(n, classes)``."""
    scaled = logits / float(network.temperature)
    value = np.exp(scaled - scaled.max(axis=1, keepdims=True, initial=-np.inf))
    return np.asarray(value / value.sum(axis=1, keepdims=True))
