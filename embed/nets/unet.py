"""A small U-Net: the one network for everything that is drawn pixel by pixel.

Ronneberger, Fischer & Brox, MICCAI 2015, with batch normalisation, bilinear upsampling and few channels:
eight in the first level have as many parameters as a twentieth of the usual ones and find atoms as well.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional


class UNet(nn.Module):
    """Encoder and decoder with skip connections.

    Parameters
    ----------
    channels_in, channels_out
        Of the image, and of the maps it gives.
    base
        Channels of the first level; each deeper level has twice as many.
    levels
        Number of levels; sides of the input are multiples of ``2 ** (levels - 1)``.
    """

    def __init__(
        self, channels_in: int = 1, channels_out: int = 1, *, base: int = 8, levels: int = 3
    ) -> None:
        super().__init__()
        widths = [base * 2**level for level in range(levels)]
        self.multiple = 2 ** (levels - 1)
        self.down = nn.ModuleList(
            _block(before, width) for before, width in zip([channels_in, *widths], widths, strict=False)
        )
        self.up = nn.ModuleList(_block(deep + width, width) for width, deep in pairwise(widths))
        self.head = nn.Conv2d(base, channels_out, kernel_size=1)

    def forward(self, image: Tensor) -> Tensor:
        """Return maps ``(n, channels_out, y, x)``, not squashed, of images ``(n, channels_in, y, x)``."""
        kept: list[Tensor] = []
        value = image
        for level, block in enumerate(self.down):
            value = block(functional.max_pool2d(value, 2) if level else value)
            kept.append(value)
        for block, skipped in zip(reversed(self.up), reversed(kept[:-1]), strict=True):
            value = functional.interpolate(value, scale_factor=2, mode="bilinear", align_corners=False)
            value = block(torch.cat((value, skipped), dim=1))
        head: Tensor = self.head(value)
        return head


def _block(before: int, after: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (before, after):
        layers += [
            nn.Conv2d(channels, after, kernel_size=3, padding=1, padding_mode="reflect", bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)
