"""Whether micrographs of different labs, instruments or sessions can be compared, and in what they differ."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from micdb.analysis.folds import independent_groups
from micdb.analysis.gather import read_spaces, read_table
from micdb.analysis.threads import one_thread
from micdb.analysis.two_samples import discrepancy, told_apart
from micdb.embed.restore.sparse import Strength
from micdb.errors import UnknownColumnError, UsageError
from micdb.populate.pictures import image_keys, load_pictures

if TYPE_CHECKING:
    from micdb.query.frame import Frame

Floats = NDArray[np.float64]

LEVEL = 0.01  # chance of calling labels different that are not, all pairs together
_SMALLEST = 16  # [pixel] side of an image whose noise can be told: four blocks
_LOOKED_AT = 20  # images per label whose pixels are read
_MOST = 2000  # images per label whose vectors are compared
_LEAST = 4  # images of a label that is compared
_WARNED = 4  # labels that a warning looks at, those with most groups: pairs and permutations grow fast


@dataclass(frozen=True, repr=False)
class Comparison:
    """How the images of labels differ.

    Parameters
    ----------
    by
        Column of the labels.
    pairs
        One row per pair of labels: ``first``, ``second``; ``images`` and ``samples`` that were compared;
        ``within``, the materials or other strata they share (missing where none are: a difference may then be
        that of what was imaged); ``mmd`` with its permutation ``p``; ``auc`` of a classifier that tells
        samples it has not seen apart, with its ``auc_p``; ``different``, whether either says so.
    labels
        One row per label: ``images``, ``samples``; of the images that were read the medians of ``mean``,
        ``contrast`` (standard deviation over mean) and ``noise`` (over standard deviation), and the mean
        share of ``saturated`` pixels. Missing where the pixels of none are here.
    calibration
        One row per shared stratum and measured column: ``within``, ``measure``, ``labels``, the ``mean``, and
        ``spread``: the largest difference of the labels' medians over the mean.
    space
        Of the vectors.
    seed
        Of what was drawn.
    """

    by: str
    pairs: pd.DataFrame
    labels: pd.DataFrame
    calibration: pd.DataFrame
    space: str
    seed: int

    @property
    def verdict(self) -> str:
        """Return one honest sentence."""
        apart = self.pairs[self.pairs["different"]]
        if apart.empty:
            return f"No difference shown between the {len(self.labels)} labels of {self.by} in {self.space}."
        named = ", ".join(f"{row.first} and {row.second}" for row in apart.itertuples())
        mixed = apart["within"].isna().any()
        rest = "; some share no material, and the difference may be that of what they imaged" if mixed else ""
        return f"Not comparable as they are, in {self.space}: {named}{rest}."

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain values for ``json.dumps``."""
        tables = {
            name: table.astype(object).where(table.notna(), None).to_dict("records")
            for name, table in (
                ("pairs", self.pairs),
                ("labels", self.labels),
                ("calibration", self.calibration),
            )
        }
        return {"by": self.by, "verdict": self.verdict, **tables, "space": self.space, "seed": self.seed}

    def __repr__(self) -> str:
        shown = [
            one.to_string(index=False, na_rep="-", float_format=lambda value: f"{value:.3g}")
            for one in (self.pairs, self.labels, self.calibration)
            if len(one)
        ]
        return "\n\n".join([*shown, self.verdict])


def comparable(
    frame: Frame,
    *,
    by: str = "lab",
    embedding: str = "texture",
    within: str | None = "material",
    groups: str = "sample",
    measures: Iterable[str] = (),
    seed: int = 0,
) -> Comparison:
    """Compare the images of labels: their vectors, their pixels, and what was measured on what they share.

    Parameters
    ----------
    frame
        A query; its rows are images.
    by
        Column of the labels.
    embedding
        Extractor or space of the vectors.
    within
        Column of what is the same thing in any lab: only what both labels imaged is compared, each with its
        like. None compares everything with everything.
    groups
        Column of the specimens, which are permuted whole.
    measures
        Columns, roll-ups or properties that should be alike for one material, such as a lattice constant.
    seed
        Of permutations, folds, and images that are drawn.

    Raises
    ------
    UnknownColumnError
        There is no such column.
    UsageError
        Fewer than two labels have 4 images with vectors.
    """
    names = [by, groups, *([within] if within else []), "deferred", *measures]
    for name in (by, groups):
        if name not in frame:
            raise UnknownColumnError(name, list(frame.columns), "the frame that is compared")
    table = read_table(frame, names)
    ((space, found),) = read_spaces(frame.context, [embedding], table["uid"]).values()
    at = pd.Index(found.keys).get_indexer(pd.Index(table["uid"]))
    kept = table[(at >= 0) & table[by].notna().to_numpy()].reset_index(drop=True)
    many = kept[by].value_counts()
    labels = sorted(many[many >= _LEAST].index)
    if len(labels) < 2:
        known = ", ".join(f"{label}: {count}" for label, count in many.items()) or "none"
        raise UsageError(
            f"two labels of {by} with {_LEAST} images each are needed, with vectors of {space.name}; there "
            f"are {known}: micdb populate {embedding}"
        )
    kept = _drawn(kept[kept[by].isin(labels)], by, seed)
    matrix = np.asarray(found.matrix, np.float64)[pd.Index(found.keys).get_indexer(pd.Index(kept["uid"]))]
    both = list(combinations(labels, 2))
    chance = LEVEL / (2 * len(both))  # two tests of each pair
    with one_thread():
        rows = [
            _compared(kept, matrix, pair, by=by, within=within, groups=groups, chance=chance, seed=seed)
            for pair in both
        ]
    pairs = pd.DataFrame(rows)
    pairs["different"] = (pairs["p"] <= chance) | (pairs["auc_p"] <= chance)
    calibration = _calibration(kept, by, within, tuple(measures))
    return Comparison(by, pairs, _looked_at(frame, kept, by, groups, seed), calibration, space.name, seed)


def unlike(
    vectors: Floats, labels: NDArray[np.object_], groups: NDArray[np.int64], *, seed: int
) -> list[str]:
    """Return which pairs of labels lie apart in a space, ``Delft and Jena (MMD 0.12, p 0.002)``.

    Parameters
    ----------
    vectors
        ``(n, d)``.
    labels, groups
        Label and independent group of each ``(n,)``; a group that has several labels is left out. The four
        labels with most groups are compared.
    seed
        Of the permutations.
    """
    names = pd.Series(labels).groupby(groups).transform("nunique").to_numpy() == 1
    counts = pd.Series(groups[names]).groupby(labels[names]).nunique()
    both = list(combinations(sorted(counts[counts >= _LEAST].nlargest(_WARNED).index), 2))
    found = []
    for one, other in both:
        rows = np.flatnonzero(names & np.isin(labels, (one, other)))
        if len(rows) > _MOST:
            rows = np.sort(np.random.default_rng(seed).choice(rows, _MOST, replace=False))
        each = discrepancy(
            vectors[rows], labels[rows] == other, groups[rows],
            permutations=int(np.ceil(2 * len(both) / LEVEL)), seed=seed,
        )  # fmt: skip
        if each.p <= LEVEL / len(both):
            found.append(f"{one} and {other} (MMD {each.mmd:.2g}, p {each.p:.2g})")
    return found


def _drawn(table: pd.DataFrame, by: str, seed: int) -> pd.DataFrame:
    parts = [
        one if len(one) <= _MOST else one.sample(_MOST, random_state=seed).sort_index()
        for _, one in table.groupby(by)
    ]
    return pd.concat(parts).reset_index(drop=True)


def _compared(
    table: pd.DataFrame, matrix: Floats, pair: tuple[Any, Any], *, by: str, within: str | None, groups: str,
    chance: float, seed: int,
) -> dict[str, Any]:  # fmt: skip
    """Return the row of a pair of labels."""
    rows = table[by].isin(pair).to_numpy()
    shared: list[str] = []
    if within:
        both = table[rows].groupby(within)[by].nunique()
        shared = sorted(both[both == 2].index.astype(str))
        inside = rows & table[within].astype(str).isin(shared).to_numpy()
        rows = inside if shared and table[inside][by].nunique() == 2 else rows
    some, vectors = table[rows], matrix[rows]
    strata = pd.factorize(some[within].astype(str))[0] if shared else np.zeros(len(some), dtype=np.int64)
    middle = np.stack([vectors[strata == one].mean(axis=0) for one in range(strata.max() + 1)])
    vectors = vectors - middle[strata]  # what one material differs from another by is no matter here
    labelled = pd.DataFrame({"label": some[by].astype(str), "group": some[groups].astype(str)})
    labelled["group"] += " / " + labelled["label"] + " / " + pd.Series(strata, index=some.index).astype(str)
    number, _ = independent_groups(labelled[["group"]])
    second = (some[by] == pair[1]).to_numpy()
    found = discrepancy(
        vectors, second, number, strata=strata, permutations=int(np.ceil(2 / chance)), seed=seed
    )
    auc, auc_p = told_apart(vectors, second, number, seed=seed)
    return {
        "first": pair[0], "second": pair[1], "images": len(some), "samples": int(number.max()) + 1,
        "within": ", ".join(shared) or None, "mmd": found.mmd, "p": found.p, "auc": auc, "auc_p": auc_p,
    }  # fmt: skip


def _looked_at(frame: Frame, table: pd.DataFrame, by: str, groups: str, seed: int) -> pd.DataFrame:
    """Return what the pixels of some images of each label are like."""
    rows, context = [], frame.context
    for label, mine in table.groupby(by):
        row = {by: label, "images": len(mine), "samples": mine[groups].nunique()}
        uids = mine.loc[~mine["deferred"].astype(bool), "uid"]  # a bundle may bring vectors without pixels
        if len(uids):
            uids = uids.sample(min(_LOOKED_AT, len(uids)), random_state=seed)
            keys = image_keys(context.engine, uids.tolist())
            each = [_of_pixels(one.pixels[0]) for one in load_pictures(context.engine, context.root, keys)]
            mean, contrast, noise, saturated = np.array(each).T
            row |= {"mean": np.median(mean), "contrast": np.median(contrast)}
            row |= {"noise": np.median(noise), "saturated": saturated.mean()}
        rows.append(row)
    return pd.DataFrame(rows, columns=[by, "images", "samples", "mean", "contrast", "noise", "saturated"])


def _of_pixels(image: NDArray[np.generic]) -> tuple[float, float, float, float]:
    """Return mean, contrast, noise and the share of saturated pixels of one image ``(y, x)``."""
    value = np.nan_to_num(np.abs(image) if np.iscomplexobj(image) else np.asarray(image)).astype(np.float64)
    mean, spread = float(value.mean()), float(value.std())
    noise = Strength.of(value).middle if min(value.shape) >= _SMALLEST and spread else 0.0
    saturated = float((value == value.max()).mean()) if spread else 1.0
    return mean, spread / max(abs(mean), 1e-300), np.sqrt(noise) / max(spread, 1e-300), saturated


def _calibration(table: pd.DataFrame, by: str, within: str | None, measures: tuple[str, ...]) -> pd.DataFrame:
    """Return how far the labels' medians of what one material should have in common are apart."""
    rows = []
    for name in measures:
        for stratum, mine in table.groupby(within) if within else [("all", table)]:
            medians = mine.groupby(by)[name].median().dropna().astype(float)
            if len(medians) > 1:
                middle = float(medians.mean())
                spread = float(np.ptp(medians)) / max(abs(middle), 1e-300)
                rows.append((stratum, name, len(medians), middle, spread))
    return pd.DataFrame(rows, columns=["within", "measure", "labels", "mean", "spread"])
