"""The recipe of `abf-tilts`: cells of a multislice bank, blurred and with noise, that teach a network angles.

Crystals of two thickness ranges are left out of training, as are some elements: what the network makes of
them is on its card.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from micdb.embed.nets.whitened import WhitenedNet
from micdb.embed.tilts import bank
from micdb.embed.tilts.angles import NINETY, UNITS
from micdb.embed.tilts.angles import measure as answers
from micdb.embed.tilts.cells import blurred, imaged, mirrored, noisy, waves
from micdb.embed.train.loop import Batch

Floats = npt.NDArray[np.float64]

BATCH = 128
_EXAMPLES = 40  # batches that whiten
HELD_THICKNESS = ((8.0, 10.0), (14.0, 16.0))  # [nm] never trained on
DOSES = (2000.0, 10000.0, 50000.0)  # electrons per sample of the mean cell that the card tells of
SOURCE = 0.033  # [nm] standard deviation of the source's image there


class Cells(NamedTuple):
    """Cells of a bank.

    Parameters
    ----------
    images
        ``(n, y, x)``.
    constant
        ``(n,)`` [nm].
    truth
        ``(n, 5)``: rotations [deg], and mistilt as x, y [mrad].
    thickness
        ``(n,)`` [nm].
    crystal
        Which one of its set ``(n,)``.
    """

    images: npt.NDArray[np.float16]
    constant: Floats
    truth: Floats
    thickness: Floats
    crystal: npt.NDArray[np.int64]

    def kept(self, which: npt.NDArray[np.bool_]) -> Cells:
        """Return those of a mask ``(n,)``."""
        return Cells(
            self.images[which], self.constant[which], self.truth[which], self.thickness[which],
            self.crystal[which],
        )  # fmt: skip

    @property
    def held(self) -> npt.NDArray[np.bool_]:
        """Whether the thickness is one of `HELD_THICKNESS` ``(n,)``."""
        inside = [(self.thickness >= low) & (self.thickness < high) for low, high in HELD_THICKNESS]
        return np.asarray(np.any(inside, axis=0))

    def seen(self, counts: float, *, seed: int) -> tuple[Floats, Floats]:
        """Return them at a dose [electrons per sample] and a typical source, and their noise ``(n,)``."""
        rng, n = np.random.default_rng(seed), len(self.images)
        moved = blurred(
            self.images.astype(float), self.constant,
            source=np.full(n, SOURCE), smear=np.zeros(n), way=np.zeros(n), shift=rng.random((n, 2)),
        )  # fmt: skip
        return noisy(moved, np.full(n, counts), rng)


@cache
def cells(folder: Path, name: str) -> Cells:
    """Return the cells of a set of a bank."""
    elements = bank.load(folder, name)
    count = [len(one.images) for one in elements]
    tilts = np.repeat([one.tilts for one in elements], count, axis=0)
    return Cells(
        np.concatenate([one.images for one in elements]),
        np.repeat([one.kind.constant for one in elements], count),
        np.column_stack((tilts, np.concatenate([one.mistilt for one in elements]))),
        np.concatenate([one.thickness for one in elements]),
        np.repeat(np.arange(len(elements)), count),
    )


@cache
def _taught(folder: Path) -> tuple[Cells, npt.NDArray[np.complex128]]:
    """Return what is learnt from, and its waves."""
    known = cells(folder, "train")
    known = known.kept(~known.held)
    return known, waves(known.images.astype(float))


def batch(seed: int, *, folder: Path) -> Batch:
    """Return numbers of cells and the truth in `UNITS`, of a seed."""
    rng = np.random.default_rng(seed)
    known, wave = _taught(folder)
    chosen = rng.integers(len(wave), size=BATCH)
    flip = rng.random((2, BATCH)) < 0.5  # along y, along x
    truth = known.truth[chosen] / UNITS
    truth[:, 3:] *= np.where(flip[::-1], -1, 1).T
    seen = mirrored(wave[chosen], *flip)
    mean = known.images[chosen].mean(axis=(1, 2), dtype=float)
    return imaged(seen, mean, known.constant[chosen], rng), truth.astype(np.float32)


def begin(network: nn.Module, *, folder: Path) -> None:
    """Whiten what the network takes."""
    cast(WhitenedNet, network).whiten(
        np.concatenate([batch(seed, folder=folder)[0] for seed in range(_EXAMPLES)])
    )


def loss(network: nn.Module, arrays: tuple[Tensor, ...]) -> Tensor:
    """Return the negative logarithm of the Laplace likelihood."""
    numbers, truth = arrays
    answer, width = network(numbers)
    likely: Tensor = ((answer - truth).abs() * torch.exp(-width) + width).mean()
    return likely


def calibrate(network: WhitenedNet, *, folder: Path) -> None:
    """Set the network's scale so that 90 % intervals hold on crystals that it was not trained on.

    Split conformal prediction (Papadopoulos et al., ECML 2002) with the first half of the set ``held``.
    """
    known = cells(folder, "held")
    first = known.kept(known.crystal < (known.crystal.max() + 1) // 2)
    ratios = []
    for seed, counts in enumerate(DOSES):
        value, sd = answers(network, *first.seen(counts, seed=seed))
        ratios.append(np.abs(value - first.truth) / sd)
    scale = np.quantile(np.concatenate(ratios), 0.9, axis=0) / NINETY
    network.scale.mul_(torch.from_numpy(scale))


def measure(network: nn.Module, *, folder: Path) -> dict[str, str]:
    """Calibrate the network, and return what it reaches on crystals that neither saw."""
    whitened = cast(WhitenedNet, network)
    calibrate(whitened, folder=folder)
    known = cells(folder, "held")
    rest = known.kept(known.crystal >= (known.crystal.max() + 1) // 2)
    sets = {
        "unseen crystals": rest.kept(~rest.held),
        "unseen crystals of unseen thickness": rest.kept(rest.held),
        "LaFeO3, unseen": cells(folder, "LaFeO3"),
        "NdGaO3, unseen": cells(folder, "NdGaO3"),
    }
    return {
        f"{name}, {counts:g} electrons per sample": _score(whitened, some, counts)
        for name, some in sets.items()
        for counts in DOSES
    }


def _score(network: WhitenedNet, some: Cells, counts: float) -> str:
    value, sd = answers(network, *some.seen(counts, seed=int(counts)))
    error = np.abs(value - some.truth)
    mean = error.mean(axis=0)
    inside = (error <= NINETY * sd)[:, :3].mean(axis=0)
    return (
        f"mean error {mean[0]:.2f}, {mean[1]:.2f}, {mean[2]:.2f} deg (beam, cross, c); "
        f"90 % intervals hold {', '.join(f'{100 * one:.0f}' for one in inside)} %; "
        f"mistilt {mean[3]:.2f}, {mean[4]:.2f} mrad"
    )
