"""Score `stem-defects` on real images of silicon in graphene: ``python benchmarks/defects_real.py FOLDER``.

The library of Ziatdinov et al., Sci. Adv. 5, eaaw8989 (2019), as for ``atoms_real.py``; nothing was trained
on it. A class is right when a defect of the image has its formula. Images that show no lattice are refused
and counted apart. Several are frames of one movie: examples for the few-shot class come from other movies
than the images it is asked of, movies being told by the numbers in their names.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from PIL import Image

from micdb.embed.defects.few_shot import membership
from micdb.embed.extractors.stem_defects import StemDefects
from micdb.records import Picture, Refusal

_ONE_MOVIE = 12  # files whose numbers differ by less are frames of one movie


def measure(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return one row per image, and one per defect with silicon in it."""
    extractor = StemDefects(species="C Si")
    images, defects = [], []
    for row in pd.read_csv(folder / "labels.csv").itertuples():
        pitch = row.pm_per_px / 1e3
        pixels = np.asarray(Image.open(folder / row.image), dtype=np.float32)
        (answer,) = extractor.extract([Picture(0, pixels[None], (pitch, pitch), "STEM", None, row.image)])
        refused = isinstance(answer, Refusal)
        rows = [] if refused else answer.tables["defects"].to_pylist()
        own = [one for one in rows if str(one["formula"]).startswith("Si")]
        images.append({
            "image": row.image, "class": row.defect_class, "side": row.size_px, "refused": refused,
            "defects": len(rows), "unknown": sum(one["kind"] == "unknown" for one in rows),
            "formulas": [one["formula"] for one in own],
            "named": [one["formula"] for one in own if one["kind"] == "substitution"],
        })  # fmt: skip
        centre = max(own, key=lambda one: one["score"], default=None)
        if centre is not None:
            defects.append({
                "image": row.image, "class": row.defect_class, "formula": centre["formula"],
                "kind": centre["kind"], "key": centre["key"], "descriptor": centre["descriptor"],
            })  # fmt: skip
    return pd.DataFrame(images), pd.DataFrame(defects)


def movies(defects: pd.DataFrame) -> npt.NDArray[np.int64]:
    """Return a number of the movie of each image ``(n,)``, by class and the numbers in the names."""
    number = defects["image"].map(lambda name: int(re.findall(r"\d+", Path(name).stem)[-1]))
    found = np.zeros(len(defects), dtype=np.int64)
    start = 0
    for _, part in number.groupby(defects["class"]):
        order = part.sort_values()
        label = start + (order.diff().fillna(0) > _ONE_MOVIE).cumsum()
        found[[defects.index.get_loc(k) for k in order.index]] = label
        start = int(label.max()) + 1
    return found


def few_shot(defects: pd.DataFrame, unseen: Counter[str], draws: int = 20) -> None:
    """Print F1 of each class from five examples, on images of which none is among them.

    Parameters
    ----------
    defects
        One of an image.
    unseen
        Images of each class with a lattice and no silicon found: missed by any rule.
    draws
        Of examples.
    """
    for name, count in defects["class"].value_counts().items():
        if count > 6:
            for apart in (False, True):
                _few_shot(defects, str(name), unseen[str(name)], apart=apart, draws=draws)


def _few_shot(defects: pd.DataFrame, name: str, missed: int, *, apart: bool, draws: int) -> None:
    points, mine = np.array(defects["descriptor"].tolist()), (defects["class"] == name).to_numpy()
    names = list(zip(defects["kind"], defects["key"], strict=True))
    film, rng, scores, rates = movies(defects), np.random.default_rng(0), [], []
    for _ in range(draws):
        shown = rng.choice(np.flatnonzero(mine), 5, replace=False)
        inside = np.isin(film, film[shown]) if apart else np.isin(np.arange(len(points)), shown)
        rest = np.flatnonzero(~inside)
        if not mine[rest].any():
            continue
        likely = membership(points[shown], points, ([names[k] for k in shown], names))[rest]
        right, said, there = (likely >= 0.5) & mine[rest], likely >= 0.5, mine[rest].sum() + missed
        scores.append(2 * right.sum() / (said.sum() + there))
        rates.append((right.sum() / max(said.sum(), 1), right.sum() / there))
    where = "other movies" if apart else "other images"
    if scores:
        precision, recall = np.mean(rates, axis=0)
        print(
            f"{name} from five examples, {where}: F1 {np.mean(scores):.3f}, precision {precision:.3f}, "
            f"recall {recall:.3f} ({len(scores)} draws)"
        )
    else:
        print(f"{name}, {where}: all are of the movies of the examples")


def main() -> None:
    """Print agreement of formulas and keys with the classes, and the few-shot class."""
    torch.set_num_threads(1)
    images, defects = measure(Path(sys.argv[1]))
    right = [row["class"] in row.formulas for _, row in images.iterrows()]
    images["right"] = right
    seen = images[~images["refused"]]
    refused = images[images["refused"]]
    print(f"{len(images)} images, {len(refused)} without a lattice, sides {dict(Counter(refused['side']))}")
    print(f"class among the formulas: {seen['right'].mean():.3f} of {len(seen)}")
    named = seen[seen["named"].map(bool)]
    agree = np.mean([row["class"] in row.named for _, row in named.iterrows()])
    print(f"of the {len(named)} in which one is called a substitution: {agree:.3f}")
    for name, part in seen.groupby("class"):
        wrong = Counter(str(one) for one in part[~part["right"]]["formulas"])
        print(f"   {name}: {part['right'].sum()} of {len(part)}; else {dict(wrong)}")
    keys = defects.groupby("class")["key"].agg(lambda part: part.value_counts(normalize=True).iloc[0])
    print(f"share of the commonest key in each class: {keys.round(2).to_dict()}")
    unknown = seen["unknown"]
    print(
        f"unknown: {unknown.sum()} of {seen['defects'].sum()} defects, in {(unknown > 0).mean():.3f} of "
        f"images; silicon so in {(defects['kind'] == 'unknown').mean():.3f} of {len(defects)}"
    )
    few_shot(defects, Counter(seen[seen["formulas"].map(len) == 0]["class"]))


if __name__ == "__main__":
    main()
