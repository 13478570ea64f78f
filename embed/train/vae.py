"""Teaching `vae` the windows of a user's own images: what varies in them, in a few numbers.

The loss is the negative evidence lower bound (Kingma & Welling, ICLR 2014): squared error of the pixels,
whose noise is taken to be as strong as their contrast, and the divergence of the latent variables from a
normal distribution. The angle of an invariant one may be any, and is drawn without noise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from micdb.embed.micro.windows import windows
from micdb.embed.nets import weights
from micdb.embed.nets.vae import Vae
from micdb.embed.train.loop import Batch, Schedule, train
from micdb.errors import UsageError

NAME = "vae"
STEPS = 2000
SIDE, BATCH = 32, 32  # [pixel], windows

_FEWEST = 64  # windows that teach anything
_RATE = 4e-3  # of AdamW


@dataclass(frozen=True, slots=True)
class Shown:
    """An image to learn from.

    Parameters
    ----------
    pixels
        ``(y, x)``, finite, at the pixel size that is taught.
    conditions
        What is told to the decoder, as numbers.
    """

    pixels: npt.NDArray[np.floating]
    conditions: tuple[float, ...] = ()


def teach(
    images: Sequence[Shown],
    folder: Path,
    *,
    latent: int = 4,
    invariant: bool = False,
    conditions: Sequence[str] = (),
    nm_per_pixel: float | None = None,
    steps: int = STEPS,
    seed: int = 0,
    watch: Callable[[int, float], None] | None = None,
) -> weights.Weights:
    """Train an autoencoder on the windows of images, and write it with its card to a folder.

    Parameters
    ----------
    images
        At one pixel size.
    folder
        Where to; not that of the shipped weights.
    latent
        Number of latent variables, 1 to 32.
    invariant
        Whether rotation is left out of them.
    conditions
        Names of what `Shown.conditions` holds.
    nm_per_pixel
        Pixel size of the images [nm]; None for pixels as they are.
    steps
        Batches.
    seed
        Of the first weights, batches and angles.
    watch
        Called with the step and the loss, now and then.

    Raises
    ------
    UsageError
        There are fewer than 64 windows, or an argument is wrong.
    """
    _check(folder, latent)
    cut = [windows(one.pixels, SIDE) for one in images]
    count = sum(map(len, cut))
    if count < _FEWEST:
        raise UsageError(
            f"{count} windows of {SIDE} x {SIDE} pixels in {len(images)} images; an autoencoder learns from "
            f"{_FEWEST} at least"
        )
    told = np.array([one.conditions for one in images], np.float64).reshape(len(images), -1)
    middle, spread = told.mean(axis=0), np.where(told.std(axis=0) > 0, told.std(axis=0), 1.0)
    each = np.repeat((told - middle) / spread, list(map(len, cut)), axis=0).astype(np.float32)
    arguments: dict[str, Any] = {
        "side": SIDE,
        "latent": latent,
        "conditions": len(conditions),
        "invariant": invariant,
    }
    schedule = Schedule(steps, _RATE, seed)
    shown = np.concatenate(cut)
    network, seconds = train(
        partial(Vae, **arguments),
        _Batches(shown, each, turned=invariant),
        loss,
        schedule,
        workers=0,
        watch=watch,
    )
    levels = {name: [float(middle[at]), float(spread[at])] for at, name in enumerate(conditions)}
    recipe = {
        "images": len(images), "windows": count, "nm_per_pixel": nm_per_pixel, "conditions": levels,
        **asdict(schedule),
    }  # fmt: skip
    measured = {
        "explained": f"{explained(network, shown, each):.3f} of the variance of the windows it learnt from",
        "training": f"{seconds:.0f} s of processor time",
    }
    return weights.save(network, NAME, arguments=arguments, recipe=recipe, measured=measured, folder=folder)


def _check(folder: Path, latent: int) -> None:
    if folder.resolve() == weights.FOLDER.resolve():
        raise UsageError(f"{folder} holds the weights that micdb ships; choose a folder of your own")
    if not 1 <= latent <= 32:
        raise UsageError(f"latent is {latent!r}; expected a number of latent variables, 1 to 32")


def loss(network: nn.Module, arrays: tuple[Tensor, ...]) -> Tensor:
    """Return the mean negative evidence lower bound of windows, per pixel."""
    windows, told = arrays
    assert isinstance(network, Vae)  # noqa: S101 (for the type)
    seen = network.seen(windows)
    mean, log_variance = network.encode(seen)
    code = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
    left = network.left(seen, code, told).square().sum(dim=(1, 2, 3))
    divergence = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum(dim=1)
    return (0.5 * left + divergence).mean() / network.disc.sum()


def explained(network: nn.Module, shown: npt.NDArray[np.float32], told: npt.NDArray[np.float32]) -> float:
    """Return which share of the variance of windows ``(n, side, side)`` is drawn again."""
    assert isinstance(network, Vae)  # noqa: S101 (for the type)
    some = np.linspace(0, len(shown) - 1, min(len(shown), 512)).astype(int)
    with torch.inference_mode():
        seen = network.seen(torch.from_numpy(shown[some])[:, None])
        left = network.left(seen, network.encode(seen)[0], torch.from_numpy(told[some]))
    return float(1 - left.square().sum() / (len(some) * network.disc.sum()))


class _Batches:
    """Makes the batch of a seed from windows and what is told of them.

    Parameters
    ----------
    shown, told
        ``(n, side, side)`` and ``(n, c)``.
    turned
        Whether windows are turned at random, by quarters: of an invariant one, which is to know all turns.
    """

    def __init__(
        self, shown: npt.NDArray[np.float32], told: npt.NDArray[np.float32], *, turned: bool
    ) -> None:
        self._shown, self._told, self._turned = shown, told, turned

    def __call__(self, seed: int) -> Batch:
        rng = np.random.default_rng(seed)
        chosen = rng.integers(len(self._shown), size=BATCH)
        seen = self._shown[chosen]
        if self._turned:
            seen = np.stack(
                [
                    np.rot90(one, int(turn))
                    for one, turn in zip(seen, rng.integers(4, size=BATCH), strict=True)
                ]
            )
        return np.ascontiguousarray(seen[:, None]), self._told[chosen]
