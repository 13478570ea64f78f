"""A micdb database: one folder, and short delegations to the layers that do the work."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import pandas as pd
import sqlalchemy as sa
from sqlalchemy import Engine

from micdb import compact as compacting
from micdb import fsck, snapshots
from micdb.analysis.verbs import classify, comparable, embedding_map, link, scorecard, suggest
from micdb.annotations import Annotations
from micdb.bundle.image import StoredImage, load_images
from micdb.bundle.outlets import Outlets
from micdb.catalog import statistics, tables
from micdb.catalog.engine import place, reading
from micdb.corrections import Corrections
from micdb.errors import UsageError
from micdb.ingest import measurements, pipeline, query_picture, watching
from micdb.ingest.sheet import read_properties, read_tables
from micdb.populate import service
from micdb.populate.pictures import image_keys, load_pictures
from micdb.query import saving
from micdb.query.context import Context
from micdb.query.display import COUNTED
from micdb.query.frame import Frame
from micdb.query.search import indexing
from micdb.records import Picture

if TYPE_CHECKING:
    from micdb.analysis.comparable import Comparison
    from micdb.analysis.library.library import Library

PathText = str | PathLike[str]


class Database(Outlets):
    """An open database. Make one with `micdb.init` or `micdb.open`; use it as a context manager or close it.

    Parameters
    ----------
    root
        The folder.
    engine
        Its catalog.
    """

    def __init__(self, root: Path, engine: Engine) -> None:
        self.root = root
        self.engine = engine

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        where = str(self.root) if self.engine.dialect.name == "sqlite" else place(self.engine)
        found = self.images.head(COUNTED + 1).count()
        return f"<micdb database {where!r}: {found if found <= COUNTED else f'{COUNTED:,}+'} images>"

    def close(self) -> None:
        """Let go of the catalog."""
        self.engine.dispose()

    # ------------------------------------------------------------------ frames

    @property
    def context(self) -> Context:
        """What frames need of the database."""
        read = query_picture.read_picture
        return Context(
            self.engine, self.root, read, link, load_images, classify, suggest, embedding_map, comparable
        )

    def comparable(self, *, by: str = "lab", **options: Any) -> Comparison:
        """Compare the images of labs or other labels; see `micdb.analysis.comparable.comparable`."""
        return comparable(self.images, by=by, **options)

    def pictures(self, of: Frame | Iterable[str]) -> Iterator[Picture]:
        """Yield the pixels of images in order, one at a time, as extractors see them.

        Parameters
        ----------
        of
            A frame of images, or uids.

        Raises
        ------
        UsageError
            A uid is not of an image in this database.
        StoreError
            An object is missing or damaged.
        """
        keys = of.pks().tolist() if isinstance(of, Frame) else image_keys(self.engine, list(of))
        return load_pictures(self.engine, self.root, keys)

    def image(self, uid: str) -> StoredImage:
        """Return one image: its pixels, and itself as an xarray or HyperSpy object.

        Raises
        ------
        UsageError
            No image has that uid.
        """
        return next(load_images(self.engine, self.root, image_keys(self.engine, [uid])))

    def load_query(self, source: PathText | Mapping[str, Any]) -> Frame:
        """Return the frame of a saved query.

        Parameters
        ----------
        source
            A file that ``frame.save`` wrote, or the tree that ``frame.to_json`` gave.

        Raises
        ------
        NotFoundError
            There is no such file.
        UsageError
            It holds no query, or speaks of what this database does not have.
        """
        return Frame.from_json(self.context, saving.read(source))

    def property_names(self, kind: str | None = None) -> list[str]:
        """Return the names of the properties known here, sorted; `kind` is ``number`` or ``text``."""
        names = sa.select(tables.property_def.c.name).order_by(tables.property_def.c.name)
        if kind is not None:
            names = names.where(tables.property_def.c.kind == kind)
        with reading(self.engine) as connection:
            return list(connection.execute(names).scalars())

    # ------------------------------------------------------------------ snapshots

    def snapshot(self, name: str) -> snapshots.Snapshot:
        """Keep the database as it is now under a name, for papers; see `at`.

        Raises
        ------
        UsageError
            The name is taken, or cannot name a file.
        """
        return snapshots.take(self.engine, self.root, name)

    def snapshots(self) -> list[snapshots.Snapshot]:
        """Return all snapshots, oldest first."""
        return snapshots.listed(self.engine)

    def drop_snapshot(self, name: str) -> None:
        """Forget a snapshot; what only it needed may be purged from now on."""
        snapshots.drop(self.engine, self.root, name)

    def at(self, name: str) -> Database:
        """Return the database as it was when a snapshot was taken: it answers exactly as it did then.

        It cannot be written to. Close it, or use it as a context manager.

        Raises
        ------
        UsageError
            There is no snapshot of that name.
        NotFoundError, OldSchemaError
            Its file is gone, or older than this micdb reads.
        """
        return Database(self.root, snapshots.open_snapshot(self.engine, self.root, name))

    # ------------------------------------------------------------------ experts and defects

    @property
    def corrections(self) -> Corrections:
        """What people say of the defects that were found: accept, reject, relabel, move, add, undo."""
        return Corrections(self.engine)

    @property
    def annotations(self) -> Annotations:
        """What experts draw on images: masks of phases and of objects, strokes."""
        return Annotations(self.engine)

    @property
    def library(self) -> Library:
        """The defect library: motifs, their mean look, counts and densities; see docs/library.md."""
        from micdb.analysis.library.library import Library  # loads scipy

        return Library(self.context)

    def scorecard(self, *, level: float = 0.95) -> pd.DataFrame:
        """Return precision and recall of each detector of defects; see `micdb.analysis.scorecard`."""
        return scorecard(self.engine, level=level)

    # ------------------------------------------------------------------ services

    def ingest(
        self,
        paths: PathText | Iterable[PathText],
        *,
        lab: str | None = None,
        sheet: PathText | None = None,
        map: PathText | None = None,  # noqa: A002 - the word users know
        workers: int = 1,
        defer_pixels: bool = False,
        watch: pipeline.Watcher | None = None,
    ) -> pipeline.Ingested:
        """Bring microscope files in; what is here already is recognised.

        Parameters
        ----------
        paths
            A file, a folder that is searched, an archive (.zip, .tar.gz), or several of them.
        lab
            Laboratory they come from.
        sheet, map
            CSV or XLSX with one row per file, and the TOML file that says what its columns mean.
        workers
            Processes that read; 0 takes one per processor. One process writes the catalog.
        defer_pixels
            Catalogue from the headers only: the images can be queried at once, and their pixels are brought
            in by `fetch`, or by the same call without this.
        watch
            Called before each file with number, total and path.

        Raises
        ------
        NotFoundError, ReadError, UsageError, SheetError
            See `micdb.ingest.pipeline.ingest`.
        """
        several = [paths] if isinstance(paths, str | PathLike) else list(paths)
        folder = Path(several[0]) if several else Path()
        table, own = read_tables(sheet, map, folder)
        delivery = pipeline.Delivery(
            self.engine, self.root, lab, table, own, defer=defer_pixels, workers=_worker_count(workers)
        )
        done = pipeline.ingest(delivery, [Path(path) for path in several], watch=watch)
        statistics.refresh(self.engine)
        return done

    def add_properties(
        self,
        sheet: PathText,
        map: PathText,  # noqa: A002 - the word users know
        *,
        lab: str | None = None,
    ) -> measurements.Measured:
        """Write what was measured on samples, from a sheet that names no files; see docs/properties.md.

        Parameters
        ----------
        sheet, map
            CSV or XLSX with one row per measurement, and the TOML file that says what its columns mean.
        lab
            Laboratory of the rows that name none.

        Raises
        ------
        NotFoundError, SheetError
            Every wrong cell is named by row and column, and nothing is written.
        """
        done = measurements.add_properties(self.engine, read_properties(sheet, map), lab)
        statistics.refresh(self.engine)
        return done

    def fetch(
        self, where: str | Frame | None = None, *, workers: int = 1, watch: pipeline.Watcher | None = None
    ) -> pipeline.Ingested:
        """Bring in the pixels of images that were catalogued with ``defer_pixels``.

        Parameters
        ----------
        where
            Only images of a query text or frame; all of a file's images come together.
        workers, watch
            As for `ingest`.

        Returns
        -------
        Ingested
            One row per original file; one that is gone is refused, and its image stays deferred.
        """
        frame = self.images.query(where) if isinstance(where, str) else where
        images = None if frame is None else frame.pks().tolist()
        delivery = pipeline.Delivery(self.engine, self.root, workers=_worker_count(workers))
        return pipeline.fetch(delivery, images, watch=watch)

    def watch(
        self,
        folder: PathText,
        *,
        lab: str | None = None,
        sheet: PathText | None = None,
        map: PathText | None = None,  # noqa: A002 - the word users know
        settle: float = 2.0,
        poll: bool = False,
        stop: threading.Event | None = None,
        tell: watching.Teller | None = None,
    ) -> watching.Watched:
        """Bring in what is in a folder, and whatever an instrument finishes there, until told to stop.

        `lab`, `sheet` and `map` are those of `ingest`; the sheet is read again when it changes. For the
        others, for what is returned and what is raised see `micdb.ingest.watching.watch`.
        """
        where = Path(folder)

        def make() -> pipeline.Delivery:
            return pipeline.Delivery(self.engine, self.root, lab, *read_tables(sheet, map, where))

        return watching.watch(where, make, settle=settle, poll=poll, stop=stop, tell=tell)

    def populate(
        self,
        name: str,
        *,
        where: str | Frame | None = None,
        parameters: Mapping[str, Any] | None = None,
        workers: int = 1,
        watch: service.Watcher | None = None,
    ) -> service.Populated:
        """Compute what is missing of one extractor's rows; see `micdb.populate.service.populate`.

        Parameters
        ----------
        name
            Registered extractor: ``texture``, ``peaks``, or a plug-in's.
        where
            Restrict to the images of a query text or frame.
        parameters
            Overrides of the extractor's defaults.
        workers
            Local processes; 0 takes one per processor. With more than one, a script must call this below
            ``if __name__ == "__main__":``: every worker imports the script.
        watch
            Called with the extractor's name and the progress.
        """
        images: Sequence[int] | None = None
        if where is not None:
            frame = self.images.query(where) if isinstance(where, str) else where
            images = frame.pks().tolist()
        done = service.populate(
            self.engine,
            self.root,
            name,
            parameters=parameters,
            images=images,
            workers=workers,
            watch=watch,
        )
        statistics.refresh(self.engine)
        return done

    def index(
        self,
        by: str | None = None,
        *,
        kind: str | None = None,
        recall: float = indexing.RECALL,
        calibrate: bool = False,
        watch: indexing.Watcher | None = None,
    ) -> tuple[indexing.Indexed, ...]:
        """Make searches by example quick; see `micdb.query.search.indexing.index`."""
        return indexing.index(self.context, by, kind=kind, recall=recall, calibrate=calibrate, watch=watch)

    def fsck(
        self, *, deep: bool = False, repair: bool = False, grace: timedelta = timedelta(days=14)
    ) -> fsck.Report:
        """Prove that catalog and folder agree; see `micdb.fsck.check`."""
        return fsck.check(self.engine, self.root, deep=deep, repair=repair, grace=grace)

    def compact(
        self,
        *,
        budget: compacting.Budget | None = None,
        purge: bool = False,
        watch: compacting.Watcher | None = None,
    ) -> compacting.Compacted:
        """Make few large files of many small ones; answers stay the same. See `micdb.compact.compact`."""
        return compacting.compact(self.engine, self.root, budget=budget, purge=purge, watch=watch)

    def unpack(self) -> int:
        """Make files again of what lies in packs; return how many. See `micdb.compact.unpack.unpack`."""
        return compacting.unpack(self.engine, self.root)


def _worker_count(workers: int) -> int:
    if workers < 0:
        raise UsageError(f"workers is {workers}; it must be 0 (one per processor) or more")
    return workers
