"""The recipe of ``micro``: the look of microstructures, learnt from simulated ones.

One U-Net names the class of each pixel (ferrite, cementite, pore, ...) and the kind of scene around it, draws
the boundaries of objects and the image without noise. What it learns for that is what others start from:
segmenting with a few annotated images, embedding. Nothing has a scale: structures have any size in pixels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional

from micdb.embed.micro.view import view
from micdb.embed.simulate.microstructures.varied_images import random_micrograph
from micdb.embed.simulate.microstructures.varied_scenes import KINDS
from micdb.embed.simulate.microstructures.view import View
from micdb.embed.train.loop import Batch

#: Classes of pixels of all kinds of scenes.
CLASSES = (
    "background", "bainite", "base", "boundary", "carbide", "cementite", "crack", "ferrite", "film",
    "gamma", "gamma prime", "grain", "hole", "line", "martensite", "matrix", "network", "part",
    "particle", "pearlite", "pillar", "pore", "second phase", "solid", "spheroidite", "strand",
    "substrate", "surface", "tempered martensite", "tip", "twin", "widmanstatten",
)  # fmt: skip
SCENES = tuple(KINDS)
MAPS = len(CLASSES) + len(SCENES) + 2  # of the network: classes, kinds, boundary, clean image
SIDE, BATCH = 128, 8  # [pixel], images

_STEP = 10.0  # [nm] of a pixel, which the network is not told
_HELD_OUT = 2**42
_MEASURED, FEW = 200, 16  # images, and those of them that a test asks again
_BOUNDARY = 1.5  # [pixel] to either side of where an object ends
_SCENE, _EDGE, _CLEAN = 0.3, 0.5, 1.0  # weights of losses beside that of the classes


def batch(seed: int) -> Batch:
    """Return images ``(n, 1, y, x)``, classes ``(n, y, x)``, scenes ``(n,)``, boundaries and clean images."""
    seeds = np.random.default_rng(seed).integers(2**62, size=BATCH)
    parts = [_one(int(one)) for one in seeds]
    return tuple(np.stack(part) for part in zip(*parts, strict=True))


def loss(network: nn.Module, arrays: tuple[Tensor, ...]) -> Tensor:
    """Return the loss of all that the network says."""
    images, classes, scenes, boundary, clean = arrays
    answer = network(images.contiguous(memory_format=torch.channels_last))
    named, around, edge, still = split(answer)
    scene = scenes.long()[:, None, None].expand(-1, *classes.shape[1:])
    return (
        functional.cross_entropy(named, classes.long())
        + _SCENE * functional.cross_entropy(around, scene)
        + _EDGE * functional.binary_cross_entropy_with_logits(edge, boundary)
        + _CLEAN * functional.smooth_l1_loss(still, clean)
    )


def split(answer: Any) -> tuple[Any, Any, Any, Any]:
    """Return maps of classes and kinds, the boundary's and the clean image of what the network gives."""
    n, m = len(CLASSES), len(SCENES)
    return answer[:, :n], answer[:, n : n + m], answer[:, n + m], answer[:, n + m + 1]


def measure(network: nn.Module) -> dict[str, Any]:
    """Return what it reaches on scenes it never saw."""
    pixels, scenes, noise = scores(network, _MEASURED)
    return {
        "pixels of the right class": f"{pixels:.3f}",
        "scenes of the right kind": f"{scenes:.3f} of {len(SCENES)} kinds",
        "noise taken away": f"{noise:.1f} dB",
        "of_few": [round(one, 4) for one in scores(network, FEW)],  # to be compared with what the file gives
    }


def scores(network: nn.Module, count: int) -> tuple[float, float, float]:
    """Return the shares of right pixels and of right scenes, and the noise taken away [dB]."""
    right: list[float] = []
    scene: list[bool] = []
    noise: list[list[float]] = []
    for seed in range(_HELD_OUT, _HELD_OUT + count):
        image, classes, kind, _, clean = _one(seed)
        with torch.inference_mode():
            named, around, _, still = split(network(torch.from_numpy(image[None])))
        right.append(float((named[0].argmax(0).numpy() == classes).mean()))
        scene.append(int(around[0].mean(dim=(1, 2)).argmax()) == int(kind))
        noise.append([float(np.square(one - clean).mean()) for one in (image[0], still[0].numpy())])
    before, after = np.mean(noise, axis=0)
    return float(np.mean(right)), float(np.mean(scene)), 10 * float(np.log10(before / after))


def _one(seed: int) -> tuple[npt.NDArray[np.float32], ...]:
    """Return an image, its classes, its kind, its boundaries and what it is without noise."""
    kind, made = random_micrograph(View((SIDE, SIDE), _STEP), seed=seed)
    number = np.array([CLASSES.index(name) for name in made.scene.classes], np.float32)
    seen = view(made.image.astype(np.float64))
    return (
        seen[None],
        number[made.scene.label],
        np.float32(SCENES.index(kind)),
        _edges(made.scene.label, made.scene.instance),
        _alike(made.clean, made.image, seen),
    )  # type: ignore[return-value]  # a number stacks like an array


def _edges(*maps: npt.NDArray[np.integer]) -> npt.NDArray[np.float32]:
    """Return where a class or an object ends ``(y, x)``: 1 there, falling to 0."""
    ends = np.zeros(maps[0].shape, bool)
    for one in maps:
        ends |= ndimage.maximum_filter(one, 3) != ndimage.minimum_filter(one, 3)
    near = np.exp(-np.square(ndimage.distance_transform_edt(~ends) / _BOUNDARY))
    return np.asarray(near, dtype=np.float32)


def _alike(
    clean: npt.NDArray[np.float32], image: npt.NDArray[np.integer], seen: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Return the clean image as the network would see it, with the offset and gain of the noisy one."""
    gain, offset = np.polyfit(image.ravel().astype(np.float64), seen.ravel().astype(np.float64), 1)
    return np.asarray(np.clip(gain * clean + offset, -4.0, 4.0), dtype=np.float32)
