"""The defect library of a database: ``db.library``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from micdb.analysis.library import motifs as store
from micdb.analysis.library.bundle import export_library
from micdb.analysis.library.census import Census
from micdb.analysis.library.curate import Built, Curator
from micdb.analysis.library.entry import Entry
from micdb.analysis.library.figure import ROWS, library_figure
from micdb.analysis.library.page import library_page, ranked
from micdb.analysis.library.proposals import LEAST
from micdb.catalog.engine import reading
from micdb.query.context import Context
from micdb.query.frame import Frame

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RARE = 2  # members that a new motif needs
_UNITS = {"density": "1/nm**2", "density_low": "1/nm**2", "density_high": "1/nm**2"}


class Library:
    """Motifs of defects, from every image and lab of a database.

    Parameters
    ----------
    context
        The database.
    images
        ``micrograph.pk`` of the images that counts and means are of; None for all. See `within`.
    """

    def __init__(self, context: Context, images: tuple[int, ...] | None = None) -> None:
        self.context = context
        self._images = images
        self._curator = Curator(context.engine)

    def __repr__(self) -> str:
        return f"<defect library: {', '.join(self.names()) or 'empty'}>"

    def __len__(self) -> int:
        return len(self.names())

    def __iter__(self) -> Iterator[Entry]:
        """Yield the entries by name."""
        census = Census(self.context.engine, self._images)
        with reading(self.context.engine) as connection:
            known = store.motifs(connection)
        return (Entry(self.context, one, census) for one in known)

    def __getitem__(self, name: str) -> Entry:
        """Return a motif.

        Raises
        ------
        UsageError
            There is none of that name.
        """
        with reading(self.context.engine) as connection:
            found = store.motif(connection, name)
        return Entry(self.context, found, Census(self.context.engine, self._images))

    def names(self) -> list[str]:
        """Return the names of the motifs that are not retired, sorted."""
        with reading(self.context.engine) as connection:
            return [one.name for one in store.motifs(connection)]

    def within(self, query: str | Frame) -> Library:
        """Return the library with the counts, densities and means of some images only.

        Parameters
        ----------
        query
            Query text, or a frame of images.
        """
        frame = Frame(self.context, "images").query(query) if isinstance(query, str) else query
        return Library(self.context, tuple(frame.pks().tolist()))

    def motifs(self, *, level: float = 0.95) -> pd.DataFrame:
        """Return the library as a table, the most frequent motif first.

        Parameters
        ----------
        level
            Probability of the intervals of the densities.

        Returns
        -------
        pandas.DataFrame
            ``name``, ``kind``, ``formula``, ``status``; ``n`` defects in ``images`` images; ``density`` with
            ``density_low`` and ``density_high`` [nm**-2], and whether it is ``corrected`` for what the
            detector misses and invents; ``materials``, ``labs``, ``detectors`` with their versions.
        """
        table = pd.DataFrame([entry.summary(level=level) for entry in self])
        if not table.empty:
            table = table.sort_values(["n", "name"], ascending=[False, True]).reset_index(drop=True)
        table.attrs["units"] = dict(_UNITS)
        return table

    def figure(self, *, level: float = 0.95) -> Figure:
        """Return the figure of a paper, of the eight most frequent motifs; see `library_figure`."""
        return library_figure(ranked(self)[:ROWS], level=level)

    def page(self, path: str | PathLike[str], *, title: str = "Defect library", level: float = 0.95) -> Path:
        """Write the library as one HTML page; see `micdb.analysis.library.page.library_page`."""
        return library_page(self, path, title=title, level=level)

    def export(
        self,
        folder: str | PathLike[str],
        *,
        title: str = "Defect library",
        overwrite: bool = False,
        level: float = 0.95,
    ) -> Path:
        """Write what a paper's supplement needs to a folder, and return it.

        Page, figure as PDF and PNG at 180 mm, tables as CSV, mean structures as XYZ, mean pictures as TIFF,
        the cards of the detectors, a README with methods, CITATION.cff.

        Parameters
        ----------
        folder
            Made here; whole, or not at all.
        title
            Of the page and the README.
        overwrite
            Whether a folder of that name may be replaced.
        level
            Probability of the intervals.

        Raises
        ------
        UsageError
            The folder exists or is inside the database, or no motif has members.
        MissingExtraError
            ASE, which writes XYZ, is not installed.
        """
        return export_library(self, folder, title=title, overwrite=overwrite, level=level)

    # ------------------------------------------------------------------ curating

    def build(self, query: str | Frame | None = None, *, rare: int = RARE) -> Built:
        """Put every defect into the motif it belongs to, and propose motifs for the others.

        Defects of one bond graph with species make a motif, and so do those of one kind that has no graph.
        Of what the detectors call unknown, clusters of those that look alike are proposed. Building again
        does what has come since; what people added, merged, renamed or retired stays so.

        Parameters
        ----------
        query
            Only defects of these images: text, or a frame. None for all.
        rare
            Members that a new motif needs.
        """
        images = self._images if query is None else self.within(query)._images
        return self._curator.build(images, rare=rare)

    def add(self, name: str, examples: Iterable[str] | Frame, *, least: float = LEAST) -> Entry:
        """Add a motif by a few examples: what looks like them belongs to it, without training again.

        Parameters
        ----------
        name
            Of the motif; not taken yet.
        examples
            uids of two or more defects of one detector, five or so; or a frame of defects.
        least
            Probability from which a defect belongs.

        Raises
        ------
        UsageError
            The name is taken, an example is no defect that stands or has no descriptor, there are too few,
            or they are of several detectors.
        """
        uids = examples.to_pandas()["uid"] if isinstance(examples, Frame) else examples
        self._curator.add(name, list(dict.fromkeys(uids)), least=least)
        return self[name]

    def merge(self, names: Iterable[str], into: str) -> Entry:
        """Make one motif of several: what belongs to one of them belongs to it from now on.

        Parameters
        ----------
        names
            Of the motifs; `into` may be among them.
        into
            What they become: one of them, or a new name.

        Raises
        ------
        UsageError
            Fewer than two motifs, or there is none of a name.
        """
        self._curator.merge(names, into)
        return self[into]

    def split(self, name: str, *, by: str = "key", rare: int = RARE) -> list[Entry]:
        """Make several motifs of one, whose place they take.

        Parameters
        ----------
        name
            Of the motif.
        by
            ``key``: one for each kind and bond graph; ``look``: clusters of those that look alike.
        rare
            Members that a new motif needs; what there is less of belongs to none.

        Raises
        ------
        UsageError
            There is no such motif, or only one sort in it.
        """
        return [self[one] for one in self._curator.split(name, by=by, rare=rare)]

    def rename(self, name: str, new: str) -> Entry:
        """Give a motif another name; raises `UsageError` where that is taken."""
        self._curator.rename(name, new)
        return self[new]

    def accept(self, name: str) -> Entry:
        """Say that a proposed motif is one."""
        self._curator.accept(name)
        return self[name]

    def retire(self, name: str) -> None:
        """Take a motif out: its defects stay and belong to none, and it is not proposed again."""
        self._curator.retire(name)
