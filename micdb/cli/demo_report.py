"""The demo's page: what came in, what it looks like, and what was answered."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from micdb.analysis.blocks import Block, Card, Commands, Facts, Gallery, Plot, Remarks, Table
from micdb.analysis.figures import atoms_figure
from micdb.analysis.report import Section, link_section, write_report
from micdb.provenance import package_version

if TYPE_CHECKING:
    import pandas as pd

    from micdb.analysis.linking.result import Link
    from micdb.database import Database

SHOWN = 10  # micrographs in the gallery


@dataclass(frozen=True, slots=True)
class Findings:
    """What the demo found.

    Parameters
    ----------
    db
        The open database.
    answer
        The query's rows; ``attrs["text"]`` is the query.
    example, matches
        Uid of the image searched by and the rows found; None when no image has a texture.
    link
        The link; None when there was nothing to link.
    simulated
        Whether the files were simulated.
    """

    db: Database
    answer: pd.DataFrame
    example: str | None
    matches: pd.DataFrame | None
    link: Link | None
    simulated: bool

    @property
    def next_commands(self) -> list[str]:
        """Commands that go further from here."""
        commands = [
            "micdb query 'n_atoms > 100' --columns name,n_atoms,mean_coordination,median_neighbour_distance",
            "micdb query 'pixel_size < 100 nm' --format csv",
            "micdb fsck --deep",
        ]
        if self.example:
            box = " --box 0,0,200,200" if self.simulated else ""
            commands.insert(0, f"micdb similar {self.example} -k 5{box}")
        if self.link is not None:
            commands.append(f"micdb link '{self.link.formula}' --groups sample --figure link.png")
        return [f"{command} --db demo.micdb" for command in commands]


def write(path: Path, findings: Findings) -> Path:
    """Write the page and return its path."""
    sections = [
        _arrivals(findings.db),
        _gallery(findings.db),
        Section(
            "A question",
            [Table(findings.answer, "sorted, the first rows")],
            text=f"micdb query '{findings.answer.attrs['text']}'",
        ),
    ]
    sections += _matches(findings)
    sections += _atoms(findings.db)
    if findings.link is not None:
        sections.append(link_section(findings.link))
    sections.append(Section("What to try next", [Commands(findings.next_commands)]))
    kind = "simulated micrographs of two labs" if findings.simulated else "your files"
    return write_report(
        path,
        title="From microscope files to an answered question",
        subtitle=f"micdb on {kind}: ingest, populate, query, search, link.",
        sections=sections,
        footer=f"micdb {package_version()}; made by: micdb demo",
    )


def _arrivals(db: Database) -> Section:
    images = db.images[["lab", "format", "modality", "sample", "material"]].to_pandas()
    facts = {
        "images": len(images),
        "labs": images["lab"].nunique(),
        "samples": len(db.samples),
        "file formats": images["format"].nunique(),
    }
    shown = (
        images.fillna("unknown").groupby(["lab", "format", "modality"]).size().rename("images").reset_index()
    )
    return Section("What came in", [Facts(facts), Table(shown)])


def _gallery(db: Database) -> Section:
    """Show images spread evenly over the database."""
    frame = db.images[["uid", "name", "lab"]].to_pandas()
    chosen = frame.iloc[np.unique(np.linspace(0, len(frame) - 1, SHOWN).astype(int))]
    return Section("Micrographs", [Gallery(_cards(db, chosen, notes=chosen["lab"].fillna("")))])


def _matches(findings: Findings) -> list[Section]:
    if findings.matches is None or findings.example is None:
        return []
    notes = findings.matches["similarity"].map("similarity {:.3f}".format)
    cards = _cards(findings.db, findings.matches, notes=notes, query=findings.example)
    text = "The outlined image is the example. Similarity is the cosine of texture vectors at a common scale."
    return [Section("Images like this one", [Gallery(cards)], text=text)]


def _atoms(db: Database) -> list[Section]:
    """Draw the atoms and bonds of the image with most of them, of STEM images where there are such."""
    images = db.images.query('modality == "STEM"')
    images = db.images if images[images.atoms.count() > 0].empty else images
    best = images[images.atoms.count() > 0].assign(n=images.atoms.count()).sort_values("n", ascending=False)
    found = best.head(1)[["uid", "name", "pixel_size"]].to_pandas()
    if found.empty or found["pixel_size"].isna().any():
        return []
    (picture,) = db.pictures(found["uid"])
    this = images[images.uid == found["uid"].iloc[0]]
    atoms = this.atoms.to_pandas()
    first = atoms[atoms["frame"] == 0].reset_index(drop=True)
    bonds = this.bonds.to_pandas()
    ends = bonds.loc[bonds["frame"] == 0, ["i", "j"]].to_numpy(dtype=np.int64)
    figure = atoms_figure(picture.pixels[0], first, ends, pixel_size_nm=float(found["pixel_size"].iloc[0]))
    caption = f"{found['name'].iloc[0]}: {len(first)} atom columns, {len(ends)} bonds"
    blocks: list[Block] = [Plot(figure, caption)]
    if len(first) > len(ends):
        blocks.append(Remarks(["Atoms at the border have fewer neighbours in view."]))
    return [Section("Atom columns", blocks, text="Found by the extractor peaks, coloured by coordination.")]


def _cards(
    db: Database, rows: pd.DataFrame, *, notes: pd.Series[str], query: str | None = None
) -> list[Card]:
    pictures = db.pictures(rows["uid"])
    return [
        Card(
            picture.pixels[0],
            picture.name,
            note=str(note),
            pixel_size_nm=picture.pixel_size[1] if picture.pixel_size else None,
            query=uid == query,
        )
        for picture, uid, note in zip(pictures, rows["uid"], notes, strict=True)
    ]
