"""The tables of a database, each as a lazy frame."""

from __future__ import annotations

from abc import ABC, abstractmethod

from micdb.errors import UsageError
from micdb.masks import Mask
from micdb.query.context import Context
from micdb.query.frame import Frame
from micdb.restored import Restored


class Tables(ABC):
    """The half of `micdb.database.Database` that is asked."""

    @property
    @abstractmethod
    def context(self) -> Context:
        """What frames need of the database."""

    @property
    def images(self) -> Frame:
        """One row per image."""
        return Frame(self.context, "images")

    @property
    def samples(self) -> Frame:
        """One row per sample."""
        return Frame(self.context, "samples")

    @property
    def properties(self) -> Frame:
        """One row per property value."""
        return Frame(self.context, "properties")

    @property
    def defects(self) -> Frame:
        """One row per defect of the current runs."""
        return Frame(self.context, "defects")

    @property
    def atoms(self) -> Frame:
        """One row per atom of the current run, in the order of the images; read in place from Parquet."""
        return Frame(self.context, "atoms")

    @property
    def bonds(self) -> Frame:
        """One row per bond between atoms of the current run."""
        return Frame(self.context, "bonds")

    @property
    def embeddings(self) -> Frame:
        """One row per vector of an image; ``to_arrow(nested=True)`` has the vectors."""
        return Frame(self.context, "embeddings")

    @property
    def patches(self) -> Frame:
        """One row per vector of a place in an image; ``to_arrow(nested=True)`` has the vectors."""
        return Frame(self.context, "patches")

    @property
    def tracks(self) -> Frame:
        """One row per place of something that was followed from frame to frame."""
        return Frame(self.context, "tracks")

    @property
    def latents(self) -> Frame:
        """One row per number that a run found for an image or frame: order parameters, strains, latents."""
        return Frame(self.context, "latents")

    @property
    def lattices(self) -> Frame:
        """One row per region of a frame that has one lattice: vectors, Bravais type, probability."""
        return Frame(self.context, "lattices")

    @property
    def heights(self) -> Frame:
        """One row per atom column whose atoms along the beam were counted."""
        return Frame(self.context, "heights")

    @property
    def tilts(self) -> Frame:
        """One row per region of a perovskite: rotations of its octahedra about three axes."""
        return Frame(self.context, "tilts")

    @property
    def phases(self) -> Frame:
        """One row per phase of an image: its share of the area."""
        return Frame(self.context, "phases")

    @property
    def interfaces(self) -> Frame:
        """One row per ordered pair of phases: shared boundary, width of the zone between them."""
        return Frame(self.context, "interfaces")

    @property
    def regions(self) -> Frame:
        """One row per connected region of one phase."""
        return Frame(self.context, "regions")

    @property
    def particles(self) -> Frame:
        """One row per particle or grain: size and shape."""
        return Frame(self.context, "particles")

    @property
    def classes(self) -> Frame:
        """One row per class that an image may be of, the likeliest first, by what a user taught."""
        return Frame(self.context, "classes")

    @property
    def masks(self) -> Frame:
        """One row per mask that a run drew; ``to_arrow(nested=True)`` has the pixels, `mask` one of them."""
        return Frame(self.context, "masks")

    @property
    def spectra(self) -> Frame:
        """One row per band of spatial frequencies of an image: share of the variance, angular orders."""
        return Frame(self.context, "spectra")

    def mask(self, image: str, kind: str = "phases", *, frame: int = 0, using: str | None = None) -> Mask:
        """Return a mask that a run drew; ``db.annotations.mask`` has those of experts.

        Parameters
        ----------
        image
            uid of the micrograph.
        kind
            What it is of: ``phases``, ``particles``, ``defects``.
        frame
            Of a stack, from 0.
        using
            Extractor, as `Frame.using` takes it, where several drew one.

        Raises
        ------
        UsageError
            There is no such mask, or several extractors drew one.
        """
        masks = self.masks if using is None else self.masks.using(using)
        wanted = masks[(masks.image == image) & (masks.kind == kind) & (masks.frame == frame)]
        rows = wanted.to_arrow(nested=True).to_pylist()
        if not rows:
            raise UsageError(
                f"no run drew {kind} on frame {frame} of {image}: see db.masks, or run micdb populate"
            )
        row = rows[0]
        shape = (row["height_px"], row["width_px"])
        return Mask.of_runs(row["labels"], row["lengths"], shape, row["classes"])

    @property
    def restorations(self) -> Frame:
        """One row per image made of an image; ``to_arrow(nested=True)`` has the pixels, `restored` one."""
        return Frame(self.context, "restorations")

    def restored(self, image: str, *, frame: int = 0, using: str | None = None) -> Restored:
        """Return an image that a run made of an image; the original stays what it is.

        Parameters
        ----------
        image
            uid of the micrograph.
        frame
            Of a stack, from 0.
        using
            Extractor, as `Frame.using` takes it, where several made one: ``denoise@1``, ``super-resolve@1``.

        Raises
        ------
        UsageError
            There is no such image, or several extractors made one.
        """
        made = self.restorations if using is None else self.restorations.using(using)
        rows = made[(made.image == image) & (made.frame == frame)].to_arrow(nested=True)
        if not rows.num_rows:
            raise UsageError(
                f"no run restored frame {frame} of {image}: see db.restorations, or micdb populate denoise"
            )
        return Restored.of_table(rows)[0]

    @property
    def rings(self) -> Frame:
        """One row per ring of bonds, computed when it is asked for."""
        return Frame(self.context, "rings")

    @property
    def neighbours(self) -> Frame:
        """One row per atom and each of its eight nearest, computed when it is asked for."""
        return Frame(self.context, "neighbours")

    @property
    def runs(self) -> Frame:
        """One row per run."""
        return Frame(self.context, "runs")
