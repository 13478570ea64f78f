"""Half-made files, each known to belong to a living process or to a dead one.

::

    staging/<owner>.lock              held with flock for as long as the process uses the folder
    staging/<owner>/<uuid>.nxs        a file being written
    staging/<owner>/<uuid>.folder     an archive being unpacked
    staging/<owner>/<sha256>.claim    this process is publishing the object of that hash

The kernel drops the lock when the process dies, however it dies, so what a killed process left can
be swept at once, and what a living one is writing is never touched. A process number would not do:
numbers are used again, and mean nothing to another container that shares the folder.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import shutil
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from micdb.provenance import uuid7
from micdb.store.files import STAGING, make_folder

LOCK = ".lock"


@dataclass(frozen=True, slots=True)
class Leftover:
    """A staging folder whose process is gone.

    Parameters
    ----------
    folder
        The folder; it may hold nothing.
    files
        Names in it, sorted.
    """

    folder: Path
    files: tuple[str, ...]


class _Register:
    """The staging folder this process holds in each database; one is given up whenever it is empty."""

    def __init__(self) -> None:
        self.guard = threading.Lock()
        self.locks: dict[Path, int] = {}  # database folder -> descriptor that holds the lock
        self.folders: dict[Path, Path] = {}

    def folder(self, root: Path) -> Path:
        if root not in self.folders:
            make_folder(root / STAGING)
            folder = root / STAGING / uuid7()
            self.locks[root] = _create_lock(folder)
            folder.mkdir()
            self.folders[root] = folder
        return self.folders[root]

    def release(self, root: Path) -> None:
        folder = self.folders.get(root)
        if folder is not None and not any(folder.iterdir()):
            # In this order a folder without a lock is always nobody's.
            folder.rmdir()
            _lock_name(folder).unlink()
            os.close(self.locks.pop(root))
            del self.folders[root]

    def close(self) -> None:
        """At the end of the process: what was staged and never published is nobody's."""
        for root, folder in self.folders.items():
            shutil.rmtree(folder, ignore_errors=True)
            _lock_name(folder).unlink(missing_ok=True)
            os.close(self.locks.pop(root))
        self.folders.clear()

    def forget(self) -> None:
        """In a forked child: the folders belong to the parent, and so must their locks."""
        for lock in self.locks.values():
            os.close(lock)
        self.guard, self.locks, self.folders = threading.Lock(), {}, {}


_register = _Register()
atexit.register(_register.close)
os.register_at_fork(after_in_child=_register.forget)


def stage(root: Path, suffix: str) -> Path:
    """Create an empty file to write to; hand it to `micdb.publish` or to `discard`.

    Parameters
    ----------
    root
        The database folder.
    suffix
        ``.nxs`` or ``.parquet``.
    """
    with _register.guard:
        path = _register.folder(root.resolve()) / f"{uuid7()}{suffix}"
        path.touch(exist_ok=False)
    return path


def stage_folder(root: Path) -> Path:
    """Create an empty folder to unpack into; `discard` removes it with all that is in it."""
    with _register.guard:
        path = _register.folder(root.resolve()) / f"{uuid7()}.folder"
        path.mkdir()
    return path


def claim(root: Path, hashes: Iterable[str]) -> list[Path]:
    """Announce that this process is publishing these objects; `discard` the result to end it."""
    with _register.guard:
        folder = _register.folder(root.resolve())
        # A name of its own for each call: two threads may publish the same bytes.
        claims = [folder / f"{sha256}.{uuid7()}.claim" for sha256 in hashes]
        for path in claims:
            path.touch(exist_ok=False)
    return claims


def discard(root: Path, paths: Iterable[Path]) -> None:
    """Remove staged files, folders and claims; one that is already gone is no error."""
    with _register.guard:
        for path in paths:
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        _register.release(root.resolve())


def claimed(root: Path) -> set[str]:
    """Return the sha256 of every object that a living process is publishing at this moment."""
    held: set[str] = set()
    for folder in _folders(root):
        with _abandoned(folder) as dead:
            if not dead:
                held |= {path.name.partition(".")[0] for path in folder.glob("*.claim")}
    return held


def leftovers(root: Path, *, remove: bool) -> Iterator[Leftover]:
    """Yield the staging folders of dead processes, and remove each one when asked to."""
    for folder in _folders(root):
        with _abandoned(folder) as dead:
            if not dead:
                continue
            files = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
            if remove:
                shutil.rmtree(folder, ignore_errors=True)
                _lock_name(folder).unlink(missing_ok=True)
        yield Leftover(folder, tuple(files))


def _folders(root: Path) -> list[Path]:
    staging = root / STAGING
    found = staging.iterdir() if staging.is_dir() else ()
    return sorted({path.with_suffix("") for path in found if path.is_dir() or path.suffix == LOCK})


def _lock_name(folder: Path) -> Path:
    return folder.with_name(folder.name + LOCK)


def _create_lock(folder: Path) -> int:
    """Return a descriptor that holds a new folder's lock."""
    name = _lock_name(folder)
    while True:
        lock = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        fcntl.flock(lock, fcntl.LOCK_EX)
        # A sweep may have taken and unlinked the file before it was locked: then the lock guards nothing.
        if name.exists() and os.fstat(lock).st_ino == name.stat().st_ino:
            return lock
        os.close(lock)


@contextmanager
def _abandoned(folder: Path) -> Iterator[bool]:
    """Yield whether no living process holds the folder; its lock is kept meanwhile."""
    try:
        lock = os.open(_lock_name(folder), os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        yield True
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
    else:
        yield True
    finally:
        os.close(lock)
