"""Make, open and upgrade databases, in a folder or with the catalog on a server."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import Engine

from micdb import config
from micdb.catalog import schema
from micdb.catalog.engine import CATALOG, place, postgres_engine, reading, sqlite_engine, writing
from micdb.catalog.postgres import check_encoding, is_url
from micdb.catalog.tables import setting
from micdb.database import Database, PathText
from micdb.errors import ForeignDatabaseError, NotFoundError, UsageError
from micdb.provenance import now, uuid7
from micdb.store.files import STAGING, move
from micdb.store.folder import check_note, make_folders, read_note, remove_folders, write_note

FOLDER, IDENTITY = "folder", "identity"  # names in the table of settings


@dataclass(frozen=True, slots=True)
class Upgraded:
    """What `upgrade` did.

    Parameters
    ----------
    before, after
        Revisions of the schema.
    backup
        The catalog as it was; None on a server, where the upgrade is one transaction and backups are
        its administrator's.
    """

    before: str | None
    after: str
    backup: Path | None


def init(path: PathText, *, folder: PathText | None = None) -> Database:
    """Make an empty database and open it.

    Parameters
    ----------
    path
        Folder to make; or ``postgresql://user@host/database``, an empty database on a server.
    folder
        With a server: the folder to make for pixels and tables. The catalog remembers it by its absolute
        path; where other machines mount it elsewhere, they say so in `connect`.

    Raises
    ------
    UsageError
        The folder exists and is not empty, or the database on the server is not; nothing is touched.
    CatalogError
        The server cannot be used.
    """
    if is_url(path):
        return _init_on_server(str(path), folder)
    if folder is not None:
        raise UsageError("folder= is for a catalog on a server; a database folder holds its own files")
    root = Path(path)
    make_folders(root)
    # A killed `init` leaves nothing that looks like a database; a watch of a folder above sees no file.
    half = root / STAGING / f".{uuid7()}.sqlite"
    engine = sqlite_engine(half)
    schema.create(engine)
    engine.dispose()
    move(half, root / CATALOG)
    return Database(root, sqlite_engine(root / CATALOG))


def open(path: PathText) -> Database:  # noqa: A001 - the name users expect
    """Open a database: a folder, or the address of a catalog on a server as in `connect`.

    Raises
    ------
    NotFoundError
        There is no such folder; the message is the command that makes one.
    OldSchemaError, NewSchemaError, ForeignDatabaseError
        The catalog is not one this micdb may touch.
    """
    if is_url(path):
        return connect(str(path))
    root = Path(path)
    catalog = root / CATALOG
    if not root.exists():
        raise NotFoundError(f"no database {root}; make one with: micdb init {root}")
    if not catalog.is_file():
        note = read_note(root)
        if note is not None:
            raise UsageError(f"{root} holds the files of {note['catalog']}; open that instead")
        raise ForeignDatabaseError(
            f"{root} is no micdb database: it has no {CATALOG}; make one with: micdb init DIR"
        )
    engine = sqlite_engine(catalog)
    schema.check(engine, name=str(root))
    return Database(root, engine)


def connect(url: str, *, folder: PathText | None = None) -> Database:
    """Open a database whose catalog is on a PostgreSQL server.

    Parameters
    ----------
    url
        ``postgresql://user:password@host:port/database``. Without a password, ``PGPASSWORD`` and
        ``~/.pgpass`` are looked in.
    folder
        Where its files are on this machine, if not where `init` made them; ``MICDB_FOLDER`` when not given.

    Raises
    ------
    UsageError
        The address cannot be read, or the folder is another database's.
    NotFoundError
        The folder is not there.
    CatalogError
        The server cannot be used.
    OldSchemaError, NewSchemaError, ForeignDatabaseError
        The catalog is not one this micdb may touch.
    """
    engine = postgres_engine(url)
    name = place(engine)
    try:
        schema.check(engine, name=name)
        with reading(engine) as connection:
            rows = connection.execute(sa.select(setting.c.name, setting.c.value)).all()
            known = {row.name: row.value for row in rows}
        if FOLDER not in known or IDENTITY not in known:
            raise ForeignDatabaseError(
                f"{name} does not know the folder of its files; make a new one with: "
                "micdb init ADDRESS --folder DIR"
            )
        root = Path(folder or config.load().folder or known[FOLDER])
        check_note(root, address=name, identity=known[IDENTITY])
    except BaseException:
        engine.dispose()
        raise
    return Database(root, engine)


def upgrade(path: PathText) -> Upgraded | None:
    """Bring a catalog to this micdb's schema; return what was done, or None when it was up to date.

    Parameters
    ----------
    path
        Database folder, of whose catalog a backup is kept; or the address of a catalog on a server.

    Raises
    ------
    NotFoundError, NewSchemaError, ForeignDatabaseError, CatalogError
        As for `open`.
    """
    if is_url(path):
        engine = postgres_engine(str(path))
        try:
            before = schema.upgrade(engine)
        finally:
            engine.dispose()
        return None if before == schema.HEAD else Upgraded(before, schema.HEAD, None)
    catalog = Path(path) / CATALOG
    if not catalog.is_file():
        raise NotFoundError(f"no database {path}; make one with: micdb init {path}")
    return _upgrade_file(catalog)


def _init_on_server(url: str, folder: PathText | None) -> Database:
    if folder is None:
        raise UsageError(
            'a server keeps no files: say where they go with folder="DIR" (micdb init: --folder DIR)'
        )
    engine = postgres_engine(url)
    root = Path(os.path.abspath(folder))
    try:
        with reading(engine) as connection:  # can it be used at all? before any folder is made
            check_encoding(connection)
        make_folders(root)
        try:
            schema.create(engine, _settings(engine, root))
        except BaseException:
            remove_folders(root)
            raise
    except BaseException:
        engine.dispose()
        raise
    return Database(root, engine)


def settle(engine: Engine, root: Path) -> None:
    """Give a catalog on a server its folder; both are told that they belong together."""
    with writing(engine) as connection:
        for name, value in _settings(engine, root).items():
            connection.execute(setting.insert(), {"name": name, "value": value})


def _settings(engine: Engine, root: Path) -> dict[str, str]:
    identity = uuid7()
    write_note(root, address=place(engine), identity=identity)
    return {FOLDER: str(root), IDENTITY: identity}


def _upgrade_file(catalog: Path) -> Upgraded | None:
    backup = catalog.with_name(f"{CATALOG}.{now()[:19].replace(':', '')}.bak")
    engine = sqlite_engine(catalog)
    try:
        _copy(engine, catalog, backup)
        before = schema.upgrade(engine)
    except Exception:
        backup.unlink(missing_ok=True)
        raise
    finally:
        engine.dispose()
    if before == schema.HEAD:
        backup.unlink()
        return None
    return Upgraded(before, schema.HEAD, backup)


def _copy(engine: Engine, catalog: Path, backup: Path) -> None:
    with reading(engine) as connection:  # before anything is copied: can it be read at all?
        schema.revision(connection)
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copy2(catalog, backup)
