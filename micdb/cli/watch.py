"""What `micdb watch` prints: a line for each file, and a summary when it is told to stop."""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from micdb.cli import output

if TYPE_CHECKING:
    from micdb.ingest.watch_report import Notice, Watched


@contextmanager
def until_stopped() -> Iterator[threading.Event]:
    """Yield an event that Ctrl-C and SIGTERM set; a second Ctrl-C does not wait for anything."""
    stop = threading.Event()

    def end(number: int, _frame: Any) -> None:
        stop.set()
        signal.signal(number, signal.default_int_handler)

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def teller(folder: Path, *, as_json: bool) -> Callable[[Notice], None]:
    """Return what prints a notice."""
    here = folder.absolute()

    def tell(notice: Notice) -> None:
        if as_json:
            print_line(notice.as_json())
            return
        words = [notice.at.astimezone().strftime("%H:%M:%S"), notice.outcome]
        if notice.path:
            inside = notice.path.is_relative_to(here)
            words.append(str(notice.path.relative_to(here) if inside else notice.path))
        if notice.images:
            words.append("1 image" if notice.images == 1 else f"{notice.images} images")
        if notice.latency is not None:
            words.append(f"{notice.latency:.1f} s")
        _print("  ".join(words) + (f": {notice.reason}" if notice.reason else ""), bad=bool(notice.reason))
        for note in notice.notes:
            _print(f"          note: {note}", bad=True)

    return tell


def print_watched(watched: Watched, *, as_json: bool) -> None:
    """Print the summary."""
    said = watched.as_json()
    if as_json:
        print_line({"summary": said})
        return
    latency = {
        f"latency, {name.replace('_', ' ')} [s]": value and round(value, 2)
        for name, value in said.pop("latency").items()
    }
    output.print_pairs("watched", {**said, **latency})


def print_line(value: dict[str, Any]) -> None:
    """Print plain values as one line of JSON, at once."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def _print(line: str, *, bad: bool) -> None:
    output.console().print(line, style="yellow" if bad else None, markup=False, highlight=False)
