"""A small network that makes a vector of numbers comparable: what belongs together points the same way."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

_REACH = 5.0  # [standard deviation] one extreme number must not decide
_DROPPED = 0.2


class Projection(nn.Module):
    """Numbers to a point on the unit sphere.

    Parameters
    ----------
    inputs, hidden, outputs
        Numbers given, neurons, and length of the vector.
    """

    def __init__(self, inputs: int, hidden: int = 256, outputs: int = 128) -> None:
        super().__init__()
        # mean and variance of all that training showed, not of its last batches
        self.standard = nn.BatchNorm1d(inputs, affine=False, momentum=None)
        self.layers = nn.Sequential(
            nn.Dropout(_DROPPED),
            nn.Linear(inputs, hidden),
            nn.GELU(),
            nn.Dropout(_DROPPED),
            nn.Linear(hidden, outputs),
        )

    def forward(self, numbers: Tensor) -> Tensor:
        """Return unit vectors ``(n, outputs)`` of numbers ``(n, inputs)``."""
        standard = self.standard(numbers).clamp(-_REACH, _REACH)
        return functional.normalize(self.layers(standard), dim=1)
