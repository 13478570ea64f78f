"""Teaching `segment` the phases of a user's own micrographs, in minutes on one processor.

The network `micro`, which knows the look of simulated microstructures, gets a head for the classes that were
drawn and goes on learning from crops around their pixels: turned, mirrored, stretched, with another contrast
and noise. Rare classes are shown as often as common ones. What nobody drew on teaches nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional

from micdb.embed.micro.view import view
from micdb.embed.nets import weights
from micdb.embed.nets.unet import UNet
from micdb.embed.train.loop import Batch, Schedule, train
from micdb.errors import UsageError
from micdb.masks import UNKNOWN, Labels, Mask

NAME, START = "segment", "micro"
STEPS = 600
SIDE, BATCH = 128, 8  # [pixel], crops

_RATE = 2e-3
_STRETCH = 0.35  # [ln] standard magnifications differ by more, but then are annotated
_CONTRAST, _OFFSET, _NOISE = 0.25, 0.2, 0.15  # [half range of grey values]
_BLUR = 1.0  # [pixel]
_SMOOTHED = 0.05  # of the label: what is drawn beside a boundary is often wrong by a pixel
_OVERLAP = 0.5  # weight of the Dice loss beside the cross entropy


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """An annotated image.

    Parameters
    ----------
    pixels
        ``(y, x)``, finite.
    mask
        Its phases; unknown where nobody drew.
    nm_per_pixel
        Its scale [nm]; None when unknown.
    """

    pixels: npt.NDArray[np.floating]
    mask: Mask
    nm_per_pixel: float | None = None


def teach(
    examples: Sequence[Example],
    folder: Path,
    *,
    steps: int = STEPS,
    seed: int = 0,
    watch: Callable[[int, float], None] | None = None,
) -> weights.Weights:
    """Teach the phases of annotated images, and write ``segment`` weights with their card to a folder.

    Parameters
    ----------
    examples
        Annotated images, one or more; all of them are learnt from.
    folder
        Where to.
    steps
        Batches.
    seed
        Of the crops.
    watch
        Called with the step and the loss, now and then.

    Raises
    ------
    UsageError
        Fewer than two classes are drawn, or the folder is that of the shipped weights.
    """
    if folder.resolve() == weights.FOLDER.resolve():
        raise UsageError(f"{folder} holds the weights that micdb ships; choose a folder of your own")
    network, classes, seconds = taught(examples, Schedule(steps, rate=_RATE, seed=seed), watch)
    arguments = {**weights.card(START).network, "channels_out": len(classes)}
    told = {
        "from": weights.card(START).sha256, "images": len(examples), "classes": list(classes),
        "pixels": {name: _drawn(examples, name) for name in classes}, "nm_per_pixel": _scales(examples),
        **asdict(Schedule(steps, _RATE, seed)),
    }  # fmt: skip
    measured = {"training": f"{seconds:.0f} s of processor time"}
    return weights.save(network, NAME, arguments=arguments, recipe=told, measured=measured, folder=folder)


def taught(
    examples: Sequence[Example], schedule: Schedule, watch: Callable[[int, float], None] | None = None
) -> tuple[nn.Module, tuple[str, ...], float]:
    """Return a network that was taught, the classes by number, and the processor time [s]; see `teach`."""
    classes = tuple(dict.fromkeys(name for one in examples for name in one.mask.classes))
    drawn = [name for name in classes if _drawn(examples, name)]
    if len(drawn) < 2:
        found = f"only {drawn[0]}" if drawn else "none"
        raise UsageError(f"{len(examples)} annotated images show {found}; two classes at least are needed")

    def build() -> nn.Module:
        return begun(len(drawn))

    network, seconds = train(build, _Crops(examples, drawn), loss, schedule, workers=0, watch=watch)
    return network, tuple(drawn), seconds


def begun(classes: int) -> nn.Module:
    """Return the network `micro` with a new head."""
    arguments = weights.card(START).network
    network = UNet(**{**arguments, "channels_out": classes})
    known = {
        name: value for name, value in weights.unet(START).state_dict().items() if not name.startswith("head")
    }
    network.load_state_dict(known, strict=False)
    return network


def loss(network: nn.Module, arrays: tuple[Tensor, ...]) -> Tensor:
    """Return cross entropy and Dice loss over the pixels that are known."""
    images, labels = arrays[0], arrays[1].long()
    answer = network(images.contiguous(memory_format=torch.channels_last))
    named = functional.cross_entropy(answer, labels, ignore_index=UNKNOWN, label_smoothing=_SMOOTHED)
    known = (labels >= 0)[:, None]
    truth = functional.one_hot(labels.clamp(min=0), answer.shape[1]).permute(0, 3, 1, 2) * known
    share = functional.softmax(answer, dim=1) * known
    both = 2 * (share * truth).sum(dim=(0, 2, 3)) + 1
    dice = both / (share.sum(dim=(0, 2, 3)) + truth.sum(dim=(0, 2, 3)) + 1)
    there = truth.sum(dim=(0, 2, 3)) > 0
    return named + _OVERLAP * (1 - dice[there]).mean()


def _drawn(examples: Sequence[Example], name: str) -> int:
    """Return how many pixels of a class were drawn."""
    return sum(one.mask.count(one.mask.classes.index(name)) for one in examples if name in one.mask.classes)


def _scales(examples: Sequence[Example]) -> list[float] | None:
    """Return the finest and the coarsest scale [nm]; None unless all are known."""
    known = [one.nm_per_pixel for one in examples if one.nm_per_pixel is not None]
    return [min(known), max(known)] if len(known) == len(examples) else None


class _Crops:
    """Makes the batch of a seed from annotated images: around pixels of each class as often."""

    def __init__(self, examples: Sequence[Example], classes: Sequence[str]) -> None:
        self._images = [view(np.asarray(one.pixels, np.float64)) for one in examples]
        self._labels = [_renumbered(one.mask, classes) for one in examples]
        self._places = [
            [np.flatnonzero(labels.ravel() == number) for labels in self._labels]
            for number in range(len(classes))
        ]

    def __call__(self, seed: int) -> Batch:
        rng = np.random.default_rng(seed)
        pairs = [self._crop(number % len(self._places), rng) for number in rng.permutation(BATCH)]
        images, labels = (np.stack(one) for one in zip(*pairs, strict=True))
        return images[:, None], labels

    def _crop(
        self, class_: int, rng: np.random.Generator
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        places = self._places[class_]
        counts = np.array([len(one) for one in places], np.float64)
        image = int(rng.choice(len(places), p=counts / counts.sum()))
        y, x = np.divmod(int(rng.choice(places[image])), self._images[image].shape[1])
        turn, scale = rng.uniform(0, 2 * math.pi), math.exp(rng.uniform(-_STRETCH, _STRETCH))
        step = np.arange(SIDE) - SIDE / 2 + rng.uniform(-0.4, 0.4) * SIDE
        down, along = np.meshgrid(step, step * (1 if rng.random() < 0.5 else -1), indexing="ij")
        rows = y + scale * (down * math.cos(turn) + along * math.sin(turn))
        columns = x + scale * (along * math.cos(turn) - down * math.sin(turn))
        value = ndimage.map_coordinates(self._images[image], (rows, columns), order=1, mode="reflect")
        label = ndimage.map_coordinates(
            self._labels[image], (rows, columns), order=0, mode="constant", cval=UNKNOWN
        )
        return _seen_otherwise(value, rng), label.astype(np.float32)


def _seen_otherwise(value: npt.NDArray[Any], rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Return a crop with another contrast, brightness, sharpness and noise."""
    if rng.random() < 0.3:
        value = ndimage.gaussian_filter(value, rng.uniform(0.0, _BLUR))
    value = math.exp(rng.normal(0.0, _CONTRAST)) * value + rng.normal(0.0, _OFFSET)
    value = value + rng.normal(0.0, rng.uniform(0.0, _NOISE), value.shape)
    return value.astype(np.float32)


def _renumbered(mask: Mask, classes: Sequence[str]) -> Labels:
    """Return labels by the number of the class among all of them."""
    number = [classes.index(name) if name in classes else UNKNOWN for name in mask.classes]
    return np.array([*number, UNKNOWN], np.int32)[mask.labels]  # label -1 is the last
