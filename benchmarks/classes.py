"""Score `classify` and `suggest`: ``python benchmarks/classes.py WHAT [--embedding SPACE ...]``.

WHAT is ``simulated``: eight kinds of microstructure, each specimen with a size, proportions and a detector of
its own, images at magnifications at random; whole specimens are left out; kinds that were not taught and
atoms are asked whether they are unknown. ``types``: types of SEM images instead. ``heads``: other heads on
the same vectors and folds. ``suggest``: how many labels bring a head how far on specimens it never saw,
suggested and drawn at random. Or a folder that holds ``labels.csv`` (columns file, primary_microconstituent,
sample_key, um_per_px) and images of real steel: whole specimens are left out, with plain LBP histograms
beside. Spaces joined by + are one embedding.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image
from skimage.feature import local_binary_pattern
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from micdb.analysis import scores
from micdb.analysis.classify import HEAD, fit_classes
from micdb.analysis.gather import Vectors
from micdb.analysis.labelled import build_labelled
from micdb.analysis.suggest import choose
from micdb.analysis.threads import one_thread
from micdb.embed.micro import head
from micdb.embed.simulate.lattices import crystal
from micdb.embed.simulate.microstructures.sem import record
from micdb.embed.simulate.microstructures.varied_images import random_detector
from micdb.embed.simulate.microstructures.varied_scenes import KINDS, random_scene
from micdb.embed.simulate.microstructures.view import View
from micdb.embed.simulate.stem import adf_image
from micdb.populate.extractor import extractors
from micdb.records import Picture, Refusal

Floats = npt.NDArray[np.float64]

#: Specimens of each kind: as uneven as collections are.
TAUGHT = {
    "spheroidite": 12, "network": 7, "pearlite": 5, "ultrahigh carbon": 5, "broken pearlite": 4,
    "martensite": 3, "widmanstatten": 3, "mixture": 3,
}  # fmt: skip
NEW = (
    "device", "tip", "fibres", "pillars", "film", "lines", "powder", "two phases", "cuboids", "polycrystal"
)  # fmt: skip
#: Types of SEM images, after Modarres et al., Sci. Rep. 7, 13282 (2017), as far as there are scenes.
TYPES = {
    "particles": ("particles",), "powder": ("powder",), "nanowires": ("wires",), "fibres": ("fibres",),
    "patterned surface": ("pillars", "holes", "lines"), "film": ("film",), "device": ("device",),
    "tip": ("tip",), "porous": ("porous",), "grains": ("polycrystal",),
    "steel": ("spheroidite", "pearlite", "network", "martensite", "widmanstatten"),
}  # fmt: skip
SHAPE = (240, 320)  # [pixel]
IMAGES = 8  # of a specimen
ROUND, ROUNDS = 8, 8  # labels asked for at a time, and how often


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """Images with what they show."""

    pictures: list[Picture]
    kinds: list[str]
    specimens: list[str]


def specimens(counts: dict[str, int], *, seed: int) -> Shown:
    """Return simulated specimens of some kinds."""
    rng, shown = np.random.default_rng(seed), Shown([], [], [])
    for kind, count in counts.items():
        least, most = KINDS[kind].length[0], KINDS[kind].length[1] * SHAPE[0]
        for number in range(count):
            length = math.exp(rng.uniform(math.log(150), math.log(2500)))  # [nm]
            look = int(rng.integers(1 << 31))
            for _ in range(IMAGES):
                pixel = length / math.exp(rng.uniform(math.log(least), math.log(most)))
                own = int(rng.integers(1 << 31))
                detector = random_detector(pixel, seed=look)
                # One operator, but never twice the same brightness and dwell time.
                detector = replace(
                    detector, contrast=detector.contrast * rng.uniform(0.7, 1.3),
                    electrons=detector.electrons * math.exp(rng.normal(0, 0.5)),
                )  # fmt: skip
                made = record(
                    random_scene(View(SHAPE, pixel), kind, seed=own, length=length), detector, seed=own
                )
                _add(shown, made.image, pixel, kind, f"{kind} {number}")
    return shown


def atoms() -> Shown:
    """Return atomic-resolution dark-field images."""
    shown = Shown([], [], [])
    for seed in range(12):
        name = ("graphene", "MoS2", "Au[001]", "Ag[111]")[seed % 4]
        sheet = crystal(
            name, (SHAPE[0] * 0.02, SHAPE[1] * 0.02), seed=seed, rotation=7.0 * seed, jitter=0.005
        )
        image = adf_image(sheet, SHAPE, pixel_size=0.02, seed=seed, counts=30.0).image
        _add(shown, image, 0.02, "atoms", f"atoms {seed}")
    return shown


def steel(folder: Path) -> Shown:
    """Return the real images of a folder."""
    shown = Shown([], [], [])
    with (folder / "labels.csv").open(newline="", encoding="utf-8") as sheet:
        for row in csv.DictReader(sheet):
            with Image.open(next(folder.rglob(Path(row["file"]).name))) as file:
                pixels = np.asarray(file.convert("L"), np.float32)
            pixel = float(row["um_per_px"]) * 1e3 if row["um_per_px"] else None
            _add(shown, pixels, pixel, row["primary_microconstituent"], row["sample_key"])
    return shown


def _add(shown: Shown, image: npt.NDArray[Any], pixel: float | None, kind: str, specimen: str) -> None:
    size = None if pixel is None else (pixel, pixel)
    pixels = np.asarray(image, np.float32)[None]
    shown.pictures.append(Picture(len(shown.pictures), pixels, size, "SEM", None, specimen))
    shown.kinds.append(kind)
    shown.specimens.append(specimen)


def described(shown: Shown, spaces: Sequence[str]) -> dict[str, Vectors]:
    """Return the vectors of images in some spaces, by space; LBP is the plain histogram."""
    found = {}
    for space in spaces:
        keys, rows = [], []
        for number, vector in _vectors(shown.pictures, space):
            keys.append(str(number))
            rows.append(vector)
        found[space] = Vectors(space, keys, np.array(rows))
    return found


def _vectors(pictures: Sequence[Picture], space: str) -> Iterator[tuple[int, npt.NDArray[np.floating]]]:
    if space == "LBP":
        for picture in pictures:
            codes = local_binary_pattern(picture.pixels[0].round().astype(np.uint8), 8, 1, method="uniform")
            yield picture.image, np.bincount(codes.astype(int).ravel(), minlength=10) / codes.size
        return
    if space.endswith("@px"):  # at no other scale then
        pictures = [replace(picture, pixel_size=None) for picture in pictures]
    for answer in extractors().get(space.partition("@")[0])().extract(pictures):
        if not isinstance(answer, Refusal):
            for row in answer.tables["embeddings"].to_pylist():
                if row["space"] == space:
                    yield answer.image, np.asarray(row["vector"])


def fitted(shown: Shown, vectors: Sequence[Vectors], seed: int = 0) -> Any:
    """Return what `classify` says of images."""
    table = pd.DataFrame({
        "uid": [str(one.image) for one in shown.pictures], "sample": shown.specimens, "kind": shown.kinds,
        "pixel_size": [None if one.pixel_size is None else one.pixel_size[0] for one in shown.pictures],
    })  # fmt: skip
    table["pixel_size"] = table["pixel_size"].astype(float)
    data = build_labelled(table, "kind", groups=("sample",), vectors=vectors, metadata=("pixel_size",))
    return fit_classes(data, seed=seed), data


def line(name: str, fit: Any) -> str:
    """Return the numbers of a fit."""
    row = fit.table.iloc[0]
    unknown = (fit.predictions["novelty"] > 0.95).mean()
    return (
        f"{name:28} {len(fit.predictions):4} {row.macro_f1:.3f} "
        f"({row.macro_f1_low:.3f}-{row.macro_f1_high:.3f}) {row.accuracy:.3f} | "
        f"by image {row.macro_f1_image:.3f} {row.accuracy_image:.3f} | calibration "
        f"{row.calibration_error:.3f} (chance {row.calibration_chance:.3f}) | unknown {unknown:.3f}"
    )


def blocks(asked: Sequence[str]) -> list[str]:
    """Return the spaces that are named, each once."""
    return list(dict.fromkeys(space for one in asked for space in one.split("+")))


def simulated(asked: Sequence[str], seeds: int) -> None:
    """Print how well simulated specimens that were left out are named."""
    new = atoms()
    for number, kind in enumerate(NEW):
        more = specimens({kind: 2}, seed=1000 + number)
        for picture, specimen in zip(more.pictures, more.specimens, strict=True):
            _add(new, picture.pixels[0], picture.pixel_size[0], kind, specimen)  # type: ignore[index]
    strange, kinds = described(new, blocks(asked)), np.array(new.kinds)
    pooled: dict[str, list[tuple[Floats, npt.NDArray[np.bool_]]]] = {one: [] for one in asked}
    for seed in range(seeds):
        shown = specimens(TAUGHT, seed=seed)
        vectors = described(shown, blocks(asked))
        for one in asked:
            fit, _ = fitted(shown, [vectors[space] for space in one.split("+")])
            _print(line(f"set {seed}, {one}", fit))
            novelty = fit.head.novelty(np.hstack([strange[space].matrix for space in one.split("+")]))
            far = {kind: (novelty[kinds == kind] > 0.95).mean().round(2) for kind in dict.fromkeys(new.kinds)}
            others = np.mean([share for kind, share in far.items() if kind != "atoms"])
            _print(f"  told unknown: atoms {far['atoms']:.2f}, other kinds {others:.2f}")
            rows = fit.predictions
            pooled[one].append(
                (rows["probability"].to_numpy(), (rows["observed"] == rows["predicted"]).to_numpy())
            )
    for one, parts in pooled.items():
        probability, right = (np.concatenate(part) for part in zip(*parts, strict=True))
        error = scores.calibration_error(probability, right)
        _print(f"{one}: calibration error over all sets {error:.3f} of {len(right)} images")


def types(asked: Sequence[str], seeds: int) -> None:
    """Print how well types of SEM images are named, four simulated specimens of each kind."""
    for seed in range(seeds):
        shown = specimens(dict.fromkeys(itertools.chain(*TYPES.values()), 4), seed=50 + seed)
        kind_of = {kind: name for name, kinds in TYPES.items() for kind in kinds}
        named = replace(shown, kinds=[kind_of[kind] for kind in shown.kinds])
        vectors = described(named, blocks(asked))
        for one in asked:
            fit, _ = fitted(named, [vectors[space] for space in one.split("+")], seed)
            _print(line(f"types, set {seed}, {one}", fit))
            _print(fit.classes.round(3).to_string(index=False))


def heads(asked: Sequence[str], seeds: int) -> None:
    """Print macro-F1 of other heads, settings as they come, on the same vectors and folds."""
    others: dict[str, Callable[[], Any]] = {
        f"logistic, C = {c}": lambda c=c: LogisticRegression(C=c, class_weight="balanced", max_iter=500)
        for c in (0.01, 0.1, 1.0)
    } | {f"RBF SVM, C = {c}": lambda c=c: SVC(C=c, class_weight="balanced") for c in (1.0, 10.0)}
    for seed in range(seeds):
        shown = specimens(TAUGHT, seed=seed)
        for space, vectors in described(shown, blocks(asked)).items():
            fit, data = fitted(shown, [vectors])
            _print(f"set {seed}, {space}: {HEAD} {fit.table['macro_f1'][0]:.3f}")
            fold = fit.predictions["fold"].to_numpy()
            for name, make in others.items():
                guess = np.empty(len(data.y), int)
                for k in np.unique(fold):
                    model = make_pipeline(StandardScaler(), make()).fit(
                        data.vectors[fold != k], data.y[fold != k]
                    )
                    guess[fold == k] = model.predict(data.vectors[fold == k])
                _print(f"  {name}: {f1_score(data.y, guess, average='macro'):.3f}")


def suggested(asked: Sequence[str], seeds: int) -> None:
    """Print mean recall on unseen specimens against the number of labels, suggested and at random."""
    (space,) = asked
    pool, unseen = (specimens(TAUGHT, seed=seed) for seed in (0, 1))
    points, asking = (described(one, [space])[space].matrix.astype(float) for one in (pool, unseen))
    unit = points / np.linalg.norm(points, axis=1, keepdims=True)
    names = np.array(pool.kinds), np.array(unseen.kinds)
    curves: dict[str, list[list[float]]] = {"suggested": [], "diversity alone": [], "random": []}
    for seed in range(seeds):
        for way, rows in curves.items():
            rows.append(_curve(way, points, unit, asking, names, seed=seed))
    _print("labels           " + " ".join(f"{ROUND * (one + 1):5}" for one in range(ROUNDS)))
    for way, rows in curves.items():
        _print(f"{way:16} " + " ".join(f"{value:5.3f}" for value in np.median(rows, axis=0)))


def _curve(
    way: str, points: Floats, unit: Floats, asking: Floats, names: tuple[Any, Any], *, seed: int
) -> list[float]:
    rng, known, row = np.random.default_rng(seed), np.empty(0, np.int64), []
    doubt = np.ones(len(points))
    for _ in range(ROUNDS):
        if way == "random":
            more = rng.choice(np.setdiff1d(np.arange(len(points)), known), ROUND, replace=False)
        else:
            more, _ = choose(
                unit, known, doubt if way == "suggested" else np.ones(len(points)), ROUND, seed=seed
            )
        known = np.concatenate([known, more])
        classes, number = np.unique(names[0][known], return_inverse=True)
        if len(classes) < 2:
            row.append(0.0)
            continue
        made = head.fit(points[known], number, np.arange(len(known)))
        named = classes[made.probabilities(asking).argmax(axis=1)]
        row.append(float(np.mean([(named[names[1] == one] == one).mean() for one in TAUGHT])))
        shares = np.maximum(made.probabilities(points), 1e-12)
        doubt = -(shares * np.log(shares)).sum(axis=1) / math.log(len(classes))
    return row


def real(folder: Path, asked: Sequence[str], seeds: int) -> None:
    """Print how well real specimens that were left out are named."""
    shown = steel(folder)
    vectors = described(shown, ["LBP", *blocks(asked)])
    far = described(atoms(), blocks(asked))
    for one in ["LBP", *asked]:
        for seed in range(seeds):
            fit, _ = fitted(shown, [vectors[space] for space in one.split("+")], seed)
            _print(line(f"{one}, folds {seed}", fit))
            if one != "LBP":
                novelty = fit.head.novelty(np.hstack([far[space].matrix for space in one.split("+")]))
                _print(f"  atoms told unknown: {(novelty > 0.95).mean():.2f}")
        _print(f"{fit.classes.round(3).to_string(index=False)}\n{fit.confusion.to_string()}")
        _print(fit.table.round(3).to_string(index=False))


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what")
    parser.add_argument("--embedding", nargs="*", default=["texture@px"], help="spaces; + joins some")
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    doing = {"simulated": simulated, "types": types, "heads": heads, "suggest": suggested}
    with one_thread():
        if given.what in doing:
            doing[given.what](given.embedding, given.seeds)
        else:
            real(Path(given.what), given.embedding, given.seeds)


if __name__ == "__main__":
    main()
