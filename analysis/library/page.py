"""The library as a page for a paper's supplement: one file, every count of it led back to pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from micdb.analysis.blocks import Block, Card, Commands, Details, Gallery, Plot, Remarks, Table
from micdb.analysis.library.average import cut
from micdb.analysis.library.entry import Entry
from micdb.analysis.library.figure import ROWS, distances_figure, library_figure
from micdb.analysis.report import Section, write_report
from micdb.errors import UsageError
from micdb.provenance import package_version

if TYPE_CHECKING:
    from micdb.analysis.library.library import Library

_EXEMPLARS = 8
_MEMBERS = ["uid", "image_name", "image_uid", "frame", "x_nm", "y_nm", "x_px", "y_px", "score", "state"]
_PLACES = {"x_nm": "nm", "y_nm": "nm", "x_px": "px", "y_px": "px"}


def library_page(
    library: Library, path: str | PathLike[str], *, title: str = "Defect library", level: float = 0.95
) -> Path:
    """Write the page and return its path.

    Parameters
    ----------
    library
        With one motif or more that has members.
    path
        The HTML file; one that exists is replaced.
    title
        Heading.
    level
        Probability of the intervals.

    Raises
    ------
    UsageError
        No motif has members.
    """
    entries = ranked(library)
    table = library.motifs(level=level)
    sections = [_overview(entries, table, level)]
    sections += [_motif(entry, level) for entry in entries]
    sections.append(_how(entries))
    n, images = int(table["n"].sum()), len({pk for entry in entries for pk in entry.members["image"]})
    return write_report(
        path,
        title=title,
        subtitle=f"{n:,} defects of {len(entries)} motifs in {images:,} images",
        sections=sections,
        footer=f"micdb {package_version()}",
    )


def ranked(library: Library) -> list[Entry]:
    """Return the motifs that have members, the most frequent first.

    Raises
    ------
    UsageError
        There is none.
    """
    shown = [one for one in library if len(one.members)]
    entries = sorted(shown, key=lambda one: (-len(one.members), one.name))
    if not entries:
        raise UsageError("no motif has a defect here: call db.library.build() after populate")
    return entries


def density_text(row: dict[str, Any]) -> str:
    """Return a density with its interval: ``0.094 (0.056 to 0.146) nm⁻²``."""
    if row["density"] is None:
        return "no density: the scale is unknown"
    digits = max(0, 1 - math.floor(math.log10(max(row["density"], 1e-9))))
    value, low, high = (f"{row[name]:.{digits}f}" for name in ("density", "density_low", "density_high"))
    return f"{value} ({low} to {high}) nm⁻²"


def _overview(entries: Sequence[Entry], table: pd.DataFrame, level: float) -> Section:
    caption = (
        "Mean picture, mean atoms with circles of two standard deviations, and the members most like the "
        f"mean, as recorded. Densities with {100 * level:g} % intervals."
    )
    figures: list[Block] = [
        Plot(library_figure(entries[start : start + ROWS], level=level), caption, wide=True)
        for start in range(0, len(entries), ROWS)
    ]
    shown = table[table["n"] > 0].drop(columns=["corrected"])
    shown = shown.loc[:, (shown != "").any()]  # no column of materials or labs where none is known
    shown.attrs = dict(table.attrs)
    return Section("Motifs", [*figures, Table(shown)])


def _motif(entry: Entry, level: float) -> Section:
    row = entry.summary(level=level)
    found = entry.average
    blocks: list[Block] = []
    if found is not None:
        shown = entry.exemplars(_EXEMPLARS)
        patches = cut(entry.context, shown, found.grid)
        whole = np.nan_to_num(found.picture)
        cards = [Card(whole, "mean", f"of {len(found.misfit)}", found.pixel_size, query=True)]
        for one in shown.to_dict("records"):
            note = f"x {one['x_px']:.1f}, y {one['y_px']:.1f} px; {one['uid'][-12:]}"
            cards.append(Card(np.nan_to_num(patches[one["pk"]]), one["image_name"], note, found.pixel_size))
        blocks.append(Gallery(cards))
        if found.sites:
            positions = found.positions.round(4)
            positions.attrs["units"] = {"x_nm": "nm", "y_nm": "nm", "sd_nm": "nm"}
            blocks.append(Plot(distances_figure(entry), "Distances of nearest atoms around the members"))
            caption = (
                "From the centre; sd along an axis, over the members; share of the members with the atom"
            )
            blocks.append(Details(f"{len(positions)} mean atoms", [Table(positions, caption, rows=None)]))
    members = entry.members[_MEMBERS].rename(columns={"image_name": "image"})
    members.attrs["units"] = _PLACES
    blocks.append(Details(f"All {len(members):,} members", [Table(members, rows=None)]))
    text = f"{row['kind']}; {len(members):,} in {row['images']:,} images; {density_text(row)}."
    further = [f"{name}: {row[name]}" for name in ("materials", "labs", "detectors") if row[name]]
    further.append(f"defined {_defined(entry.definition)}")
    return Section(entry.name, [*blocks, Remarks(further)], text=text)


def _defined(definition: dict[str, Any]) -> str:
    by = definition["by"]
    if by == "any":
        return " or ".join(_defined(one) for one in definition["of"])
    if by == "examples":
        return (
            f"by likeness to {len(definition['examples'])} examples, from probability {definition['least']:g}"
        )
    key = f" with the bond graph {definition['key']}" if by == "key" else " without a bond graph"
    return f"as {definition['kind']}{key}"


def _how(entries: Sequence[Entry]) -> Section:
    name = entries[0].name
    said = [
        "A density is the number of defects over the area the detector looked at. Where it is corrected, "
        "what the detector misses and invents is known from planted truth and from corrections; the "
        "interval holds what all these counts leave uncertain (Jeffreys' priors).",
        "In a motif of a bond graph the same atoms are bonded in the same way, whatever the direction. Means "
        "are of members laid on one another by least squares, mirrored where that fits better.",
        "Every member is a row of the database; its uid leads to the image and the pixels:",
    ]
    commands = [
        f"rows = db.defects[db.defects.motif == {name!r}].to_pandas()",
        "image = db.image(rows.image[0]); pixels = image.frame(rows.frame[0])",
    ]
    return Section("How these numbers were made", [Remarks(said), Commands(commands)])
