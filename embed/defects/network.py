"""The classifier of defects: a graph network, its temperature, and how far from what it knows is odd.

Probabilities are softened by one temperature (Guo et al., ICML 2017, 1321). What no class wants, by the free
energy of the logits, is none of them (Liu et al., NeurIPS 33, 21464, 2020); debris and disorder that it was
shown are a class of their own.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from micdb.embed.defects.classes import CLASSES, UNKNOWN
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
    odd: Tensor

    def __init__(self, *, hidden: int = 48, layers: int = 3) -> None:
        super().__init__(
            node=NODE, edge=EDGE, whole=WHOLE, radii=RADII, classes=len(CLASSES), hidden=hidden,
            layers=layers, descriptor=DESCRIPTOR,
        )  # fmt: skip
        self.register_buffer("temperature", torch.ones(1))
        # slope and offset of the log-odds of being odd, over the free energy
        self.register_buffer("odd", torch.tensor([0.0, -20.0]))


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
    """Return the probability of each class ``(n, classes)``, that of the unknown no less than its oddity."""
    scaled = logits / float(network.temperature)
    value = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    value /= value.sum(axis=1, keepdims=True)
    unknown = CLASSES.index(UNKNOWN)
    slope, offset = (float(one) for one in network.odd)
    log_odds = np.clip(slope * energies(logits) + offset, -50, 50)
    odd = np.maximum(1 / (1 + np.exp(-log_odds)), value[:, unknown])
    rest = np.delete(np.arange(len(CLASSES)), unknown)
    value[:, rest] *= ((1 - odd) / np.maximum(1 - value[:, unknown], 1e-12))[:, None]
    value[:, unknown] = odd
    return np.asarray(value)


def energies(logits: Floats) -> Floats:
    """Return the free energy of the known classes ``(n,)``: high where none of them fits."""
    known = np.delete(logits, CLASSES.index(UNKNOWN), axis=1)
    top = known.max(axis=1)
    return np.asarray(-(top + np.log(np.exp(known - top[:, None]).sum(axis=1))))
