"""What leaves a database for other programs: images of a query as files."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from micdb.bundle import export as exporting
from micdb.bundle.form import Folder
from micdb.bundle.restored import write_all
from micdb.query.frame import Frame
from micdb.query.tables import Tables

PathText = str | PathLike[str]


class Outlets(Tables):
    """The part of `micdb.database.Database` that writes files for other programs."""

    def export(
        self,
        what: str | Frame,
        folder: PathText,
        *,
        as_: str = "ome-tiff",
        overwrite: bool = False,
        sample: Mapping[str, Any] | None = None,
        raw: bool = False,
        scale_bar: bool = False,
        watch: exporting.Watcher | None = None,
    ) -> exporting.Exported:
        """Write the images of a query to a folder, in a format of other programs; see docs/export.md.

        Parameters
        ----------
        what
            Query text, or a frame of images; for csv any frame.
        folder
            Where to; made when there is none.
        as_
            ``ome-tiff``, ``nexus``, ``nxem``, ``png``, ``csv`` or ``coco``.
        overwrite
            Whether files of the same names may be replaced.
        sample
            For nxem: ``is_simulation``, ``atom_types``, ``preparation_date`` where the catalog does not know.
        raw, scale_bar
            For png: values exactly as stored; a bar in images of known pixel size.
        watch
            Called before each image with number, total and file.

        Raises
        ------
        UsageError
            See `micdb.bundle.export.export`.
        """
        frame = self.images.query(what) if isinstance(what, str) else what
        form = exporting.make_form(as_, sample=sample, raw=raw, scale_bar=scale_bar)
        return exporting.export(frame, Path(folder), form, overwrite=overwrite, watch=watch)

    def write_restored(
        self,
        what: str | Frame,
        folder: PathText,
        *,
        as_: str = "tiff",
        using: str | None = None,
        overwrite: bool = False,
    ) -> list[Path]:
        """Write what was restored of the images of a query, each with a mask of what was invented.

        Parameters
        ----------
        what
            Query text, or a frame of images.
        folder
            Where to; made when there is none.
        as_
            ``tiff`` (values and pixel size) or ``png`` (for eyes, with a scale bar).
        using
            Extractor, where several restored: ``denoise@1``.
        overwrite
            Whether files of the same names may be replaced.

        Raises
        ------
        UsageError
            See `micdb.bundle.restored.write_all`.
        """
        frame = self.images.query(what) if isinstance(what, str) else what
        made = self.restorations if using is None else self.restorations.using(using)
        return write_all(frame, made, Folder(Path(folder), overwrite=overwrite), as_)
