"""Does `texture` find a microconstituent in other specimens? ``python benchmarks/texture.py FOLDER``.

FOLDER holds ``labels.csv`` (columns file, primary_microconstituent, sample_key, um_per_px) and the images it
names. Printed for each method: the share of the 5 nearest images from *other* specimens that have the same
primary microconstituent as the query. Chance is the share a random choice from other specimens would get.
Every method is also given for the images that a scale leaves, so that columns can be compared.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from skimage.feature import local_binary_pattern

from micdb.embed.extractors.texture import UNSCALED, Texture
from micdb.records import Picture, Refusal

_NEAREST = 5
Matrix = npt.NDArray[np.float64]


def precision(vectors: Matrix, labels: npt.NDArray[np.str_], specimens: npt.NDArray[np.str_]) -> float:
    """Return the mean share of the nearest images by cosine, from other specimens, with the same label."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    likeness = unit @ unit.T
    likeness[specimens[:, None] == specimens[None, :]] = -np.inf
    nearest = np.argsort(-likeness, axis=1, kind="stable")[:, :_NEAREST]
    return float((labels[nearest] == labels[:, None]).mean())


def chance(labels: npt.NDArray[np.str_], specimens: npt.NDArray[np.str_]) -> float:
    """Return what `precision` would be for a random choice."""
    other = specimens[:, None] != specimens[None, :]
    same = labels[:, None] == labels[None, :]
    return float(((same & other).sum(axis=1) / other.sum(axis=1)).mean())


def lbp_histogram(image: npt.NDArray[np.float32]) -> Matrix:
    """Return the plain uniform LBP histogram, P = 8, R = 1: the floor."""
    codes = local_binary_pattern(image.round().astype(np.uint8), 8, 1, method="uniform")
    return np.bincount(codes.astype(int).ravel(), minlength=10).astype(float) / codes.size


def describe(folder: Path, rows: list[dict[str, str]]) -> tuple[dict[str, dict[int, Matrix]], int]:
    """Return vectors by space and image number, and how many images have at least one physical scale."""
    found: dict[str, dict[int, Matrix]] = {"LBP": {}}
    scaled = 0
    extractor = Texture()
    for number, row in enumerate(rows):
        with Image.open(folder / row["file"]) as file:
            image = np.asarray(file.convert("L"), dtype=np.float32)
        size = float(row["um_per_px"]) * 1e3 if row["um_per_px"] else None
        picture = Picture(
            number, image[None], None if size is None else (size, size), "SEM", None, row["file"]
        )
        (answer,) = extractor.extract([picture])
        found["LBP"][number] = lbp_histogram(image)
        if isinstance(answer, Refusal):
            sys.stdout.write(f"refused {row['file']}: {answer.reason}\n")
            continue
        entries = answer.tables["embeddings"].to_pylist()
        scaled += any(entry["space"] != UNSCALED for entry in entries)
        for entry in entries:
            found.setdefault(entry["space"], {})[number] = np.array(entry["vector"], dtype=float)
    return found, scaled


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    with (folder / "labels.csv").open(newline="", encoding="utf-8") as sheet:
        rows = list(csv.DictReader(sheet))
    labels = np.array([row["primary_microconstituent"] for row in rows])
    specimens = np.array([row["sample_key"] for row in rows])
    found, scaled = describe(folder, rows)
    sys.stdout.write(
        f"{len(rows)} images, {len(set(specimens))} specimens, {dict(Counter(labels.tolist()))}\n"
    )
    sys.stdout.write(f"{scaled} images have at least one physical scale\n")
    sys.stdout.write(f"{'images of':20} {'n':>4} {'texture':>8} {UNSCALED:>11} {'LBP':>6} {'chance':>7}\n")
    spaces = [space for space in found if space not in ("LBP", UNSCALED)]
    for space in [UNSCALED, *sorted(spaces, key=lambda name: float(name[8:-2]))]:
        chosen = np.array(sorted(found[space].keys() & found[UNSCALED].keys()))
        if len(set(specimens[chosen])) < 2 or len(chosen) <= _NEAREST:
            continue
        of = [np.stack([found[name][n] for n in chosen]) for name in (space, UNSCALED, "LBP")]
        scores = [precision(vectors, labels[chosen], specimens[chosen]) for vectors in of]
        floor = chance(labels[chosen], specimens[chosen])
        sys.stdout.write(
            f"{space:20} {len(chosen):4} {scores[0]:8.3f} {scores[1]:11.3f} {scores[2]:6.3f} {floor:7.3f}\n"
        )


if __name__ == "__main__":
    main()
