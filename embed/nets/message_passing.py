"""A graph network for the surroundings of a defect: invariant messages, circles of an image, one vector.

Messages are products of a filter of the distance with what the sender is (Schuett et al., J. Chem. Phys. 148,
241722, 2018); only distances enter, so nothing changes when the picture is turned or mirrored. Circles are
convolved along the angle and pooled.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class MessagePassing(nn.Module):
    """Network from graphs to a descriptor and logits.

    Parameters
    ----------
    node, edge, whole
        Numbers that describe a node, an edge and a graph.
    radii
        Circles of a patch.
    classes
        Number of logits.
    hidden
        Width of messages.
    layers
        Rounds of messages.
    descriptor
        Length of the descriptor.
    """

    def __init__(
        self, *, node: int, edge: int, whole: int, radii: int, classes: int,
        hidden: int = 48, layers: int = 3, descriptor: int = 32,
    ) -> None:  # fmt: skip
        super().__init__()
        self.enter = _dense(node, hidden)
        self.filters = nn.ModuleList(nn.Linear(edge, hidden) for _ in range(layers))
        self.updates = nn.ModuleList(_dense(2 * hidden, hidden) for _ in range(layers))
        self.around = nn.ModuleList([nn.Conv1d(radii, hidden, 5), nn.Conv1d(hidden, hidden, 5)])
        self.whole = _dense(whole, hidden)
        self.trunk = nn.Sequential(_dense(7 * hidden, 2 * hidden), nn.Linear(2 * hidden, descriptor))
        self.head = nn.Linear(descriptor, classes)

    def forward(self, *arrays: Tensor) -> tuple[Tensor, Tensor]:
        """Return descriptors ``(g, descriptor)`` and logits ``(g, classes)``.

        Parameters
        ----------
        *arrays
            In order: nodes of all graphs ``(n, node)``; which of them depart ``(n,)``, as 0 and 1; starts and
            ends of edges ``(m,)``, as indices of nodes; edges ``(m, edge)``; the graph of each node ``(n,)``;
            graphs ``(g, whole)``; patches ``(g, radii, angles)``.
        """
        node, seed, start, end, edge, graph, whole, patch = arrays
        state = self.enter(node)
        for filter_, update in zip(self.filters, self.updates, strict=True):
            message = filter_(edge) * state[start]
            gathered = torch.zeros_like(state).index_add_(0, end, message)
            state = state + update(torch.cat((state, gathered), dim=1))
        count = len(whole)
        mine = seed[:, None]
        sums = [_added(state * mine, graph, count), _added(state, graph, count)]
        sizes = [_added(mine, graph, count), _added(torch.ones_like(mine), graph, count)]
        means = [one / size.clamp(min=1) for one, size in zip(sums, sizes, strict=True)]
        pooled = torch.cat((0.1 * sums[0], *means, self.whole(whole), _circled(patch, self.around)), dim=1)
        descriptor = self.trunk(pooled)
        return descriptor, self.head(functional.relu(descriptor))


def _dense(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(before, after), nn.LayerNorm(after), nn.SiLU(), nn.Linear(after, after))


def _added(value: Tensor, graph: Tensor, count: int) -> Tensor:
    return torch.zeros(count, value.shape[1], dtype=value.dtype).index_add_(0, graph, value)


def _circled(patch: Tensor, layers: nn.ModuleList) -> Tensor:
    """Return mean and maximum over the angle of a patch and its mirror image, ``(g, 3 * hidden)``."""
    both = torch.cat((patch, patch.flip(2)))
    for layer in layers:
        both = functional.silu(layer(functional.pad(both, (2, 2), mode="circular")))
    mean, top = both.mean(dim=2), both.amax(dim=2)
    found = torch.cat((mean, top, both.var(dim=2, correction=0)), dim=1)
    return (found[: len(patch)] + found[len(patch) :]) / 2
