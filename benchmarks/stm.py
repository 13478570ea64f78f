"""Score `stm-defects` on annotated STM images, by fields of view: ``python benchmarks/stm.py FOLDER``.

FOLDER holds the images of Smalley et al., arXiv 2312.05160 (2023), see ``stm_fields.py``. The weights that
ship were trained on none of them. For every fold the detector is taught with the images of the other folds
and asked about the images of this one; blobs with a forest learn and answer on the same folds. A detection
counts from a score of 1/3: of calibrated scores the F1 is highest from half of the F1 that is reached
(Lipton, Elkan & Naryanaswamy, ECML 2014), and two thirds is the published one.

``--by crystal`` leaves a crystal (its sessions, its tip, its bias) out at a time instead.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import stm_floor
import stm_scores as scores
from stm_fields import folds, pixels_of, read

from micdb.embed.nets import weights
from micdb.embed.stm.candidates import Candidates, candidates
from micdb.embed.stm.kinds import kind_of
from micdb.embed.train.annotated import STEPS, Example, Mark, learn, noisier

_SCORE = 1 / 3
_SHIPPED = 0.5  # least probability of the weights that ship
_FOLDS = 6

Found = dict[str, pd.DataFrame]


def example(folder: Path, image: pd.Series, boxes: pd.DataFrame) -> Example:
    """Return an annotated image as fine-tuning takes it."""
    marks = [
        Mark(
            box.x + (box.width - 1) / 2,
            box.y + (box.height - 1) / 2,
            box.kind,
            (box.x, box.y, box.width, box.height),
        )
        for box in boxes[boxes["image"] == image["image"]].itertuples()
    ]
    return Example(pixels_of(folder, image["image"]), image["nm_per_px"], marks)


def detections(made: Candidates, kinds: list[str], score: np.ndarray) -> pd.DataFrame:
    """Return defects as a table: x, y [pixel], kind, score."""
    return pd.DataFrame({"x": made.found.xy[:, 0], "y": made.found.xy[:, 1], "kind": kinds, "score": score})


def taught(
    made: Mapping[str, Candidates],
    shown: Mapping[str, tuple[list[Candidates], list[Example]]],
    train: pd.Series,
    test: pd.Series,
) -> Found:
    """Teach the detector some images and ask about others, as `fine_tune` and the extractor do."""
    several, examples = ([part for one in train for part in shown[one][which]] for which in (0, 1))
    known, kinds = learn(several, examples, trees=STEPS, seed=0)
    found = {}
    for image in test:
        chance = known.probabilities(made[image].numbers)
        best = chance[:, 1:].argmax(axis=1)
        score = chance[np.arange(len(best)), 1 + best]
        found[image] = detections(made[image], [kinds[one] for one in best], score)
    return found


def shipped(made: Candidates) -> pd.DataFrame:
    """Return what the shipped weights say, without having been taught."""
    looks = made.looks
    kinds = [kind_of(*one) for one in zip(looks.extent, looks.height, looks.noise, strict=True)]
    probability = made.found.probability
    return detections(made, kinds, np.where(probability >= _SHIPPED, probability, 0.0))


def blobs_taught(
    blobs: Mapping[str, stm_floor.Candidates], boxes: pd.DataFrame, train: pd.Series, test: pd.Series
) -> Found:
    """Teach the forest of blobs some images and ask about others."""
    names = [stm_floor.named(blobs[one], boxes[boxes["image"] == one]) for one in train]
    known = stm_floor.learn([blobs[one] for one in train], names)
    return {one: stm_floor.detections(blobs[one], known) for one in test}


def report(name: str, found: Found, images: pd.DataFrame, boxes: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Print the scores of a detector; return its counts for comparison."""
    fields = dict(zip(images["image"], images["field"], strict=True))
    sure = {image: one[one["score"] >= _SCORE] for image, one in found.items()}
    sure = {
        image: one.assign(sign=[kind.rpartition("-")[2] for kind in one["kind"]])
        for image, one in sure.items()
    }
    tables = {
        what: scores.counts(sure, boxes, fields, by)
        for what, by in (("located", None), ("peak or trough", "sign"), ("kind", "kind"))
    }
    print(f"\n{name}")
    for what, table in tables.items():
        for score in (scores.micro, scores.macro) if what != "located" else (scores.micro,):
            value, low, high = scores.interval(table, score)
            print(f"  {what}, {score.__name__} F1 {value:.3f} ({low:.3f} to {high:.3f})")
    total = tables["kind"].groupby("class").sum()
    print(total.assign(f1=scores.f1(total.to_numpy())).round(3).to_string())
    per_field = tables["kind"].groupby("field").sum()
    located = tables["located"].groupby("field").sum()
    print(per_field.assign(
        f1=scores.f1(per_field.to_numpy()), located=scores.f1(located.to_numpy())
    ).round(3).to_string())  # fmt: skip
    _calibration(found, boxes)
    return tables


def _calibration(found: Found, boxes: pd.DataFrame) -> None:
    """Print how often detections of a score are right."""
    rows = []
    for image, one in found.items():
        hit, _ = scores.matched(one, boxes[boxes["image"] == image], "kind")
        rows.append(pd.DataFrame({"score": one["score"].to_numpy(), "right": hit}))
    every = pd.concat(rows)
    parts = every.groupby(pd.cut(every["score"], np.linspace(0.1, 1, 10)), observed=True)
    print("  score, share right, number:", "; ".join(
        f"{part['score'].mean():.2f} {part['right'].mean():.2f} {len(part)}" for _, part in parts
    ))  # fmt: skip


def main() -> None:
    """Print the scores of the detector and of the blobs, and their difference."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--by", choices=["field", "crystal"], default="field")
    given = parser.parse_args()
    images, boxes = read(given.folder)
    boxes["sign"] = [kind.rpartition("-")[2] for kind in boxes["kind"]]
    crystals = images["field"].str.partition("-")[0]
    split = folds(images, _FOLDS)
    if given.by == "crystal":
        split = [images.loc[crystals == one, "field"].unique().tolist() for one in crystals.unique()]
    examples = {image["image"]: example(given.folder, image, boxes) for _, image in images.iterrows()}
    start, network = time.process_time(), weights.unet("stm-defects")
    made = {image: candidates(one.pixels, one.pixel_size, network) for image, one in examples.items()}
    shown = {}
    for image, one in examples.items():
        worse = noisier(one, 0)
        shown[image] = ([made[image], candidates(worse.pixels, one.pixel_size, network)], [one, worse])
    print(f"candidates: {time.process_time() - start:.0f} s of processor time", flush=True)
    blobs = {image: stm_floor.candidates(one.pixels, one.pixel_size) for image, one in examples.items()}
    ours: Found = {}
    theirs: Found = {}
    for number, fields in enumerate(split):
        held, start = images["field"].isin(fields), time.process_time()
        train, test = images.loc[~held, "image"], images.loc[held, "image"]
        ours |= taught(made, shown, train, test)
        spent = time.process_time() - start
        theirs |= blobs_taught(blobs, boxes, train, test)
        print(f"fold {number}: {', '.join(fields)}; taught in {spent:.0f} s", flush=True)
    one = report("stm-defects, taught", ours, images, boxes)
    other = report("blobs and forest", theirs, images, boxes)
    report("stm-defects as shipped", {image: shipped(each) for image, each in made.items()}, images, boxes)
    print("\nstm-defects less blobs")
    for what, score in (("located", scores.micro), ("peak or trough", scores.macro), ("kind", scores.micro)):
        value, low, high = scores.difference(one[what], other[what], score)
        print(f"  {what}, {score.__name__} F1 {value:+.3f} ({low:+.3f} to {high:+.3f})")


if __name__ == "__main__":
    main()
