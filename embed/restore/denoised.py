"""The image that `denoise` makes: what a network says, and what windows say, where the noise is white.

The two err differently: windows of many periods know lattices, the network what it was taught, of a user's
own images too. Noise that spreads over neighbours or lines is structure to the windows; the network knows it
as noise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from micdb.embed.restore.network import restored, with_sparse
from micdb.embed.restore.sparse import SIZES, refined

if TYPE_CHECKING:
    from torch import nn

_SPREAD = 0.04  # correlation with neighbours beyond which noise is not white; of white noise it is below 0
_LINES = 2.0  # variance of the means of lines, of what white noise gives


def denoised(
    image: npt.NDArray[np.floating], network: nn.Module, *, turns: int = 1
) -> npt.NDArray[np.float32]:
    """Return an image ``(y, x)`` with less noise.

    Parameters
    ----------
    image
        Finite.
    network
        Of `denoise`.
    turns
        As for `micdb.embed.restore.network.restored`.
    """
    shown, mean, spread = with_sparse(image)
    made = restored((shown, mean, spread), network, turns=turns)
    if not is_white(np.asarray(image, np.float64) - made):
        return made
    larger = shown[3 : 2 + len(SIZES)].mean(axis=0)  # windows but the smallest: nearer the truth as pilots
    return np.asarray((made + mean + spread * refined(shown[1], larger)) / 2, dtype=np.float32)


def is_white(noise: npt.NDArray[np.floating]) -> bool:
    """Return whether noise ``(y, x)`` is that of each pixel alone, as far as neighbours and lines tell."""
    value = noise - noise.mean()
    power = max(float(np.square(value).mean()), 1e-300)
    beside = max(float((value[1:] * value[:-1]).mean()), float((value[:, 1:] * value[:, :-1]).mean()))
    lines = float(value.mean(axis=1).var()) * value.shape[1]
    return beside < _SPREAD * power and lines < _LINES * power
