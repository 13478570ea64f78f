"""A small network that reads a set of vectors in any order and says one number.

Set Transformer (Lee, Lee, Kim, Kosiorek, Choi & Teh, ICML 2019): the members attend to one another, a learnt
seed attends to all of them, and what it gathers is the answer.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

_WIDE, _HEADS = 32, 4
_DROPPED = 0.1  # share of the encoded numbers that are left out in training


class SetNetwork(nn.Module):
    """Encoder, attention within the set, pooling by attention, answer.

    Parameters
    ----------
    inputs
        Length of a vector.
    """

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.encode = nn.Sequential(nn.Linear(inputs, _WIDE), nn.GELU(), nn.Dropout(_DROPPED))
        self.within = nn.MultiheadAttention(_WIDE, _HEADS, batch_first=True)
        self.norm = nn.LayerNorm(_WIDE)
        self.seed = nn.Parameter(torch.randn(1, 1, _WIDE) / _WIDE**0.5)
        self.pool = nn.MultiheadAttention(_WIDE, _HEADS, batch_first=True)
        self.answer = nn.Sequential(nn.LayerNorm(_WIDE), nn.Linear(_WIDE, 1))

    def forward(self, sets: Tensor, there: Tensor) -> Tensor:
        """Return one number per set ``(n,)`` of vectors ``(n, most, inputs)``, of which some are there."""
        value = self.encode(sets)
        value = self.norm(value + self.within(value, value, value, key_padding_mask=~there)[0])
        seed = self.seed.expand(len(sets), -1, -1)
        gathered = self.pool(seed, value, value, key_padding_mask=~there)[0]
        answer: Tensor = self.answer(gathered[:, 0])[:, 0]
        return answer
