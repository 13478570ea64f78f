"""What the system tells of a folder: watchdog's events, kept until somebody asks."""

from __future__ import annotations

import os
import stat
import time
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

from micdb.errors import UsageError
from micdb.extras import require


class Heard(NamedTuple):
    """What the system told of a path, and when (`time.monotonic`)."""

    moment: float
    closed: bool
    folder: bool


class Ears:
    """watchdog's observer of a folder; what it hears is kept until somebody asks."""

    def __init__(self, folder: Path, database: Path, *, poll: bool) -> None:
        require("watchdog")
        module = require("watchdog.observers.polling" if poll else "watchdog.observers")
        self._make = module.PollingObserver if poll else module.Observer
        self.folder = folder
        self._database = tuple(f"{place(database)}{os.sep}" for place in (os.path.abspath, os.path.realpath))
        self._heard: SimpleQueue[tuple[str, Heard]] = SimpleQueue()
        self._observer: Any = None
        self._listens_to: tuple[int, int] | None = None

    def listen(self) -> bool:
        """Begin to listen, again where the folder is another one; return whether it is there."""
        found = _identity(self.folder)
        if found is None or found == self._listens_to:
            return found is not None
        self.close()
        self._observer = self._make()
        try:
            self._observer.schedule(self, str(self.folder), recursive=True)
            self._observer.start()
        except OSError as error:  # inotify's word for too many watches is that of a full disk
            raise UsageError(
                f"the system cannot watch {self.folder}: {error.strerror or error}; add --poll"
            ) from error
        self._listens_to = found
        return True

    def close(self) -> None:
        """Stop listening."""
        if self._observer is not None and self._observer.is_alive():
            self._observer.stop()
            self._observer.join()
        self._observer = self._listens_to = None

    def dispatch(self, event: Any) -> None:
        """Take an event from watchdog, in a thread of its own."""
        path = os.fsdecode(event.dest_path or event.src_path)
        kind = event.event_type
        if kind == "deleted" and path == str(self.folder):
            self._listens_to = None  # a new folder of that name may even have the same number
        if kind not in ("created", "modified", "moved", "closed") or path.startswith(self._database):
            return
        if not event.is_directory or kind in ("created", "moved"):
            heard = Heard(time.monotonic(), kind in ("closed", "moved"), event.is_directory)
            self._heard.put((path, heard))

    def heard(self) -> dict[str, Heard]:
        """Return the last that was told of each path since this was asked."""
        news: dict[str, Heard] = {}
        with suppress(Empty):
            while True:
                path, heard = self._heard.get_nowait()
                news[path] = heard
        return news


def _identity(folder: Path) -> tuple[int, int] | None:
    try:
        found = folder.stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if stat.S_ISDIR(found.st_mode) else None
