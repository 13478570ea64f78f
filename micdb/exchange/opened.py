"""A bundle is opened: every byte checked, its rows in a SQLite catalog of this micdb's schema."""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from micdb.catalog import schema
from micdb.catalog.columns import metadata
from micdb.catalog.engine import reading, restructuring, sqlite_engine, writing
from micdb.catalog.results import run
from micdb.catalog.tables import micrograph, thumbnail
from micdb.errors import NotFoundError, StoreError
from micdb.exchange import manifest as listing
from micdb.exchange.manifest import Manifest
from micdb.exchange.outgoing import renamed
from micdb.exchange.selection import ORDER
from micdb.exchange.stubs import stub
from micdb.exchange.supply import Supply
from micdb.provenance import file_hash
from micdb.store.parts import IMAGE, read_part

_WORD = re.compile(r"[a-z][a-z0-9_]{0,62}")  # a table in parts; it becomes the name of a folder
PNG = b"\x89PNG\r\n\x1a\n"
LARGEST = 1 << 18  # [byte] of a thumbnail: four times what 128 x 128 pixels in colour take without packing
# What bundles leave out because it is only true at home, as a catalog needs it.
_HERE: dict[str, dict[str, Any]] = {
    "object": {"state": "live"},
    "run_item": {"worker": None},
}


@contextmanager
def opened_bundle(path: Path) -> Iterator[tuple[Supply, Manifest]]:
    """Check a bundle and yield its rows as a catalog; what it takes besides is gone at the end.

    Parameters
    ----------
    path
        The folder or zip file.

    Raises
    ------
    NotFoundError
        There is none.
    ForeignDatabaseError, NewSchemaError, StoreError
        It is no bundle, a newer micdb wrote it, or a file in it is missing or damaged.
    """
    if not path.exists():
        raise NotFoundError(f"no bundle {path}; one is made with: micdb export QUERY --as bundle --to BUNDLE")
    scratch = Path(tempfile.mkdtemp(prefix="micdb-bundle-"))
    try:
        folder = path if path.is_dir() else _unpacked(path, scratch / "bundle")
        manifest = listing.read(folder)
        listing.verify(folder, manifest)
        engine = _catalog(scratch / "catalog.sqlite", folder, manifest)
        try:
            with reading(engine) as connection:
                name = manifest.labs[0] if len(manifest.labs) == 1 else manifest.source
                yield Supply(connection, folder, name, read=_Translator(connection)), manifest
        finally:
            engine.dispose()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def identity(path: Path) -> str:
    """Return what tells a bundle from every other: the hash of its manifest."""
    if path.is_dir():
        return file_hash(path / listing.NAME)
    with zipfile.ZipFile(path) as pack:
        return hashlib.sha256(pack.read(listing.NAME)).hexdigest()


class _Translator:
    """Reads parts of a bundle with the keys of its catalog for uids."""

    def __init__(self, connection: Connection) -> None:
        m = micrograph.c
        self._images = {row.uid: row.pk for row in connection.execute(sa.select(m.uid, m.pk))}
        self._runs = {row.uid: row.pk for row in connection.execute(sa.select(run.c.uid, run.c.pk))}

    def __call__(self, path: Path, images: Sequence[int]) -> pa.Table:
        rows = renamed(read_part(path), self._images, self._runs, pa.int64())
        return rows.filter(pc.is_in(rows[IMAGE], pa.array(list(images), pa.int64())))


def _unpacked(path: Path, folder: Path) -> Path:
    """Take a zip file apart: the manifest, and what it names."""
    try:
        with zipfile.ZipFile(path) as pack:
            folder.mkdir()
            if listing.NAME in pack.namelist():
                pack.extract(listing.NAME, folder)
            known = {info.filename: info.file_size for info in pack.infolist()}
            for name, member in listing.read(folder).members.items():
                if known.get(name) == member.size:  # else `verify` tells; a longer one could fill the disk
                    pack.extract(name, folder)
    except (zipfile.BadZipFile, OSError) as error:
        raise StoreError(f"{path} is no readable zip file ({error}); get the bundle again") from error
    return folder


def _catalog(path: Path, folder: Path, manifest: Manifest) -> Engine:
    """Return a catalog with the rows of a bundle, upgraded to this micdb's schema."""
    engine = sqlite_engine(path)
    try:
        if manifest.schema == schema.HEAD:
            metadata.create_all(engine)
        else:
            schema.create(engine, at=manifest.schema)
        with restructuring(engine) as connection:
            _Loader(connection, folder, manifest).load()
        if manifest.schema != schema.HEAD:
            schema.upgrade(engine)
        with writing(engine) as connection:
            _add_thumbnails(connection, folder, manifest)
    except BaseException:
        engine.dispose()
        raise
    return engine


def _add_thumbnails(connection: Connection, folder: Path, manifest: Manifest) -> None:
    """Add the small pictures of images whose pixels are not in the bundle."""
    m = micrograph.c
    for row in connection.execute(sa.select(m.pk, m.uid).where(m.object_pk.is_(None))).all():
        name = f"thumbnails/{row.uid}.png"
        if name in manifest.members:
            png = (folder / name).read_bytes()
            if png.startswith(PNG) and len(png) <= LARGEST:
                connection.execute(thumbnail.insert(), {"micrograph_pk": row.pk, "png": png})


class _Loader:
    """Gives the rows of a bundle local keys: numbers in the order of their uids."""

    def __init__(self, connection: Connection, folder: Path, manifest: Manifest) -> None:
        self.connection, self.manifest = connection, manifest
        self.files = {path.stem: path for path in sorted((folder / "catalog").glob("*.parquet"))}
        self.keys: dict[str, dict[str, int]] = {}
        tables = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'")
        here = {name for (name,) in tables}
        self.known = [table.name for table in ORDER if table.name in here and table.name in self.files]

    def load(self) -> None:
        """Insert every row; what they refer to and is not there becomes a stub."""
        for name in self.known:
            self._number(name)
        for name in self.known:
            self._insert(name)

    def _number(self, name: str) -> None:
        called = "sha256" if name == "object" else "uid"
        if called in pq.read_schema(self.files[name]).names:
            uids = sorted(pq.read_table(self.files[name], columns=[called])[called].to_pylist())
            self.keys[name] = {uid: number for number, uid in enumerate(uids, 1)}

    def _insert(self, name: str) -> None:
        columns = {row[1] for row in self.connection.exec_driver_sql(f'PRAGMA table_info("{name}")')}
        refers = {
            row[3]: row[2] for row in self.connection.exec_driver_sql(f'PRAGMA foreign_key_list("{name}")')
        }
        file = pq.ParquetFile(self.files[name])
        number = 0
        for batch in file.iter_batches():
            rows = []
            for row in batch.to_pylist():
                number += 1
                made = self._row(name, row, refers)
                if "pk" in columns:
                    called = row.get("sha256" if name == "object" else "uid")
                    made["pk"] = self.keys[name][called] if name in self.keys else number
                rows.append({column: made.get(column) for column in made if column in columns})
            self._write(name, rows)

    def _row(self, name: str, row: Mapping[str, Any], refers: Mapping[str, str]) -> dict[str, Any]:
        made = {**_HERE.get(name, {}), **row}
        for column, target in refers.items():
            outer = column.removesuffix("_pk") + ("_sha256" if target == "object" else "_uid")
            if outer in made:
                made[column] = self._key(target, made.pop(outer))
        if name == "object":
            self._check_file(row)
        if name == "part":
            if not _WORD.fullmatch(row["table_name"]):
                raise StoreError(f"the bundle has a part of the table {row['table_name']!r}; do not trust it")
            for end in ("min_image", "max_image"):
                made[end] = self._key("micrograph", made.pop(f"{end}_uid"))
        if name == "property_value":
            made["natural_key"] = made["uid"]
        return made

    def _check_file(self, row: Mapping[str, Any]) -> None:
        """Refuse a row of a file that is none of the bundle's, or another one."""
        member = self.manifest.members.get(row["path"])
        if member is None or member.sha256 != row["sha256"]:
            raise StoreError(f"the bundle has no file {row['path']!r} of that hash; do not trust it")

    def _key(self, table: str, uid: str | None) -> int | None:
        if uid is None:
            return None
        known = self.keys.setdefault(table, {})
        if uid not in known:
            known[uid] = max(known.values(), default=0) + 1
            self._write(table, [{"pk": known[uid], "uid": uid, **stub(table, uid)}])
        return known[uid]

    def _write(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        if not rows:
            return
        columns = list(rows[0])
        names, marks = ", ".join(f'"{one}"' for one in columns), ", ".join("?" * len(columns))
        statement = f'INSERT INTO "{name}" ({names}) VALUES ({marks})'  # noqa: S608 (names of our tables)
        driver: Any = self.connection.connection.driver_connection
        driver.executemany(statement, [tuple(row[one] for one in columns) for row in rows])
