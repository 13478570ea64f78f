"""A micdb database: one folder, and short delegations to the layers that do the work."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import sqlalchemy as sa
from sqlalchemy import Engine

from micdb import fsck
from micdb.analysis.link import link
from micdb.catalog import schema, tables
from micdb.catalog.engine import CATALOG, reading, sqlite_engine
from micdb.errors import ForeignDatabaseError, NotFoundError, UsageError
from micdb.ingest import pipeline, query_picture
from micdb.ingest.sheet import Sheet, read_map, read_sheet
from micdb.populate import service
from micdb.populate.pictures import image_keys, load_pictures
from micdb.provenance import now
from micdb.query.context import Context
from micdb.query.frame import Frame
from micdb.records import Picture

FOLDERS = ("objects", "parts", "indexes", "staging")
PathText = str | PathLike[str]


def init(path: PathText) -> Database:
    """Make an empty database folder and open it.

    Raises
    ------
    UsageError
        The folder exists and is not empty; nothing in it is touched.
    """
    root = Path(path)
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        what = "a folder with files in it" if root.is_dir() else "a file"
        raise UsageError(f"{root} is {what} already; give a new name, or open it with --db {root}")
    for name in FOLDERS:
        (root / name).mkdir(parents=True, exist_ok=True)
    engine = sqlite_engine(root / CATALOG)
    schema.create(engine)
    return Database(root, engine)


def open(path: PathText) -> Database:  # noqa: A001 - the name users expect
    """Open a database folder.

    Raises
    ------
    NotFoundError
        There is no such folder; the message is the command that makes one.
    OldSchemaError, NewSchemaError, ForeignDatabaseError
        The catalog is not one this micdb may touch.
    """
    root = Path(path)
    catalog = root / CATALOG
    if not root.exists():
        raise NotFoundError(f"no database {root}; make one with: micdb init {root}")
    if not catalog.is_file():
        raise ForeignDatabaseError(
            f"{root} is no micdb database: it has no {CATALOG}; make one with: micdb init DIR"
        )
    engine = sqlite_engine(catalog)
    schema.check(engine, name=str(root))
    return Database(root, engine)


def upgrade(path: PathText) -> Path | None:
    """Bring the catalog of a database folder to this micdb's schema; return the backup, if one was needed.

    Raises
    ------
    NotFoundError, NewSchemaError, ForeignDatabaseError
        As for `open`.
    """
    catalog = Path(path) / CATALOG
    if not catalog.is_file():
        raise NotFoundError(f"no database {path}; make one with: micdb init {path}")
    backup = catalog.with_name(f"{CATALOG}.{now()[:19].replace(':', '')}.bak")
    engine = sqlite_engine(catalog)
    try:
        with reading(engine) as connection:  # before anything is copied: can it be read at all?
            schema.revision(connection)
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        shutil.copy2(catalog, backup)
        before = schema.upgrade(engine)
    except Exception:
        backup.unlink(missing_ok=True)
        raise
    finally:
        engine.dispose()
    if before == schema.HEAD:
        backup.unlink()
        return None
    return backup


class Database:
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
        return f"<micdb database {str(self.root)!r}: {self.images.count()} images>"

    def close(self) -> None:
        """Let go of the catalog."""
        self.engine.dispose()

    # ------------------------------------------------------------------ frames

    @property
    def context(self) -> Context:
        """What frames need of the database."""
        return Context(self.engine, self.root, query_picture.read_picture, link)

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
    def runs(self) -> Frame:
        """One row per run."""
        return Frame(self.context, "runs")

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

    def property_names(self, kind: str | None = None) -> list[str]:
        """Return the names of the properties known here, sorted; `kind` is ``number`` or ``text``."""
        names = sa.select(tables.property_def.c.name).order_by(tables.property_def.c.name)
        if kind is not None:
            names = names.where(tables.property_def.c.kind == kind)
        with reading(self.engine) as connection:
            return list(connection.execute(names).scalars())

    # ------------------------------------------------------------------ services

    def ingest(
        self,
        paths: PathText | Iterable[PathText],
        *,
        lab: str | None = None,
        sheet: PathText | None = None,
        map: PathText | None = None,  # noqa: A002 - the word users know
        watch: pipeline.Watcher | None = None,
    ) -> pipeline.Ingested:
        """Bring microscope files in; what is here already is recognised.

        Parameters
        ----------
        paths
            A file, a folder that is searched, or several of them.
        lab
            Laboratory they come from.
        sheet, map
            CSV or XLSX with one row per file, and the TOML file that says what its columns mean.
        watch
            Called before each file with number, total and path.

        Raises
        ------
        NotFoundError, ReadError, UsageError, SheetError
            See `micdb.ingest.pipeline.ingest`.
        """
        several = [paths] if isinstance(paths, str | PathLike) else list(paths)
        folder = Path(several[0]) if several else Path()
        table, own = _read_sheet(sheet, map, folder)
        delivery = pipeline.Delivery(self.engine, self.root, lab, table, own)
        return pipeline.ingest(delivery, [Path(path) for path in several], watch=watch)

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
        return service.populate(
            self.engine,
            self.root,
            name,
            parameters=parameters,
            images=images,
            workers=workers,
            watch=watch,
        )

    def fsck(
        self, *, deep: bool = False, repair: bool = False, grace: timedelta = timedelta(days=14)
    ) -> fsck.Report:
        """Prove that catalog and folder agree; see `micdb.fsck.check`."""
        return fsck.check(self.engine, self.root, deep=deep, repair=repair, grace=grace)


def _read_sheet(
    sheet: PathText | None, map_: PathText | None, root: Path
) -> tuple[Sheet | None, frozenset[Path]]:
    if sheet is None and map_ is None:
        return None, frozenset()
    if sheet is None or map_ is None:
        missing = "sheet" if sheet is None else "map"
        raise UsageError(f"a samples sheet needs its map and the map its sheet; --{missing} is missing")
    table = read_sheet(Path(sheet), read_map(Path(map_)), root=root)
    return table, frozenset({Path(sheet).resolve(), Path(map_).resolve()})
