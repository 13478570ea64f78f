"""The classifier of defects: a graph network, its temperature, and how far from what it knows is odd.

Probabilities are softened by one temperature (Guo et al., ICML 2017, 1321). A descriptor far from the means
of all classes, in the metric of the spread within classes, is none of them (Lee et al., NeurIPS 31, 2018).
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
    centres: Tensor
    precision: Tensor
    odd: Tensor

    def __init__(self, *, hidden: int = 48, layers: int = 3) -> None:
        super().__init__(
            node=NODE, edge=EDGE, whole=WHOLE, radii=RADII, classes=len(CLASSES), hidden=hidden,
            layers=layers, descriptor=DESCRIPTOR,
        )  # fmt: skip
        self.register_buffer("temperature", torch.ones(1))
        self.register_buffer("centres", torch.zeros(len(CLASSES), DESCRIPTOR))
        self.register_buffer("precision", torch.eye(DESCRIPTOR))
        # slope and offset of the log-odds of being odd, over the logarithm of the squared distance
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


def probabilities(network: DefectNet, descriptors: Floats, logits: Floats) -> Floats:
    """Return the probability of each class ``(n, classes)``, that of the unknown no less than its oddity."""
    scaled = logits / float(network.temperature)
    value = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    value /= value.sum(axis=1, keepdims=True)
    unknown = CLASSES.index(UNKNOWN)
    slope, offset = (float(one) for one in network.odd)
    log_odds = slope * np.log(np.maximum(distances(network, descriptors), 1e-12)) + offset
    odd = np.maximum(1 / (1 + np.exp(-np.clip(log_odds, -50, 50))), value[:, unknown])
    rest = np.delete(np.arange(len(CLASSES)), unknown)
    value[:, rest] *= ((1 - odd) / np.maximum(1 - value[:, unknown], 1e-12))[:, None]
    value[:, unknown] = odd
    return np.asarray(value)


def distances(network: DefectNet, descriptors: Floats) -> Floats:
    """Return the squared distance to the nearest class ``(n,)``, in units of the spread within classes."""
    known = np.array([k for k, name in enumerate(CLASSES) if name != UNKNOWN])
    centres = network.centres.numpy().astype(np.float64)[known]
    precision = network.precision.numpy().astype(np.float64)
    off = descriptors[:, None] - centres
    return np.asarray(np.einsum("nki,ij,nkj->nk", off, precision, off).min(axis=1))
