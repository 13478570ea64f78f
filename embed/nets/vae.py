"""A variational autoencoder of windows: few numbers from which a window can be drawn again.

Kingma & Welling, ICLR 2014. Rotation can be a variable of its own (Bepler, Zhong, Kelley, Brignole & Berger,
NeurIPS 2019): what is drawn is turned by an angle that a network of its own tells, as a spatial transformer
does (Jaderberg, Simonyan, Zisserman & Kavukcuoglu, NeurIPS 2015), and the latent variables are told by
features that turning cannot change. What is known of a sample can be told to the decoder (Sohn, Lee & Yan,
NeurIPS 2015), so that they hold what that does not explain.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

_CHANNELS = (16, 32, 64)  # each at half of the side before
_DRAWN = (64, 32, 16, 8)  # each at twice the side before
_WIDTH = 64  # of the layers between convolutions and codes
_FAINTEST = 0.1  # [standard deviation of a window] of a disc: a fainter one is not made as strong as others
_ANGLES = 64  # about a disc: 1.5 pixels apart at the edge of one that is 32 pixels wide


class Vae(nn.Module):
    """Encoder and decoder.

    Parameters
    ----------
    side
        Of windows [pixel], a multiple of 16.
    latent
        Number of latent variables.
    conditions
        Numbers told to the decoder.
    invariant
        Whether rotation is a variable of its own; then only the disc in a window is looked at.
    """

    grid: Tensor
    disc: Tensor  # 1 where a window is looked at

    def __init__(
        self, side: int = 32, latent: int = 4, conditions: int = 0, *, invariant: bool = False
    ) -> None:
        super().__init__()
        self.side, self.latent, self.invariant = side, latent, invariant
        smallest = (_CHANNELS[-1], side // 8, side // 8)
        size = math.prod(smallest)
        if invariant:
            self.say = nn.Sequential(_Around(side), *_layers(_CHANNELS[-1] * side // 16, 2 * latent))
            self.turn = nn.Sequential(*_halved(), nn.Flatten(), *_layers(size, 2))
        else:
            self.say = nn.Sequential(*_halved(), nn.Flatten(), nn.Linear(size, 2 * latent))
        self.draw = nn.Sequential(
            *_layers(latent + conditions, size), nn.GELU(), nn.Unflatten(1, smallest), *_doubled()
        )
        axis = torch.linspace(-1, 1, side)
        grid = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=-1)
        disc = (grid.square().sum(dim=-1) <= 1).float()
        self.register_buffer("grid", grid, persistent=False)
        self.register_buffer("disc", disc if invariant else torch.ones_like(disc), persistent=False)

    def seen(self, windows: Tensor) -> Tensor:
        """Return windows ``(n, 1, side, side)``, of mean 0 and deviation 1 where looked at, unless faint."""
        windows = windows - (windows * self.disc).sum(dim=(2, 3), keepdim=True) / self.disc.sum()
        spread = (windows.square() * self.disc).sum(dim=(2, 3), keepdim=True) / self.disc.sum()
        return windows / spread.sqrt().clamp_min(_FAINTEST)

    def encode(self, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Return means and logarithms of variances ``(n, latent)`` of what `seen` gives."""
        mean, log_variance = self.say(seen).chunk(2, dim=1)
        return mean, log_variance.clamp(-10, 10)

    def angle(self, seen: Tensor) -> Tensor | None:
        """Return by which angle [radian] each is turned ``(n,)``; None where rotation is no variable."""
        if not self.invariant:
            return None
        across, along = self.turn(seen).unbind(dim=1)
        return torch.atan2(across, along)

    def decode(self, code: Tensor, conditions: Tensor, angle: Tensor | None = None) -> Tensor:
        """Return windows ``(n, 1, side, side)`` of latent variables, of conditions ``(n, c)``, and turned."""
        drawn: Tensor = self.draw(torch.cat((code, conditions), dim=1))
        if angle is None:
            return drawn
        cosine, sine = torch.cos(angle), torch.sin(angle)
        turn = torch.stack((torch.stack((cosine, sine), 1), torch.stack((-sine, cosine), 1)), 1)
        places = self.grid @ turn[:, None]
        return functional.grid_sample(drawn, places, align_corners=True)

    def left(self, seen: Tensor, code: Tensor, conditions: Tensor) -> Tensor:
        """Return what of windows ``(n, 1, side, side)`` is not drawn again; 0 where not looked at."""
        return (self.decode(code, conditions, self.angle(seen)) - seen) * self.disc


class _Around(nn.Module):
    """Features ``(n, 64 * side / 16)`` of the disc in a window that turning does not change.

    Over radius and angle a turned disc is a shifted one: convolutions shift with it, and their mean over all
    angles stays.
    """

    places: Tensor

    def __init__(self, side: int) -> None:
        super().__init__()
        radius = (2 * torch.arange(side // 2) + 1)[:, None] / (side - 1)
        angle = torch.arange(_ANGLES) * (2 * math.pi / _ANGLES)
        places = torch.stack((radius * torch.cos(angle), radius * torch.sin(angle)), dim=-1)
        self.register_buffer("places", places, persistent=False)
        steps = ((2, 1), (2, 2), (2, 1))  # along radius and angle
        layers: list[nn.Module] = []
        for (before, after), step in zip(pairwise((1, *_CHANNELS)), steps, strict=True):
            layers += [
                nn.CircularPad2d((1, 1, 0, 0)),
                nn.Conv2d(before, after, 3, stride=step, padding=(1, 0)),
                nn.GELU(),
            ]
        self.layers = nn.Sequential(*layers)

    def forward(self, seen: Tensor) -> Tensor:
        around = functional.grid_sample(seen, self.places.expand(len(seen), -1, -1, -1), align_corners=True)
        features: Tensor = self.layers(around)
        return features.mean(dim=3).flatten(1)


def _layers(before: int, after: int) -> list[nn.Module]:
    return [nn.Linear(before, _WIDTH), nn.GELU(), nn.Linear(_WIDTH, after)]


def _halved() -> list[nn.Module]:
    layers: list[nn.Module] = []
    for before, after in pairwise((1, *_CHANNELS)):
        layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.GELU()]
    return layers


def _doubled() -> list[nn.Module]:
    layers: list[nn.Module] = []
    for before, after in pairwise(_DRAWN):
        layers += [nn.ConvTranspose2d(before, after, 4, stride=2, padding=1), nn.GELU()]
    return [*layers, nn.Conv2d(_DRAWN[-1], 1, 3, padding=1)]
