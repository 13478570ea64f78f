"""How good each detector of defects is, by what people said: precision and recall with intervals.

What people accepted, relabelled, moved or added is the truth; what they rejected is none. A detector is
judged by place, so that a newer one answers for the same corrections: its defect is right where one of the
same kind stands, false where one of its kind was rejected or another stands. What nobody judged counts for
nothing. A defect it missed is one that people added; so recall is that of the images people went through.
Intervals: Jeffreys' (Brown, Cai and DasGupta, Stat. Sci. 16 (2001) 101).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.spatial import cKDTree
from scipy.special import betaincinv
from sqlalchemy import Engine

from micdb.analysis.library.found import defects, looked_at
from micdb.corrections.matching import matches, places, reach

_COUNTS = ["right", "false", "missed"]


@dataclass(frozen=True, slots=True)
class Judged:
    """What corrections say of runs.

    Parameters
    ----------
    counts
        One row per ``run`` and ``kind``: ``right``, ``false``, ``missed``, and the number of ``images``.
    reviewed
        Pairs of run and image in which every answer was judged.
    """

    counts: pd.DataFrame
    reviewed: frozenset[tuple[int, int]]


def scorecard(engine: Engine, *, level: float = 0.95) -> pd.DataFrame:
    """Return precision and recall of each detector and version, for each kind of defect.

    Parameters
    ----------
    engine
        The catalog.
    level
        Probability of the intervals.

    Returns
    -------
    pandas.DataFrame
        ``detector``, ``version``, ``run``, ``kind``, ``images`` (with corrections), ``right``, ``false``,
        ``missed``, ``precision`` and ``recall``, each with ``_low`` and ``_high``; missing where nothing
        tells. Empty while nobody has corrected anything.
    """
    counts = judged(engine).counts
    looked = looked_at(engine, every_run=True)[["run", "detector", "version"]].drop_duplicates()
    table = looked.merge(counts, on="run").sort_values(["detector", "version", "run", "kind"])
    for name, other in (("precision", "false"), ("recall", "missed")):
        share, low, high = _share(
            table["right"].to_numpy(dtype=np.float64), table[other].to_numpy(dtype=np.float64), level
        )
        table[name], table[f"{name}_low"], table[f"{name}_high"] = share, low, high
    return table.reset_index(drop=True)


def judged(engine: Engine) -> Judged:
    """Return what corrections say of every run; see the head of this file."""
    rows = defects(engine, every_run=True)
    # What detectors said, whatever became of it; rows that corrections made are not theirs.
    theirs = rows[
        rows["replaces"].isna() & rows["state"].isin(["detected", "accepted", "rejected", "replaced"])
    ]
    truth = _distinct(rows[rows["state"].isin(["accepted", "added"])])
    denied = theirs[theirs["state"] == "rejected"]
    corrected = set(truth["image"]) | set(denied["image"])
    looked = looked_at(engine, corrected, every_run=True)
    told: list[dict[str, object]] = []
    for run, images in looked.groupby("run")["image"]:
        told += _of_run(int(str(run)), set(images), theirs[theirs["run"] == run], (truth, denied))
    counts = pd.DataFrame(told, columns=["run", "image", "kind", *_COUNTS])
    summed = counts.groupby(["run", "kind"], as_index=False).agg(
        {"image": "nunique", **dict.fromkeys(_COUNTS, "sum")}
    )
    waiting = _pairs(theirs[theirs["state"] == "detected"])
    touched = _pairs(rows[rows["state"] != "detected"])
    return Judged(summed.rename(columns={"image": "images"}), frozenset(touched - waiting))


def _pairs(rows: pd.DataFrame) -> set[tuple[int, int]]:
    return set(zip(rows["run"].tolist(), rows["image"].tolist(), strict=True))


def _of_run(
    run: int, images: set[int], own: pd.DataFrame, said: tuple[pd.DataFrame, pd.DataFrame]
) -> list[dict[str, object]]:
    """Return what is right, false and missed of a run, one row per image and kind."""
    told: dict[tuple[int, str], dict[str, int]] = {}

    def count(image: int, kind: str, what: str) -> None:
        told.setdefault((image, kind), dict.fromkeys(_COUNTS, 0))[what] += 1

    for image in sorted(images):
        found, truth, denied = (table[table["image"] == image] for table in (own, *said))
        met, refuted = matches(found, truth), matches(found, denied)
        for answer, (kind, state) in enumerate(zip(found["kind"], found["state"], strict=True)):
            there = met.get(answer)
            if _same_kind(found, truth, answer, there):
                count(image, kind, "right")
            elif (
                there is not None
                or state == "replaced"  # moved farther than two places of one defect are apart
                or _same_kind(found, denied, answer, refuted.get(answer))
            ):
                count(image, kind, "false")
        right = {there for answer, there in met.items() if _same_kind(found, truth, answer, there)}
        for there in set(range(len(truth))) - right:
            count(image, truth["kind"].iloc[there], "missed")
    return [{"run": run, "image": image, "kind": kind, **counts} for (image, kind), counts in told.items()]


def _same_kind(found: pd.DataFrame, other: pd.DataFrame, answer: int, there: int | None) -> bool:
    return there is not None and bool(found["kind"].iloc[answer] == other["kind"].iloc[there])


def _distinct(truth: pd.DataFrame) -> pd.DataFrame:
    """Return the truth without what people said of one defect once more, of another run's row."""
    kept: list[int] = []
    for _, group in truth.groupby(["image", "frame", "kind"]):
        if len(group) < 2:
            kept += group.index.tolist()
            continue
        tree, near = cKDTree(places(group)), reach(group)
        gone: set[int] = set()
        for number, place in enumerate(places(group)):
            if number in gone:
                continue
            kept.append(group.index[number])
            close = tree.query_ball_point(place, float(near[number]))
            gone |= {other for other in close if group["run"].iloc[other] != group["run"].iloc[number]}
    return truth.loc[sorted(kept)]


def _share(
    right: npt.NDArray[np.float64], wrong: npt.NDArray[np.float64], level: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    known = right + wrong > 0
    total = np.where(known, right + wrong, 1)
    tail = (1 - level) / 2
    low, high = (betaincinv(right + 0.5, wrong + 0.5, one) for one in (tail, 1 - tail))
    low, high = np.where(right == 0, 0.0, low), np.where(wrong == 0, 1.0, high)
    return tuple(np.where(known, one, np.nan) for one in (right / total, low, high))  # type: ignore[return-value]
