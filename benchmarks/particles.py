"""Score `particles`: ``python benchmarks/particles.py simulated``, or the name of a set and its folder.

SET is emps (masks of instances), np_catalyst_stem or insitu_tem_loops (boxes), or uhcs_spheroidite (masks,
heat treatments). ``--method threshold`` asks Otsu's threshold instead of the network. ``--taught`` teaches
`segment` with the specimens of uhcs_spheroidite that had another heat treatment, and measures sizes by its
phase. ``tune`` tries settings of the threshold on simulated images.
"""

from __future__ import annotations

import argparse
import csv
import math
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import defect_seg_loops
import numpy as np
import numpy.typing as npt
import segment
from PIL import Image
from scipy import ndimage

from micdb.analysis.sizes import ks_distance
from micdb.embed.extractors.particles import Particles
from micdb.embed.micro.objects import measure
from micdb.embed.simulate.microstructures.varied_particles import KINDS, ParticleImage
from micdb.embed.train.particle_measures import images, mean_f1, scored
from micdb.embed.train.particle_scores import Matches, f1, matched
from micdb.embed.train.segment import teach
from micdb.masks import Mask
from micdb.records import Picture

Labels = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]

_TUNED, _ASKED = 2**44, 2**44 + 10**6  # seeds of simulated images
_FEWEST = 10  # particles of an image whose sizes are compared


@dataclass(frozen=True, slots=True, eq=False)
class Said:
    """What `particles` says of an image: labels, and diameters, weights and boxes x0, y0, x1, y1."""

    labels: Labels
    diameter: Floats
    weight: Floats
    box: Floats


def said_of(image: Floats, asked: Particles) -> Said:
    """Return what `particles` says, the surest first."""
    picture = Picture(0, image[None].astype(np.float32), None, None, None, None)
    (answer,) = asked.extract([picture])
    rows = answer.tables["particles"].to_pandas().sort_values("score", ascending=False, kind="stable")
    (mask,) = answer.tables["masks"].to_pylist()
    labels = Mask.of_runs(mask["labels"], mask["lengths"], image.shape).labels
    box = np.array(rows["box"].tolist(), float).reshape(-1, 4)
    box[:, 2:] += box[:, :2]
    return Said(labels, rows["diameter_px"].to_numpy(), rows["weight"].to_numpy(), box)


def told(matches: list[Matches]) -> str:
    """Return what a table says of instances."""
    precision, recall, both = f1(matches)
    union = np.concatenate([one.best for one in matches])
    return (
        f"P {precision:.3f} R {recall:.3f} F1 {both:.3f}, mean of an image {mean_f1(matches):.3f} | "
        f"best IoU of a particle {union.mean() if len(union) else math.nan:.3f}"
    )


def tune(count: int) -> None:
    """Print settings of the threshold by their mean F1 of a simulated image."""
    made = list(images(_TUNED, count))
    scores = {}
    for blur, least in product((0.7, 1.5, 3.0), (10, 40)):
        asked = Particles(method="threshold", blur_px=blur, least_px=least)
        hits = [scored(one, said_of(one.image, asked).labels) for one in made]
        scores[f"blur {blur} pixel, least area {least} pixels"] = mean_f1(hits)
    for name, score in sorted(scores.items(), key=lambda pair: -pair[1]):
        print_line(f"{score:.3f} {name}")


def simulated(count: int, asked: Particles) -> None:
    """Print scores on simulated images, kind by kind."""
    made = list(images(_ASKED, count))
    said = [said_of(one.image, asked) for one in made]
    for kind in [*KINDS, "all"]:
        which = [n for n, one in enumerate(made) if kind in (one.kind, "all")]
        if not which:
            continue
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


def emps(folder: Path, asked: Particles) -> None:
    """Print scores against masks of instances."""
    hits, far = [], []
    for row in _sheet(folder / "labels.csv"):
        there = np.asarray(Image.open(folder / row["mask"])).astype(np.int32)
        said = said_of(_grey(folder / row["image"]), asked)
        hits.append(matched(there, said.labels))
        one = measure(there)
        whole = one.diameter[~one.on_edge]
        if len(whole) >= _FEWEST and (said.weight > 0).any():
            far.append(ks_distance(said.diameter[said.weight > 0], whole))
    print_line(f"{len(hits)} images: {told(hits)} | KS of sizes {np.mean(far):.3f} ({len(far)} images)")


def np_catalyst_stem(folder: Path, asked: Particles) -> None:
    """Print scores against boxes."""
    _by_boxes(folder, lambda image, boxes: (said_of(image, asked).box, boxes))


def insitu_tem_loops(folder: Path, asked: Particles) -> None:
    """Print scores against boxes, without what is burned into the images."""

    def pair(image: Floats, boxes: Floats) -> tuple[Floats, Floats]:
        found = said_of(image[defect_seg_loops._FIELD], asked).box
        return defect_seg_loops.clear(found), defect_seg_loops.clear(boxes)

    _by_boxes(folder, pair)


def _by_boxes(folder: Path, pair: Callable[[Floats, Floats], tuple[Floats, Floats]]) -> None:
    """Print how many boxes are found: by the centre of what was found in one, and by half of the union."""
    boxes: dict[str, list[list[float]]] = {}
    for row in _sheet(folder / "boxes.csv"):
        boxes.setdefault(row["image"], []).append([float(row[name]) for name in ("x0", "y0", "x1", "y1")])
    pairs = [pair(_grey(folder / file), np.array(there)) for file, there in sorted(boxes.items())]
    said, there = (sum(len(one[side]) for one in pairs) for side in (0, 1))
    print_line(f"{len(boxes)} images, {there} boxes, {said} found")
    for how in ("centre", "overlap"):
        hits = sum(defect_seg_loops.matched(*one, how == "overlap") for one in pairs)
        print_line(
            f"by {how}: P {hits / max(said, 1):.3f} R {hits / there:.3f} F1 {2 * hits / (said + there):.3f}"
        )


def uhcs_spheroidite(folder: Path, asked: Particles) -> None:
    """Print pixel scores against masks, and the mean diameter by area after each heat treatment at 800 C."""
    _spheroidite(folder, list(_sheet(folder / "labels.csv")), lambda _: asked)


def taught(folder: Path) -> None:
    """Print the same of the specimens at 800 C, each by a `segment` that was taught with all the others."""
    rows = list(_sheet(folder / "labels.csv"))
    images = segment.load("uhcs_spheroidite", folder)
    made: dict[str, Particles] = {}
    with tempfile.TemporaryDirectory() as place:
        for group in sorted({row["sample_key"] for row in rows if _at_800(row)}):
            others = [one.example for one in images if one.group not in (group, "")]
            teach(others, Path(place) / group)
            made[group] = Particles(weights=f"{place}/{group}/segment.safetensors", phase="particle")
        _spheroidite(
            folder, [row for row in rows if row["sample_key"] in made], lambda row: made[row["sample_key"]]
        )


def _at_800(row: dict[str, str]) -> bool:
    return bool(row["um_per_px"]) and float(row["anneal_temperature_C"]) == 800


def _spheroidite(
    folder: Path, rows: list[dict[str, str]], asked: Callable[[dict[str, str]], Particles]
) -> None:
    table = np.zeros((2, 2), int)
    sizes: dict[int, list[tuple[Floats, Floats]]] = {}
    for row in rows:
        there = np.asarray(Image.open(folder / row["mask"])) > 0
        said = said_of(_grey(folder / row["image"]), asked(row))
        table += np.bincount(2 * there.ravel() + (said.labels > 0).ravel(), minlength=4).reshape(2, 2)
        if _at_800(row):
            step, parts = float(row["um_per_px"]), measure(ndimage.label(there)[0])
            hours = round(float(row["anneal_minutes"]) / 60)
            sizes.setdefault(hours, []).append((said.diameter * step, parts.diameter * step))
    union = np.diag(table) / (table.sum(0) + table.sum(1) - np.diag(table))
    matrix, particle = 100 * union
    print_line(
        f"{len(rows)} images: IU matrix {matrix:.1f}, particles {particle:.1f}, mean {100 * union.mean():.1f}"
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
    sets = {
        "emps": emps, "np_catalyst_stem": np_catalyst_stem, "insitu_tem_loops": insitu_tem_loops,
        "uhcs_spheroidite": uhcs_spheroidite,
    }  # fmt: skip
    parser = argparse.ArgumentParser()
    parser.add_argument("set", choices=["tune", "simulated", *sets])
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--count", type=int, default=100, help="simulated images")
    parser.add_argument("--method", default="network", choices=["network", "threshold"])
    parser.add_argument("--taught", action="store_true", help="by the phases of segment")
    given = parser.parse_args()
    asked = Particles(method=given.method)
    if given.set == "tune":
        tune(given.count)
    elif given.set == "simulated":
        simulated(given.count, asked)
    elif given.taught:
        taught(given.folder)
    else:
        sets[given.set](given.folder, asked)


if __name__ == "__main__":
    main()
