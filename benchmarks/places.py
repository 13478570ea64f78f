"""Does `find_patches` find a place, and a texture? ``python benchmarks/places.py FOLDER [--crops 3]``.

FOLDER holds ``labels.csv`` (columns image, mask, um_per_px) and the images and masks it names; masks number
the classes of pixels. Crops of each image at random places (seed 0) are searched for in all images. Printed
for each size of the crop, in sides of a window at the finest scale:

image    share whose best place is in the crop's own image
place    share whose best place is there and has its centre inside the crop
texture  mean share of the crop's class in the 10 best places in *other* images, for crops of one class (85 %)
chance   mean share of that class in the other images
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import micdb as mdb
from micdb.embed.extractors.texture_features import TILE
from micdb.embed.sampling import LADDER

PURE = 0.85
Box = tuple[int, int, int, int]


def ingested(folder: Path, work: Path) -> mdb.Database:
    """Return a database of the images with their patches."""
    (work / "map.toml").write_text('file = "image"\n[pixel_size]\ncolumn = "um_per_px"\nunit = "um"\n')
    base = mdb.init(work / "places.micdb")
    base.ingest(folder / "images", sheet=folder / "labels.csv", map=work / "map.toml")
    begin = time.perf_counter()
    done = base.populate("texture-patches")
    count = base.images.explode("patches").count()
    spent = time.perf_counter() - begin
    print(f"{done.progress.done} images, {count:,} windows, {1e3 * spent / max(1, count):.1f} ms each")
    return base


def shares(mask: np.ndarray, box: Box) -> np.ndarray:
    """Return the share of each class within a box."""
    x, y, width, height = box
    inside = mask[y : y + height, x : x + width].ravel()
    return np.bincount(inside, minlength=256)[:256] / inside.size


def boxes(frame: Any) -> list[Box]:
    """Return the matches of a search."""
    return [tuple(map(int, text.split(","))) for text in frame["match_box"]]


def crops(rows: Any, size: float, rng: np.random.Generator, count: int) -> list[tuple[str, Box]]:
    """Return uids and boxes of crops at random places."""
    made = []
    for row in rows.itertuples():
        scale = min(rung for rung in LADDER if row.pixel_size <= 1.05 * rung)
        side = int(np.ceil(TILE * scale / row.pixel_size * size))
        if side > min(row.width, row.height):
            continue
        for _ in range(count):
            x, y = int(rng.integers(0, row.width - side + 1)), int(rng.integers(0, row.height - side + 1))
            made.append((row.uid, (x, y, side, side)))
    return made


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--crops", type=int, default=3)
    options = parser.parse_args()
    with (options.folder / "labels.csv").open(newline="", encoding="utf-8") as sheet:
        masks = {Path(row["image"]).stem: options.folder / row["mask"] for row in csv.DictReader(sheet)}
    with tempfile.TemporaryDirectory() as work, ingested(options.folder, Path(work)) as base:
        rows = base.images.to_pandas()[["uid", "name", "pixel_size", "width", "height"]]
        shown = {row.uid: np.asarray(Image.open(masks[row.name])) for row in rows.itertuples(index=False)}
        print(f"{'size':>5} {'n':>4} {'image':>6} {'place':>6} {'texture':>8} {'chance':>7}")
        for size in (1.05, 1.6, 2.2, 3.0):
            measure(base.images, shown, crops(rows, size, np.random.default_rng(0), options.crops), size)


def measure(images: Any, masks: dict[str, np.ndarray], asked: list[tuple[str, Box]], size: float) -> None:
    """Print one line."""
    own, place, texture, chance = [], [], [], []
    for uid, box in asked:
        best = images.find_patches(uid, box=box, k=1).to_pandas()
        left, top, width, height = boxes(best)[0]
        x, y = left + width / 2 - box[0], top + height / 2 - box[1]
        own.append(best["uid"][0] == uid)
        place.append(own[-1] and 0 <= x < box[2] and 0 <= y < box[3])
        share = shares(masks[uid], box)
        kind = int(np.argmax(share))
        if share[kind] >= PURE:
            other = images[images.uid != uid]
            found = other.find_patches(uid, box=box, k=10).to_pandas()
            texture += [
                shares(masks[one], at)[kind] for one, at in zip(found["uid"], boxes(found), strict=True)
            ]
            chance += [np.mean(mask == kind) for one, mask in masks.items() if one != uid]
    print(
        f"{size:5.2f} {len(asked):4} {np.mean(own):6.2f} {np.mean(place):6.2f} "
        f"{np.mean(texture):8.2f} {np.mean(chance):7.2f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
