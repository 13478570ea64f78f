"""An adversary for `super-resolve`: a network that tells made images from true ones, and learns as it goes.

Made images gain detail that looks true, and lose in squared error (Blau & Michaeli, CVPR 2018). The adversary
sees patches (Isola et al., CVPR 2017), with the data beside them, and is kept smooth by spectral
normalisation (Miyato et al., ICLR 2018); both learn by the hinge loss (Lim & Ye, arXiv:1705.02894).
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from micdb.embed.nets import weights
from micdb.embed.nets.unet import UNet
from micdb.embed.train import restore

START = "super-resolve"  # weights that it goes on from

_WEIGHT = 0.05  # of the adversary beside the logarithm of the squared error
_RATE = 1e-3  # of the adversary
_WIDTHS = (2, 24, 48, 96)  # channels; strides of 2 make a patch of 29 pixels


class Critic(nn.Module):
    """Says of each patch of an image, the data beside it, how true it looks: more is truer."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in pairwise(_WIDTHS):
            layers += [spectral_norm(nn.Conv2d(before, after, 5, stride=2)), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, spectral_norm(nn.Conv2d(_WIDTHS[-1], 1, 1)))

    def forward(self, image: Tensor, data: Tensor) -> Tensor:
        """Return answers ``(n, 1, rows, columns)`` for images ``(n, 1, y, x)`` and data of half the side."""
        beside = functional.interpolate(data, size=image.shape[2:], mode="bilinear", align_corners=False)
        answer: Tensor = self.layers(torch.cat((image, beside), dim=1))
        return answer


class Adversary:
    """The loss of a network that has an adversary, which learns whenever the loss is asked for.

    Attributes
    ----------
    critic
        Of the network that was asked last: another network gets another.
    """

    critic: Critic

    def __init__(self) -> None:
        self._network: nn.Module | None = None

    def __call__(self, network: nn.Module, arrays: tuple[Tensor, ...]) -> Tensor:
        """Return the loss of a batch of `restore.fine_batch`."""
        if network is not self._network:
            self.critic, self._network = Critic(), network
            self._optimiser = torch.optim.Adam(self.critic.parameters(), lr=_RATE, betas=(0.5, 0.9))
        data, truth = restore.drawn(arrays[0].numpy())
        made = restore.answer(network, data)
        self._learn(made.detach(), truth, data)
        value: Tensor = restore.logarithm(made, truth) - _WEIGHT * self.critic(made, data).mean()
        return value

    def _learn(self, made: Tensor, truth: Tensor, data: Tensor) -> None:
        self._optimiser.zero_grad(set_to_none=True)
        false, true = self.critic(made, data), self.critic(truth, data)
        value = functional.relu(1 + false).mean() + functional.relu(1 - true).mean()
        value.backward()  # type: ignore[no-untyped-call]
        self._optimiser.step()


def begun(**arguments: Any) -> UNet:
    """Return a network with the weights of `super-resolve`."""
    network = UNet(**arguments)
    network.load_state_dict(weights.unet(START).state_dict())
    return network
