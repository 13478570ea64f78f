"""One call of ingest at work: files prepared here or by workers, brought into the catalog in order."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Connection, Engine

from micdb.catalog import tables
from micdb.catalog.engine import reading
from micdb.errors import (
    MicdbError,
    MissingExtraError,
    NotFoundError,
    ReadError,
    SheetError,
    UnknownFormatError,
)
from micdb.ingest import archive, commit, facts
from micdb.ingest.arrival import Arrival, State, prepare
from micdb.ingest.crew import Task, preparing
from micdb.ingest.discovery import Entry
from micdb.ingest.outcome import Became, FileResult
from micdb.ingest.sheet import Sheet
from micdb.ingest.statements import Statements
from micdb.publish import publish
from micdb.store.staging import discard, stage_folder

Watcher = Callable[[int, int, Path], None]
AT_ONCE = 500  # files looked up in the catalog at a time
BATCH = 16  # files in one transaction
BATCH_BYTES = 1 << 28  # [byte] staged files of one transaction: what a crash may cost
PER_WORKER = {False: 8, True: 500}  # files, with and without `defer`: a process takes a second to start


@dataclass(frozen=True, slots=True)
class Delivery:
    """What is said of all files of one call: where they go, whose they are, and how they are read.

    Parameters
    ----------
    engine, root
        The catalog and its folder.
    lab
        Laboratory they come from.
    sheet
        Samples sheet; `own` are its files, which are no micrographs.
    defer
        Catalogue from the headers and leave the pixels for later.
    workers
        Processes that read; 1 reads in this one.
    """

    engine: Engine
    root: Path
    lab: str | None = None
    sheet: Sheet | None = None
    own: frozenset[Path] = field(default_factory=frozenset)
    defer: bool = False
    workers: int = 1


@dataclass(slots=True)
class Result:
    """What became of one file, while the others are still coming.

    Parameters
    ----------
    entry
        The file.
    unpacked
        Where its archive was unpacked: a name of no use to anybody.
    brought, notes
        What it became, and what the sheet said and could not be applied.
    error
        Why it is refused.
    is_part
        Whether another file was read together with it, so that its refusal is no news.
    """

    entry: Entry
    unpacked: str | None = None
    brought: commit.Brought | None = None
    notes: list[str] = field(default_factory=list)
    error: MicdbError | None = None
    is_part: bool = False

    def public(self) -> FileResult:
        """Return it as callers see it."""
        if self.brought is not None:
            brought = self.brought
            outcome: Became = (
                "known" if brought.known
                else "added" if brought.n_new
                else "completed" if brought.n_filled
                else "merged"
            )  # fmt: skip
            images, notes = tuple(brought.images), tuple(self.notes)
            return FileResult(self.entry.path, outcome, images, brought.n_new, brought.n_filled, notes=notes)
        if self.is_part:
            return FileResult(self.entry.path, "part")
        reason = self.error.reason if isinstance(self.error, ReadError) else str(self.error)
        if self.unpacked is not None:
            reason = reason.replace(self.unpacked, str(self.entry.archive))
        outcome = "skipped" if isinstance(self.error, UnknownFormatError) else "refused"
        return FileResult(self.entry.path, outcome, reason=reason)


def mark_parts(results: list[Result]) -> list[Result]:
    """Mark the files that were read together with another one of their folder."""
    parts = {
        f"{os.path.dirname(result.entry.resolved)}/{name}"
        for result in results
        if result.brought is not None
        for name in result.brought.parts
    }
    for result in results:
        result.is_part = result.error is not None and result.entry.resolved in parts
    return results


class Intake:
    """One call of ingest at work."""

    def __init__(self, delivery: Delivery, entries: list[Entry], watch: Watcher | None) -> None:
        self._delivery, self._entries, self._watch = delivery, entries, watch
        self._said = Statements(delivery.sheet, delivery.lab) if delivery.sheet else None
        self._archives: dict[Path, _Unpacked] = {}

    def run(self) -> list[Result]:
        """Bring everything in, a few files at a time; what is finished stays whatever comes after."""
        delivery = self._delivery
        count = min(
            delivery.workers or os.cpu_count() or 1, -(-len(self._entries) // PER_WORKER[delivery.defer])
        )
        results: list[Result] = []
        batch: list[tuple[Result, Arrival]] = []
        done: list[Entry] = []
        try:
            with preparing(delivery.engine, delivery.root, self._tasks(), count=count) as outcomes:
                for entry, outcome in zip(self._entries, outcomes, strict=True):
                    if self._watch:
                        self._watch(len(results), len(self._entries), entry.path)
                    held = self._archives.get(entry.archive) if entry.archive else None
                    results.append(Result(entry, str(held.folder) if held else None))
                    done.append(entry)
                    if isinstance(outcome, MicdbError):
                        _refuse(results[-1], outcome)
                    else:
                        batch.append((results[-1], outcome))
                    if _is_full(batch):
                        self._bring_in(batch)
                        self._let_go(done)
                        batch, done = [], []
                self._bring_in(batch)
        finally:
            left = [one.path for _, arrival in batch for one in arrival.staged]
            folders = [held.folder for held in self._archives.values()]
            discard(self._delivery.root, [*left, *folders])
        return results

    def _tasks(self) -> Iterator[Task]:
        for start in range(0, len(self._entries), AT_ONCE):
            entries = self._entries[start : start + AT_ONCE]
            known = self._known(entries)
            for entry in entries:
                yield self._member_task(entry) if entry.archive else self._file_task(entry, known)

    def _known(self, entries: list[Entry]) -> dict[tuple[str, State], str | None]:
        sound = [entry.resolved for entry in entries if entry.archive is None and _is_text(entry.resolved)]
        with reading(self._delivery.engine) as connection:
            return commit.recognise(connection, sound, defer=self._delivery.defer)

    def _file_task(self, entry: Entry, known: Mapping[tuple[str, State], str | None]) -> Task:
        if entry.trouble is not None:
            return Task(entry.path, outcome=entry.trouble)
        with suppress(OSError):  # told by whoever reads it
            here = (entry.resolved, State.of(entry.path))
            if here in known:
                return Task(entry.path, outcome=Arrival(entry.path, known[here], here[1]))
        return Task(entry.path, self._delivery.defer)

    def _member_task(self, entry: Entry) -> Task:
        """Return a member's task; members are read whole: there will be no file to come back to."""
        assert entry.archive is not None  # noqa: S101 (for the type checker)
        held = self._archives.get(entry.archive)
        if held is None:
            left = sum(other.archive == entry.archive for other in self._entries)
            held = self._archives[entry.archive] = _Unpacked.of(entry.archive, self._delivery.root, left)
        place = held.places.get(entry.member)
        if place is not None:
            return Task(place, unpacked=True)
        changed = ReadError(entry.path, f"{entry.archive.name} changed meanwhile; ingest it again")
        return Task(entry.path, outcome=held.trouble or changed)

    def _let_go(self, entries: Iterable[Entry]) -> None:
        """Remove what was unpacked of archives whose last member is done."""
        for entry in entries:
            held = self._archives.get(entry.archive) if entry.archive else None
            if held is not None:
                held.left -= 1
                if not held.left:
                    discard(self._delivery.root, [held.folder])

    def _bring_in(self, batch: list[tuple[Result, Arrival]]) -> None:
        """Publish some files in one transaction, or one by one where the sheet contradicts one of them."""
        try:
            self._publish(batch)
        except SheetError:
            if len(batch) == 1:
                raise
            for result, arrival in batch:  # those before the culprit come in
                again = prepare(
                    self._delivery.root,
                    arrival.path,
                    defer=arrival.sha256 is None,
                    unpacked=arrival.unpacked,
                )
                self._publish([(result, again)])

    def _publish(self, batch: list[tuple[Result, Arrival]]) -> None:
        def write_rows(connection: Connection, objects: Mapping[str, int]) -> None:
            files = [(result.entry.resolved, arrival) for result, arrival in batch]
            rows = commit.Batch(connection, files, objects)
            for result, arrival in batch:
                self._write(connection, rows, result, arrival)

        staged = [one for _, arrival in batch for one in arrival.staged]
        if batch:
            publish(self._delivery.engine, self._delivery.root, staged, write_rows)

    def _write(self, connection: Connection, rows: commit.Batch, result: Result, arrival: Arrival) -> None:
        sheet, lab = self._delivery.sheet, self._delivery.lab
        lab_pk = rows.find(tables.lab, {"name": lab}) if lab else None
        try:
            result.brought = rows.bring_in(result.entry.resolved, arrival, lab_pk)
        except ReadError as error:  # before anything of the file was written
            _refuse(result, error)
            return
        row = sheet.match(result.entry.path) if sheet else None
        images = result.brought.images
        result.notes = facts.apply(connection, row, images=images, lab=lab_pk, said=self._said)


@dataclass(slots=True)
class _Unpacked:
    """An archive in a staging folder: where its members lie, and how many are still to be read."""

    folder: Path
    places: dict[str, Path]
    trouble: ReadError | None
    left: int

    @classmethod
    def of(cls, path: Path, root: Path, left: int) -> _Unpacked:
        """Unpack; what cannot be unpacked is the trouble of every member."""
        folder = stage_folder(root)
        try:
            return cls(folder, archive.unpack(path, folder), None, left)
        except ReadError as error:
            return cls(folder, {}, error, left)
        except BaseException:
            discard(root, [folder])
            raise


def _is_full(batch: list[tuple[Result, Arrival]]) -> bool:
    staged = sum(one.size for _, arrival in batch for one in arrival.staged)
    return len(batch) >= BATCH or staged > BATCH_BYTES


def _refuse(result: Result, error: MicdbError) -> None:
    """Note what a file's own fault is; anything else ends the command."""
    if not isinstance(error, ReadError | MissingExtraError | NotFoundError):
        raise error
    result.error = error


def _is_text(path: str) -> bool:
    """Return whether a path is UTF-8, as SQL and JSON want it."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
