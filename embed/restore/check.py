"""What can be believed of a restored image: how fine, and where structure in it comes from noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from micdb.embed.restore.noise import Noise, sampled_back, smoothed
from micdb.embed.restore.ring_correlation import data_resolution, resolution, ring_correlation

Image = npt.NDArray[np.float32]
Restore = Callable[[npt.NDArray[np.floating]], Image]

_AROUND = 3.0  # [pixel of the data] over which structure is weighed
_SLOW = 8.0  # [pixel of the data] what varies more slowly is background
_SHOWN = 0.05  # [mean square of the structure] fainter is no structure


@dataclass(frozen=True, slots=True)
class Check:
    """What speaks for a restored image, and against it.

    Parameters
    ----------
    data_resolution_px
        Period [pixel of the data] down to which the data tell anything; None: they tell nothing.
    resolution_px
        Period down to which the restored image is known to correlate by one half with the truth or better.
    noise
        Root mean square of what was taken away, in the unit of the image.
    correlation, correlation_sd
        Of what was taken away with its neighbours, and what chance gives: white noise has none.
    invented
        Where structure is shown that comes from noise ``(y, x)``, at the pixels of the restored image.
    """

    data_resolution_px: float | None
    resolution_px: float | None
    noise: float
    correlation: float
    correlation_sd: float
    invented: npt.NDArray[np.bool_]


def check(
    image: npt.NDArray[np.floating], made: Image, restore: Restore, *, factor: int = 1, seed: int = 0
) -> Check:
    """Return what can be believed of a restored image.

    The image is split into halves with independent noise and each is restored: what they do not have in
    common was made of noise. Resolution compares what was restored of one half with the other half's data.

    Parameters
    ----------
    image
        The data ``(y, x)``, finite, not constant.
    made
        What was restored of it ``(factor * y, factor * x)``.
    restore
        How.
    factor
        Pixels of the restored image in one of the data, each way.
    seed
        Of the halves.
    """
    noise = Noise.of(image, sampled_back(made, image, factor))
    other = noise.again(seed)
    halves = [np.asarray(image, np.float64) + sign * other for sign in (1, -1)]
    restored = [restore(one) for one in halves]
    common, count = ring_correlation(*halves)
    height, width = image.shape
    seen = [one.reshape(height, factor, width, factor).mean(axis=(1, 3)) for one in restored]
    crossed = (ring_correlation(seen[0], halves[1])[0] + ring_correlation(seen[1], halves[0])[0]) / 2
    correlation, chance = noise.correlation
    return Check(
        data_resolution(common, count), resolution(common, crossed, count),
        float(np.sqrt(np.square(noise.residual).mean())), correlation, chance,
        invented(made, restored[0], restored[1], factor),
    )  # fmt: skip


def invented(made: Image, one: Image, other: Image, factor: int = 1) -> npt.NDArray[np.bool_]:
    """Return where structure of a restored image comes from noise.

    The halves have twice the variance of the data's noise. Where their restored images differ by more than
    the structure is strong, noise made more than half of it.

    Parameters
    ----------
    made
        The restored image ``(y, x)``.
    one, other
        The same of two halves of the data.
    factor
        Pixels of the restored image in one of the data, each way.
    """
    around, slow = factor * _AROUND, factor * _SLOW
    structure = smoothed(np.square(_fine(made, slow)), around)
    differ = smoothed(np.square(_fine(one, slow) - _fine(other, slow)), around) / 2
    return np.asarray((differ > structure) & (structure > _SHOWN * structure.mean()))


def _fine(image: Image, slow: float) -> npt.NDArray[np.float64]:
    return np.asarray(image - smoothed(image, slow), dtype=np.float64)
