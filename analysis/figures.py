"""The project's figures: one style, no global state, the DataFrame behind each as ``figure.micdb_data``.

Figures are made as objects, never through pyplot, so they work in servers, workers and notebooks alike.
Colours are those of Okabe & Ito (jfly.uni-koeln.de/color, 2008), told apart by colour-blind readers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from micdb.analysis.linking.models import BASELINE, METADATA
from micdb.analysis.linking.verdict import NAMES, by_model, quantity
from micdb.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from micdb.analysis.linking.result import Link

INK, MUTED, GRID = "#1f2933", "#52606d", "#e4e7eb"
BLUE, ORANGE, GREEN, VERMILION = "#0072b2", "#e69f00", "#009e73", "#d55e00"
SKY, PURPLE, YELLOW = "#56b4e9", "#cc79a7", "#f0e442"

STYLE: Any = {
    "font.family": "sans-serif", "font.size": 10, "axes.titlesize": 11, "axes.labelsize": 10,
    "text.color": INK, "axes.labelcolor": INK, "xtick.color": MUTED, "ytick.color": MUTED,
    "axes.edgecolor": "#9aa5b1", "axes.linewidth": 0.8, "axes.spines.top": False, "axes.spines.right": False,
    "axes.grid": False, "grid.color": GRID, "legend.frameon": False, "legend.fontsize": 9,
    "figure.facecolor": "white", "axes.facecolor": "white", "svg.fonttype": "none",
}  # fmt: skip

_COORDINATION = {1: VERMILION, 2: VERMILION, 3: BLUE, 4: GREEN, 5: ORANGE, 6: SKY, 7: PURPLE}
_STEPS = (1, 2, 5)  # a scale bar says 1, 2 or 5 times a power of ten
_UNITS_OF_LENGTH = ((1e6, "mm"), (1e3, "µm"), (1.0, "nm"), (1e-3, "pm"))  # [nm], largest first


P = ParamSpec("P")


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draw in the project's style and leave the caller's own settings alone."""

    @wraps(draw)
    def styled(*args: P.args, **kwargs: P.kwargs) -> Figure:
        import matplotlib as mpl

        with mpl.rc_context(STYLE):
            return draw(*args, **kwargs)

    return styled


def nice_length(width_nm: float, share: float = 0.28) -> tuple[float, str]:
    """Return the round length nearest below `share` of a field of view, and its text.

    Parameters
    ----------
    width_nm
        Width of the field of view [nm].
    share
        Longest share of it that a scale bar may take.

    Returns
    -------
    length
        [nm]
    text
        For example ``200 nm`` or ``5 µm``.
    """
    if not (math.isfinite(width_nm) and width_nm > 0):
        raise UsageError(f"a field of view of {width_nm} nm has no scale bar; give a positive width")
    longest = width_nm * share
    power = 10.0 ** math.floor(math.log10(longest))
    length = max(step * power for step in _STEPS if step * power <= longest * (1 + 1e-9))
    factor, unit = next(
        ((size, name) for size, name in _UNITS_OF_LENGTH if length >= size * (1 - 1e-9)), _UNITS_OF_LENGTH[-1]
    )
    return length, f"{length / factor:g} {unit}"


def stretch(image: NDArray[Any]) -> NDArray[np.uint8]:
    """Return an 8-bit grey copy of a 2-D image between its 0.5 and 99.5 percentiles; for eyes only."""
    finite = np.nan_to_num(np.asarray(image, dtype=np.float64))
    low, high = np.percentile(finite, [0.5, 99.5])
    return np.asarray(np.clip((finite - low) / max(high - low, 1e-12), 0, 1) * 255, dtype=np.uint8)


def scale_bar(axes: Axes, pixel_size_nm: float) -> None:
    """Draw a scale bar into an image drawn with ``imshow`` in pixels.

    Parameters
    ----------
    axes
        Axes of the image.
    pixel_size_nm
        Pixel size along x [nm].
    """
    from mpl_toolkits.axes_grid1.anchored_artists import AnchoredSizeBar

    left, right = sorted(axes.get_xlim())
    length, text = nice_length((right - left) * pixel_size_nm)
    bar = AnchoredSizeBar(
        axes.transData,
        length / pixel_size_nm,
        text,
        "lower left",
        pad=0.3,
        borderpad=0.6,
        color="white",
        label_top=True,
        sep=2,
        size_vertical=0.008 * (right - left),
        fontproperties={"size": 8},
    )
    bar.patch.set(facecolor="black", edgecolor="none", alpha=0.55)
    axes.add_artist(bar)


@styled
def montage(
    images: Sequence[NDArray[Any]],
    titles: Sequence[str],
    pixel_sizes: Sequence[float | None],
    *,
    columns: int = 4,
) -> Figure:
    """Draw micrographs side by side, each with its name and, where its scale is known, a scale bar.

    Parameters
    ----------
    images
        2-D arrays; each keeps its own aspect ratio.
    titles
        One per image.
    pixel_sizes
        One per image [nm]; None leaves the bar out and says so.
    columns
        Images per row.

    Raises
    ------
    UsageError
        No image, or lists of different lengths.
    """
    if not images or len({len(images), len(titles), len(pixel_sizes)}) != 1:
        raise UsageError(
            f"a montage of {len(images)} images got {len(titles)} titles and {len(pixel_sizes)} pixel sizes; "
            "give one of each per image, and at least one image"
        )
    columns = min(columns, len(images))
    rows = math.ceil(len(images) / columns)
    figure = figure_of((2.6 * columns, 2.85 * rows))
    every = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in every:
        axes.set_axis_off()
    for axes, image, title, size in zip(every, images, titles, pixel_sizes, strict=False):
        axes.imshow(stretch(image), cmap="gray", vmin=0, vmax=255)
        axes.set_anchor("N")
        axes.set_title(title if size else f"{title} (no scale)", fontsize=8)
        if size:
            scale_bar(axes, size)
    return with_data(figure, pd.DataFrame({"title": list(titles), "pixel_size_nm": list(pixel_sizes)}))


@styled
def atoms_figure(
    image: NDArray[Any], atoms: pd.DataFrame, bonds: NDArray[Any], *, pixel_size_nm: float
) -> Figure:
    """Draw atom columns and the bonds between them over their image.

    Parameters
    ----------
    image
        Shape ``(rows, columns)``.
    atoms
        ``x_nm``, ``y_nm`` from the top-left pixel centre [nm]; ``coordination`` colours the atoms.
    bonds
        Row positions in `atoms` of both ends, shape ``(m, 2)``.
    pixel_size_nm
        Pixel size [nm].
    """
    from matplotlib.collections import LineCollection

    figure = figure_of((6.4, 6.4 * image.shape[0] / image.shape[1] + 0.7))
    axes = figure.add_subplot()
    axes.imshow(stretch(image), cmap="gray", vmin=0, vmax=255)
    axes.set_axis_off()
    at = atoms[["x_nm", "y_nm"]].to_numpy(dtype=np.float64) / pixel_size_nm
    if len(bonds):
        axes.add_collection(
            LineCollection(list(at[np.asarray(bonds)]), colors=YELLOW, linewidths=0.9, alpha=0.8)
        )
    n = atoms["coordination"] if "coordination" in atoms else pd.Series(0, index=atoms.index)
    n = n.fillna(0).astype(int)  # at the border neighbours may lie outside the image
    for number in sorted(n.unique()):
        rows = (n == number).to_numpy()
        label = f"{number} neighbours ({rows.sum()})" if number else f"at the border ({rows.sum()})"
        if "coordination" not in atoms:
            label = f"{rows.sum()} atoms"
        colour = _COORDINATION.get(number, "lightgray")
        axes.scatter(
            at[rows, 0],
            at[rows, 1],
            s=22,
            color=colour,
            edgecolors="white",
            linewidths=0.5,
            label=label,
            zorder=3,
        )
    scale_bar(axes, pixel_size_nm)
    if len(atoms):
        figure.legend(loc="outside lower center", ncols=3, handletextpad=0.1)
    return with_data(figure, atoms)


@styled
def link_figure(link: Link) -> Figure:
    """Draw observed against out-of-fold predicted values of the best fitted model, honestly.

    Intervals are those measured on unseen groups; the dotted line is the mean that a link must beat. When
    the baseline is best, the best fitted model is drawn, so that one sees why.
    """
    fitted = {name: row for name, row in by_model(link.table).items() if name not in (BASELINE, METADATA)}
    name = link.best if link.best in fitted else min(fitted, key=lambda one: float(fitted[one]["mae"]))
    data = link.predictions[link.predictions["model"] == name]
    score = fitted[name]
    figure = figure_of((6.2, 5.6))
    axes = figure.add_subplot()
    observed, guess = data["observed"].to_numpy(), data["predicted"].to_numpy()
    if data["low"].notna().all():
        axes.vlines(observed, data["low"], data["high"], color=SKY, alpha=0.22, linewidth=1.2, zorder=1)
        axes.plot([], [], color=SKY, linewidth=4, alpha=0.5, label=_interval_label(score, link.level))
    axes.scatter(observed, guess, s=16, color=BLUE, alpha=0.75, linewidths=0, zorder=3, label="one image")
    ends = np.array([min(observed.min(), guess.min()), max(observed.max(), guess.max())])
    axes.plot(ends, ends, color=INK, linewidth=1, zorder=2, label="perfect")
    axes.axhline(
        observed.mean(), color=VERMILION, linewidth=1.4, linestyle=":", zorder=2, label="mean (baseline)"
    )
    unit = link.units.get("observed")
    target = link.formula.partition("~")[0].strip() + (f" [{unit}]" if unit else "")
    axes.set_xlabel(f"observed {target}")
    axes.set_ylabel(f"predicted {target}, group unseen")
    axes.legend(loc="upper left", bbox_to_anchor=(0, -0.13), ncols=4, columnspacing=1.2, handlelength=1.4)
    head = f"{NAMES[name][:1].upper()}{NAMES[name][1:]}" + ("" if link.found else ": no link shown")
    axes.set_title(head, loc="left", fontweight="bold", pad=24)
    axes.text(0, 1.02, _subtitle(score, link, unit), transform=axes.transAxes, fontsize=8.5, color=MUTED)
    return with_data(figure, data.reset_index(drop=True))


def _interval_label(score: Mapping[str, Any], level: float) -> str:
    return f"{100 * level:.0f} % interval (covers {100 * float(score['coverage']):.0f} %)"


def _subtitle(score: Mapping[str, Any], link: Link, unit: str | None) -> str:
    return (
        f"grouped R² {score['r2_grouped']:.2f} (by image {score['r2_image']:.2f}); "
        f"MAE {quantity(score['mae'], unit)}, mean {quantity(score['mae_baseline'], unit)}; "
        f"{link.n_rows} images, {link.n_groups} groups"
    )


def figure_of(size: tuple[float, float]) -> Figure:
    """Return an empty figure of a size [inch]."""
    from matplotlib.figure import Figure

    return Figure(figsize=size, dpi=160, layout="constrained")


def with_data(figure: Figure, data: pd.DataFrame) -> Figure:
    """Return the figure, bringing the numbers that it shows."""
    figure.micdb_data = data  # type: ignore[attr-defined]
    return figure
