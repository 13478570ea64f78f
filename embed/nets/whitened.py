"""A small network for vectors whose telling directions are faint: inputs are decorrelated first.

Numbers of very different sizes, each a mixture of all that was varied, teach a network slowly. Whitened by
principal components of examples they teach faster (LeCun et al., Efficient BackProp, 1998).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

_LEAST = 1e-9  # variance of what never varies


class WhitenedNet(nn.Module):
    """Gated layers (Shazeer, arXiv:2002.05202) on whitened numbers; answers come with their widths.

    Widths are those of Laplace distributions (Kendall and Gal, NIPS 2017), which the buffer `scale` turns
    into standard deviations that hold on data the weights were not fitted to.

    Parameters
    ----------
    inputs, answers
        Numbers given, and asked for.
    magnitudes
        How many of the answers, from the first, are magnitudes that act by their squares.
    hidden
        Neurons of each layer.
    """

    mean: Tensor
    whitening: Tensor
    scale: Tensor

    def __init__(
        self, inputs: int, answers: int, *, magnitudes: int = 0, hidden: tuple[int, ...] = (256, 128, 64)
    ) -> None:
        super().__init__()
        sizes = [inputs, *hidden]
        self.magnitudes = magnitudes
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(before, 2 * after), nn.LayerNorm(2 * after))
            for before, after in zip(sizes, hidden, strict=False)
        )
        self.head = nn.Linear(sizes[-1], 2 * answers)
        self.register_buffer("mean", torch.zeros(inputs))
        self.register_buffer("whitening", torch.eye(inputs))
        self.register_buffer("scale", torch.ones(answers))

    def whiten(self, examples: npt.NDArray[np.float32]) -> None:
        """Take mean and covariance of inputs from examples ``(n, inputs)``."""
        values, vectors = np.linalg.eigh(np.cov(examples.T.astype(np.float64)))
        matrix = vectors / np.sqrt(np.maximum(values, _LEAST))
        self.mean.copy_(torch.from_numpy(examples.mean(axis=0, dtype=np.float64)))
        self.whitening.copy_(torch.from_numpy(matrix))

    def forward(self, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Return answers and the logarithms of their widths ``(n, answers)``, before `scale`."""
        value = (numbers - self.mean) @ self.whitening
        for layer in self.layers:
            content, gate = layer(value).chunk(2, dim=1)
            value = functional.silu(content) * (1 + gate)
        answer, width = self.head(value).chunk(2, dim=1)
        square, plain = answer[:, : self.magnitudes], answer[:, self.magnitudes :]
        magnitude = torch.sqrt(functional.softplus(square, beta=8) + 1e-4)  # small ones are hard to tell
        return torch.cat((magnitude, plain), dim=1), width.clamp(-6.0, 3.0)
