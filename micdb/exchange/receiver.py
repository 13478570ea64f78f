"""Where merged rows are written: in a database, step by step, or in a rehearsal that is taken back."""

from __future__ import annotations

import fcntl
import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from micdb.catalog.engine import reading, writing
from micdb.catalog.tables import object_
from micdb.errors import StoreError, UsageError
from micdb.provenance import now
from micdb.publish import discard, publish, seal, stage
from micdb.store.files import MEDIA_TYPES

T = TypeVar("T")
Keys = Callable[[int], int]  # number of a file of the step -> key of its object; asking makes it live
Step = Callable[[Connection, Keys], T]

LOCK = "import.lock"  # below the database folder; held with flock, so that it ends with its process


@dataclass(frozen=True, slots=True)
class Incoming:
    """A file that is about to be published.

    Parameters
    ----------
    fill
        Writes it to a path.
    suffix
        ``.nxs`` or ``.parquet``.
    target
        Gives the lasting name from the sha256.
    sha256
        What its bytes must be; None where it is made here.
    """

    fill: Callable[[Path], object]
    suffix: str
    target: Callable[[str], str]
    sha256: str | None = None


def copy_of(path: Path, sha256: str, target: str) -> Incoming:
    """Return a file that is a copy of another."""
    return Incoming(partial(shutil.copyfile, path), path.suffix, lambda _: target, sha256)


class Receiver(ABC):
    """Takes the steps of a merge, each with the files it needs, each whole or not at all."""

    engine: Engine

    @abstractmethod
    def write(self, files: Sequence[Incoming], step: Step[T]) -> T:
        """Take a step: it is called in a write transaction, with the keys of the files."""

    @abstractmethod
    def look(self, question: Callable[[Connection], T]) -> T:
        """Ask something of the rows as they are after the steps so far."""


class StepwiseReceiver(Receiver):
    """A database that is written to: each step is published.

    Parameters
    ----------
    engine, root
        The database.
    """

    def __init__(self, engine: Engine, root: Path) -> None:
        self.engine, self.root = engine, root

    def write(self, files: Sequence[Incoming], step: Step[T]) -> T:
        """Publish the files and take the step in the transaction that makes them live."""
        with ExitStack() as unpublished:
            staged = []
            for file in files:
                path = stage(self.root, file.suffix)
                unpublished.callback(discard, self.root, [path])
                file.fill(path)
                sealed = seal(path, file.target)
                if file.sha256 not in (None, sealed.sha256):
                    raise StoreError(
                        f"{file.target(sealed.sha256)} changed while it was read: get the bundle again, and "
                        "run the same command"
                    )
                staged.append(sealed)
            unpublished.pop_all()

        def commit(connection: Connection, objects: Any) -> T:
            return step(connection, lambda number: objects[staged[number].sha256])

        return publish(self.engine, self.root, staged, commit)

    def look(self, question: Callable[[Connection], T]) -> T:
        """Ask in a reading transaction."""
        with reading(self.engine) as connection:
            return question(connection)


class Rehearsal(Receiver):
    """A dry run: one transaction that is taken back at the end; no file is made.

    Parameters
    ----------
    engine
        The catalog.
    connection
        A write transaction of it; see `rehearsal`.
    """

    def __init__(self, engine: Engine, connection: Connection) -> None:
        self.engine, self.connection = engine, connection

    def write(self, files: Sequence[Incoming], step: Step[T]) -> T:
        """Take the step with rows of objects that nobody will see."""
        return step(self.connection, lambda number: self._key(files[number], number))

    def look(self, question: Callable[[Connection], T]) -> T:
        """Ask in the same transaction."""
        return question(self.connection)

    def _key(self, file: Incoming, number: int) -> int:
        o = object_.c
        sha256 = file.sha256 or f"{os.urandom(24).hex()}{number:016x}"
        held = self.connection.scalar(sa.select(o.pk).where(o.sha256 == sha256))
        if held is not None:
            return int(held)
        row = {
            "sha256": sha256, "path": file.target(sha256), "size": 0, "state": "live",
            "media_type": MEDIA_TYPES[file.suffix], "created_at": now(),
        }  # fmt: skip
        return int(self.connection.execute(object_.insert().returning(o.pk), row).scalar_one())


class _TakenBackError(Exception):
    """Ends the transaction of a rehearsal."""


@contextmanager
def rehearsal(engine: Engine) -> Iterator[Rehearsal]:
    """Yield a receiver whose steps are all taken back."""
    try:
        with writing(engine) as connection:
            yield Rehearsal(engine, connection)
            raise _TakenBackError
    except _TakenBackError:
        return


@contextmanager
def only_import(root: Path) -> Iterator[None]:
    """Hold the lock of imports; it ends with the process, however that ends.

    Raises
    ------
    UsageError
        Another process is importing.
    """
    lock = os.open(root / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(
                f"another process is importing into {root}: wait for its end, and run this again"
            ) from error
        yield
    finally:
        os.close(lock)
