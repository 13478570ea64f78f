"""A variational autoencoder of windows: few numbers from which a window can be drawn again.

Kingma & Welling, ICLR 2014. The decoder draws each pixel from its coordinates and the latent variables
(Bepler, Zhong, Kelley, Brignole & Berger, NeurIPS 2019): turned by an angle that the encoder says, it leaves
rotation out of the latent variables. What is known of a sample can be told to the decoder (Sohn, Lee & Yan,
NeurIPS 2015), so that they hold what that does not explain.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

_CHANNELS = (16, 32, 64)  # of the encoder, each at half of the side before


class Vae(nn.Module):
    """Encoder and decoder.

    Parameters
    ----------
    side
        Of windows [pixel], a multiple of 8.
    latent
        Number of latent variables.
    conditions
        Numbers told to the decoder.
    invariant
        Whether rotation is a variable of its own.
    width
        Of the decoder's hidden layers.
    """

    def __init__(
        self,
        side: int = 32,
        latent: int = 4,
        conditions: int = 0,
        *,
        invariant: bool = False,
        width: int = 64,
    ) -> None:
        super().__init__()
        self.side, self.latent, self.invariant = side, latent, invariant
        layers: list[nn.Module] = []
        for before, after in zip((1, *_CHANNELS), _CHANNELS, strict=False):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.GELU()]
        self.look = nn.Sequential(*layers, nn.Flatten())
        self.say = nn.Linear(_CHANNELS[-1] * (side // 8) ** 2, 2 * (latent + invariant))
        self.place = nn.Linear(2, width)
        self.tell = nn.Linear(latent + conditions, width, bias=False)
        self.draw = nn.Sequential(nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1))
        axis = torch.linspace(-1, 1, side)
        grid = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=-1).reshape(-1, 2)
        self.register_buffer("grid", grid, persistent=False)

    def encode(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        """Return means and logarithms of variances ``(n, latent)`` of windows ``(n, 1, side, side)``.

        Where it is invariant, the angle [radian] is one more column, the first.
        """
        mean, log_variance = self.say(self.look(windows)).chunk(2, dim=1)
        return mean, log_variance.clamp(-10, 10)

    def decode(self, code: Tensor, conditions: Tensor) -> Tensor:
        """Return windows ``(n, 1, side, side)`` of what `encode` says and of conditions ``(n, c)``."""
        grid: Tensor = self.grid  # type: ignore[assignment]
        places = grid.expand(len(code), -1, -1)
        if self.invariant:
            cosine, sine = torch.cos(code[:, 0]), torch.sin(code[:, 0])
            turn = torch.stack((torch.stack((cosine, sine), 1), torch.stack((-sine, cosine), 1)), 1)
            places, code = places @ turn, code[:, 1:]
        told = self.tell(torch.cat((code, conditions), dim=1))
        drawn: Tensor = self.draw(self.place(places) + told[:, None, :])
        return drawn.reshape(len(code), 1, self.side, self.side)
