"""What a report is made of: facts, tables, galleries, plots, a verdict, commands. All text is escaped."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from io import BytesIO
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from micdb.analysis.figures import nice_length, stretch

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_PIXELS = 480  # longest side of a gallery image [px]: twice its width on screen, for fine displays
MAX_ROWS = 20  # of a table; what is left out is counted


class Block(Protocol):
    """Anything with an ``html()``."""

    def html(self) -> str:
        """Return a fragment of HTML, text escaped."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Big numbers: name -> value."""

    values: Mapping[str, object]

    def html(self) -> str:
        """Return a description list."""
        pairs = "".join(
            f"<div><dt>{escape(str(name))}</dt><dd>{escape(_text(value))}</dd></div>"
            for name, value in self.values.items()
        )
        return f'<dl class="part facts">{pairs}</dl>'


@dataclass(frozen=True, slots=True)
class Table:
    """A DataFrame with its units under the column names.

    Parameters
    ----------
    frame
        Rows; the index is not shown. Units come from ``frame.attrs["units"]``.
    caption
        One line above it.
    rows
        How many are shown; None for all.
    """

    frame: pd.DataFrame
    caption: str = ""
    rows: int | None = MAX_ROWS

    def html(self) -> str:
        """Return the first rows, and how many more there are."""
        most = len(self.frame) if self.rows is None else self.rows
        units = self.frame.attrs.get("units") or {}
        columns = [str(name) for name in self.frame.columns]
        numeric = [_is_number(self.frame[name]) for name in self.frame.columns]
        head = "".join(
            f'<th scope="col"{_number(right)}>{escape(name)}<small>{escape(units.get(name) or "")}'
            "</small></th>"
            for name, right in zip(columns, numeric, strict=True)
        )
        rows = self.frame.head(most).astype(object).to_numpy()
        body = "".join(
            f"<tr>{''.join(_cell(value, right) for value, right in zip(row, numeric, strict=True))}</tr>"
            for row in rows
        )
        caption = f"<caption>{escape(self.caption)}</caption>" if self.caption else ""
        more = len(self.frame) - most
        rest = f'<p class="more">and {more} more rows</p>' if more > 0 else ""
        table = f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        return f'<div class="part"><div class="scroll">{table}</div>{rest}</div>'


@dataclass(frozen=True, slots=True)
class Card:
    """One micrograph of a gallery.

    Parameters
    ----------
    image
        2-D array.
    name
        Shown in bold below it.
    note
        Second line, for example ``similarity 0.93``.
    pixel_size_nm
        Draws a scale bar; None says that the scale is unknown [nm].
    box
        ``(x, y, width, height)`` of a region to outline [px].
    query
        Whether this is what was searched with.
    """

    image: NDArray[Any]
    name: str
    note: str = ""
    pixel_size_nm: float | None = None
    box: tuple[float, float, float, float] | None = None
    query: bool = False

    def html(self) -> str:
        """Return a figure with the image inline."""
        height, width = self.image.shape
        # Both are shares of the frame, a square that the longer side fills.
        size = (
            f"width:{100 * width / max(width, height):.2f}%;height:{100 * height / max(width, height):.2f}%"
        )
        bar = _bar(width * self.pixel_size_nm) if self.pixel_size_nm else ""
        note = "; ".join(filter(None, [self.note, "" if self.pixel_size_nm else "no scale"]))
        kind = ' class="query"' if self.query else ""
        image = f'<img alt="{escape(self.name)}" src="{_data_uri(_shrunk(self.image))}">'
        return (
            f'<figure{kind}><div class="frame"><div class="picture" style="{size}">{image}'
            f"{self._outline()}{bar}</div></div>"
            f"<figcaption><b>{escape(self.name)}</b>{escape(note)}</figcaption></figure>"
        )

    def _outline(self) -> str:
        if self.box is None:
            return ""
        height, width = self.image.shape
        x, y, w, h = self.box
        place = {"left": x / width, "top": y / height, "width": w / width, "height": h / height}
        style = ";".join(f"{side}:{100 * share:.2f}%" for side, share in place.items())
        return f'<div class="box" style="{style}"></div>'


@dataclass(frozen=True, slots=True)
class Gallery:
    """Micrographs in a grid."""

    cards: Sequence[Card]

    def html(self) -> str:
        """Return the grid."""
        return f'<div class="part gallery">{"".join(card.html() for card in self.cards)}</div>'


@dataclass(frozen=True, slots=True)
class Plot:
    """A matplotlib figure, inline.

    Parameters
    ----------
    figure
        For example of `micdb.analysis.figures`.
    caption
        Below it; also its text for people who do not see it.
    wide
        Whether it takes the whole width of the page; None says yes for figures of more than 8 inches.
    """

    figure: Figure
    caption: str
    wide: bool | None = None

    def html(self) -> str:
        """Return a figure element with a PNG inside."""
        png = BytesIO()
        self.figure.savefig(png, format="png", dpi=160, bbox_inches="tight", pad_inches=0.05)
        wide = self.figure.get_figwidth() > 8 if self.wide is None else self.wide  # [inch]
        size = "" if wide else " medium"
        source = "data:image/png;base64," + b64encode(png.getvalue()).decode("ascii")
        caption = escape(self.caption)
        image = f'<img alt="{caption}" src="{source}">'
        return f'<figure class="part plot{size}">{image}<figcaption>{caption}</figcaption></figure>'


@dataclass(frozen=True, slots=True)
class Verdict:
    """One sentence that must not be overlooked; `good` colours it."""

    text: str
    good: bool

    def html(self) -> str:
        """Return a highlighted paragraph."""
        return f'<div class="part verdict{" good" if self.good else ""}">{escape(self.text)}</div>'


@dataclass(frozen=True, slots=True)
class Remarks:
    """Short lines in small print."""

    lines: Sequence[str]

    def html(self) -> str:
        """Return a list."""
        return f'<ul class="part remarks">{"".join(f"<li>{escape(line)}</li>" for line in self.lines)}</ul>'


@dataclass(frozen=True, slots=True)
class Details:
    """Blocks behind a line to click on; printed in full."""

    summary: str
    blocks: Sequence[Block]

    def html(self) -> str:
        """Return a details element."""
        inside = "".join(block.html() for block in self.blocks)
        return f'<details class="part"><summary>{escape(self.summary)}</summary>{inside}</details>'


@dataclass(frozen=True, slots=True)
class Commands:
    """Lines to copy into a terminal or a notebook."""

    lines: Sequence[str]

    def html(self) -> str:
        """Return preformatted text."""
        text = escape("\n".join(self.lines))
        return f'<pre class="part"><code>{text}</code></pre>'


def _bar(width_nm: float) -> str:
    length, text = nice_length(width_nm)
    return f'<div class="bar" style="width:{100 * length / width_nm:.2f}%"><span>{escape(text)}</span></div>'


def _shrunk(image: NDArray[Any]) -> NDArray[np.uint8]:
    from PIL import Image

    picture = Image.fromarray(stretch(image))
    picture.thumbnail((MAX_PIXELS, MAX_PIXELS), Image.Resampling.LANCZOS)
    return np.asarray(picture)


def _data_uri(image: NDArray[np.uint8]) -> str:
    from PIL import Image

    png = BytesIO()
    Image.fromarray(image).save(png, format="PNG", optimize=True)
    return "data:image/png;base64," + b64encode(png.getvalue()).decode("ascii")


def _is_number(column: pd.Series[Any]) -> bool:
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def _number(numeric: bool) -> str:
    return ' class="number"' if numeric else ""


def _cell(value: Any, numeric: bool) -> str:
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return f'<td class="{"number none" if numeric else "none"}">–</td>'
    return f"<td{_number(numeric)}>{escape(_text(value))}</td>"


def _text(value: Any) -> str:
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, int | np.integer):
        return f"{value:,}"
    if isinstance(value, float | np.floating):
        return f"{value:.4g}" if abs(float(value)) < 1e5 else f"{value:,.0f}"
    return str(value)
