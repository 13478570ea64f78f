"""The annotated STM images of WSe2 by field of view: ``python benchmarks/stm_fields.py FOLDER`` checks it.

FOLDER holds ``labels.csv``, ``boxes.csv`` and the images of Smalley et al., arXiv 2312.05160 (2023). Images
of one field are those of one place number in their names, those whose places were found in one another by
correlation, and scans 1 to 27 of the crystal SL445, which zoom into one another. The check prints how well
images of different fields of a crystal can be laid on one another: the best correlation of the middle of the
smaller one anywhere in the larger one, and its lead over the second best place. Images of one field lead by
0.12 to 0.8.
"""

from __future__ import annotations

import itertools
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from scipy import ndimage
from skimage.feature import match_template

from micdb.embed.stm.levels import flatten

# leads of 0.48, 0.22 and, of every image of one field in those of the other, 0.06 to 0.10
_MERGED = {"SL300-20": "SL300-16", "SL410-7": "SL410-6", "SL410-27": "SL410-6"}
_ZOOMS = 27  # last scan of SL445 that shows part of an earlier one
_SMALLEST = 19.0  # [nm] a smaller field holds too little to be laid on another


def field_of(image: str) -> str:
    """Return the field of view of an image by its name."""
    crystal = re.search(r"SL\d+", image)
    assert crystal is not None  # noqa: S101 (all names have it)
    scan = re.search(r"_Z_(\d+)\.", image)
    if scan:
        number = int(scan[1])
        return f"{crystal[0]}-{'1to27' if number <= _ZOOMS else number}"
    place = re.search(r"x\d+_(\d+)_\d+_Z", image)
    assert place is not None  # noqa: S101
    name = f"{crystal[0]}-{place[1]}"
    return _MERGED.get(name, name)


def read(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return images with their field, and boxes with their kind."""
    images = pd.read_csv(folder / "labels.csv")
    images["field"] = images["image"].map(field_of)
    boxes = pd.read_csv(folder / "boxes.csv")
    boxes["kind"] = boxes["label"].str.lower().str.replace(" ", "-")
    return images, boxes


def pixels_of(folder: Path, image: str) -> np.ndarray:
    """Return the grey levels ``(y, x)`` of an image."""
    return np.asarray(Image.open(folder / image).convert("L"), dtype=np.float32)


def folds(images: pd.DataFrame, number: int) -> list[list[str]]:
    """Return fields in so many folds of about as many boxes: the largest first, to the emptiest fold."""
    made: list[list[str]] = [[] for _ in range(number)]
    filled = np.zeros(number)
    for field, boxes in images.groupby("field")["n_boxes"].sum().sort_values(ascending=False).items():
        least = int(filled.argmin())
        made[least].append(str(field))
        filled[least] += boxes
    return made


def _band(folder: Path, row: pd.Series, step: float) -> np.ndarray:
    """Return an image resampled to a step [nm], without noise and without what is wider than defects."""
    value = flatten(pixels_of(folder, row["image"]))
    factor = step / row["nm_per_px"]
    value = ndimage.zoom(ndimage.gaussian_filter(value, 0.5 * max(factor - 1, 0)), 1 / factor, order=1)
    narrow, wide = (0.4, 6.0) if step < 0.9 else (0.4, 10.0)  # [nm]
    value = ndimage.gaussian_filter(value, narrow / step) - ndimage.gaussian_filter(value, wide / step)
    limit = np.quantile(np.abs(value), 0.995)
    return np.clip(value, -limit, limit)


def lead(folder: Path, large: pd.Series, small: pd.Series) -> tuple[float, float]:
    """Return the best correlation of the middle of `small` in `large`, and its lead over the second best."""
    step = max(large["nm_per_px"], small["nm_per_px"], large["scan_nm"] / 500, small["scan_nm"] / 150)
    whole, part = (_band(folder, one, step) for one in (large, small))
    same = large["scan_nm"] == small["scan_nm"]
    half = int(len(part) * (0.25 if same else 0.35))
    middle = len(part) // 2
    template = part[middle - half : middle + half, middle - half : middle + half]
    map_ = match_template(np.pad(whole, half) if same else whole, template)
    y, x = np.unravel_index(map_.argmax(), map_.shape)
    best = float(map_[y, x])
    near = max(int(2.5 / step), 3) if step < 0.9 else 12
    map_[max(y - near, 0) : y + near + 1, max(x - near, 0) : x + near + 1] = -1
    return best, best - float(map_.max())


def main() -> None:
    """Print the pairs of images of different fields that look most alike."""
    folder = Path(sys.argv[1])
    images, _ = read(folder)
    crystals = images["image"].str.extract(r"(SL\d+)")[0]
    found = []
    for _, group in images[images["scan_nm"] >= _SMALLEST].groupby(crystals):
        for (_, one), (_, other) in itertools.combinations(group.iterrows(), 2):
            if one["field"] != other["field"]:
                large, small = (one, other) if one["scan_nm"] >= other["scan_nm"] else (other, one)
                found.append((*lead(folder, large, small), large["image"], small["image"]))
    table = pd.DataFrame(found, columns=["correlation", "lead", "in", "of"]).sort_values("lead")
    print(images.groupby("field").agg(images=("image", "size"), boxes=("n_boxes", "sum")))
    print(table.tail(8).iloc[::-1].to_string(index=False, float_format="%.2f"))


if __name__ == "__main__":
    main()
