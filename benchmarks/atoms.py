"""Score `stem-atoms` beside AtomAI and a tuned LoG on the same images: ``python benchmarks/atoms.py``.

T0 has the kinds of image the network was taught with (other seeds; the four crystals were never shown by
name), T1 what it was not: another probe with more tail, stronger drift and contamination. AtomAI is trained
here with its defaults (500 cycles of 8) on 400 scenes of the same generator at the very pixel size of the
test. Then dumbbells are measured, and images of 1024 x 1024 pixels timed.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from atoms_peers import Finder, atomai_finder, log_finder
from scipy.spatial import cKDTree
from skimage.feature import blob_log

from micdb.embed.atoms.heat_map import draw
from micdb.embed.extractors.peaks import Peaks
from micdb.embed.extractors.stem_atoms import StemAtoms
from micdb.embed.graph import neighbours
from micdb.embed.simulate.lattices import crystal
from micdb.embed.simulate.scoring import Score, score
from micdb.embed.simulate.silicon import dumbbells
from micdb.embed.simulate.stem import Probe, StemImage, adf_image
from micdb.embed.train.atoms import scene
from micdb.populate.extractor import Extractor
from micdb.records import Picture, Refusal

Floats = npt.NDArray[np.float64]

MATERIALS = ("graphene", "MoS2", "SrTiO3[001]", "Au[001]")
COUNTS = (3.0, 10.0, 50.0)  # in the brightest pixel
PIXEL = 0.016  # [nm]
SIDE = 192  # [pixel]
BACKGROUND = 0.1  # of the peak
SIGMA = 0.04  # [nm] of the probe


def simulate(material: str, *, counts: float, seed: int, tier: str) -> StemImage:
    """Return one image of a crystal."""
    field = (SIDE * PIXEL, SIDE * PIXEL)
    rng = np.random.default_rng(seed)
    columns = crystal(material, field, seed=seed, rotation=rng.uniform(0, 360), jitter=0.004, vacancies=3)
    if tier == "T0":
        return adf_image(
            columns, (SIDE, SIDE), pixel_size=PIXEL, seed=seed, counts=counts, background=BACKGROUND,
            contamination=0.2, probe=Probe(SIGMA, 0.15, 0.085), drift=(0.02, 0.01), line_jitter=0.001,
        )  # fmt: skip
    return adf_image(
        columns, (SIDE, SIDE), pixel_size=PIXEL, seed=seed, counts=counts, background=BACKGROUND,
        contamination=0.4, probe=Probe(0.036, 0.4, 0.1), drift=(0.1, -0.08), line_jitter=0.004,
    )  # fmt: skip


def extractor_finder(extractor: Extractor, pixel: float = PIXEL) -> Finder:
    """Return an extractor as a finder in images of a pixel size [nm]; a refusal finds nothing."""

    def find(image: npt.NDArray[np.float32]) -> Floats:
        (answer,) = extractor.extract([Picture(0, image[None], (pixel, pixel), "STEM", None, "")])
        if isinstance(answer, Refusal):
            return np.empty((0, 2))
        return answer.tables["atoms"].select(["x_px", "y_px"]).to_pandas().to_numpy(float)

    return find


def mean(find: Finder, images: list[StemImage]) -> tuple[float, float]:
    """Return mean F1 and root mean square error [pm]."""
    scores = []
    for one in images:
        xy = find(one.image)
        scores.append(score(xy * PIXEL, one) if len(xy) else Score(0.0, float("nan")))
    rms = np.array([one.rms for one in scores])
    return float(np.mean([one.f1 for one in scores])), float(np.sqrt(np.nanmean(rms**2))) * 1e3


def cramer_rao(simulated: StemImage, counts: float) -> float:
    """Return the bound on a coordinate [pm]: columns of known width and height, each with its neighbours."""
    share = simulated.weight / simulated.weight.max()
    sigma = SIGMA / PIXEL
    axis = np.arange(SIDE)
    xy = simulated.xy / PIXEL
    across = np.exp(-0.5 * ((axis - xy[:, :1]) / sigma) ** 2)
    down = np.exp(-0.5 * ((axis - xy[:, 1:]) / sigma) ** 2)
    expected = counts * (np.einsum("n,ny,nx->yx", share, down, across) + BACKGROUND + 0.1) + 0.09
    slope = across * (axis - xy[:, :1]) / sigma**2
    information = np.einsum("ny,nx,yx->n", (counts * share[:, None] * down) ** 2, slope**2, 1 / expected)
    inner = ((xy > 3 * sigma) & (xy < SIDE - 3 * sigma)).all(axis=1)
    return float(np.sqrt(np.mean(1 / information[inner]))) * PIXEL * 1e3


def accuracy(seeds: int, peers: dict[str, Callable[[list[StemImage]], Finder]]) -> None:
    """Print F1 and error by tier, material and dose."""
    for tier in ("T0", "T1"):
        head = " | ".join(f"{name:>10} F1  rms" for name in peers)
        print(f"\n{tier}\n{'material':12} counts | {head} | bound [pm]")
        for material, counts in itertools.product(MATERIALS, COUNTS):
            tuning = [simulate(material, counts=counts, seed=900 + n, tier=tier) for n in range(2)]
            images = [simulate(material, counts=counts, seed=n, tier=tier) for n in range(seeds)]
            row = " | ".join(
                f"{f1:13.3f} {rms:4.1f}"
                for f1, rms in (mean(make(tuning), images) for make in peers.values())
            )
            print(f"{material:12} {counts:6g} | {row} | {cramer_rao(images[0], counts):5.1f}", flush=True)


def trained_atomai(seed: int) -> Finder:
    """Return AtomAI trained on 400 scenes at the pixel size of the test."""
    scenes = [scene(10_000 * (seed + 1) + n, pixel=PIXEL) for n in range(400)]
    masks = np.stack([draw(one.xy, one.image.shape) > 0.5 for one in scenes]).astype(np.float32)
    find, cost = atomai_finder(np.stack([one.image for one in scenes]), masks, seed=seed)
    print(
        f"AtomAI: {cost['parameters']:.0f} parameters, trained in {cost['seconds']:.0f} s of processor time"
    )
    return find


def pairs(seeds: int) -> None:
    """Print how well the two columns of dumbbells are told apart: their distance and direction."""
    print(
        "\ndumbbells, 20 counts: F1, bias and spread of their distance [pm], spread of their direction [deg]"
    )
    for material, width in itertools.product(("Si", "GaAs"), (0.03, 0.04)):
        scores, distance, turn = [], [], []
        for seed in range(seeds):
            source = dumbbells(material, (256 * 0.01, 256 * 0.01), seed=seed, rotation=13.0 * seed)
            one = adf_image(
                source, (256, 256), pixel_size=0.01, seed=seed, counts=20.0, probe=Probe(width, 0.1, 0.085)
            )
            xy = extractor_finder(StemAtoms(), 0.01)(one.image) * 0.01
            scores.append(score(xy, one).f1)
            off, nearest = cKDTree(xy).query(one.xy)
            i, j, _ = neighbours(one.xy, 0.15)  # nm: of a pair; the next column is 0.25 away
            seen = (off[i] < 0.05) & (off[j] < 0.05)
            truth, found = (one.xy[i] - one.xy[j])[seen], (xy[nearest[i]] - xy[nearest[j]])[seen]
            distance.append(np.hypot(*found.T) - np.hypot(*truth.T))
            turn.append(np.degrees(np.arctan2(*found.T[::-1]) - np.arctan2(*truth.T[::-1])))
        off = np.concatenate(distance) * 1e3
        angle = (np.concatenate(turn) + 180) % 360 - 180
        measured = f"{np.mean(scores):.3f}  {off.mean():5.2f} {off.std():5.2f}  {angle.std():5.2f}"
        print(f"{material:5} probe {width:.2f} nm: {measured}")


def plain_log(image: npt.NDArray[np.float32]) -> Floats:
    """Return the blobs of ``blob_log`` with ten widths, as one uses it where the width is not known."""
    value = (image - image.min()) / np.ptp(image)
    return np.asarray(
        blob_log(value, min_sigma=3, max_sigma=8, num_sigma=10, threshold=0.05)[:, 1::-1], float
    )


def speed(atomai: Finder | None) -> None:
    """Print the median time of an image of 1024 x 1024 pixels with about 2,500 atoms.

    AtomAI was taught at another pixel size: only its time is of interest here.
    """
    pixel = 0.0081  # [nm] so that graphene has about 2,500 atoms in the field
    finders = {
        "stem-atoms": extractor_finder(StemAtoms(), pixel),
        "peaks": extractor_finder(Peaks(), pixel),
        "LoG": plain_log,
    }
    if atomai is not None:
        finders["AtomAI"] = atomai
    columns = crystal("graphene", (1024 * pixel, 1024 * pixel), seed=0, jitter=0.004)
    one = adf_image(
        columns, (1024, 1024), pixel_size=pixel, seed=0, counts=20.0, probe=Probe(SIGMA, 0.15, 0.085)
    )
    print(f"\n1024 x 1024 pixels, {len(one.xy)} atoms, median of processor time")
    for name, find in finders.items():
        times = []
        for _ in range(3 if name in ("AtomAI", "LoG") else 7):
            start = time.process_time()
            xy = find(one.image)
            times.append(time.process_time() - start)
        found = score(xy * pixel, one)
        print(
            f"{name:10} {1 / np.median(times):6.2f} images/s  F1 {found.f1:.3f}  rms {found.rms * 1e3:.1f} pm"
        )


def main() -> None:
    """Print the tables."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seeds", type=int, default=5)
    arguments.add_argument("--no-atomai", action="store_true")
    given = arguments.parse_args()
    torch.set_num_threads(1)
    ours = extractor_finder(StemAtoms())
    peers: dict[str, Callable[[list[StemImage]], Finder]] = {
        "stem-atoms": lambda _: ours,
        "peaks": lambda _: extractor_finder(Peaks()),
        "tuned LoG": log_finder,
    }
    atomai = None if given.no_atomai else trained_atomai(0)
    if atomai is not None:
        peers["AtomAI"] = lambda _: atomai
    sys.stdout.flush()
    accuracy(given.seeds, peers)
    pairs(given.seeds)
    speed(atomai)


if __name__ == "__main__":
    main()
