"""Measure `super-resolve` on simulations it never saw: ``python benchmarks/super_resolve.py {images,gaps}``.

An image is drawn at fine pixels, blurred by a probe, put on pixels twice as large and counted. ``images``:
PSNR, SSIM and resolution against the fine image without noise. ``gaps``: pairs of gold particles on carbon, a
gap between them or none, drawn by other means than what the network learnt from; the score is the depth of
the dip between the two, and a gap counts as resolved where that is deeper than in 98 % of those without.
The probe is known to Richardson-Lucy (1972), whose iterations are tuned, but not to the network.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from restore import HELD_OUT, TUNED, psnr, show, ssim
from scipy import ndimage

from micdb.embed.nets import weights
from micdb.embed.nets.unet import UNet
from micdb.embed.restore.network import plain, restored
from micdb.embed.restore.ring_correlation import agreement
from micdb.embed.simulate.exposure import Exposure, expose
from micdb.embed.train.noiseless import noiseless
from micdb.embed.train.restore import coarser, enlarged

Image = npt.NDArray[np.floating]
Method = Callable[[Image], Image]

NETWORKS = ("super-resolve", "super-resolve-adversarial")
SIDE = 192  # [pixel] of the fine image
PROBE = 1.1  # [fine pixel]
DOSES = (16.0, 64.0, 256.0, 1024.0)  # [electron] in a pixel of the image where it is 1
ITERATIONS = (3, 6, 12, 25, 50)
FALSE = 0.02
RAYLEIGH = 0.265  # depth of the dip between two points that a round aperture just resolves
_PIXELS = 0.58  # [fine pixel] standard deviation of a coarse pixel, which widens the probe


def richardson_lucy(image: Image, iterations: int) -> Image:
    """Return the image at fine pixels without its probe, by the most probable scene for counted electrons."""
    fine = np.maximum(enlarged(image), 1e-6)
    width = math.hypot(PROBE, _PIXELS)
    value = np.full(fine.shape, fine.mean())
    for _ in range(iterations):
        ratio = fine / np.maximum(ndimage.gaussian_filter(value, width), 1e-9)
        value = value * ndimage.gaussian_filter(ratio, width)
    return value


def methods(folder: Path, iterations: int) -> dict[str, Method]:
    """Return what is compared; the folder holds the weights."""
    found: dict[str, Method] = {
        "bicubic": enlarged,
        "Richardson-Lucy": lambda image: richardson_lucy(image, iterations),
    }
    for name in NETWORKS:
        network = weights.load(name, UNet, folder)
        found[name] = lambda image, network=network: restored(plain(image), network, turns=2)
    return found


def tuned(dose: float) -> int:
    """Return the number of iterations of Richardson-Lucy that come nearest the truth."""
    total = dict.fromkeys(ITERATIONS, 0.0)
    for seed in range(TUNED, TUNED + 8):
        truth = noiseless(SIDE, seed=seed, particles=0.4)
        image = expose(coarser(truth, PROBE), Exposure(dose), seed=seed)
        for one in ITERATIONS:
            total[one] += psnr(richardson_lucy(image, one), truth)
    return max(total, key=total.__getitem__)


def images(folder: Path, count: int) -> None:
    """Print PSNR, SSIM and resolution at each dose."""
    for dose in DOSES:
        known = methods(folder, tuned(dose))
        scores: dict[str, list[tuple[float, ...]]] = {name: [] for name in known}
        for seed in range(HELD_OUT, HELD_OUT + count):
            truth = noiseless(SIDE, seed=seed, particles=0.4)
            if not np.ptp(truth):
                continue
            image = expose(coarser(truth, PROBE), Exposure(dose), seed=seed)
            for name, method in known.items():
                made = method(image)
                fine = agreement(made, truth)
                scores[name].append((psnr(made, truth), ssim(made, truth), 0.0 if fine is None else 4 / fine))
        show(f"{dose:g} electrons", scores, ("PSNR [dB]", "SSIM", "resolved share of the image's Nyquist"))


@dataclass(frozen=True, slots=True)
class Pair:
    """Two particles: centres ``(2, 2)`` y, x and radii ``(2,)`` [fine pixel]."""

    centres: npt.NDArray[np.float64]
    radii: npt.NDArray[np.float64]


def particles(seed: int, gap: tuple[float, float]) -> tuple[Image, list[Pair]]:
    """Return a fine image of pairs of particles, and where they are.

    Parameters
    ----------
    seed
        Of everything.
    gap
        Between the two, from and to [fine pixel]; negative: they overlap.
    """
    rng = np.random.default_rng(seed)
    cell, over = SIDE // 3, 4  # one pair in each cell; sub-pixels along a side
    fine = np.full((SIDE * over, SIDE * over), 0.0)
    y, x = (np.mgrid[: SIDE * over, : SIDE * over] + 0.5) / over - 0.5
    found = []
    for number in range(9):
        radii, turn = rng.uniform(6.0, 12.0, 2), rng.uniform(0, 2 * math.pi)
        apart = radii.sum() + rng.uniform(*gap)
        middle = (np.array(divmod(number, 3)) + 0.5) * cell + rng.uniform(-4, 4, 2)
        way = np.array([math.sin(turn), math.cos(turn)])
        centres = middle + np.outer([-radii[1], radii[0]] / radii.sum() * apart, way)
        for (cy, cx), radius in zip(centres, radii, strict=True):
            inside = (y - cy) ** 2 + (x - cx) ** 2 < radius**2
            fine[inside] = rng.uniform(0.8, 1.0)  # grains of gold differ in yield
        found.append(Pair(centres, radii))
    carbon = 0.18 + 0.04 * ndimage.gaussian_filter(rng.normal(size=(SIDE, SIDE)), 4) * 8
    bright = fine.reshape(SIDE, over, SIDE, over).mean(axis=(1, 3))
    return ndimage.gaussian_filter(np.where(bright > 0, bright + carbon * (1 - bright), carbon), 0.5), found


def dip(image: Image, pair: Pair) -> float:
    """Return how deep the dip between two particles is, of the height of the lower one above the carbon."""
    along = pair.centres[1] - pair.centres[0]
    length = float(np.linalg.norm(along))
    way = along / length
    side = np.array([-way[1], way[0]])
    steps = np.arange(0.4 * pair.radii[0], length - 0.4 * pair.radii[1], 0.25)
    lines = [
        ndimage.map_coordinates(image, (pair.centres[0] + shift * side + steps[:, None] * way).T, order=1)
        for shift in (-1.0, 0.0, 1.0)
    ]
    profile = ndimage.gaussian_filter1d(np.mean(lines, axis=0), 1.0)  # of 0.25 pixel
    meet = int(np.argmin(np.abs(steps - length * pair.radii[0] / pair.radii.sum())))
    near = slice(max(meet - 12, 1), min(meet + 13, len(profile) - 1))  # 3 pixels to either side
    lowest = float(profile[near].min())
    top = min(float(profile[: near.start].mean()), float(profile[near.stop :].mean()))
    return (top - lowest) / max(top - float(np.percentile(image, 10)), 1e-9)


def gaps(folder: Path, count: int) -> None:
    """Print the share of gaps that are resolved, and of gaps that are not there."""
    for dose in DOSES:
        known = methods(folder, tuned(dose))
        depth: dict[str, dict[str, list[float]]] = {name: {"gap": [], "none": []} for name in known}
        for seed in range(HELD_OUT, HELD_OUT + count):
            for kind, between in (("gap", (0.5, 2.0)), ("none", (-3.0, -0.5))):
                fine, pairs = particles(seed, between)
                image = expose(coarser(fine, PROBE), Exposure(dose), seed=seed)
                for name, method in known.items():
                    made = method(image)
                    depth[name][kind] += [dip(made, pair) for pair in pairs]
        print(f"{dose:g} electrons, {9 * count} gaps of 0.25 to 1 pixel and as many pairs without")
        for name, found in depth.items():
            limit = float(np.quantile(found["none"], 1 - FALSE))
            recall = float((np.array(found["gap"]) > limit).mean())
            fixed = [float((np.array(found[kind]) > RAYLEIGH).mean()) for kind in ("gap", "none")]
            print(
                f"  {name:24} recall at {FALSE:.0%} false {recall:.3f} (dip > {limit:.2f}); "
                f"dips > {RAYLEIGH}: "
                f"{fixed[0]:.3f} of gaps, {fixed[1]:.3f} where there are none",
                flush=True,
            )


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("images", "gaps"))
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--weights", type=Path, default=weights.FOLDER, help="folder of the weights")
    given = parser.parse_args()
    torch.set_num_threads(1)
    {"images": images, "gaps": gaps}[given.what](given.weights, given.images)


if __name__ == "__main__":
    main()
