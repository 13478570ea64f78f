"""A watched folder: files come in as an instrument finishes them.

watchdog tells of changes (`micdb.ingest.listening`), `micdb.ingest.ripening` says which files are complete,
and `micdb.ingest.intake` brings them in, a few at a time. What the system does not tell, because its queue
ran over or the folder is on a network share, is found by searching the folder anew from time to time. So
nothing depends on an event: a watch that was killed goes on where the catalog says it was.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from micdb.catalog.engine import NETWORK_FILESYSTEMS, filesystem
from micdb.errors import (
    CatalogError,
    MicdbError,
    NotFoundError,
    StoreError,
    UsageError,
)
from micdb.ingest.arrival import State
from micdb.ingest.discovery import Entry, discover, is_searched, walk
from micdb.ingest.intake import Delivery, Intake, mark_parts
from micdb.ingest.listening import Ears
from micdb.ingest.outcome import Became, FileResult
from micdb.ingest.ripening import Ripening, batches, is_temporary
from micdb.ingest.watch_report import Notice, Teller, Watched

__all__ = ["Notice", "Teller", "Watched", "watch"]

TICK = 0.1  # [s] between looks at what was heard
BATCH = 8  # files brought in together: the first of them waits for the last
AGAIN = 10.0  # [s] between searches of the folder, at least
SHARE = 20  # part of the time, one in so many, that searches of a large folder may take
PAUSE, LONGEST_PAUSE = 5.0, 60.0  # [s] before what failed for everybody is tried again
_IN: tuple[Became, ...] = ("added", "completed", "merged")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_EVERYBODYS = (CatalogError, StoreError)  # not their subclasses: those do not pass by themselves


class _TroubleError(Exception):
    """What says nothing of a single file: a full disk, a locked catalog."""


def watch(
    folder: Path,
    delivery: Callable[[], Delivery],
    *,
    settle: float,
    poll: bool,
    stop: threading.Event | None = None,
    tell: Teller | None = None,
) -> Watched:
    """Bring in what is in a folder, and whatever comes, until told to stop.

    Parameters
    ----------
    folder
        The folder, with all below it.
    delivery
        Gives database, lab and samples sheet; asked again when the sheet's files change.
    settle
        How long a file must stay unchanged before it is taken for complete [s].
    poll
        Search for changes instead of being told by the system, as network shares need it; those that are
        recognised are polled anyway.
    stop
        Ends the watch when it is set; Ctrl-C does so too.
    tell
        Called with each notice.

    Returns
    -------
    Watched
        Files, images, refusals, and how soon the rows were live.

    Raises
    ------
    NotFoundError
        There is no such folder.
    UsageError
        An argument is wrong, or the system cannot watch so many folders.
    MissingExtraError
        watchdog is not installed.
    """
    if settle <= 0:
        raise UsageError(f"settle is {settle}; it must be more than 0 seconds")
    folder = Path(os.path.abspath(folder))
    if not folder.is_dir():
        raise NotFoundError(f"{folder} is no folder; give the one the instrument writes to")
    source = _Source(delivery)
    if os.path.realpath(folder) == os.path.realpath(source.held.root):
        raise UsageError(f"{folder} is the database itself; give the folder the instrument writes to")
    poll = poll or filesystem(folder) in NETWORK_FILESYSTEMS
    ears = Ears(folder, source.held.root, poll=poll)
    stop, tell = stop or threading.Event(), tell or (lambda notice: None)  # noqa: ARG005
    return _Watch(ears, source, Ripening(settle), stop, tell).run()


class _Source:
    """The delivery, made anew when the samples sheet or its map changed."""

    def __init__(self, make: Callable[[], Delivery]) -> None:
        self._make, self.held = make, make()
        self._states = self._look()
        self._holders: dict[int, Entry] = {}  # row of the sheet -> the file it is about

    def check(self, entries: list[Entry]) -> None:
        """Raise a SheetError where a row fits a file and one that came before; nothing is written then."""
        sheet = self.held.sheet
        if sheet is None:
            return
        for entry in entries:
            row = sheet.match(entry.path)
            if row is not None:
                holder = self._holders.get(row.number, entry)
                if (holder.archive or holder.path).exists():  # it may have been renamed
                    sheet.unmatched([holder.path, entry.path])
                self._holders[row.number] = entry

    def refresh(self) -> bool:
        """Read the sheet again if it changed; return whether it did."""
        states = self._look()
        if states == self._states:
            return False
        self.held = self._make()
        self._states = states
        self._holders.clear()
        return True

    def _look(self) -> list[State | None]:
        return [_state(path) for path in sorted(self.held.own)]


@dataclass(slots=True)
class _Watch:
    """One watch at work."""

    ears: Ears
    source: _Source
    ripening: Ripening
    stop: threading.Event
    tell: Teller
    began: int = field(default_factory=time.time_ns)
    starting: bool = True  # what was there before is brought in without a line for all that is known
    counts: Counter[str] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    doubts: dict[Path, list[FileResult]] = field(default_factory=dict)  # refusals not told yet
    refused: dict[Path, str | None] = field(default_factory=dict)  # and those that were
    skipped: set[Path] = field(default_factory=set)
    troubles: set[str] = field(default_factory=set)  # that last, and were told
    pause: float = 0.0
    next_try: float = 0.0
    next_search: float = 0.0

    def run(self) -> Watched:
        try:
            self.search()
            self.work()
            self.starting = False
            while not self.stop.wait(TICK):
                self.listen()
                self.search()
                self.work()
        except KeyboardInterrupt:
            pass  # what was brought in stays
        finally:
            self.ears.close()
        doubtful = self.ripening.doubtful()
        waiting = len(self.ripening) - len(doubtful)
        for path in doubtful:
            self.refuse(path)
        return Watched(
            files=sum(self.counts[outcome] for outcome in _IN),
            images=self.counts["images"],
            known=self.counts["known"],
            skipped=len(self.skipped),
            refused=len(self.refused),
            waiting=waiting,
            latencies=tuple(self.latencies),
        )

    def listen(self) -> None:
        """Look at every file something was told of."""
        for name, heard in self.ears.heard().items():
            path = Path(name)
            if heard.folder:
                if self.is_below(path):
                    self.look_at(walk(path))
            elif self.is_wanted(path) and self.is_below(path.parent):
                self.ripening.tell(path, _state(path), heard.moment, closed=heard.closed)

    def search(self) -> None:
        """Look at every file of the folder, when it is time to."""
        began = time.monotonic()
        if began < self.next_search:
            return
        gone = f"{self.ears.folder} is gone; waiting for it to come back"
        if self.ears.listen():
            self.troubles.discard(gone)
            self.look_at(walk(self.ears.folder))
        else:
            self.complain(gone)
        self.next_search = time.monotonic() + max(AGAIN, SHARE * (time.monotonic() - began))

    def look_at(self, paths: Iterable[Path]) -> None:
        for path in paths:
            state = _state(path) if self.is_wanted(path) else None
            if state is not None:
                # later it says little how old a file is: copies have the time of what they are copied from
                age = max(0.0, time.time() - state.modified_ns / 1e9) if self.starting else 0.0
                self.ripening.look(path, state, time.monotonic(), age=age)

    def is_wanted(self, path: Path) -> bool:
        own = self.source.held.own
        return not is_temporary(path.name) and (not own or Path(os.path.realpath(path)) not in own)

    def is_below(self, folder: Path) -> bool:
        """Return whether a folder is the watched one, or searched with it."""
        while folder != self.ears.folder:
            if folder == folder.parent or not is_searched(folder):
                return False
            folder = folder.parent
        return True

    def work(self) -> None:
        """Bring in what is complete."""
        if time.monotonic() < self.next_try:
            return
        for batch in batches(self.ripening.ripe(time.monotonic()), BATCH):
            if self.stop.is_set():
                return
            states = {path: _state(path) for path in batch}
            ready = [path for path in batch if self.ripening.look(path, states[path], time.monotonic())]
            if not ready:
                continue
            try:
                results = self.bring_in(ready)
            except _TroubleError as trouble:
                self.wait(trouble)
                return
            self.pause = 0.0
            self.troubles.clear()
            for path in ready:
                mine = [one for one in results if one.path == path or path in one.path.parents]
                self.took(path, states[path], mine)

    def bring_in(self, paths: list[Path]) -> list[FileResult]:
        """Bring some files in; what one of them does wrong is its own result."""
        try:
            if self.source.refresh():  # it may now fit the files that it did not fit
                self.ripening.forget(self.refused)
        except (MicdbError, OSError) as error:  # a sheet that is being saved, for one
            raise _TroubleError(str(error)) from error
        try:
            entries = list(discover(paths, self.source.held.own))
            self.source.check(entries)
            results = Intake(self.source.held, entries, None).run()
            return [result.public() for result in mark_parts(results)]
        except Exception as error:
            if type(error) in _EVERYBODYS:
                raise _TroubleError(str(error)) from error
            if isinstance(error, OSError) and error.errno in _FULL:  # HDF5's own words name a temporary file
                raise _TroubleError(f"{self.source.held.root}: {os.strerror(error.errno)}") from error
            if len(paths) == 1:
                return _refusal(paths[0], error)
        return [result for path in paths for result in self.bring_in([path])]

    def wait(self, trouble: _TroubleError) -> None:
        """Let all files wait for a while, the longer the more often."""
        self.pause = min(LONGEST_PAUSE, 2 * self.pause or PAUSE)
        self.next_try = time.monotonic() + self.pause
        self.complain(f"{trouble}; trying again")

    def took(self, path: Path, state: State | None, results: list[FileResult]) -> None:
        """Tell what became of a file, and note whether it is to be tried again."""
        latency = None
        if state is not None and state.modified_ns >= self.began:
            latency = max(0.0, (time.time_ns() - state.modified_ns) / 1e9)
        tried = path in self.doubts
        for result in results:
            if result.outcome in _IN:
                self.refused.pop(result.path, None)
                self.skipped.discard(result.path)
                self.report(result, latency)
            elif result.outcome == "skipped":
                self.skip(result)
            elif result.outcome != "refused" and not tried:
                self.report(result, None)
        refusals = [result for result in results if result.outcome == "refused"]
        if not refusals:
            self.doubts.pop(path, None)
            self.ripening.done(path)
            return
        if not self.ripening.look(path, _state(path), time.monotonic()):
            return  # it changed while it was read, or went
        self.doubts[path] = refusals
        if self.ripening.failed(path, time.monotonic()):
            self.refuse(path)

    def skip(self, result: FileResult) -> None:
        """Tell that a file is none of a microscope, once however often it changes."""
        if result.path not in self.skipped:
            self.skipped.add(result.path)
            self.report(result, None)

    def refuse(self, path: Path) -> None:
        """Tell that a file cannot be read, unless that was told before."""
        for result in self.doubts.pop(path, ()):
            if self.refused.get(result.path, "") != result.reason:
                self.refused[result.path] = result.reason
                self.report(result, None)

    def report(self, result: FileResult, latency: float | None) -> None:
        self.counts[result.outcome] += 1
        self.counts["images"] += result.n_new
        if latency is not None:
            self.latencies.append(latency)
        quiet = ("known", "skipped", "part") if self.starting else ("part",)
        if result.outcome not in quiet:
            now = datetime.now(UTC)
            self.tell(
                Notice(now, result.outcome, result.path, result.n_new, latency, result.reason, result.notes)
            )

    def complain(self, text: str) -> None:
        """Tell what keeps all files from coming in, once."""
        if text not in self.troubles:
            self.troubles.add(text)
            self.tell(Notice(datetime.now(UTC), "trouble", reason=text))


def _refusal(path: Path, error: Exception) -> list[FileResult]:
    """Return what an error makes of a file: a sheet that contradicts it, or a bug it brought to light."""
    if isinstance(error, CatalogError):
        raise error  # another micdb has upgraded it, for one
    if not path.exists():
        return []
    reason = str(error) if isinstance(error, MicdbError) else f"{type(error).__name__}: {error}"
    return [FileResult(path, "refused", reason=reason)]


def _state(path: Path) -> State | None:
    """Return the state of a regular file; None where there is none to read."""
    try:
        found = path.stat()
    except OSError:
        return None
    return State(found.st_size, found.st_mtime_ns) if stat.S_ISREG(found.st_mode) else None
