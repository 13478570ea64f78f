"""Score `particles`: ``python benchmarks/particles.py simulated``, or the name of a set and its folder.

SET is emps (masks of instances), np_catalyst_stem (boxes) or uhcs_spheroidite (masks, heat treatments).
``tune`` tries settings on simulated images.
"""

from __future__ import annotations

import argparse
import csv
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from micdb.analysis.sizes import ks_distance
from micdb.embed.extractors.particles import Particles
from micdb.embed.micro.objects import measure
from micdb.embed.simulate.microstructures.varied_particles import KINDS, ParticleImage, random_particles
from micdb.embed.simulate.microstructures.view import View
from micdb.embed.train.particle_scores import Matches, f1, matched
from micdb.masks import Mask
from micdb.records import Picture

Labels = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]

_TUNED, _ASKED = 2**44, 2**44 + 10**6  # seeds of simulated images
_FIELD = 256  # [pixel] side of one
_SEEN, _LEAST = 0.3, 4.0  # share of a particle, diameter [pixel]: less need not be found
_FEWEST = 10  # particles of an image whose sizes are compared


@dataclass(frozen=True, slots=True, eq=False)
class Said:
    """What `particles` says of an image: labels, and diameters, weights and boxes of particles."""

    labels: Labels
    diameter: Floats
    weight: Floats
    box: Floats


def said_of(image: Floats, **parameters: float) -> Said:
    """Return what `particles` says."""
    picture = Picture(0, image[None].astype(np.float32), None, None, None, None)
    (answer,) = Particles(**parameters).extract([picture])
    rows = answer.tables["particles"].to_pandas()
    (mask,) = answer.tables["masks"].to_pylist()
    labels = Mask.of_runs(mask["labels"], mask["lengths"], image.shape).labels
    box = np.array(rows["box"].tolist(), float).reshape(-1, 4)
    return Said(labels, rows["diameter_px"].to_numpy(), rows["weight"].to_numpy(), box)


def images(first: int, count: int) -> Iterator[ParticleImage]:
    """Yield simulated images of any kind, median diameters from 6 pixels to 0.3 of the field."""
    for seed in range(first, first + count):
        size = math.exp(np.random.default_rng(seed).uniform(math.log(6), math.log(0.3 * _FIELD)))
        made = random_particles(View((_FIELD, _FIELD), 1.0), seed=seed, diameter=size)
        if np.ptp(made.image):
            yield made


def scored(made: ParticleImage, found: Labels) -> Matches:
    """Match what was found; particles that are small or mostly hidden need not be."""
    labels, whole = np.where(made.hidden, 0, made.scene.instance), made.scene.objects.outlines
    seen = np.bincount(labels.ravel(), minlength=len(whole) + 1)[1:]
    area = np.array([one.mask.sum() for one in whole], np.float64)
    few = (seen < _SEEN * area) | (np.sqrt(4 * area / math.pi) < _LEAST)
    return matched(labels, found, np.flatnonzero(few) + 1)


def mean_f1(matches: list[Matches]) -> float:
    """Return the mean F1 of images that show particles: those with many small ones count no more."""
    return float(np.mean([f1([one])[2] for one in matches if len(one.best)] or [math.nan]))


def told(matches: list[Matches]) -> str:
    """Return what a table says of instances."""
    precision, recall, both = f1(matches)
    union = np.concatenate([one.best for one in matches])
    return (
        f"P {precision:.3f} R {recall:.3f} F1 {both:.3f}, mean of an image {mean_f1(matches):.3f} | "
        f"best IoU of a particle {union.mean() if len(union) else math.nan:.3f}"
    )


def tune(count: int) -> None:
    """Print settings by their mean F1 of a simulated image."""
    made = list(images(_TUNED, count))
    scores = {}
    for blur, least in product((0.7, 1.5, 3.0), (10, 40)):
        hits = [scored(one, said_of(one.image, blur_px=blur, least_px=least).labels) for one in made]
        scores[f"blur {blur} pixel, least area {least} pixels"] = mean_f1(hits)
    for name, score in sorted(scores.items(), key=lambda pair: -pair[1]):
        print_line(f"{score:.3f} {name}")


def simulated(count: int) -> None:
    """Print scores on simulated images, kind by kind."""
    made = list(images(_ASKED, count))
    said = [said_of(one.image) for one in made]
    for kind in [*KINDS, "all"]:
        which = [n for n, one in enumerate(made) if kind in (one.kind, "all")]
        hits = [scored(made[n], said[n].labels) for n in which]
        off = [one for n in which if (one := _median_error(made[n], said[n])) is not None]
        sizes = f"median diameter {100 * np.median(np.abs(off)):.1f} % off" if off else ""
        print_line(f"{kind:12s} {len(which):4d} {told(hits) if kind != 'none' else ''} | {sizes}")
    spurious = [len(one.weight) for image, one in zip(made, said, strict=True) if image.kind == "none"]
    print_line(f"found in an image without particles: {np.mean(spurious):.1f}")


def _median_error(made: ParticleImage, said: Said) -> float | None:
    there = made.scene.objects.diameter[~made.scene.objects.cut]
    whole = said.diameter[said.weight > 0]
    if len(there) < _FEWEST or not len(whole):
        return None
    return float(np.median(whole) / np.median(there) - 1)


def emps(folder: Path) -> None:
    """Print scores against masks of instances."""
    hits, far = [], []
    for row in _sheet(folder / "labels.csv"):
        there = np.asarray(Image.open(folder / row["mask"])).astype(np.int32)
        said = said_of(_grey(folder / row["image"]))
        hits.append(matched(there, said.labels))
        one = measure(there)
        whole = one.diameter[~one.on_edge]
        if len(whole) >= _FEWEST and (said.weight > 0).any():
            far.append(ks_distance(said.diameter[said.weight > 0], whole))
    print_line(f"{len(hits)} images: {told(hits)} | KS of sizes {np.mean(far):.3f} ({len(far)} images)")


def np_catalyst_stem(folder: Path) -> None:
    """Print scores against boxes."""
    boxes: dict[str, list[list[float]]] = {}
    for row in _sheet(folder / "boxes.csv"):
        boxes.setdefault(row["image"], []).append([float(row[name]) for name in ("x0", "y0", "x1", "y1")])
    right, wrong, missed = np.sum(
        [_boxes_matched(np.array(there), said_of(_grey(folder / file))) for file, there in boxes.items()],
        axis=0,
    )
    print_line(
        f"{len(boxes)} images, {right + missed} boxes: P {right / (right + wrong):.3f} "
        f"R {right / (right + missed):.3f} F1 {2 * right / (2 * right + wrong + missed):.3f}"
    )


def _boxes_matched(there: Floats, said: Said) -> tuple[int, int, int]:
    """Return right, wrong and missed boxes by intersection over union from 0.5."""
    low, high = said.box[:, :2], said.box[:, :2] + said.box[:, 2:]
    sides = np.minimum(high[:, None], there[None, :, 2:]) - np.maximum(low[:, None], there[None, :, :2])
    both = np.maximum(sides, 0).prod(axis=2)
    areas = (high - low).prod(axis=1)[:, None] + (there[:, 2:] - there[:, :2]).prod(axis=1)[None]
    union = both / (areas - both)
    free = np.ones(len(there), bool)
    for one in np.argsort(-union.max(axis=1, initial=0.0), kind="stable"):
        best = int(np.argmax(np.where(free, union[one], 0)))
        if free[best] and union[one, best] >= 0.5:
            free[best] = False
    right = int((~free).sum())
    return right, len(said.weight) - right, int(free.sum())


def uhcs_spheroidite(folder: Path) -> None:
    """Print pixel scores against masks, and the mean diameter by area after each heat treatment at 800 C."""
    table = np.zeros((2, 2), int)
    sizes: dict[int, list[tuple[Floats, Floats]]] = {}
    rows = list(_sheet(folder / "labels.csv"))
    for row in rows:
        there = np.asarray(Image.open(folder / row["mask"])) > 0
        said = said_of(_grey(folder / row["image"]))
        table += np.bincount(2 * there.ravel() + (said.labels > 0).ravel(), minlength=4).reshape(2, 2)
        if row["um_per_px"] and float(row["anneal_temperature_C"]) == 800:
            step, parts = float(row["um_per_px"]), measure(ndimage.label(there)[0])
            hours = round(float(row["anneal_minutes"]) / 60)
            sizes.setdefault(hours, []).append((said.diameter * step, parts.diameter * step))
    union = np.diag(table) / (table.sum(0) + table.sum(1) - np.diag(table))
    matrix, particle = 100 * union
    print_line(
        f"{len(rows)} images: IU matrix {matrix:.1f}, particles {particle:.1f}, mean {union.mean():.3f}"
    )
    for hours, pairs in sorted(sizes.items()):
        found, masks = (_by_area(np.concatenate(one)) for one in zip(*pairs, strict=True))
        print_line(f"800 C, {hours} h: {found:.2f} um (masks {masks:.2f} um)")


def _by_area(diameter: Floats) -> float:
    return float((diameter**3).sum() / (diameter**2).sum())


def _grey(path: Path) -> Floats:
    return np.asarray(Image.open(path).convert("L"), np.float64)


def _sheet(path: Path) -> Iterator[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file)


def print_line(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> None:
    """Print the table of a set."""
    sets = {"emps": emps, "np_catalyst_stem": np_catalyst_stem, "uhcs_spheroidite": uhcs_spheroidite}
    parser = argparse.ArgumentParser()
    parser.add_argument("set", choices=["tune", "simulated", *sets])
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--count", type=int, default=100, help="simulated images")
    asked = parser.parse_args()
    if asked.set in sets:
        sets[asked.set](asked.folder)
    else:
        {"tune": tune, "simulated": simulated}[asked.set](asked.count)


if __name__ == "__main__":
    main()
