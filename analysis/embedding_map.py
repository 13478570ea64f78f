"""A map of images: their vectors on the two principal axes, where what is alike lies together.

The axes are those of the images the map was made of, and stay: other images are placed on them, and the same
images give the same map, in whatever order they come (Pearson, Phil. Mag. 2, 559, 1901).
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from micdb.analysis.figures import BLUE, MUTED, styled
from micdb.errors import UsageError
from micdb.query import thumbnails
from micdb.query.frame import Frame

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]

_LEAST = 3  # images that make two axes
_SIZE = (10.0, 8.0)  # [inch] of the picture
_THUMBNAIL = 0.55  # [inch]
_DOTS = 100  # per inch


@dataclass(frozen=True, slots=True)
class EmbeddingMap:
    """A map, and what it takes to place other images on it.

    Parameters
    ----------
    table
        One row per image: ``uid``, ``x``, ``y``.
    space
        Of the vectors: ``micro@px``.
    centre, axes
        Mean vector ``(dim,)`` and the two axes ``(2, dim)``, of length 1.
    explained
        Share of the variance along each axis.
    missing
        Images without a vector in that space.
    """

    table: pd.DataFrame
    space: str
    centre: Floats
    axes: Floats
    explained: tuple[float, float]
    missing: tuple[str, ...]

    def place(self, frame: Frame) -> pd.DataFrame:
        """Return where images of a frame lie on this map, as `table`; the map stays as it is.

        Raises
        ------
        UsageError
            No image of the frame has a vector in the map's space.
        """
        found = frame.embeddings(self.space)
        if not len(found.uids):
            raise UsageError(f"none of these images has a vector in {self.space}, in which the map is")
        return _table(found.uids, found.vectors, self.centre, self.axes)

    def figure(self, frame: Frame, *, most: int = 150) -> Figure:
        """Return a picture: thumbnails where they do not cover one another, dots for the other images.

        Parameters
        ----------
        frame
            Of the database whose images are shown; those without a vector are not.
        most
            Thumbnails at most.

        Raises
        ------
        UsageError
            As for `place`.
        """
        table = self.place(frame)
        shown = _apart(table[["x", "y"]].to_numpy(), most)
        pictures = thumbnails.load(frame.context, table["uid"].iloc[shown])
        drawn = _draw(table, pictures, self)
        drawn.micdb_data = table  # type: ignore[attr-defined]  # every figure brings its numbers
        return drawn


def embedding_map(frame: Frame, *, by: str | None = None) -> EmbeddingMap:
    """Return the map of the images of a frame.

    Parameters
    ----------
    frame
        Rows are images.
    by
        Extractor or space, as for ``frame.embeddings``; ``micro@px`` for patterns whatever their size.

    Raises
    ------
    UsageError
        Fewer than three images have a vector, or all have the same.
    """
    found = frame.embeddings(by)
    if len(found.uids) < _LEAST:
        raise UsageError(
            f"{len(found.uids)} images have a vector in {found.space}; a map needs at least {_LEAST}: "
            "compute them with micdb populate, or ask for more images"
        )
    order = np.argsort(np.array(found.uids))  # sums in one order, whatever that of the rows
    vectors = found.vectors[order].astype(np.float64)
    centre = vectors.mean(axis=0)
    _, spread, axes = np.linalg.svd(vectors - centre, full_matrices=False)
    if spread[0] < 1e-9 * max(1.0, float(np.abs(centre).max())):
        raise UsageError(f"all images have the same vector in {found.space}: there is nothing to map")
    axes = axes[:2]
    largest = np.abs(axes).argmax(axis=1)
    axes = axes * np.sign(axes[np.arange(2), largest])[:, None]  # an axis has no sign of its own
    share = spread[:2] ** 2 / (spread**2).sum()
    table = _table(found.uids, found.vectors, centre, axes)
    return EmbeddingMap(
        table, found.space, centre, axes, (float(share[0]), float(share[1])), tuple(found.missing)
    )


def _table(uids: list[str], vectors: NDArray[np.float32], centre: Floats, axes: Floats) -> pd.DataFrame:
    x, y = axes @ (vectors.astype(np.float64) - centre).T
    return pd.DataFrame({"uid": uids, "x": x, "y": y})


def _apart(xy: Floats, most: int) -> list[int]:
    """Return the rows whose thumbnails fit without covering one another, the first ones first."""
    span = np.maximum(np.ptp(xy, axis=0), 1e-12)
    places = (xy - xy.min(axis=0)) / span * (np.array(_SIZE) - 2 * _THUMBNAIL)  # [inch]
    kept: list[int] = []
    for row, place in enumerate(places):
        if len(kept) == most:
            break
        if not kept or np.abs(places[kept] - place).max(axis=1).min() >= _THUMBNAIL:
            kept.append(row)
    return kept


@styled
def _draw(table: pd.DataFrame, pictures: Mapping[str, bytes], made: EmbeddingMap) -> Figure:
    from matplotlib.figure import Figure
    from matplotlib.offsetbox import AnnotationBbox, OffsetImage

    figure = Figure(figsize=_SIZE, dpi=_DOTS, layout="constrained")
    axes = figure.add_subplot()
    axes.scatter(table["x"], table["y"], s=8, color=BLUE, alpha=0.5, linewidths=0)
    for uid, x, y in zip(table["uid"].astype(str), table["x"].tolist(), table["y"].tolist(), strict=True):
        if uid in pictures:
            with Image.open(io.BytesIO(pictures[uid])) as opened:
                small = opened.convert("RGB")
                small.thumbnail((int(_THUMBNAIL * _DOTS),) * 2)
            box = OffsetImage(np.asarray(small), zoom=72 / _DOTS)
            axes.add_artist(AnnotationBbox(box, (x, y), frameon=False, pad=0))
    axes.set_xlabel(f"x: {made.explained[0]:.0%} of the variance")
    axes.set_ylabel(f"y: {made.explained[1]:.0%} of the variance")
    axes.set_title(f"{len(table):,} images in {made.space}", loc="left")
    axes.tick_params(colors=MUTED)
    axes.margins(0.06)
    return figure
