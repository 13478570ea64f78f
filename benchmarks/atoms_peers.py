"""Finders of atom columns that `stem-atoms` is measured against: a tuned LoG and AtomAI.

AtomAI 0.8.1 imports torchvision, whose wheels do not load beside a CPU build of torch; two operators that it
never calls are declared first. It needs ``pip install atomai==0.8.1 six``.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
from skimage.feature import blob_log
from torch.library import Library

from micdb.embed.simulate.scoring import Score, score
from micdb.embed.simulate.stem import StemImage

Floats = npt.NDArray[np.float64]
Finder = Callable[[npt.NDArray[np.float32]], Floats]  # image to positions (n, 2) as x, y [pixel]


def log_finder(tuning: Sequence[StemImage]) -> Finder:
    """Return skimage's ``blob_log`` with the width and threshold that are best on some images."""

    def find(image: npt.NDArray[np.float32], sigma: float, threshold: float) -> Floats:
        value = (image - image.min()) / max(float(np.ptp(image)), 1e-30)
        found = blob_log(
            value, min_sigma=sigma, max_sigma=sigma, num_sigma=1, threshold=threshold, overlap=0.5
        )
        return np.asarray(found[:, 1::-1], dtype=float) if len(found) else np.empty((0, 2))

    def quality(pair: tuple[float, float]) -> float:
        scores = [_scored(find(one.image, *pair), one) for one in tuning]
        return float(np.mean([one.f1 for one in scores]))

    grid = list(itertools.product((1.4, 1.8, 2.2, 2.6, 3.0, 3.6), (0.01, 0.02, 0.04, 0.06, 0.1, 0.15)))
    best = max(grid, key=quality)
    return lambda image: find(image, *best)


def _scored(xy: Floats, simulated: StemImage) -> Score:
    return score(xy * simulated.pixel_size, simulated) if len(xy) else Score(0.0, float("nan"))


def atomai_finder(
    images: npt.NDArray[np.float32], masks: npt.NDArray[np.float32], *, seed: int, cycles: int = 500
) -> tuple[Finder, dict[str, float]]:
    """Return AtomAI's Segmentor trained on images and masks ``(n, y, x)``, and what it cost.

    Its defaults: U-Net, Adam, batches of 8. Coordinates come back as (row, column).
    """
    model: Any = import_module("atomai").models.Segmentor(nb_classes=1, seed=seed)
    started = time.process_time()
    split = len(images) * 9 // 10
    with TemporaryDirectory() as folder:  # it leaves a file of its weights
        model.fit(
            _normalised(images[:split]), masks[:split], _normalised(images[split:]), masks[split:],
            training_cycles=cycles, batch_size=8, print_loss=10**9, plot_training_history=False,
            filename=str(Path(folder, "model")),
        )  # fmt: skip
    spent = time.process_time() - started
    parameters = sum(one.numel() for one in model.net.parameters())

    def find(image: npt.NDArray[np.float32]) -> Floats:
        _, coordinates = model.predict(_normalised(image[None]), verbose=False)
        found = np.asarray(coordinates[0])
        return found[:, 1::-1].astype(float) if len(found) else np.empty((0, 2))

    return find, {"seconds": spent, "parameters": float(parameters)}


_STAND_IN = Library("torchvision", "DEF")  # lives as long as its declarations are needed
for _operator in (
    "nms(Tensor a, Tensor b, float c) -> Tensor",
    "qnms(Tensor a, Tensor b, float c) -> Tensor",
):
    _STAND_IN.define(_operator)


def _normalised(images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    low = images.min(axis=(1, 2), keepdims=True)
    return (images - low) / np.maximum(np.ptp(images, axis=(1, 2), keepdims=True), 1e-30)
