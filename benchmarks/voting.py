"""One phase for each object against one for each pixel: ``python benchmarks/voting.py``.

Colonies of pearlite, bainite, martensite and tempered martensite lie in ferrite, simulated. `segment` learns
from some images and is asked for others: pixels as they are, and `voted` with ferrite as the background. Of
an object the phase of most of its pixels counts. In the same run: a random forest on Gabor-like multi-scale
features and local binary patterns of whole objects, which is told their true outlines.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np
import numpy.typing as npt
import torch
from skimage.feature import local_binary_pattern, multiscale_basic_features
from sklearn.ensemble import RandomForestClassifier

from micdb.embed.micro.segmenter import probabilities, voted
from micdb.embed.micro.view import view
from micdb.embed.simulate.microstructures.composite import CONSTITUENTS, Constituent, mixture
from micdb.embed.simulate.microstructures.sem import Detector, scan
from micdb.embed.simulate.microstructures.view import View
from micdb.embed.train.loop import Schedule
from micdb.embed.train.segment import Example, taught
from micdb.masks import Mask

_FERRITE = 6  # colonies of ferrite for one of each other constituent
_LEAST = 200  # [pixel] of an object that is asked about
_SIDE = 320  # [pixel]

Ints = npt.NDArray[np.integer]


def image(seed: int) -> tuple[npt.NDArray[np.float64], Ints, Ints]:
    """Return pixels, phases and objects ``(y, x)``."""
    drawn: list[Constituent] = ["ferrite"] * (_FERRITE - 1) + list(CONSTITUENTS)
    scene = mixture(View((_SIDE, _SIDE), 20.0), colony=900.0, spacing=0.12, seed=seed, constituents=drawn)
    label = np.maximum(scene.label.astype(int) - (_FERRITE - 1), 0)
    pixels = scan(scene, Detector(electrons=80.0), seed=seed).astype(float)
    return pixels, label, np.where(label > 0, scene.instance, 0)


def told_object(found: Ints, truth: Ints, objects: Ints) -> list[bool]:
    """Return of each object whether most of its pixels have its phase."""
    right = []
    for number in np.unique(objects[objects > 0]):
        inside = objects == number
        if inside.sum() >= _LEAST:
            right.append(bool(np.bincount(found[inside]).argmax() == truth[inside][0]))
    return right


def features(pixels: npt.NDArray[np.float64], objects: Ints) -> tuple[list[int], npt.NDArray[np.float64]]:
    """Return the numbers of the objects, and means and histograms ``(objects, n)``."""
    seen = view(pixels)
    maps = multiscale_basic_features(seen, sigma_min=0.7, sigma_max=8)
    bytes_ = np.clip(127 * (seen + 1), 0, 255).astype(np.uint8)
    patterns = local_binary_pattern(bytes_, 8, 1, "uniform").astype(int)
    numbers = [int(one) for one in np.unique(objects[objects > 0]) if (objects == one).sum() >= _LEAST]
    rows = []
    for number in numbers:
        inside = objects == number
        histogram = np.bincount(patterns[inside], minlength=10) / inside.sum()
        rows.append(np.concatenate((maps[inside].mean(axis=0), maps[inside].std(axis=0), histogram)))
    return numbers, np.array(rows)


def forest(images: list[tuple[npt.NDArray[np.float64], Ints, Ints]], teach: int) -> float:
    """Return the accuracy of objects by a random forest that knows their outlines."""
    rows, truth, of = [], [], []
    for index, (pixels, label, objects) in enumerate(images):
        numbers, found = features(pixels, objects)
        rows.append(found)
        truth += [int(label[objects == number][0]) for number in numbers]
        of += [index] * len(numbers)
    values, right, from_ = np.concatenate(rows), np.array(truth), np.array(of)
    model = RandomForestClassifier(200, class_weight="balanced", random_state=0)
    model.fit(values[from_ < teach], right[from_ < teach])
    return float(model.score(values[from_ >= teach], right[from_ >= teach]))


def main() -> None:
    """Print accuracies of pixels and of objects."""
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser()
    parser.add_argument("--teach", type=int, default=6)
    parser.add_argument("--ask", type=int, default=12)
    parser.add_argument("--steps", type=int, default=600)
    asked = parser.parse_args()
    images = [image(seed) for seed in range(asked.teach + asked.ask)]
    examples = [Example(pixels, Mask(label, CONSTITUENTS)) for pixels, label, _ in images[: asked.teach]]
    network, classes, seconds = taught(examples, Schedule(asked.steps, rate=2e-3))
    order = np.array([CONSTITUENTS.index(one) for one in classes])
    pixels_right: dict[str, list[float]] = {"pixel by pixel": [], "object by object": []}
    objects_right: dict[str, list[bool]] = {"pixel by pixel": [], "object by object": []}
    for pixels, label, objects in images[asked.teach :]:
        share = probabilities(pixels, network)
        both = {"pixel by pixel": share, "object by object": voted(share, classes.index("ferrite"))}
        for name, one in both.items():
            found = order[one.argmax(axis=0)]
            pixels_right[name].append(float((found == label).mean()))
            objects_right[name] += told_object(found, label, objects)
    for name, right in objects_right.items():
        share_right = np.mean(pixels_right[name])
        sys.stdout.write(
            f"{name:18} pixels {share_right:.3f}, objects {np.mean(right):.3f} of {len(right)}\n"
        )
    sys.stdout.write(f"random forest of whole objects {forest(images, asked.teach):.3f}\n")
    sys.stdout.write(f"processor time of teaching {seconds:.0f} s\n")


if __name__ == "__main__":
    main()
