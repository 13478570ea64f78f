"""Measure `denoise` on simulations it never saw: ``python benchmarks/restore.py WHAT``.

``denoise``: PSNR, SSIM and resolution against BM3D (Dabov et al. 2007, ``pip install bm3d``, free for
research) and non-local means, electrons alone: both told how many they are, or BM3D left to estimate the
noise as `denoise` is. ``blind``: the same where noise is of any kind. ``check``: what `denoise` says of
itself against the truth. ``measuring``, ``phases``: whether atom columns and phases are found better in
restored images. ``own``: what learning the noise of one's own images brings.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.spatial import cKDTree
from skimage.metrics import structural_similarity
from skimage.restoration import denoise_nl_means, estimate_sigma

from micdb.embed.atoms.detect import heat_map, peaks
from micdb.embed.micro.segmenter import probabilities
from micdb.embed.nets import weights
from micdb.embed.nets.unet import UNet
from micdb.embed.restore.check import check
from micdb.embed.restore.denoised import denoised
from micdb.embed.restore.noise import smoothed
from micdb.embed.restore.ring_correlation import agreement
from micdb.embed.restore.sparse import Strength, sparse
from micdb.embed.simulate.exposure import Exposure, expose, random_exposure
from micdb.embed.simulate.lattices import crystal
from micdb.embed.simulate.microstructures.varied_images import SemRanges, random_micrograph
from micdb.embed.simulate.microstructures.view import View
from micdb.embed.simulate.stem import adf_image
from micdb.embed.train import atoms, segment
from micdb.embed.train.blind_spot import teach
from micdb.embed.train.loop import Schedule
from micdb.embed.train.noiseless import noiseless
from micdb.embed.train.segment import Example
from micdb.masks import Mask

Image = npt.NDArray[np.floating]
Method = Callable[[Image, float], Image]

HELD_OUT, TUNED = 2**44, 2**45  # seeds
SIDE = 160  # [pixel]
SHOWN, TAUGHT = 6, 50  # images of two phases that are taught with, and batches
DOSES = (2.0, 8.0, 32.0, 128.0)  # [electron] where the image is 1


def scenes(first: int, count: int) -> Iterator[tuple[int, Image]]:
    """Yield seeds and images without noise that show something."""
    for seed in range(first, first + count):
        image = noiseless(SIDE, seed=seed)
        if np.ptp(image):
            yield seed, image


def stabilised(image: Image, dose: float) -> Image:
    """Return counts with a noise of 1 (Anscombe 1948)."""
    return 2 * np.sqrt(np.maximum(image * dose, 0.0) + 3 / 8)


def counts_of(value: Image, dose: float) -> Image:
    """Return the unbiased inverse of `stabilised` (Makitalo & Foi 2011, closed form)."""
    value = np.maximum(value, 2 * np.sqrt(3 / 8))
    root = np.sqrt(1.5)
    terms = value**2 / 4 + root / 4 / value - 11 / 8 / value**2 + 5 / 8 * root / value**3 - 1 / 8
    return np.maximum(terms, 0.0) / dose


def nl_means(image: Image, sigma: float, strength: float) -> Image:
    """Return non-local means (Buades et al. 2005) as scikit-image has them."""
    return denoise_nl_means(
        np.asarray(image, np.float64), patch_size=5, patch_distance=7, h=strength * sigma, sigma=sigma,
        fast_mode=True,
    )  # fmt: skip


def bm3d(image: Image, sigma: float) -> Image:
    """Return BM3D, given the noise."""
    from bm3d import bm3d as peer  # noqa: PLC0415 (only two of the tables need it)

    return peer(np.asarray(image, np.float64), sigma)


def bm3d_estimated(image: Image) -> Image:
    """Return BM3D of counts that are stabilised as `denoise` does, which is not told how many they are."""
    value = np.asarray(image, np.float64)
    strength = Strength.of(value)
    return strength.back(bm3d(strength.stabilised(value), 1.0))


def floors(dose: float) -> dict[str, Method]:
    """Return the classical methods for counted electrons; the strength of non-local means is tuned."""
    strengths = (0.4, 0.6, 0.8, 1.0, 1.2)
    tuned = dict.fromkeys(strengths, 0.0)
    for seed, truth in scenes(TUNED, 8):
        noisy = expose(truth, Exposure(dose), seed=seed)
        for one in strengths:
            tuned[one] += psnr(counts_of(nl_means(stabilised(noisy, dose), 1.0, one), dose), truth)
    best = max(tuned, key=tuned.__getitem__)
    return {
        "non-local means": lambda y, d: counts_of(nl_means(stabilised(y, d), 1.0, best), d),
        "BM3D": lambda y, d: counts_of(bm3d(stabilised(y, d), 1.0), d),
        "BM3D, noise estimated": lambda y, _: bm3d(y, float(estimate_sigma(y))),
        "BM3D, our estimate": lambda y, _: bm3d_estimated(y),
    }


def restore(image: Image, network: torch.nn.Module, turns: int = 2) -> npt.NDArray[np.float32]:
    """Return what `denoise` makes of an image."""
    return denoised(image, network, turns=turns)


def psnr(made: Image, truth: Image) -> float:
    """Return the peak signal-to-noise ratio [dB]; the brightest pixels are 1."""
    return float(-10 * np.log10(np.square(made - truth).mean()))


def ssim(made: Image, truth: Image) -> float:
    """Return the structural similarity (Wang et al. 2004)."""
    return float(
        structural_similarity(np.asarray(made, np.float64), np.asarray(truth, np.float64), data_range=1)
    )


def denoise(network: torch.nn.Module, count: int) -> None:
    """Print PSNR, SSIM and resolution at each dose."""
    ours: dict[str, Method] = {
        "sparse windows alone": lambda y, _: sparse(y)[0].mean(axis=0),
        "denoise": lambda y, _: restore(y, network),
        "denoise, 8 turns": lambda y, _: restore(y, network, 8),
    }
    for dose in DOSES:
        methods = {"the image": lambda y, _: y, **floors(dose), **ours}
        scores: dict[str, list[tuple[float, float, float]]] = {name: [] for name in methods}
        for seed, truth in scenes(HELD_OUT, count):
            noisy = expose(truth, Exposure(dose), seed=seed)
            for name, method in methods.items():
                made = method(noisy, dose)
                fine = agreement(made, truth)
                scores[name].append((psnr(made, truth), ssim(made, truth), 0.0 if fine is None else 2 / fine))
        show(f"{dose:g} electrons", scores, ("PSNR [dB]", "SSIM", "resolved share of Nyquist"))


def blind(network: torch.nn.Module, count: int) -> None:
    """Print PSNR and SSIM where noise is of any kind and nobody knows its strength."""

    def told(image: Image, _: float) -> Image:
        return bm3d(image, float(estimate_sigma(image)))

    methods: Mapping[str, Method] = {
        "the image": lambda y, _: y,
        "non-local means": lambda y, _: nl_means(y, float(estimate_sigma(y)), 0.8),
        "BM3D": told,
        "denoise": lambda y, _: restore(y, network),
    }
    scores: dict[str, list[tuple[float, ...]]] = {name: [] for name in methods}
    for seed, truth in scenes(HELD_OUT, count):
        noisy = expose(truth, random_exposure(np.random.default_rng(seed)), seed=seed)
        for name, method in methods.items():
            made = method(noisy, 0.0)
            scores[name].append((psnr(made, truth), ssim(made, truth)))
    show("noise of any kind", scores, ("PSNR [dB]", "SSIM"))


def show(title: str, scores: Mapping[str, list[tuple[float, ...]]], columns: tuple[str, ...]) -> None:
    """Print means of scores."""
    print(f"{title}: {', '.join(columns)}")
    for name, values in scores.items():
        print(f"  {name:24}", "  ".join(f"{value:8.3f}" for value in np.mean(values, axis=0)), flush=True)


def checked(network: torch.nn.Module, count: int) -> None:
    """Print how `denoise` judges itself against how the truth judges it."""
    for dose in DOSES:
        ratios: list[tuple[float, float]] = []
        counts = np.zeros(3)
        pure: list[float] = []
        for seed, truth in scenes(HELD_OUT, count):
            noisy = expose(truth, Exposure(dose), seed=seed)
            made = restore(noisy, network)
            found = check(noisy, made, lambda image: restore(image, network))
            pairs = (
                (found.data_resolution_px, agreement(noisy, truth)),
                (found.resolution_px, agreement(made, truth)),
            )
            ratios.append(tuple(np.nan if None in pair else pair[0] / pair[1] for pair in pairs))
            wrong, shown = strength(made - truth), strength(made)
            false = (wrong > shown / 2) & (shown > 0.05 * shown.mean())
            counts += [(found.invented & false).sum(), false.sum(), found.invented.sum()]
        for seed in range(HELD_OUT, HELD_OUT + 5):
            noise = expose(np.full((SIDE, SIDE), 0.5), Exposure(dose), seed=seed)
            pure.append(float(restore(noise, network).std() / noise.std()))
        median, spread = np.nanmedian(ratios, axis=0), np.nanpercentile(ratios, (10, 90), axis=0)
        print(
            f"{dose:g} electrons: resolution said / true: data {median[0]:.2f} ({spread[0][0]:.2f} to "
            f"{spread[1][0]:.2f}), restored {median[1]:.2f} ({spread[0][1]:.2f} to {spread[1][1]:.2f}); "
            f"made of noise {counts[1] / (count * SIDE**2):.3f} of the area, "
            f"found {counts[0] / counts[1]:.2f} of it, "
            f"{counts[0] / max(counts[2], 1):.2f} of what is called so is so; "
            f"of pure noise {np.mean(pure):.3f} is left",
            flush=True,
        )


def strength(image: Image) -> Image:
    """Return the mean square of structure around each pixel, as `micdb.embed.restore.check` weighs it."""
    fine = image - smoothed(image, 8.0)
    return smoothed(np.square(fine), 3.0)


def measuring(network: torch.nn.Module, count: int) -> None:
    """Print how well columns are found by a network that was taught on images as they are."""
    finder = weights.unet("stem-atoms")
    for low, high in ((1.5, 3.0), (3.0, 6.0), (6.0, 20.0)):
        found: dict[str, list[Any]] = {"the image": [], "denoise": []}
        seed = HELD_OUT
        while len(found["denoise"]) < count:
            seed += 1
            one = atoms.scene(seed)
            if not low <= one.conditions["counts"] < high or not len(one.xy):
                continue
            for name, image in (("the image", one.image), ("denoise", restore(one.image, network))):
                xy, _ = peaks(heat_map(image, finder), atoms.LEAST_PROBABILITY)
                found[name].append(
                    (*atoms.hits(xy, one.xy), *offsets(xy, one.xy, one.conditions["pixel_size"]))
                )
        for name, values in found.items():
            hit, made, planted, square, near = np.sum(values, axis=0)
            print(
                f"columns, {low:g} to {high:g} counts, {name}: F1 {2 * hit / (made + planted):.3f}, "
                f"rms {1e3 * np.sqrt(square / max(near, 1)):.1f} pm",
                flush=True,
            )


def phases(network: torch.nn.Module, count: int) -> None:
    """Print intersection over union of two phases, by `segment` taught on images as they are and restored."""
    for dose in DOSES[:2]:
        examples = [two_phases(seed, dose) for seed in range(HELD_OUT, HELD_OUT + SHOWN + count)]
        clean = [replace(one, pixels=restore(one.pixels, network)) for one in examples]
        taught = {
            name: segment.taught(shown[:SHOWN], Schedule(TAUGHT, rate=2e-3))[0]
            for name, shown in (("as it is", examples), ("restored", clean))
        }
        for by, ask in (("as it is", "as it is"), ("as it is", "restored"), ("restored", "restored")):
            learner = taught[by]
            table = np.zeros((2, 2))
            for one in (clean if ask == "restored" else examples)[SHOWN:]:
                said = probabilities(one.pixels, learner).argmax(axis=0)
                np.add.at(table, (one.mask.labels, said), 1)
            share = np.diag(table) / (table.sum(0) + table.sum(1) - np.diag(table))
            print(f"phases, {dose:g} electrons, taught {by}, asked {ask}: IoU {share.mean():.3f}", flush=True)


def two_phases(seed: int, dose: float) -> Example:
    """Return an exposure of a microstructure of two phases, with its mask."""
    kind = ("two phases", "spheroidite")[seed % 2]
    ranges = SemRanges(inverted=0.0, blur=(0.4, 1.4))  # the second phase is the brighter one
    made = random_micrograph(View((SIDE, SIDE), 10.0), seed=seed, kinds=[kind], ranges=ranges)[1]
    bright = made.clean / np.percentile(made.clean, 99.8)
    labels = (made.scene.coverage > 0.5).astype(np.int32)
    return Example(expose(bright, Exposure(dose), seed=seed), Mask(labels, ("matrix", "second")))


def own(network: torch.nn.Module, count: int) -> None:
    """Print what learning the noise of images of one crystal brings, on these images."""
    field = (SIDE * 0.02, SIDE * 0.02)
    truths = []
    for seed in range(HELD_OUT, HELD_OUT + count):
        columns = crystal("MoS2", field, seed=seed, rotation=17.0, jitter=0.005)
        made = adf_image(columns, (SIDE, SIDE), pixel_size=0.02, seed=seed, counts=1e6, readout=0.0).image
        truths.append(made / made.max())
    noisy = [expose(truth, Exposure(6.0), seed=seed) for seed, truth in enumerate(truths)]
    with TemporaryDirectory() as folder:
        teach(noisy, Path(folder), steps=200)
        taught = weights.load("denoise", UNet, Path(folder))
    for name, one in (("as shipped", network), ("taught the images", taught)):
        gained = [psnr(restore(y, one), truth) for y, truth in zip(noisy, truths, strict=True)]
        print(f"{count} images of MoS2, 6 electrons, {name}: {np.mean(gained):.2f} dB", flush=True)


def offsets(xy: Image, truth: Image, pixel: float) -> tuple[float, int]:
    """Return the sum of squares [nm**2] of the distances of what was found, and how many were near."""
    if not len(xy) or not len(truth):
        return 0.0, 0
    distance, _ = cKDTree(truth).query(xy, distance_upper_bound=3.0)
    near = distance[np.isfinite(distance)]
    return float(np.square(near * pixel).sum() / 2), len(near)  # along one axis


WHAT: dict[str, Callable[[torch.nn.Module, int], None]] = {
    "denoise": denoise, "blind": blind, "check": checked,
    "measuring": measuring, "phases": phases, "own": own,
}  # fmt: skip


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=WHAT)
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--weights", type=Path, default=weights.FOLDER, help="folder of denoise.safetensors")
    given = parser.parse_args()
    torch.set_num_threads(1)
    WHAT[given.what](weights.load("denoise", UNet, given.weights), given.images)


if __name__ == "__main__":
    main()
