"""Score `segment` on annotated micrographs: ``python benchmarks/segment.py SET FOLDER [--shots N]``.

SET is uhcs_segment, uhcs_spheroidite, metaldam or nasa_super, FOLDER holds its images, masks and labels.csv.
Images are parted by specimen where it is known, else one by one; nasa_super has a split of its authors. The
network is taught with the others and asked for those left out; intersection over union is that of all pixels
left out. In the same run, with the same images: a random forest on multi-scale features, which is what
trainable segmentation plug-ins do. ``--shots`` teaches with so few images of each fold, ``--untaught`` begins
with random weights instead of `micro`, ``--alone`` leaves the forest out. The calibration error is that of
the probability of the class of each pixel.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from skimage.feature import multiscale_basic_features
from sklearn.ensemble import RandomForestClassifier

from micdb.embed.micro.segmenter import probabilities
from micdb.embed.micro.view import view
from micdb.embed.nets import weights
from micdb.embed.nets.unet import UNet
from micdb.embed.train import segment
from micdb.embed.train.loop import Schedule
from micdb.embed.train.segment import Example
from micdb.masks import Mask

CLASSES = {
    "uhcs_segment": ("matrix", "network", "spheroidite", "widmanstatten"),
    "uhcs_spheroidite": ("matrix", "particle"),
    "metaldam": ("matrix", "austenite", "martensite/austenite", "precipitate", "defect"),
    "nasa_super": ("matrix", "secondary", "tertiary"),
}
GROUP = {"uhcs_segment": "sample_key", "uhcs_spheroidite": "sample_key"}
_PIXELS = 4000  # of each image that teach the forest
_TREES = 60
_BINS = 15  # of probabilities


@dataclass(frozen=True, slots=True, eq=False)
class Annotated:
    """An image with its mask, and the group that it is left out with."""

    example: Example
    group: str
    role: str


def load(name: str, folder: Path) -> list[Annotated]:
    """Return the images of a set."""
    found = []
    with (folder / "labels.csv").open(newline="", encoding="utf-8") as sheet:
        for number, row in enumerate(csv.DictReader(sheet)):
            pixels = np.asarray(
                Image.open(folder / row.get("image", row.get("file", ""))).convert("L"), float
            )
            labels = np.asarray(Image.open(folder / row["mask"])).astype(int)
            labels = np.where(labels < len(CLASSES[name]), labels, -1)
            mask = Mask(labels, CLASSES[name])
            role = row.get("Super1", "") or ""
            found.append(Annotated(Example(pixels, mask), row.get(GROUP.get(name, ""), str(number)), role))
    return found


def folds(images: Sequence[Annotated], count: int) -> Iterator[tuple[list[Annotated], list[Annotated]]]:
    """Yield what teaches and what is asked."""
    if any(one.role for one in images):
        yield [one for one in images if one.role == "train"], [one for one in images if one.role == "test"]
        return
    groups = sorted({one.group for one in images})
    order = np.random.default_rng(0).permutation(len(groups))
    for part in np.array_split(order, min(count, len(groups))):
        out = {groups[one] for one in part}
        yield [one for one in images if one.group not in out], [one for one in images if one.group in out]


def few(images: list[Annotated], shots: int, seed: int) -> list[Annotated]:
    """Return so few of the images that teach; all for 0."""
    return list(np.random.default_rng(seed).permutation(np.array(images, object)))[: shots or None]


class Calibration:
    """How often what is said with a probability is right."""

    def __init__(self) -> None:
        self._count, self._right, self._said = (np.zeros(_BINS) for _ in range(3))

    def add(self, share: npt.NDArray[np.floating], right: npt.NDArray[np.bool_]) -> None:
        """Take the probabilities of what was said, and whether it is so."""
        place = np.minimum((share * _BINS).astype(int), _BINS - 1)
        self._count += np.bincount(place, minlength=_BINS)
        self._right += np.bincount(place, right, _BINS)
        self._said += np.bincount(place, share, _BINS)

    def error(self) -> float:
        """Return the expected calibration error."""
        return float(np.abs(self._right - self._said).sum() / max(self._count.sum(), 1))


def untaught(classes: int) -> UNet:
    """Return the same network with random weights."""
    return UNet(**{**weights.card(segment.START).network, "channels_out": classes})


def by_forest(taught_with: Sequence[Annotated]) -> RandomForestClassifier:
    """Return a forest on multi-scale features."""
    rng = np.random.default_rng(0)
    values, truth = [], []
    for one in taught_with:
        known = np.flatnonzero(one.example.mask.labels.ravel() >= 0)
        chosen = rng.choice(known, min(_PIXELS, len(known)), replace=False)
        values.append(features(one)[chosen])
        truth.append(one.example.mask.labels.ravel()[chosen])
    forest = RandomForestClassifier(
        _TREES, min_samples_leaf=4, class_weight="balanced", random_state=0, n_jobs=1
    )
    return forest.fit(np.concatenate(values), np.concatenate(truth))


def features(one: Annotated) -> npt.NDArray[np.float32]:
    """Return multi-scale features ``(pixels, n)``."""
    seen = view(one.example.pixels)
    made = multiscale_basic_features(seen, sigma_min=1, sigma_max=16)
    return np.asarray(made.reshape(-1, made.shape[-1]), np.float32)


def confusion(
    truth: npt.NDArray[np.integer], found: npt.NDArray[np.integer], n: int
) -> npt.NDArray[np.int64]:
    """Return counts ``(truth, found)`` of the pixels that are known."""
    known = truth >= 0
    return np.bincount(truth[known] * n + found[known], minlength=n * n).reshape(n, n)


def told(table: npt.NDArray[np.int64]) -> str:
    """Return intersections over unions in per cent, their mean, and the accuracy."""
    union = table.sum(0) + table.sum(1) - np.diag(table)
    share = 100 * np.diag(table) / np.maximum(union, 1)
    there = table.sum(1) > 0
    each = " ".join(f"{one:5.1f}" for one in share)
    return f"{each} | mean {share[there].mean():5.1f} | accuracy {100 * np.trace(table) / table.sum():5.1f}"


def main() -> None:
    """Print a row for each method."""
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser()
    parser.add_argument("set", choices=CLASSES)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--folds", type=int, default=6)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--shots", type=int, default=0)
    parser.add_argument("--untaught", action="store_true")
    parser.add_argument("--alone", action="store_true")
    asked = parser.parse_args()
    if asked.untaught:
        segment.begun = untaught
    names = CLASSES[asked.set]
    n, images = len(names), load(asked.set, asked.folder)
    ours, floor, seconds = np.zeros((n, n), int), np.zeros((n, n), int), 0.0
    sure = Calibration()
    for number, (rest, ask) in enumerate(folds(images, asked.folds)):
        start = time.process_time()
        teach = few(rest, asked.shots, number)
        schedule = Schedule(asked.steps, rate=2e-3)
        network, classes, _ = segment.taught([one.example for one in teach], schedule)
        seconds += time.process_time() - start
        order = np.array([names.index(name) for name in classes])
        forest = None if asked.alone else by_forest(teach)
        for one in ask:
            truth = one.example.mask.labels
            share = probabilities(one.example.pixels, network)
            found = order[share.argmax(0)]
            ours += confusion(truth, found, n)
            sure.add(share.max(0)[truth >= 0], (found == truth)[truth >= 0])
            if forest:
                floor += confusion(truth, forest.predict(features(one)).reshape(truth.shape), n)
        sys.stdout.write(f"fold {number}: {len(teach)} teach, {len(ask)} asked; {told(ours)}\n")
        sys.stdout.flush()
    sys.stdout.write(f"{asked.set}: {', '.join(names)}\n")
    sys.stdout.write(f"segment        {told(ours)}\n")
    if not asked.alone:
        sys.stdout.write(f"random forest  {told(floor)}\n")
    sys.stdout.write(f"calibration error {sure.error():.3f}\n")
    sys.stdout.write(f"processor time of teaching {seconds:.0f} s\n")


if __name__ == "__main__":
    main()
