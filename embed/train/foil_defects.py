"""The recipe of `defect-seg`: foils with lines, loops, precipitates and voids at random.

A simulated defect may be too faint to be seen: far from the Bragg angle, under the noise, or no stronger than
the mottle of the surface. Of such a one nothing is taught and nothing is asked.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage, optimize
from torch import Tensor, nn
from torch.nn import functional

from micdb.embed.micro.foil_maps import KINDS, Calibration, answers, channels
from micdb.embed.simulate.microstructures.diffraction_contrast import (
    Content,
    DefectImage,
    defect_image,
)
from micdb.embed.simulate.microstructures.inclusions import Population
from micdb.embed.simulate.microstructures.varied_foils import FoilRanges, random_settings
from micdb.embed.simulate.microstructures.view import Bools, View
from micdb.embed.train.loop import Batch

Map = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]

SIDE, BATCH = 160, 6  # [pixel], images
PIXELS = (0.3, 3.0)  # [nm]
# Objects up to what the network overlooks, doses and samplings up to what it is asked about.
RANGES = FoilRanges(diameter=(4.0, 0.25), counts=(50.0, 2e4), dark_field=0.25)
_BENT = 400.0  # [nm] a field as wide bends as drawn, a narrower one less: radii of curvature of 7 um and more
_ROSE = 5.0  # [standard deviation] of an object that an eye finds (Rose, J. Opt. Soc. Am. 38, 196, 1948)
_OBJECT, _LINE = 3.0, 2.5  # [standard deviation of the foil's structure] the same, and of a line against both
_PIECE = 6.0  # [pixel] least standard deviation of the window that shows a piece of a line
_SIGMA = 1 / math.sqrt(8 * math.log(2))  # standard deviation over full width at half maximum
_WIDE = 3.0  # surroundings that structure is told from, in widths of the blur
_PARTS = (1 / 3, 1 / 6)  # of an object's radius, by which it is blurred: its middle shows, or its rim
_RIM = 2  # [pixel] around an object's mask that shows it as well
_EMPTY = Population(0.0, 10.0)
HELD_OUT, _CALIBRATE = 2**42, 2**43  # seeds; those of batches are drawn from all 64 bits
_SCENES, FEW, _FIELD = 40, 6, 256  # to measure on, first of them, and their side [pixel]
LEAST_PROBABILITY = 0.3  # of a pixel: overlap and length of lines are best on the scenes that calibrate
_BINS = 10  # of probabilities
_EVERY = 7  # of the pixels that calibrate
_THERE = 3.0  # further weight of a defect beside the foil, which is twenty times as much
_DICE = 1.0  # weight of the overlap of masks beside the cross entropy


def scene(
    seed: int, side: int, *, ranges: FoilRanges = RANGES, pixels: tuple[float, float] = PIXELS
) -> tuple[DefectImage, Bools, bool]:
    """Return an image of a random pixel size, what of its masks shows ``(4, y, x)``, if it is dark field."""
    rng = np.random.default_rng(seed)
    view = View((side, side), math.exp(rng.uniform(math.log(pixels[0]), math.log(pixels[1]))))
    number = int(rng.integers(2**62))
    foil, content, camera = random_settings(view, seed=number, ranges=ranges)
    share = min(min(view.extent) / _BENT, 1.0)
    foil = replace(foil, bending=foil.bending * share, buckle=foil.buckle * share)

    def made(content: Content) -> DefectImage:
        return defect_image(view, seed=number, foil=foil, content=content, camera=camera)

    whole = made(content)
    without = (
        replace(content, lines=0.0),
        replace(content, loops=replace(content.loops, density=0.0)),
        replace(content, precipitates=replace(content.precipitates, density=0.0)),
        replace(content, voids=replace(content.voids, density=0.0)),
    )
    changes = [whole.clean - (whole if one == content else made(one)).clean for one in without]
    plain = made(Content(lines=0.0, loops=_EMPTY, precipitates=_EMPTY, voids=_EMPTY))
    shown = seen(whole, np.stack(changes), plain.clean, foil.image_width / view.pixel_size)
    return whole, shown, camera.dark_field


def seen(made: DefectImage, changes: Map, plain: Map, width: float) -> Bools:
    """Return which pixels of the masks belong to what rises above noise, mottle and contours ``(4, y, x)``.

    Blurred by its own width, a defect must change the foil by more than counting noise and the foil's own
    structure of that width make up together.

    Parameters
    ----------
    made
        The image.
    changes
        Counts expected that each of `KINDS` adds ``(4, y, x)``.
    plain
        Counts expected of the same foil without defects ``(y, x)``.
    width
        Of a line's image [pixel].
    """
    result = np.zeros_like(made.masks)
    blurs: dict[tuple[int, float], tuple[Floats, Floats, Floats]] = {}
    for row, kind in enumerate(made.objects.kind):
        radius = max(math.sqrt(made.objects.axes[row].prod()) / 2 / made.pixel_size, 1e-3)
        box, there = _box(made, row)
        around = ndimage.binary_dilation(there, iterations=_RIM)
        for part in _PARTS:
            sigma = 2.0 ** max(round(math.log2(part * radius)), -1)  # one of few, each blurred once
            if (kind, sigma) not in blurs:
                blurs[kind, sigma] = _powers(changes[kind], plain, sigma)
            signal, noise, structure = (one[box][around].sum() for one in blurs[kind, sigma])
            # (2 part)**-2 blurs fill it, whose noise is independent
            if signal >= (2 * part * _ROSE) ** 2 * noise + _OBJECT**2 * structure:
                result[kind][box] |= there
    window = max(_PIECE, width / 2)
    signal, noise, structure = (
        ndimage.gaussian_filter(one * made.masks[0], window, mode="constant")
        for one in _powers(changes[0], plain, width * _SIGMA)
    )
    result[0] = made.masks[0] & (signal >= _LINE**2 * (noise + structure))
    return result


def _powers(change: Map, plain: Map, sigma: float) -> tuple[Floats, Floats, Floats]:
    """Return squares of a change, of noise and of the foil's structure, after a blur [pixel] ``(y, x)``."""
    blurred, wide = (ndimage.gaussian_filter(plain, one * sigma) for one in (1, _WIDE))
    structure = ndimage.gaussian_filter((blurred - wide) ** 2, _WIDE * sigma)
    noise = blurred * min(1 / (4 * math.pi * sigma**2), 1.0)  # of counting
    return ndimage.gaussian_filter(change, sigma) ** 2, noise, structure


def _box(made: DefectImage, row: int) -> tuple[tuple[slice, slice], Bools]:
    """Return where an object lies, with a rim, and its mask there."""
    one = made.objects.outlines[row]
    top, left, (height, width) = one.top, one.left, one.mask.shape
    rows = slice(max(top - _RIM, 0), min(top + height + _RIM, made.image.shape[0]))
    columns = slice(max(left - _RIM, 0), min(left + width + _RIM, made.image.shape[1]))
    there = np.zeros((rows.stop - rows.start, columns.stop - columns.start), dtype=bool)
    there[top - rows.start :, left - columns.start :][:height, :width] = one.mask
    return (rows, columns), there


def crop(seed: int) -> tuple[Map, Map]:
    """Return what the network sees ``(2, SIDE, SIDE)`` and the masks, -1 where a defect cannot be seen."""
    made, shown, dark = scene(seed, SIDE)
    return channels(made.image, dark_field=dark), np.where(shown, 1, -made.masks.astype(np.int8)).astype(
        np.float32
    )


def batch(seed: int) -> Batch:
    """Return images ``(BATCH, 2, SIDE, SIDE)`` and maps ``(BATCH, 4, SIDE, SIDE)`` of a seed."""
    seeds = np.random.SeedSequence(seed).generate_state(BATCH, np.uint64)
    images, maps = zip(*(crop(int(one)) for one in seeds), strict=True)
    return np.stack(images), np.stack(maps)


def loss(network: nn.Module, arrays: tuple[Tensor, ...]) -> Tensor:
    """Return the cross entropy of what can be seen, and one less the overlap of each kind (soft Dice)."""
    images, maps = _turned(*arrays) if network.training else arrays
    wanted, weight = maps.clamp(min=0), (maps >= 0).float()
    answer = network(images.contiguous(memory_format=torch.channels_last))
    entropy = functional.binary_cross_entropy_with_logits(
        answer, wanted, weight=weight * (1 + _THERE * wanted)
    )
    said = torch.sigmoid(answer) * weight
    both, either = (one.sum(dim=(0, 2, 3)) for one in (said * wanted, said + wanted))
    return entropy + _DICE * (1 - (2 * both + 1) / (either + 1)).mean()


def _turned(images: Tensor, maps: Tensor) -> tuple[Tensor, Tensor]:
    """Return a batch in one of the eight orientations of a square, at random."""
    quarters, mirrored = int(torch.randint(4, ())), bool(torch.randint(2, ()))
    both = (one.rot90(quarters, (2, 3)) for one in (images, maps))
    images, maps = (one.flip(3) if mirrored else one for one in both)
    return images, maps


def measure(network: nn.Module) -> dict[str, Any]:
    """Return the calibration of the answers, and what it reaches on scenes it never saw."""
    calibration = _calibrated([_asked(network, seed) for seed in range(_CALIBRATE, _CALIBRATE + _SCENES)])
    overlap, off = scores(network, calibration, range(HELD_OUT, HELD_OUT + _SCENES))
    said = {
        f"simulated foils, {kind}s": (
            f"IoU {overlap[0, number]:.3f} of what can be seen, {overlap[1, number]:.3f} of all planted; "
            f"calibration error {off[number]:.3f} of pixels with a probability of {1 / _BINS:g} or more"
        )
        for number, kind in enumerate(KINDS)
    }
    few, _ = scores(network, calibration, range(HELD_OUT, HELD_OUT + FEW))
    return {
        "calibration": {"slope": calibration.slope, "offset": calibration.offset},
        **said,
        "iou_of_few": few.round(4).tolist(),  # to be compared with what the file gives
    }


def scores(network: nn.Module, calibration: Calibration, seeds: Iterable[int]) -> tuple[Floats, Floats]:
    """Return overlap and calibration error on the scenes of seeds.

    Parameters
    ----------
    network
        Trained.
    calibration
        Of its answers.
    seeds
        Of the scenes, in the ranges of `random_defects`.

    Returns
    -------
    overlap, off
        Intersection over union of the pixels of all scenes ``(2, 4)``: of defects that can be seen, and of
        all that were planted; and the mean difference of probability and share, of pixels that are not sure
        to show none ``(4,)``.
    """
    counts, bins = np.zeros((2, 2, len(KINDS))), np.zeros((3, len(KINDS), _BINS))
    for seed in seeds:
        answer, masks, shown = _asked(network, seed)
        probability = calibration(answer)
        said, known = probability >= LEAST_PROBABILITY, shown | ~masks
        for number, where in enumerate((known, np.ones_like(known))):
            for row, one in enumerate((said & masks, said | masks)):
                counts[number, row] += (one & where).sum(axis=(1, 2))
        for kind in range(len(KINDS)):
            sure, right = probability[kind][known[kind]], masks[kind][known[kind]]
            place = np.minimum((sure * _BINS).astype(int), _BINS - 1)
            for row, weight in enumerate((np.ones(len(sure)), sure, right)):
                bins[row, kind] += np.bincount(place, weight, _BINS)
    off = np.abs(bins[1] - bins[2])[:, 1:].sum(axis=1) / np.maximum(bins[0][:, 1:].sum(axis=1), 1)
    return counts[:, 0] / np.maximum(counts[:, 1], 1), off


def _asked(network: nn.Module, seed: int) -> tuple[Map, Bools, Bools]:
    """Return answers, masks and what of them can be seen of a scene such as `random_defects` draws."""
    made, shown, dark = scene(seed, _FIELD, ranges=FoilRanges(), pixels=PIXELS)
    return answers(made.image, network, dark_field=dark), made.masks, shown


def _calibrated(scenes: list[tuple[Map, Bools, Bools]]) -> Calibration:
    """Return the calibration that makes the masks of what can be seen likeliest, kind by kind."""
    slopes, offsets = [], []
    for kind in range(len(KINDS)):
        known = [(shown[kind] | ~masks[kind]).ravel() for _, masks, shown in scenes]
        answer = np.concatenate([one[0][kind].ravel()[use] for one, use in zip(scenes, known, strict=True)])
        right = np.concatenate([one[1][kind].ravel()[use] for one, use in zip(scenes, known, strict=True)])
        slope, offset = _logistic(answer[::_EVERY].astype(np.float64), right[::_EVERY])
        slopes.append(slope)
        offsets.append(offset)
    return Calibration(tuple(slopes), tuple(offsets))


def _logistic(answer: npt.NDArray[np.float64], right: Bools) -> tuple[float, float]:
    sign = np.where(right, -1.0, 1.0)

    def surprise(line: npt.NDArray[np.float64]) -> float:
        return float(np.logaddexp(0.0, sign * (line[0] * answer + line[1])).mean())

    found = optimize.minimize(surprise, np.array([1.0, 0.0]), method="Nelder-Mead")
    return float(found.x[0]), float(found.x[1])
