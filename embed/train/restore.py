"""The recipes of ``denoise`` and ``super-resolve``: images without noise, and what an exposure makes of them.

The images are simulated once; noise, and for `super-resolve` the blur of a coarser probe, are drawn anew each
time one is shown. The loss is the mean logarithm of the squared error: what PSNR means, alike at every dose.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional

from micdb.embed.restore.denoised import denoised
from micdb.embed.restore.network import FINER, plain, restored, with_sparse
from micdb.embed.simulate.exposure import Exposure, expose, random_exposure
from micdb.embed.train.loop import Batch
from micdb.embed.train.noiseless import noiseless

Image = npt.NDArray[np.float32]

SIDE, BATCH = 128, 8  # [pixel] of images without noise, and how many of them
PROBE = (0.5, 1.6)  # [pixel of the finer image] standard deviation of what the coarser probe adds

_FLOOR = 1e-4  # [variance of the image] better than this is not asked for
_EXPOSED, _FINE_EXPOSED = (1.0, 2000.0), (8.0, 4000.0)  # [electron] where the image is 1, of training
_DOSES = (2.0, 8.0, 32.0, 128.0)  # [electron] where the image is 1
_HELD_OUT = 2**43
_MEASURED, _FEW = 24, 4  # images
_FINER_DOSE = 16  # times as many electrons are measured with where pixels are to be finer
_FINE_PARTICLES = 0.4  # share of images whose gaps are to be resolved


def batch(seed: int) -> Batch:
    """Return what `denoise` is shown of noisy images ``(BATCH, EVIDENCE, SIDE, SIDE)``, and the truth."""
    rng = np.random.default_rng(seed)
    images = _noiseless(seed, BATCH, 0.15)
    shown, truth = zip(*(_known(one[0], rng) for one in images), strict=True)
    return np.stack(shown), np.stack(truth)


def fine_batch(seed: int) -> Batch:
    """Return twice as many: the network of `super-resolve` works at half the side."""
    return (_noiseless(seed, 2 * BATCH, _FINE_PARTICLES),)


def loss(network: nn.Module, arrays: tuple[Tensor, ...]) -> Tensor:
    """Return the loss of a batch of `batch`, turned and mirrored at random."""
    turn, mirror = (int(torch.randint(most, ())) for most in (4, 2))
    shown, truth = (torch.rot90(one, turn, (2, 3)).flip((3,) * mirror) for one in arrays)
    return logarithm(answer(network, shown), truth)


def fine_loss(network: nn.Module, arrays: tuple[Tensor, ...]) -> Tensor:
    """Return the loss of a batch of `fine_batch`, with a probe and noise that are drawn anew."""
    shown, truth = drawn(arrays[0].numpy())
    return logarithm(answer(network, shown), truth)


def answer(network: nn.Module, shown: Tensor) -> Tensor:
    """Return the restored images ``(n, 1, factor * y, factor * x)`` of what the network is shown."""
    maps = shown[:, :1] - network(shown.contiguous(memory_format=torch.channels_last))
    return functional.pixel_shuffle(maps, math.isqrt(maps.shape[1]))


def logarithm(made: Tensor, truth: Tensor) -> Tensor:
    """Return the mean over images of the logarithm to base 10 of the mean squared error."""
    return torch.log10(functional.mse_loss(made, truth, reduction="none").mean(dim=(1, 2, 3)) + _FLOOR).mean()


def coarser(image: npt.NDArray[np.floating], probe: float) -> Image:
    """Return what a probe shows on pixels twice as large, without noise.

    Parameters
    ----------
    image
        ``(2 y, 2 x)``.
    probe
        Standard deviation of the probe [pixel of the image].
    """
    seen = ndimage.gaussian_filter(np.asarray(image, dtype=np.float64), probe, mode="reflect")
    height, width = (size // FINER for size in seen.shape)
    return np.asarray(seen.reshape(height, FINER, width, FINER).mean(axis=(1, 3)), dtype=np.float32)


def measure(network: nn.Module) -> dict[str, Any]:
    """Return the gain in PSNR of `denoise` on images it never saw, by dose."""
    said = {
        f"{dose:g} electrons in the brightest pixels": f"{_gain(network, dose, 1):.1f} dB less noise"
        for dose in _DOSES
    }
    return {**said, "psnr_of_few": few(network, 1)}


def fine_measure(network: nn.Module) -> dict[str, Any]:
    """Return the gain in PSNR of `super-resolve` over bicubic interpolation, by dose."""
    said = {
        f"{_FINER_DOSE * dose:g} electrons in the brightest pixels": (
            f"{_gain(network, _FINER_DOSE * dose, FINER):.1f} dB over bicubic"
        )
        for dose in _DOSES
    }
    return {**said, "psnr_of_few": few(network, FINER)}


def few(network: nn.Module, factor: int) -> list[float]:
    """Return the PSNR [dB] of a few images, to be compared with what the file of weights gives."""
    dose = 8.0 * (_FINER_DOSE if factor > 1 else 1)
    return [round(-10 * math.log10(after), 3) for _, after in _errors(network, dose, factor, _FEW)]


def enlarged(image: npt.NDArray[np.floating], factor: int = FINER) -> Image:
    """Return an image interpolated bicubically to finer pixels, what is outside mirrored."""
    fine = ndimage.zoom(
        np.asarray(image, dtype=np.float64), factor, order=3, mode="grid-mirror", grid_mode=True
    )
    return np.asarray(fine, dtype=np.float32)


def _gain(network: nn.Module, dose: float, factor: int) -> float:
    """Return how much nearer the truth the network comes than the image itself [dB]."""
    before, after = np.array(list(_errors(network, dose, factor, _MEASURED))).T
    return 10 * float(np.mean(np.log10(before / after)))


def _errors(network: nn.Module, dose: float, factor: int, count: int) -> Iterator[tuple[float, float]]:
    """Yield the mean squared errors of an image, and of what the network makes of it."""
    for seed in range(_HELD_OUT, _HELD_OUT + count):
        truth = noiseless(SIDE, seed=seed)
        if not np.ptp(truth):
            continue
        seen = truth if factor == 1 else coarser(truth, float(np.mean(PROBE)))
        noisy = expose(seen, Exposure(dose), seed=seed)
        before = noisy if factor == 1 else enlarged(noisy, factor)
        after = denoised(noisy, network) if factor == 1 else restored(plain(noisy), network)
        yield float(np.square(before - truth).mean()), float(np.square(after - truth).mean())


def _noiseless(seed: int, count: int, particles: float) -> Image:
    seeds = np.random.SeedSequence(seed).generate_state(count, np.uint64)
    return np.stack([noiseless(SIDE, seed=int(one), particles=particles) for one in seeds])[:, None]


def _known(image: Image, rng: np.random.Generator) -> tuple[Image, Image]:
    noisy = expose(image, random_exposure(rng, _EXPOSED), seed=int(rng.integers(2**62)))
    shown, mean, spread = with_sparse(noisy)
    return shown, np.asarray((image - mean) / spread, dtype=np.float32)[None]


def drawn(images: Image) -> tuple[Tensor, Tensor]:
    """Return coarser images with noise ``(n, 1, y, x)``, standardised, and the truth in the same levels."""
    rng = np.random.default_rng(int(torch.randint(2**62, ())))  # follows torch's seed, and so the schedule's
    shown, truth = zip(*(_coarse(one[0], rng) for one in images), strict=True)
    return torch.from_numpy(np.stack(shown)), torch.from_numpy(np.stack(truth))


def _coarse(image: Image, rng: np.random.Generator) -> tuple[Image, Image]:
    image = np.rot90(image, int(rng.integers(4)))
    seen = coarser(image, rng.uniform(*PROBE))
    noisy = expose(seen, random_exposure(rng, _FINE_EXPOSED), seed=int(rng.integers(2**62)))
    shown, mean, spread = plain(noisy)
    return shown, np.asarray((image - mean) / spread, dtype=np.float32)[None]
