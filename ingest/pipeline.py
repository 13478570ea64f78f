"""Files in: discover, read, publish, and say what became of each. One transaction per file."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Connection, Engine

from micdb.catalog import tables
from micdb.catalog.engine import CATALOG, reading, writing
from micdb.catalog.rows import find_or_add
from micdb.errors import MissingExtraError, NotFoundError, ReadError, UnknownFormatError, UsageError
from micdb.ingest import commit, facts
from micdb.ingest.arrival import Arrival, open_arrival, read_arrival, write_objects
from micdb.ingest.sheet import Row, Sheet
from micdb.ingest.statements import Statements
from micdb.publish import publish

Outcome = Literal["added", "known", "merged", "refused", "skipped"]
Watcher = Callable[[int, int, Path], None]
# Folders whose files are micdb's own or a program's, never somebody's micrographs.
NOT_SEARCHED = (".micdb", ".git", "__pycache__", "__MACOSX")


@dataclass(frozen=True, slots=True)
class FileResult:
    """What became of one file.

    Parameters
    ----------
    path
        The file.
    outcome
        ``added`` new images; ``known`` the same bytes are here; ``merged`` all its pixels were here under
        another file; ``refused`` it cannot be read; ``skipped`` it is no microscope file.
    images
        ``micrograph.pk`` of its images.
    n_new
        How many of them are new.
    reason
        Why it was refused or skipped.
    notes
        What the sheet said and could not be applied, one sentence each.
    """

    path: Path
    outcome: Outcome
    images: tuple[int, ...] = ()
    n_new: int = 0
    reason: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ingested:
    """What one call of ingest did, file by file."""

    files: tuple[FileResult, ...]
    unmatched_rows: tuple[int, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """Files by outcome; ``new_images`` counts images."""
        outcomes = Counter(result.outcome for result in self.files)
        return {
            "files": len(self.files),
            "new_images": sum(result.n_new for result in self.files),
            **{name: outcomes.get(name, 0) for name in ("added", "known", "merged", "refused", "skipped")},
        }

    def of(self, outcome: Outcome) -> list[FileResult]:
        """Return the files with that outcome."""
        return [result for result in self.files if result.outcome == outcome]

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        return {
            **self.counts,
            "unmatched_rows": list(self.unmatched_rows),
            "details": [
                {
                    "path": str(result.path),
                    "outcome": result.outcome,
                    "images": result.n_new,
                    "reason": result.reason,
                    "notes": list(result.notes),
                }
                for result in self.files
                if result.outcome in ("refused", "skipped") or result.notes
            ],
        }


@dataclass(frozen=True, slots=True)
class Delivery:
    """What is said of all files of one call: where they go, whose they are, and their sheet."""

    engine: Engine
    root: Path
    lab: str | None = None
    sheet: Sheet | None = None
    own: frozenset[Path] = field(default_factory=frozenset)


def ingest(delivery: Delivery, paths: Sequence[Path], *, watch: Watcher | None = None) -> Ingested:
    """Bring files and folders in; what is here already is recognised and left alone.

    Parameters
    ----------
    delivery
        Database, lab and samples sheet.
    paths
        Files, and folders to search.
    watch
        Called before each file with its number, the number of files, and its path.

    Raises
    ------
    NotFoundError
        A path does not exist, or a folder holds no file.
    ReadError
        A single file was named and cannot be read; in folders that is a row of the result instead.
    SheetError
        The sheet contradicts itself.
    """
    files = list(_discover(paths, delivery.own))
    if not files:
        raise NotFoundError(f"{_named(paths)} holds no file; name a folder with micrographs, or the files")
    # before anything is written: a row that fits two files is an error
    unmatched = delivery.sheet.unmatched(files) if delivery.sheet else ()
    said = Statements(delivery.sheet, delivery.lab) if delivery.sheet else None
    results: list[FileResult] = []
    for number, path in enumerate(files):
        if watch:
            watch(number, len(files), path)
        try:
            results.append(_ingest_file(delivery, path, said))
        except (ReadError, MissingExtraError, NotFoundError) as error:
            if [path] == list(paths):
                raise
            outcome: Outcome = "skipped" if isinstance(error, UnknownFormatError) else "refused"
            reason = error.reason if isinstance(error, ReadError) else str(error)
            results.append(FileResult(path, outcome, reason=reason))
    if all(result.outcome in ("skipped", "refused") for result in results):
        first = results[0]
        raise UsageError(
            f"{_named(paths)} holds no image micdb can read, among {len(files)} "
            f"{'file' if len(files) == 1 else 'files'}; the first, {first.path.name}: {first.reason}"
        )
    return Ingested(tuple(results), tuple(unmatched))


class _OvertakenError(Exception):
    """Another process brought in the same pixels meanwhile: look again."""


def _ingest_file(delivery: Delivery, path: Path, said: Statements | None) -> FileResult:
    row = delivery.sheet.match(path) if delivery.sheet else None
    arrival = open_arrival(path)
    while True:
        with reading(delivery.engine) as connection:
            known = commit.known_images(connection, arrival.sha256)
        if known:
            with writing(delivery.engine) as connection:
                lab = _lab(connection, delivery)
                notes = facts.apply(connection, row, images=known, lab=lab, said=said)
            return FileResult(path, "known", tuple(known), notes=tuple(notes))
        if not arrival.images:
            read_arrival(arrival)
        with suppress(_OvertakenError):
            return _bring_in(delivery, arrival, row, said)


def _bring_in(delivery: Delivery, arrival: Arrival, row: Row | None, said: Statements | None) -> FileResult:
    with reading(delivery.engine) as connection:
        twins = commit.find_twins(connection, arrival)
    new = [index for index in range(len(arrival.images)) if index not in twins]
    write_objects(delivery.root, arrival, new)

    def write_rows(connection: Connection, objects: dict[str, int]) -> tuple[list[int], list[str]]:
        known = commit.known_images(connection, arrival.sha256)
        if known or commit.find_twins(connection, arrival) != twins:
            raise _OvertakenError
        lab = _lab(connection, delivery)
        images = commit.commit_arrival(connection, arrival, objects=objects, twins=twins, lab=lab)
        return images, facts.apply(connection, row, images=images, lab=lab, said=said)

    staged = list(arrival.staged.values())
    images, notes = publish(delivery.engine, delivery.root, staged, write_rows)
    outcome: Outcome = "added" if new else "merged"
    return FileResult(arrival.path, outcome, tuple(images), n_new=len(new), notes=tuple(notes))


def _lab(connection: Connection, delivery: Delivery) -> int | None:
    return find_or_add(connection, tables.lab, {"name": delivery.lab}) if delivery.lab else None


def _discover(paths: Iterable[Path], own: frozenset[Path]) -> Iterator[Path]:
    """Yield every file, once, folders in sorted order; `own` are the sheet and its map."""
    seen: set[Path] = set()
    for path in paths:
        if not path.exists():
            raise NotFoundError(f"{path} does not exist; give a file or a folder with micrographs")
        for file in [path] if path.is_file() else _walk(path):
            resolved = Path(os.path.realpath(file))
            if resolved not in seen and resolved not in own:
                seen.add(resolved)
                yield file


def _walk(folder: Path) -> Iterator[Path]:
    for here, folders, names in os.walk(folder):
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".")
            and not name.endswith(NOT_SEARCHED)
            and not Path(here, name, CATALOG).exists()
        )
        yield from (Path(here, name) for name in sorted(names) if not name.startswith("."))


def _named(paths: Sequence[Path]) -> str:
    return ", ".join(str(path) for path in paths)
