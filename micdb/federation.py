"""One database over several: it answers as if they were merged, and each row names its source.

It is a database: the catalogs of all members, merged by the code that imports bundles, in a folder that is
gone at the end. Micrograph files are read where they are; derived rows in Parquet are written anew, because
keys of images differ. When a member changes, the next question finds all of it merged again.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
import weakref
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Engine

from micdb import opening
from micdb.catalog import results as r
from micdb.catalog import statistics
from micdb.catalog import tables as t
from micdb.catalog.columns import metadata
from micdb.catalog.engine import CATALOG, frozen_engine, place, reading, sqlite_engine, writing
from micdb.catalog.rows import MEMBERS, last_event
from micdb.catalog.sqlite import FROZEN
from micdb.database import Database, PathText
from micdb.errors import UsageError
from micdb.exchange.arriving import merge_all
from micdb.exchange.receiver import StepwiseReceiver
from micdb.exchange.supply import Supply
from micdb.query.context import Context
from micdb.store.folder import make_folders


def federate(
    members: Iterable[Database | PathText] | Mapping[str, Database | PathText],
) -> Federation:
    """Return one database over several; it only answers.

    Parameters
    ----------
    members
        Databases, folders or addresses; a mapping names them, else they are called by their folders. Where
        two have one row differently, the version of the first is shown, as after an import.

    Raises
    ------
    UsageError
        There is none.
    """
    given = members if isinstance(members, Mapping) else _called(members)
    if not given:
        raise UsageError("a federation of nothing: give databases, as in micdb.federate([one, other])")
    return Federation(given)


class Federation(Database):
    """Several databases that answer as one; make one with `micdb.federate`.

    A frame keeps the state it was made from; a new one, ``db.images``, looks whether a member has changed.

    Parameters
    ----------
    members
        Databases, folders or addresses by name; those that are opened here are closed with it.
    """

    def __init__(self, members: Mapping[str, Database | PathText]) -> None:
        self._own = [name for name, one in members.items() if not isinstance(one, Database)]
        self.members = {
            name: one if isinstance(one, Database) else opening.open(one) for name, one in members.items()
        }
        self._guard = threading.RLock()
        self._marks = {name: _Mark(one.engine) for name, one in self.members.items()}
        self._stamps: dict[str, Any] = {}
        self._made: tuple[Engine, Path] | None = None

    def __repr__(self) -> str:
        return f"<micdb federation of {', '.join(self.members)}: {self.images.count():,} images>"

    @property
    def engine(self) -> Engine:  # type: ignore[override]
        """The merged catalog, of the members as they are now."""
        return self._merged()[0]

    @property
    def root(self) -> Path:  # type: ignore[override]
        """The folder of the merged catalog."""
        return self._merged()[1]

    @property
    def context(self) -> Context:
        """What frames need of the database."""
        with self._guard:
            return super().context

    def close(self) -> None:
        """Let go of the merged catalog, and of members that were opened here."""
        for mark in self._marks.values():
            mark.close()
        if self._made is not None:
            self._made[0].dispose()
            shutil.rmtree(self._made[1], ignore_errors=True)
        for name in self._own:
            self.members[name].close()

    def _merged(self) -> tuple[Engine, Path]:
        with self._guard:
            stamps = {name: mark.read() for name, mark in self._marks.items()}
            if self._made is None or stamps != self._stamps:
                self._made = _merge(self.members)
                self._stamps = stamps
            return self._made


def _merge(members: Mapping[str, Database]) -> tuple[Engine, Path]:
    """Merge the members into a new folder, which goes with the last frame that asks it."""
    root = Path(tempfile.mkdtemp(prefix="micdb-federation-"))
    make_folders(root)
    path = root / CATALOG
    engine = sqlite_engine(path)
    try:
        metadata.create_all(engine)
        stand = {}
        for name, member in members.items():
            with reading(member.engine) as connection:
                stand[name] = last_event(connection)
                merge_all(Supply(connection, member.root, name, linked=True), StepwiseReceiver(engine, root))
        with writing(engine) as connection:
            connection.execute(t.setting.insert(), {"name": MEMBERS, "value": stand})
        statistics.refresh(engine)
        driver = engine.raw_connection()  # a transaction would not let the journal be changed
        try:
            driver.execute("PRAGMA journal_mode=DELETE")
        finally:
            driver.close()
    except BaseException:
        shutil.rmtree(root, ignore_errors=True)
        raise
    finally:
        engine.dispose()
    frozen = frozen_engine(path, f"federation of {', '.join(members)}")
    weakref.finalize(frozen, shutil.rmtree, root, ignore_errors=True)
    return frozen, root


class _Mark:
    """Tells whether a catalog has changed since it was read last.

    SQLite counts the commits of others for a connection. On a server whatever is ingested, computed,
    corrected, measured or changed in place moves one of a few numbers.

    Parameters
    ----------
    engine
        The catalog.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        counted = engine.dialect.name == "sqlite" and FROZEN not in engine.get_execution_options()
        self._driver: Any = engine.raw_connection() if counted else None

    def read(self) -> Any:
        """Return what is equal as long as nothing was written."""
        if self._driver is not None:
            (version,) = self._driver.execute("PRAGMA data_version").fetchone()
            return version
        if FROZEN in self._engine.get_execution_options():
            return None
        item, changing = r.run_item.c, (t.sample, t.micrograph, t.property_value)
        numbers = (
            sa.func.max(t.event.c.seq), sa.func.max(r.part.c.pk), sa.func.max(item.finished_at),
            sa.func.count(item.finished_at), *(sa.func.max(table.c.pk) for table in changing),
            *(sa.func.max(table.c.changed_at) for table in changing),
        )  # fmt: skip
        with reading(self._engine) as connection:
            return tuple(connection.scalar(sa.select(number)) for number in numbers)

    def close(self) -> None:
        """Let go of the connection."""
        if self._driver is not None:
            self._driver.close()


def _called(members: Iterable[Database | PathText]) -> dict[str, Database | PathText]:
    """Return databases by the names of their folders; of two with one name the second is called name-2."""
    found: dict[str, Database | PathText] = {}
    for one in members:
        name = _name(one)
        number = sum(known == name or known.startswith(f"{name}-") for known in found)
        found[name if not number else f"{name}-{number + 1}"] = one
    return found


def _name(member: Database | PathText) -> str:
    if isinstance(member, Database):
        if member.engine.dialect.name != "sqlite":
            return place(member.engine)
        return member.root.resolve().name.removesuffix(".micdb")
    return Path(member).name.removesuffix(".micdb")
