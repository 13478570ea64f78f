"""Teaching `denoise` the noise of a user's own images, without any image that is free of it.

The shipped network goes on learning from crops in which some pixels are hidden: it says what they are from
those around them. What it can say of a pixel so is its signal, as long as noise of neighbours is independent
(Krull et al., Noise2Void, CVPR 2019; Batson & Royer, Noise2Self, ICML 2019). Noise that spreads over
neighbours it learns to keep.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from micdb.embed.nets import weights
from micdb.embed.nets.unet import UNet
from micdb.embed.restore.network import with_sparse
from micdb.embed.sampling import constant, scanned
from micdb.embed.train.loop import Batch, Schedule, train
from micdb.embed.train.restore import answer
from micdb.errors import UsageError

NAME = "denoise"
STEPS = 400
SIDE, BATCH = 96, 8  # [pixel], crops

_RATE = 5e-4  # of AdamW: a sixth of what the weights were trained with from nothing
_HIDDEN = 4  # [pixel] one of 4 x 4 is hidden, another one in each crop
_NEAR = 2  # [pixel] a hidden pixel shows one from this far away at most


def teach(
    images: Sequence[npt.NDArray[np.floating]],
    folder: Path,
    *,
    steps: int = STEPS,
    seed: int = 0,
    watch: Callable[[int, float], None] | None = None,
) -> weights.Weights:
    """Go on training `denoise` on noisy images, and write the weights with their card to a folder.

    Parameters
    ----------
    images
        ``(y, x)``, of one instrument and dose; NaN where nothing was scanned.
    folder
        Where to; not that of the shipped weights.
    steps
        Batches.
    seed
        Of crops and hidden pixels.
    watch
        Called with the step and the loss, now and then.

    Raises
    ------
    UsageError
        No image is as large as a crop and not blank, or the folder is that of the shipped weights.
    """
    if folder.resolve() == weights.FOLDER.resolve():
        raise UsageError(f"{folder} holds the weights that micdb ships; choose a folder of your own")
    shown = [one for one, _ in map(scanned, images) if min(one.shape) >= SIDE and not constant(one)]
    if not shown:
        raise UsageError(
            f"{len(images)} images, none of {SIDE} x {SIDE} pixels or more that is not blank; denoise learns "
            "from one at least"
        )
    known, schedule = weights.card(NAME), Schedule(steps, _RATE, seed)

    def build() -> nn.Module:
        network = UNet(**known.network)
        network.load_state_dict(weights.unet(NAME).state_dict())
        return network

    network, seconds = train(build, _Crops(shown), loss, schedule, workers=0, watch=watch)
    told = {"from": known.sha256, "images": len(shown), "hidden": f"1 of {_HIDDEN**2}", **asdict(schedule)}
    measured = {"training": f"{seconds:.0f} s of processor time"}
    return weights.save(network, NAME, arguments=known.network, recipe=told, measured=measured, folder=folder)


def loss(network: nn.Module, arrays: tuple[Tensor, ...]) -> Tensor:
    """Return the mean squared error at hidden pixels, against what they are in the noisy image."""
    shown, seen, hidden = arrays
    return torch.sum(hidden * (answer(network, shown) - seen) ** 2) / hidden.sum()


class _Crops:
    """Makes the batch of a seed from noisy images: what is shown, as they are, which pixels are hidden."""

    def __init__(self, images: Sequence[npt.NDArray[np.floating]]) -> None:
        self._images = images
        size = np.array([one.size for one in images], np.float64)
        self._share = size / size.sum()

    def __call__(self, seed: int) -> Batch:
        rng = np.random.default_rng(seed)
        parts = [self._crop(rng) for _ in range(BATCH)]
        shown, seen, hidden = (np.stack(one) for one in zip(*parts, strict=True))
        return shown, seen[:, None], hidden[:, None]

    def _crop(self, rng: np.random.Generator) -> tuple[npt.NDArray[np.float32], ...]:
        image = self._images[int(rng.choice(len(self._images), p=self._share))]
        top, left = (int(rng.integers(size - SIDE + 1)) for size in image.shape)
        seen = np.rot90(image[top : top + SIDE, left : left + SIDE], int(rng.integers(4)))
        seen = seen[:, ::-1] if rng.random() < 0.5 else seen
        covered, hidden = hide(seen, rng)
        shown, mean, spread = with_sparse(covered)
        return shown, np.asarray((seen - mean) / spread, dtype=np.float32), hidden


def hide(
    seen: npt.NDArray[np.floating], rng: np.random.Generator
) -> tuple[npt.NDArray[np.floating], npt.NDArray[np.float32]]:
    """Return a crop ``(y, x)`` in which pixels show their neighbours, and which pixels do.

    One pixel of each block is hidden, none of them beside another.
    """
    hidden = np.zeros(seen.shape, dtype=np.float32)
    top, left = _NEAR + rng.integers(_HIDDEN, size=2)  # not at the rim, which has neighbours on one side
    hidden[top:-_NEAR:_HIDDEN, left:-_NEAR:_HIDDEN] = 1
    y, x = np.nonzero(hidden)
    around = (2 * _NEAR + 1) ** 2
    step = rng.integers(around - 1, size=len(y))
    step += step >= around // 2  # not the pixel itself, which is the middle of the square
    down, along = np.divmod(step, 2 * _NEAR + 1)
    shown = seen.copy()
    shown[y, x] = seen[y + down - _NEAR, x + along - _NEAR]
    return shown, hidden
