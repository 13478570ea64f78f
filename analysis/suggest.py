"""Which images to annotate next: what a model is unsure of, spread over all that there is.

Weighted k-means over the vectors of the images, with as many clusters as images are annotated or asked for
(Zhdanov, arXiv:1901.05954, 2019): clusters that hold no annotated image come first, then the heaviest, and of
each the image next to its middle is taken. An image weighs its uncertainty; where no model has looked, all
weigh the same, and diversity alone decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from numbers import Integral
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
import pyarrow.compute as pc
from numpy.typing import NDArray

from micdb.analysis.gather import Frame, read_spaces, read_table
from micdb.analysis.threads import one_thread
from micdb.annotations.rows import drawn
from micdb.catalog.engine import reading
from micdb.embed.extractors.classify import UNCERTAINTY as OF_CLASSES
from micdb.embed.extractors.segment import UNCERTAINTY as OF_PHASES
from micdb.errors import UnknownColumnError, UsageError
from micdb.query.search import vectors

if TYPE_CHECKING:
    from micdb.query.context import Context

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PATCHES = "patches"
_PLACE = ("frame", "x_px", "y_px", "width_px", "height_px")
_LEAST = 0.02  # weight of an image that a model is sure of: it still stands for images like it
_MOST = 20_000  # images that are clustered: more are drawn from with the seed
_CLUSTERS = 600  # k-means takes a second at this many; more annotated images are drawn from


def suggest(
    frame: Frame,
    n: int = 10,
    *,
    label: str | None = None,
    embedding: str | Sequence[str] | None = None,
    uncertainty: str | None = None,
    level: Literal["image", "patch"] = "image",
    seed: int = 0,
) -> pd.DataFrame:
    """Return the images of a frame, or places in them, to annotate next, the most telling first.

    Parameters
    ----------
    frame
        A query; its rows are images.
    n
        How many.
    label
        Column or property that is to be learnt: images that have it are annotated already. None for phases:
        images on which masks are drawn are.
    embedding
        Extractors or spaces whose vectors are joined, as for `micdb.analysis.classify.classify`; None for
        ``texture``. Of places it is one, ``texture-patches`` unless given.
    uncertainty
        Column from 0 (sure) to 1; None for the roll-up of ``classify`` or, without a label, of ``segment``.
        What is missing counts as 1, and so does all where there is no such roll-up.
    level
        ``patch`` suggests windows of images that are not annotated, each as uncertain as its image.
    seed
        Of the clusters.

    Returns
    -------
    DataFrame
        ``uid``, ``name``; of places ``frame``, ``x_px``, ``y_px``, ``width_px``, ``height_px``; why:
        ``uncertainty``, ``distance`` from the nearest that is annotated or suggested before it (root of the
        mean cosine distance, 0 to 1.4; missing for the first of all), and ``stands_for``, how many are in its
        cluster. In ``attrs``: ``annotated``, ``candidates``, ``missing`` (images without vectors),
        ``uncertainty`` (the column, or None) and ``space``.

    Raises
    ------
    UsageError
        Nothing fills such vectors, no image is left, or an argument is wrong.
    UnknownColumnError
        There is no such column.
    """
    for name, value, least in (("n", n, 1), ("seed", seed, 0)):
        if not isinstance(value, Integral) or value < least:
            raise UsageError(f"{name} is {value!r}; it is a whole number of at least {least}")
    if level not in ("image", "patch"):
        raise UsageError(f"level is {level!r}; it is 'image' or 'patch'")
    given = embedding or ("texture" if level == "image" else "texture-patches")
    blocks = (given,) if isinstance(given, str) else tuple(dict.fromkeys(given))
    images, column = _table(frame, label, uncertainty)
    if level == "image":
        table, points, spaces = _images(frame.context, blocks, images)
    else:
        table, points, spaces = _places(frame, blocks, images)
    known = _annotated(frame.context, table, label)
    if known.all():
        n_images = table["uid"].nunique()
        raise UsageError(f"no image is left: {n_images} have vectors, and all of them are annotated")
    doubt = np.ones(len(table)) if column is None else table[column].fillna(1.0).to_numpy(np.float64)
    with one_thread():
        chosen, sizes = choose(points, np.flatnonzero(known), doubt, n, seed=seed)
    shown = ["uid", "name", *(_PLACE if level == "patch" else ())]
    made = table.loc[chosen, shown].reset_index(drop=True)
    made["uncertainty"] = doubt[chosen]
    made["distance"] = _distances(points, np.flatnonzero(known), chosen)
    made["stands_for"] = sizes
    made.attrs = {
        "annotated": int(known.sum()), "candidates": int((~known).sum()),
        "missing": len(images) - table["uid"].nunique(), "uncertainty": column, "space": spaces, "seed": seed,
    }  # fmt: skip
    return made


def choose(points: Floats, known: Ints, doubt: Floats, n: int, *, seed: int = 0) -> tuple[Ints, Ints]:
    """Return which points to annotate next, and how many are in the cluster of each.

    Parameters
    ----------
    points
        ``(m, d)``.
    known
        Those that are annotated.
    doubt
        Uncertainty of each ``(m,)``, 0 to 1.
    n
        How many; fewer come back where fewer are left.
    seed
        Of the clusters.
    """
    from sklearn.cluster import KMeans

    rng = np.random.default_rng(seed)
    left = np.setdiff1d(np.arange(len(points)), known)
    n = min(n, len(left))
    known = known if len(known) <= _CLUSTERS else np.sort(rng.choice(known, _CLUSTERS, replace=False))
    left = left if len(left) <= max(_MOST, n) else np.sort(rng.choice(left, max(_MOST, n), replace=False))
    used = np.concatenate([known, left])
    weight = np.maximum(doubt[used], _LEAST)
    different = len(np.unique(points[used], axis=0))
    clusters = min(len(known) + n, different)
    found = KMeans(clusters, n_init=1, random_state=seed).fit(points[used], sample_weight=weight)
    member = found.labels_
    held = np.bincount(member[: len(known)], minlength=clusters)
    heavy = np.bincount(member, weights=weight, minlength=clusters)
    order = np.lexsort((-heavy, held))
    off = np.linalg.norm(points[used] - found.cluster_centers_[member], axis=1)
    off[: len(known)] = np.inf
    chosen: list[int] = []
    while len(chosen) < n:  # once round is enough unless points coincide
        for cluster in order:
            inside = np.flatnonzero((member == cluster) & np.isfinite(off))
            if len(inside) and len(chosen) < n:
                chosen.append(int(inside[np.argmin(off[inside])]))
                off[chosen[-1]] = np.inf
    return used[chosen], np.bincount(member, minlength=clusters)[member[chosen]]


def _table(frame: Frame, label: str | None, uncertainty: str | None) -> tuple[pd.DataFrame, str | None]:
    """Return the rows with label and uncertainty, and the column of the latter, if there is one."""
    names = ["name"] if label is None else ["name", label]
    if uncertainty is not None:
        return read_table(frame, [*names, uncertainty]), uncertainty
    column = OF_PHASES if label is None else OF_CLASSES
    with suppress(UnknownColumnError):  # no such model has looked yet; a wrong label raises again
        return read_table(frame, [*names, column]), column
    return read_table(frame, names), None


def _images(
    context: Context, blocks: Sequence[str], table: pd.DataFrame
) -> tuple[pd.DataFrame, Floats, list[str]]:
    """Return the images that have all vectors, those as unit vectors side by side, and the spaces."""
    spaces = read_spaces(context, blocks, table["uid"])
    keep = np.ones(len(table), bool)
    parts = []
    for _, found in spaces.values():
        at = pd.Index(found.keys).get_indexer(pd.Index(table["uid"]))
        keep &= at >= 0
        parts.append((_unit(found.matrix), at))
    if not keep.any():
        raise UsageError(f"no image has vectors of {', '.join(blocks)}: micdb populate {blocks[0]}")
    joined = np.hstack([matrix[at[keep]] for matrix, at in parts]) / np.sqrt(len(parts))
    return table[keep].reset_index(drop=True), joined, [space.name for space, _ in spaces.values()]


def _places(
    frame: Frame, blocks: Sequence[str], table: pd.DataFrame
) -> tuple[pd.DataFrame, Floats, list[str]]:
    """Return the windows of images in the scaled space that holds most, their unit vectors, and the space."""
    if len(blocks) > 1:
        raise UsageError(f"places are compared in one space, not in {len(blocks)}: name one embedding")
    known = vectors.spaces(frame.context, blocks[0], table=PATCHES)
    rows = frame[["uid"]].explode(PATCHES).to_arrow(nested=True)
    counts = {space: pc.sum(pc.equal(rows["space"], space.name)).as_py() or 0 for space in known}
    best = max(known, key=lambda space: (counts[space] > 0, space.nm_per_pixel is not None, counts[space]))
    rows = rows.filter(pc.equal(rows["space"], best.name))
    if not rows.num_rows:
        raise UsageError(f"no image has vectors of {blocks[0]}: micdb populate {blocks[0]}")
    matrix = np.stack(rows["vector"].to_numpy())
    found = rows.select(["uid", *_PLACE]).to_pandas().merge(table, on="uid", how="left")
    return found, _unit(matrix), [best.name]


def _unit(matrix: NDArray[np.floating]) -> Floats:
    """Return vectors whose squared distances are cosine distances."""
    plain = np.asarray(matrix, np.float64)
    unit = plain / np.maximum(np.linalg.norm(plain, axis=1, keepdims=True), 1e-12)
    return np.asarray(unit / np.sqrt(2), dtype=np.float64)


def _annotated(context: Context, table: pd.DataFrame, label: str | None) -> NDArray[np.bool_]:
    if label is not None:
        return np.asarray(table[label].notna())
    with reading(context.engine) as connection:
        images = {one.image for one in drawn(connection)}
    return np.asarray(table["uid"].isin(images))


def _distances(points: Floats, known: Ints, chosen: Ints) -> list[float | None]:
    """Return the distance of each from the nearest that is annotated or chosen before it."""
    nearest: list[float | None] = []
    for index, one in enumerate(chosen):
        others = np.concatenate([known, chosen[:index]]).astype(np.int64)
        off = np.linalg.norm(points[others] - points[one], axis=1)
        nearest.append(float(off.min()) if len(off) else None)
    return nearest
