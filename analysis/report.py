"""One self-contained HTML page: pictures inline, no script, no network, readable in the dark and on paper."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from micdb.analysis.blocks import Block, Plot, Remarks, Table, Verdict
from micdb.analysis.figures import link_figure
from micdb.analysis.stylesheet import CSS

if TYPE_CHECKING:
    from micdb.analysis.linking.result import Link


@dataclass(frozen=True, slots=True)
class Section:
    """A titled part of a report.

    Parameters
    ----------
    title
        Heading, also the entry in the contents line.
    blocks
        From `micdb.analysis.blocks`, in order.
    text
        A sentence under the heading.
    """

    title: str
    blocks: Sequence[Block]
    text: str = ""

    @property
    def anchor(self) -> str:
        """Return the name links within the page use."""
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-") or "section"

    def html(self) -> str:
        """Return the section, text escaped."""
        lead = f"<p>{escape(self.text)}</p>" if self.text else ""
        inside = "".join(block.html() for block in self.blocks)
        return f'<section id="{self.anchor}"><h2>{escape(self.title)}</h2>{lead}{inside}</section>'


def link_section(link: Link, *, title: str = "Structure and property") -> Section:
    """Return the section of a link: verdict, figure, table, and what must be said beside them."""
    caption = (
        f"Observed against predicted for {link.formula}. Each point was predicted by a model that saw "
        "no image of its group; bars are intervals for an unseen group."
    )
    names = ["model", "r2_grouped", "r2_image", "mae", "rmse", "beats_baseline", "coverage", "width"]
    shown = link.table[names].round({"r2_grouped": 3, "r2_image": 3, "coverage": 3})
    shown.attrs["units"] = dict(link.units)
    blocks: list[Block] = [
        Verdict(link.verdict, good=link.found),
        Plot(link_figure(link), caption),
        Table(shown, "Out-of-fold scores; the baseline predicts the mean of the training rows"),
        Remarks(link.remarks()),
    ]
    return Section(title, blocks, text=link.formula)


def write_report(
    path: str | PathLike[str],
    *,
    title: str,
    sections: Sequence[Section],
    subtitle: str = "",
    footer: str = "",
) -> Path:
    """Write a report and return where it lies.

    Parameters
    ----------
    path
        The HTML file; one that exists is replaced.
    title
        Heading of the page and of the browser's tab.
    sections
        In order.
    subtitle
        A sentence below the heading.
    footer
        Last line, for example the version and the command that made the report.
    """
    contents = "".join(f'<a href="#{one.anchor}">{escape(one.title)}</a>' for one in sections)
    page = (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{CSS}</style>\n</head>\n<body>\n"
        f"<header><h1>{escape(title)}</h1><p>{escape(subtitle)}</p><nav>{contents}</nav></header>\n<main>\n"
        + "\n".join(section.html() for section in sections)
        + f"\n</main>\n<footer>{escape(footer)}</footer>\n</body>\n</html>\n"
    )
    target = Path(path)
    target.write_text(page, encoding="utf-8")
    return target
