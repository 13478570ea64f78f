"""Score `defect-seg` on loops of an in-situ film with hand-drawn boxes; nothing is trained or tuned on them.

FOLDER holds ``images/`` and ``boxes.csv`` of Shen et al., Comput. Mater. Sci. (2021), doi
10.1016/j.commatsci.2021.110560: loops in Fe-18Cr-3Al under ions, whose published F1 is 0.89. A detection is
right when its centre lies in a box, or when its box and that one overlap by half; each box counts once.
Frames below 800 of the film but 126 and 156 are those the thresholds of others may be chosen on, the rest is
held out. In diffraction contrast a loop smaller than its image's width is a dark spot like a precipitate, so
that all dark objects together are scored beside the loops.
"""

from __future__ import annotations

import csv
from pathlib import Path

import defect_seg_peers as peers
import numpy as np
from PIL import Image

from micdb.embed.extractors.defect_seg import probabilities
from micdb.embed.micro.foil_defects import foil_defects

_PIXEL = 0.373  # [nm] 100 nm are 268 pixels of the bar
_FIELD = (slice(0, 828), slice(0, 1334))  # [pixel] without caption and border
_BURNED_IN = ((700, 828, 0, 340), (750, 828, 1060, 1334))  # [pixel] rows and columns of bar and text
_HELD_OUT = {126, 156}
_OVERLAP = 0.5
_LEAST = 0.3  # probability


def matched(found: np.ndarray, boxes: np.ndarray, overlap: bool) -> int:
    """Return how many boxes ``(m, 4)`` x0, y0, x1, y1 are found by boxes ``(n, 4)``, the best first."""
    size = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    free, hits = np.ones(len(boxes), dtype=bool), 0
    for one in found:
        if overlap:
            corner, end = np.maximum(one[:2], boxes[:, :2]), np.minimum(one[2:], boxes[:, 2:])
            both = np.maximum(end - corner, 0).prod(axis=1)
            right = both / ((one[2:] - one[:2]).prod() + size - both)
            right = np.where(right >= _OVERLAP, right, 0)
        else:
            centre = (one[:2] + one[2:]) / 2
            inside = ((centre >= boxes[:, :2]) & (centre <= boxes[:, 2:])).all(axis=1)
            right = inside / (1 + np.linalg.norm((boxes[:, :2] + boxes[:, 2:]) / 2 - centre, axis=1))
        right = np.where(free, right, 0)
        if right.max(initial=0) > 0:
            free[right.argmax()] = False
            hits += 1
    return hits


def clear(boxes: np.ndarray) -> np.ndarray:
    """Return the boxes whose centres lie in the field and on nothing burned in."""
    x, y = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2
    kept = (y < _FIELD[0].stop) & (x < _FIELD[1].stop)
    for top, bottom, left, right in _BURNED_IN:
        kept &= ~((y >= top) & (y < bottom) & (x >= left) & (x < right))
    return boxes[kept]


def ours(image: np.ndarray) -> dict[str, np.ndarray]:
    """Return boxes by what is counted, the surest first."""
    found = foil_defects(probabilities(image, _PIXEL), _LEAST)
    corner = found.objects.box[:, :2]
    boxes = np.column_stack((corner, corner + found.objects.box[:, 2:]))
    order = np.argsort(-found.score, kind="stable")
    loops = found.kind[order] == "loop"
    dark = loops | (found.kind[order] == "precipitate")
    return {
        "defect-seg, loops": boxes[order][loops],
        "defect-seg, loops and precipitates": boxes[order][dark],
    }


def blobs(image: np.ndarray, least: float) -> np.ndarray:
    """Return the boxes of dark blobs above a threshold, the strongest first."""
    found = peers.blobs(peers.view(image), bright=False)
    found = found[found[:, 3] >= least]
    y, x, radius, _ = found[np.argsort(-found[:, 3], kind="stable")].T
    return np.column_stack((x - radius, y - radius, x + radius, y + radius))


def report(folder: Path, least: float) -> None:
    """Print F1 of each frame and of each side of the split; `least` is the blobs' threshold."""
    with (folder / "boxes.csv").open() as file:
        rows = list(csv.DictReader(file))
    totals: dict[tuple[str, str, str], np.ndarray] = {}
    print("\nloops of a film")
    for name in sorted({row["image"] for row in rows}):
        frame = int("".join(filter(str.isdigit, Path(name).stem)))
        image = np.asarray(Image.open(folder / name).convert("L"), dtype=np.float32)[_FIELD]
        boxes = clear(np.array([
            [float(row[key]) for key in ("x0", "y0", "x1", "y1")] for row in rows if row["image"] == name
        ]))  # fmt: skip
        side = "held out" if frame in _HELD_OUT or frame >= 900 else "dev"
        for who, found in {**ours(image), "blobs": blobs(image, least)}.items():
            said = clear(found)
            for how in ("centre", "overlap"):
                hits = matched(said, boxes, how == "overlap")
                counted = np.array([hits, len(said), len(boxes)])
                totals[side, who, how] = totals.get((side, who, how), 0) + counted
                print(f"  frame {frame}, {who}, by {how}: F1 {_f1(counted):.3f} of {len(boxes)} boxes")
    for (side, who, how), counted in totals.items():
        hit, said, there = counted
        print(
            f"{side}, {who}, by {how}: F1 {_f1(counted):.3f}, precision {hit / max(said, 1):.3f}, "
            f"recall {hit / max(there, 1):.3f} of {there} boxes"
        )


def _f1(counted: np.ndarray) -> float:
    return float(2 * counted[0] / max(counted[1] + counted[2], 1))
