"""Which files there are: named ones, those below folders, and those inside archives."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from micdb.catalog.engine import CATALOG
from micdb.errors import MicdbError, NotFoundError, ReadError
from micdb.ingest import archive
from micdb.ingest.sniff import candidates
from micdb.store.folder import NOTE

# Folders whose files are micdb's own or a program's, never somebody's micrographs.
NOT_SEARCHED = (".micdb", ".git", "__pycache__", "__MACOSX")
_SURE = 2  # a reader's answer from which on a file is its own: .elid and .prz are zip files too


class Entry(NamedTuple):
    """One file to bring in.

    Parameters
    ----------
    path
        As people know it; of a member, below the path of its archive.
    resolved
        The same without links, absolute: what the catalog knows it by.
    archive
        The archive it is a member of, or None.
    member
        Its name in the archive.
    trouble
        Why the archive cannot be opened.
    """

    path: Path
    resolved: str
    archive: Path | None = None
    member: str = ""
    trouble: ReadError | None = None


def discover(paths: Iterable[Path], own: frozenset[Path]) -> Iterator[Entry]:
    """Yield every file once, folders in sorted order; `own` are the sheet and its map.

    Raises
    ------
    NotFoundError
        A path does not exist.
    """
    seen: set[str] = set()
    mine = {str(path) for path in own}
    for path in paths:
        if not path.exists():
            raise NotFoundError(f"{path} does not exist; give a file or a folder with micrographs")
        for file in [path] if path.is_file() else walk(path):
            resolved = os.path.realpath(file)
            if resolved not in seen and resolved not in mine:
                seen.add(resolved)
                yield from _entries(file, resolved)


def _entries(file: Path, resolved: str) -> Iterator[Entry]:
    if not archive.is_archive(file) or _is_micrograph(file):
        yield Entry(file, resolved)
        return
    try:
        for member in archive.members(file):
            if not any(name.endswith(NOT_SEARCHED) for name in PurePosixPath(member.name).parts[:-1]):
                yield Entry(file / member.name, f"{resolved}/{member.name}", file, member.name)
    except ReadError as error:
        yield Entry(file, resolved, trouble=error)


def _is_micrograph(file: Path) -> bool:
    try:
        found = candidates(file)
    except MicdbError:
        return False
    return bool(found) and found[0].score >= _SURE


def walk(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder in sorted order; hidden ones and those of databases are left out."""
    for here, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if is_searched(Path(here, name)))
        yield from (Path(here, name) for name in sorted(names) if not name.startswith("."))


def is_searched(folder: Path) -> bool:
    """Return whether a folder below a searched one is searched too: no hidden one, and no database."""
    hidden = folder.name.startswith(".") or folder.name.endswith(NOT_SEARCHED)
    return not hidden and not any((folder / name).exists() for name in (CATALOG, NOTE))
