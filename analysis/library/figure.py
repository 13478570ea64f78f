"""The figure of a paper: mean picture, mean atoms, exemplars and density of motifs, at a journal's width."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.spatial import cKDTree

from micdb.analysis.figures import (
    BLUE,
    GREEN,
    INK,
    MUTED,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    YELLOW,
    nice_length,
    styled,
)
from micdb.analysis.library.average import Average, cut
from micdb.analysis.library.entry import Entry
from micdb.analysis.library.found import details
from micdb.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = npt.NDArray[np.float64]

WIDTH = 180 / 25.4  # [inch] two columns of most journals
ROWS = 8  # motifs on one page: what a printed page has room for
SHOWN = 4  # exemplars of each
_ROW, _TAIL, _HEAD = 0.92, 1.25, 0.28  # [inch] heights
_SMALL, _TINY = 7, 6  # [pt] journals want 5 to 7
_BOND = 1.3  # [shortest distance of two atoms] drawn as a bond up to here
_COLOURS = {
    "C": INK, "Si": VERMILION, "S": YELLOW, "Se": GREEN, "Mo": BLUE, "W": PURPLE, "O": SKY, "N": BLUE,
}  # fmt: skip


@styled
def library_figure(entries: Sequence[Entry], *, level: float = 0.95) -> Figure:
    """Draw up to eight motifs, one in each row, and their densities below.

    Parameters
    ----------
    entries
        Motifs with members.
    level
        Probability of the intervals.

    Returns
    -------
    matplotlib.figure.Figure
        180 mm wide; ``figure.micdb_data`` has the numbers.

    Raises
    ------
    UsageError
        There is no motif, or more than eight.
    """
    from matplotlib.figure import Figure

    if not 0 < len(entries) <= ROWS:
        raise UsageError(f"a figure shows 1 to {ROWS} motifs, not {len(entries)}: draw several")
    rows = [entry.summary(level=level) for entry in entries]
    height = _HEAD + _ROW * len(entries) + _TAIL
    figure = Figure(figsize=(WIDTH, height), dpi=200)
    # Text, mean, atoms, exemplars; shares of the width.
    lefts, side = [0.0, 0.2, 0.34, *(0.48 + 0.13 * n for n in range(SHOWN))], 0.125
    for number, (entry, row) in enumerate(zip(entries, rows, strict=True)):
        top = 1 - (_HEAD + _ROW * number) / height
        box = (side, (_ROW - 0.04) / height)
        _label(figure, row, top - box[1] / 2, letter=chr(ord("a") + number))
        found = entry.average
        if found is None:
            continue
        _picture(figure.add_axes((lefts[1], top - box[1], *box)), found.picture, found.pixel_size, bar=True)
        _atoms(figure.add_axes((lefts[2], top - box[1], *box)), found)
        shown = cut(entry.context, entry.exemplars(SHOWN), found.grid)
        for left, patch in zip(lefts[3:], shown.values(), strict=False):
            _picture(figure.add_axes((left, top - box[1], *box)), patch, found.pixel_size)
    for left, text in zip(lefts[1:4], ("mean", "mean atoms", "exemplars"), strict=True):
        figure.text(left, 1 - 0.5 * _HEAD / height, text, fontsize=_SMALL, color=MUTED, va="center")
    _densities(figure, rows, height, level)
    figure.micdb_data = pd.DataFrame(rows)  # type: ignore[attr-defined]
    return figure


@styled
def distances_figure(entry: Entry) -> Figure:
    """Draw how far apart nearest atoms around the members of a motif are, for each pair of species.

    Returns
    -------
    matplotlib.figure.Figure
        ``figure.micdb_data`` has the distances: ``pair`` and ``distance_nm``.
    """
    from matplotlib.figure import Figure

    data = pair_distances(entry)
    figure = Figure(figsize=(5.4, 2.1), dpi=160, layout="constrained")
    axes = figure.add_subplot()
    if len(data):
        ends = data["distance_nm"].min() - 0.002, data["distance_nm"].max() + 0.002  # [nm]
        edges = np.linspace(*ends, 41).tolist()
        groups = {str(pair): rows["distance_nm"] for pair, rows in data.groupby("pair")}
        for colour, (pair, values) in zip(
            (BLUE, VERMILION, GREEN, PURPLE, SKY), groups.items(), strict=False
        ):
            label = f"{pair}: {values.median():.4f} nm (n = {len(values)})"
            axes.hist(values, bins=edges, color=colour, alpha=0.75, label=label)
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    axes.set(xlabel="distance / nm", ylabel="pairs")
    figure.micdb_data = data  # type: ignore[attr-defined]
    return figure


def pair_distances(entry: Entry) -> pd.DataFrame:
    """Return the distances of atoms that touch, around all members: ``pair`` of species, ``distance_nm``."""
    told: list[tuple[str, float]] = []
    for sites in details(entry.context.engine, entry.members["pk"].tolist())["structure"].dropna():
        if len(sites) < 2:
            continue
        xy = np.array([[site["x_nm"], site["y_nm"]] for site in sites])
        near = float(np.median(cKDTree(xy).query(xy, k=2)[0][:, 1]))
        for i, j in sorted(cKDTree(xy).query_pairs(_BOND * near)):
            pair = sorted(str(sites[k]["species"] or "?") for k in (i, j))
            told.append(("–".join(pair), float(np.hypot(*(xy[i] - xy[j])))))
    return pd.DataFrame(told, columns=["pair", "distance_nm"])


def _label(figure: Figure, row: Mapping[str, Any], middle: float, *, letter: str) -> None:
    figure.text(0.004, middle + 0.02, letter, fontsize=_SMALL + 1, fontweight="bold", va="bottom")
    figure.text(0.025, middle + 0.02, row["name"], fontsize=_SMALL, fontweight="bold", va="bottom", color=INK)
    images = "image" if row["images"] == 1 else "images"
    lines = [row["kind"], f"n = {row['n']} in {row['images']} {images}", row["materials"]]
    figure.text(
        0.025, middle + 0.012, "\n".join(filter(None, lines)), fontsize=_TINY, va="top", color=MUTED,
        linespacing=1.4,
    )  # fmt: skip


def _picture(axes: Axes, picture: Floats, pixel_size: float | None, *, bar: bool = False) -> None:
    known = picture[np.isfinite(picture)]
    low, high = np.percentile(known, [0.5, 99.8]) if len(known) else (0.0, 1.0)
    axes.imshow(np.where(np.isfinite(picture), picture, low), cmap="gray", vmin=low, vmax=high)
    axes.set_axis_off()
    if bar and pixel_size is not None:
        n = len(picture)
        length, text = nice_length(n * pixel_size, share=0.45)
        left, line = 0.06 * n, 0.92 * n
        axes.plot(
            [left, left + length / pixel_size],
            [line, line],
            color="white",
            linewidth=2,
            solid_capstyle="butt",
        )
        axes.text(left, line - 0.03 * n, text, color="white", fontsize=_TINY, va="bottom")


def _atoms(axes: Axes, found: Average) -> None:
    """Draw the mean atoms, each with a circle of its standard deviation, bonds between the nearest."""
    axes.set_axis_off()
    if not found.sites:
        return
    half = found.grid.size * found.grid.step / 2
    xy = np.array([[site.x_nm, site.y_nm] for site in found.sites])
    distance = cKDTree(xy).query(xy, k=2)[0][:, 1] if len(xy) > 1 else np.zeros(1)
    for i, j in cKDTree(xy).query_pairs(_BOND * float(np.median(distance))):
        axes.plot(*xy[[i, j]].T, color="#9aa5b1", linewidth=0.8, zorder=1)
    for site, (x, y) in zip(found.sites, xy, strict=True):
        colour = _COLOURS.get(site.species or "", ORANGE)
        axes.scatter(x, y, s=13, color=colour, alpha=0.35 + 0.65 * site.share, linewidths=0, zorder=3)
        if np.isfinite(site.sd_nm):
            from matplotlib.patches import Circle

            axes.add_patch(Circle((x, y), 2 * site.sd_nm, fill=False, edgecolor=colour, linewidth=0.5))
    axes.set(xlim=(-half, half), ylim=(half, -half), aspect="equal")


def _densities(figure: Figure, rows: Sequence[Mapping[str, Any]], height: float, level: float) -> None:
    axes = figure.add_axes((0.205, 0.42 / height, 0.78, (_TAIL - 0.55) / height))
    for place, row in enumerate(rows):
        if row["density"] is None:
            axes.text(place, 0.0, "no scale", fontsize=_TINY, ha="center", va="bottom", color=MUTED)
            continue
        middle, ends = (
            row["density"],
            [[row["density"] - row["density_low"]], [row["density_high"] - row["density"]]],
        )
        axes.errorbar(
            place, middle, ends, fmt="o", color=BLUE if row["corrected"] else ORANGE, ms=3.5, lw=1, capsize=2
        )
    axes.set_xticks(range(len(rows)), [row["name"] for row in rows], fontsize=_TINY)
    axes.tick_params(axis="y", labelsize=_TINY)
    axes.set_xlim(-0.6, len(rows) - 0.4)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("density / nm$^{-2}$", fontsize=_SMALL)
    kinds = {row["corrected"] for row in rows if row["density"] is not None}
    said = {True: "corrected for the detector's misses and false ones", False: "as counted"}
    told = "; ".join(
        f"{colour}: {said[one]}" for one, colour in ((True, "blue"), (False, "orange")) if one in kinds
    )
    figure.text(
        0.205, 0.06 / height, f"Bars: {100 * level:g} % intervals; {told}.", fontsize=_TINY, color=MUTED
    )
