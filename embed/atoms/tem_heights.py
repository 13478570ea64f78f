"""How many atoms stand in each column of a high-resolution TEM image: what the network sees and says.

There a column's contrast turns over with its height and the focus, so that adding up intensities counts
nothing; a U-Net that was taught by multislice tells columns and heights by their looks (Madsen et al., Adv.
Theory Simul. 1, 1800037, 2018).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from micdb.embed.atoms.detect import Sampled, peaks
from micdb.embed.nets.tiles import tiled

if TYPE_CHECKING:
    from torch import nn

Floats = npt.NDArray[np.float64]

NM_PER_PIXEL = 0.02  # sampling of the network
ELEMENTS = {"Al": 13, "Ni": 28, "Cu": 29, "Ag": 47, "Pt": 78, "Au": 79}  # that it was taught
TALLEST = 16  # atoms; what is taller is not told apart
_CONTRAST = 5.0  # images vary by a tenth to a half of their mean
_STRONGEST = 10.0  # [times a fifth of the mean] beyond it are hot pixels
_ELEMENT = 100.0  # atomic numbers are given to the network in hundreds
_AROUND = 1  # [pixel] heights are averaged over the middle of a column
_MIDDLE, _RANGE = 6.0, 4.0  # [atoms] of what is usual: the network gives small numbers
_NARROW = 3.0  # [ln of atoms] standard deviations are between 0.05 and 20 atoms


@dataclass(frozen=True, slots=True)
class Counted:
    """Columns of an image and their heights.

    Parameters
    ----------
    xy
        ``(n, 2)`` as x, y [pixel] of the image.
    probability
        That there is a column ``(n,)``.
    belief
        Probability of 1, 2, ... `TALLEST` atoms ``(n, TALLEST)``.
    """

    xy: Floats
    probability: Floats
    belief: Floats


def view(image: npt.NDArray[np.floating], number: int) -> npt.NDArray[np.float32]:
    """Return what the network sees ``(2, y, x)``: relative contrast, and the atomic number."""
    contrast = _CONTRAST * (image / max(float(np.mean(image)), 1e-30) - 1)
    element = np.full(image.shape, number / _ELEMENT)
    return np.stack((np.clip(contrast, -_STRONGEST, _STRONGEST), element)).astype(np.float32)


def count(
    image: Floats,
    pitch: float,
    number: int,
    network: nn.Module,
    *,
    threshold: float,
    temperature: float = 1.0,
) -> Counted:
    """Return the columns of an image and how many atoms they have.

    Parameters
    ----------
    image
        ``(y, x)``, finite, gain corrected: 0 where no electron came.
    pitch
        Pixel size [nm].
    number
        Atomic number of the element.
    network
        The U-Net of ``tem-heights``.
    threshold
        Least probability of a column.
    temperature
        By which the network's standard deviations are multiplied.
    """
    sampled = Sampled.of(image, NM_PER_PIXEL / pitch)
    maps = tiled(view(sampled.image, number), network)
    xy, probability = peaks(1 / (1 + np.exp(-maps[0])), threshold)
    return Counted(sampled.original(xy), probability, beliefs(*_around(maps[1:], xy), temperature))


def height(answer: Any) -> tuple[Any, Any]:
    """Return mean and log standard deviation [atoms] of two maps of the network, arrays or tensors."""
    return _MIDDLE + _RANGE * answer[0], answer[1].clip(-_NARROW, _NARROW)


def beliefs(mean: Floats, log_sd: Floats, temperature: float = 1.0) -> Floats:
    """Return the probability of 1, 2, ... `TALLEST` atoms ``(n, TALLEST)``.

    Parameters
    ----------
    mean, log_sd
        Of a normal distribution over heights, of which whole numbers are taken ``(n,)`` [atoms].
    temperature
        By which the standard deviation is multiplied.
    """
    atoms = np.arange(1, TALLEST + 1)
    value = -0.5 * np.square((atoms - mean[:, None]) / (temperature * np.exp(log_sd))[:, None])
    value = np.exp(value - value.max(axis=1, keepdims=True))
    return np.asarray(value / value.sum(axis=1, keepdims=True))


def _around(maps: npt.NDArray[np.float32], xy: Floats) -> tuple[Floats, Floats]:
    """Return mean and log standard deviation of the heights at columns, averaged over their middles."""
    x, y = np.rint(xy).astype(int).reshape(-1, 2).T
    steps, size = range(-_AROUND, _AROUND + 1), maps.shape[1:]
    near = [
        maps[:, np.clip(y + dy, 0, size[0] - 1), np.clip(x + dx, 0, size[1] - 1)]
        for dy in steps
        for dx in steps
    ]
    mean, log_sd = height(np.mean(near, axis=0).astype(np.float64))
    return np.asarray(mean), np.asarray(log_sd)
