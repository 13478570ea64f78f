"""What leaves a database: images of a query as files for other programs, or as a bundle for another micdb."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

import pandas as pd

from micdb.bundle import export as exporting
from micdb.bundle.citation import folder as citing
from micdb.bundle.citation.links import CitableLink
from micdb.bundle.form import Folder, Written
from micdb.bundle.image import load_images
from micdb.bundle.restored import write_all
from micdb.errors import UsageError
from micdb.exchange.doors import Exchanges
from micdb.query.frame import Frame
from micdb.store.files import object_path

PathText = str | PathLike[str]


class Outlets(Exchanges):
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
        level: str | None = None,
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
            ``ome-tiff``, ``nexus``, ``nxem``, ``png``, ``csv`` or ``coco``; or ``bundle``, for another
            database: see docs/exchange.md. A bundle may be a zip file.
        overwrite
            Whether files of the same names may be replaced.
        sample
            For nxem: ``is_simulation``, ``atom_types``, ``preparation_date`` where the catalog does not know.
        raw, scale_bar
            For png: values exactly as stored; a bar in images of known pixel size.
        level
            For bundle: ``metadata``, ``thumbnails``, ``derived`` or ``full``, which it is unless given.
        watch
            Called before each image with number, total and file.

        Raises
        ------
        UsageError
            See `micdb.bundle.export.export`, `micdb.exchange.written.write_bundle`.
        """
        frame = self.images.query(what) if isinstance(what, str) else what
        if as_ == "bundle":
            exporting.check_options(as_, sample=sample, raw=raw, scale_bar=scale_bar)
            return self._bundle(frame, Path(folder), level or "full", overwrite=overwrite, watch=watch)
        if level is not None:
            raise UsageError(f"level is for bundle, not for {as_}")
        form = exporting.make_form(as_, sample=sample, raw=raw, scale_bar=scale_bar)
        return exporting.export(frame, Path(folder), form, overwrite=overwrite, watch=watch)

    def _bundle(
        self, frame: Frame, path: Path, level: str, *, overwrite: bool, watch: exporting.Watcher | None
    ) -> exporting.Exported:
        done = self.export_bundle(frame, path, level=level, overwrite=overwrite, watch=watch)
        context = self.context
        written, refused = [], []
        for image in load_images(context.engine, context.root, frame.pks().tolist()):
            if image.uid in done.withheld:
                refused.append(exporting.Refused(image.uid, image.name, done.withheld[image.uid]))
                continue
            names = [f"thumbnails/{image.uid}.png"]
            names += [object_path(image.sha256)] if image.sha256 is not None else []
            files = tuple(name for name in names if name in done.manifest.members)
            note = done.damaged.get(image.uid)
            if image.object is None and level == "full":
                note = "its pixels are not here, and so not in the bundle"
            written.append(Written(replace(image, settings={}), files, (note,) if note else ()))
        tables = tuple(sorted(name for name in done.manifest.members if name.startswith("catalog/")))
        return exporting.Exported(path, "bundle", tuple(written), tuple(refused), tables)

    def cite(
        self,
        what: str | Frame | pd.DataFrame,
        folder: PathText,
        *,
        title: str | None = None,
        creators: Sequence[str | Mapping[str, Any]] | None = None,
        publisher: str | None = None,
        year: int | None = None,
        links: Sequence[CitableLink] = (),
        overwrite: bool = False,
    ) -> citing.Cited:
        """Write rows as a folder that can be cited; see docs/citing.md.

        Parameters
        ----------
        what
            Query text, a frame, or the DataFrame that a frame gave, or some rows and columns of it.
        folder
            Made here; whole, or not at all.
        title
            Of the data set.
        creators
            ``"Doe, Jane"``, ``"Doe, Jane (0000-0002-1825-0097)"``, or mappings with ``name``, ``orcid``,
            ``affiliation``, ``organisation``. None for the operators of the images, else their labs.
        publisher
            None for the lab of the images, where that is one.
        year
            None for this year.
        links
            Links that ``frame.link`` found among these images: each comes with its fitted model, scores and
            predictions, its sentences among the methods, and its references.
        overwrite
            Whether a folder of that name may be replaced.

        Raises
        ------
        UsageError
            Something that a citation needs lacks, all of it named; there is no row; rows are not what their
            query gives; a link rests on other images; an image is under embargo or its licence forbids it;
            the folder exists.
        """
        return citing.cite(
            self.context, what, Path(folder), title=title, creators=creators, publisher=publisher, year=year,
            links=links, overwrite=overwrite,
        )  # fmt: skip

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
